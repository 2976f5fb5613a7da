
# Putting right a push that was cut off.

zeros=0000000000000000000000000000000000000000

is_id() {
  case $1 in *[!0-9a-f]*) return 1 ;; esac
  [ ${#1} = 40 ] || [ ${#1} = 64 ]
}

# read_tip REF: sets $tip to the commit of a ref, or of HEAD; zeros for none. In the work tree $w.
# Fails where git did not live to tell.
read_tip() {
  read -r tip 2>/dev/null <"$w/.git/$1" && is_id "$tip" && return
  tip=$(g rev-parse -q --verify "$1" 2>/dev/null) || { [ $? -eq 1 ] && tip=$zeros; }
}

# Sets $head to the ref that is checked out, or to nothing. Fails where git did not live to tell.
read_head() {
  head=''
  if read -r line 2>/dev/null <"$w/.git/HEAD"; then
    case $line in
      # What a repository with reftables has there.
      *.invalid) ;;
      'ref: refs/'*)
        head=${line#ref: }
        return ;;
      *) ! is_id "$line" || return 0 ;;
    esac
  fi
  head=$(g symbolic-ref -q HEAD) || [ $? -eq 1 ]
}

is_null() { case $1 in *[!0]*) return 1 ;; esac; }

# The tree of a commit, or the empty tree for "no commit". That one is written, or git fsck would miss it
# in the index.
tree_of() { if is_null "$1"; then g hash-object -w -t tree /dev/null; else printf %s "$1^{tree}"; fi; }

# The paths in which $to differs from $from, NUL at each end; options choose among them.
paths_between() {
  g diff-tree -r -z --name-only --no-renames "$@" "$(tree_of "$from")" "$(tree_of "$to")"
}

# Keeps a commit that something is about to replace.
rescue() { # COMMIT WHY
  g update-ref -m "$2" "refs/rescue/${now:-0}-$(printf %.10s "$1")" "$1"
}

# Whether the agent's git is at work in this workspace or in a linked worktree of it. Services of other
# sessions wait for the lock that we hold, so they do not count, nor does a daemon that only watches.
# What could not be learned counts as yes.
git_is_running() {
  set -- "$w"
  for linked in "$w"/.git/worktrees/*/gitdir; do
    read -r place 2>/dev/null <"$linked" || continue
    set -- "$@" "${place%/.git}"
  done
  gits_in git "$@" || return 0
  for process in $gits; do
    case $(words_of "$process") in
      *receive-pack* | *upload-pack* | *fsmonitor--daemon*) ;;
      *) [ ! -d "$process" ] || return 0 ;;
    esac
  done
  return 1
}

# gits_in PATTERN DIR…: sets $gits to the processes, as directories, whose name is like PATTERN and that
# work in or below one of these. Fails where that could not be learned.
gits_in() {
  pattern=$1 gits=''
  shift
  links_into '/proc/[0-9]*/cwd' "$@" || return 1
  for link in $links; do
    comm=''
    read -r comm 2>/dev/null <"${link%/cwd}/comm"
    # shellcheck disable=SC2254 # it is one
    case $comm in $pattern) gits="$gits ${link%/cwd}" ;; esac
  done
}

# links_into WHERE DIR…: sets $links to the links WHERE, or in there, that lead to one of these or below.
# Fails where that could not be learned.
links_into() {
  where=$1
  shift
  for place; do
    shift
    place=$(as_pattern "$place")
    set -- "$@" -o -lname "$place" -o -lname "$place/*"
  done
  shift
  # shellcheck disable=SC2086 # patterns
  links=$(find $where -maxdepth 1 -type l '(' "$@" ')' 2>/dev/null)
  # Processes end while it looks, which is no failure.
  [ $? -lt 128 ]
}

words_of() { tr '\0' ' ' 2>/dev/null <"$1/cmdline"; }

# Sets $this_boot: which boot of this machine this is; where that is not known, always the same.
read_boot() { read -r this_boot 2>/dev/null </proc/sys/kernel/random/boot_id || this_boot=-; }

