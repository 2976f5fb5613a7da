
# What would be lost with a workspace.

# Everything in one workspace that may exist nowhere else. The host decides. In a process of its
# own: it and all that it started are ended at the limit.
losses() {
  find_workspace || absent
  w=$root/$name
  # From beside it: this program is at work nowhere.
  (cd "$w" && mend_if_possible)
  # What was written to files while a push replaced them.
  [ ! -d "$w/.git/agentvm-before" ] ||
    fail failed "a push to workspace $name is going on, or was cut off and cannot be mended now"
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  cat >"$area/ids"
  say workspace "$name"
  processes_in "$(cd "$w" && pwd -P)" || fail failed 'cannot look for processes in the VM'
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout -k 1 "$limit" sh -c 'eval "$(printf %s "$1" | base64 -d)"' agentvm \
    "$program" "$nonce" "$hash" "$now" list-losses "p$name" "p$area" "p$rebuildable" 2>"$area/trouble"
  code=$?
  trouble=$(head -n 1 "$area/trouble")
  rm -rf "$area"
  case $code in
    0) say end ok ;;
    124 | 137) fail slow "it takes longer than $limit s to look into workspace $name" ;;
    *) fail failed "cannot look into workspace $name: $trouble" ;;
  esac
}

# What works in one of these directories (a shell, an agent, a server) or has a file below one open for
# writing. Fails where that could not be learned.
processes_in() {
  links_into '/proc/[0-9]*/cwd /proc/[0-9]*/fd' "$@" || return 1
  seen=' '
  for link in $links; do
    process=${link#/proc/}
    process=${process%%/*}
    case $seen in *" $process "*) continue ;; esac
    case $link in */fd/*) is_written "/proc/$process/fdinfo/${link##*/}" || continue ;; esac
    seen="$seen$process "
    words=$(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null | cut -c1-200)
    # This program itself, as the parent of such a command.
    # shellcheck disable=SC2016 # as it stands in the command line
    case $words in 'sh -c eval "$(printf %s "$1" | base64 -d)" agentvm '*) continue ;; esac
    say process "$process ${words% }"
  done
}

# Whether an open file is open for writing, by its /proc/PID/fdinfo/N.
is_written() {
  while read -r key value; do
    # In octal; the last two bits are the mode.
    case $key$value in flags:*[1256]) return 0 ;; esac
  done 2>/dev/null <"$1"
  return 1
}

# fields KEY: such lines to fields, at most 20000.
fields() { head -n 20000 | swapped | xargs -0 -r printf "$1=%s\\0"; }

# said KEY FILE: the same with how many there are.
said() {
  if [ -s "$2" ]; then
    say "$1_count" "$(($(wc -l <"$2")))"
    fields "$1" <"$2"
  else
    say "$1_count" 0
  fi
}

list_losses() { # NAME DIR REBUILDABLE: DIR has the file ids
  area=$2 rebuildable=$3 inside_count=0 inside_more=0
  # Ends with the area, however this process ends.
  TMPDIR=$area GIT_NO_REPLACE_OBJECTS=1
  export TMPDIR GIT_NO_REPLACE_OBJECTS
  cd "$root/$1" || return 1
  w=$(pwd -P) && printf '%s\n' "$w" >"$area/seen" || return 1
  common=$(cd .git && pwd -P) || return 1
  place own "$w" . </dev/null || return 1
  : >"$area/linked"
  linked_worktrees || return 1
  look_inside "$w" || return 1
  while IFS= read -r dir <&4; do look_inside "$dir" || return 1; done 4<"$area/linked"
  lone_modules || return 1
  [ "$inside_more" = 0 ] || say more_places "$inside_more"
}

# place KIND DIR NAME: all that a work tree holds, and, where it is not a linked one, its repository.
# KIND: own, linked (a worktree of the workspace), nested (a repository inside), module (one whose git
# directory is elsewhere) or bare (a git directory without work tree).
place() (
  cd "$2" || exit 1
  say place "$1 $3"
  # The agent may have told git to look elsewhere.
  case $1 in
    own | nested) GIT_DIR=$2/.git GIT_WORK_TREE=$2 && export GIT_DIR GIT_WORK_TREE ;;
    bare) GIT_DIR=$2 && export GIT_DIR ;;
  esac
  git_dir=$(g rev-parse --absolute-git-dir) || exit 1
  say checked_out "$(g symbolic-ref -q HEAD)"
  say operation "$(operation "$git_dir")"
  [ "$1" = bare ] || files "$git_dir" || exit 1
  case $1 in
    linked) worktree_refs ;;
    *) repository "$1" "$git_dir" ;;
  esac
)

