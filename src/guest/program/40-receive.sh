
# Receiving a push: our hooks, what they refuse, and the session around git receive-pack.

# Our hooks, in a directory named by the hash of this text and never changed.
write_hooks() {
  hooks=$HOME/.local/share/agentvm/hooks-$hash
  # After a power cut, an empty file would be a hook that allows everything.
  [ -s "$hooks/pre-receive" ] && [ -s "$hooks/push-to-checkout" ] && [ -x "$hooks/push-to-checkout" ] && return
  mkdir -p "$hooks" || fail failed "cannot make $hooks in the VM"
  for hook in pre-receive push-to-checkout; do
    temporary=$hooks/.new.$$
    # Half of a hook would allow things, too: a pipe does not tell when its first part is killed.
    { printf '#!/bin/sh\n' >"$temporary" && printf %s "$program" | base64 -d >>"$temporary" &&
      [ "$(tail -n +2 "$temporary" | base64 | tr -d '\n')" = "$program" ] &&
      chmod 755 "$temporary" && flush_file "$temporary" && mv -f "$temporary" "$hooks/$hook"; } ||
      fail failed "cannot write to $hooks in the VM"
  done
}

# The operation that is in progress, if any.
operation() {
  for pair in MERGE_HEAD:merge rebase-merge:rebase rebase-apply/applying:am rebase-apply:rebase \
    CHERRY_PICK_HEAD:cherry-pick REVERT_HEAD:revert BISECT_LOG:bisect; do
    [ -e "$1/${pair%%:*}" ] && printf %s "${pair##*:}" && return
  done
}

# Paths whose changes git was told not to look for (assume-unchanged, skip-worktree), changed
# nevertheless. NUL at each end. Fails where not all could be learned.
hidden_changes() {
  case $(report_flags) in
    *=failed*) return 1 ;;
    *=flags*) ;;
    '=saw-flags') return 0 ;;
    *) return 1 ;;
  esac
  # Not in the workspace, where another session would clear it away.
  copy=$(mktemp -d) || return 1
  list_hidden "$1" "$copy"
  set -- $?
  rm -rf "$copy"
  return "$1"
}

list_hidden() { # GITDIR DIR
  g ls-files -v -z >"$2/all" && flagged "$2" && cp -p "$1/index" "$2/index" || return 1
  # Given both options, git obeys the first alone.
  for flag in --no-assume-unchanged --no-skip-worktree; do
    GIT_INDEX_FILE=$2/index g update-index "$flag" -z --stdin <"$2/flagged" || return 1
  done
  GIT_INDEX_FILE=$2/index g update-index -q --refresh >/dev/null
  xargs -0 env GIT_INDEX_FILE="$2/index" git --literal-pathspecs -c core.fsmonitor=false \
    diff-files -z --name-only --diff-filter=MT -- <"$2/flagged"
}

# flagged DIR: the paths in DIR/all whose letter is such a flag's, to DIR/flagged. grep would take a
# name with a line end for two lines.
flagged() {
  swapped <"$1/all" >"$1/lines" && sed -n 's/^[a-zS] //p' "$1/lines" >"$1/chosen" &&
    swapped <"$1/chosen" >"$1/flagged"
}

refuse_push() {
  warn "error: $1"
  exit 1
}

