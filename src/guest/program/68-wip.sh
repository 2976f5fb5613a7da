
# Work that is not committed: its state for the host, without touching anything.

# git with the index $index and a place of its own for new objects, so that the workspace stays as it
# is. What the agent's configuration would refuse or leave out is taken all the same.
aside() (
  GIT_INDEX_FILE=$index GIT_OBJECT_DIRECTORY=$area/repo.git/objects GIT_NO_REPLACE_OBJECTS=1
  export GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_NO_REPLACE_OBJECTS
  g -c core.excludesFile=/dev/null -c core.safecrlf=false -c core.splitIndex=false -c core.fsync=none \
    -c advice.addEmbeddedRepo=false -c i18n.commitEncoding=UTF-8 "$@"
)

# Sets $area: a directory that goes with this session, if possible on the disk of the workspaces, since
# a copy of every changed file comes into it. Those of sessions that were killed are taken away.
make_area() {
  place=$HOME/.local/state/agentvm
  mkdir -p "$place" 2>/dev/null
  find "$place" -maxdepth 1 -name 'wip-*' -mmin +1 -exec flock -n {}/lock rm -rf {} \; 2>/dev/null
  area=$(mktemp -d "$place/wip-XXXXXX" 2>/dev/null) || area=$(mktemp -d) ||
    fail failed 'cannot make a temporary directory in the VM'
  trap 'rm -rf "$area"' EXIT
  # Held for as long as this program or a git of its lives.
  exec 8>"$area/lock" && flock -n 8
}

# A push that moves files meanwhile would leave a mixture: it waits, or is waited for.
hold_off_pushes() {
  [ -e "$w/.git/agentvm.lock" ] || return 0
  exec 9<"$w/.git/agentvm.lock"
  flock -s -w 60 9 || fail failed 'a push to the workspace is going on, and does not end'
}

# The lines of a file of $area as fields of its name.
say_each() { head -n 1000 "$area/$1" | tr '\n' '\0' | xargs -0 -r printf "$1=%s\\0"; }

snapshot() { # LAST TIME: the commit that the host has of an earlier call, and when that was made
  find_workspace || absent
  w=$root/$name
  cd "$w" || fail failed "cannot enter $w in the VM"
  mend_if_possible
  make_area
  hold_off_pushes
  take_snapshot "$1" "$2"
  exec 9>&-
  say workspace "$name"
  say branch "$ref"
  say checked_out "$head"
  say operation "$(operation .git)"
  say_each nested
  say_each unread
  say end ok
  # In a process of its own, so that the directory is taken away afterwards.
  git -c core.fsmonitor=false -c uploadpack.allowFilter=false upload-pack "$area/repo.git"
  exit 0
}

# Makes a repository that borrows the workspace's objects, with the refs refs/heads/ wip (where
# anything differs from HEAD), head and own (the workspace's branch).
take_snapshot() {
  { read_head && read_tip "$ref" && own=$tip && read_tip HEAD; } || fail failed 'git was killed there'
  at=$tip
  repo=$area/repo.git
  {
    git init -q --bare --template= --object-format="$(g rev-parse --show-object-format)" "$repo" &&
      objects=$(cd "$(g rev-parse --git-path objects)" && pwd -P) &&
      printf '%s\n' "$objects" >"$repo/objects/info/alternates" &&
      { [ ! -e .git/shallow ] || cp .git/shallow "$repo/shallow"; } &&
      base=$(g rev-parse --verify "$(tree_of "$at")")
  } >&2 || fail failed "git cannot read workspace $name"
  copy_index
  settle_conflicts
  index=$area/staged
  staged=$(aside write-tree 2>"$area/said") || failed_git write-tree
  index=$area/index
  unhide
  add_files
  tree=$(aside write-tree 2>"$area/said") || failed_git write-tree
  name_repositories
  set -- "$1" "$2" ''
  if [ "$tree" != "$base" ] || [ "$staged" != "$base" ]; then
    # The same state is the same commit: the host has it then, and nothing goes over.
    wip=
    [ -z "$1" ] || wip=$(commit_state "$2")
    [ -n "$wip" ] && [ "$wip" = "$1" ] || wip=$(commit_state "$now") || failed_git commit-tree
    set -- "$1" "$2" "create refs/heads/wip $wip"
  fi
  {
    printf '%s\n' "$3"
    is_null "$at" || printf 'create refs/heads/head %s\n' "$at"
    is_null "$own" || printf 'create refs/heads/own %s\n' "$own"
  } | sed '/^$/d' | git --git-dir="$repo" update-ref --stdin 2>"$area/said" || failed_git update-ref
}

