//! `git agent-vm restore`: what is in the trash or was saved, and back with it.

use std::process::ExitCode;
use std::time::Duration;

use crate::access;
use crate::branch::BranchName;
use crate::cli::restore_list::{self, Place, Thing};
use crate::config::{Config, UnknownKeys};
use crate::error::{self, Error, Kind};
use crate::git::Repo;
use crate::guest::trash::{Entry, Restored};
use crate::guest::{Guest, now};
use crate::identity::{self, RepoId};
use crate::remote::push::identity_for;
use crate::sanitize::GuestText;
use crate::saved::{self, Saved};
use crate::trash::{self, Ways};
use crate::ui;
use crate::vm::{self, Need};
use crate::workspace::WorkspaceName;

/// List what is in the trash or was saved, or bring it back
///
/// The trash is in the VM; what destroy --force saved is on this machine. Without NAME all of it is
/// listed, and a VM that is stopped is started for that, with --json too. NAME is what the list shows,
/// or a branch of this repository: then the newest of its workspaces comes back. Nothing that is there
/// is overwritten. Where the workspace's name is taken, or its branch has a workspace again, both get
/// -restored added.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm restore                              what there is
  git agent-vm clean feature && git agent-vm restore feature

What was saved comes back with its hooks and settings out of effect, beside as hooks.saved and
config.saved in its .git directory. The saved copy stays, until git agent-vm restore --drop NAME.")]
#[allow(clippy::struct_excessive_bools)] // as many as the command line has
pub(super) struct Args {
    /// What to bring back
    name: Option<String>,
    /// Bring it back as the workspace of this branch
    #[arg(long = "as", value_name = "BRANCH", requires = "name", conflicts_with = "drop")]
    as_branch: Option<BranchName>,
    /// Remove it for good instead, once its name is typed
    #[arg(long, requires = "name")]
    drop: bool,
    /// With --drop: without being asked
    #[arg(short, long, requires = "drop")]
    force: bool,
    /// The list as one JSON document on standard output
    #[arg(long, conflicts_with = "name")]
    json: bool,
    /// The names alone, without starting the VM: for completions
    #[arg(long, hide = true, conflicts_with_all = ["name", "json"])]
    names: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repo = Repo::discover()?;
    let config = Config::load(repo.as_ref(), UnknownKeys::Refuse)?;
    let id = match &repo {
        Some(repo) => identity::known(repo, config.id.as_deref())?,
        None => None,
    };
    let here = Here { repo, config, id };
    if args.names {
        return here.print_names();
    }
    let Some(name) = &args.name else { return here.list(args.json) };
    if args.drop {
        here.drop_thing(name, args.force)?;
    } else {
        here.bring_back(name, args.as_branch.as_ref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where it is typed: in a repository, or outside of all.
struct Here {
    repo: Option<Repo>,
    config: Config,
    id: Option<RepoId>,
}

/// Something that a name leads to.
enum Found {
    InTrash(Guest, Entry),
    OnHost(Saved),
}

impl Here {
    fn list(&self, json: bool) -> anyhow::Result<ExitCode> {
        let saved = saved::all()?;
        // What is on this machine is shown whatever the VM does.
        let (entries, trouble) = match self.trash(true) {
            Ok(found) => (found.map(|(_, entries)| entries).unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let in_trash = entries.iter().map(|entry| Thing::of_entry(entry, self.id.as_ref()));
        let on_host = saved.iter().map(|saved| Thing::of_saved(saved, self.id.as_ref()));
        let things: Vec<Thing> = in_trash.chain(on_host).collect();
        if json {
            let error = trouble.as_ref().map(|error| format!("{error:#}"));
            ui::data(&restore_list::json(&things, self.config.vm.as_str(), error)?);
        } else if things.is_empty() && trouble.is_none() {
            ui::note("the trash is empty, and nothing was saved");
        } else {
            ui::data(&restore_list::text(&things, now()));
            if things.iter().any(|thing| thing.place == Place::Trash) {
                ui::hint("git agent-vm restore NAME brings it back");
            }
        }
        Ok(trouble.map_or(ExitCode::SUCCESS, |error| error::report(&error)))
    }

    /// The names without waiting for a VM that does not run, or does not answer.
    fn print_names(&self) -> anyhow::Result<ExitCode> {
        let mut names: Vec<String> =
            saved::all()?.iter().map(|saved| saved.item.name.to_string()).collect();
        let provider = vm::provider(&self.config)?;
        if let Some(endpoint) = provider.endpoint()? {
            let guest = Guest::new(endpoint, provider.describe());
            let patience = Duration::from_secs(3);
            if let Ok(mut session) = guest.open_within(&trash::list_call(false), patience) {
                session.set_patience(patience);
                let entries = Entry::parse_all(session.fields()?);
                names.extend(entries.iter().filter_map(Entry::name).map(|name| name.to_string()));
            }
        }
        names.sort();
        ui::data(&names.iter().map(|name| format!("{name}\n")).collect::<String>());
        Ok(ExitCode::SUCCESS)
    }

    /// What is in the trash; `None` where there is no VM.
    fn trash(&self, measured: bool) -> anyhow::Result<Option<(Guest, Vec<Entry>)>> {
        let opened = access::open(&self.config, Need::Start, &trash::list_call(measured));
        let (guest, mut session) = match opened {
            Err(error) if error::kind_of(&error) == Kind::NotFound => return Ok(None),
            opened => opened?,
        };
        session.send(&[])?;
        Ok(Some((guest, Entry::parse_all(session.fields()?))))
    }

    fn find(&self, name: &str) -> anyhow::Result<Found> {
        let saved = saved::all()?;
        if let Some(found) = saved.iter().find(|saved| saved.item.name.as_str() == name) {
            return Ok(Found::OnHost(found.clone()));
        }
        let (guest, entries) = self.trash(false)?.unzip();
        let entries = entries.unwrap_or_default();
        let named = |entry: &&Entry| entry.owner.name.as_bytes() == name.as_bytes();
        let newest = match entries.iter().find(named) {
            Some(entry) => Some((0, Found::entry(guest, entry))),
            None => self.newest_of_branch(name, guest, &entries, &saved),
        };
        newest.map(|(_, found)| found).ok_or_else(|| {
            let name = crate::sanitize::text(name);
            Error::not_found(format!("there is no '{name}' in the trash, and none was saved"))
                .hint("git agent-vm restore shows what there is")
                .into()
        })
    }

    /// The newest workspace of a branch of this repository.
    fn newest_of_branch(
        &self,
        branch: &str,
        guest: Option<Guest>,
        entries: &[Entry],
        saved: &[Saved],
    ) -> Option<(i64, Found)> {
        let id = self.id.as_ref()?;
        let branch = BranchName::new(branch).ok()?;
        let ours = entries.iter().filter(|entry| {
            entry.owner.is_of(Some(id)) && entry.branch().as_ref() == Some(&branch)
        });
        let newest = ours.filter_map(|entry| Some((entry.origin()?.1, entry)));
        // Names of one second end in +, and more of them the later.
        let newest = newest.max_by_key(|(time, entry)| (*time, entry.owner.name.as_bytes().len()));
        let on_host = saved.iter().filter(|saved| {
            saved.item.repository.as_ref() == Some(id)
                && saved.item.branch().as_ref() == Some(&branch)
        });
        let on_host = on_host.max_by_key(|saved| saved.time);
        match (newest, on_host) {
            (Some((time, _)), Some(saved)) if saved.time > time => {
                Some((saved.time, Found::OnHost(saved.clone())))
            }
            (Some((time, entry)), _) => Some((time, Found::entry(guest, entry))),
            (None, Some(saved)) => Some((saved.time, Found::OnHost(saved.clone()))),
            (None, None) => None,
        }
    }

    fn drop_thing(&self, name: &str, force: bool) -> anyhow::Result<()> {
        let found = self.find(name)?;
        let (name, place) = match &found {
            Found::InTrash(guest, entry) => {
                (addressable(entry)?, format!("the trash of the {}", guest.describe()))
            }
            Found::OnHost(saved) => (saved.item.name.clone(), "this machine".to_owned()),
        };
        if !force {
            if !ui::has_terminal() {
                return Err(Error::would_lose_work(format!(
                    "{name} would be removed from {place} for good"
                ))
                .hint(format!("git agent-vm restore --drop --force {name} does it without asking"))
                .into());
            }
            let question =
                format!("{name} is removed from {place} for good. Type its name to go on:");
            if !ui::confirm_by_word(&question, name.as_str())? {
                return Err(
                    Error::would_lose_work("that is another name; nothing is removed").into()
                );
            }
        }
        match &found {
            Found::InTrash(guest, _) => trash::drop_entry(guest, &name)?,
            Found::OnHost(saved) => saved.remove()?,
        }
        ui::note(&format!("removed {name} from {place}"));
        Ok(())
    }

    fn bring_back(&self, name: &str, as_branch: Option<&BranchName>) -> anyhow::Result<()> {
        let found = self.find(name)?;
        let (called, branch, ours) = match &found {
            Found::InTrash(_, entry) => {
                (trash::called(entry)?, entry.branch(), entry.owner.is_of(self.id.as_ref()))
            }
            Found::OnHost(saved) => {
                let ours = self.id.is_some() && saved.item.repository == self.id;
                (saved.item.workspace.clone(), saved.item.branch(), ours)
            }
        };
        let ways = self.ways(&called, branch.as_ref(), ours, as_branch)?;
        let (guest, entry) = match found {
            Found::InTrash(guest, entry) => (guest, entry.owner.name),
            Found::OnHost(saved) => self.unpack(&saved)?,
        };
        let restored = trash::restore(&guest, &entry, &ways)?;
        self.tell(&entry, branch.as_ref(), &restored);
        Ok(())
    }

    fn ways(
        &self,
        called: &WorkspaceName,
        branch: Option<&BranchName>,
        ours: bool,
        as_branch: Option<&BranchName>,
    ) -> anyhow::Result<Ways> {
        match (as_branch, &self.repo, &self.id) {
            (None, repo, _) => Ok(Ways::back(called, branch, |branch| {
                let repo = repo.as_ref().filter(|_| ours);
                // What cannot be looked up counts as taken.
                repo.is_some_and(|repo| !matches!(repo.branch_tip(branch), Ok(None)))
            })),
            (Some(wanted), Some(repo), Some(id)) if ours => {
                Ok(Ways::as_branch(&repo.base_name(), id, wanted))
            }
            (Some(wanted), ..) => Err(Error::usage(format!(
                "'{called}' is no workspace of this repository, and cannot become that of branch '{wanted}'"
            ))
            .hint("without --as it comes back under its own name")
            .into()),
        }
    }

    fn unpack(&self, saved: &Saved) -> anyhow::Result<(Guest, GuestText)> {
        let open = |call: &crate::guest::Call| access::open(&self.config, Need::Create, call);
        let unpacked = saved.unpack(open, &identity_for(&self.config))?;
        if saved.item.directory() {
            ui::note(
                "its hooks and settings are out of effect: .git/hooks.saved, .git/config.saved",
            );
        }
        Ok(unpacked)
    }

    fn tell(&self, entry: &GuestText, was: Option<&BranchName>, restored: &Restored) {
        let name = &restored.owner.name;
        let now = restored.owner.branch();
        let Some(now) = now else {
            ui::note(&format!("restored {entry} as ~/workspace/{name} in the VM"));
            return;
        };
        let renamed = match was {
            Some(was) if *was != now => format!(" of branch '{now}' (it was '{was}')"),
            _ => format!(" of branch '{now}'"),
        };
        ui::note(&format!("restored {entry} as workspace '{name}'{renamed}"));
        for worktree in &restored.worktrees {
            ui::note(&format!("its linked worktree is ~/workspace/{worktree} in the VM now"));
        }
        if restored.owner.is_of(self.id.as_ref()) {
            let word = now.in_shell();
            ui::hint(&format!("git agent-vm fetch {word} brings its commits"));
            ui::hint(&format!("git agent-vm connect {word} opens a shell there"));
        } else {
            ui::hint(&format!(
                "git fetch agentvm://{}/{name} brings its commits into a repository",
                self.config.vm
            ));
        }
    }
}

impl Found {
    fn entry(guest: Option<Guest>, entry: &Entry) -> Self {
        Self::InTrash(guest.expect("entries come from a guest"), entry.clone())
    }
}

fn addressable(entry: &Entry) -> anyhow::Result<WorkspaceName> {
    entry.name().ok_or_else(|| {
        Error::failed(format!("'{}' is a name that none of ours has", entry.owner.name))
            .hint("remove it in the VM, below ~/workspace/.trash")
            .into()
    })
}
