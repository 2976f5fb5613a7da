# The trash.

# A directory itself, and no link to one.
is_directory() { [ -d "$1" ] && [ ! -L "$1" ]; }

# Moves a directory that may be read-only, which a move to another parent does not like.
move() {
  if is_directory "$1" && [ ! -w "$1" ]; then
    chmod u+w "$1" && mv -T -- "$1" "$2" && chmod u-w "$2"
  else
    mv -T -- "$1" "$2"
  fi
}

# Moves a workspace to the trash. The host has looked into it before.
discard() {
  find_workspace || absent
  w=$root/$name
  can_write "$w/.git/agentvm.lock" || fail failed "cannot write to $w in the VM"
  exec 9>"$w/.git/agentvm.lock"
  flock -w 10 9 || fail failed "a push to workspace $name is going on"
  mkdir -p "$trash" || fail failed "cannot make the trash $trash in the VM"
  place=$name.$now
  while [ -e "$trash/$place" ] || [ -L "$trash/$place" ]; do place=$place+; done
  trouble=$(move "$w" "$trash/$place" 2>&1) ||
    fail failed "cannot move $w to the trash $trash in the VM: $trouble"
  say trash "$trash/$place"
  say end ok
}

# Sets $was and $time to what an entry of the trash was called, and the host's time when it came
# there: NAME.TIME, with a + where that was taken. Fails where the name tells no time.
read_entry_name() {
  case $1 in *[!A-Za-z0-9._+@~-]* | [.-]*) return 1 ;; esac
  whole=${1%"${1##*[!+]}"}
  time=${whole##*.} was=${whole%.*}
  case $time in *[!0-9]* | 0*) return 1 ;; esac
  [ ${#time} -ge 9 ] && [ ${#time} -le 11 ] && [ "$was.$time" = "$whole" ]
}

# Lines "TIME NAME", the oldest first. Whose name tells no time stays out.
entries_by_age() {
  for place in "$trash"/*; do
    read_entry_name "${place##*/}" && is_entry "$place" && printf '%s %s\n' "$time" "${place##*/}"
  done | sort -n
}

# Whether something is mounted in a path: rm would empty it, where it is of the same file system.
# What cannot be learned counts as yes.
holds_mount() {
  real=$(cd -P "${1%/*}" && pwd) || return 0
  [ -r /proc/self/mountinfo ] || return 0
  # The kernel writes blanks and backslashes in octal.
  cut -d ' ' -f 5 /proc/self/mountinfo | sed "s/\\\\040/ /g; s/\\\\011/$tab/g; s/\\\\134/\\\\/g" |
    AGENTVM_PATH=$real/${1##*/}/ awk '
      index($0 "/", ENVIRON["AGENTVM_PATH"]) == 1 { found = 1 } END { exit !found }'
}

# Deletes a path for good: no link is followed, no other file system entered, and a directory that
# is read-only, as tools leave them in caches, does not stop it. Sets $trouble where it fails.
erase() {
  if holds_mount "$1"; then
    trouble="something is mounted in $1"
    return 1
  fi
  find "$1" -xdev -type d '(' ! -perm -500 -exec chmod u+rwx '{}' ';' -o \
    ! -perm -200 -exec chmod u+w '{}' + ')' 2>/dev/null
  trouble=$(rm -rf --one-file-system -- "$1" 2>&1) && return
  # What a container left is root's.
  sudo -n rm -rf --one-file-system -- "$1" 2>/dev/null && return
  trouble=${trouble%%"$nl"*}
  return 1
}

# Removes an entry of the trash for good. It gets another name first, so that half of one is never
# taken for a whole. Sets $trouble where it fails.
remove() {
  if holds_mount "$trash/$1"; then
    trouble="something is mounted in $trash/$1"
    return 1
  fi
  lock_root
  trouble=$(mv -T -- "$trash/$1" "$trash/.removing.$nonce.$1" 2>&1)
  code=$?
  unlock_root
  [ "$code" = 0 ] && erase "$trash/.removing.$nonce.$1"
}

# What a session that was killed did not get to remove or to unpack.
clear_remains() {
  for place in "$trash"/.removing.* "$trash"/.restoring.*; do
    [ -e "$place" ] || [ -L "$place" ] || continue
    (
      case $place in
        */.restoring.*)
          # Whoever unpacks there holds this lock.
          can_write "$place/lock" || exit
          exec 7>"$place/lock"
          flock -n 7 || exit ;;
      esac
      erase "$place"
    )
  done
}

# Removes what has been in the trash for over $1 seconds ("never": nothing), by the host's time;
# where the disk runs low, also what has been there for a day, the oldest first.
sweep_trash() {
  # A link may lead to what is no trash of ours.
  if is_directory "$trash"; then
    clear_remains
    while read -r time entry; do
      age=$((now - ${time:-$now}))
      if [ "$1" != never ] && [ "$age" -gt "$1" ]; then
        why=expired
      elif [ "$age" -gt 86400 ] && disk_is_low; then
        why=low
      else
        continue
      fi
      say removing "$entry"
      if remove "$entry"; then say "$why" "$age $entry"; else say kept "$entry: $trouble"; fi
    done <<END
$(entries_by_age)
END
  fi
  say_if_disk_is_low
  say end ok
}

# All entries of the trash: what each was, and its bytes, where du tells within $1 seconds.
list_trash() {
  for place in "$trash"/* "$trash"/.[!.]*; do
    is_entry "$place" || continue
    say trash "${place##*/}"
    if read_marker ".trash/${place##*/}"; then
      say repo "$its_id"
      say ref "$its_ref"
    fi
    [ "$1" = 0 ] || {
      kib=$(timeout -k 1 "$1" du -skx "$place" 2>/dev/null) && say bytes "$((${kib%%"$tab"*} * 1024))"
    }
  done
  say end ok
}

# Removes one entry, by hand.
drop_entry() {
  is_entry "$trash/$1" || fail absent "there is no '$1' in the trash"
  [ ! -L "$trash" ] || fail failed "the trash $trash in the VM is a symbolic link"
  remove "$1" || fail failed "cannot remove $1 from the trash: $trouble"
  say end ok
}

# Whether a file is that of the linked worktree $admin.
leads_to() {
  case $1 in /*) ;; *) return 1 ;; esac
  [ -f "$1" ] && [ ! -L "$1" ] || return 1
  case $(cat "$1") in
    'gitdir: /'*"/.git/worktrees/${admin##*/}") ;;
    *) return 1 ;;
  esac
}
