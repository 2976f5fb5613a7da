# Saving on the host before the VM is deleted, and coming back from there.
#
# What is sent is one compressed tar of one thing in ~/workspace. The host stores it and never looks
# into it. It comes back into a VM by way of the trash, so that there is one way to restore.

# When saving began: whatever changes after that is not saved.
stamp=$HOME/.local/state/agentvm/saving

# Files of root are work too; the agent of a VM of ours may read them.
find_root() { if sudo -n true 2>/dev/null; then as_root='sudo -n'; else as_root=''; fi; }

need() {
  for program in "$@"; do
    command -v "$program" >/dev/null || fail program "there is no $program in the VM"
  done
}

# Everything that could be saved, with its bytes, and the time from which on changes count.
list_for_saving() {
  need du find gzip mkfifo sha256sum tar tee
  { mkdir -p "${stamp%/*}" && empty "$stamp"; } || fail failed "cannot write to ${stamp%/*} in the VM"
  find_root
  for item in "$root"/* "$root"/.[!.]* "$root"/..?*; do
    [ -e "$item" ] || [ -L "$item" ] || continue
    name=${item##*/}
    case $name in .trash | .lock | .new.*) continue ;; esac
    if read_marker "$name"; then
      say workspace "$name"
      say repo "$its_id"
      say ref "$its_ref"
    else
      say other "$name"
    fi
    say_size
  done
  for item in "$trash"/* "$trash"/.[!.]* "$trash"/..?*; do
    is_entry "$item" || continue
    say trash "${item##*/}"
    if read_marker ".trash/${item##*/}"; then
      say repo "$its_id"
      say ref "$its_ref"
    fi
    say_size
  done
  say end ok
}

# The bytes of $item and of its linked worktrees outside of $root.
say_size() {
  # Where something is mounted, tar stops, and what is there would be lost unseen.
  ! holds_mount "$item" || fail lose "something is mounted in $item in the VM; unmount it there"
  bytes=$(size_of "$item") || fail lose "cannot measure $item in the VM"
  for admin in "$item"/.git/worktrees/*; do
    outside_worktree || continue
    more=$(size_of "$dir") || fail lose "cannot measure $dir in the VM"
    bytes=$((bytes + more))
  done
  say bytes "$bytes"
}

# Small files take a block in a tar, and a head.
size_of() {
  # shellcheck disable=SC2086 # two words, or none
  kib=$($as_root du -skx --apparent-size -- "$1") || return 1
  # shellcheck disable=SC2086
  files=$($as_root find "$1" -xdev -print0 | tr -dc '\0' | wc -c)
  printf %s "$((${kib%%"$tab"*} * 1024 + files * 1536))"
}

# Sets $dir to the linked worktree of $admin, if that is one beyond $root: what is in there is looked
# at for itself.
outside_worktree() {
  { read -r link <"$admin/gitdir"; } 2>/dev/null || return 1
  case $link in "$root"/*) return 1 ;; esac
  dir=${link%/.git}
  leads_to "$link" && [ -d "$dir" ]
}

# save ITEM: a compressed tar of $root/ITEM, and then a line of 90 bytes: its hash, its length, and how
# tar and gzip ended. Directories are called data in it, so that no name of theirs matters.
save() {
  item=$root/$1
  [ -e "$item" ] || [ -L "$item" ] || fail absent "there is no ~/workspace/$1 in the VM any more"
  find_root
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  if is_directory "$item"; then
    ln -s "$item" "$area/data"
    set -- -C "$area" data/.
    mkdir "$area/worktrees"
    for admin in "$item"/.git/worktrees/*; do
      outside_worktree || continue
      ln -s "$dir" "$area/worktrees/${admin##*/}"
      set -- "$@" "worktrees/${admin##*/}/."
    done
    say type dir
  else
    set -- -C "${item%/*}" "./${item##*/}"
    say type file
  fi
  mkfifo "$area/sum" "$area/count" || fail failed "cannot write to $area in the VM"
  say end ok
  sha256sum <"$area/sum" >"$area/sha" &
  wc -c <"$area/count" >"$area/length" &
  {
    # shellcheck disable=SC2086 # two words, or none
    $as_root tar --one-file-system --sparse --numeric-owner -cf - "$@" 2>"$area/trouble" </dev/null
    echo $? >"$area/tar"
  } | {
    gzip -1
    echo $? >"$area/gzip"
  } | tee "$area/sum" "$area/count"
  wait
  head -n 3 "$area/trouble" >&2
  printf '%.64s %020d %d %d\n' "$(cat "$area/sha")" "$(($(cat "$area/length")))" \
    "$(one_digit "$area/tar")" "$(one_digit "$area/gzip")"
  rm -rf "$area"
}

one_digit() {
  read -r digit <"$1" || digit=9
  [ "$digit" -lt 9 ] || digit=9
  printf %s "$digit"
}

