//! What two trees differ in, read without a process.

use super::{ObjectId, Repo};

/// Deeper trees, and more of them, are not looked at for a hint.
const DEEPEST: usize = 64;
const MOST: usize = 200_000;

impl Repo {
    /// The paths of links to commits (submodules) that `new` has and `old` has not, or has at another
    /// commit; sorted. `None` where that cannot be told from what is here.
    #[must_use]
    pub fn new_links(&self, old: Option<&ObjectId>, new: &ObjectId) -> Option<Vec<String>> {
        let repo = self.gix.to_thread_local();
        let tree = |id: &ObjectId| {
            let id = gix::ObjectId::from_hex(id.as_str().as_bytes()).ok()?;
            Some(repo.find_object(id).ok()?.peel_to_tree().ok()?.id)
        };
        let old = old.and_then(tree);
        let mut walk = Walk { repo: &repo, links: Vec::new(), budget: MOST };
        walk.compare(old, tree(new)?, "", DEEPEST)?;
        walk.links.sort();
        Some(walk.links)
    }
}

struct Walk<'a> {
    repo: &'a gix::Repository,
    links: Vec<String>,
    budget: usize,
}

impl Walk<'_> {
    fn compare(
        &mut self,
        old: Option<gix::ObjectId>,
        new: gix::ObjectId,
        prefix: &str,
        depth: usize,
    ) -> Option<()> {
        if old == Some(new) || depth == 0 {
            return Some(());
        }
        self.budget = self.budget.checked_sub(1)?;
        let before = match old {
            Some(old) => self.entries(old)?,
            None => Vec::new(),
        };
        for (name, is_link, id) in self.entries(new)? {
            let was = before.iter().find(|entry| entry.0 == name);
            let path = format!("{prefix}{name}");
            if is_link {
                if was.is_none_or(|was| !was.1 || was.2 != id) {
                    self.links.push(path);
                }
            } else {
                let old = was.filter(|was| !was.1).map(|was| was.2);
                self.compare(old, id, &format!("{path}/"), depth - 1)?;
            }
        }
        Some(())
    }

    /// The links and the directories of a tree.
    fn entries(&self, id: gix::ObjectId) -> Option<Vec<(String, bool, gix::ObjectId)>> {
        let tree = self.repo.find_object(id).ok()?.try_into_tree().ok()?;
        let mut entries = Vec::new();
        for entry in tree.iter() {
            let entry = entry.ok()?;
            let mode = entry.mode();
            if mode.is_commit() || mode.is_tree() {
                let name = entry.filename().to_string();
                entries.push((name, mode.is_commit(), entry.object_id()));
            }
        }
        Some(entries)
    }
}
