# The guest program: everything that git-agent-vm does in the VM.
#
# POSIX sh. It travels in base64 as the ssh command itself and is run by
#     sh -c 'eval "$(printf %s "$1" | base64 -d)"' agentvm BASE64 NONCE HASH NOW VERB ARGS…
# so nothing needs installing and standard input stays free for git. NONCE marks where our own
# output begins, HASH is that of this text, NOW is the host's time (the guest's clock is not
# trusted). Each ARG is p and a plain word, or b and base64. Output: see src/guest/wire.rs.
#
# As a git hook the same text is run from a file with the hook's name.
#
# Starting a process takes longer than anything else here (in an emulated VM, ten times as long), so
# what every session does uses what the shell itself has where that says the same: it reads small
# files of git's with `read`, and asks git where they are not as expected.
#
# Fields are read by a host that trusts nothing here; what is refused here is refused to keep the
# agent's work, not to keep the agent out.

set -u
case $0 in
  */pre-receive | */push-to-checkout) hook=${0##*/} ;;
  # Not $0: the shell would put it in front of whatever it complains about.
  *) hook='' program=$1 && shift ;;
esac
user_locale=${LC_ALL-}
LC_ALL=C
export LC_ALL
unset CDPATH

tab='	'
nl='
'
root=$HOME/workspace
trash=$root/.trash

# The workspace's git, with nothing of the agent's configuration that would hide or run something.
g() {
  git -c core.fsmonitor=false -c core.untrackedCache=false -c core.hooksPath=/dev/null \
    -c core.quotePath=false -c gc.auto=0 -c maintenance.auto=false --no-optional-locks "$@"
}

say() { printf '%s=%s\0' "$1" "$2"; }

# fail CODE TEXT: ends the fields with an error; CODE is one that Session::refusal knows.
fail() {
  say fail "$1 $2"
  exit 1
}

absent() {
  [ -n "$ref" ] || fail absent "there is no workspace '$plain'"
  fail absent "there is no workspace of ${ref#refs/heads/}"
}

# Whether a file can be opened for writing. (Where `exec 9>FILE` cannot, the shell ends at once.)
can_write() { true 2>/dev/null >>"$1"; }

# The free blocks of the disk that a path is on, their size and all its blocks.
measure() { stat -f -c '%a %S %b' "$1"; }

# set_room MEASURED: sets $room to the bytes that are free. Fails where nobody knows.
set_room() {
  [ $# = 3 ] || return 1
  case $1$2$3 in *[!0-9]*) return 1 ;; esac
  room=$(($1 * $2))
}

# is_nearly_full MEASURED: whether less than a tenth and less than 5 GiB is left, which one build may
# take. A tenth of a large disk is plenty, and 5 GiB may be all of a small one.
is_nearly_full() { set_room "$@" && [ $(($1 * 10)) -lt "$3" ] && [ "$room" -lt $((5 << 30)) ]; }

# Makes a file empty. (Where `: >FILE` cannot, the shell ends at once, too.)
empty() { true >"$1"; }

warn() { printf '%s\n' "$1" >&2; }

# The branch of $ref as a word that can be pasted into a shell.
branch_word() {
  case ${ref#refs/heads/} in
    *[!A-Za-z0-9._/@%+=-]*) printf "'%s'" "$(printf %s "${ref#refs/heads/}" | sed "s/'/'\\\\''/g")" ;;
    *) printf %s "${ref#refs/heads/}" ;;
  esac
}

# Text with a record a line, whatever is in it, and back: a name may hold a line end, but no NUL.
swapped() { tr '\0\n' '\n\0'; }

# A path as find's tests take it, which are for patterns.
as_pattern() { printf %s "$1" | sed 's/[][*?\\]/\\&/g'; }