# What git status has, without what a tool makes anew, and what git looks past. A pipe does not tell when
# its first part was killed, and half a list would mean that the rest is nowhere.
files() { # GITDIR
  g -c core.excludesFile=/dev/null -c status.renames=false status --porcelain=v1 -z -uall \
    --ignored=matching --ignore-submodules=dirty --no-renames >"$area/state" || return 1
  hidden_changes "$1" >"$area/hidden" || return 1
  swapped <"$area/hidden" >"$area/part" && sed 's/^/HH /' "$area/part" >"$area/entries" &&
    behind_links >>"$area/entries" &&
    swapped <"$area/state" >"$area/part" && sed -E "\\,$rebuildable,d" "$area/part" >>"$area/entries" || return 1
  said entry "$area/entries"
  [ -s "$area/entries" ] || return 0
  sed -n 's/^[?!][?!] //p' "$area/entries" | head -n 20000 | swapped | xargs -0 -r du -sk0 -- 2>/dev/null |
    swapped | sed "s/$tab/ /" | fields size
  # Else git add -A in a shell there takes less than is listed here.
  if g config --get core.excludesFile >/dev/null || [ -e "${XDG_CONFIG_HOME:-$HOME/.config}/git/ignore" ]; then
    say excludes yes
  fi
}

# Files in the place of a submodule that is not there: git does not look at them.
behind_links() {
  g ls-files -s -z >"$area/all" && swapped <"$area/all" >"$area/part" &&
    sed -n "s/^160000 [0-9a-f]* [0-9]$tab//p" "$area/part" >"$area/links" || return 1
  while IFS= read -r path; do
    here=$(cd "./$path" 2>/dev/null && pwd -P) || continue
    top=$(unset GIT_DIR GIT_WORK_TREE && cd "$here" && g rev-parse --show-toplevel 2>/dev/null)
    [ "$top" != "$here" ] || continue
    first=$(find "$here" ! -type d ! -path "$here/.git" -print -quit) || [ $? -lt 128 ] || return 1
    [ -z "$first" ] || printf 'GF %s\n' "$path"
  done <"$area/links"
}

# Refs that a linked worktree has for itself; all others are the workspace's own.
worktree_refs() {
  known_here "$area/ids" >"$area/known"
  g for-each-ref --format='%(objectname)' refs/worktree refs/bisect refs/rewritten >>"$area/known"
  : >"$area/commits"
  if grep -q '^[^^]' "$area/known"; then
    g -c log.showSignature=false log --no-patch --format='%H worktree' --stdin \
      <"$area/known" >"$area/commits" || return 1
  fi
  said commit "$area/commits"
}

# Commits, stashes, tags and the objects of git-lfs.
repository() { # KIND GITDIR
  g for-each-ref --format='%(objectname) %(objecttype) %(refname)' >"$area/refs" || return 1
  head=
  ! g rev-parse -q --verify HEAD >/dev/null || head=HEAD
  remotes=
  [ "$1" = own ] || remotes=$(elsewhere)
  commits "$2" || return 1
  : >"$area/stashes"
  if grep -q ' refs/stash$' "$area/refs"; then
    g -c log.showSignature=false log -g --no-patch --format='%H %gs' refs/stash -- \
      >"$area/stashes" || return 1
  fi
  said stash "$area/stashes"
  # What a clone brought is elsewhere, too.
  : >"$area/objects"
  [ -n "$remotes" ] || sed '/^[0-9a-f]* commit /d' "$area/refs" >"$area/objects"
  said object "$area/objects"
  lfs_objects
}

commits() { # GITDIR
  : >"$area/commits"
  # A reflog may be all that is left.
  if [ -n "$head" ] || [ -s "$area/refs" ] || [ -d "$1/logs" ] || [ -d "$1/reftable" ]; then
    known_here "$area/ids" >"$area/known"
    # rev-list cannot name the source. The first commit of each is the newest.
    # shellcheck disable=SC2086 # one word each
    g -c log.showSignature=false log --topo-order --no-patch --format='%H %S' --all $head --stdin \
      --not $remotes <"$area/known" >"$area/commits" || return 1
    # shellcheck disable=SC2086 # one word each
    g rev-list --reflog --parents --stdin --not --all $head $remotes <"$area/known" >"$area/reflog" || return 1
    awk '{ id[NR] = $1; for (n = 2; n <= NF; n++) inner[$n] }
      END { for (n = 1; n <= NR; n++) print id[n], (id[n] in inner) ? "reflog" : "reflog tip" }' \
      "$area/reflog" >>"$area/commits" || return 1
  fi
  said commit "$area/commits"
}

