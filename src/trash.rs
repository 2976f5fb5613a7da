//! The trash of a VM, `~/workspace/.trash`: what is taken out of it in the course of time, and what
//! comes back from it under which name.
//!
//! Times are the host's: they stand in the entries' names, and are compared with the host's clock.

use std::time::Duration;

use crate::branch::BranchName;
use crate::config::{Config, ProviderKind};
use crate::error::Error;
use crate::guest::trash::{Entry, Restored, Swept};
use crate::guest::wire::Field;
use crate::guest::{Call, Guest, workspaces};
use crate::identity::RepoId;
use crate::sanitize::GuestText;
use crate::ui::{self, Progress};
use crate::workspace::{Candidates, WorkspaceName};

/// Deleting many files takes as long as it takes; the guest says each name before.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long measuring one entry may take, in seconds.
const MEASURING: u64 = 20;
/// How many names are tried for what cannot have its old one.
const TRIES: usize = 20;

/// Removes what is too old, and for want of room what is old enough, and says so. What goes wrong is
/// a warning: the command was about something else.
pub fn sweep(guest: &Guest, config: &Config) {
    if let Err(error) = try_sweep(guest, config) {
        ui::warning(&format!("cannot look after the trash of the {}: {error:#}", guest.describe()));
    }
}

fn try_sweep(guest: &Guest, config: &Config) -> anyhow::Result<()> {
    let call = Call::new("sweep").arg(config.keep_trash.word());
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.set_patience(PATIENCE);
    let mut progress = None;
    while let Some(field) = session.field()? {
        if field.key == "removing" {
            let what =
                format!("removing {} from the trash of the {}", field.value, guest.describe());
            progress.get_or_insert_with(Progress::quietly).detail(&what);
        }
        let Some(swept) = Swept::parse(field) else { continue };
        progress.take();
        tell(&swept, guest.describe(), config);
    }
    Ok(())
}

fn tell(swept: &Swept, vm: &str, config: &Config) {
    let aged = |age: &u64| ui::ago(i64::try_from(*age).unwrap_or(i64::MAX));
    match swept {
        Swept::Expired(age, name) => ui::note(&format!(
            "removed {name} from the trash of the {vm}: it came there {} (agentvm.keepTrash)",
            aged(age)
        )),
        Swept::ForRoom(age, name) => ui::warning(&format!(
            "the disk of the {vm} is nearly full: removed {name} from its trash, where it came {}",
            aged(age)
        )),
        Swept::Kept(what) => {
            ui::warning(&format!("cannot remove from the trash of the {vm}: {what}"));
        }
        Swept::StillLow => {
            ui::warning(&format!("the disk of the {vm} is nearly full"));
            hint_at_room(config);
        }
    }
}

/// Says what helps where a disk is nearly full.
pub fn hint_at_room(config: &Config) {
    for way in ways_to_room(config.provider) {
        ui::hint(way);
    }
}

fn ways_to_room(provider: ProviderKind) -> &'static [&'static str] {
    const WAYS: [&str; 2] = [
        "git agent-vm clean BRANCH, then git agent-vm restore --drop NAME, makes room",
        "git agent-vm stop, then git agent-vm start --disk SIZE, gives the VM a larger disk",
    ];
    match provider {
        ProviderKind::Lima => &WAYS,
        // Whose disk it is, they know.
        ProviderKind::Ssh => &WAYS[..1],
    }
}

/// Makes room if these fields, which were asked for with the word `disk`, say that there is almost
/// none, and gives what is left where that is little and nobody was told so yet.
#[must_use]
pub fn make_room(guest: &Guest, config: &Config, fields: &[Field]) -> Option<u64> {
    if fields.iter().any(|field| field.key == "low") {
        sweep(guest, config);
        return None;
    }
    workspaces::nearly_full(fields)
}

/// Warns of what [`make_room`] gave.
pub fn warn_of_room(guest: &Guest, config: &Config, left: Option<u64>) {
    if let Some(left) = left {
        ui::warning(&format!(
            "the disk of the {} is nearly full: {} is left",
            guest.describe(),
            ui::size(left)
        ));
        hint_at_room(config);
    }
}