# Finishes or undoes a push that was cut off. Runs under the lock, in the work tree. What is in the
# journal: the ref, its old and its new commit, the session, the boot (after "undoing-" if going back has
# begun), and the word end. It is closed when it is empty.
mend() {
  journal=$w/.git/agentvm-journal
  [ -s "$journal" ] || return 0
  end=
  read -r ref old new session boot end <"$journal"
  if [ "$end" != end ]; then
    # No file moves before all of it is on the disk.
    empty "$journal"
    return
  fi
  # The end of a push of this session needs no such care; a killed git leaves its locks behind.
  if [ "$session" != "$nonce" ]; then
    git_is_running && return 1
    for lock in index HEAD "$ref" packed-refs; do
      rm -f "$w/.git/$lock.lock"
    done
  fi
  read_boot
  read_head && read_tip HEAD && at=$tip && read_tip "$ref" || return 1
  if [ -z "$head" ] && [ "$at" = "$tip" ] && [ "$at" != "$new" ]; then
    # Mending itself was cut off.
    write_if_rebooted "$tip" "$new" && attach 'push undone' || return 1
  elif [ -z "$head" ] && [ "$at" != "$new" ] && [ -z "$(operation "$w/.git")" ]; then
    take_commits_along || return 1
  elif [ "$tip" = "$new" ] && [ "$at" = "$new" ]; then
    write_if_rebooted "$new" "$old" || return 1
    [ -n "$head" ] || attach push || return 1
  elif [ -z "$head" ] && [ "$at" = "$new" ]; then
    # Not to $old, where the agent has moved the branch just before its files moved.
    old=$tip
    undo_checkout || return 1
  elif [ "$head" = "$ref" ] && [ "$tip" = "$old" ]; then
    put_files "$old" "$new" || return 1
  fi
  # In any other state the agent has gone on by itself: its word counts.
  empty "$journal"
  forget_sent
}

# HEAD is on the branch again.
attach() { g symbolic-ref -m "agentvm: $1" HEAD "$ref"; }

# Where the machine went down since, what git had moved may not have reached the disk.
write_if_rebooted() { # TARGET OTHER
  case $boot in
    *"$this_boot") ;;
    *) put_files "$1" "$2" ;;
  esac
}

# Commits that the agent made while HEAD was on no branch, on top of what was pushed, belong on the
# branch, or nobody would ever fetch them. Where the push itself failed, what is pushed comes along.
take_commits_along() {
  g merge-base --is-ancestor "$new" "$at" || { [ $? -eq 1 ]; return; }
  is_null "$tip" || g merge-base --is-ancestor "$tip" "$at" || { [ $? -eq 1 ] && keep_branch; } || return 1
  g update-ref -m 'agentvm: commits made during a push' "$ref" "$at" "$tip" && attach push
}

keep_branch() {
  rescue "$tip" 'agentvm: replaced by commits made during a push' &&
    warn "a push was cut off, and both '${ref#refs/heads/}' and HEAD have gone on: what the branch was, $(printf %.10s "$tip"), is kept under refs/rescue/"
}

# What files that the host has not committed came with; no longer needed once the journal is closed.
forget_sent() {
  [ -d "$w/.git/agentvm-wip" ] || return 0
  g update-ref -d refs/agentvm/wip/host && rm -rf "$w/.git/agentvm-wip"
}

# All files are at $new, the ref is not: back to $old. If the agent has changed files since, on to
# $new. If the machine went down, or going back was cut off itself, files may be at either.
undo_checkout() {
  rm -f "$w/.git/agentvm-reserve"
  # After a power cut, git would believe the index about files that may not have reached the disk.
  if [ "$boot" = "$this_boot" ]; then
    # From here on, a file at $old is nobody's change.
    printf '%s %s %s %s undoing-%s end\n' "$ref" "$old" "$new" "$session" "$boot" >"$w/.git/agentvm-paths.journal" &&
      mv -f "$w/.git/agentvm-paths.journal" "$journal" || return 1
    if said=$(check_out_old 2>&1); then
      attach 'push undone'
      return
    fi
    case $said in
      *'would be overwritten'* | *'would lose untracked'* | *'not uptodate'*)
        is_null "$old" || rescue "$old" 'agentvm: replaced by a push' || return 1
        g update-ref -m 'agentvm: push' "$ref" "$new" && attach push
        return ;;
    esac
  fi
  put_files "$old" "$new" && attach 'push undone'
}

