# The guest program that puts into the VM what the host hands over besides common/: credentials, and
# what the network asks for. Sent like the other ones: NONCE HASH NOW VERB ARGS…, answers as in
# wire.rs. It runs as root; AGENTVM_LOGIN is who logged in, and owns the credentials.
#
#   place ROOT LIMIT GROUP…  makes the GROUPs below ROOT (/) such as they come on standard input: after
#                      send= lines "NAME SIZE SHA256 [stays]", each with SIZE bytes, at last "end 0 -".
#                      What does not come is taken away, unless it stays: then the host does not know all
#                      of it, and what is there is left (of environment the lines for proxies).
#                      Each GROUP has these:
#                        credentials  credentials (JSON), profile (for login shells)
#                        key          credentials alone
#                        network      certificates (each below a line "# FILE"), environment
#                                     (NAME=VALUE lines), mirror (a URL)
#                      changed=NAME  done=NAME of each that is there now  kept=FILE
#                      gone=VARIABLE of each that programs no longer get
#                      stage=TEXT  tick=   One at a time; LIMIT seconds at most for each program.
set -eu
if [ -z "${AGENTVM_LOGIN-}" ]; then
    # shellcheck disable=SC2016 # for the shell that sudo starts
    exec sudo -n sh -c 'AGENTVM_LOGIN=$1; shift; eval "$(printf %s "$1" | base64 -d)"' \
        agentvm "$(id -un)" "$@"
fi
shift
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND
# Whatever is made here is closed, until it is opened by name.
umask 077
me=$(id -un)

field() { printf '%s=%s\0' "$1" "$2"; }

fail() {
    field fail "failed $1"
    exit 1
}

fail_slowly() {
    field fail "slow $1"
    exit 1
}

# limited CMD…: ends it when the limit is over, which is 124 then, and nothing else is. The lock is not for
# what it leaves running.
limited() {
    read -r began _ </proc/uptime
    ended=0
    timeout -k 10 "$limit" "$@" 9>&- || ended=$?
    read -r now _ </proc/uptime
    case $ended in
    124 | 137)
        if [ $((${now%%.*} - ${began%%.*})) -ge "$limit" ]; then return 124; fi
        [ "$ended" = 137 ] || return 1
        ;;
    esac
    return "$ended"
}

# judge CODE WHAT: what it was that failed, with the end of what it said. That is set in, so that no line
# of it is taken for one of our hints.
judge() {
    case $1 in
    124) fail_slowly "$2 does not end in the VM: the limit of $limit s is over" ;;
    137) fail "$2 was killed in the VM, whose memory may be full" ;;
    esac
    fail "$2 failed in the VM:
$(tail -n 4 "$work/said" | cut -c 1-300 | sed 's/^/  /')"
}

word() {
    case $1 in
    p*) printf %s "${1#p}" ;;
    b*) printf %s "${1#b}" | base64 -d ;;
    esac
}

# Shows that we are alive. The sleep must not keep the connection open.
start_ticking() {
    (while :; do
        sleep 10 >/dev/null 2>&1
        field tick ''
    done) 9>&- &
    ticker=$!
}

clean_up() {
    [ -z "${ticker-}" ] || kill "$ticker" 2>/dev/null || :
    [ -z "${work-}" ] || rm -rf "$work"
}

# Takes what comes into $work. It is on the same file system as where most of it goes, so that a
# file is there whole or not at all.
receive() {
    rm -rf "$work"
    mkdir "$work" || fail "cannot make the directory $work in the VM"
    field send ''
    while IFS=' ' read -r name size sum stays && [ "$name" != end ]; do
        case $name in
        credentials | profile | certificates | environment | mirror) ;;
        *) fail "there is nothing called $name" ;;
        esac
        head -c "$size" >"$work/$name" || fail "cannot write to $work in the VM"
        [ "$(sha256sum <"$work/$name")" = "$sum  -" ] ||
            fail 'what was sent did not arrive whole; is the disk of the VM full?'
        [ -z "$stays" ] || : >"$work/$name.stays"
        [ "$size" != 0 ] || rm "$work/$name"
    done
    [ "${name-}" = end ] || fail 'the connection was cut off'
}

