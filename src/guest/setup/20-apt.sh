# Installs Debian packages: the lines of the input.
apply() {
    receive
    install_packages "$input"
}
