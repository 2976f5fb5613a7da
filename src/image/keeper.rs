//! The process that takes the builder VM away when the build is over, however that came: a Ctrl-C, a
//! kill, a closed terminal. It waits for the end of its standard input, and holds the lock of the images
//! until it is done, so that the next build finds nothing half-gone.

use std::io::{Read as _, Write as _};
use std::process::{ChildStdin, ExitCode};

use anyhow::Context as _;

use super::store::Store;
use crate::config::Config;
use crate::error;
use crate::process::{Cmd, Running};
use crate::state::Lock;
use crate::ui;
use crate::vm::lima::Lima;

/// The word on our command line that makes this process a keeper.
const FLAG: &str = "--end-builder";
/// What it is told by a build that ends in order.
const IN_ORDER: &[u8] = b"end";

/// A keeper at work.
#[derive(Debug)]
pub(super) struct Keeper {
    process: Option<(Running, ChildStdin)>,
}

impl Keeper {
    /// Starts it. From now on nothing has to be thought of.
    pub(super) fn start(lock: &Lock) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find our own program")?;
        let mut keeper = lock.lend(|| Cmd::new(program).arg(FLAG).own_group().spawn())??;
        let stdin = keeper.stdin().context("a pipe is missing")?;
        Ok(Self { process: Some((keeper, stdin)) })
    }

    /// Has it take the VM away, and waits for that.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        let Some((mut keeper, mut stdin)) = self.process.take() else { return Ok(()) };
        // One that is gone says so by its exit code.
        stdin.write_all(IN_ORDER).ok();
        drop(stdin);
        let mut said = String::new();
        if let Some(mut pipe) = keeper.stderr() {
            pipe.read_to_string(&mut said)?;
        }
        let exit = keeper.wait()?;
        if exit.success() {
            return Ok(());
        }
        anyhow::bail!(if said.is_empty() { exit.to_string() } else { said.trim_end().to_owned() })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some((keeper, _stdin)) = self.process.take() {
            keeper.let_go();
        }
    }
}

/// Whether our command line is a keeper's.
pub(crate) fn is_meant() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == FLAG)
}

/// The keeper's whole life.
#[must_use]
pub(crate) fn main() -> ExitCode {
    ui::set_quiet(true);
    let mut told = Vec::new();
    // Whatever ends it, what is to be done is the same.
    std::io::stdin().take(64).read_to_end(&mut told).ok();
    let outcome = Lima::builder(&Config::defaults()).and_then(|vm| vm.take_away());
    if told != IN_ORDER {
        // Nobody is left to do it. What stays, the next one takes away.
        Store::here().map(|store| store.sweep()).ok();
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "{error:#}").ok();
            ExitCode::from(error::kind_of(&error).code())
        }
    }
}