comes() { [ -e "$work/$1" ]; }

stays() { [ -e "$work/$1.stays" ]; }

variables_of() {
    [ ! -f "$1" ] || sed -nE 's/^(export )?([A-Za-z_][A-Za-z0-9_]*)=.*/\2/p' "$1"
}

# note_variables FILE: what say_gone compares with.
note_variables() { variables_of "$root$1" >"$work/variables"; }

# say_gone FILE: the variables that are in it no longer.
say_gone() {
    variables_of "$root$1" >"$work/left"
    grep -vxF -f "$work/left" "$work/variables" | while read -r name; do field gone "$name"; done
}

# put NAME FILE MODE OWNER: what came becomes that file. False where it is that already.
put() {
    target=$root$2
    if [ -f "$target" ] && [ ! -L "$target" ] && cmp -s "$work/$1" "$target" &&
        [ "$(stat -c '%a %U' "$target")" = "$3 $4" ]; then
        return 1
    fi
    (umask 022 && mkdir -p "${target%/*}") || fail "cannot make the directory of $2 in the VM"
    # Its owner first: it is closed to all others until then.
    [ "$4" = "$me" ] || chown "$4" "$work/$1" || fail "cannot give $2 to $4 in the VM"
    chmod "$3" "$work/$1"
    mv -fT "$work/$1" "$target" || fail "cannot write $2 in the VM"
}

# take_away FILE: false where there is none.
take_away() {
    [ -e "$root$1" ] || [ -L "$root$1" ] || return 1
    rm -f "$root$1" || fail "cannot take $1 away in the VM"
}

# place NAME FILE MODE OWNER: one of the two, or neither where what is there stays.
place() {
    if stays "$1" && [ -f "$root$2" ]; then
        if comes "$1"; then field 'done' "$1"; fi
    elif comes "$1"; then
        if put "$@"; then field changed "$1"; fi
        field 'done' "$1"
    elif stays "$1"; then
        :
    elif take_away "$2"; then
        field changed "$1"
    fi
}

credentials() {
    place credentials /etc/google/application_default_credentials.json 600 "$AGENTVM_LOGIN"
}

# Certificates: the system's own store, from which Debian's Java has its own, and a file of its own
# for programs that want only the additional ones.
certificates() {
    store=/usr/local/share/ca-certificates/agentvm
    own=/etc/agentvm/ca.pem
    going=$root/etc/agentvm/ca.going
    # By their links too, and by the list: a run that was cut off may have taken away the rest.
    before=
    for file in "$root$store"/agentvm-*.crt "$root/etc/ssl/certs"/agentvm-*.pem $(cat "$going" 2>/dev/null); do
        case $file in
            */*) [ -e "$file" ] || [ -L "$file" ] || continue ;;
        esac
        name=${file##*/}
        name=${name%.*}
        case "$before " in *" $name "*) ;; *) before="$before $name" ;; esac
    done
    if ! comes certificates; then
        [ -n "$before" ] || [ -e "$root$store" ] || [ -e "$root$own" ] || return 0
        rm -rf "$root$store"
        update_store
        take_away "$own" || :
        field changed certificates
        return
    fi
    (
        umask 022
        mkdir "$work/store"
        awk -v dir="$work/store/" '/^# / { file = dir $2; next } { print >file }' "$work/certificates"
    ) || fail "cannot write to $work in the VM"
    if cmp -s "$work/certificates" "$root$own" && diff -rq "$work/store" "$root$store" >/dev/null 2>&1; then
        field 'done' certificates
        return
    fi
    (umask 022 && mkdir -p "$root${store%/*}")
    rm -rf "$root$store"
    mv -T "$work/store" "$root$store" || fail "cannot write $store in the VM"
    update_store
    # Last of all: it tells that the rest is done.
    put certificates "$own" 644 "$me" || :
    field changed certificates
    field 'done' certificates
}

