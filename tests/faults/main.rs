//! The fault suite: whatever is killed, and wherever, nothing is lost and nobody has to mend by hand.
//!
//! Each test is some rounds of one kind. `scripts/faults` does as many as one likes; what was reached
//! stands in `README.md` beside this file.

// A laboratory that cannot be set up is a failed test; there is nothing to hand an error to.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

// The laboratory of the integration tests; these need only some of it.
#[allow(dead_code, unused_imports)]
#[path = "../integration/support/mod.rs"]
mod support;

mod check;
mod clocks;
mod crowd;
mod disk;
mod found;
mod kill;
mod model;
mod rng;
mod round;
mod sequence;
mod shell;
mod steps;
mod tidy;
mod world;

use round::{Kind, Tally};

fn number(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("${name} is no number: {text}")))
}

fn seed() -> u64 {
    number("AGENTVM_FAULT_SEED").unwrap_or(1) as u64
}

/// Some rounds of one kind, with so many faults at least, and that none of them goes wrong.
fn holds(kind: Kind, rounds: usize, at_least: usize) {
    let tally = round::run(kind, rounds, seed());
    eprintln!("{tally}");
    let faults: usize = tally.faults.values().sum();
    assert!(faults >= at_least, "too few faults hit:\n{tally}");
    assert!(tally.reports.is_empty(), "{}\n{tally}", tally.reports.join("\n"));
}

#[test]
fn kills_at_any_moment_lose_nothing() {
    holds(Kind::Kill, 50, 20);
}

#[test]
fn kills_at_each_step_lose_nothing() {
    holds(Kind::Step, 165, 230);
}

#[test]
fn power_cuts_lose_nothing() {
    holds(Kind::Power, 48, 15);
}

#[test]
fn clocks_that_jump_lose_nothing() {
    holds(Kind::Clock, 34, 10);
}

#[test]
fn clients_at_once_lose_nothing() {
    holds(Kind::Crowd, 15, 15);
}

#[test]
fn full_disks_lose_nothing() {
    holds(Kind::Disk, 30, 10);
}

/// `scripts/faults`: rounds of all kinds, in several labs at once.
#[test]
#[ignore = "scripts/faults runs it, for as many rounds as one likes"]
fn long_run() {
    let rounds = number("AGENTVM_FAULT_ROUNDS").expect("AGENTVM_FAULT_ROUNDS says how many");
    let jobs = number("AGENTVM_FAULT_JOBS").unwrap_or(2).max(1);
    let started = std::time::Instant::now();
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs)
            .map(|job| {
                let share = rounds * (job + 1) / jobs - rounds * job / jobs;
                scope.spawn(move || job_of(share, seed() * 1000 + job as u64))
            })
            .collect();
        for thread in threads {
            sum.add(thread.join().expect("a job ends"));
        }
    });
    eprintln!("seed {}, {:.0} s\n{sum}", seed(), started.elapsed().as_secs_f64());
    assert!(sum.reports.is_empty(), "{}", sum.reports.join("\n"));
}

/// One job's rounds, a life of a lab of each kind at a time.
fn job_of(rounds: usize, seed: u64) -> Tally {
    let mut sum = Tally::default();
    let mut rng = rng::Rng::new(seed);
    let only = std::env::var("AGENTVM_FAULT_KIND").unwrap_or_default();
    let mut kinds = Kind::ALL.to_vec();
    kinds.retain(|(_, kind)| only.is_empty() || kind.word() == only);
    assert!(!kinds.is_empty(), "there are no rounds of {only:?}");
    while sum.rounds < rounds {
        let kind = rng.weighted(&kinds);
        let started = std::time::Instant::now();
        let (rounds, seed) = (world::LIFE.min(rounds - sum.rounds), rng.next());
        if let Ok(tally) = std::panic::catch_unwind(|| round::run(kind, rounds, seed)) {
            sum.add(tally);
        } else {
            // Something hangs, or a process was left behind: somebody would have to look.
            sum.manual += 1;
            sum.reports.push(format!("rounds of {kind:?} with seed {seed:#x} broke off"));
        }
        let count: usize = sum.faults.values().sum();
        eprintln!(
            "{} rounds, {count} faults, {} losses, {} manual; the last {kind:?} took {:.0} s",
            sum.rounds,
            sum.losses,
            sum.manual,
            started.elapsed().as_secs_f64()
        );
    }
    sum
}

/// The model test: `AGENTVM_MODEL_SEQUENCES` in two labs at once.
#[test]
fn what_must_exist_does_after_any_sequence() {
    let sequences = number("AGENTVM_MODEL_SEQUENCES").unwrap_or(200);
    let share = u32::try_from(sequences.div_ceil(2)).expect("a number of sequences");
    std::thread::scope(|scope| {
        for job in 0..2 {
            scope.spawn(move || sequence::run(share, seed() * 1000 + job));
        }
    });
}
