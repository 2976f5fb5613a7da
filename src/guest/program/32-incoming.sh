
# What pushes leave that were killed while their objects came.

# git takes objects in beside the repository's own, in directories that it moves or removes at the end.
# Those of gits that are gone are taken away; of a git that may still run, all stay.
clear_incoming() {
  set -- "$w"/.git/objects/tmp_objdir-incoming-*
  [ -e "$1" ] && [ -d /proc/self ] || return 0
  # Those that are named by now belong to what runs by now.
  git_receives || rm -rf "$@"
}

# Whether something of git's works inside of the repository, as whatever receives a push does. The
# agent's git works in the work tree.
git_receives() {
  [ -n "$(find /proc/[0-9]*/cwd -maxdepth 0 '(' -lname "$w/.git" -o -lname "$w/.git/*" ')' 2>/dev/null |
    while read -r link; do
      process=${link%/cwd}
      case $(cat "$process/comm" 2>/dev/null) in git*) ;; *) continue ;; esac
      case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in
        *upload-pack*) ;;
        *) printf . ;;
      esac
    done)" ]
}
