# NONCE HASH NOW VERB ARGS…
#
#   stage NAME HASH LIMIT FORCE  runs the stage whose part this is, unless its stamp says HASH, not
#              that it was skipped, and FORCE is 0. After send= it reads the stage's input. At most LIMIT seconds.
#              done=unchanged|present|installed|skipped WHY  send=  stage=TEXT  step=TEXT
#              login=again  kept=PATH  tick=
#   stages     stamp=NAME HASH and begun=NAME for each
#   clock      sets the clock to the seconds since 1970 on standard input.  time=SECONDS afterwards

plain() { printf %s "${1#p}"; }

stage() {
    stage=$(plain "$1") hash=$(plain "$2") limit=$(plain "$3") force=$(plain "$4")
    stamp=$stamps/$stage log=$logs/$stage.log
    if [ "$as_user" = yes ]; then
        stamp=$home_stamps/$stage log=$home_stamps/$stage.log
    fi
    (
        [ "$as_user" = no ] || umask 077
        mkdir -p "${stamp%/*}" "${log%/*}"
    ) || fail "cannot make the directories ${stamp%/*} and ${log%/*} in the VM"
    start_ticking
    trap 'hang_up' TERM HUP
    # Not by `:`, which ends the shell where it fails.
    printf '' >>"${stamp%/*}/lock" || fail "cannot write to ${stamp%/*} in the VM"
    exec 9>>"${stamp%/*}/lock"
    # One that was cut off on the host may be at work still.
    if ! flock -n 9; then
        field stage 'waiting for an earlier run that is not over'
        flock -w "$limit" 9 || fail_with slow 'an earlier run goes on'
    fi
    read -r up _ </proc/uptime
    deadline=$((${up%%.*} + limit))
    had='' was=''
    [ ! -e "$stamp" ] || read -r had was <"$stamp" || :
    if [ "$had" = "$hash" ] && [ "$was" = "${was#skipped}" ] &&
        [ ! -e "$stamp.begun" ] && [ "$force" = 0 ]; then
        field 'done' unchanged
        return
    fi
    printf '' >"$log" || fail "cannot write $log in the VM: is its disk full?"
    printf '' >"$stamp.begun" || fail "cannot write $stamp.begun in the VM: is its disk full?"
    input=${stamp%/*}/$stage.input
    result=present
    apply
    rm -f "$input"
    printf '%s %s\n' "$hash" "$result" >"$stamp.new" ||
        fail "cannot write $stamp.new in the VM: is its disk full?"
    mv -f "$stamp.new" "$stamp"
    rm -f "$stamp.begun"
    # What is left out for the same reason as before was said then.
    case $force$result in
    0skipped*) [ "$had $was" != "$hash $result" ] || result=unchanged ;;
    esac
    field 'done' "$result"
}

# Takes what the host sends into a file.
receive() {
    field send ''
    cat >"$input" || fail "cannot write $input in the VM"
    # What was cut off has no such last line.
    [ "$(tail -n 1 "$input")" = '#end' ] || fail 'the connection was cut off'
    sed -i '$d' "$input"
}

stages() {
    for file in "$stamps"/* "$home_stamps"/*; do
        name=${file##*/}
        case $name in
        *.begun) field begun "${name%.begun}" ;;
        *[!a-z]*) ;;
        *) if [ -f "$file" ] && read -r hash rest <"$file"; then field stamp "$name $hash $rest"; fi ;;
        esac
    done
}

verb=$4
if [ "$verb" != stages ] && [ "$as_user" = no ] && [ "$(id -u)" != 0 ]; then
    # shellcheck disable=SC2016 # for the shell that sudo starts
    exec sudo -n sh -c 'eval "$(printf %s "$1" | base64 -d)"' agentvm "$program" "$@"
fi
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND
# The agent's home says nothing to what root runs.
cd /
printf 'agentvm/1 %s %s\n' "$1" "$(date +%s)"
# A host that no longer waits for this connection asks again over another one.
read -r go && [ "$go" = go ] || exit 1
shift 4
case $verb in
stage) stage "$@" ;;
stages) stages ;;
clock) clock ;;
*) fail "unknown verb $verb" ;;
esac
field end ok