# read-tree would overwrite ignored files. Where there is no old commit, it writes none.
check_out_old() {
  if is_null "$old"; then
    g read-tree -m -u "$(tree_of "$new")" "$(tree_of "$old")"
  else
    g checkout -q --no-overwrite-ignore --detach "$old"
  fi
}

# Of the paths on standard input, those that no link leads to: what is behind one is another file.
# With -f, only files and links.
not_behind_links() {
  # shellcheck disable=SC2016 # the inner shell expands them
  xargs -0 sh -c 'only_files=$1
    shift
    for path; do
      dir=$path
      while [ "$dir" != "${dir%/*}" ]; do
        dir=${dir%/*}
        [ ! -L "$dir" ] || continue 2
      done
      if [ -n "$only_files" ] && [ ! -L "$path" ] && [ ! -f "$path" ]; then continue; fi
      printf "%s\0" "$path" || exit 1
    done' sh "${1-}"
}

# Renames what stands where a path on standard input has to be: a directory in place of a file, a
# file in place of a directory. checkout-index -f would delete it. A link to a repository stays.
clear_the_way() {
  # shellcheck disable=SC2016 # the inner shell expands them
  xargs -0 sh -c 'time=$1
    shift
    rename() {
      to=$1.found-$time
      while [ -e "$to" ] || [ -L "$to" ]; do to=$to+; done
      mv -- "$1" "$to" || exit 1
      printf "a push was cut off: %s was in the way and is kept as %s\n" "$1" "$to" >&2
    }
    for path; do
      dir= rest=$path
      while [ "$rest" != "${rest#*/}" ]; do
        dir=$dir${rest%%/*} rest=${rest#*/}
        if [ -L "$dir" ] || { [ -e "$dir" ] && [ ! -d "$dir" ]; }; then rename "$dir"; fi
        dir=$dir/
      done
      [ -d "$path" ] && [ ! -L "$path" ] && ! rmdir -- "$path" 2>/dev/null || continue
      case $(git --literal-pathspecs ls-files -s -- "$path") in
        160000*) ;;
        *) rename "$path" ;;
      esac
    done' sh "${now:-0}"
}

# put_files TARGET OTHER: files may be at either commit, and go to TARGET. What is neither the one nor
# the other is kept under refs/rescue first. Every step may be killed, or find the disk full: each is
# looked at, since half a list would mean that there is nothing to keep.
put_files() {
  from=$1 to=$2
  list=$w/.git/agentvm-paths
  index=$w/.git/agentvm-index
  # The room that was kept for this.
  rm -f "$w/.git/agentvm-reserve"
  keep_what_is_neither || return 1
  # The files are written by an index that knows none of their times: a power cut may have taken what
  # is in them. The workspace's own comes last: where it is there already, git takes what differs from
  # it for the agent's changes.
  GIT_INDEX_FILE=$index g read-tree "$(tree_of "$from")" || return 1
  paths_between --diff-filter=A >"$list" && not_behind_links -f <"$list" >"$list.files" || return 1
  # shellcheck disable=SC2016 # the inner shell expands them
  xargs -0 sh -c 'for path; do
      rm -f -- "$path" || exit 1
      rmdir -p -- "${path%/*}" 2>/dev/null || :
    done' sh <"$list.files" || return 1
  paths_between --diff-filter=a >"$list" &&
    (GIT_INDEX_FILE=$index && export GIT_INDEX_FILE && clear_the_way <"$list") &&
    GIT_INDEX_FILE=$index g checkout-index -f -q -z --stdin <"$list" || return 1
  # One that is right already keeps its flags.
  g diff-index --cached --quiet "$(tree_of "$from")" -- 2>/dev/null ||
    { keep_staged && g read-tree "$(tree_of "$from")"; } || return 1
  g update-index -q --refresh >/dev/null 2>&1
  # A killed one leaves its lock.
  [ $? -lt 128 ] || return 1
  rm -f "$list" "$list".* "$index"
}