lfs_objects() {
  : >"$area/lfs"
  storage=$(g config --get lfs.storage) || storage=lfs
  case $storage in /*) ;; *) storage=$(g rev-parse --path-format=absolute --git-common-dir)/$storage ;; esac
  if [ -d "$storage/objects" ]; then
    (cd "$storage/objects" && find . -type f) >"$area/part" || [ $? -lt 128 ] || return 1
    sed -n 's|^\./../../\([0-9a-f]\{64\}\)$|\1|p' "$area/part" >"$area/lfs" || return 1
    say lfs_dir "$storage/objects"
  fi
  said lfs "$area/lfs"
}

# The options of a walk that leave out what remotes elsewhere have. One on this machine may go with it.
elsewhere() {
  for remote in $(g remote); do
    case $(g ls-remote --get-url "$remote" 2>/dev/null) in
      /* | .* | '~'* | *::* | file:* | *//localhost* | *//127.*) ;;
      *:*) printf '%s\n' "--remotes=$remote" ;;
    esac
  done
}

# Worktrees linked to this repository that still are where it believes them.
linked_worktrees() {
  for admin in "$common"/worktrees/*/; do
    [ -f "$admin/gitdir" ] || continue
    link=$(cat "$admin/gitdir")
    case $link in /*) ;; *) link=$admin$link ;; esac
    [ -e "$link" ] || continue
    dir=$(cd "${link%/.git}" && pwd -P) || return 1
    linked "$dir" || return 1
  done
}

linked() { # DIR
  [ "$(cd "$1" && g rev-parse --path-format=absolute --git-common-dir 2>/dev/null)" = "$common" ] || return 0
  printf '%s\n' "$1" >>"$area/seen"
  printf '%s\n' "$1" >>"$area/linked"
  place linked "$1" "$(short_name "$1")" </dev/null
}

# Repositories below a work tree, whether git ignores them or not.
look_inside() {
  find "$1" -path "$1/.git" -prune -o -name .git -prune -print0 >"$area/part" 2>"$area/warned" ||
    [ $? -lt 128 ] || return 1
  tr '\0\n' '\n?' <"$area/part" >"$area/inside" && sed 's/^find: //' "$area/warned" >"$area/part" || return 1
  each unread <"$area/part"
  while IFS= read -r found <&5; do
    is_seen "${found%/.git}" || look_at_repository "${found%/.git}"
  done 5<"$area/inside"
}

is_seen() { grep -qxF -- "$1" "$area/seen"; }

# As the workspace's own commands name it.
short_name() { case $1 in "$w"/*) printf %s "${1#"$w"/}" ;; *) printf %s "$1" ;; esac; }

look_at_repository() { # DIR
  inside_count=$((inside_count + 1))
  if [ "$inside_count" -gt 200 ]; then
    inside_more=$((inside_more + 1))
    return
  fi
  if [ -d "$1/.git" ]; then
    if GIT_DIR=$1/.git g rev-parse --git-dir >/dev/null 2>&1; then
      say_repository nested "$1"
    elif [ ! -d "$1" ] || [ -n "$(find "$1/.git" -type f 2>&1 | head -n 1)" ]; then
      # git looks past this directory only, and at what is beside it.
      say place "nested $(short_name "$1/.git")"
      say failed 'it is no repository that git can read'
    fi
  elif [ ! -e "$1/.git" ]; then
    say place "nested $(short_name "$1")"
    say failed 'it cannot be reached by this name'
  else
    set -- "$1" "$(cd "$1" && g rev-parse --path-format=absolute --git-dir --git-common-dir 2>/dev/null)"
    case $2 in
      # A link to nowhere; git looks at the files beside it.
      '') ;;
      *"$nl$common") linked "$1" || say failed 'git cannot read it' ;;
      *)
        printf '%s\n' "${2%%"$nl"*}" >>"$area/seen"
        say_repository module "$1" ;;
    esac
  fi
}

say_repository() { # KIND DIR
  place "$1" "$2" "$(short_name "$2")" </dev/null 2>"$area/why" || say failed "$(head -n 1 "$area/why")"
}

# Git directories of submodules that have no work tree now.
lone_modules() {
  find "$common/modules" "$common/worktrees" -name objects -type d -prune -print \
    >"$area/modules" 2>/dev/null || [ $? -lt 128 ] || return 1
  while IFS= read -r found <&5; do
    found=${found%/objects}
    { [ -f "$found/HEAD" ] && ! is_seen "$found"; } || continue
    say_repository bare "$found"
  done 5<"$area/modules"
}
