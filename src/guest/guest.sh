# The guest program: everything that git-agent-vm does in the VM.
#
# POSIX sh. It travels in base64 as the ssh command itself and is run by
#     sh -c 'eval "$(printf %s "$0" | base64 -d)"' BASE64 NONCE HASH NOW VERB ARGS…
# so nothing needs installing and standard input stays free for git. NONCE marks where our own
# output begins, HASH is that of this text, NOW is the host's time (the guest's clock is not
# trusted). Each ARG is p and a plain word, or b and base64. Output: see src/guest/wire.rs.
#
# As a git hook the same text is run from a file: program hook VERB ARGS… (arguments as they are).
#
# Fields are read by a host that trusts nothing here; what is refused here is refused to keep the
# agent's work, not to keep the agent out.

set -u
user_locale=${LC_ALL-}
LC_ALL=C
export LC_ALL
unset CDPATH

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

warn() { printf '%s\n' "$1" >&2; }

# ---------------------------------------------------------------------------------------------
# Finding and making workspaces
# ---------------------------------------------------------------------------------------------

# marked NAME: whether that workspace belongs to $id and $ref.
marked() {
  [ -f "$root/$1/.git/config" ] || return 1
  [ "$(git config --file "$root/$1/.git/config" --get agentvm.repo)" = "$id" ] &&
    [ "$(git config --file "$root/$1/.git/config" --get agentvm.ref)" = "$ref" ]
}

# Sets $name to the workspace of $id and $ref. An empty $id means the name $plain, as it is.
find_workspace() {
  if [ -z "$id" ]; then
    name=$plain
    [ -f "$root/$name/.git/config" ] || return 1
    id=$(git config --file "$root/$name/.git/config" --get agentvm.repo) &&
      ref=$(git config --file "$root/$name/.git/config" --get agentvm.ref)
    return
  fi
  for name in "$plain" "$hashed"; do
    [ -n "$name" ] && marked "$name" && return 0
  done
  # The repository may have had another name when the workspace was made.
  found=$(grep -lF -- "$id" "$root"/*/.git/config 2>/dev/null | sed 's|/\.git/config$||; s|.*/||' |
    while read -r name; do marked "$name" && printf %s "$name" && break; done)
  name=$found
  [ -n "$name" ]
}

# A value for a git configuration file.
quoted() {
  printf '"%s"' "$(printf %s "$1" | tr -d '\n\r' | sed 's/[\\"]/\\&/g')"
}

# Makes the workspace of $id and $ref, whole or not at all, under a lock that two sessions share.
make_workspace() {
  case $(git --version 2>/dev/null) in
    'git version 2.'[0-9].* | 'git version 2.'[12][0-9].* | 'git version 2.3'[0-8].*)
      fail program 'the VM needs git 2.39 or newer' ;;
    'git version '*) ;;
    *) fail program 'there is no git in the VM' ;;
  esac
  command -v flock >/dev/null || fail program 'there is no flock (util-linux) in the VM'
  mkdir -p "$root" || fail failed "cannot make $root in the VM"
  exec 8>"$root/.lock" || fail failed "cannot write to $root in the VM"
  flock -w 60 8 || fail failed 'another command is making a workspace and does not end'
  if find_workspace; then
    exec 8>&-
    return
  fi
  # Left by a session that was killed; only ever an empty repository.
  rm -rf "$root"/.new.*
  new=$(mktemp -d "$root/.new.XXXXXX") || fail failed "cannot write to $root in the VM"
  git init -q --object-format="$format" -b "${ref#refs/heads/}" "$new" >&2 ||
    fail failed 'git init failed in the VM'
  cat >>"$new/.git/config" <<END || fail failed "cannot write to $root in the VM"
[agentvm]
	repo = $id
	ref = $(quoted "$ref")
[user]
	name = $(quoted "$user_name")
	email = $(quoted "$user_email")
[commit]
	gpgSign = false
[tag]
	gpgSign = false
[receive]
	denyCurrentBranch = updateInstead
	shallowUpdate = true
[core]
	logAllRefUpdates = always
	fsync = all
[gc]
	pruneExpire = never
	reflogExpire = never
	reflogExpireUnreachable = never