# What somebody has staged meanwhile may be no file any more. An index that git cannot read, as a power
# cut leaves it, holds nothing that could be kept.
keep_staged() {
  ! g diff-index --cached --quiet "$(tree_of "$to")" -- 2>/dev/null || return 0
  seen=$(g write-tree 2>/dev/null) || { [ $? -eq 128 ]; return; }
  keep_seen 'staged when a push was cut off' 'cut-off push' || return 1
  warn "a push was cut off: what was staged is kept as $(printf %.10s "$kept") under refs/rescue/"
}

# The part of put_files that looks for work.
keep_what_is_neither() {
  paths_between >"$list" && not_behind_links -f <"$list" >"$list.files" &&
    GIT_INDEX_FILE=$index g read-tree "$(tree_of "$from")" &&
    GIT_INDEX_FILE=$index g update-index --force-remove -z --stdin <"$list" &&
    GIT_INDEX_FILE=$index g update-index --add --remove -z --stdin 2>/dev/null <"$list.files" &&
    seen=$(GIT_INDEX_FILE=$index g write-tree) &&
    differing "$from" >"$list.from" && differing "$to" >"$list.to" &&
    sort -o "$list.from" "$list.from" && sort -o "$list.to" "$list.to" &&
    neither=$(comm -12 "$list.from" "$list.to") || return 1
  [ -n "$neither" ] || return 0
  keep_seen 'files found after a push was cut off' 'cut-off push' || return 1
  warn "a push was cut off: files that were neither old nor new are kept as $(printf %.10s "$kept") under refs/rescue/"
}

# keep_seen MESSAGE WHY: the files of $seen, found where $from was, become the commit $kept.
keep_seen() {
  why=$2
  set -- -m "agentvm: $1"
  is_null "$from" || set -- "$@" -p "$from"
  kept=$(g commit-tree "$@" "$seen") && rescue "$kept" "agentvm: $why"
}

# What was written to a file while a push replaced it is kept under refs/rescue. Fails where it could not
# be kept.
look_back() {
  before=$w/.git/agentvm-before
  [ -d "$before" ] || return 0
  # Without the one, no file has a second name, without the other, none was replaced.
  if [ -e "$before/since" ] && read -r from 2>/dev/null <"$before/moving" && is_id "$from"; then
    list=$before/list
    find "$before/files" -type f -newer "$before/since" -printf '%P\0' >"$list" || return 1
    [ ! -s "$list" ] || keep_what_was_written || return 1
  fi
  rm -rf "$before"
}

keep_what_was_written() {
  seen=$(
    cd "$before/files" && set -- --git-dir="$w/.git" --work-tree="$before/files" &&
      GIT_INDEX_FILE=$before/index g "$@" read-tree "$from" &&
      GIT_INDEX_FILE=$before/index g "$@" update-index --add -z --stdin <"$list" &&
      GIT_INDEX_FILE=$before/index g "$@" write-tree
  ) || return 1
  written=$(differing "$from") || return 1
  [ -n "$written" ] || return 0
  keep_seen 'written to while a push replaced it' 'written during a push' || return 1
  warn "warning: files were written to while the push replaced them; what was written is kept as $(printf %.10s "$kept") under refs/rescue/:"
  printf '%s\n' "$written" | sed -n '1,10s/^/warning:   /p' >&2
}

# The files of $seen that are not as in a commit.
differing() { g diff-tree -r --no-renames --diff-filter=d --name-only "$(tree_of "$1")" "$seen"; }

# Our own lists and copies of the index, in a workspace where nobody needs them.
forget_lists() {
  for path in "$w"/.git/agentvm-paths* "$w"/.git/agentvm-index*; do
    [ ! -e "$path" ] || rm -f "$path"
  done
}

