//! What several verbs need: the repository and its settings, and questions to the guest.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::access;
use crate::branch::BranchName;
use crate::config::{Config, UnknownKeys};
use crate::error::Error;
use crate::git::{ObjectId, Repo};
use crate::guest::losses::Losses;
use crate::guest::wire::Field;
use crate::guest::workspaces::{Found, Target};
use crate::guest::{self, Call, Guest, Session};
use crate::identity::{self, RepoId};
use crate::loss::{self, rebuildable};
use crate::process::Exit;
use crate::survey::TIPS;
use crate::vm::Need;

/// A repository and the settings that are in effect there.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) repo: Repo,
    pub(super) config: Config,
}

impl Here {
    /// Of the current directory; fails outside a repository.
    pub(super) fn load() -> anyhow::Result<Self> {
        let repo = Repo::required()?;
        let config = Config::load(Some(&repo), UnknownKeys::Refuse)?;
        Ok(Self { repo, config })
    }

    /// The repository's id, if it has one: else nothing in the VM can be its.
    pub(super) fn id(&self) -> anyhow::Result<Option<RepoId>> {
        identity::known(&self.repo, self.config.id.as_deref())
    }

    /// The words that name a branch's workspace, if there can be one.
    pub(super) fn target(&self, branch: &BranchName) -> anyhow::Result<Option<Target>> {
        let id = self.id()?;
        Ok(id.map(|id| Target::branch(&self.repo.base_name(), &id, branch)))
    }

    /// After a push of the branch, which may have given the repository its id: where the workspace is.
    pub(super) fn after_push(self, branch: &BranchName) -> anyhow::Result<(Self, Target)> {
        let here = if self.config.id.is_none() { Self::load()? } else { self };
        let target = here.target(branch)?.ok_or_else(|| {
            Error::failed(format!("there is no workspace of '{branch}' after the push"))
        })?;
        Ok((here, target))
    }

    /// Looks for a branch's workspace, in a VM that is made and started as far as `need` allows.
    /// `tip` is the host's commit that it may contain.
    pub(super) fn find(
        &self,
        need: Need,
        branch: &BranchName,
        tip: Option<&ObjectId>,
    ) -> anyhow::Result<(Guest, Option<Found>)> {
        let (guest, fields) = self.ask_showing(need, &self.find_call(branch, tip)?)?;
        Ok((guest, Found::parse(fields)))
    }

    /// The answer to [`Here::find_call`]. A push that was cut off is mended on the way, and what that
    /// found is said.
    pub(super) fn ask_showing(
        &self,
        need: Need,
        call: &Call,
    ) -> anyhow::Result<(Guest, Vec<Field>)> {
        let (guest, mut session) = access::open(&self.config, need, call)?;
        session.show_messages();
        session.send(&[])?;
        Ok((guest, session.fields()?))
    }

    /// The question of [`Here::find`]. With the word `disk` behind it the guest also says whether its
    /// disk is nearly full.
    pub(super) fn find_call(
        &self,
        branch: &BranchName,
        tip: Option<&ObjectId>,
    ) -> anyhow::Result<Call> {
        Ok(match self.target(branch)? {
            Some(target) => target.call("find").arg(tip.map_or("", ObjectId::as_str)),
            None => Call::new("hello"),
        })
    }

    /// The host's commits and those of its submodules, as the guest's verb reads them from standard
    /// input.
    pub(super) fn tips_for_guest(&self) -> anyhow::Result<String> {
        let mut tips = self.repo.tips(TIPS)?;
        tips.extend(loss::tips_of_modules(&self.repo, TIPS)?);
        Ok(tips.iter().map(|id| format!("{id}\n")).collect())
    }
}

/// How long looking for what would be lost may take: a big work tree in an emulated guest.
const LIMIT: Duration = Duration::from_secs(300);

/// The question what a workspace holds that may exist nowhere else, for [`losses_in`].
pub(super) fn losses_call(target: &Target) -> Call {
    let limit = guest::time_limit(LIMIT).as_secs().to_string();
    target.call("losses").arg(limit).arg(rebuildable::pattern())
}

/// The answer to [`losses_call`].
pub(super) fn losses_in(mut session: Session, tips: &str) -> anyhow::Result<Losses> {
    // The guest gives up first, and ends what it started.
    session.set_patience(guest::time_limit(LIMIT) + Duration::from_secs(15));
    session.send(tips.as_bytes())?;
    Losses::parse(session.fields()?)
        .ok_or_else(|| anyhow::anyhow!("the guest's answer makes no sense"))
}

/// The end of a git command that has told the user itself why it failed.
pub(super) fn git_exit(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(0) => ExitCode::SUCCESS,
        Exit::Code(_) => ExitCode::FAILURE,
        Exit::Signal(_) => ExitCode::from(exit.shell_code()),
    }
}

/// A path as a shell reads it.
pub(super) fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+@".contains(c)) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_hints_can_be_pasted() {
        assert_eq!(in_shell(Path::new("/a/b-c")), "/a/b-c");
        assert_eq!(in_shell(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
