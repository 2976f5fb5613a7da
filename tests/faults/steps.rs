//! A kill at every step: each program that the guest program, its hooks and git start there stands
//! behind a fake, which counts the calls and kills at the one that the plan names.

use crate::check::Allowed;
use crate::round::Outcome;
use crate::world::World;

/// Everything that the guest program starts.
const PROGRAMS: &str = "git sh xargs sort comm rm rmdir mv mkdir find sed stat date sync flock mktemp \
    head fallocate tr env cut base64 chmod cat ls grep awk wc timeout cp";

/// The fake. `plan` says: at which call, what to do. A background process and another may count the
/// same number; the file `fired` lets only one of them act.
const FAKE: &str = r#"#!/bin/sh
name=${0##*/}
case $name in
  git)
    real=@GIT@ GIT_EXEC_PATH=$HOME/../exec
    export GIT_EXEC_PATH ;;
  *)
    real=/usr/bin/$name
    [ -x "$real" ] || real=/bin/$name ;;
esac
read -r number how pattern 2>/dev/null <"$HOME/plan" || exec "$real" "$@"
case "$name $*" in $pattern) ;; *) exec "$real" "$@" ;; esac
printf '%s %.60s\n' "$name" "$(printf %s "$*" | /usr/bin/tr '\n' ' ')" >>"$HOME/calls"
n=0
while read -r _; do n=$((n + 1)); done <"$HOME/calls"
[ "$n" -ge "$number" ] && (set -C; true >"$HOME/fired") 2>/dev/null || exec "$real" "$@"
case $how in
  self-before) kill -9 $$ ;;
  self-after) "$real" "$@"; kill -9 $$ ;;
  *-between)
    exec 3<&0
    "$real" "$@" <&3 3<&- &
    case $how in
      self-*) kill -9 $! $$ ;;
      session-*) kill -9 0 ;;
      nap-*) /usr/bin/sleep 0.002; kill -9 0 ;;
    esac ;;
  parent-before) kill -9 $PPID; exec "$real" "$@" ;;
  parent-after) "$real" "$@"; kill -9 $PPID ;;
  session-before) kill -9 0 ;;
  session-after) "$real" "$@"; kill -9 0 ;;
esac"#;

const HOW: [&str; 9] = [
    "self-before",
    "self-after",
    "self-between",
    "session-between",
    "nap-between",
    "parent-before",
    "parent-after",
    "session-before",
    "session-after",
];

/// Commands whose steps are gone through.
const COMMANDS: [(usize, &str); 8] = [
    (40, "push agentvm::feature"),
    (15, "push --force agentvm::feature"),
    (10, "push agentvm::feature feature feature:refs/heads/extra-N"),
    (10, "fetch agentvm::feature"),
    (15, "agent-vm status"),
    (10, "agent-vm connect feature -- true"),
    (5, "agent-vm clean --dry-run feature"),
    (5, "agent-vm fetch --wip feature"),
];

pub(crate) fn install(world: &mut World) {
    let git = std::env::var("AGENTVM_TEST_GUEST_GIT").unwrap_or_default();
    let git = if git.is_empty() { "/usr/bin/git".to_owned() } else { format!("{git}/git") };
    let fake = FAKE.replace("@GIT@", &git);
    world.agent.run(&format!(
        "cd ../bin && cat >fake <<'END'\n{fake}\nEND\nchmod 755 fake
        for name in {PROGRAMS}; do ln -s fake $name; done
        mkdir ../exec && ln -s \"$('{git}' --exec-path)\"/* ../exec/ && ln -sf ../bin/git ../exec/git"
    ));
}

/// Where a push is cut off so that there is something to mend: when the journal is written, while
/// files move, and before the ref is where they are.
const CUTS: [(&str, &str); 7] = [
    ("session-before", "git *checkout*--detach*"),
    ("session-between", "git *checkout*--detach*"),
    ("nap-between", "git *checkout*--detach*"),
    ("self-between", "git *checkout*--detach*"),
    ("parent-before", "git *checkout*--detach*"),
    ("session-after", "git *checkout*--detach*"),
    ("session-before", "git *symbolic-ref -m*"),
];

