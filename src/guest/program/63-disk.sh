# Room on the disk, and what the trash takes of it.

# Whether the disk of the workspaces runs low: less than 5 % and less than 1 GiB is left.
disk_is_low() {
  df -Pk "$root" 2>/dev/null |
    awk 'NR == 2 { low = $4 * 20 < $2 && $4 < 1048576 } END { exit !low }'
}

say_if_disk_is_low() { ! disk_is_low || say low yes; }

# The bytes that are left, where the disk is nearly full.
say_if_nearly_full() {
  # shellcheck disable=SC2046 # three words
  set -- $({ measure "$root" || measure "$HOME"; } 2>/dev/null)
  ! is_nearly_full "$@" || say nearly_full "$room"
}

# What a command hears that may fill it.
tell_of_disk() {
  say_if_nearly_full
  say_if_disk_is_low
}

# Whether a path is one of the trash's entries. What is being removed, or unpacked, is none.
is_entry() {
  case ${1##*/} in .removing.* | .restoring.*) return 1 ;; esac
  [ -e "$1" ] || [ -L "$1" ]
}

# The paths of all entries, NUL at each end.
entries() {
  for place in "$trash"/* "$trash"/.[!.]*; do
    is_entry "$place" && printf '%s\0' "$place"
  done
}

# How many entries the trash has, and their bytes, where du tells within $1 seconds.
measure_trash() {
  number=$(entries | tr -dc '\0' | wc -c)
  say trash_entries "$((number))"
  kib=0
  [ "$number" -eq 0 ] || kib=$(timeout -k 1 "$1" du -skx "$trash/" 2>/dev/null) || return
  say trash_bytes "$((${kib%%"$tab"*} * 1024))"
}