# Without the package there is no store yet; it takes ours in when it is installed.
update_store() {
    command -v update-ca-certificates >/dev/null || return 0
    links=$root/etc/ssl/certs
    hooks=$root/etc/ca-certificates/update.d
    refill_store >"$work/said" 2>&1 </dev/null || judge "$?" update-ca-certificates
}

# The system's own program does not notice a certificate that is gone, and so neither does Java: its
# links are taken away here, and whoever listens for changes is told. The names stay in a list until
# that is done.
refill_store() {
    for name in $before; do
        [ ! -e "$root$store/$name.crt" ] || continue
        echo "$name" >>"$work/going"
        echo "-$links/$name.pem" >>"$work/gone"
    done
    if [ -e "$work/going" ]; then
        put going "${going#"$root"}" 644 "$me" || :
        while read -r link; do rm -f "${link#-}"; done <"$work/gone"
        find "$links" -xtype l -delete
    fi
    (
        umask 022
        limited update-ca-certificates --etccertsdir "$links" --hooksdir "$hooks" \
            --localcertsdir "$root/usr/local/share/ca-certificates"
    ) || return
    if [ -e "$work/gone" ] && [ -d "$hooks" ]; then
        run-parts --test -- "$hooks" | while read -r hook; do
            limited "$hook" <"$work/gone" || exit
        done || return
    fi
    rm -f "$going"
}

# Variables: one file that root alone can read, since an address in it may hold a password. PAM reads
# it for whatever runs for a user (ssh with and without a login shell, cron, sudo, su), systemd for
# its services.
environment() {
    file=/etc/agentvm/environment
    service=/etc/systemd/system/service.d/10-agentvm.conf
    profile=/usr/share/pam-configs/agentvm
    note_variables "$file"
    if stays environment; then
        grep -Ei '^(https?|all|no)_proxy=' "$root$file" >"$work/all" 2>/dev/null || :
        if comes environment; then cat "$work/environment" >>"$work/all"; fi
        mv -f "$work/all" "$work/environment"
        [ -s "$work/environment" ] || rm "$work/environment"
    fi
    if ! comes environment; then
        if pam_reads; then pam --package --remove agentvm; fi
        take_away "$profile" || :
        if take_away "$service"; then reload; fi
        if take_away "$file"; then field changed environment; fi
        say_gone "$file"
        return
    fi
    if put environment "$file" 600 "$me"; then field changed environment; fi
    say_gone "$file"
    printf '[Service]\nEnvironmentFile=-%s\n' "$file" >"$work/service"
    if put service "$service" 644 "$me"; then reload; fi
    printf '%s\n' 'Name: Variables of git-agent-vm' 'Default: yes' 'Priority: 0' \
        'Session-Type: Additional' 'Session:' "	optional	pam_env.so envfile=$file" >"$work/pam"
    put pam "$profile" 644 "$me" || :
    pam_reads || pam --package
    pam_reads || fail "programs in the VM cannot be told of the network's settings: pam-auth-update leaves /etc/pam.d/common-session alone, since it was changed by hand; there: sudo pam-auth-update --force"
    field 'done' environment
}

pam_reads() { grep -qs "envfile=$file" "$root/etc/pam.d/common-session"; }

# Whatever else sets up packages has debconf to itself meanwhile.
pam() {
    tries=300
    while :; do
        code=0
        limited pam-auth-update ${root:+--root "$root"} "$@" >"$work/said" 2>&1 </dev/null || code=$?
        [ "$code" != 0 ] || return 0
        if [ "$tries" = 0 ] || ! grep -q 'is locked by another process' "$work/said"; then
            judge "$code" pam-auth-update
        fi
        [ "$tries" -lt 300 ] || field stage 'waiting for whoever sets up packages there'
        tries=$((tries - 1))
        sleep 1
    done
}

