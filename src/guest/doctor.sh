# The third guest program: looks for what doctor wants to know of, as the user. Sent
# like the others: NONCE HASH NOW VERB ARGS…, answers as in wire.rs.
#
#   locks SECONDS NAME…   lock files of these names (below .git) in workspaces, as
#                         old as that or older.   age=SECONDS  lock=PATH (below ~/workspace)
set -u
shift
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL

nonce=$1 verb=$4
shift 4
now=$(date +%s)
printf 'agentvm/1 %s %s\n' "$nonce" "$now"
[ "$verb" = locks ] || exit 1
# An argument is p and a plain word.
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
printf 'end=ok\0'
