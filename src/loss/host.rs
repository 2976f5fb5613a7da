//! What this repository really has: in its refs, keep-refs and worktrees' HEADs, in the repositories
//! of its submodules, in the store of git-lfs. Nothing that is remembered counts.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::git::{ObjectId, Repo};
use crate::guest::losses::{Commit, Object, Place};

/// How deep submodules' git directories are looked for: names may have slashes, and submodules
/// submodules.
const DEPTH: u32 = 12;

pub(super) struct Host<'a> {
    repo: &'a Repo,
    modules: Vec<Repo>,
    pointed: OnceCell<HashSet<ObjectId>>,
    lfs: OnceCell<Vec<PathBuf>>,
}

impl<'a> Host<'a> {
    pub(super) fn new(repo: &'a Repo) -> Self {
        let (pointed, lfs) = (OnceCell::new(), OnceCell::new());
        Self { repo, modules: modules(repo), pointed, lfs }
    }

    /// Those that no ref here keeps.
    pub(super) fn unkept<'c>(&self, commits: Vec<&'c Commit>) -> anyhow::Result<Vec<&'c Commit>> {
        let kept = self.repo.kept(&ids(&commits))?;
        Ok(without(commits, &kept))
    }

    /// Those that neither a ref nor a reflog here keeps.
    pub(super) fn unlogged<'c>(&self, commits: Vec<&'c Commit>) -> anyhow::Result<Vec<&'c Commit>> {
        let kept = self.repo.kept_or_logged(&ids(&commits))?;
        Ok(without(commits, &kept))
    }

    /// Those that no ref keeps here or in a submodule's repository.
    pub(super) fn unkept_anywhere<'c>(
        &self,
        commits: Vec<&'c Commit>,
    ) -> anyhow::Result<Vec<&'c Commit>> {
        let mut left = self.unkept(commits)?;
        for module in &self.modules {
            if left.is_empty() {
                break;
            }
            let kept = module.kept(&ids(&left))?;
            left = without(left, &kept);
        }
        Ok(left)
    }

    /// Those that no ref here points to.
    pub(super) fn unpointed<'c>(
        &self,
        objects: Vec<&'c Object>,
    ) -> anyhow::Result<Vec<&'c Object>> {
        if objects.is_empty() {
            return Ok(objects);
        }
        if self.pointed.get().is_none() {
            let mut all = self.repo.pointed_to()?;
            for module in &self.modules {
                all.extend(module.pointed_to()?);
            }
            self.pointed.set(all).ok();
        }
        let pointed = self.pointed.get().map_or_else(HashSet::new, Clone::clone);
        Ok(objects.into_iter().filter(|object| !pointed.contains(&object.id)).collect())
    }

    /// The objects of git-lfs that are in no store here.
    pub(super) fn missing_lfs<'p>(&self, place: &'p Place) -> Vec<&'p str> {
        let names = place.lfs.told.iter().filter_map(|name| name.as_clean_str());
        let stores = self.lfs.get_or_init(|| {
            let repos = std::iter::once(self.repo).chain(&self.modules);
            repos.flat_map(lfs_stores).collect()
        });
        let there = |name: &str| {
            let path = Path::new(&name[..2]).join(&name[2..4]).join(name);
            stores.iter().any(|store| store.join(&path).is_file())
        };
        names.filter(|name| !there(name)).collect()
    }
}

fn ids(commits: &[&Commit]) -> Vec<ObjectId> {
    commits.iter().map(|commit| commit.id.clone()).collect()
}

fn without<'c>(commits: Vec<&'c Commit>, kept: &[bool]) -> Vec<&'c Commit> {
    commits.into_iter().zip(kept).filter(|(_, kept)| !**kept).map(|(commit, _)| commit).collect()
}

/// The tips of the repositories of submodules, for the guest to leave out.
pub fn tips_of_modules(repo: &Repo, cap: usize) -> anyhow::Result<Vec<ObjectId>> {
    let mut tips = Vec::new();
    for module in modules(repo) {
        tips.extend(module.tips(cap.saturating_sub(tips.len()))?);
    }
    Ok(tips)
}

/// The repositories of submodules, initialized or once so.
pub fn modules(repo: &Repo) -> Vec<Repo> {
    let mut found = Vec::new();
    find_modules(&repo.common_dir().join("modules"), DEPTH, &mut found);
    let worktrees = std::fs::read_dir(repo.common_dir().join("worktrees"));
    for worktree in worktrees.into_iter().flatten().flatten() {
        find_modules(&worktree.path().join("modules"), DEPTH, &mut found);
    }
    found
}

fn find_modules(dir: &Path, depth: u32, found: &mut Vec<Repo>) {
    if depth == 0 {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // Not through symbolic links.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.join("HEAD").exists() && path.join("objects").is_dir() {
            found.extend(Repo::at(&path));
            find_modules(&path.join("modules"), depth - 1, found);
        } else {
            find_modules(&path, depth - 1, found);
        }
    }
}

/// Where git-lfs looks for objects: its own store, and those beside stores that git borrows from.
fn lfs_stores(repo: &Repo) -> Vec<PathBuf> {
    let common = repo.common_dir();
    let set = repo.run(&["config", "--type=path", "--get", "lfs.storage"]).ok();
    let own = common.join(set.filter(|set| !set.is_empty()).unwrap_or_else(|| "lfs".to_owned()));
    let mut stores = vec![own.join("objects")];
    let alternates = std::fs::read_to_string(common.join("objects/info/alternates"));
    for line in alternates.unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
        stores.push(common.join("objects").join(line).join("../lfs/objects"));
    }
    stores
}
