# The Rust toolchain. Sourced by lib.sh.
# shellcheck shell=bash

rust_minimum=1.89.0
rust_shared=/usr/local/lib/git-agent-vm/rust

has_rust() {
    have cargo && have rustc &&
        at_least "$rust_minimum" "$(cd "$repo_dir" && rustc --version 2>/dev/null | awk '{print $2}')"
}

# Root's toolchain, put where the ordinary user can read it. Without root's
# having one, that user gets one in the usual way.
share_rust() {
    local sysroot version dir
    has_rust || return 0
    sysroot=$(cd "$repo_dir" && rustc --print sysroot)
    version=$(rustc --version | awk '{print $2}')
    [ "$sysroot" != "$rust_shared" ] || return 0
    [ "$(cat "$rust_shared/version" 2>/dev/null)" != "$version" ] || return 0
    say "copying Rust $version to $rust_shared"
    rm -rf "$rust_shared"
    mkdir -p "$rust_shared"
    for dir in bin lib libexec; do
        [ ! -d "$sysroot/$dir" ] || cp -a --reflink=auto "$sysroot/$dir" "$rust_shared/"
    done
    chmod -R a+rX "$rust_shared"
    echo "$version" >"$rust_shared/version"
}

ensure_rust() {
    has_rust && return
    if [ -x "$rust_shared/bin/cargo" ]; then
        PATH=$rust_shared/bin:$PATH
        has_rust && return
    fi
    if have rustup; then
        say "adding Rust's stable toolchain with rustup"
        (cd "$repo_dir" && rustup toolchain install stable --profile minimal --component clippy,rustfmt)
    else
        say "installing Rust with rustup"
        curl --proto '=https' --tlsv1.2 -fsSL --retry 3 https://sh.rustup.rs |
            sh -s -- -y --quiet --profile minimal --component clippy,rustfmt ||
            die "Rust can't be installed from https://sh.rustup.rs; install Rust $rust_minimum or newer and try again"
    fi
    hash -r
    has_rust || die "Rust $rust_minimum or newer is needed, and is not found"
}