/// What the agent does to a file that a push which was cut off would have moved.
const MEDDLE: &str = r#"[ -s .git/agentvm-journal ] || exit 0
read -r ref old new rest <.git/agentvm-journal
case $old in
  *[!0]*) paths=$(git diff-tree -r --name-only --no-renames "$old" "$new") ;;
  *) paths=$(git ls-tree -r --name-only "$new") ;;
esac
path=$(printf '%s\n' "$paths" | sed -n "$((PICK % $(printf '%s\n' "$paths" | wc -l) + 1))p")
dir=$path
while [ "$dir" != "${dir%/*}" ]; do
  dir=${dir%/*}
  [ ! -L "$dir" ] || exit 0
done
[ ! -L "$path" ] && [ ! -d "$path" ] || exit 0
# Where a file stands in for its directory, it has no place.
mkdir -p "./$(dirname "$path")" 2>/dev/null || exit 0
echo TOKEN >>"$path" && printf '%s' "$path""#;

/// One command with a kill at one of its steps, or a push that is cut off in the middle; then, most of
/// the time, others that have to mend what was left, with a kill at one of theirs.
pub(crate) fn round(world: &mut World, choice: u64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut before = world.prepare(90);
    if world.rng.chance(12) {
        // A push that makes its workspace.
        let ran = world.command("agent-vm clean --force feature").run();
        outcome.tell(&ran);
        before.clear();
    }
    let mut touched = Vec::new();
    world.number += 1;
    if world.rng.chance(60) {
        let (how, pattern) = world.rng.pick(&CUTS);
        world.at("push agentvm::feature", 1, how, pattern, &mut outcome);
        if world.rng.chance(40) {
            let (token, pick) = (world.token(), world.rng.below(1000));
            let script = MEDDLE.replace("TOKEN", &token).replace("PICK", &pick.to_string());
            let path = world.in_workspace(&script);
            if !path.is_empty() {
                outcome.story += &format!("the agent touches {path}\n");
                world.planted.push((token, format!("written to {path} after a cut")));
                touched.push(path);
            }
        }
    } else {
        let text = world.rng.weighted(&COMMANDS);
        if text.contains("--force") {
            world.user.run("git commit -q --amend -m amended");
        }
        world.at_step(text, choice, &mut outcome);
    }
    while world.rng.chance(65) {
        let again = ["fetch agentvm::feature", "push agentvm::feature", "agent-vm status"];
        let (text, choice) = (world.rng.pick(&again), world.rng.next());
        world.at_step(text, choice, &mut outcome);
    }
    world.conclude(&Allowed::AsBefore(&before, &touched), &mut outcome);
    outcome
}

impl World {
    /// A command with a kill that `choice` chooses, at one of as many steps as it has been seen to
    /// have; the first time, nothing is killed.
    fn at_step(&mut self, text: &'static str, choice: u64, outcome: &mut Outcome) {
        let how = HOW[usize::try_from(choice % 9).expect("below 9")];
        let known = self.steps.get(text).copied().unwrap_or(0);
        let number = if known == 0 {
            usize::MAX >> 33
        } else {
            1 + usize::try_from(choice >> 8).expect("64 bits") % known
        };
        if let Some(count) = self.at(text, number, how, "*", outcome) {
            self.steps.insert(text, count.max(known));
        }
    }

    /// A command with a kill at the given call of a program whose words match `pattern`. Where it did
    /// not come to that, the number of calls.
    fn at(
        &mut self,
        text: &str,
        number: usize,
        how: &str,
        pattern: &str,
        outcome: &mut Outcome,
    ) -> Option<usize> {
        self.agent.run(&format!("rm -f calls fired; echo '{number} {how} {pattern}' >plan"));
        let command = text.replace("-N", &format!("-{}", self.number));
        let ran = self.command(&command).run();
        self.wait_for_quiet();
        let said =
            self.agent.run("rm -f plan; [ ! -e fired ] || echo fired; cat calls 2>/dev/null; true");
        self.note(&command, &ran);
        outcome.tell(&ran);
        let Some(calls) = said.strip_prefix("fired\n") else { return Some(said.lines().count()) };
        let call = calls.lines().nth(number - 1).unwrap_or_default();
        outcome.story += &format!("killed {how} at step {number}: {call}\n");
        outcome.hit.push(how.to_owned());
        None
    }
}
