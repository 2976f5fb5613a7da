//! What two trees differ in, read without a process.

use std::collections::BTreeMap;

use super::{ObjectId, Repo};

/// Deeper trees, and more bytes of them and of paths, are not looked at for a hint.
const DEEPEST: usize = 64;
const MOST: u64 = 64 << 20;

impl Repo {
    /// The links to commits (submodules) that the second of two commits has, and the first has not, or
    /// at another commit, by path; sorted. `None` where that cannot be told from what is here.
    #[must_use]
    pub fn new_links(
        &self,
        moves: &[(Option<&ObjectId>, &ObjectId)],
    ) -> Option<Vec<(String, ObjectId)>> {
        let repo = self.gix.to_thread_local();
        let tree = |id: &ObjectId| {
            let id = gix::ObjectId::from_hex(id.as_str().as_bytes()).ok()?;
            Some(repo.find_object(id).ok()?.peel_to_tree().ok()?.id)
        };
        let mut walk = Walk { repo: &repo, links: Vec::new(), budget: MOST };
        for (old, new) in moves {
            walk.compare(old.and_then(tree), tree(new)?, "", DEEPEST)?;
        }
        walk.links.sort();
        walk.links.dedup();
        Some(walk.links)
    }
}

/// Whether it is a link, and what it leads to.
type Entries = BTreeMap<String, (bool, gix::ObjectId)>;

struct Walk<'a> {
    repo: &'a gix::Repository,
    links: Vec<(String, ObjectId)>,
    budget: u64,
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
        let before = match old {
            Some(old) => self.entries(old)?,
            None => Entries::new(),
        };
        for (name, (is_link, id)) in self.entries(new)? {
            let was = before.get(&name);
            let path = format!("{prefix}{name}");
            if is_link {
                if was != Some(&(true, id)) {
                    self.spend(path.len().try_into().ok()?)?;
                    self.links.push((path, ObjectId::new(&id.to_string())?));
                }
            } else {
                let old = was.filter(|was| !was.0).map(|was| was.1);
                self.compare(old, id, &format!("{path}/"), depth - 1)?;
            }
        }
        Some(())
    }

    fn spend(&mut self, bytes: u64) -> Option<()> {
        self.budget = self.budget.checked_sub(bytes)?;
        Some(())
    }

    /// The links and the directories of a tree.
    fn entries(&mut self, id: gix::ObjectId) -> Option<Entries> {
        // Before it is read: it may be a VM's, of any size. An empty one costs as well.
        self.spend(64 + self.repo.find_header(id).ok()?.size())?;
        let tree = self.repo.find_object(id).ok()?.try_into_tree().ok()?;
        let mut entries = Entries::new();
        for entry in tree.iter() {
            let entry = entry.ok()?;
            let mode = entry.mode();
            if mode.is_commit() || mode.is_tree() {
                let name = entry.filename().to_string();
                entries.insert(name, (mode.is_commit(), entry.object_id()));
            }
        }
        Some(entries)
    }
}
