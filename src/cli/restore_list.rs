//! What `git agent-vm restore` lists, for people and as JSON, which is part of the interface.

use serde::Serialize;

use crate::guest::trash::Entry;
use crate::identity::RepoId;
use crate::sanitize::GuestText;
use crate::saved::Saved;
use crate::ui;

/// Where a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    /// In the VM.
    Trash,
    /// On this machine.
    Saved,
}

/// One thing that can be restored.
#[derive(Debug, Serialize)]
pub(super) struct Thing {
    /// The name by which it is restored.
    name: GuestText,
    pub(super) place: Place,
    /// The VM that it was saved of; null for what is in the trash.
    vm: Option<String>,
    /// Its branch, if it was a workspace.
    branch: Option<String>,
    /// The id of the repository that it belongs to.
    repository: Option<String>,
    /// Whether it belongs to the repository here.
    here: bool,
    /// When it came into the trash or was saved, in seconds since 1970.
    time: Option<i64>,
    /// Its size; of what was saved, packed.
    bytes: Option<u64>,
}

impl Thing {
    pub(super) fn of_entry(entry: &Entry, here: Option<&RepoId>) -> Self {
        let repository = entry.owner.repo.as_clean_str().and_then(RepoId::new);
        Self {
            name: entry.owner.name.clone(),
            place: Place::Trash,
            vm: None,
            branch: entry.branch().map(|branch| branch.to_string()),
            here: here.is_some() && repository.as_ref() == here,
            repository: repository.map(|id| id.to_string()),
            time: entry.origin().map(|(_, time)| time),
            bytes: entry.bytes,
        }
    }

    pub(super) fn of_saved(saved: &Saved, here: Option<&RepoId>) -> Self {
        let repository = saved.item.repository.as_ref();
        Self {
            name: GuestText::new(saved.item.name.as_str()),
            place: Place::Saved,
            vm: Some(saved.vm.clone()),
            branch: saved.item.branch().map(|branch| branch.to_string()),
            here: here.is_some() && repository == here,
            repository: repository.map(ToString::to_string),
            time: Some(saved.time),
            bytes: Some(saved.item.bytes),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    vm: &'a str,
    entries: &'a [Thing],
    /// Why what is in the trash is missing.
    error: Option<String>,
}

pub(super) fn json(things: &[Thing], vm: &str, error: Option<String>) -> anyhow::Result<String> {
    let document = Document { version: 1, vm, entries: things, error };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Columns as wide as their widest cell; the last is not padded. Those of this repository first.
pub(super) fn text(things: &[Thing], now: i64) -> String {
    if things.is_empty() {
        return String::new();
    }
    let mut rows = vec![["NAME", "BRANCH", "SINCE", "SIZE", "PLACE"].map(str::to_owned)];
    for here in [true, false] {
        rows.extend(things.iter().filter(|thing| thing.here == here).map(|thing| row(thing, now)));
    }
    ui::table(&rows)
}

fn row(thing: &Thing, now: i64) -> [String; 5] {
    let branch = match (&thing.branch, thing.here) {
        (Some(branch), true) => branch.clone(),
        (Some(branch), false) => format!("{branch} (another repository)"),
        (None, _) => "-".to_owned(),
    };
    let place = match &thing.vm {
        None => "trash".to_owned(),
        Some(vm) => format!("saved of VM '{}'", crate::sanitize::text(vm)),
    };
    [
        thing.name.to_string(),
        branch,
        thing.time.map_or("?".to_owned(), |time| ui::ago(now.saturating_sub(time))),
        thing.bytes.map_or("?".to_owned(), ui::size),
        place,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_text_say_what_is_where() {
        let thing = Thing {
            name: GuestText::new("app-feature.1700000000"),
            place: Place::Trash,
            vm: None,
            branch: Some("feature".into()),
            repository: None,
            here: true,
            time: Some(1_700_000_000),
            bytes: None,
        };
        let things = [thing];
        assert_eq!(
            text(&things, 1_700_000_060),
            "NAME                    BRANCH   SINCE     SIZE  PLACE\n\
             app-feature.1700000000  feature  60 s ago  ?     trash\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&json(&things, "agent-vm", None).unwrap()).unwrap();
        let entry = json["entries"][0].as_object().unwrap();
        let names: Vec<&str> = entry.keys().map(String::as_str).collect();
        assert_eq!(names, ["branch", "bytes", "here", "name", "place", "repository", "time", "vm"]);
        assert_eq!(entry["place"], "trash");
        assert!(entry["bytes"].is_null());
    }
}