failed_git() { fail failed "git $1 failed in workspace $name: $(head -n 1 "$area/said")"; }

# The index twice: as it is, and for the files. With its time, by which git knows what it has to read.
copy_index() {
  empty "$area/nested" && empty "$area/unread"
  [ -e .git/index ] || return 0
  { cp -p .git/index "$area/index" && cp -p "$area/index" "$area/staged"; } ||
    fail failed "cannot copy the index of workspace $name"
}

# What is staged while a merge is not done: of a path with a conflict, the branch's own version.
settle_conflicts() {
  index=$area/staged
  aside ls-files -u -z >"$area/conflicts" 2>"$area/said" || failed_git ls-files
  [ -s "$area/conflicts" ] || return 0
  swapped <"$area/conflicts" | sed "s/^[^$tab]*$tab//" | swapped |
    aside update-index --force-remove -z --stdin 2>"$area/said" || failed_git update-index
  swapped <"$area/conflicts" | sed -n "s/^\([0-7]*\) \([0-9a-f]*\) 2$tab/\1 \2 0$tab/p" | swapped |
    aside update-index -z --index-info 2>"$area/said" || failed_git update-index
}

# Has git look at files that it was told not to look at, but for those that a sparse checkout left out.
unhide() {
  aside ls-files -v -z | swapped | sed -n '/^[a-zS] /p' >"$area/hidden"
  [ -s "$area/hidden" ] || return 0
  # shellcheck disable=SC2016 # the inner shell expands them
  sed -n 's/^[Ss] //p' "$area/hidden" | swapped |
    xargs -0 -r sh -c 'for path; do
      if [ -e "$path" ] || [ -L "$path" ]; then printf "%s\0" "$path"; fi
    done' sh | aside update-index --no-skip-worktree -z --stdin 2>"$area/said" || failed_git update-index
  sed -n 's/^[a-z] //p' "$area/hidden" | swapped |
    aside update-index --no-assume-unchanged -z --stdin 2>"$area/said" || failed_git update-index
}

# Takes all files that git does not ignore. One that vanishes or changes while it is read makes git
# give up; what still does so after a few times is copied first, so that it holds still.
add_files() {
  for _ in 1 2 3; do
    # A git that was killed leaves its lock.
    rm -f "$index.lock"
    aside add -A --sparse --ignore-errors 2>"$area/said" >&2 && closed_to_us && return
    missing_filter
  done
  rm -f "$index.lock"
  add_copies
}

# A filter that fails would leave out what it is for.
missing_filter() {
  trouble=$(sed -n "/clean filter '.*' failed/p" "$area/said" | head -n 1)
  [ -z "$trouble" ] ||
    fail failed "${trouble#fatal: } in the VM: what the file holds cannot be taken without it"
}

# Puts what git could not look at among what was not read.
closed_to_us() {
  sed -n "s/^warning: could not open directory '\(.*\)': .*/\1/p
    s/^\([^:]*\): Permission denied\$/\1/p" "$area/said" >"$area/unread"
}