# Takes away what a session or a machine that went down has left: our own copies of the index, and
# locks of git that are older than this boot, or no older than a push that was cut off, so that
# whoever made them is gone. A push that has begun holds our lock; here nobody else does. Fails where
# not all of it could be done.
clear_leftovers() {
  forget_lists
  read_boot_time
  began=
  if [ -s "$w/.git/agentvm-received" ]; then
    began=$(stat -c %Y "$w/.git/agentvm-received") || return 1
    read -r _ pushed_in <"$w/.git/agentvm-received"
    # Where the machine went down in that push, or its clock was set back since, times tell nothing.
    if [ "${pushed_in:-$this_boot}" != "$this_boot" ] || [ "$began" -gt "$(date +%s)" ]; then
      began=0
    fi
  fi
  # A linked worktree is none of a push's business.
  locks=$(find "$w/.git" '(' -path "$w/.git/objects" -o -path "$w/.git/worktrees" ')' -prune -o \
    -name '*.lock' ! -name agentvm.lock -print) || return 1
  while IFS= read -r lock; do
    [ -e "$lock" ] || continue
    age=$(stat -c %Y "$lock" 2>/dev/null) || return 1
    [ "$age" -lt "${booted:-0}" ] || [ "$age" -ge "${began:-$((age + 1))}" ] || continue
    git_is_running || rm -f -- "$lock" || return 1
  done <<END
$locks
END
  clear_keeps || return 1
  [ -s "$w/.git/agentvm-journal" ] || forget_sent
}

# A receive-pack that was killed leaves its note beside the pack that it had taken in. git would refuse
# the same pack, with another note, for ever. After a power cut, it may be empty.
clear_keeps() {
  for keep in "$w"/.git/objects/pack/*.keep; do
    [ -f "$keep" ] || continue
    who='' process=''
    read -r who process _ <"$keep"
    if [ -n "$who" ]; then
      [ "$who" = receive-pack ] || continue
      case $(words_of "/proc/$process") in *receive-pack*) continue ;; esac
    else
      age=$(stat -c %Y "$keep" 2>/dev/null) || return 1
      [ "$age" -ge "${began:-$((age + 1))}" ] || continue
    fi
    rm -f -- "$keep" || return 1
  done
}

# Sets $booted to when this machine was started, by its own clock.
read_boot_time() {
  booted=
  while read -r word value; do
    [ "$word" != btime ] || booted=$value
  done 2>/dev/null </proc/stat
}

# Something is about to change: who finds this in a file, and has the lock, knows of a cut-off session.
mark_received() { printf '%s %s\n' "$nonce" "$this_boot" >"$1"; }

# Nothing is left: the next session need not look.
forget_leftovers() {
  empty "$w/.git/agentvm-received" && printf '%s\n' "$this_boot" >"$w/.git/agentvm-boot"
}

# Everything at once, under the lock. What was cut off itself begins again the next time, so a mark of
# ours stays until all is done.
mend_all() {
  [ -s "$w/.git/agentvm-received" ] || mark_received "$w/.git/agentvm-received" || return 1
  clear_leftovers && mend && look_back || return 1
  git_is_running || forget_leftovers
}

# Whether a session or a machine that went down may have left something behind: a journal that is
# not closed, a push that has begun, second names, which a killed hook's own processes may give files
# after all else is over, or the last look was during another boot.
may_have_leftovers() {
  read_boot
  [ -s "$w/.git/agentvm-journal" ] || [ -s "$w/.git/agentvm-received" ] || [ -d "$w/.git/agentvm-before" ] ||
    ! read -r seen 2>/dev/null <"$w/.git/agentvm-boot" || [ "$seen" != "$this_boot" ]
}

# Mends under the lock if nobody has it. Fails where nothing can be written.
mend_if_free() {
  may_have_leftovers || return 0
  can_write "$w/.git/agentvm.lock" || return 1
  exec 9>"$w/.git/agentvm.lock"
  if flock -n 9; then
    # In a shell of its own: the journal may name another ref than the session.
    (mend_all) || warn 'warning: a push that was cut off cannot be mended while git is at work in the workspace'
  fi
  exec 9>&-
}

# The same for verbs that only read: what is in a workspace can be had from a disk that went
# read-only, too.
mend_if_possible() {
  mend_if_free || warn "warning: cannot write to $w in the VM"
}