reload() {
    if [ -n "$root" ] || [ ! -d /run/systemd/system ]; then return; fi
    limited systemctl daemon-reload >"$work/said" 2>&1 </dev/null || judge "$?" 'systemctl daemon-reload'
}

# The mirror: in the lists that Debian's images come with, /debian and /debian-security of Debian's own
# archives, and of a mirror that we led to before, are led there: others publish below such names too. The
# file as it was, and as we made it, are kept beside, and all bases that there were.
mirror() {
    kept=$root/etc/agentvm/apt
    base=
    if comes mirror; then
        # Of what a URL may have, only & says something to sed.
        base=$(sed 's/&/\\&/g' "$work/mirror")
        mkdir -p "$kept"
        # First of all: a later mirror takes over what names this one, whatever becomes of us.
        grep -qsxFf "$work/mirror" "$kept/bases" || { cat "$work/mirror" && echo; } >>"$kept/bases" ||
            fail "cannot write to $kept in the VM"
        archives='https?://(deb|security|ftp([.][a-z0-9-]+)?|cdn-[a-z]+[.]deb|httpredir)[.]debian[.]org'
        archives=$archives'|mirror[+]file:/+etc/apt/mirrors'
        ours=$(sed -n '/./{ s/[].[*^$+?(){}|\\]/\\&/g; s/^/|/; p; }' "$kept/bases" | tr -d '\n')
    fi
    for list in sources.list sources.list.d/debian.sources; do
        file=/etc/apt/$list
        key=${list##*/}
        if [ -n "$base" ]; then
            [ -s "$root$file" ] || continue
            sed -E "s#($archives$ours)/(debian(-security)?)([.]list)?/?( |\$)#$base/\\4\\7#g" \
                "$root$file" >"$work/list"
            ! cmp -s "$work/list" "$root$file" || continue
            [ -e "$kept/$key" ] || {
                cp "$root$file" "$work/was" && mv -fT "$work/was" "$kept/$key"
            } || fail "cannot write to $kept in the VM"
            # One that somebody changed since is theirs, and never like ours again.
            if cmp -s "$root$file" "$kept/$key" || cmp -s "$root$file" "$kept/$key.ours"; then
                cp "$work/list" "$kept/$key.ours"
            fi
            put list "$file" 644 "$me" || :
            field changed mirror
        elif [ -e "$kept/$key" ]; then
            if cmp -s "$root$file" "$kept/$key.ours"; then
                cp "$kept/$key" "$work/list"
                put list "$file" 644 "$me" || :
                field changed mirror
            else
                field kept "$file"
            fi
            rm -f "$kept/$key" "$kept/$key.ours"
        fi
    done
    if [ -n "$base" ]; then field 'done' mirror; fi
}

nonce=$1 verb=$4
[ "$verb" = place ] || exit 1
root=$(word "$5")
root=${root%/}
limit=$(word "$6")
shift 6
printf 'agentvm/1 %s %s\n' "$nonce" "$(date +%s)"
# A host that no longer waits for this connection asks again over another one.
read -r go && [ "$go" = go ] || exit 1
(umask 022 && mkdir -p "$root/etc/agentvm") || fail "cannot make the directory $root/etc/agentvm in the VM"
trap clean_up EXIT
start_ticking
lock=$root/etc/agentvm/lock
printf '' >>"$lock" || fail "cannot write $lock in the VM"
exec 9>>"$lock"
# One that was cut off on the host may be at work still.
if ! flock -n 9; then
    field stage 'waiting for an earlier run that is not over'
    flock -w "$limit" 9 || fail_slowly 'an earlier run goes on in the VM'
fi
work=$root/etc/agentvm/incoming
receive
for group in "$@"; do
    case $group in
    pkey) credentials ;;
    pcredentials)
        credentials
        profile=/etc/profile.d/ai-agent-env.sh
        note_variables "$profile"
        place profile "$profile" 644 "$me"
        say_gone "$profile"
        ;;
    pnetwork)
        certificates
        mirror
        environment
        ;;
    *) fail "there is no group $group" ;;
    esac
done
field end ok
