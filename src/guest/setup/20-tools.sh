# Runs scripts/install-tools.sh. The input is NAME=VERSION lines, an empty line, and the script.
apply() {
    receive
    script=${input%.input}.script
    sed '0,/^$/d' "$input" >"$script"
    versions=$(sed '/^$/,$d; s/^/VERSION_/' "$input")
    field stage 'running scripts/install-tools.sh'
    # shellcheck disable=SC2086 # one word each: the host has checked them
    run 'scripts/install-tools.sh' env $versions sh "$script"
    rm -f "$script"
    result=installed
}
