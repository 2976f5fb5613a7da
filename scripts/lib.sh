# Shared by the scripts in this directory. To be sourced by bash.
# shellcheck shell=bash

say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

need() {
    local program
    for program in "$@"; do
        have "$program" || die "$program is missing"
    done
}
