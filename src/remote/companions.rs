//! What goes along with every push: the host's default branch, as `refs/remotes/host/NAME`, and the
//! tags on its history, so that `git diff host/main...` and `git describe` work in the workspace.

use crate::branch::BranchName;
use crate::git::Repo;
use crate::remote::advertisement::Advertisement;

/// The most tags that go along.
const TAGS: &str = "--count=1000";

/// What may go along.
#[derive(Debug, Default)]
pub struct Companions {
    /// The default branch's name and commit.
    default_branch: Option<(String, String)>,
    /// Full names.
    tags: Vec<String>,
}

impl Companions {
    /// What a repository has.
    pub fn of(repo: &Repo) -> anyhow::Result<Self> {
        let Some((name, commit)) = default_branch(repo)? else { return Ok(Self::default()) };
        let mut tags = Vec::new();
        if repo.may_have_tags() {
            let merged = format!("--merged={commit}");
            let listed =
                repo.run(&["for-each-ref", TAGS, &merged, "--format=%(refname)", "refs/tags"])?;
            tags.extend(listed.lines().map(str::to_owned));
        }
        Ok(Self { default_branch: Some((name, commit)), tags })
    }

    /// The refspecs of what a workspace does not have yet.
    #[must_use]
    pub fn specs(&self, there: &Advertisement, branch: &BranchName) -> Vec<String> {
        let mut specs = Vec::new();
        if let Some((name, commit)) = &self.default_branch {
            let remote = format!("refs/remotes/host/{name}");
            if there.host_tip(&remote).is_none_or(|tip| tip.as_str() != commit) {
                specs.push(format!("+{commit}:{remote}"));
            }
        }
        // A tag of the same name there is the agent's business; one with the branch's own name would
        // make it ambiguous.
        let own = format!("refs/tags/{branch}");
        let missing = self.tags.iter().filter(|tag| **tag != own && there.tip(tag).is_none());
        specs.extend(missing.map(|tag| format!("{tag}:{tag}")));
        specs
    }
}

/// The default branch's name and commit: what `origin/HEAD` names, else `main` or `master`.
pub fn default_branch(repo: &Repo) -> anyhow::Result<Option<(String, String)>> {
    let listed = repo.run(&[
        "for-each-ref",
        "--format=%(refname) %(objectname) %(symref)",
        "refs/remotes/origin/HEAD",
        "refs/heads/main",
        "refs/heads/master",
    ])?;
    let mut found = None;
    for line in listed.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(commit)) = (words.next(), words.next()) else { continue };
        let symref = words.next().unwrap_or_default();
        if let Some(branch) = symref.strip_prefix("refs/remotes/origin/") {
            return Ok(Some((branch.to_owned(), commit.to_owned())));
        }
        if let Some(branch) = name.strip_prefix("refs/heads/").filter(|_| found.is_none()) {
            found = Some((branch.to_owned(), commit.to_owned()));
        }
    }
    Ok(found)
}
