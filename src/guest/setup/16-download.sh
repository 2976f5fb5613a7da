# What the stages that download by themselves have in common.

# download URL FILE ALGORITHM SUM. The URL may hold a password: curl reads it where no other user of
# the VM does, and messages name it without.
download() {
    command -v curl >/dev/null || fail 'there is no curl in the VM: it belongs into apt-packages.txt'
    shown=$(printf '%s' "$1" | sed 's#//[^/]*@#//#')
    # A mirror that stalls is asked again, long before the stage's limit is over.
    run_fed "the download of $shown" curl -fsSL --retry 2 --connect-timeout 30 --speed-limit 1000 \
        --speed-time 60 -o "$2" -K - 3<<END
url = "$1"
END
    printf '%s  %s\n' "$4" "$2" | "$3sum" --check --status ||
        fail "what came from $shown is not what versions.txt pins: it has another $3 sum"
}

# each_missing INSTALL: calls it with each line of the input that is_there does not find, with force
# with all.
each_missing() {
    number=0
    count=$(wc -l <"$input")
    while IFS= read -r wanted <&4; do
        number=$((number + 1))
        if [ "$force" = 0 ] && is_there "$wanted"; then continue; fi
        field stage "installing $wanted ($number of $count)"
        "$1" "$wanted"
        result=installed
    done 4<"$input"
}
