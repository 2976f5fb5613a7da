# The second guest program: sets the VM up, as root but for `home`. Sent like the other one:
# NONCE HASH NOW VERB ARGS…, answers as in wire.rs. Whoever runs it sends fields all the
# time, so that silence means a lost connection and not a slow package.
#
#   apt HASH   installs the packages on standard input, one PACKAGE[=VERSION] a
#              line, unless the stamp of an earlier run says HASH.
#              done=unchanged|present|installed  stage=TEXT  step=TEXT  tick=
#   home HASH  puts files into the home directory of whoever logged in, unless the
#              stamp of an earlier run says HASH. After send= it reads, for each
#              file, a line "MODE SIZE SHA256 KEY ./PATH/." and SIZE bytes; KEY is a
#              name for the record of what we wrote there. At last "end".
#              done=unchanged|installed  send=  kept=PATH  tick=
#   clock      sets the clock to the seconds since 1970 on standard input.
set -eu
program=$1
shift
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND
umask 022
nl='
'

if [ "$(id -u)" != 0 ] && [ "$4" != home ]; then
    exec sudo -n sh -c 'eval "$(printf %s "$1" | base64 -d)"' agentvm "$program" "$@"
fi

field() { printf '%s=%s\0' "$1" "$2"; }

fail() {
    field fail "failed $1"
    exit 1
}

# Shows that we are alive. The sleep must not keep the connection open.
start_ticking() {
    (while :; do
        sleep 10 >/dev/null 2>&1
        field tick ''
    done) &
    ticker=$!
    trap 'kill "$ticker" 2>/dev/null || :' EXIT
}

# Who holds a lock on any of apt's files: "NAME (process PID)".
lock_holder() {
    for lock_file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock \
        /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
        [ -e "$lock_file" ] || continue
        inode=$(stat -c %i "$lock_file")
        pid=$(sed -n "s/^[0-9]*: [A-Z]* *[A-Z]* *WRITE \([0-9]*\) [0-9a-f]*:[0-9a-f]*:$inode .*/\1/p" /proc/locks | head -n 1)
        [ -n "$pid" ] || continue
        name=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
        printf '%s (process %s)' "$name" "$pid"
        return
    done
}

wait_for_locks() {
    waited=0 told=
    while holder=$(lock_holder) && [ -n "$holder" ] && [ "$waited" -lt 900 ]; do
        [ "$holder" = "$told" ] ||
            field stage "waiting for $holder, which holds the lock of apt"
        told=$holder waited=$((waited + 1))
        sleep 1
    done
}

# The words of standard input that are not installed as wanted.
missing_packages() {
    all=$nl$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' |
        sed -n 's/^installed //p')$nl
    while IFS= read -r wanted; do
        name=${wanted%%=*}
        case $all in
        *"$nl$name "*) ;;
        *)
            echo "$wanted"
            continue
            ;;
        esac
        [ "$name" != "$wanted" ] || continue
        found=${all#*"$nl$name "}
        found=${found%%"$nl"*}
        # shellcheck disable=SC2254 # a version may be a pattern, as for apt
        case $found in
        ${wanted#*=}) ;;
        *) echo "$wanted" ;;
        esac
    done
}

# apt_get STAGE ARGS…: its progress becomes fields, its output goes to the log.
apt_get() {
    field stage "$1"
    shift
    {
        code=0
        apt-get -y -q -o APT::Status-Fd=3 -o DPkg::Lock::Timeout=900 \
            -o Acquire::Retries=3 -o Acquire::http::Timeout=60 \
            -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
            -o Dpkg::Options::=--force-confold "$@" \
            3>&1 >>"$log" 2>&1 </dev/null || code=$?
        echo "exit:$code"
    } | {
        while IFS=: read -r kind what percent text; do
            case $kind in
            dlstatus | pmstatus) field step "${percent%%.*} % $text" ;;
            exit) exit "$what" ;;
            esac
        done
        exit 1
    } || fail "apt-get $(last_word "$@") failed in the VM:$nl$(tail -n 8 "$log")${nl}the whole log is $log in the VM"
}

last_word() {
    for word in "$@"; do
        case $word in update | install) break ;; esac
    done
    echo "$word"
}

