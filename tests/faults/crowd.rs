//! Several clients at once, while an agent works.

use crate::check::Allowed;
use crate::kill::Victim;
use crate::round::Outcome;
use crate::world::World;

const CLIENTS: [(usize, &str); 7] = [
    (40, "push agentvm::feature HEAD:refs/heads/feature"),
    (15, "push agentvm::feature HEAD:refs/heads/other-N"),
    (10, "push --force agentvm::feature HEAD~1:refs/heads/feature"),
    (15, "fetch agentvm::feature"),
    (10, "-C ../linked push agentvm::feature HEAD:refs/heads/feature"),
    (5, "agent-vm status"),
    (5, "agent-vm connect feature -- true"),
];

pub(crate) fn round(world: &mut World) -> Outcome {
    let mut outcome = Outcome::default();
    world.prepare(90);
    // A linked worktree of the user's is the same repository with another commit.
    let token = world.token();
    world.user.run(&format!(
        "[ -e ../linked ] || git worktree add -q --detach ../linked
        cd ../linked && git checkout -q --detach feature && mkdir -p host &&
        echo {token} >host/linked.txt && git add host && git commit -qm linked"
    ));
    let mut victims = Vec::new();
    for _ in 0..world.rng.below(4) {
        victims.push(Victim::any(&mut world.rng));
    }
    let deeds = 1 + world.rng.below(5);
    let busy = world.busy_script(deeds);
    let killers = world.lie_in_wait(victims);
    let count = 2 + world.rng.below(7);
    let mut commands = Vec::new();
    let mut running = Vec::new();
    for _ in 0..count {
        world.number += 1;
        let command = world.rng.weighted(&CLIENTS).replace("-N", &format!("-{}", world.number));
        running.push(world.command(&command).background());
        commands.push(command);
    }
    world.agent.start(&busy);
    // The agent's shell also ends the hunt, so it has to be free again.
    outcome.story += &format!("the agent: {}\n", world.agent.finish().0);
    outcome.hit = world.hunt(killers, &mut running);
    outcome.hit.push(format!("{count} clients"));
    for (command, client) in commands.iter().zip(running) {
        let ran = client.finish();
        if ran.code == 0 && command.starts_with("push agentvm::feature HEAD:") {
            world.pushed.insert(world.user_token.clone());
        } else if ran.code == 0 && command.starts_with("-C ../linked push") {
            world.pushed.insert(token.clone());
        }
        outcome.tell(&ran);
    }
    world.wait_for_quiet();
    world.conclude(&Allowed::TheAgents, &mut outcome);
    outcome
}
