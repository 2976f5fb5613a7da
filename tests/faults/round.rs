//! Rounds: work on both sides, a command that meets a fault, one ordinary command, and a look at
//! everything.

use std::collections::BTreeMap;

use crate::check::{Allowed, Wrong};
use crate::kill::Victim;
use crate::rng::Rng;
use crate::support::Ran;
use crate::world::{LIFE, World};
use crate::{clocks, crowd, disk, steps};

/// Kinds of rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Processes are killed at any moment.
    Kill,
    /// Processes are killed at one step of the guest program.
    Step,
    /// The machine goes down: all is killed, it is another boot, and new files are empty.
    Power,
    /// The same as `Kill`, and the clock jumps.
    Clock,
    /// Several clients at once, while the agent works, and some are killed.
    Crowd,
    /// The disk is full.
    Disk,
}

impl Kind {
    pub(crate) const ALL: [(usize, Self); 6] = [
        (34, Self::Kill),
        (34, Self::Step),
        (8, Self::Power),
        (6, Self::Clock),
        (8, Self::Crowd),
        (10, Self::Disk),
    ];

    /// A word for the summary.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::Step => "steps",
            Self::Power => "power cuts",
            Self::Clock => "clocks",
            Self::Crowd => "crowds",
            Self::Disk => "full disks",
        }
    }
}

/// What a user would type next. Each of them has to mend whatever was cut off.
const ORDINARY: [&str; 5] = [
    "push agentvm::feature",
    "fetch agentvm::feature",
    "agent-vm status",
    "agent-vm fetch --wip feature",
    "agent-vm connect feature -- true",
];

/// Commands that a fault meets.
pub(crate) const COMMANDS: [(usize, &str); 12] = [
    (40, "push agentvm::feature"),
    (12, "push --force agentvm::feature"),
    (10, "push agentvm::feature feature feature:refs/heads/extra-N"),
    (5, "push agentvm::feature feature:refs/heads/other-N"),
    (5, "agent-vm push feature"),
    (12, "fetch agentvm::feature"),
    (6, "agent-vm connect feature -- true"),
    (4, "agent-vm status"),
    (4, "agent-vm clean --force feature"),
    (4, "agent-vm clean --dry-run feature"),
    (4, "agent-vm fetch --wip feature"),
    (4, "agent-vm diff feature --stat"),
];

/// How an ordinary command may fail for a good reason: somebody's work is in the way, and is named.
const GOOD_REASONS: [&str; 8] = [
    "it has no commit on any branch yet",
    "has changes that are not committed",
    "(fetch first)",
    "(non-fast-forward)",
    "is in progress in the workspace",
    "there is no workspace",
    "would overwrite files",
    "has moved meanwhile; fetch first",
];

/// What many rounds came to.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) rounds: usize,
    pub(crate) faults: BTreeMap<String, usize>,
    pub(crate) losses: usize,
    pub(crate) manual: usize,
    pub(crate) reports: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.losses += other.losses;
        self.manual += other.manual;
        self.reports.extend(other.reports);
        for (name, count) in other.faults {
            *self.faults.entry(name).or_default() += count;
        }
    }

    fn hit(&mut self, kind: Kind, names: &[String]) {
        for name in names {
            *self.faults.entry(format!("{}, {name}", kind.word())).or_default() += 1;
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, count) in &self.faults {
            writeln!(f, "{count:>7}  {name}")?;
        }
        let sum: usize = self.faults.values().sum();
        write!(
            f,
            "{} rounds, {sum} faults, {} losses, {} manual recoveries",
            self.rounds, self.losses, self.manual
        )
    }
}

/// `rounds` rounds of one kind, one after the other, in labs of their own.
pub(crate) fn run(kind: Kind, rounds: usize, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut rng = Rng::new(seed);
    let mut world: Option<World> = None;
    for round in 0..rounds {
        let seed = rng.next();
        if world.as_ref().is_none_or(|world| world.age >= LIFE) {
            drop(world.take());
            world = Some(World::new(seed));
            match kind {
                Kind::Step => steps::install(world.as_mut().expect("just made")),
                Kind::Disk => disk::install(world.as_mut().expect("just made")),
                _ => {}
            }
        }
        let here = world.as_mut().expect("made above");
        here.rng = Rng::new(seed);
        here.age += 1;
        tally.rounds += 1;
        let mut outcome = one(here, kind, &mut rng);
        tally.hit(kind, &outcome.hit);
        if !outcome.wrong.is_empty() {
            let kept = keep(here, kind, seed);
            tally.losses += usize::from(outcome.wrong.iter().any(|w| matches!(w, Wrong::Loss(_))));
            tally.manual +=
                usize::from(outcome.wrong.iter().any(|w| matches!(w, Wrong::Manual(_))));
            outcome.wrong.truncate(12);
            let report = format!(
                "VIOLATION in {kind:?} round {round}, kept in {kept}\n  hit: {:?}\n{}\n{}",
                outcome.hit,
                outcome.wrong.iter().map(|w| format!("  {w}\n")).collect::<String>(),
                outcome.story
            );
            eprintln!("{report}");
            tally.reports.push(report);
            world = None;
        }
    }
    tally
}

