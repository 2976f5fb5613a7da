//! Credentials that change while the VM runs.

use anyhow::Context as _;

use super::record::{Record, Sent, Written};
use super::{Group, Handover};
use crate::config::{Config, ProviderKind};
use crate::credentials::{Google, Wrong};
use crate::guest::Guest;
use crate::small_file::NoFile;
use crate::ui;

/// Brings the credentials in a running VM up to date, for `connect`: sends the file that they are
/// from where it changed since, and takes them away where the settings say so by now. Which file it
/// is, and whether there is one, is for `start` to say: whoever connects may have other variables
/// set. What goes wrong is a warning.
pub fn refresh(config: &Config, guest: &Guest, root: &str) {
    if config.provider != ProviderKind::Lima {
        return;
    }
    let record = Record::at(&guest.endpoint().dir);
    if let Err(error) = bring_up_to_date(config, guest, root, &record) {
        ui::warning(&format!("the credentials in the {} are old: {error:#}", guest.describe()));
    }
}

fn bring_up_to_date(
    config: &Config,
    guest: &Guest,
    root: &str,
    record: &Record,
) -> anyhow::Result<()> {
    if wanted(config, record)?.is_none() {
        return Ok(());
    }
    let _lock = record.lock(guest)?;
    // Whoever had the lock may have done it, or sent another file's.
    let Some((handover, group)) = wanted(config, record)? else { return Ok(()) };
    let placed = handover.place(guest, root, &[group])?;
    record.write(&Written { google: handover.google.as_ref().map(Sent::of) })?;
    handover.say(guest, &placed);
    Ok(())
}

/// What the VM is to have instead of what the record says, and which part of it that is.
fn wanted(config: &Config, record: &Record) -> anyhow::Result<Option<(Handover, Group)>> {
    let Some(sent) = record.read().google else { return Ok(None) };
    let limit = config.stage_limit;
    Ok(Some(if config.credentials {
        let json = match Google::read(&sent.source) {
            Err(Wrong::File(NoFile::Missing)) => return Ok(None),
            json => json.with_context(|| sent.source.display().to_string())?,
        };
        if Google::digest(&json) == sent.digest {
            return Ok(None);
        }
        let google = Google { source: sent.source, json };
        (Handover { google: Some(google), limit, ..Handover::default() }, Group::Key)
    } else {
        (Handover { limit, ..Handover::default() }, Group::Credentials)
    }))
}
