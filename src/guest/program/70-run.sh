# Running the agent's commands.

own=$HOME/.local/state/agentvm

# What sessions left behind whose host went away.
sweep() {
  for left in "$own"/env-* "$own"/ended-*; do
    [ -e "$left" ] || continue
    find "$own" -type f \( -name 'env-*' -o -name 'ended-*' \) -mmin +1 -exec rm -f {} +
    return
  done
}

# Keeps the variables on standard input, a script, for the session that follows and knows $1.
keep_variables() {
  sweep
  umask 077
  if mkdir -p "$own" && cat >"$own/env-$1"; then
    say end ok
  else
    rm -f "$own/env-$1"
    fail failed "cannot write to $own in the VM"
  fi
}

# Opens the variables of $token as descriptor 7 and takes their file away: whatever happens from
# here on, nothing is left.
open_variables() {
  if [ ! -r "$own/env-$token" ]; then
    warn "error: the variables for the command are gone: there is no $own/env-$token in the VM"
    exit 125
  fi
  exec 7<"$own/env-$token"
  rm -f "$own/env-$token" || exit 125
}

# In the workspace: whoever is someone else on the host now, is it here too. What was set here by
# others stays.
follow_identity() {
  seen=.git/agentvm-identity was_name='' was_email=''
  if [ -f "$seen" ]; then
    { IFS= read -r was_name && IFS= read -r was_email; } <"$seen"
    if [ "$was_name" = "$user_name" ] && [ "$was_email" = "$user_email" ]; then return; fi
  fi
  follow user.name "$was_name" "$user_name"
  follow user.email "$was_email" "$user_email"
  { printf '%s\n%s\n' "$user_name" "$user_email" >"$seen.$$" && mv -f "$seen.$$" "$seen"; } 2>/dev/null
}

# follow KEY OLD NEW: an empty OLD means that nobody was here since the workspace was made.
follow() {
  value=$(git config --file .git/config --get "$1")
  if [ "$value" = "$3" ] || { [ -n "$2" ] && [ "$value" != "$2" ]; }; then return; fi
  git config --file .git/config --replace-all "$1" "$3" 2>/dev/null
}

# A login shell or a command in the workspace, without one in $root; TERM is one that this machine
# knows. The variables of $token are set after the shell's own start-up files, so that they win.
run() {
  dir=$root
  # shellcheck disable=SC2031 # not there
  if [ -z "$id$plain" ]; then
    mkdir -p "$root"
  elif find_workspace; then
    dir=$root/$name
  else
    warn "error: there is no workspace of ${ref#refs/heads/} any more"
    exit 125
  fi
  cd "$dir" || exit 125
  [ "$dir" = "$root" ] || [ -z "$user_name" ] || follow_identity
  sweep
  if [ -t 0 ] && command -v infocmp >/dev/null && ! infocmp "${TERM:-}" >/dev/null 2>&1; then
    TERM=xterm-256color
    export TERM
  fi
  if [ -n "$user_locale" ]; then LC_ALL=$user_locale; else unset LC_ALL; fi
  shell=bash
  command -v bash >/dev/null || shell="sh"
  load=
  if [ -n "$token" ]; then
    open_variables
    load='{ . /dev/fd/7 && exec 7<&-; } || exit 125; '
  fi
  if [ $# -gt 0 ]; then
    "$shell" -lc "${load}exec -- \"\$@\"" "$shell" "$@"
  elif [ -z "$load" ]; then
    "$shell" -l
  elif [ -t 0 ] && [ "$shell" = bash ]; then
    # A login shell can be told nothing that it does after its profile, so this is done by hand.
    bash --init-file /dev/fd/6 -i 6<<'END'
[ ! -r /etc/profile ] || . /etc/profile
for agentvm_file in ~/.bash_profile ~/.bash_login ~/.profile; do
  [ ! -r "$agentvm_file" ] || { . "$agentvm_file"; break; }
done
unset agentvm_file
. /dev/fd/7
exec 6<&- 7<&-
END
  else
    "$shell" -lc "${load}exec $shell"
  fi
  code=$?
  # ssh reports its own failures as 255; this file tells the two apart.
  [ "$code" -ne 255 ] || { mkdir -p "$own" && : >"$own/ended-$nonce"; }
  exit "$code"
}

# Whether the command of session $1 itself ended with 255.
ended() {
  if [ -e "$own/ended-$1" ]; then
    rm -f "$own/ended-$1"
    say code 255
  fi
  say end ok
}
