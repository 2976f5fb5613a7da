# Docker, which starts when it is first asked for: a VM that nobody runs containers in boots no
# slower.
apply() {
    receive
    install_packages "$input"
    run 'leaving Docker to its socket' systemctl disable docker.service containerd.service
    run 'opening the socket of Docker' systemctl enable docker.socket
    # Where the package has just started it, it has its socket.
    systemctl is-active --quiet docker.service ||
        run 'opening the socket of Docker' systemctl start docker.socket
    join docker
}
