# The second guest program: sets the VM up, as root but for `home` and `stages`. Sent like the other
# one, as this part, the part of one stage, and the last part, which says what there is. Answers as
# in wire.rs. Whoever runs it sends fields all the time, so that silence means a lost connection and
# not a slow package.
set -eu
program=$1
shift
umask 022
nl='
'
as_user=no
# Where stages leave their stamps: of those that root runs, and of `home`.
stamps=/var/lib/agentvm/stages
home_stamps=$HOME/.local/state/agentvm/home
logs=/var/log/agentvm
child=

hang_up() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || :
    exit 143
}

# The seconds that the stage has left. By the time since the boot: the clock may be set meanwhile.
seconds_left() {
    read -r up _ </proc/uptime
    left=$((deadline - ${up%%.*}))
    [ "$left" -gt 0 ] || too_slow
}

# no_success CODE WHAT: how it ended. Only the clock tells who ended it: a machine that lacks memory uses
# the same signal.
no_success() {
    read -r up _ </proc/uptime
    case $1 in
    124 | 137) [ "${up%%.*}" -lt "$deadline" ] || too_slow ;;
    esac
    [ "$1" != 137 ] || fail_with failed "$2 was killed in the VM, whose memory may be full"
    fail_with failed "$2 failed in the VM"
}

too_slow() { fail_with slow "the limit of $limit s is over"; }

# fail_with CODE WHAT: with the last lines of the log, set in, so that none of them is taken for one of
# our hints.
fail_with() {
    said=$(tr '\r' '\n' <"$log" | grep -v '^[[:space:]]*$' | tail -n 8 | cut -c 1-300 | sed 's/^/  /')
    field fail "$1 $2${said:+:$nl$said}"
    exit 1
}

# run WHAT CMD…: its output in the log. It ends, with all that it has started, when the stage's limit
# of time is over or nobody listens any more. The lock (9) is not for what it leaves running.
run() { run_fed "$@" 3</dev/null; }

# The same, for one that reads what is open as 3.
run_fed() {
    what=$1
    shift
    seconds_left
    code=0
    timeout -k 10 "$left" "$@" >>"$log" 2>&1 <&3 3<&- 9>&- &
    child=$!
    wait "$child" || code=$?
    child=
    [ "$code" = 0 ] || no_success "$code" "$what"
}

# What the stage got to read, without what says nothing.
words_of() { sed '/^$/d' "$1"; }
