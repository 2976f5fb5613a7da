# What a VM needs in which an image is built: the packages, and ranges of ids for who builds it.
apply() {
    receive
    install_packages "$input"
    sub_ids
}