add_copies() {
  aside ls-files -z -m -o -d --deduplicate --exclude-standard >"$area/rest" 2>"$area/said" ||
    failed_git ls-files
  closed_to_us
  mkdir "$area/copies" || fail failed 'cannot make a temporary directory in the VM'
  # Names that end in / are repositories inside. One without a commit cannot be linked to.
  swapped <"$area/rest" | sed -n 's|/$||p' | swapped |
    aside update-index --add -z --stdin 2>/dev/null
  # What could not be read, on descriptor 3, stays as it was.
  # shellcheck disable=SC2016 # the inner shell expands them
  swapped <"$area/rest" | sed '/\/$/d' | swapped | xargs -0 -r sh -c 'to=$1
    shift
    vanished() {
      [ ! -e "$path" ] && [ ! -L "$path" ] || return 1
      # In a directory that cannot be entered, nobody knows.
      dir=./$path
      while dir=${dir%/*} && [ ! -e "$dir" ]; do :; done
      [ -x "$dir" ]
    }
    for path; do
      if [ -L "$path" ] || [ -f "$path" ]; then
        case $path in */*) mkdir -p "$to/${path%/*}" ;; esac
        cp -pP -- "./$path" "$to/$path" && printf "%s\0" "$path" >&4 && continue
        rm -f "$to/$path"
      fi
      if [ -d "$path" ] || vanished; then printf "%s\0" "$path"; else printf "%s\0" "$path" >&3; fi
    done' sh "$area/copies" 3>"$area/refused" 4>"$area/copied" 2>/dev/null |
    aside update-index --force-remove -z --stdin 2>"$area/said" || failed_git update-index
  tr '\0\n' '\n?' <"$area/refused" >>"$area/unread"
  (
    GIT_DIR=$w/.git GIT_WORK_TREE=$area/copies
    export GIT_DIR GIT_WORK_TREE
    aside update-index --add --replace -z --stdin <"$area/copied" 2>"$area/said"
  ) || {
    missing_filter
    failed_git update-index
  }
  # What no tree may hold, such as a link called .gitmodules.
  sed -n 's/^Ignoring path //p' "$area/said" >>"$area/unread"
  rm -rf "$area/copies"
}

# Repositories inside whose content does not come along, since only a link to a commit can: those that
# are new or moved, or have changes of their own.
name_repositories() {
  {
    aside diff-index --cached --raw -z --no-renames "$base" | swapped |
      sed -n "N;s/^:[0-7]* 160000 [^\n]*\n//p"
    aside diff-files --raw -z --ignore-submodules=none 2>/dev/null | swapped |
      sed -n "N;s/^:160000 [^\n]*\n//p"
    aside ls-files -z -o --exclude-standard | swapped | sed -n 's|/$||p'
  } | sort -u | tr '\0' '?' >"$area/nested"
}

# Makes the commit of a state, as of a time, in the shape of a stash: its parents are HEAD and, where
# anything is staged, what is. The words of a name in it are the agent's.
commit_state() { # TIME
  moment=$(date -u -d "@$1" '+%Y-%m-%d %H:%M:%S UTC' 2>/dev/null) || moment="$1 s after 1970"
  doing=$(operation .git)
  title="work in progress in $name${head:+ on ${head#refs/heads/}}"
  GIT_AUTHOR_NAME=git-agent-vm GIT_AUTHOR_EMAIL=git-agent-vm@localhost GIT_AUTHOR_DATE="@$1 +0000"
  GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
  GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
  export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
  export GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
  set --
  is_null "$at" || set -- -p "$at"
  if [ "$staged" != "$base" ]; then
    what_is_staged=$(aside commit-tree "$@" -m "what is staged: $title" "$staged" 2>"$area/said") || return 1
    set -- "$@" -p "$what_is_staged"
  fi
  aside commit-tree "$@" -F - "$tree" 2>"$area/said" <<END
$title

Workspace: $name
Time by the host: $moment
HEAD: ${head:-detached}${doing:+
In progress: $doing}
END
}

# Files that the host has not committed come in as changes that are not committed here.

# apply OLD NEW: makes the files those of the commit NEW, whose objects come as a pack on standard
# input, while HEAD and the index stay at OLD. All of them or none: the journal is that of a push, which
# leads back to OLD for as long as the ref has not moved, and it never does.
apply() {
  old=$1 new=$2
  find_workspace || absent
  cd -P "$root/$name" || fail failed "cannot enter $root/$name in the VM"
  w=$PWD gitdir=$PWD/.git
  can_write "$w/.git/agentvm.lock" || fail failed "cannot write to $w in the VM"
  exec 9>"$w/.git/agentvm.lock"
  flock -w 60 9 || fail failed "another command is at work in workspace $name, and does not end"
  ! may_have_leftovers || (mend_all) ||
    fail failed "a push was cut off, and git is at work in workspace $name; try again when it has ended"
  refuse_elsewhere
  mark_received "$w/.git/agentvm-received" || fail failed "cannot write to $w in the VM"
  receive_objects
  said=$(
    exec 2>&1
    GIT_ALTERNATE_OBJECT_DIRECTORIES=.git/agentvm-wip/new
    export GIT_ALTERNATE_OBJECT_DIRECTORIES
    refuse_dirty
    refuse_hidden
    refuse_what_is_in_the_way
  ) || give_up lose "$(printf '%s\n' "$said" | sed 's/^error: //')"
  take_in_objects
  move_files
  say workspace "$name"
  say end ok
}

# Ends a session that has moved nothing, or put it back.
give_up() {
  tidy_up
  fail "$@"
}

# What cannot be done now, the next command does, which takes away what a killed git has locked, too. In
# here, a lock may well be that of a program of the agent's.
tidy_up() { forget_sent && look_back && empty "$w/.git/agentvm-received"; }

refuse_elsewhere() {
  { read_head && read_tip "$ref"; } || fail failed 'git was killed there'
  [ "$head" = "$ref" ] ||
    fail lose "workspace $name is on ${head:-no branch}, not on ${ref#refs/heads/}${nl}hint: git agent-vm connect $(branch_word) -- git switch $(branch_word)"
  [ "$tip" = "$old" ] ||
    fail lose "workspace $name is at another commit than ${ref#refs/heads/} here${nl}hint: git agent-vm fetch $(branch_word) brings what it has"
}

# The new objects, not yet among those of the workspace.
receive_objects() {
  side=$w/.git/agentvm-wip
  { mkdir -p "$side/new/info" && printf '../../objects\n' >"$side/new/info/alternates"; } ||
    give_up failed "cannot write to $w in the VM"
  (
    GIT_OBJECT_DIRECTORY=$side/new
    export GIT_OBJECT_DIRECTORY
    g index-pack --stdin --fix-thin >/dev/null 2>"$side/said"
  ) || give_up failed "the files did not arrive whole: $(head -n 1 "$side/said")"
}

# A file that git was told not to look at would be changed without showing as changed.
refuse_hidden() {
  case $report in *=flags*) ;; *) return 0 ;; esac
  from=$old to=$new
  { g ls-files -v -z >"$side/all" && flagged "$side" && paths_between >"$side/between" &&
    sorted flagged && sorted between &&
    comm -12 "$side/flagged.sorted" "$side/between.sorted" >"$side/hidden"; } ||
    refuse_push 'cannot look for hidden files in the workspace'
  [ -s "$side/hidden" ] || return 0
  warn 'error: git was told not to look at files of the workspace that would change:'
  tr '\0' '?' <"$side/hidden" | sed -n '1,10s/^/error:   /p' >&2
  warn 'hint: git update-index --no-assume-unchanged FILE (or --no-skip-worktree) there, or a wider sparse checkout'
  exit 1
}

