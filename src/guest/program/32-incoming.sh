
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
# agent's git works in the work tree. What could not be learned counts as yes.
git_receives() {
  gits_in 'git*' "$w/.git" || return 0
  for process in $gits; do
    case $(words_of "$process") in
      *upload-pack*) ;;
      *) return 0 ;;
    esac
  done
  return 1
}
