# Containers without root: the packages, ranges of ids for the agent, and its services from boot on,
# without which a container that runs on would lose its files of /run with the last login.

apply() {
    receive
    install_packages "$input"
    sub_ids
    [ -e "/var/lib/systemd/linger/$login" ] ||
        run "keeping services of $login" loginctl enable-linger "$login"
}