END
  for name in "$plain" "$hashed"; do
    [ -n "$name" ] || continue
    # An empty directory is free; another spelling of the name is not, on file systems that fold.
    [ -d "$root/$name" ] && rmdir "$root/$name" 2>/dev/null
    [ -z "$(find "$root" -mindepth 1 -maxdepth 1 -iname "$name" -print)" ] || continue
    { mkdir "$root/$name" && mv "$new/.git" "$root/$name/.git" && rmdir "$new"; } ||
      fail failed "cannot write to $root in the VM"
    created=1
    exec 8>&-
    return
  done
  fail failed "no name is free for the workspace: $root/$hashed belongs to something else"
}

# ---------------------------------------------------------------------------------------------
# Receiving a push
# ---------------------------------------------------------------------------------------------

# Our hooks, in a directory named by the hash of this text and never changed.
write_hooks() {
  hooks=$HOME/.local/share/agentvm/hooks-$hash
  [ -x "$hooks/push-to-checkout" ] && return
  mkdir -p "$hooks" || fail failed "cannot make $hooks in the VM"
  temporary=$hooks/.new.$$
  { printf %s "$0" | base64 -d >"$temporary" && mv -f "$temporary" "$hooks/program"; } ||
    fail failed "cannot write to $hooks in the VM"
  for hook in pre-receive update push-to-checkout; do
    # shellcheck disable=SC2016 # the hook expands them
    { printf '#!/bin/sh\nexec sh "${0%%/*}/program" hook %s "$@"\n' "$hook" >"$temporary" &&
      chmod 755 "$temporary" && mv -f "$temporary" "$hooks/$hook"; } ||
      fail failed "cannot write to $hooks in the VM"
  done
}

zeros=0000000000000000000000000000000000000000

tip_of() { g rev-parse -q --verify "$1" 2>/dev/null || printf %s "${zeros}"; }

is_null() { case $1 in *[!0]*) return 1 ;; esac; }

# The tree of a commit, or the empty tree for "no commit".
tree_of() { if is_null "$1"; then g hash-object -t tree /dev/null; else printf %s "$1^{tree}"; fi; }

# Keeps a commit that something is about to replace.
rescue() { # COMMIT WHY
  g update-ref -m "$2" "refs/rescue/${now:-0}-$(printf %.10s "$1")" "$1"
}

