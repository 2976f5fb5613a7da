# What the stages that install Debian packages have in common.

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
    told=
    while holder=$(lock_holder) && [ -n "$holder" ]; do
        seconds_left
        [ "$holder" = "$told" ] ||
            field stage "waiting for $holder, which holds the lock of apt"
        told=$holder
        sleep 1
    done
}

# The lines of standard input that are not installed as wanted.
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

# apt_get STAGE ARGS…: its progress becomes fields, its output goes to the log. It is not ended where
# nobody listens any more: what it has begun it finishes, and the next run waits for it.
apt_get() {
    field stage "$1"
    shift
    seconds_left
    {
        code=0
        timeout -k 60 "$left" apt-get -y -q -o APT::Status-Fd=3 -o DPkg::Lock::Timeout=900 \
            -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
            -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
            -o Dpkg::Options::=--force-confold "$@" \
            3>&1 >>"$log" 2>&1 </dev/null 9>&- || code=$?
        echo "exit:$code"
    } | {
        trap '' PIPE
        while IFS=: read -r kind what percent text; do
            case $kind in
            dlstatus | pmstatus) field step "${percent%%.*} % $text" 2>/dev/null || : ;;
            exit) exit "$what" ;;
            esac
        done
        exit 1
    } || no_success "$?" "apt-get $(last_word "$@")"
}

last_word() {
    for word in "$@"; do
        case $word in update | install) break ;; esac
    done
    echo "$word"
}

# Installs the packages that a file names, a NAME[=VERSION] each line. Asks the network for nothing
# where all are there; with force also for newer ones.
install_packages() {
    todo=$(words_of "$1")
    [ "$force" = 1 ] || todo=$(words_of "$1" | missing_packages)
    [ -n "$todo" ] || return 0
    wait_for_locks
    # An earlier run may have been killed half-way.
    if [ -n "$(dpkg --audit 2>&1)" ]; then
        field stage 'mending what was cut off'
        seconds_left
        code=0
        timeout -k 60 "$left" dpkg --configure -a --force-confdef --force-confold \
            >>"$log" 2>&1 </dev/null 9>&- || code=$?
        # What else is wrong, the next one mends or says.
        case $code in 124 | 137) no_success "$code" 'dpkg --configure' ;; esac
        apt_get 'mending what was cut off' --no-install-recommends --fix-broken install
    fi
    apt_get 'reading the package lists' -o APT::Update::Error-Mode=any update
    older=
    case $todo in *=*) older=--allow-downgrades ;; esac
    # A version may have an asterisk, which is for apt.
    set -f
    # shellcheck disable=SC2086 # one word each: the host has checked them
    apt_get "installing $(printf '%s\n' "$todo" | wc -l) packages" \
        --no-install-recommends $older install $todo
    set +f
    result=installed
}
