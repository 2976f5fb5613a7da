# Packages of the system. Sourced by lib.sh.
# shellcheck shell=bash

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Shows what a command has to say only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || cat "$log" >&2
    rm "$log"
    return "$status"
}

apt_get() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

# Installs what is missing, and asks for nothing where nothing is.
apt_install() {
    local missing=() package
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing with apt: ${missing[*]}"
    apt_get update || die "apt-get update failed"
    apt_get install --no-install-recommends "${missing[@]}" || die "apt-get install failed"
}

brew_install() {
    have brew || die "Homebrew is missing: see https://brew.sh"
    local package
    for package in "$@"; do
        brew list "$package" >/dev/null 2>&1 || brew install "$package"
    done
}

qemu_packages() {
    case $(uname -m) in
    x86_64) echo qemu-system-x86 qemu-utils ovmf ;;
    aarch64) echo qemu-system-arm qemu-utils qemu-efi-aarch64 ;;
    *) die "no virtual machines on $(uname -m) here: only x86_64 and aarch64" ;;
    esac
}

# What it takes to build and to use git-agent-vm.
install_packages() {
    if [ "$(system)" = macos ]; then
        brew_install git
        return
    fi
    local qemu
    read -ra qemu <<<"$(qemu_packages)"
    apt_install git openssh-client sshfs "${qemu[@]}" \
        mmdebstrap debian-archive-keyring uidmap fdisk mtools e2fsprogs xz-utils \
        curl ca-certificates gcc libc6-dev
}

# A system that runs services would start the ssh server as soon as it is
# installed. The tests want the program only, so its service stays off.
install_sshd() {
    installed openssh-server && return
    if [ -d /run/systemd/system ]; then
        say "the ssh server is for the tests only: its service stays off"
        as_root systemctl mask --quiet ssh.service ssh.socket
    fi
    apt_install openssh-server
}

install_test_packages() {
    [ "$(system)" = debian ] || return 0
    apt_install sudo acl shellcheck mandoc python3-pip zsh fish git-lfs \
        jq make zlib1g-dev
    install_sshd
}
