# The third guest program: looks for what doctor wants to know of, as the user. Sent
# like the others: NONCE HASH NOW VERB ARGS…, answers as in wire.rs.
#
#   locks SECONDS NAME…   lock files of these names (below .git) in workspaces, as
#                         old as that or older.   age=SECONDS  lock=PATH (below ~/workspace)
#   network LOGS STAMPS NAME,… HOST PORT…  the ends of the logs in LOGS of those of the stages
#                         that have not come to their end, by their STAMPS, and which proxies nobody
#                         answers at.   log=PATH  text=…  closed=HOST:PORT
set -u
shift
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

# An argument is p and a plain word.
locks() {
    oldest=${1#p}
    shift
    left=50
    cd "$HOME/workspace" 2>/dev/null && for workspace in *; do
        for name in "$@"; do
            lock=$workspace/.git/${name#p}
            [ -f "$lock" ] || continue
            [ "$left" -gt 0 ] || break
            age=$((now - $(stat -c %Y -- "$lock" 2>/dev/null || echo "$now")))
            [ "$age" -ge "$oldest" ] || continue
            left=$((left - 1))
            printf 'age=%s\0lock=%s\0' "$age" "$lock"
        done
    done
}

network() {
    for log in "${1#p}"/*.log; do
        name=${log##*/}
        name=${name%.log}
        [ -r "$log" ] || continue
        [ -e "${2#p}/$name.begun" ] || continue
        case ,${3#p}, in *",$name,"*) ;; *) continue ;; esac
        printf 'log=%s\0text=' "$log"
        tail -n 30 "$log" | tr -d '\000' | cut -c 1-500
        printf '\0'
    done
    shift 3
    while [ $# -ge 2 ]; do
        # shellcheck disable=SC2016 # bash alone can open a connection
        timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${1#p}" "${2#p}" 2>/dev/null ||
            printf 'closed=%s:%s\0' "${1#p}" "${2#p}"
        shift 2
    done
}

nonce=$1 verb=$4
shift 4
now=$(date +%s)
printf 'agentvm/1 %s %s\n' "$nonce" "$now"
case $verb in
locks) locks "$@" ;;
network) network "$@" ;;
*) exit 1 ;;
esac
printf 'end=ok\0'
