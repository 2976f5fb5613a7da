//! Timing commands in turns, so that whatever else the machine does strikes both alike.

use std::process::{Command, Stdio};
use std::time::Instant;

/// One way to do something: what has to be done before each time, and the commands that are timed.
pub(crate) struct Way<'a> {
    pub(crate) before: Box<dyn FnMut() + 'a>,
    pub(crate) commands: Box<dyn FnMut() -> Vec<Command> + 'a>,
}

impl<'a> Way<'a> {
    pub(crate) fn new(
        before: impl FnMut() + 'a,
        commands: impl FnMut() -> Vec<Command> + 'a,
    ) -> Self {
        Self { before: Box::new(before), commands: Box::new(commands) }
    }

    /// How long it takes once, in seconds.
    fn once(&mut self) -> f64 {
        (self.before)();
        let commands = (self.commands)();
        let started = Instant::now();
        for command in commands {
            run(command);
        }
        started.elapsed().as_secs_f64()
    }
}

/// Runs a command to its end; it has to succeed.
pub(crate) fn run(mut command: Command) {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// The rows so far.
pub(crate) struct Table {
    rounds: usize,
    rows: Vec<String>,
}

impl Table {
    pub(crate) fn new(rounds: usize) -> Self {
        Self { rounds, rows: Vec::new() }
    }

    /// Does both ways `rounds` times in turns and notes the median of the ratios: ours to theirs.
    pub(crate) fn compare(&mut self, name: &str, target: &str, ours: Way, theirs: Way) {
        self.compare_times(self.rounds, name, target, ours, theirs);
    }

    /// The same, but so many rounds.
    pub(crate) fn compare_times(
        &mut self,
        rounds: usize,
        name: &str,
        target: &str,
        mut ours: Way,
        mut theirs: Way,
    ) {
        // The first time fills caches, opens masters, writes hooks.
        ours.once();
        theirs.once();
        let (mut left, mut right, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let (our, their) = if round % 2 == 0 {
                let our = ours.once();
                (our, theirs.once())
            } else {
                let their = theirs.once();
                (ours.once(), their)
            };
            left.push(our);
            right.push(their);
            ratios.push(our / their);
        }
        let [low, middle, high] = quartiles(&mut ratios);
        let [_, ours, _] = quartiles(&mut left);
        let [_, theirs, _] = quartiles(&mut right);
        self.row(
            name,
            &format!("{middle:.2} ({low:.2} to {high:.2})"),
            target,
            &format!("{} : {}", milliseconds(ours), milliseconds(theirs)),
        );
    }

    /// Notes a number that is no ratio.
    pub(crate) fn value(&mut self, name: &str, value: &str, target: &str) {
        self.row(name, value, target, "");
    }

    fn row(&mut self, name: &str, value: &str, target: &str, times: &str) {
        let row = format!("| {name} | {value} | {target} | {times} |");
        eprintln!("{row}");
        self.rows.push(row);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "| What | Median (quartiles) | To reach | Medians, ms |\n|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

/// The time that one way takes, in seconds: the median.
pub(crate) fn median_of(rounds: usize, mut way: Way) -> f64 {
    way.once();
    let mut times: Vec<f64> = (0..rounds).map(|_| way.once()).collect();
    quartiles(&mut times)[1]
}

fn quartiles(numbers: &mut [f64]) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| numbers[(numbers.len() - 1) * quarter / 4])
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1}", seconds * 1000.0)
}