# Whether the agent's git is at work in this workspace. Services of other sessions wait for the
# lock that we hold, so they do not count.
git_is_running() {
  [ -n "$(find /proc/[0-9]*/cwd -maxdepth 0 '(' -lname "$w" -o -lname "$w/*" ')' 2>/dev/null |
    while read -r link; do
      process=${link%/cwd}
      [ "$(cat "$process/comm" 2>/dev/null)" = git ] || continue
      case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
        *receive-pack* | *upload-pack*) ;;
        *) printf . ;;
      esac
    done)" ]
}

# Which boot of this machine this is; where that is not known, always the same.
boot_id() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo -; }

# Finishes or undoes a push that was cut off. Runs under the lock, in the work tree. What is in the
# journal: the ref, its old and its new commit, the session, the boot.
mend() {
  journal=$w/.git/agentvm-journal
  [ -f "$journal" ] || return 0
  read -r ref old new session boot <"$journal" || return 1
  # The end of a push of this session needs no such care; a killed git leaves its locks behind.
  if [ "$session" != "$nonce" ]; then
    git_is_running && return 1
    for lock in index HEAD "$ref" packed-refs; do
      rm -f "$w/.git/$lock.lock"
    done
  fi
  tip=$(tip_of "$ref")
  head=$(g symbolic-ref -q HEAD) || head=
  at=$(tip_of HEAD)
  if [ "$tip" = "$new" ]; then
    if [ -z "$head" ] && [ "$at" = "$new" ]; then
      g symbolic-ref -m 'agentvm: push' HEAD "$ref" || return 1
    fi
  elif [ -z "$head" ] && [ "$at" = "$new" ]; then
    undo_checkout || return 1
  elif [ "$head" = "$ref" ] && [ "$tip" = "$old" ]; then
    undo_files || return 1
  fi
  # In any other state the agent has gone on by itself: its word counts.
  rm -f "$journal"
}

# All files are at $new, the ref is not: back to $old. If the agent has changed files since, on to
# $new; if the machine went down, what differs is what had not reached the disk.
undo_checkout() {
  if g read-tree -m -u "$(tree_of "$new")" "$(tree_of "$old")" 2>/dev/null; then
    g symbolic-ref -m 'agentvm: push undone' HEAD "$ref"
  elif [ "$boot" != "$(boot_id)" ]; then
    undo_files && g symbolic-ref -m 'agentvm: push undone' HEAD "$ref"
  else
    is_null "$old" || rescue "$old" 'agentvm: replaced by a push'
    g update-ref -m 'agentvm: push' "$ref" "$new" && g symbolic-ref -m 'agentvm: push' HEAD "$ref"
  fi
}

# Some files may be at $new: all back to $old. What is neither the one nor the other is kept under
# refs/rescue first.
undo_files() {
  list=$w/.git/agentvm-paths
  index=$w/.git/agentvm-index
  g diff-tree -r -z --name-only --no-renames "$(tree_of "$old")" "$(tree_of "$new")" >"$list" || return 1
  GIT_INDEX_FILE=$index g read-tree "$(tree_of "$old")" &&
    GIT_INDEX_FILE=$index g update-index --add --remove -z --stdin <"$list" 2>/dev/null &&
    seen=$(GIT_INDEX_FILE=$index g write-tree) || return 1
  g diff-tree -r --no-renames --diff-filter=d --name-only "$(tree_of "$old")" "$seen" | sort >"$list.old"
  g diff-tree -r --no-renames --diff-filter=d --name-only "$(tree_of "$new")" "$seen" | sort >"$list.new"
  if [ -n "$(comm -12 "$list.old" "$list.new")" ]; then
    set -- -m 'agentvm: files found after a push was cut off'
    is_null "$old" || set -- "$@" -p "$old"
    kept=$(g commit-tree "$@" "$seen") && rescue "$kept" 'agentvm: cut-off push' || return 1
    warn "a push was cut off: files that were neither old nor new are kept as $(printf %.10s "$kept") under refs/rescue/"
  fi
  g read-tree "$(tree_of "$old")" || return 1
  # shellcheck disable=SC2016 # the inner shell expands them
  g diff-tree -r -z --name-only --no-renames --diff-filter=A "$(tree_of "$old")" "$(tree_of "$new")" |
    xargs -0 sh -c 'for path; do rm -f -- "$path"; rmdir -p -- "${path%/*}" 2>/dev/null; done' sh
  g diff-tree -r -z --name-only --no-renames --diff-filter=a "$(tree_of "$old")" "$(tree_of "$new")" |
    g checkout-index -f -q -z --stdin || return 1
  g update-index -q --refresh >/dev/null 2>&1
  rm -f "$list" "$list.old" "$list.new" "$index"
}

# The operation that is in progress, if any.
operation() {
  for pair in MERGE_HEAD:merge rebase-merge:rebase rebase-apply/applying:am rebase-apply:rebase \
    CHERRY_PICK_HEAD:cherry-pick REVERT_HEAD:revert BISECT_LOG:bisect; do
    [ -e "$1/${pair%%:*}" ] && printf %s "${pair##*:}" && return
  done
}

# Paths whose changes git was told not to look for (assume-unchanged, skip-worktree), changed
# nevertheless. One a line.
hidden_changes() {
  g ls-files -v -z | tr '\0\n' '\n\0' | grep -q '^[a-zS]' || return 0
  copy=$1/agentvm-flags.$$
  cp "$1/index" "$copy" || return 1
  # Given both options, git obeys the first alone.
  for flag in --no-assume-unchanged --no-skip-worktree; do
    g ls-files -v -z | tr '\0\n' '\n\0' | sed -n 's/^[a-zS] //p' | tr '\0\n' '\n\0' |
      GIT_INDEX_FILE=$copy g update-index "$flag" -z --stdin
  done
  GIT_INDEX_FILE=$copy g update-index -q --refresh >/dev/null
  GIT_INDEX_FILE=$copy g diff-files -z --name-only --diff-filter=MT
  rm -f "$copy" "$copy.lock"
}

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
  g update-index -q --refresh >/dev/null 2>&1
  base=$(g rev-parse -q --verify HEAD 2>/dev/null) || base=$(tree_of "$zeros")
  dirty=$({ g diff-index -z --name-only --ignore-submodules=dirty "$base" --
    g diff-index -z --name-only --cached --ignore-submodules=dirty "$base" --
    hidden_changes "$1"; } | tr '\0\n' '\n?' | sort -u)
  [ -z "$dirty" ] && return
  warn 'error: the workspace has changes that are not committed:'
  printf '%s\n' "$dirty" | sed -n '1,10s/^/error:   /p' >&2
  count=$(printf '%s\n' "$dirty" | wc -l)
  [ "$count" -le 10 ] || warn "error:   and $((count - 10)) more"
  warn "hint: commit them there (git agent-vm connect ${ref#refs/heads/}), then push again"
  exit 1
}

hook_pre_receive() {
  # Descriptor 9 is the workspace's lock; the guest program opened it and gives it back.
  flock -n 9 && exit 0
  warn 'waiting for another push to this workspace'
  flock -w 600 9 || refuse_push 'another push to this workspace does not end'
  exit 0
}

hook_update() { # REF OLD NEW
  w=$(cd "$GIT_DIR/.." && pwd -P)
  if [ -f "$w/.git/agentvm-journal" ]; then
    read -r _ _ _ session _ <"$w/.git/agentvm-journal"
    # Not this push's own: with --atomic all files move before all refs.
    # shellcheck disable=SC2030,SC2031 # meant: for mend alone
    [ "$session" = "${AGENTVM_SESSION-}" ] ||
      (GIT_DIR=$w/.git GIT_WORK_TREE=$w && export GIT_DIR GIT_WORK_TREE && cd "$w" && mend) ||
      refuse_push 'a push was cut off, and git is at work in the workspace; push again when it has ended'
  fi
  # git read the refs before it took our lock.
  [ "$(tip_of "$1")" = "$2" ] || { is_null "$2" && is_null "$(tip_of "$1")"; } ||
    refuse_push "$1 has moved meanwhile; fetch first"
  case $1 in refs/heads/*) ;; *) exit 0 ;; esac
  if ! is_null "$2" && { is_null "$3" || ! g merge-base --is-ancestor "$2" "$3"; }; then
    rescue "$2" 'agentvm: replaced by a push' || refuse_push "cannot keep the old commit of $1"
  fi
  exit 0
}

hook_push_to_checkout() { # NEW
  new=$1
  # shellcheck disable=SC2031 # as git gave them
  gitdir=$(cd "$GIT_DIR" && pwd -P)
  # shellcheck disable=SC2031
  cd "$GIT_WORK_TREE" || exit 1
  w=$(pwd -P)
  # Of a linked worktree, git tells which ref is checked out there.
  ref=$(GIT_DIR=$gitdir git symbolic-ref -q HEAD) || ref=HEAD
  GIT_DIR=$gitdir GIT_WORK_TREE=$w
  export GIT_DIR GIT_WORK_TREE
  refuse_dirty "$gitdir"
  [ -d "$w/.git" ] ||
    refuse_push "${ref#refs/heads/} is checked out in the linked worktree $w; check out something else there"
  old=$(tip_of HEAD)
  # Files in the way, ignored ones included, are named before anything moves.
  # shellcheck disable=SC2016 # the inner shell expands them
  in_the_way=$(g diff-tree -r -z --name-only --no-renames --diff-filter=A "$(tree_of "$old")" "$(tree_of "$new")" |
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
  { printf '%s %s %s %s %s\n' "$ref" "$old" "$new" "$AGENTVM_SESSION" "$(boot_id)" >"$gitdir/agentvm-journal.new" &&
    mv -f "$gitdir/agentvm-journal.new" "$gitdir/agentvm-journal"; } ||
    refuse_push 'cannot write to the workspace'
  sync "$gitdir/agentvm-journal" 2>/dev/null
  said=$(g -c advice.detachedHead=false checkout -q --no-overwrite-ignore --detach "$new" 2>&1) && {
    # git flushes its objects and refs, but not the files that it checks out. They have to be on
    # the disk before the ref says that they are there.
    sync -f "$w" 2>/dev/null || sync
    exit 0
  }
  printf '%s\n' "$said" >&2
  case $said in
    *'would be overwritten'* | *'would lose untracked'*) rm -f "$gitdir/agentvm-journal" ;;
    *) mend || warn 'error: the workspace could not be put back at once; the next command does it' ;;
  esac
  exit 1
}

# Mends under the lock if nobody has it.
mend_if_free() {
  exec 9>"$w/.git/agentvm.lock" || fail failed "cannot write to $w in the VM"
  if flock -n 9; then
    mend || warn 'warning: a push that was cut off cannot be mended while git is at work in the workspace'
    flock -u 9
  fi
}

receive() {
  created=0
  find_workspace || make_workspace
  w=$root/$name
  cd "$w" || fail failed "cannot enter $w in the VM"
  mend_if_free
  write_hooks
  say workspace "$name"
  say created "$created"
  say branch "$ref"
  say end ok
  AGENTVM_NOW=$now AGENTVM_SESSION=$nonce
  export AGENTVM_NOW AGENTVM_SESSION
  git -c core.hooksPath="$hooks" -c core.fsmonitor=false -c core.fsync=all -c gc.auto=0 \
    -c maintenance.auto=false -c receive.autogc=false -c receive.denyCurrentBranch=updateInstead \
    -c receive.denyDeleteCurrent=refuse -c receive.shallowUpdate=true -c receive.updateServerInfo=false \
    -c core.logAllRefUpdates=always -c transfer.hideRefs=refs/rescue -c transfer.hideRefs=refs/stash \
    -c transfer.hideRefs=refs/agentvm -c transfer.hideRefs=refs/remotes receive-pack "$w"
  code=$?
  # Free already where this session had it: git has ended. Else another push is live, and mends.
  if flock -n 9; then
    mend
    forget_unborn
  fi
  exit $code
}

# A workspace that this session made and nothing came into: a dry run, a failing pre-push hook.
forget_unborn() {
  [ "$created" = 1 ] && [ "$(ls -A "$w")" = .git ] && [ -z "$(g for-each-ref --count=1)" ] || return 0
  cd "$root" && rm -rf "$w/.git" && rmdir "$w"
}

# ---------------------------------------------------------------------------------------------
# Serving a fetch
# ---------------------------------------------------------------------------------------------

# What git knows of the work tree: lines "XY path", NUL at each end. Nothing is hidden.
work_tree_state() {
  g -c core.excludesFile=/dev/null -c status.renames=false status --porcelain=v1 -z -uall \
    --ignored="${1:-no}" --ignore-submodules=none --no-renames
}

upload() {
  find_workspace || absent
  w=$root/$name
  cd "$w" || fail failed "cannot enter $w in the VM"
  mend_if_free
  say workspace "$name"
  say branch "$ref"
  say end ok
  count_files=
  if [ "$quiet" = 0 ]; then
    stays_behind &
    count_files=$!
  fi
  git -c core.fsmonitor=false -c uploadpack.allowFilter=false -c transfer.hideRefs=refs/rescue \
    -c transfer.hideRefs=refs/stash -c transfer.hideRefs=refs/agentvm upload-pack "$w"
  code=$?
  [ -z "$count_files" ] || wait_limited "$count_files" 10
  exit $code
}

# Says on stderr how many files are not committed: a fetch does not bring them.
stays_behind() {
  count=$(work_tree_state 2>/dev/null | tr -dc '\0' | wc -c)
  [ "$count" -eq 0 ] && return
  [ "$count" -eq 1 ] && files='1 file' || files="$count files"
  warn "hint: $files with uncommitted changes stay in the workspace (git agent-vm connect ${ref#refs/heads/} -- git status)"
}

# ---------------------------------------------------------------------------------------------
# Looking into workspaces
# ---------------------------------------------------------------------------------------------

# Says where the workspace is and how its branch lies to the host's commit $1 ("" for none). That
# there is no workspace is no failure.
locate() {
  if find_workspace; then
    w=$root/$name
    cd "$w" || fail failed "cannot enter $w in the VM"
    mend_if_free
    say workspace "$name"
    say tip "$(g rev-parse -q --verify "$ref" 2>/dev/null)"
    if [ -n "$1" ] && g merge-base --is-ancestor "$1" "$ref" 2>/dev/null; then say contains yes; fi
  fi
  say end ok
}

# The ids on standard input that this repository holds, for rev-list --stdin.
known_here() {
  g cat-file --batch-check='%(objectname) %(objecttype)' --buffer 2>/dev/null <"$1" |
    sed -n 's/^\([0-9a-f]*\) commit$/^\1/p'
}

# each KEY: lines to fields, at most 20000.
each() { head -n 20000 | tr '\n' '\0' | xargs -0 -r printf "$1=%s\\0"; }

# The names below $root that are workspaces, one a line.
workspaces() {
  for config in "$root"/*/.git/config; do
    [ -f "$config" ] || continue
    git config --file "$config" --get agentvm.repo >/dev/null || continue
    found=${config%/.git/config}
    printf '%s\n' "${found##*/}"
  done
}

say_owner() {
  say repo "$(git config --file "$root/$1/.git/config" --get agentvm.repo)"
  say ref "$(git config --file "$root/$1/.git/config" --get agentvm.ref)"
}

# inspect NAME FILE: fields of one workspace; FILE has the commits that the host holds. What is
# missing at the end was not learned.
inspect() {
  w=$root/$1
  cd "$w" || { say error 'it cannot be entered'; return; }
  trouble=$(g rev-parse --git-dir 2>&1 >/dev/null) || {
    say error "git cannot read it: $(printf '%s\n' "$trouble" | head -n 1)"
    return
  }
  say checked_out "$(g symbolic-ref -q HEAD)"
  say head "$(g rev-parse -q --verify HEAD)"
  say operation "$(operation .git)"
  say stashes "$(g rev-list -g --count refs/stash -- 2>/dev/null || echo 0)"
  [ -z "$(g rev-parse -q --verify HEAD)" ] || say last "$(g log -1 --format='%H %ct %s' HEAD --)"
  inspect_commits "$2"
  inspect_files "$2.state.$$"
}

inspect_commits() {
  head=
  g rev-parse -q --verify HEAD >/dev/null && head=HEAD
  ref=$(git config --file .git/config --get agentvm.ref)
  tip=$(g rev-parse -q --verify "$ref")
  say tip "$tip"
  known=$(known_here "$1")
  walk=$(printf '%s\n' "$known" | g rev-list --branches $head --stdin) || return
  say unfetched_count "$(printf '%s\n' "$walk" | grep -c .)"
  printf '%s\n' "$walk" | grep . | each unfetched
  [ -z "$tip" ] || printf '%s\n' "$known" | g rev-list --boundary "$tip" --stdin |
    sed -n 's/^-//p' | head -n 200 | each boundary
  say commits_learned yes
}

inspect_files() {
  state=$1
  if ! work_tree_state matching >"$state"; then
    rm -f "$state"
    say error 'git status fails there'
    return
  fi
  hidden=$(hidden_changes .git | tr -dc '\0' | wc -c)
  states=$(tr '\0\n' '\n?' <"$state" | cut -c1-2 | sort | uniq -c)
  rm -f "$state"
  say changed "$(printf '%s\n' "$states" |
    awk -v n="$hidden" '$2 != "??" && $2 != "!!" { n += $1 } END { print n + 0 }')"
  say untracked "$(printf '%s\n' "$states" | awk '$2 == "??" { n = $1 } END { print n + 0 }')"
  say ignored_bytes "$(g ls-files -z -o -i --exclude-standard --directory |
    xargs -0 -r du -sk -- 2>/dev/null | awk '{ n += $1 } END { printf "%.0f", n * 1024 }')"
}

