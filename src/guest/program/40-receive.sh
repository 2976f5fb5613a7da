
# Receiving a push: our hooks, what they refuse, and the session around git receive-pack.

# Our hooks, in a directory named by the hash of this text and never changed.
write_hooks() {
  hooks=$HOME/.local/share/agentvm/hooks-$hash
  [ -x "$hooks/push-to-checkout" ] && return
  mkdir -p "$hooks" || fail failed "cannot make $hooks in the VM"
  temporary=$hooks/.new.$$
  { printf %s "$program" | base64 -d >"$temporary" && mv -f "$temporary" "$hooks/program"; } ||
    fail failed "cannot write to $hooks in the VM"
  for hook in pre-receive update push-to-checkout; do
    # shellcheck disable=SC2016 # the hook expands them
    { printf '#!/bin/sh\nexec sh "${0%%/*}/program" hook %s "$@"\n' "$hook" >"$temporary" &&
      chmod 755 "$temporary" && mv -f "$temporary" "$hooks/$hook"; } ||
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
# nevertheless. NUL at each end.
hidden_changes() {
  [ -n "$(flagged | head -c 1)" ] || return 0
  # Not in the workspace, where another session would clear it away.
  copy=$(mktemp) && cp -p "$1/index" "$copy" || return 1
  # Given both options, git obeys the first alone.
  for flag in --no-assume-unchanged --no-skip-worktree; do
    flagged | GIT_INDEX_FILE=$copy g update-index "$flag" -z --stdin
  done
  GIT_INDEX_FILE=$copy g update-index -q --refresh >/dev/null
  flagged | xargs -0 env GIT_INDEX_FILE="$copy" git --literal-pathspecs -c core.fsmonitor=false \
    diff-files -z --name-only --diff-filter=MT --
  rm -f "$copy" "$copy.lock"
}

# grep would take a name with a line end for two lines.
flagged() { g ls-files -v -z | tr '\0\n' '\n\0' | sed -n 's/^[a-zS] //p' | tr '\0\n' '\n\0'; }

refuse_push() {
  warn "error: $1"
  exit 1
}

# Refuses a push onto work that is not committed. In the work tree; $1 is the git directory.
refuse_dirty() {
  now_doing=$(operation "$1")
  [ -z "$now_doing" ] ||
    refuse_push "a $now_doing is in progress in the workspace; finish it there (git $now_doing --continue) or give it up (git $now_doing --abort)"
  for lock in index HEAD "$ref" packed-refs; do
    [ -e "$1/$lock.lock" ] || continue
    age=$(($(date +%s) - $(stat -c %Y "$1/$lock.lock" 2>/dev/null || date +%s)))
    refuse_push "the lock .git/$lock.lock is there since $age s: a git command is at work in the workspace, or was killed; if none runs, remove it there"
  done
  # A copy of the index is brought up to date, not the index: whoever is killed meanwhile leaves no
  # lock behind, and the agent's own git is not disturbed. It keeps the index's time: git compares
  # the bytes of files that are no older than that.
  copy=$1/agentvm-index.$$
  [ ! -e "$1/index" ] || cp -p "$1/index" "$copy" || exit 1
  GIT_INDEX_FILE=$copy g update-index -q --refresh >/dev/null 2>&1
  base=$(g rev-parse -q --verify HEAD 2>/dev/null) || base=$(tree_of "$zeros")
  dirty=$({ GIT_INDEX_FILE=$copy g diff-index -z --name-only --ignore-submodules=dirty "$base" --
    GIT_INDEX_FILE=$copy g diff-index -z --name-only --cached --ignore-submodules=dirty "$base" --
    hidden_changes "$1"; } | tr '\0\n' '\n?' | sort -u)
  rm -f "$copy"
  [ -z "$dirty" ] && return
  warn 'error: the workspace has changes that are not committed:'
  printf '%s\n' "$dirty" | sed -n '1,10s/^/error:   /p' >&2
  count=$(printf '%s\n' "$dirty" | wc -l)
  [ "$count" -le 10 ] || warn "error:   and $((count - 10)) more"
  warn "hint: commit them there (git agent-vm connect $(branch_word)), then push again"
  exit 1
}

hook_pre_receive() {
  # Descriptor 9 is the workspace's lock; the guest program opened it and gives it back.
  flock -n 9 || {
    warn 'waiting for another push to this workspace'
    flock -w 600 9 || refuse_push 'another push to this workspace does not end'
  }
  # git works in the directory that it entered, wherever that is by now.
  [ "$(pwd -P)" = "$(cd "$AGENTVM_WORKSPACE/.git" 2>/dev/null && pwd -P)" ] ||
    refuse_push 'the workspace was moved away during the push; push again'
  # Something is about to change. Who finds this file, and has the lock, knows of a cut-off push.
  : >"$GIT_DIR/agentvm-received-$nonce" || refuse_push 'cannot write to the workspace'
  # A session that was cut off may have ended only now. It has to be mended before git looks where
  # the branch is checked out: else the ref would move under files that stay. git forbids refs to
  # move in this hook, for the sake of the objects that are not in yet; none of those is touched.
  (
    unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_DIR
    w=$AGENTVM_WORKSPACE
    cd "$w" && mend
  ) || refuse_push 'a push was cut off, and git is at work in the workspace; push again when it has ended'
  exit 0
}

hook_update() { # REF OLD NEW
  # git read the refs before it took our lock.
  [ "$(tip_of "$1")" = "$2" ] || { is_null "$2" && is_null "$(tip_of "$1")"; } ||
    refuse_push "$1 has moved meanwhile; fetch first"
  is_null "$2" && exit 0
  case $1 in
    # What the host itself wrote.
    refs/remotes/host/*) exit 0 ;;
    refs/heads/*) ! is_null "$3" && g merge-base --is-ancestor "$2" "$3" && exit 0 ;;
    # A tag has a message of its own, and may stand where no branch is.
  esac
  rescue "$2" 'agentvm: replaced by a push' || refuse_push "cannot keep what $1 was"
  exit 0
}

# Space for putting the files back, which writes the index a few times, where the push fills the
# disk. mend gives it back.
reserve() {
  bytes=$(stat -c %s "$gitdir/index" 2>/dev/null)
  bytes=$((${bytes:-0} * 4 + 262144))
  fallocate -l "$bytes" "$gitdir/agentvm-reserve" 2>/dev/null ||
    head -c "$bytes" /dev/zero 2>/dev/null >"$gitdir/agentvm-reserve"
}

hook_push_to_checkout() { # NEW
  new=$1
  gitdir=$(cd "$GIT_DIR" && pwd -P)
  cd "$GIT_WORK_TREE" || exit 1
  w=$(pwd -P)
  # Of a linked worktree, git tells which ref is checked out there.
  ref=$(GIT_DIR=$gitdir checked_out) || refuse_push 'git was killed'
  ref=${ref:-HEAD}
  GIT_DIR=$gitdir GIT_WORK_TREE=$w
  export GIT_DIR GIT_WORK_TREE
  refuse_dirty "$gitdir"
  [ -d "$w/.git" ] ||
    refuse_push "${ref#refs/heads/} is checked out in the linked worktree $w; check out something else there"
  [ "$ref" != HEAD ] || refuse_push 'the workspace has meanwhile left its branch'
  old=$(tip_of HEAD) || refuse_push 'git was killed'
  # Files in the way, ignored ones included, are named before anything moves.
  # shellcheck disable=SC2016 # the inner shell expands them
  in_the_way=$(paths_between --diff-filter=A |
    not_behind_links |
    xargs -0 sh -c 'for path; do
      if [ -L "$path" ] || [ -f "$path" ]; then printf "%s\n" "$path"
      elif [ -e "$path" ]; then git -c core.fsmonitor=false -c core.quotePath=false ls-files -o -- "$path"; fi
    done' sh)
  if [ -n "$in_the_way" ]; then
    warn 'error: the push would overwrite files of the workspace that git does not track:'
    printf '%s\n' "$in_the_way" | sed -n '1,10s/^/error:   /p' >&2
    warn 'hint: move them away or commit them there, then push again'
    exit 1
  fi
  reserve || refuse_push 'the disk of the VM is full; make room there, then push again'
  { printf '%s %s %s %s %s\n' "$ref" "$old" "$new" "$AGENTVM_SESSION" "$(boot_id)" >"$gitdir/agentvm-journal.new" &&
    mv -f "$gitdir/agentvm-journal.new" "$gitdir/agentvm-journal"; } ||
    refuse_push 'cannot write to the workspace'
  sync "$gitdir/agentvm-journal" 2>/dev/null
  said=$(g -c advice.detachedHead=false checkout -q --no-overwrite-ignore --detach "$new" 2>&1) && {
    # git flushes its objects and refs, but not the files that it checks out. They have to be on
    # the disk before the ref says that they are there.
    flush && exit 0
  }
  code=$?
  printf '%s\n' "$said" >&2
  case $said in
    *'would be overwritten'* | *'would lose untracked'*) rm -f "$gitdir/agentvm-journal" ;;
    *)
      # A killed checkout leaves its locks behind.
      [ "$code" -lt 128 ] || git_is_running || rm -f "$gitdir/index.lock" "$gitdir/HEAD.lock"
      mend || warn 'error: the workspace could not be put back at once; the next command does it' ;;
  esac
  exit 1
}

receive() {
  created=0
  find_workspace || make_workspace
  w=$root/$name
  cd "$w" || fail failed "cannot enter $w in the VM"
  mend_if_free || fail failed "cannot write to $w in the VM"
  write_hooks
  received=$w/.git/agentvm-received-$nonce # pre-receive makes it
  say workspace "$name"
  say created "$created"
  say branch "$ref"
  say end ok
  AGENTVM_NOW=$now AGENTVM_SESSION=$nonce AGENTVM_WORKSPACE=$w
  export AGENTVM_NOW AGENTVM_SESSION AGENTVM_WORKSPACE
  git -c core.hooksPath="$hooks" -c core.fsmonitor=false -c core.fsync=all -c gc.auto=0 \
    -c maintenance.auto=false -c receive.autogc=false -c receive.denyCurrentBranch=updateInstead \
    -c receive.advertisePushOptions=true \
    -c receive.denyDeleteCurrent=refuse -c receive.shallowUpdate=true -c receive.updateServerInfo=false \
    -c core.logAllRefUpdates=always -c transfer.hideRefs=refs/rescue -c transfer.hideRefs=refs/stash \
    -c transfer.hideRefs=refs/agentvm receive-pack "$w"
  ended=$?
  # Opened anew, so that the lock is no longer shared with what a killed git has left running: a
  # hook, or a checkout, that still moves files. Whoever else has it mends, or the next command.
  can_write "$w/.git/agentvm.lock" || exit 1
  exec 9>"$w/.git/agentvm.lock"
  if flock -n 9 || { [ "$ended" != 0 ] && flock -w 10 9; }; then
    mend
    forget_unborn
  fi
  # git flushes a ref's file, but not its new name in the directory. The host says that a push is
  # done only after this program has ended with 0, so all of it has to be on the disk.
  if [ -e "$received" ]; then
    rm -f "$received"
    flush || exit 1
  fi
  exit 0
}

# Everything that was written below the workspace is on the disk.
flush() { sync -f "$w" 2>/dev/null || sync; }

# A workspace that this session made and nothing came into: a dry run, a failing pre-push hook.
forget_unborn() {
  [ "$created" = 1 ] && [ "$(ls -A "$w")" = .git ] && [ -z "$(g for-each-ref --count=1)" ] || return 0
  # Under the lock that whoever makes workspaces holds, so that nobody meets half of one.
  exec 8>"$root/.lock"
  # Renamed first: what a killed git has left running may still write there.
  flock -w 5 8 && cd "$root" && mv "$w/.git" ".new.$nonce" && rmdir "$w"
  rm -rf ".new.$nonce"
}
