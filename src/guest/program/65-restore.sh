# Bringing an entry of the trash back.
#
# All that can fail half-way is done while it is still in the trash, and whoever restores it next
# carries on; then one rename brings it back. Nothing that is there is ever replaced.

# restore ENTRY HOW NAME REF [NAME REF]…: moves it to the first NAME that is free. REF is what its
# branch is called where another workspace is of its own; empty: that name is only for a workspace
# which keeps its branch. HOW is "as" where the branch becomes REF in any case.
restore() {
  entry=$1 how=$2
  shift 2
  place=$trash/$entry w=$trash/$entry
  is_entry "$place" || fail absent "there is no '$entry' in the trash"
  lock_root
  its_id='' its_ref=''
  read_marker ".trash/$entry" || its_id='' its_ref=''
  own_id=$its_id own_ref=$its_ref taken=''
  ! has_workspace "$own_id" "$own_ref" || taken=1
  [ "$how" != as ] || to_ref=$2
  if [ "$how" = as ] && { [ "$to_ref" != "$own_ref" ] || [ -n "$taken" ]; } && ! is_free_branch; then
    fail failed "the name ${to_ref#refs/heads/} is taken, by a workspace or by a branch of $entry"
  fi
  choose_name "$@" || fail failed "no name is free for $entry in $root in the VM"
  read_entry_name "$entry" || was=$entry
  if [ -n "$own_id" ]; then
    mend_if_free || fail failed "cannot write to $place in the VM"
    clear_locks || fail failed "cannot take a lock of git in $place away in the VM"
    read_name_in_between
    [ "$to_ref$becomes" = "$own_ref" ] || rename_branch
    point_worktrees
    bring_worktrees
  fi
  trouble=$(move "$place" "$root/$to" 2>&1) ||
    fail failed "cannot move $entry from the trash to $root/$to in the VM: $trouble"
  unlock_root
  w=$root/$to
  [ -z "$own_id" ] || repair_relative_worktrees
  flush
  say workspace "$to"
  say repo "$own_id"
  say ref "$to_ref"
  say end ok
}

# What a git that was killed has left: nobody works on what is in the trash but whoever has the lock.
clear_locks() {
  (git_is_running) || find "$w/.git" -path "$w/.git/objects" -prune -o \
    -name '*.lock' ! -name agentvm.lock -exec rm -f {} +
}

# Whether a branch of a repository has a workspace. In a shell of its own, since that sets much.
has_workspace() {
  [ -n "$1" ] && [ -n "$2" ] && (
    # shellcheck disable=SC2030 # here alone
    id=$1 ref=$2 plain='' hashed=''
    find_workspace
  )
}

