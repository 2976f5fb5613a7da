//! On the way into the guest, and what a user hears of it.

use super::record::{Record, Sent, Written};
use super::{Group, Handover, Item, PROGRAM};
use crate::credentials::{Google, Wrong};
use crate::error::Error;
use crate::guest::{Call, Guest};
use crate::small_file::NoFile;
use crate::ui::{self, Progress};

const ALL: &[Group] = &[Group::Credentials, Group::Network];

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placed {
    /// What was not there before, or is gone now: names of the guest program.
    pub changed: Vec<String>,
    /// The variables that programs in the VM no longer get.
    pub gone: Vec<String>,
}

impl Handover {
    /// Makes the VM such: what changed since is put there, what is wanted no more is taken away.
    /// Does nothing where nothing is wanted and nothing was. `root` is [`ROOT`].
    ///
    /// [`ROOT`]: super::ROOT
    pub fn apply(&self, guest: &Guest, root: &str) -> anyhow::Result<()> {
        let record = Record::at(&guest.endpoint().dir);
        if !self.items(ALL).iter().any(Item::has_content) && !record.exists() {
            return Ok(());
        }
        let _lock = record.lock(guest)?;
        let before = record.read().google;
        let this = self.with_source_of(before.as_ref(), guest);
        let after = match &this.google {
            Some(google) => Some(Sent::of(google)),
            None => before.filter(|_| this.unseen.source),
        };
        // Until it is done, nobody knows what is there. Only where the file is to be found stays known,
        // if that can't be learned anew.
        let doubt = after.as_ref().filter(|_| this.unseen.source).map(Sent::in_doubt);
        record.write(&Written { google: doubt })?;
        let after = Written { google: after };
        let placed = this.place_and(guest, root, ALL, |name| {
            // They are there, whatever becomes of the rest.
            if name == "credentials" { record.write(&after) } else { Ok(()) }
        })?;
        if this.items(ALL).is_empty() {
            record.remove()?;
        } else {
            record.write(&after)?;
        }
        this.say(guest, &placed);
        Ok(())
    }

    /// Where no variable names the credentials' file, the one that the VM has them from.
    fn with_source_of(&self, sent: Option<&Sent>, guest: &Guest) -> Self {
        let mut this = self.clone();
        let Some(sent) = sent.filter(|_| self.unseen.source) else { return this };
        this.google = match Google::read(&sent.source) {
            Ok(json) => Some(Google { source: sent.source.clone(), json }),
            Err(Wrong::File(NoFile::Missing)) => None,
            Err(why) => {
                let (describe, source) = (guest.describe(), sent.source.display());
                ui::warning(&format!("the credentials in the {describe} are old: {source}: {why}"));
                None
            }
        };
        this
    }

    /// Puts the groups below `root` in the guest, and takes away what this one does not have.
    pub fn place(&self, guest: &Guest, root: &str, groups: &[Group]) -> anyhow::Result<Placed> {
        self.place_and(guest, root, groups, |_| Ok(()))
    }

    /// The same, and calls `done` with what is there as soon as it is.
    fn place_and(
        &self,
        guest: &Guest,
        root: &str,
        groups: &[Group],
        mut done: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Placed> {
        let limit = self.limit.as_secs().max(1).to_string();
        let mut call = Call::of(PROGRAM, "place").arg(root).arg(limit);
        for group in groups {
            call = call.arg(group.word());
        }
        let mut session = guest.open(&call).map_err(|error| guest.explain(error))?;
        session.end_after_work(self.limit);
        let describe = guest.describe();
        let text = format!("setting up the {describe}: credentials and network");
        let progress = Progress::start(&text);
        let mut placed = Placed::default();
        let items = self.items(groups);
        let mut missing: Vec<_> =
            items.iter().filter(|item| item.has_content()).map(|item| item.name).collect();
        while let Some(field) = session.field()? {
            let value = field.value.to_string();
            match field.key.as_str() {
                "send" => session.send_by(|pipe| {
                    for item in &items {
                        pipe.write_all(&item.header())?;
                        pipe.write_all(item.content.expose())?;
                    }
                    pipe.write_all(b"end 0 -\n").map_err(Into::into)
                })?,
                "done" => {
                    done(&value)?;
                    missing.retain(|name| *name != value);
                }
                "stage" => progress.update(&format!("{text}: {value}")),
                "changed" => placed.changed.push(value),
                "gone" => placed.gone.push(value),
                "kept" => progress.suspend(|| {
                    ui::warning(&format!(
                        "{value} was changed in the {describe}, and goes on naming the mirror"
                    ));
                }),
                _ => {}
            }
        }
        if placed.changed.iter().any(|name| name == "environment") {
            // PAM gave the open connection its variables when it was made.
            guest.endpoint().forget_master();
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Error::failed(format!(
                "the {describe} did not take what it was sent: {missing}"
            ))
            .into());
        }
        Ok(placed)
    }

    pub(super) fn say(&self, guest: &Guest, placed: &Placed) {
        let describe = guest.describe();
        let mut changed = placed.changed.clone();
        // The mirror is in several lists.
        changed.dedup();
        for name in &changed {
            match (name.as_str(), &self.google) {
                ("credentials", Some(google)) => {
                    let source = google.source.display();
                    ui::note(&format!(
                        "put the Google credentials of {source} into the {describe}"
                    ));
                    ui::hint("git config --global agentvm.credentials none keeps them out of it");
                }
                ("credentials", None) => {
                    ui::note(&format!("took the Google credentials out of the {describe}"));
                }
                ("certificates", _) if self.certificates.is_empty() => ui::note(&format!(
                    "the {describe} trusts no certificates of agentvm.caCerts any more"
                )),
                ("certificates", _) => {
                    let count = ui::count(self.certificates.iter().count() as u64, "certificate");
                    ui::note(&format!("the {describe} trusts {count} of agentvm.caCerts"));
                }
                ("mirror", _) if self.mirror.expose().is_empty() => ui::note(&format!(
                    "apt in the {describe} uses the sources again that it had before the mirror"
                )),
                _ => {}
            }
        }
        if !placed.gone.is_empty() {
            let gone = placed.gone.join(" ");
            ui::note(&format!("took variables out of the {describe}: {gone}"));
        }
    }
}
