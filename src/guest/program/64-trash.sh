
# The trash.

# Moves a workspace to the trash. The host has looked into it before.
discard() {
  find_workspace || absent
  w=$root/$name
  can_write "$w/.git/agentvm.lock" || fail failed "cannot write to $w in the VM"
  exec 9>"$w/.git/agentvm.lock"
  flock -w 10 9 || fail failed "a push to workspace $name is going on"
  mkdir -p "$trash" || fail failed "cannot make the trash $trash in the VM"
  place=$name.$now
  while [ -e "$trash/$place" ]; do place=$place+; done
  trouble=$(mv "$w" "$trash/$place" 2>&1) ||
    fail failed "cannot move $w to the trash $trash in the VM: $trouble"
  say trash "$trash/$place"
  say end ok
}
