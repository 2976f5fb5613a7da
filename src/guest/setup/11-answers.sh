# What a guest program says to the host, as in wire.rs.

field() { printf '%s=%s\0' "$1" "$2"; }

fail() {
    field fail "failed $1"
    exit 1
}

# Shows that we are alive, and ends us where nobody listens any more. The sleep must not keep the
# connection open.
start_ticking() {
    (
        trap '' PIPE
        while sleep 5 >/dev/null 2>&1; do
            field tick '' 2>/dev/null || break
        done
        kill -TERM $$
    ) &
    ticker=$!
    trap 'kill "$ticker" 2>/dev/null || :' EXIT
}