# Of one workspace, in a process of its own: it and all that it started are ended at the limit.
look_into() {
  say workspace "$1"
  say_owner "$1"
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout -k 1 "$limit" sh -c 'eval "$(printf %s "$0" | base64 -d)"' \
    "$0" "$nonce" "$hash" "$now" inspect "p$1" "p$ids" ||
    say error "it takes longer than $limit s to look into it"
}

# All workspaces, four at a time, so that one that hangs does not hold up the others.
status() {
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  ids=$area/ids
  cat >"$ids"
  workspaces >"$area/names"
  running='' count=0
  while read -r name; do
    count=$((count + 1))
    look_into "$name" >"$area/$count.fields" 2>/dev/null </dev/null &
    running="$running $!"
    [ $((count % 4)) -ne 0 ] || wait_for_all
  done <"$area/names"
  wait_for_all
  rm -rf "$area"
  say disk "$({ df -Pk "$root" || df -Pk "$HOME"; } 2>/dev/null | awk 'NR == 2 { printf "%.0f %.0f", $2 * 1024, $3 * 1024 }')"
  say cpus "$(nproc 2>/dev/null)"
  say memory "$(awk '$1 == "MemTotal:" { printf "%.0f", $2 * 1024 }' /proc/meminfo 2>/dev/null)"
  say end ok
}

