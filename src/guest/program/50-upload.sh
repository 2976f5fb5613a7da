
# Serving a fetch.

# What git knows of the work tree: lines "XY path", NUL at each end. Nothing is hidden.
work_tree_state() {
  g -c core.excludesFile=/dev/null -c status.renames=false status --porcelain=v1 -z -uall \
    --ignored="${1:-no}" --ignore-submodules=none --no-renames
}

upload() {
  find_workspace || absent
  w=$root/$name
  cd "$w" || fail failed "cannot enter $w in the VM"
  mend_if_possible
  say workspace "$name"
  say branch "$ref"
  say end ok
  count_files=
  if [ "$quiet" = 0 ]; then
    stays_behind &
    count_files=$!
  fi
  git -c core.fsmonitor=false -c uploadpack.allowFilter=false -c transfer.hideRefs=refs/rescue \
    -c transfer.hideRefs=refs/stash -c transfer.hideRefs=refs/agentvm upload-pack "$w"
  # What git thinks of it, its client knows.
  [ -z "$count_files" ] || wait "$count_files"
  exit 0
}

# Says on stderr how many files are not committed: a fetch does not bring them. Where git takes long
# to find out, it and all that it started are ended, or they would hold ssh's streams.
stays_behind() {
  git() { timeout -k 1 10 git "$@"; }
  count=$(work_tree_state 2>/dev/null | tr -dc '\0' | wc -c)
  [ "$count" -eq 0 ] && return
  changes='with uncommitted changes'
  [ "$count" -eq 1 ] && changes="1 file $changes stays" || changes="$count files $changes stay"
  warn "hint: $changes in the workspace (git agent-vm diff $(branch_word))"
}