# Sets $to and $to_ref.
choose_name() {
  while [ $# -gt 0 ]; do
    to=$1 to_ref=$2
    shift 2
    { [ ! -e "$root/$to" ] && [ ! -L "$root/$to" ]; } || continue
    [ -z "$(find "$root" -mindepth 1 -maxdepth 1 -iname "$to" -print)" ] || continue
    if [ -z "$own_id" ] || { [ "$how" != as ] && [ -z "$taken" ]; } || [ "$to_ref" = "$own_ref" ]; then
      to_ref=$own_ref
      [ -n "$taken" ] || return 0
    elif [ -n "$to_ref" ] && is_free_branch; then
      return 0
    fi
  done
  return 1
}

# Whether neither a workspace nor a branch of the entry has the name $to_ref.
is_free_branch() {
  ! has_workspace "$own_id" "$to_ref" || return 1
  read_name_in_between
  [ "$becomes" != "$to_ref" ] || return 0
  found=$(cd "$place" && g for-each-ref --count=1 "$to_ref") || fail failed 'git was killed in the VM'
  [ -z "$found" ]
}

# Sets $becomes to what an earlier try had begun to call the branch.
read_name_in_between() {
  becomes=$(git config --file "$place/.git/config" --get agentvm.becomes) || [ $? -eq 1 ] ||
    fail failed 'git was killed in the VM'
}

# Whether the entry has a ref; sets $tip.
has_ref() {
  read_tip "$1" || fail failed 'git was killed in the VM'
  ! is_null "$tip"
}

# Gives the branch of the entry the name $to_ref, its marker last. An earlier try may have got anywhere
# on the way from $own_ref to $becomes. git's own renaming could lose the branch if it were killed.
rename_branch() {
  config=$place/.git/config before=$becomes
  cd "$place" || fail failed "cannot enter $place in the VM"
  { git config --file "$config" --replace-all agentvm.becomes "$to_ref" &&
    copy_branch && switch_heads && remove_old_names && rename_settings &&
    git config --file "$config" --replace-all agentvm.ref "$to_ref" &&
    git config --file "$config" --unset-all agentvm.becomes; } ||
    fail failed "cannot rename the branch of $entry in the VM"
  cd "$root" || exit 1
}

# The commit and the reflog of the branch to $to_ref.
copy_branch() {
  from=$own_ref
  has_ref "$own_ref" || from=${before:-$own_ref}
  has_ref "$from" || return 0
  [ "$from" != "$to_ref" ] || return 0
  if [ -f ".git/logs/$from" ] && [ ! -e ".git/logs/$to_ref" ]; then
    { mkdir -p ".git/logs/${to_ref%/*}" && cp -p ".git/logs/$from" ".git/logs/$to_ref"; } || return 1
  fi
  g update-ref -m 'agentvm: restored' "$to_ref" "$tip"
}

# HEAD, those of linked worktrees, and the branch that an operation in progress goes back to.
switch_heads() {
  for git_dir in .git .git/worktrees/*; do
    [ -f "$git_dir/HEAD" ] || continue
    on=$(g --git-dir="$git_dir" symbolic-ref -q HEAD) || [ $? -eq 1 ] || return 1
    for old in "$own_ref" ${before:+"$before"}; do
      [ "$old" != "$to_ref" ] || continue
      [ "$on" != "$old" ] ||
        g --git-dir="$git_dir" symbolic-ref -m 'agentvm: restored' HEAD "$to_ref" || return 1
      for file in rebase-merge/head-name rebase-apply/head-name; do
        swap_line "$git_dir/$file" "$old" "$to_ref" || return 1
      done
      swap_line "$git_dir/BISECT_START" "${old#refs/heads/}" "${to_ref#refs/heads/}" || return 1
    done
  done
}

# Whose commit the new one has.
remove_old_names() {
  # With reftables, the reflog would go too.
  [ ! -d .git/reftable ] || return 0
  for old in "$own_ref" ${before:+"$before"}; do
    { [ "$old" != "$to_ref" ] && has_ref "$old"; } || continue
    commit=$tip
    if has_ref "$to_ref" && [ "$tip" = "$commit" ]; then
      g update-ref -m 'agentvm: restored' -d "$old" "$commit" || return 1
    fi
  done
}

# swap_line FILE OLD NEW: where OLD is all that the file says.
swap_line() {
  [ -f "$1" ] && [ "$(cat "$1")" = "$2" ] || return 0
  printf '%s\n' "$3" >"$1.agentvm" && mv -f "$1.agentvm" "$1"
}

rename_settings() {
  old=branch.${own_ref#refs/heads/}
  settings=$(git config --file "$config" --name-only --list) || return 1
  case $settings in *"$old".*) ;; *) return 0 ;; esac
  git config --file "$config" --rename-section "$old" "branch.${to_ref#refs/heads/}" 2>/dev/null
}

# Linked worktrees and the workspace know each other by their paths. Where that changes, it is
# written before the workspace moves: else one that is killed in between would leave them apart.
point_worktrees() {
  [ "$to" != "$was" ] || return 0
  for admin in "$place"/.git/worktrees/*; do
    { read -r link <"$admin/gitdir"; } 2>/dev/null || continue
    inner=${link#"$root"/} inner=${inner#*/}
    if leads_to "$place/$inner"; then
      printf '%s\n' "$root/$to/$inner" >"$admin/gitdir"
      link=$place/$inner
    else
      # A newer workspace of the old name may have a worktree in that place by now.
      ! grep -qxF -- "$link" "$root/$was/.git/worktrees/"*/gitdir 2>/dev/null || continue
      leads_to "$link" || continue
    fi
    printf 'gitdir: %s\n' "$root/$to/.git/worktrees/${admin##*/}" >"$link"
  done
}

# Linked worktrees that came from the host with their workspace, to places beside it.
bring_worktrees() {
  for from in "$place"/.git/agentvm-worktrees/*; do
    is_directory "$from" || continue
    admin=$place/.git/worktrees/${from##*/}
    dir=$root/$to-${from##*/}
    while [ -e "$dir" ] || [ -L "$dir" ]; do dir=$dir+; done
    if [ -d "$admin" ] && leads_to "$from/.git"; then
      printf 'gitdir: %s\n' "$root/$to/.git/worktrees/${admin##*/}" >"$from/.git"
      printf '%s\n' "$dir/.git" >"$admin/gitdir"
    fi
    move "$from" "$dir" || fail failed "cannot move a worktree of $entry to $dir in the VM"
    say worktree "${dir##*/}"
  done
  rmdir "$place/.git/agentvm-worktrees" 2>/dev/null
}

# Those whose paths are relative can be told only where the workspace is.
repair_relative_worktrees() {
  [ "$to" != "$was" ] || return 0
  grep -qs '^\.' "$w"/.git/worktrees/*/gitdir || return 0
  (cd "$w" && g worktree repair >/dev/null 2>&1) || :
}