# Refuses a push onto work that is not committed. In the work tree of $gitdir; sets $report.
refuse_dirty() {
  now_doing=$(operation "$gitdir")
  [ -z "$now_doing" ] ||
    refuse_push "a $now_doing is in progress in the workspace; finish it there (git $now_doing --continue) or give it up (git $now_doing --abort)"
  for lock in index HEAD "$ref" packed-refs; do
    [ -e "$gitdir/$lock.lock" ] || continue
    age=$(($(date +%s) - $(stat -c %Y "$gitdir/$lock.lock" 2>/dev/null || date +%s)))
    refuse_push "the lock .git/$lock.lock is there since $age s: a git command is at work in the workspace, or was killed; if none runs, remove it there"
  done
  # At the same time, each with lines of its own.
  report=$(
    report_flags &
    report_additions &
    reserve &
    report_room &
    keep_names &
    # The index stays as it is: whoever is killed meanwhile leaves no lock behind, and the agent's own
    # git is not disturbed.
    changed=$(g status --porcelain=v1 -uno --no-renames --ignore-submodules=dirty 2>/dev/null) ||
      echo '=failed git status failed in the workspace'
    wait
    # Only now: git does not write whole lines, and another's would come between.
    printf '%s\n' "${changed:+"$changed$nl"}=end"
  )
  case $report in
    *=failed*)
      failure=${report#*=failed }
      refuse_push "${failure%%"$nl"*}" ;;
  esac
  # Whoever was killed has not said that it saw everything.
  for saw in '=saw-flags' '=saw-paths' '=saw-room' '=end'; do
    case $nl$report$nl in
      *"$nl$saw$nl"*) ;;
      *) refuse_push 'a program was killed in the workspace while it looked for changes; push again' ;;
    esac
  done
  dirty=
  case $nl$report in
    *"$nl"[!=]*) dirty=$(printf '%s\n' "$report" | sed -n 's/^[^=].. *//p') && [ -n "$dirty" ] || dirty='?' ;;
  esac
  case $report in
    *=flags*)
      { hidden_changes "$gitdir" >"$gitdir/agentvm-paths" &&
        hidden=$(tr '\0\n' '\n?' <"$gitdir/agentvm-paths") && rm -f "$gitdir/agentvm-paths"; } ||
        refuse_push 'cannot look for hidden changes in the workspace'
      dirty=$dirty$hidden ;;
  esac
  [ -z "$dirty" ] && return
  warn 'error: the workspace has changes that are not committed:'
  printf '%s\n' "$dirty" | sed -n '1,10s/^/error:   /p' >&2
  count=$(printf '%s\n' "$dirty" | wc -l)
  [ "$count" -le 10 ] || warn "error:   and $((count - 10)) more"
  warn "hint: commit them there (git agent-vm connect $(branch_word)), then push again"
  exit 1
}

# Git looks whether files have changed, and then replaces them: what is written in between would go down
# with the file that was there. So those that are about to be replaced have a second name until the end.
keep_names() {
  before=$gitdir/agentvm-before
  rm -rf "$before"
  [ -d "$w/.git" ] && ! is_null "$old" && mkdir -p "$before/files" && : >"$before/since" || return 0
  from=$old to=$new
  # Where nothing is, or no file, nothing can be lost.
  paths_between --diff-filter=a |
    xargs -0 -r cp -lP --parents -t "$before/files" -- >/dev/null 2>&1
}

# Whether git was told not to look for changes in some files. The last line tells that it saw all.
report_flags() {
  case $({ g ls-files -v && echo '!'; } | grep -m 1 '^[a-zS!]') in
    '') echo '=failed git ls-files failed in the workspace' ;;
    !*) ;;
    *) echo '=flags' ;;
  esac
  echo '=saw-flags'
}

# Whether $new has paths that $old has not.
report_additions() {
  if is_null "$old"; then
    echo '=added'
  elif added=$(g diff-tree -r --name-only --no-renames --diff-filter=A "$old^{tree}" "$new^{tree}"); then
    [ -z "$added" ] || echo '=added'
  else
    echo '=failed git diff-tree failed in the workspace'
  fi
  echo '=saw-paths'
}

# Room on the disk for whatever is done besides a push, in bytes, and room that is not looked at more
# closely by one.
plenty=$((4 << 30)) boundless=$((32 << 30))

# read_room GITDIR: sets $room to the bytes that were free when the session began, and $measured to all
# that was measured. Fails where nobody knows.
read_room() {
  measured=
  read -r measured 2>/dev/null <"$1/agentvm-room"
  # shellcheck disable=SC2086 # three words
  set_room $measured
}

# Whether what $new adds to the files fits on the disk.
report_room() {
  read_room "$gitdir" && [ "$room" -lt "$boundless" ] || return 0
  # It was measured before the objects came.
  # shellcheck disable=SC2046 # three words
  set_room $(measure .) || return 0
  from=$old to=$new
  # A path a line: mode and id before and after. Two sizes for each.
  needed=$(g diff-tree -r --no-renames --diff-filter=AMT "$(tree_of "$from")" "$(tree_of "$to")" |
    awk '$2 != "160000" { print $3; print $4 }' |
    g cat-file --batch-check='%(objectsize)' --buffer |
    awk '{ size = $2 == "" ? $1 : 0; size = int((size + 4095) / 4096) * 4096 }
      NR % 2 { was = size; next }
      size > was { sum += size - was }
      END { printf "%.0f", sum }')
  [ "${needed:-0}" -le "$room" ] ||
    echo "=failed the files of the push need $((needed / 1024)) KiB more, and the disk of the VM has $((room / 1024)) KiB left; make room there, then push again"
}

# Space for putting the files back, which writes the index a few times, where a push fills the disk.
reserve() {
  sizes=0
  [ ! -e "$gitdir/index" ] || sizes=$(stat -c %s "$gitdir/index" "$gitdir/agentvm-reserve" 2>/dev/null)
  bytes=$((${sizes%%"$nl"*} * 4 + 262144))
  # Two sizes: the second is that of an earlier push's.
  case $sizes in
    *"$nl"*) [ "${sizes##*"$nl"}" -lt "$bytes" ] || { echo '=saw-room'; return; } ;;
  esac
  fallocate -l "$bytes" "$gitdir/agentvm-reserve" 2>/dev/null ||
    head -c "$bytes" /dev/zero 2>/dev/null >"$gitdir/agentvm-reserve" ||
    echo '=failed the disk of the VM is full; make room there, then push again'
  echo '=saw-room'
}

