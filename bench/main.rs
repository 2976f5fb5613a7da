//! What our commands cost, as ratios to plain git and ssh that do the same in the same run.
//!
//! `cargo bench` runs all cases over a loopback sshd; words choose cases by a part of their name,
//! `--rounds N` sets how often each is done, `--vm` takes a real VM (as the real-VM tests do, with
//! `AGENTVM_TEST_IMAGE`). What was reached stands in `bench/README.md`.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

// The laboratory of the tests; a benchmark needs only some of it.
#[allow(dead_code, unused_imports)]
#[path = "../tests/integration/support/mod.rs"]
mod support;

mod cases;
mod measure;
mod world;

use measure::Table;
use world::World;

fn main() {
    let mut rounds = 20;
    let mut real = false;
    let mut words = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => {
                rounds = args.next().and_then(|number| number.parse().ok()).expect("--rounds N");
            }
            "--vm" => real = true,
            // cargo bench adds it.
            "--bench" => {}
            _ => words.push(arg),
        }
    }
    let world = if real { World::real_vm() } else { World::loopback() };
    let mut table = Table::new(rounds);
    for (name, case) in cases::ALL {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            eprintln!("{name}");
            case(&world, &mut table);
        }
    }
    print!("{table}");
}
