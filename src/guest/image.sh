# The guest program that makes an image, in a VM that was made for that alone. Sent like the other ones,
# behind setup/11-answers.sh: NONCE HASH NOW VERB ARGS…. It runs as the user who logged in.
#
#   take       makes the recipe and its input of what comes on standard input: after send= lines
#              "MODE SIZE PATH", each with SIZE bytes, at last "end"
#   build      runs the recipe.  line=WHAT IT DOES  tick=  said=THE END OF ITS STANDARD ERROR
#              exit=CODE. It ends when standard input does.
#   give FILE  size=BYTES; after end=ok the file comes
set -eu
shift
umask 022
top=$HOME/image

take() {
    # The owners of the image's files are other users, and have to get there.
    { mkdir "$top" && chmod a+x "$HOME"; } || fail "cannot make the directory $top in the VM"
    field send ''
    while IFS=' ' read -r mode size path && [ "$mode" != end ]; do
        file=$top/$path
        # It may hold a password until it has its mode.
        { mkdir -p "${file%/*}" && (umask 077 && head -c "$size" >"$file") && chmod "$mode" "$file"; } ||
            fail "cannot write to $top in the VM"
        [ "$(stat -c %s "$file")" = "$size" ] || fail 'the connection was cut off'
    done
    [ "${mode-}" = end ] || fail 'the connection was cut off'
}

build() {
    mkdir "$top/work" "$top/out" || fail "cannot make a directory in $top in the VM"
    if [ -s "$top/mirror" ]; then
        AGENTVM_APT_MIRROR=$(cat "$top/mirror")
        export AGENTVM_APT_MIRROR
    fi
    start_ticking
    # It ends its whole process group, which must not be ours.
    {
        code=0
        WATCH_STDIN=1 setsid --wait bash "$top/recipe/build" "$top/input" "$top/work" "$top/out" \
            2>"$top/said" || code=$?
        echo "$code" >"$top/code"
    } | while IFS= read -r line; do field line "$line"; done
    field said "$(tail -c 65536 "$top/said")"
    field 'exit' "$(cat "$top/code")"
}

nonce=$1 verb=$4
shift 4
printf 'agentvm/1 %s %s\n' "$nonce" "$(date +%s)"
# A host that no longer waits for this connection asks again over another one.
read -r go && [ "$go" = go ] || exit 1
case $verb in
take) take ;;
build) build ;;
give)
    file=$top/out/${1#p}
    size=$(stat -c %s "$file") || fail "there is no ${1#p}"
    field size "$size"
    ;;
*) fail "unknown verb $verb" ;;
esac
field end ok
[ "$verb" != give ] || cat "$file"
