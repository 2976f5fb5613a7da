# Lima refuses root. Run as root, these scripts do what needs root, and go on
# as an ordinary user. Sourced by lib.sh.
# shellcheck shell=bash

# Whoever called sudo, or a user that is made for it.
ordinary_user() {
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        echo "$SUDO_USER"
    else
        echo agentvm-host
    fi
}

home_of() { getent passwd "$1" | cut -d: -f6; }

make_ordinary_user() {
    local user=$1
    if ! getent passwd "$user" >/dev/null; then
        say "Lima does not run as root: making the ordinary user $user"
        useradd --create-home --shell /bin/bash "$user"
    fi
    # Where the system hands KVM to a group, this user is one of it.
    if [ -e /dev/kvm ] && [ "$(stat -c %G /dev/kvm)" = kvm ]; then
        usermod --append --groups kvm "$user"
    fi
}

next_free_subid() {
    cat /etc/subuid /etc/subgid |
        awk -F: 'BEGIN {next_id = 100000} $2 + $3 > next_id {next_id = $2 + $3} END {print next_id}'
}

# The guest image is built in a user namespace with a range of ids.
allow_namespace() {
    local user=$1 first last
    if grep -q "^$user:" /etc/subuid && grep -q "^$user:" /etc/subgid; then
        return
    fi
    first=$(next_free_subid)
    last=$((first + 65535))
    say "giving $user the ids $first to $last for namespaces"
    as_root usermod --add-subuids "$first-$last" --add-subgids "$first-$last" "$user"
}

can_write() {
    if [ "$(id -un)" = "$1" ]; then
        test -w "$2"
    else
        runuser -u "$1" -- test -w "$2"
    fi
}

# sshfs needs /dev/fuse, which is closed on some machines. /dev/kvm is left as
# it is: closed or broken, the program finds out and emulates.
open_fuse() {
    local user=$1
    [ -e /dev/fuse ] || return 0
    ! can_write "$user" /dev/fuse || return 0
    say "opening /dev/fuse to $user"
    apt_install acl
    # Some file systems of /dev know no such lists. udev opens it to everybody.
    as_root setfacl -m "u:$user:rw" /dev/fuse 2>/dev/null || as_root chmod 666 /dev/fuse
}

# A copy of this source tree in the user's cache; what was built there stays.
copy_tree() {
    local user=$1 target=$2
    runuser -u "$user" -- mkdir -p "$target"
    find "$target" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
    tar -C "$repo_dir" --exclude=./target --exclude=./.git -cf - . | tar -C "$target" -xf -
    chown -R "$user:" "$target"
}

# Certificate files that only root can read are copied, or every download of
# the ordinary user would fail.
readable_ca() {
    local user=$1 file=$2 copy
    if runuser -u "$user" -- test -r "$file"; then
        echo "$file"
        return
    fi
    copy=$(home_of "$user")/.config/git-agent-vm/ca-$(basename "$file")
    install -D -m 0644 "$file" "$copy"
    chown -R "$user:" "$(dirname "$copy")"
    echo "$copy"
}

# Settings about how to reach the network, and ours, go along; no others.
passed_environment() {
    local user=$1 name value
    while IFS= read -r name; do
        value=${!name}
        case $name in
        *_CERT_FILE | *_CA_BUNDLE | *_CAINFO | *_CA_CERTS | PIP_CERT)
            [ ! -f "$value" ] || value=$(readable_ca "$user" "$value") ;;
        esac
        printf '%s=%s\0' "$name" "$value"
    done < <(compgen -e | grep -E '^((https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_(FILE|DIR)|CURL_CA_BUNDLE|GIT_SSL_CAINFO|CARGO_(HTTP|NET|BUILD)_.*|CARGO_TERM_.*|NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|PIP_(CERT|INDEX_URL)|npm_config_registry|RUSTUP_(DIST_SERVER|UPDATE_ROOT)|AGENTVM_.*|CI|TERM|LANG|LC_ALL|NO_COLOR|TZ)$')
}

# go_on_as USER PROGRAM [ARG…]: replaces this process, in the user's copy of
# the tree, by PROGRAM (a path below it) with a clean environment.
go_on_as() {
    local user=$1 home tree environment
    shift
    home=$(home_of "$user")
    tree=$home/.cache/git-agent-vm/source
    if can_write "$user" "$repo_dir"; then
        tree=$repo_dir
    else
        copy_tree "$user" "$tree"
    fi
    mapfile -d '' -t environment < <(passed_environment "$user")
    say "going on as $user in $tree"
    cd "$tree" || die "$tree can't be entered"
    exec runuser -u "$user" -- env -i HOME="$home" USER="$user" LOGNAME="$user" \
        SHELL=/bin/bash PATH=/usr/local/bin:/usr/bin:/bin "${environment[@]}" "$tree/$1" "${@:2}"
}

# What the user who runs the VM needs, whoever runs the script.
prepare_user() {
    [ "$(system)" = debian ] || return 0
    allow_namespace "$1"
    open_fuse "$1"
}

# Root's part is over: the rest is the ordinary user's, in a copy of the tree.
leave_root() {
    local user
    is_root || return 0
    user=$(ordinary_user)
    make_ordinary_user "$user"
    prepare_user "$user"
    share_rust
    go_on_as "$user" "$@"
}
