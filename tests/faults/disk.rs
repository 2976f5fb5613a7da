//! A disk that is full: the workspaces lie on a small file system of their own, in a namespace of the
//! guest user's, that every session enters.

use crate::check::Allowed;
use crate::round::{COMMANDS, Outcome};
use crate::world::{World, guest_shell};

const SIZE: &str = "48m";
/// The steps at which the room runs out, in KiB.
const STEP: usize = 64;

const ENTER: &str = "read -r pid <\"$HOME/namespace\" &&
    exec nsenter -t \"$pid\" -U -m --preserve-credentials sh -c \"$SSH_ORIGINAL_COMMAND\"";

/// Needs no root: who makes a user namespace may mount a tmpfs in it. The agent lives on that disk,
/// too, and the namespace as long as the agent.
pub(crate) fn install(world: &mut World) {
    world.agent.run("mv workspace before && mkdir workspace");
    let home = world.lab.guest_home();
    world.agent = guest_shell(&world.lab, "unshare -Urm sh");
    world.agent.set(&format!("cd '{}'", home.display()));
    world.agent.run(&format!("mount -t tmpfs -o size={SIZE} tmpfs workspace"));
    world.agent.set(&format!("cd '{}'", home.display()));
    world.agent.run("cp -a before/. workspace && echo $$ >namespace");
    world.lab.hostile_guest(ENTER);
}

/// A push into a disk that has so many times 64 KiB left; then the room is back, and one ordinary
/// command follows.
pub(crate) fn round(world: &mut World) -> Outcome {
    let mut outcome = Outcome::default();
    let before = world.prepare(100);
    let command = world.any_command(&COMMANDS[..5]);
    // Something that does not compress.
    if command.contains("push") {
        world.user.run(
            "mkdir -p host/big && for k in 1 2 3 4 5 6 7 8; do head -c 60000 /dev/urandom >host/big/$k; done
            git add -A . && git commit -q --amend --no-edit",
        );
    }
    let left = STEP * world.rng.below(18);
    world.agent.run(&format!(
        "free=$(($(stat -f -c '%a * %S / 1024' workspace))) && fill=$((free - {left})) &&
        if [ $fill -gt 0 ]; then head -c $((fill * 1024)) /dev/zero >workspace/filler; fi"
    ));
    let ran = world.command(&command).run();
    world.note(&command, &ran);
    outcome.tell(&ran);
    world.wait_for_quiet();
    outcome.story += &format!("{left} KiB were left\n");
    if ran.code != 0 {
        outcome.hit.push("command failed".to_owned());
    }
    // While it is still full, a command more: it may fail, and must destroy nothing.
    if world.rng.chance(40) {
        let ran = world.command("fetch agentvm::feature").run();
        outcome.tell(&ran);
        world.wait_for_quiet();
    }
    world.agent.run("rm -f workspace/filler");
    let free = world.agent.run("stat -f -c '%a' workspace");
    if free.trim().parse::<usize>().unwrap_or_default() < 4000 {
        world.age = crate::world::LIFE;
    }
    let allowed = if command.contains("clean") {
        Allowed::TheAgents
    } else {
        Allowed::AsBefore(&before, &[])
    };
    world.conclude(&allowed, &mut outcome);
    outcome
}
