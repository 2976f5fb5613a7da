//! What a user and an agent do, and a simple model of which contents there are, and where each must
//! still be. All that takes part is listed in [`Action`] and [`actions`].

use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    // The agent's.
    WriteUntracked,
    WriteIgnored,
    EditTracked,
    Commit,
    Stash,
    Amend,
    Rebase,
    /// The agent's own word: its uncommitted changes go.
    ResetHard,
    NewBranch,
    BackToBranch,
    // The user's.
    UserCommit,
    Push,
    ForcePush,
    Fetch,
    Pull,
    Clean,
    CleanForce,
    Restore,
    DeleteBranch,
    RenameBranch,
    /// One of the commands with the network, all of the guest's or of the host's processes killed after
    /// so many milliseconds.
    Crash(Crash, u16),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    GuestInPush,
    GuestInFetch,
    GuestInClean,
    HostInPush,
    HostInFetch,
}

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let crash = prop_oneof![
        4 => Just(Crash::GuestInPush),
        1 => Just(Crash::GuestInFetch),
        1 => Just(Crash::GuestInClean),
        2 => Just(Crash::HostInPush),
        1 => Just(Crash::HostInFetch),
    ];
    let one = prop_oneof![
        5 => Just(Action::WriteUntracked),
        3 => Just(Action::WriteIgnored),
        5 => Just(Action::EditTracked),
        7 => Just(Action::Commit),
        3 => Just(Action::Stash),
        2 => Just(Action::Amend),
        2 => Just(Action::Rebase),
        1 => Just(Action::ResetHard),
        1 => Just(Action::NewBranch),
        1 => Just(Action::BackToBranch),
        5 => Just(Action::UserCommit),
        5 => Just(Action::Push),
        2 => Just(Action::ForcePush),
        4 => Just(Action::Fetch),
        2 => Just(Action::Pull),
        2 => Just(Action::Clean),
        2 => Just(Action::CleanForce),
        2 => Just(Action::Restore),
        1 => Just(Action::DeleteBranch),
        1 => Just(Action::RenameBranch),
        3 => (crash, 0_u16..220).prop_map(|(crash, after)| Action::Crash(crash, after)),
    ];
    proptest::collection::vec(one, 3..=6)
}

/// Where a content is, as far as the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file that git ignores.
    Ignored,
    /// In a file that is not committed.
    WorkTree,
    /// In a commit or a stash of the workspace.
    Objects,
    /// In the trash, or a command that moves it there was killed.
    Trash,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) token: String,
    pub(crate) file: String,
    pub(crate) place: Place,
    /// Where it was before it went to the trash, and how often something had gone there by then.
    pub(crate) trashed: Option<(Place, u32)>,
    /// It is in the history of the workspace's branch.
    pub(crate) on_branch: bool,
    /// The host has fetched it, and never loses it again.
    pub(crate) on_host: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) contents: Vec<Content>,
    /// The user's own, which git said were pushed.
    pub(crate) pushed: Vec<String>,
    pub(crate) user_token: Option<String>,
    pub(crate) branch: String,
    /// Files may have been moved by a push that was cut off.
    pub(crate) crashed: bool,
    /// The agent is on a branch of its own.
    pub(crate) elsewhere: bool,
    pub(crate) number: u32,
}

impl Model {
    /// The workspace's directory.
    pub(crate) fn workspace(&self) -> String {
        format!("workspace/app-{}", self.branch)
    }

    /// What is not committed in the workspace is committed or stashed.
    pub(crate) fn uncommitted_goes_to(&mut self, place: Place, on_branch: bool) {
        let here = format!("{}/", self.workspace());
        for content in &mut self.contents {
            if content.place == Place::WorkTree && content.file.starts_with(&here) {
                content.place = place;
                content.on_branch = on_branch;
            }
        }
    }

    /// What only the workspace's branch had is no longer on it.
    pub(crate) fn replaced(&mut self) {
        for content in &mut self.contents {
            content.on_branch &= content.on_host;
        }
    }

    /// The workspace is in the trash, all of it.
    pub(crate) fn cleaned(&mut self) {
        let here = format!("{}/", self.workspace());
        self.number += 1;
        for content in self.contents.iter_mut().filter(|content| content.file.starts_with(&here)) {
            if content.place != Place::Trash {
                content.trashed = Some((content.place, self.number));
                content.place = Place::Trash;
            }
        }
        self.elsewhere = false;
    }

    /// What went to the trash last is the branch's workspace again. It may be on another branch.
    pub(crate) fn restored(&mut self) {
        let here = format!("{}/", self.workspace());
        let in_trash = |content: &&mut Content| {
            content.place == Place::Trash && content.file.starts_with(&here)
        };
        let time = |content: &Content| content.trashed.map_or(0, |(_, time)| time);
        let last = self.contents.iter_mut().filter(in_trash).map(|content| time(content)).max();
        for content in self.contents.iter_mut().filter(in_trash) {
            if let Some((place, time)) = content.trashed
                && Some(time) == last
            {
                content.place = place;
            }
        }
        self.elsewhere = true;
    }
}
