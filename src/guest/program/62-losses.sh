
# What would be lost with a workspace.

# Everything in one workspace that may exist nowhere else. The host decides. In a process of its
# own: it and all that it started are ended at the limit.
losses() {
  find_workspace || absent
  area=$(mktemp -d) || fail failed 'cannot make a temporary directory in the VM'
  cat >"$area/ids"
  say workspace "$name"
  processes_in "$root/$name"
  # shellcheck disable=SC2016 # the inner shell expands them
  timeout -k 1 "$limit" sh -c 'eval "$(printf %s "$1" | base64 -d)"' agentvm \
    "$program" "$nonce" "$hash" "$now" list-losses "p$name" "p$area" 2>"$area/trouble"
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
    case $words in 'sh -c eval "$(printf %s "$1" | base64 -d)" agentvm '*) continue ;; esac
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