apt() {
    hash=${1#p}
    stamp=/var/lib/agentvm/apt-packages
    log=/var/log/agentvm-apt.log
    wanted=$(cat)
    mkdir -p /var/lib/agentvm
    if [ "$(cat "$stamp" 2>/dev/null || :)" = "$hash" ]; then
        field 'done' unchanged
        return
    fi
    result=present
    todo=$(printf '%s\n' "$wanted" | missing_packages)
    if [ -n "$todo" ]; then
        start_ticking
        : >"$log"
        wait_for_locks
        # An earlier run may have been killed half-way.
        dpkg --configure -a --force-confdef --force-confold >>"$log" 2>&1 </dev/null || :
        apt_get 'reading the package lists' -o APT::Update::Error-Mode=any update
        # shellcheck disable=SC2086 # one word each: the host has checked them
        apt_get "installing $(printf '%s\n' "$todo" | wc -l) packages" \
            --no-install-recommends install $todo
        result=installed
    fi
    printf '%s\n' "$hash" >"$stamp.new"
    mv -f "$stamp.new" "$stamp"
    field 'done' "$result"
}

sum_of() {
    # A file that cannot be read is somebody's.
    if [ -r "$1" ]; then sha256sum <"$1" | cut -c 1-64; else echo unreadable; fi
}

record() { cat "$records/$1" 2>/dev/null || :; }

# Whether $target was written by somebody else, by what is in it: it is none of what we wrote there
# or beside it, nor what the system put there when it made the user.
changed_here() {
    [ -e "$target" ] || [ -L "$target" ] || return 1
    [ -f "$target" ] && [ ! -L "$target" ] || return 0
    case $(sum_of "$target") in
    '') return 0 ;;
    "$sum" | "$(record "$key")" | "$(record "$key.beside")") return 1 ;;
    esac
    ! cmp -s "$target" "/etc/skel/$path"
}

home() {
    hash=${1#p}
    records=$HOME/.local/state/agentvm/home
    incoming=$records/incoming
    stamp=$records/stamp
    if [ "$(cat "$stamp" 2>/dev/null || :)" = "$hash" ]; then
        field 'done' unchanged
        return
    fi
    (umask 077 && mkdir -p "$records") || fail "cannot make $records in the VM"
    start_ticking
    field send ''
    while IFS=' ' read -r mode size sum key path && [ "$mode" != end ]; do
        path=${path#./} path=${path%/.}
        target=$HOME/$path
        (umask 077 && head -c "$size" >"$incoming") ||
            fail "cannot write to $records in the VM"
        [ "$(sum_of "$incoming")" = "$sum" ] ||
            fail "the file ~/$path did not arrive whole: it changed here meanwhile, or the VM's disk is full"
        chmod "$mode" "$incoming"
        mkdir -p "${target%/*}" 2>/dev/null ||
            fail "cannot make the directory of ~/$path in the VM"
        if changed_here; then
            # Once is enough, whatever became of it.
            [ "$(record "$key.beside")" != "$sum" ] || continue
            mv -fT "$incoming" "$target.agentvm-new" ||
                fail "cannot write ~/$path.agentvm-new in the VM"
            printf '%s' "$sum" >"$records/$key.beside"
            field kept "$path"
        else
            mv -fT "$incoming" "$target" || fail "cannot write ~/$path in the VM"
            printf '%s' "$sum" >"$records/$key"
        fi
    done
    [ "$mode" = end ] || fail 'the connection was cut off'
    rm -f "$incoming"
    printf '%s\n' "$hash" >"$stamp.new"
    mv -f "$stamp.new" "$stamp"
    field 'done' installed
}

clock() {
    read -r now
    case $now in '' | *[!0-9]*) fail 'that is no time' ;; esac
    date -u -s "@$now" >/dev/null || fail 'date failed in the VM'
}

nonce=$1 verb=$4
shift 4
printf 'agentvm/1 %s %s\n' "$nonce" "$(date +%s)"
case $verb in
apt) apt "$@" ;;
home) home "$@" ;;
clock) clock ;;
*) fail "unknown verb $verb" ;;
esac
field end ok