wait_for_all() {
  for child in $running; do
    wait_limited "$child" $((limit + 2))
  done
  running=
  for fields in "$area"/*.fields; do
    [ -f "$fields" ] && cat "$fields" && rm -f "$fields"
  done
}

# wait_limited PID SECONDS: waits for a child, ends it after that time. Nothing of it stays behind.
wait_limited() {
  (
    cd /
    nap=
    trap 'kill "$nap" 2>/dev/null; exit' TERM
    sleep "$2" &
    nap=$!
    wait "$nap"
    kill "$1" 2>/dev/null
  ) >/dev/null 2>&1 <&- &
  watchdog=$!
  wait "$1"
  result=$?
  kill "$watchdog" 2>/dev/null
  [ "$result" -lt 128 ]
}

# What is in this VM, by name: workspaces with their owners, other things beside them, the trash.
list() {
  workspaces | while read -r name; do
    say workspace "$name"
    say_owner "$name"
  done
  for other in "$root"/* "$root"/.[!.]*; do
    name=${other##*/}
    case $name in .trash | .lock | .new.*) continue ;; esac
    [ -e "$other" ] || [ -L "$other" ] || continue
    workspaces | grep -qxF -- "$name" || say other "$name"
  done
  for place in "$trash"/* "$trash"/.[!.]*; do
    [ ! -e "$place" ] || say trash "${place##*/}"
  done
  say end ok
}

