clock() {
    read -r now
    case $now in '' | *[!0-9]*) fail 'that is no time' ;; esac
    date -u -s "@$now" >/dev/null || fail 'date failed in the VM'
    # Something else there may have a clock of its own to go by.
    field time "$(date +%s)"
}