/// What one round came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) hit: Vec<String>,
    pub(crate) wrong: Vec<Wrong>,
    /// The commands, and what they said.
    pub(crate) story: String,
}

impl Outcome {
    pub(crate) fn tell(&mut self, ran: &Ran) {
        self.story += &format!("{ran}\n");
    }
}

fn one(world: &mut World, kind: Kind, order: &mut Rng) -> Outcome {
    match kind {
        Kind::Kill => killed(world, &COMMANDS, Victim::any, |_, _| {}),
        Kind::Power => killed(world, &COMMANDS[..3], Victim::machine, clocks::power_cut),
        Kind::Clock => killed(world, &COMMANDS[..3], Victim::machine, clocks::jump),
        Kind::Crowd => crowd::round(world),
        Kind::Step => steps::round(world, order.next()),
        Kind::Disk => disk::round(world),
    }
}

/// A command is killed; `then` happens to what it left behind; perhaps the next one is killed, too.
fn killed(
    world: &mut World,
    commands: &[(usize, &'static str)],
    victim: fn(&mut Rng) -> Victim,
    then: impl Fn(&mut World, &mut Outcome),
) -> Outcome {
    let mut outcome = Outcome::default();
    let before = world.prepare(75);
    let command = world.any_command(commands);
    world.under_fire(&command, victim, &mut outcome);
    then(world, &mut outcome);
    while world.rng.chance(25) {
        let command = world.rng.pick(&ORDINARY).to_owned();
        world.under_fire(&command, victim, &mut outcome);
        then(world, &mut outcome);
    }
    // What was cleaned is in the trash.
    let allowed = if command.contains("clean") {
        Allowed::TheAgents
    } else {
        Allowed::AsBefore(&before, &[])
    };
    world.conclude(&allowed, &mut outcome);
    outcome
}

impl World {
    /// Work on both sides; gives the state of the work tree.
    pub(crate) fn prepare(&mut self, settled: usize) -> String {
        self.ensure_workspace();
        self.agent_works(settled);
        self.user_works();
        self.work_tree()
    }

    pub(crate) fn any_command(&mut self, commands: &[(usize, &'static str)]) -> String {
        let command = self.rng.weighted(commands);
        if command.contains("--force agentvm") {
            self.user.run("git commit -q --amend -m amended");
        }
        self.number += 1;
        command.replace("-N", &format!("-{}", self.number))
    }

    /// Runs a command while processes of it are killed.
    pub(crate) fn under_fire(
        &mut self,
        command: &str,
        victim: fn(&mut Rng) -> Victim,
        outcome: &mut Outcome,
    ) {
        let count = 1 + usize::from(self.rng.chance(30));
        let victims = (0..count).map(|_| victim(&mut self.rng)).collect();
        let killers = self.lie_in_wait(victims);
        let mut running = [self.command(command).background()];
        let hit = self.hunt(killers, &mut running);
        let [running] = running;
        let ran = running.finish();
        self.note(command, &ran);
        outcome.hit.extend(hit);
        outcome.tell(&ran);
        self.wait_for_quiet();
    }

    /// Writes into the ledger what a command said that it did.
    pub(crate) fn note(&mut self, command: &str, ran: &Ran) {
        if ran.code == 0 && command.contains("push") {
            self.pushed.insert(self.user_token.clone());
        }
    }

    /// One ordinary command, to which nothing happens, and a look at everything.
    pub(crate) fn conclude(&mut self, allowed: &Allowed, outcome: &mut Outcome) {
        let command = self.rng.pick(&ORDINARY);
        let ran = self.command(command).run();
        self.note(command, &ran);
        outcome.tell(&ran);
        if ran.code != 0 && !GOOD_REASONS.iter().any(|reason| ran.errors().contains(reason)) {
            outcome.wrong.push(Wrong::Manual(format!("git {command} fails")));
        }
        self.wait_for_quiet();
        let wrong = self.look(allowed);
        outcome.wrong.extend(wrong);
    }
}

/// Keeps both sides of a lab for a look by eye.
fn keep(world: &mut World, kind: Kind, seed: u64) -> String {
    let kept = format!(
        "{}/agentvm-faults.{}/{kind:?}-{seed:016x}",
        std::env::temp_dir().display(),
        std::process::id()
    );
    world.lab.host("mkdir", ["-p", &kept]).succeeds();
    world.lab.host("chmod", ["777", &kept]).succeeds();
    world.user.try_run(&format!("cp -a . '{kept}/app'"));
    world.agent.try_run(&format!("cp -a workspace '{kept}/workspace'"));
    kept
}
