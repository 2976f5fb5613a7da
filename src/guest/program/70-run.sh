
# Running the agent's commands.

endings=$HOME/.local/state/agentvm

# A login shell or a command in the workspace, without one in $root; TERM is one that this machine
# knows.
run() {
  dir=$root
  if [ -z "$id$plain" ]; then
    mkdir -p "$root"
  elif find_workspace; then
    dir=$root/$name
  else
    warn "error: there is no workspace of ${ref#refs/heads/} any more"
    exit 125
  fi
  cd "$dir" || exit 125
  if [ -t 0 ] && command -v infocmp >/dev/null && ! infocmp "${TERM:-}" >/dev/null 2>&1; then
    TERM=xterm-256color
    export TERM
  fi
  if [ -n "$user_locale" ]; then LC_ALL=$user_locale; else unset LC_ALL; fi
  shell=bash
  command -v bash >/dev/null || shell="sh"
  if [ $# -eq 0 ]; then
    "$shell" -l
  else
    "$shell" -lc 'exec -- "$@"' "$shell" "$@"
  fi
  code=$?
  # ssh reports its own failures as 255; this file tells the two apart.
  [ "$code" -ne 255 ] || { mkdir -p "$endings" && : >"$endings/ended-$nonce"; }
  exit "$code"
}

# Whether the command of session $1 itself ended with 255.
ended() {
  if [ -e "$endings/ended-$1" ]; then
    rm -f "$endings/ended-$1"
    say code 255
  fi
  say end ok
}