# Everything in one workspace that may exist nowhere else. The host decides. In a process of its
# own: it and all that it started are ended at the limit.
losses() {
  find_workspace || absent
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  cat >"$area/ids"
  say workspace "$name"
  processes_in "$root/$name"
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout -k 1 "$limit" sh -c 'eval "$(printf %s "$0" | base64 -d)"' \
    "$0" "$nonce" "$hash" "$now" list-losses "p$name" "p$area" 2>"$area/trouble"
  code=$?
  trouble=$(head -n 1 "$area/trouble")
  rm -rf "$area"
  case $code in
    0) say end ok ;;
    124 | 137) fail slow "it takes longer than $limit s to look into workspace $name" ;;
    *) fail failed "cannot look into workspace $name: $trouble" ;;
  esac
}

# What runs in a directory: a shell, an agent, a server.
processes_in() {
  # shellcheck disable=SC2012 # find cannot tell where a link leads, but with GNU's own -printf
  ls -ld /proc/[0-9]*/cwd 2>/dev/null |
    sed -n 's|^.* /proc/\([0-9]*\)/cwd -> |\1 |p' | while read -r pid dir; do
    case $dir in "$1" | "$1"/*) ;; *) continue ;; esac
    words=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-200)
    # This program itself, as the parent of such a command.
    # shellcheck disable=SC2016 # as it stands in the command line
    case $words in 'sh -c eval "$(printf %s "$0" | base64 -d)"'*) continue ;; esac
    say process "$pid ${words% }"
  done
}

list_losses() { # NAME DIR: DIR has the file ids
  area=$2
  cd "$root/$1" || return 1
  g rev-parse --git-dir >/dev/null || return 1
  say operation "$(operation .git)"
  work_tree_state matching >"$area/state" || return 1
  xargs -0 -r printf 'entry=%s\0' <"$area/state" || return 1
  hidden_changes .git >"$area/hidden" || return 1
  xargs -0 -r printf 'entry=HH %s\0' <"$area/hidden" || return 1
  nested_repositories
  g worktree list --porcelain -z | tr '\0\n' '\n?' | sed -n '2,$s/^worktree //p' |
    while read -r path; do
      [ ! -d "$path" ] || say worktree "$path"
    done
  say stashes "$(g rev-list -g --count refs/stash -- 2>/dev/null || echo 0)"
  known_here "$area/ids" >"$area/known"
  head=
  g rev-parse -q --verify HEAD >/dev/null && head=HEAD
  # rev-list cannot name the source.
  g -c log.showSignature=false log --no-patch --format='%H %S' --all $head --stdin \
    <"$area/known" >"$area/commits" || return 1
  g rev-list --reflog --stdin --not --all $head <"$area/known" >"$area/reflog" || return 1
  say commit_count "$(cat "$area/commits" "$area/reflog" | wc -l)"
  { cat "$area/commits" && sed 's/$/ reflog/' "$area/reflog"; } | each commit
}

# A repository inside that is committed as a mere link: its commits travel nowhere. Those that its
# own remotes have do not count.
nested_repositories() {
  g ls-files -s -z | tr '\0\n' '\n?' | grep '^160000 ' | cut -f2- |
    while read -r path; do
      [ -e "$path/.git" ] || continue
      count=$(cd "$path" 2>/dev/null && g rev-list --count --all --reflog HEAD --not --remotes 2>/dev/null)
      [ "${count:-1}" = 0 ] || say entry "GL $path"
    done
}

# Moves a workspace to the trash. The host has looked into it before.
discard() {
  find_workspace || absent
  w=$root/$name
  exec 9>"$w/.git/agentvm.lock" || fail failed "cannot write to $w in the VM"
  flock -w 10 9 || fail failed "a push to workspace $name is going on"
  mkdir -p "$trash" || fail failed "cannot make the trash $trash in the VM"
  place=$name.$now
  while [ -e "$trash/$place" ]; do place=$place+; done
  trouble=$(mv "$w" "$trash/$place" 2>&1) ||
    fail failed "cannot move $w to the trash $trash in the VM: $trouble"
  say trash "$trash/$place"
  say end ok
}

# ---------------------------------------------------------------------------------------------
# Running the agent's commands
# ---------------------------------------------------------------------------------------------

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

# ---------------------------------------------------------------------------------------------

if [ "${1-}" = hook ]; then
  verb=$2 now=${AGENTVM_NOW:-0} nonce=${AGENTVM_SESSION-}
  shift 2
  case $verb in
    pre-receive) hook_pre_receive ;;
    update) hook_update "$@" ;;
    push-to-checkout) hook_push_to_checkout "$@" ;;
  esac
  exit 1
fi

unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
nonce=$1 hash=$2 now=$3 verb=$4
shift 4
count=$#
while [ "$count" -gt 0 ]; do
  case $1 in
    p*) word=${1#p} ;;
    *) word=$(printf %s "${1#b}" | base64 -d && printf .) word=${word%.} ;;
  esac
  shift
  set -- "$@" "$word"
  count=$((count - 1))
done

case $verb in
  run | inspect | list-losses) ;;
  *)
    printf 'agentvm/1 %s %s\n' "$nonce" "$(date +%s)"
    # The connection may go away; what was begun is still ended in order.
    trap : HUP INT TERM PIPE ;;
esac

# The verbs that concern one workspace begin with the four words that name it.
case $verb in
  receive | upload | losses | discard | find | run)
    id=$1 ref=$2 plain=$3 hashed=$4
    shift 4 ;;
esac

case $verb in
  receive)
    format=$1 user_name=$2 user_email=$3
    receive ;;
  upload)
    quiet=$1
    upload ;;
  hello) say end ok ;;
  find) locate "$1" ;;
  status)
    limit=$1
    status ;;
  inspect) inspect "$1" "$2" ;;
  list) list ;;
  losses)
    limit=$1
    losses ;;
  list-losses) list_losses "$1" "$2" ;;
  discard) discard ;;
  run) run "$@" ;;
  ended) ended "$1" ;;
  *) fail failed "the guest program has no verb $verb" ;;
esac
