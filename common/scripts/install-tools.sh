#!/bin/sh
# install-tools.sh: installs what no package manager brings, as root in the VM.
#
# Each NAME=VALUE of packages/versions.txt (but for NPM and LIMA) is here as
# VERSION_NAME. It may run again at any time: what is there is left alone. Exit
# code 0 means that all is there.
set -eu

fail() {
    echo "install-tools.sh: $1" >&2
    exit 1
}

case $(uname -m) in
x86_64) arch=amd64 ARCH=AMD64 ;;
aarch64) arch=arm64 ARCH=ARM64 ;;
*) fail "there is nothing for $(uname -m)" ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

value() { eval "printf %s \"\${VERSION_$1-}\""; }

# download NAME URL FILE: with the checksum that is pinned.
download() {
    sum=$(value "$1_SHA256_$ARCH")
    [ -n "$sum" ] || fail "versions.txt has no $1_SHA256_$ARCH, so $2 can't be checked"
    echo "downloading $2"
    # A server that stalls is asked again after a minute.
    curl -fsSL --retry 2 --connect-timeout 30 --speed-limit 1000 --speed-time 60 -o "$3" "$2" ||
        fail "$2 can't be downloaded"
    echo "$sum  $3" | sha256sum --check --status ||
        fail "$2 is not what versions.txt pins: it has another sha256 sum"
}

install_go() {
    if [ "$(sed -n 1p /usr/local/go/VERSION 2>/dev/null)" = "go$1" ]; then return; fi
    download GO "https://go.dev/dl/go$1.linux-$arch.tar.gz" "$work/go.tar.gz"
    rm -rf /usr/local/go.new
    mkdir -p /usr/local/go.new
    tar -C /usr/local/go.new --strip-components=1 --no-same-owner -xzf "$work/go.tar.gz"
    rm -rf /usr/local/go
    mv /usr/local/go.new /usr/local/go
}

install_hadolint() {
    if [ "$(hadolint --version 2>/dev/null)" = "Haskell Dockerfile Linter $1" ]; then return; fi
    machine=x86_64
    [ "$arch" = amd64 ] || machine=arm64
    download HADOLINT \
        "https://github.com/hadolint/hadolint/releases/download/v$1/hadolint-linux-$machine" \
        "$work/hadolint"
    install -D -m 0755 "$work/hadolint" /usr/local/bin/hadolint
}

for name in $(env | sed -n 's/^VERSION_\([A-Z0-9_]*\)=.*/\1/p' | sort); do
    case $name in
    *_SHA256_AMD64 | *_SHA256_ARM64) ;;
    GO) install_go "$(value GO)" ;;
    HADOLINT) install_hadolint "$(value HADOLINT)" ;;
    *) fail "versions.txt names $name, which nothing here installs" ;;
    esac
done