# What has changed since saving began, and who is at work.
changed_since() {
  find_root
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  set -- "$root"
  for admin in "$root"/*/.git/worktrees/* "$trash"/*/.git/worktrees/*; do
    if outside_worktree; then set -- "$@" "$dir"; fi
  done
  # Our own files tell when a workspace was looked into last, which the look for losses has done meanwhile.
  # shellcheck disable=SC2086 # two words, or none
  { $as_root find "$@" -ignore_readdir_race -xdev ! -path "$root/.lock" ! -path "$root/*/.git/agentvm*" \
    -cnewer "$stamp" -print0 >"$area/found" &&
    tr '\0\n' '\n?' <"$area/found" >"$area/changed"; } 2>/dev/null || {
    rm -rf "$area"
    fail lose 'nobody knows what has changed there meanwhile'
  }
  while IFS= read -r path; do
    # shellcheck disable=SC2088 # for people
    case $path in
      "$root"/*) say changed "~/workspace/${path#"$root"/}" ;;
      ?*) say changed "$path" ;;
    esac
  done <<END
$(head -n 5 "$area/changed")
END
  rm -rf "$area"
  processes_in "$@" || fail failed 'cannot look for processes in the VM'
  say end ok
}

# unpack NAME TYPE SHA256 BYTES ID REF: what save sent, from standard input into the trash; nothing of
# it runs. BYTES is what it takes up.
unpack() {
  called=$1 type=$2 sha=$3 bytes=$4 id=$5 ref=$6
  need gzip mkfifo sha256sum tar tee
  mkdir -p "$trash" || fail failed "cannot make the trash $trash in the VM"
  room=$(df -Pk "$trash" | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
  [ "${room:-0}" -gt "$bytes" ] ||
    fail failed "there is no room for it in the VM: it needs $bytes bytes, and $room are free"
  area=$trash/.restoring.$nonce
  { mkdir "$area" "$area/in" && can_write "$area/lock" && mkfifo "$area/sum"; } ||
    fail failed "cannot write to $trash in the VM"
  exec 7>"$area/lock"
  flock -n 7
  # Nothing else may hold the lock when this session is gone.
  sha256sum <"$area/sum" >"$area/sha" 7>&- &
  # Errors of its own are in what is missing.
  { tee "$area/sum" | gzip -dc | tar -xpf - --no-same-owner -C "$area/in"; } 7>&- 2>"$area/trouble"
  code=$?
  wait
  read -r found rest <"$area/sha"
  [ "$found" = "$sha" ] || not_unpacked 'what arrived is not what was saved'
  [ "$code" = 0 ] || not_unpacked "tar failed: $(head -n 1 "$area/trouble")"
  if [ "$type" = dir ]; then
    new=$area/in/data
    is_directory "$new" || not_unpacked 'it is no directory'
    defuse "$new"
    [ -z "$id" ] || claim
    keep_worktrees
  else
    for new in "$area/in"/* "$area/in"/.[!.]* "$area/in"/..?*; do
      if [ -e "$new" ] || [ -L "$new" ]; then break; fi
    done
    [ -e "$new" ] || [ -L "$new" ] || not_unpacked 'it is empty'
  fi
  entry=$called.$now
  while [ -e "$trash/$entry" ] || [ -L "$trash/$entry" ]; do entry=$entry+; done
  trouble=$(move "$new" "$trash/$entry" 2>&1) || not_unpacked "$trouble"
  w=$trash
  flush
  erase "$area"
  say trash "$entry"
  say end ok
}

not_unpacked() {
  erase "$area"
  fail failed "cannot unpack it in the VM: $1"
}

# put_aside PATH: keeps it beside as PATH.saved.
put_aside() {
  kept=$1.saved
  while [ -e "$kept" ] || [ -L "$kept" ]; do kept=$kept+; done
  mv -T -- "$1" "$kept"
}

# Takes out of effect what could run something in any repository below $1: hooks, and all settings but
# those that say what a repository is. Both are kept beside.
defuse() {
  find "$1" '(' -name hooks -o -name config -o -name config.worktree ')' -print0 |
    tr '\0\n' '\n\001' >"$area/found"
  while IFS= read -r path; do
    path=$(printf '%s.' "$path" | tr '\001' '\n') path=${path%.}
    [ -e "${path%/*}/HEAD" ] || [ -L "${path%/*}/HEAD" ] || continue
    put_aside "$path" || not_unpacked "cannot rename ${path##*/}"
    case $path in
      */hooks) ;;
      *) [ ! -f "$kept" ] || [ -L "$kept" ] || plain_settings "$kept" "$path" ;;
    esac
  done <"$area/found"
}

# plain_settings FROM TO: the settings of a repository that cannot run anything.
plain_settings() {
  soh=$(printf '\001')
  git config --file "$1" -z --get-regexp '^(core\.(repositoryformatversion|bare|filemode|symlinks|ignorecase|worktree|sparsecheckout|sparsecheckoutcone|autocrlf|eol|logallrefupdates)|extensions\..*|remote\..*\.(url|fetch|tagopt|promisor|partialclonefilter)|branch\..*\.(remote|merge)|submodule\..*\.(url|active))$' 2>/dev/null |
    tr '\n\0' '\001\n' | while IFS= read -r line; do
    key=${line%%"$soh"*} value=${line#*"$soh"}
    case $line in "$key" | *"$soh"*"$soh"*) continue ;; esac
    case $key:$value in
      # Where a submodule's files are; any other place is none of its business.
      core.worktree:../*) case $2 in */.git/config) continue ;; esac ;;
      core.worktree:* | remote.*.url:*::*) continue ;;
    esac
    git config --file "$2" --add "$key" "$value" || exit 1
  done || not_unpacked "cannot write ${2##*/}"
  [ -e "$2" ] || empty "$2"
}

# What makes it the workspace of $id and $ref again.
claim() {
  is_directory "$new/.git" || not_unpacked 'it holds no repository'
  workspace_settings >>"$new/.git/config" || not_unpacked 'cannot write its configuration'
}

# Linked worktrees that lay elsewhere travel inside until their workspace is restored.
keep_worktrees() {
  for from in "$area/in/worktrees"/*; do
    is_directory "$from" || continue
    { mkdir -p "$new/.git/agentvm-worktrees" &&
      mv -T -- "$from" "$new/.git/agentvm-worktrees/${from##*/}"; } || not_unpacked 'cannot keep its worktrees'
  done
}
