//! The whole round: a push, a change of the agent, a fetch, and both sides are the same to the byte.

use super::{Lab, Repo, Workspace};

impl<'a> Repo<'a> {
    /// Pushes a branch, lets the agent commit a file and fetches it into that branch, and looks at
    /// all of it on each side. Gives the workspace.
    pub(crate) fn goes_the_whole_round(&self, branch: &str) -> Workspace<'a> {
        if self.git(&format!("config remote.agentvm::{branch}.push")).run().code != 0 {
            self.enrol(branch);
        }
        self.git(&format!("push agentvm::{branch}")).succeeds();
        let workspace = self.workspace_of(branch);
        workspace.is_whole_at(&self.tip(&format!("refs/heads/{branch}")));
        let agents = workspace.commit("agent's own.txt", "agent\n");
        self.git(&format!("agent-vm fetch {branch}")).succeeds();
        assert_eq!(self.tip(&format!("refs/heads/{branch}")), agents);
        self.git("fsck --strict --no-dangling").succeeds();
        workspace
    }

    /// The workspace that has this branch checked out.
    pub(crate) fn workspace_of(&self, branch: &str) -> Workspace<'a> {
        let names = self.lab.workspaces();
        let has = |name: &&String| {
            let head = self.lab.workspace(name).git("symbolic-ref --short HEAD").run().text();
            head == branch
        };
        let name = names.iter().find(has).unwrap_or_else(|| panic!("{branch} is not in {names:?}"));
        self.lab.workspace(name)
    }
}

impl Workspace<'_> {
    /// The same as [`Workspace::has_files_of`], and the repository is sound.
    pub(crate) fn is_whole_at(&self, commit: &str) {
        self.has_files_of(commit);
        self.git("fsck --strict --no-dangling").succeeds();
    }

    /// HEAD is at `commit`, and every file is there with the bytes and the mode that stand in it.
    pub(crate) fn has_files_of(&self, commit: &str) {
        assert_eq!(self.tip("HEAD"), commit);
        // Without the index: it could be wrong in the same way as the files.
        let script = "rm -f ../index.test; export GIT_INDEX_FILE=../index.test
            git read-tree HEAD && git add -A && git diff --cached --stat HEAD; rm -f ../index.test";
        self.sh(script).succeeds().stdout_is("");
        assert_eq!(self.status(), "");
    }
}

impl Lab {
    /// Commits everything in `app`, and gives the commit.
    pub(crate) fn commit_all(&self) -> String {
        self.sh("git add -A && git commit -qm all").succeeds();
        self.app().tip("HEAD")
    }

    /// A commit on feature with this file, made without a work tree: `path` as fast-import quotes it.
    pub(crate) fn import(&self, path: &str) {
        let script = format!(
            "commit refs/heads/feature\ncommitter H <h@example.org> 1714564800 +0000\ndata 3\nodd\n\
             from refs/heads/feature^0\nM 100644 inline {path}\ndata 4\nodd\n\n"
        );
        self.git("fast-import --quiet --force").stdin(script).succeeds();
    }
}
