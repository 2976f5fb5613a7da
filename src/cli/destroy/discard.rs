//! `destroy --discard`: whoever deletes without saving has to name the VM, and is told what goes.

use std::time::Duration;

use crate::config::Config;
use crate::error::Error;
use crate::guest::workspaces::Listing;
use crate::guest::{Call, Guest};
use crate::sanitize::GuestText;
use crate::ui;
use crate::vm::Provider;

/// A VM that hangs is one of the reasons to be here.
const PATIENCE: Duration = Duration::from_secs(8);
/// How many names are given of each kind.
const EXAMPLES: usize = 20;

/// Fails unless the VM's name was typed, as the option's value or on the terminal.
pub(super) fn confirm(
    provider: &dyn Provider,
    config: &Config,
    typed: Option<&str>,
) -> anyhow::Result<()> {
    let (describe, name) = (provider.describe(), config.vm.as_str());
    if let Some(typed) = typed
        && typed != name
    {
        return Err(Error::usage(format!(
            "--discard={} names another VM than '{name}', which would be deleted",
            crate::sanitize::text(typed)
        ))
        .into());
    }
    if typed.is_none() && !ui::has_terminal() {
        return Err(Error::would_lose_work(format!(
            "the {describe} would be deleted for good, with all that is in it"
        ))
        .hint(format!("without a terminal: git agent-vm destroy --discard={name}"))
        .into());
    }
    match contents(provider) {
        Ok(lines) if lines.is_empty() => ui::note(&format!("there is nothing in the {describe}")),
        Ok(lines) => ui::warning(&format!("this goes with the {describe}:\n{}", lines.join("\n"))),
        Err(error) => {
            ui::warning(&format!("what goes with the {describe} cannot be learned: {error:#}"));
        }
    }
    if typed.is_none() {
        let question = format!(
            "The {describe} is deleted for good, and nothing is saved. Type its name to go on:"
        );
        if !ui::confirm_by_word(&question, name)? {
            return Err(Error::would_lose_work("that is another name; nothing is deleted").into());
        }
    }
    Ok(())
}

/// What is in a VM that runs, in lines. One that does not is not started for it.
fn contents(provider: &dyn Provider) -> anyhow::Result<Vec<String>> {
    let endpoint = provider.endpoint()?.ok_or_else(|| anyhow::anyhow!("it does not run"))?;
    let guest = Guest::new(endpoint, provider.describe());
    let opened = guest.open_within(&Call::new("list"), PATIENCE);
    let mut session = opened.map_err(|error| guest.explain(error))?;
    session.set_patience(PATIENCE);
    let listing = Listing::parse(session.fields()?);
    let owners: Vec<GuestText> = listing.workspaces.into_iter().map(|owner| owner.name).collect();
    let kinds =
        [("workspaces", owners), ("in the trash", listing.trash), ("other files", listing.others)];
    Ok(kinds
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| {
            let shown: Vec<String> = names.iter().take(EXAMPLES).map(ToString::to_string).collect();
            let more = match names.len().saturating_sub(EXAMPLES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("  {kind}: {}{more}", shown.join(", "))
        })
        .collect())
}