# The paths in a file beside, a line each and in order.
sorted() { swapped <"$side/$1" >"$side/$1.sorted" && sort -o "$side/$1.sorted" "$side/$1.sorted"; }

# Nothing but the ref keeps them, until the files are in their places.
take_in_objects() {
  for part in pack rev idx; do
    for file in "$side"/new/pack/pack-*."$part"; do
      [ ! -e "$file" ] || mv -f "$file" "$w/.git/objects/pack/" || give_up failed "cannot write to $w in the VM"
    done
  done
  g update-ref refs/agentvm/wip/host "$new" || give_up failed 'git update-ref failed in the VM'
}

# git's own checkout moves the files, with all that it looks at first, but with a HEAD and an index
# that are not the workspace's.
move_files() {
  {
    printf '..\n' >"$side/commondir" && printf '%s\n' "$old" >"$side/HEAD" &&
      { [ ! -e "$w/.git/index" ] || cp -p "$w/.git/index" "$side/index"; } && flush
  } || give_up failed "cannot write to $w in the VM"
  open_journal || give_up failed "cannot write to $w in the VM"
  said=$(
    GIT_DIR=$side GIT_WORK_TREE=$w
    export GIT_DIR GIT_WORK_TREE
    g -c advice.detachedHead=false -c core.sparseCheckout=false -c submodule.recurse=false \
      checkout -q --no-overwrite-ignore --detach "$new" 2>&1
  ) || put_back "$said"
  flush || put_back 'the files could not be stored'
  # From here on they are there to stay.
  empty "$journal"
  flush_file "$journal"
  tidy_up
}

put_back() {
  case $1 in
    *'would be overwritten'* | *'would lose untracked'*)
      # Nothing has moved.
      rm -rf "$gitdir/agentvm-before"
      empty "$journal"
      give_up lose "$1" ;;
  esac
  mend || fail failed "$1; the workspace could not be put back at once, and the next command does it"
  give_up failed "$1; the workspace is as it was"
}