/// The call that lists the trash, with the bytes of each entry if `measured`.
#[must_use]
pub fn list_call(measured: bool) -> Call {
    Call::new("trash").arg(if measured { MEASURING.to_string() } else { "0".to_owned() })
}

/// Removes an entry for good.
pub fn drop_entry(guest: &Guest, name: &WorkspaceName) -> anyhow::Result<()> {
    let call = Call::new("drop").arg(name.as_str());
    let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
    session.set_patience(PATIENCE);
    session.fields().map(|_| ())
}

/// What a workspace may be called when it comes back: names with full refs, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    how: &'static str,
    pairs: Vec<(String, String)>,
}

impl Ways {
    /// As it was called; else `-restored` is added to its name, and to its branch's where that has
    /// another workspace by now. `is_here` tells which branches the repository here has itself.
    #[must_use]
    pub fn back(
        was: &WorkspaceName,
        branch: Option<&BranchName>,
        is_here: impl Fn(&BranchName) -> bool,
    ) -> Self {
        let full =
            |branch: Option<&BranchName>| branch.map(BranchName::full_ref).unwrap_or_default();
        let mut pairs = vec![(was.to_string(), full(branch))];
        for number in 1..=TRIES {
            let suffix = match number {
                1 => "-restored".to_owned(),
                _ => format!("-restored-{number}"),
            };
            let renamed =
                branch.and_then(|branch| BranchName::new(&format!("{branch}{suffix}")).ok());
            let name = WorkspaceName::new(&format!("{was}{suffix}"));
            if let Ok(name) = name
                && renamed.is_some() == branch.is_some()
                && !renamed.as_ref().is_some_and(&is_here)
            {
                pairs.push((name.to_string(), full(renamed.as_ref())));
            }
        }
        Self { how: "back", pairs }
    }

    /// As the workspace of this branch of the repository here.
    #[must_use]
    pub fn as_branch(repo_name: &str, id: &RepoId, branch: &BranchName) -> Self {
        let names = Candidates::new(repo_name, id, branch);
        let names = names.plain.into_iter().chain([names.hashed]);
        Self { how: "as", pairs: names.map(|name| (name.to_string(), branch.full_ref())).collect() }
    }
}

/// Brings an entry back.
pub fn restore(guest: &Guest, entry: &GuestText, ways: &Ways) -> anyhow::Result<Restored> {
    let mut call = Call::new("restore").arg(entry.as_bytes()).arg(ways.how);
    for (name, full_ref) in &ways.pairs {
        call = call.arg(name).arg(full_ref);
    }
    Restored::parse(guest.ask(&call, &[])?).ok_or_else(|| {
        anyhow::anyhow!("the {} does not say what {entry} is called now", guest.describe())
    })
}

/// What an entry was called. What was put into the trash by hand has the name that it has there.
pub fn called(entry: &Entry) -> anyhow::Result<WorkspaceName> {
    entry.origin().map(|(was, _)| was).or_else(|| entry.name()).ok_or_else(|| {
        Error::failed(format!("'{}' was given a name that is none of ours", entry.owner.name))
            .hint("rename it in the VM, below ~/workspace/.trash")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_name_comes_first_and_branches_here_are_left_alone() {
        let called = WorkspaceName::new("app-feature").unwrap();
        let branch = BranchName::new("feature").unwrap();
        let here = BranchName::new("feature-restored").unwrap();
        let ways = Ways::back(&called, Some(&branch), |branch| *branch == here);
        let pair = |name: &str, full: &str| (name.to_owned(), full.to_owned());
        assert_eq!(ways.pairs[0], pair("app-feature", "refs/heads/feature"));
        assert_eq!(ways.pairs[1], pair("app-feature-restored-2", "refs/heads/feature-restored-2"));
        assert_eq!(ways.pairs.len(), TRIES);
        let ways = Ways::back(&called, None, |_| true);
        assert_eq!(ways.pairs[1], pair("app-feature-restored", ""));
    }
}
