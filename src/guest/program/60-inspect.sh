
# Looking into workspaces.

# Says where the workspace is and how its branch lies to the host's commit $1 ("" for none). That
# there is no workspace is no failure.
locate() {
  if find_workspace; then
    w=$root/$name
    cd "$w" || fail failed "cannot enter $w in the VM"
    mend_if_possible
    say workspace "$name"
    say tip "$(g rev-parse -q --verify "$ref" 2>/dev/null)"
    if [ -n "$1" ] && g merge-base --is-ancestor "$1" "$ref" 2>/dev/null; then say contains yes; fi
  fi
  [ "$2" != disk ] || tell_of_disk
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
    found=${config%/.git/config}
    read_marker "${found##*/}" && printf '%s\n' "${found##*/}"
  done
}

say_owner() {
  read_marker "$1"
  say repo "$its_id"
  say ref "$its_ref"
}

# inspect NAME: fields of one workspace. $area/ids has the commits that the host holds, $ids too. What
# is missing at the end was not learned.
inspect() {
  w=$root/$1
  cd "$w" || { say error 'it cannot be entered'; return; }
  mend_if_possible
  # Lines "ID REF TIME SUBJECT"; what else git says counts as a ref that the host does not know.
  branches=$(g for-each-ref \
    --format='%(objectname) %(refname) %(committerdate:unix) %(contents:subject)' refs/heads 2>&1) || {
    say error "git cannot read it: ${branches%%"$nl"*}"
    return
  }
  { read_head && read_tip "${head:-HEAD}"; } || { say error 'git was killed there'; return; }
  ! is_null "$tip" || tip=
  at=$tip tip='' last='' unknown=''
  is_known "$at" || unknown=1
  while read -r id name rest; do
    [ "$name" != "$its_ref" ] || tip=$id
    [ "$name" != "$head" ] || last="$id $rest"
    is_known "$id" || unknown=1
  done <<END
$branches
END
  say checked_out "$head"
  say head "$at"
  say operation "$(operation .git)"
  stashes=0
  if [ -e .git/logs/refs/stash ] || [ -d .git/reftable ]; then
    stashes=$(g rev-list -g --count refs/stash -- 2>/dev/null || echo 0)
  fi
  say stashes "$stashes"
  [ "${last%% *}" = "$at" ] || last=$(g log -1 --format='%H %ct %s' HEAD --)
  [ -z "$at" ] || say last "$last"
  say tip "$tip"
  inspect_commits
  inspect_files
}

is_known() {
  case $ids in *"${1:-$nl}"*) ;; *) return 1 ;; esac
}

# What the host lacks: nothing, if it holds HEAD and the tip of every branch.
inspect_commits() {
  if [ -z "$unknown" ]; then
    say unfetched_count 0
    say commits_learned yes
    return
  fi
  known=$(known_here "$area/ids")
  # shellcheck disable=SC2086 # one word, or none
  walk=$(printf '%s\n' "$known" | g rev-list --branches ${at:+HEAD} --stdin) || return
  say unfetched_count "$(printf '%s\n' "$walk" | grep -c .)"
  printf '%s\n' "$walk" | grep . | each unfetched
  [ -z "$tip" ] || printf '%s\n' "$known" | g rev-list --boundary "$tip" --stdin |
    sed -n 's/^-//p' | head -n 200 | each boundary
  say commits_learned yes
}

inspect_files() {
  state=$area/$count.state
  hidden=0
  hidden_changes .git >"$state" || { say error 'git cannot tell there which changes are hidden'; return; }
  [ ! -s "$state" ] || hidden=$(tr -dc '\0' <"$state" | wc -c)
  if ! work_tree_state matching >"$state"; then
    say error 'git status fails there'
    return
  fi
  set -- 0 0 0
  if [ -s "$state" ]; then
    # shellcheck disable=SC2046 # three numbers
    set -- $(tr '\0\n' '\n?' <"$state" | awk '
      /^\?\?/ { untracked++; next }
      /^!!/ { ignored++; next }
      { changed++ }
      END { print changed + 0, untracked + 0, ignored + 0 }')
  fi
  say changed $(($1 + hidden))
  say untracked "$2"
  bytes=0
  [ "$3" = 0 ] || bytes=$(g ls-files -z -o -i --exclude-standard --directory |
    xargs -0 -r du -sk -- 2>/dev/null | awk '{ n += $1 } END { printf "%.0f", n * 1024 }')
  say ignored_bytes "$bytes"
}

look_into() {
  say workspace "$1"
  say_owner "$1"
  inspect "$1"
}

# All workspaces, four at a time, so that one that hangs does not hold up the others.
status() {
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  ids=$nl$(tee "$area/ids")
  workspaces >"$area/names"
  measure_trash "$limit" >"$area/trash" 2>/dev/null </dev/null &
  measuring=$!
  running='' count=0
  while read -r name; do
    count=$((count + 1))
    look_into "$name" >"$area/$count.fields" 2>/dev/null </dev/null &
    running="$running $!:$count"
    [ $((count % 4)) -ne 0 ] || wait_for_all
  done <"$area/names"
  wait_for_all
  wait "$measuring"
  cat "$area/trash"
  rm -rf "$area"
  say disk "$({ df -Pk "$root" || df -Pk "$HOME"; } 2>/dev/null | awk 'NR == 2 { printf "%.0f %.0f", $2 * 1024, $3 * 1024 }')"
  say_if_nearly_full
  say cpus "$(nproc 2>/dev/null)"
  say memory "$(awk '$1 == "MemTotal:" { printf "%.0f", $2 * 1024 }' /proc/meminfo 2>/dev/null)"
  say end ok
}

# Waits for $running, words PID:NUMBER, and gives what they said. At the limit they and all that they
# started are ended.
wait_for_all() {
  [ -n "$running" ] || return 0
  (
    cd /
    nap=
    trap 'kill "$nap" 2>/dev/null; exit' TERM
    sleep "$limit" &
    nap=$!
    wait "$nap"
    for child in $running; do
      kill -0 "${child%:*}" 2>/dev/null && end_tree "${child%:*}"
    done
  ) >/dev/null 2>&1 <&- &
  watchdog=$!
  for child in $running; do
    wait "${child%:*}"
    # What it said may end in the middle of a field, which the host could not read on from.
    if [ $? -lt 128 ]; then
      cat "$area/${child#*:}.fields"
    else
      sed -n "${child#*:}p" "$area/names" | while read -r name; do
        say workspace "$name"
        say_owner "$name"
      done
      say error "it takes longer than $limit s to look into it"
    fi
  done
  kill "$watchdog" 2>/dev/null
  running=
}

# Ends a process and all that it started.
end_tree() {
  tree=" $1 "
  found=1
  while [ -n "$found" ]; do
    found=
    for stat in /proc/[0-9]*/stat; do
      read -r line 2>/dev/null <"$stat" || continue
      process=${stat#/proc/}
      process=${process%/stat}
      # PID (NAME) STATE PARENT …: the name may hold anything.
      line=${line##*) ? }
      case $tree in
        *" $process "*) ;;
        *" ${line%% *} "*) tree="$tree$process " found=1 ;;
      esac
    done
  done
  # shellcheck disable=SC2086 # one word each
  kill -KILL $tree
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
    ! is_entry "$place" || say trash "${place##*/}"
  done
  say end ok
}
