# Lima: an installed one, or the first of Homebrew, a build from the pinned Go
# module beside this, and the release archive. Sourced by lib.sh.
# shellcheck shell=bash

lima_minimum=2.0.0
lima_version=2.2.0
lima_go_minimum=1.25.7

# limactl refuses to run as root, even to tell its version.
limactl_version() {
    local command=(limactl --version)
    ! is_root || command=(runuser -u nobody -- "$(command -v limactl)" --version)
    env -u LIMA_HOME HOME=/nonexistent "${command[@]}" 2>/dev/null | awk '{print $3}'
}

has_lima() {
    have limactl && at_least "$lima_minimum" "$(limactl_version)"
}

# Where programs of this machine, or of this user alone, belong.
local_prefix() {
    if is_root; then echo /usr/local; else echo "$HOME/.local"; fi
}

has_go() {
    have go && at_least "$lima_go_minimum" "$(go env GOVERSION | sed 's/^go//')"
}

build_lima() {
    local prefix package=github.com/lima-vm/lima/v2
    prefix=$(local_prefix)
    say "building Lima $lima_version with Go (a minute or two)"
    mkdir -p "$prefix/bin"
    (cd "$scripts_dir/lima" && CGO_ENABLED=0 go build -buildvcs=false -trimpath \
        -ldflags "-s -w -X $package/pkg/version.Version=v$lima_version" \
        -o "$prefix/bin/limactl.new" "$package/cmd/limactl")
    mv -f "$prefix/bin/limactl.new" "$prefix/bin/limactl"
}

# The archive's checksum is the one published beside it, so it guards against a
# broken download, not against a changed release.
download_lima() {
    local prefix work arch archive
    prefix=$(local_prefix)
    arch=$(uname -m)
    archive=lima-$lima_version-$(uname -s)-$arch.tar.gz
    local url=https://github.com/lima-vm/lima/releases/download/v$lima_version
    say "downloading Lima $lima_version"
    work=$(mktemp -d)
    if ! curl -fsSL --retry 3 -o "$work/$archive" "$url/$archive" ||
        ! curl -fsSL --retry 3 -o "$work/SHA256SUMS" "$url/SHA256SUMS"; then
        die "Lima can't be downloaded from $url; install Go $lima_go_minimum or newer, or Lima itself, and try again"
    fi
    (cd "$work" && grep -F " $archive" SHA256SUMS | sha256sum --check --quiet) ||
        die "the checksum of $archive is wrong"
    mkdir -p "$prefix"
    tar -C "$prefix" -xzf "$work/$archive"
    rm -r "$work"
}

ensure_lima() {
    has_lima && return
    if have brew && ! is_root; then
        brew install lima
    elif has_go; then
        build_lima
    else
        download_lima
    fi
    hash -r
    has_lima || die "Lima was installed, but limactl $lima_minimum or newer is not found"
    say "limactl $(limactl_version) is at $(command -v limactl)"
}