hook_pre_receive() {
  # Descriptor 9 is the workspace's lock; the guest program opened it and gives it back.
  flock -n 9 || {
    warn 'waiting for another push to this workspace'
    flock -w 600 9 || refuse_push 'another push to this workspace does not end'
  }
  # git works in the directory that it entered, wherever that is by now.
  w=$AGENTVM_WORKSPACE
  # shellcheck disable=SC3013 # POSIX has it since 2024
  [ . -ef "$w/.git" ] || refuse_push 'the workspace was moved away during the push; push again'
  # A session that was cut off may have ended only now. It has to be mended before git looks where
  # the branch is checked out: else the ref would move under files that stay.
  ! may_have_leftovers || (
    leave_quarantine
    cd "$w" && mend_all
  ) || refuse_push 'a push was cut off, and git is at work in the workspace; push again when it has ended'
  mark_received agentvm-received || refuse_push 'cannot write to the workspace'
  while read -r old new ref; do
    look_at_update
  done
  exit 0
}

# git forbids refs to move in pre-receive, for the sake of the objects that are not in yet; none of
# those is touched here.
leave_quarantine() {
  unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_DIR
}

# Keeps what $ref is, $old, where it is not a part of $new. git read the refs before it took our lock.
look_at_update() {
  case $ref in
    refs/heads/*)
      is_null "$old" || is_null "$new" ||
        [ "$(g for-each-ref --format='%(objectname)' --merged="$new" "$ref")" != "$old" ] || return 0 ;;
  esac
  read_tip "$ref" || refuse_push 'git was killed in the workspace'
  [ "$tip" = "$old" ] || { is_null "$old" && is_null "$tip"; } ||
    refuse_push "$ref has moved meanwhile; fetch first"
  is_null "$old" && return
  case $ref in
    # What the host itself wrote.
    refs/remotes/host/*) ;;
    # A tag has a message of its own, and may stand where no branch is.
    *)
      (leave_quarantine && cd "$w" && rescue "$old" 'agentvm: replaced by a push') ||
        refuse_push "cannot keep what $ref was" ;;
  esac
}

hook_push_to_checkout() { # NEW
  new=$1 w=$AGENTVM_WORKSPACE gitdir=$AGENTVM_WORKSPACE/.git
  # shellcheck disable=SC3013 # POSIX has it since 2024
  if ! [ "$GIT_WORK_TREE" -ef "$w" ]; then
    # A linked worktree of the workspace.
    gitdir=$(cd "$GIT_DIR" && pwd -P) && w=$(cd "$GIT_WORK_TREE" && pwd -P) || exit 1
  fi
  cd "$w" || exit 1
  GIT_DIR=$gitdir GIT_WORK_TREE=$w
  export GIT_DIR GIT_WORK_TREE
  { read_head && read_tip "${head:-HEAD}"; } || refuse_push 'git was killed in the workspace'
  ref=${head:-HEAD} old=$tip
  refuse_dirty
  [ -d "$w/.git" ] ||
    refuse_push "${ref#refs/heads/} is checked out in the linked worktree $w; check out something else there"
  [ "$ref" != HEAD ] || refuse_push 'the workspace has meanwhile left its branch'
  case $report in
    *=added*) refuse_what_is_in_the_way ;;
  esac
  { read_head && read_tip "$ref"; } || refuse_push 'git was killed in the workspace'
  [ "$head $tip" = "$ref $old" ] || refuse_push "$ref has moved meanwhile; fetch first"
  open_journal || refuse_push 'cannot write to the workspace'
  said=$(g -c advice.detachedHead=false checkout -q --no-overwrite-ignore --detach "$new" 2>&1) && exit 0
  code=$?
  printf '%s\n' "$said" >&2
  # What was killed may not have been git itself, which then still moves files.
  [ "$code" -lt 128 ] || ! git_is_running ||
    refuse_push 'git was killed in the workspace; the next command puts it back'
  case $said in
    *'would be overwritten'* | *'would lose untracked'*)
      # Nothing has moved.
      rm -rf "$gitdir/agentvm-before"
      empty "$journal" ;;
    *)
      # A killed checkout leaves its locks behind.
      [ "$code" -lt 128 ] || rm -f "$gitdir/index.lock" "$gitdir/HEAD.lock"
      mend || warn 'error: the workspace could not be put back at once; the next command does it' ;;
  esac
  exit 1
}

# From here on files may move. It has to be on the disk before the first one does; what the files need,
# mend gives them.
open_journal() {
  read_boot
  journal=$gitdir/agentvm-journal
  [ ! -d "$gitdir/agentvm-before" ] || printf '%s\n' "$old" >"$gitdir/agentvm-before/moving" || return 1
  if printf '%s %s %s %s %s end\n' "$ref" "$old" "$new" "$nonce" "$this_boot" >"$journal"; then
    flush_file "$journal"
  else
    empty "$journal"
    return 1
  fi
}

# Files in the way, ignored ones included, are named before anything moves.
refuse_what_is_in_the_way() {
  from=$old to=$new
  # shellcheck disable=SC2016 # the inner shell expands them
  in_the_way=$(paths_between --diff-filter=A |
    not_behind_links |
    xargs -0 sh -c 'for path; do
      if [ -L "$path" ] || [ -f "$path" ]; then printf "%s\n" "$path"
      elif [ -e "$path" ]; then git -c core.fsmonitor=false -c core.quotePath=false ls-files -o -- "$path"; fi
    done' sh)
  [ -z "$in_the_way" ] && return
  warn 'error: the push would overwrite files of the workspace that git does not track:'
  printf '%s\n' "$in_the_way" | sed -n '1,10s/^/error:   /p' >&2
  warn 'hint: move them away or commit them there, then push again'
  exit 1
}

receive() {
  created=0
  find_workspace || make_workspace
  cd -P "$root/$name" || fail failed "cannot enter $root/$name in the VM"
  w=$PWD
  { can_write "$w/.git/agentvm.lock" && mend_if_free; } || fail failed "cannot write to $w in the VM"
  clear_incoming
  write_hooks
  say workspace "$name"
  say created "$created"
  say branch "$ref"
  # Whether names that differ in case are one.
  # shellcheck disable=SC3013 # POSIX has it since 2024
  [ ! .git/HEAD -ef .git/hEAD ] || say folds 1
  say end ok
  AGENTVM_NOW=$now AGENTVM_SESSION=$nonce AGENTVM_WORKSPACE=$w
  export AGENTVM_NOW AGENTVM_SESSION AGENTVM_WORKSPACE
  exec 9>"$w/.git/agentvm.lock"
  # Measured while the host gets ready, so that nobody waits for it.
  measure . >.git/agentvm-room 2>/dev/null <&- 9>&- &
  # Objects that a workspace borrows are not worth a process to name them.
  git -c core.hooksPath="$hooks" -c core.fsmonitor=false -c core.fsync=all -c core.fsyncMethod=batch \
    -c core.alternateRefsCommand=true -c gc.auto=0 \
    -c maintenance.auto=false -c receive.autogc=false -c receive.denyCurrentBranch=updateInstead \
    -c receive.advertisePushOptions=true \
    -c receive.denyDeleteCurrent=refuse -c receive.shallowUpdate=true -c receive.updateServerInfo=false \
    -c core.logAllRefUpdates=always -c transfer.hideRefs=refs/rescue -c transfer.hideRefs=refs/stash \
    -c transfer.hideRefs=refs/agentvm receive-pack "$w"
  settle $?
  exit 0
}

# What "sudo git" leaves: no later push could store anything, and git does not say why.
tell_of_foreign_files() {
  theirs='' count=0
  for path in . .git .git/objects .git/objects/?? .git/objects/pack .git/refs .git/refs/heads .git/logs/HEAD \
    ".git/logs/$ref"; do
    if [ -w "$path" ] || [ ! -e "$path" ]; then continue; fi
    count=$((count + 1))
    [ "$count" -gt 3 ] || theirs="$theirs $path"
  done
  [ "$count" -gt 0 ] || return 0
  [ "$count" -le 3 ] || theirs="$theirs and $((count - 3)) more"
  warn "error: in the workspace is what its user may not write:$theirs"
  warn "hint: git agent-vm connect $(branch_word) -- sudo chown -R $(id -un) . gives all of it back"
}

# Told with the push that may be the last one to fit.
tell_of_full_disk() {
  # shellcheck disable=SC2086 # three words
  read_room "$w/.git" && is_nearly_full $measured || return 0
  warn "warning: the disk of the VM is nearly full: $((room >> 20)) MiB are left"
  warn 'hint: git agent-vm status says what makes room'
}

# What is left to do when git has ended with $1.
settle() {
  tell_of_foreign_files
  tell_of_full_disk
  read -r session boot 2>/dev/null <"$w/.git/agentvm-received" || session=
  received=
  [ "$session" != "$nonce" ] || received=1
  [ -n "$received" ] || [ "$created" = 1 ] || return 0
  if [ -z "$received" ] || ! is_settled "$1"; then
    # Opened anew, so that the lock is no longer shared with what a killed git has left running: a
    # hook, or a checkout, that still moves files. Whoever else has it mends, or the next command.
    can_write "$w/.git/agentvm.lock" || exit 1
    exec 9>"$w/.git/agentvm.lock"
    flock -n 9 || { [ "$1" != 0 ] && flock -w 10 9; } || return 0
    # What was killed leaves its locks behind. What cannot be done now, the next command does.
    mend_all
  else
    # A hook that was killed leaves its lists behind, and git may still have ended with 0.
    forget_lists
    mend && look_back && [ -n "$received" ] && [ -d "$w/.git" ] && empty "$w/.git/agentvm-received"
  fi
  forget_unborn
  # git flushes a ref's file, but not its new name in the directory, nor the files that it checks
  # out. The host says that a push is done only after this program has ended with 0, so all of it has
  # to be on the disk.
  if [ -n "$received" ]; then
    flush || exit 1
    pack_now_and_then
  fi
}

# A push leaves some loose objects, or a pack, and where no agent's git tidies up, nobody does. After
# some two thousand objects or fifty packs, they become few packs. This way takes all objects along,
# whether anything refers to them or not, and takes away what is in a new pack only.
pack_now_and_then() {
  # One of 256 directories; names of objects are spread evenly.
  set -- "$w"/.git/objects/17/*
  loose=$#
  set -- "$w"/.git/objects/pack/*.pack
  # What could not be packed the last time is no reason to try each time.
  read -r old_loose old_packs 2>/dev/null <"$w/.git/agentvm-packed" || old_loose=0 old_packs=0
  case $old_loose$old_packs in *[!0-9]* | '') old_loose=0 old_packs=0 ;; esac
  [ "$loose" -ge $((old_loose + 8)) ] || [ $# -ge $((old_packs + 50)) ] || return 0
  # For a while it needs as much room again as it packs.
  read_room "$w/.git" && [ "$room" -ge "$plenty" ] || return 0
  g -c core.fsync=all repack --geometric=2 -d -l -q >/dev/null 2>&1
  set -- "$w"/.git/objects/17/*
  loose=$#
  set -- "$w"/.git/objects/pack/*.pack
  printf '%s %s\n' "$loose" $# 2>/dev/null >"$w/.git/agentvm-packed"
}

# Whether nothing of git's still runs after it has ended with $1: then the lock that our hook took is
# our own. The journal is closed, or the checkout and the ref are where they should be.
is_settled() {
  [ "$1" = 0 ] || return 1
  [ -s "$w/.git/agentvm-journal" ] || return 0
  read -r ref old new session boot end <"$w/.git/agentvm-journal" && [ "$session $end" = "$nonce end" ] &&
    read_tip "$ref" && [ "$tip" = "$new" ] && read_tip HEAD && [ "$tip" = "$new" ]
}

# Everything that was written below the workspace is on the disk, or one file.
flush() { sync -f "$w" 2>/dev/null || sync; }

flush_file() { sync "$1" 2>/dev/null || sync; }

# A workspace that this session made and nothing came into: a dry run, a failing pre-push hook.
forget_unborn() {
  [ "$created" = 1 ] && [ "$(ls -A "$w")" = .git ] || return 0
  # A git that was killed names no refs, too.
  refs=$(g for-each-ref --count=1) && [ -z "$refs" ] || return 0
  # Under the lock that whoever makes workspaces holds, so that nobody meets half of one.
  exec 8>"$root/.lock"
  # Renamed first: what a killed git has left running may still write there.
  flock -w 5 8 && cd "$root" && mv "$w/.git" ".new.$nonce" && rmdir "$w"
  rm -rf ".new.$nonce"
}
