//! A machine that goes down, and clocks that jump: what both do to the files that a killed command
//! leaves.

use crate::round::Outcome;
use crate::world::World;

/// Files of a push that had not reached the disk are empty, all locks are from before the machine
/// went down, and it has another boot id.
const POWER_CUT: &str = r#"if read -r ref old new session boot end <.git/agentvm-journal && [ "$end" = end ]; then
  printf '%s %s %s %s another-boot end\n' "$ref" "$old" "$new" "$session" >.git/agentvm-journal
  git diff-tree -r -z --name-only --no-renames --diff-filter=d "$old" "$new" |
    while IFS= read -r -d '' path; do
      [ -f "$path" ] && [ ! -L "$path" ] || continue
      [ "$(git hash-object --no-filters -- "$path")" = "$(git rev-parse "$new:$path")" ] || continue
      [ $(($(printf %s "$path" | cksum | cut -d' ' -f1) % 3)) = 0 ] || : >"$path"
    done
  echo cut
fi
[ ! -e .git/agentvm-boot ] || echo another-boot >.git/agentvm-boot
find .git -ignore_readdir_race -name '*.lock' ! -path .git/agentvm.lock -exec touch -d 2001-01-01 {} +"#;

pub(crate) fn power_cut(world: &mut World, outcome: &mut Outcome) {
    let script = format!("cat <<'END' >../../cut.sh\n{POWER_CUT}\nEND\nbash ../../cut.sh");
    let said = world.in_workspace(&script);
    outcome.story += &format!("power cut: {said}\n");
    if said.contains("cut") {
        outcome.hit.push("in the middle of a checkout".to_owned());
    }
}

/// What the clock made of the files that are there: times days away, in either direction.
pub(crate) fn jump(world: &mut World, outcome: &mut Outcome) {
    let days =
        world.rng.pick(&["-400 days", "-1 day", "-1 hour", "+1 hour", "+1 day", "+400 days"]);
    let which = world.rng.pick(&[
        "-name '*.lock'",
        "-name 'agentvm-*'",
        "-name index",
        "( -name '*.lock' -o -name 'agentvm-*' -o -name index )",
    ]);
    let which = which.replace('(', "\\(").replace(')', "\\)");
    let said = world.in_workspace(&format!(
        "find .git -ignore_readdir_race {which} ! -path .git/agentvm.lock -exec touch -d '{days}' {{}} +
        [ -s .git/agentvm-journal ] || [ -s .git/agentvm-received ] || exit 0; echo cut"
    ));
    let skew = world.rng.pick(&["-400 days", "+0 days", "+400 days"]);
    world.lab.guest_fake(
        "date",
        &format!("case $* in +%s) exec /bin/date -d '{skew}' +%s ;; esac\nexec /bin/date \"$@\""),
    );
    outcome.story += &format!("clock: files {days}, date {skew}\n");
    // Where nothing was cut off, a clock that jumps is nothing.
    if said.contains("cut") {
        outcome.hit.push("jump after a cut".to_owned());
    }
}
