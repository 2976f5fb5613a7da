# Shared by the scripts in this directory. To be sourced by bash.
# shellcheck shell=bash

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this
repo_dir=$(dirname "$scripts_dir")

: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export HOME

# shellcheck disable=SC2034  # what the user's own shell has
login_path=$PATH

# The places that installers use, but that a bare shell may not look into.
PATH=$HOME/.local/bin:$HOME/.cargo/bin:$PATH:/usr/local/bin:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Shows a command as one would type it, and runs it.
run() {
    local shown='' word
    for word in "$@"; do
        case $word in
        *[!A-Za-z0-9_./:=@%+,-]* | '') word="'${word//\'/\'\\\'\'}'" ;;
        esac
        shown+=" $word"
    done
    printf '\n$%s\n' "$shown"
    "$@"
}

have() { command -v "$1" >/dev/null 2>&1; }

need() {
    local program
    for program in "$@"; do
        have "$program" || die "$program is missing"
    done
}

is_root() { [ "$(id -u)" = 0 ]; }

as_root() {
    if is_root; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# at_least WANTED FOUND: compares dotted versions.
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

system() {
    if [ "$(uname -s)" = Darwin ]; then
        echo macos
    elif have apt-get; then
        echo debian
    else
        die "these scripts know Debian, Ubuntu and macOS; install git, sshfs, Lima 2 and Rust by hand here"
    fi
}

# shellcheck source=scripts/lib/packages.sh
source "$scripts_dir/lib/packages.sh"
# shellcheck source=scripts/lib/lima.sh
source "$scripts_dir/lib/lima.sh"
# shellcheck source=scripts/lib/rust.sh
source "$scripts_dir/lib/rust.sh"
# shellcheck source=scripts/lib/user.sh
source "$scripts_dir/lib/user.sh"
# shellcheck source=scripts/lib/image.sh
source "$scripts_dir/lib/image.sh"
