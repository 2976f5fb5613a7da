//! What a repository holds: refs, commits, objects, and what keeps them.

use anyhow::Context as _;

use super::{ObjectId, Repo, SHORT, program_error};
use crate::process::Cmd;

impl Repo {
    /// The object that a full ref name points to, read without a process where that is possible.
    /// `None`: there is no such ref, or only git can tell.
    #[must_use]
    pub fn quick_tip(&self, full_name: &str) -> Option<ObjectId> {
        let repo = self.gix.to_thread_local();
        let found = repo.try_find_reference(full_name).ok()??;
        ObjectId::new(&found.try_id()?.to_string())
    }

    /// Whether an object is here. Where only git can tell, it counts as here.
    #[must_use]
    pub fn may_have(&self, id: &ObjectId) -> bool {
        let repo = self.gix.to_thread_local();
        match gix::ObjectId::from_hex(id.as_str().as_bytes()) {
            // A new clone is about to take the other side's format.
            Ok(id) => id.kind() == repo.object_hash() && repo.has_object(id),
            Err(_) => true,
        }
    }

    /// Whether there are tags. Where only git can tell, there may be some.
    #[must_use]
    pub fn may_have_tags(&self) -> bool {
        let repo = self.gix.to_thread_local();
        let Ok(refs) = repo.references() else { return true };
        refs.tags().map_or(true, |mut tags| tags.next().is_some())
    }

    /// The commits that the refs here point to, at most `cap` of them, the newest: what a
    /// workspace is compared with.
    pub fn tips(&self, cap: usize) -> anyhow::Result<Vec<ObjectId>> {
        let output = self.output(&[
            "for-each-ref",
            "--sort=-creatordate",
            "--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)",
        ])?;
        anyhow::ensure!(output.exit.success(), "git for-each-ref: {}", output.stderr_tail(3));
        let mut tips = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (["commit", id] | [_, _, "commit", id]) = words.as_slice() else { continue };
            if let Some(id) = ObjectId::new(id)
                && seen.insert(id.clone())
            {
                tips.push(id);
            }
        }
        tips.truncate(cap);
        Ok(tips)
    }

    /// How many commits `from` reaches that none of `without` does.
    pub fn count_commits(&self, from: &ObjectId, without: &[ObjectId]) -> anyhow::Result<u64> {
        let mut input = format!("{from}\n");
        for id in without {
            input.push_str(&format!("^{id}\n"));
        }
        let output = self
            .git()
            .args(["rev-list", "--count", "--stdin"])
            .stdin_bytes(input)
            .time_limit(SHORT)
            .output()
            .map_err(program_error)?;
        anyhow::ensure!(output.exit.success(), "git rev-list: {}", output.stderr_tail(3));
        let count = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
        count.parse().with_context(|| format!("git rev-list --count said '{count}'"))
    }

    /// How many paths differ between a commit (`None`: nothing at all) and another.
    pub fn count_changed(&self, from: Option<&ObjectId>, to: &ObjectId) -> anyhow::Result<u64> {
        let args = match from {
            Some(from) => {
                vec!["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str()]
            }
            None => vec!["ls-tree", "-r", "-z", "--name-only", "--full-tree"],
        };
        let output = self
            .git()
            .args(args)
            .arg(to.as_str())
            .time_limit(SHORT)
            .output_cap(256 << 20)
            .output()
            .map_err(program_error)?;
        anyhow::ensure!(output.exit.success(), "git diff-tree: {}", output.stderr_tail(3));
        Ok(output.stdout.split(|&byte| byte == 0).count().saturating_sub(1).try_into()?)
    }

    /// The best common ancestor of two commits, if they have one.
    pub fn merge_base(&self, one: &ObjectId, two: &ObjectId) -> anyhow::Result<Option<ObjectId>> {
        let output = self.output(&["merge-base", one.as_str(), two.as_str()])?;
        match output.exit {
            crate::process::Exit::Code(0 | 1) => {}
            _ => anyhow::bail!("git merge-base: {}", output.stderr_tail(3)),
        }
        Ok(ObjectId::new(&String::from_utf8_lossy(output.stdout.trim_ascii())))
    }

    /// The tree without an entry, which git knows everywhere.
    pub fn empty_tree(&self) -> anyhow::Result<ObjectId> {
        let id = self.run(&["hash-object", "-t", "tree", "--stdin"])?;
        ObjectId::new(&id).with_context(|| format!("git hash-object said '{id}'"))
    }

    /// Whether `old` is `new` or one of its ancestors; false where either is not here.
    pub fn is_ancestor(&self, old: &ObjectId, new: &ObjectId) -> anyhow::Result<bool> {
        let args = ["merge-base", "--is-ancestor", old.as_str(), new.as_str()];
        Ok(self.output(&args)?.exit.success())
    }

    /// Which of these objects this repository holds, in any state.
    pub fn existing(&self, ids: &[ObjectId]) -> anyhow::Result<Vec<bool>> {
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let output = self
            .git()
            .args(["cat-file", "--batch-check=%(objecttype)", "--buffer"])
            .env("GIT_NO_LAZY_FETCH", "1")
            .stdin_bytes(input)
            .time_limit(SHORT)
            .output()
            .map_err(program_error)?;
        let lines: Vec<bool> = output
            .stdout
            .split(|&byte| byte == b'\n')
            .take(ids.len())
            .map(|line| !line.is_empty() && !line.ends_with(b" missing"))
            .collect();
        anyhow::ensure!(lines.len() == ids.len(), "git cat-file: {}", output.stderr_tail(3));
        Ok(lines)
    }

    /// Whether all that these commits need is here (`git rev-list --objects`), as git checks after a
    /// fetch. What the refs here reach counts as whole.
    pub fn is_connected(&self, tips: &[ObjectId]) -> anyhow::Result<bool> {
        self.is_connected_for(self.git(), tips)
    }

    /// The same for a git command of this repository that sees more objects than others.
    pub fn is_connected_for(&self, git: Cmd, tips: &[ObjectId]) -> anyhow::Result<bool> {
        let input: String = tips.iter().map(|id| format!("{id}\n")).collect();
        let mut git = git.args(["rev-list", "--objects", "--stdin", "--not", "--all", "--quiet"]);
        // git would ask a repository about itself where it is told of a second place for objects.
        if self.common_dir().join("objects/info/alternates").exists() {
            git = git.arg("--alternate-refs");
        }
        let output =
            git.env("GIT_NO_LAZY_FETCH", "1").stdin_bytes(input).output().map_err(program_error)?;
        Ok(output.exit.success())
    }

    /// Which of these commits a ref of this repository keeps. One that merely lies about in the
    /// object store will be gone after the next `git gc`, so it does not count.
    pub fn kept(&self, ids: &[ObjectId]) -> anyhow::Result<Vec<bool>> {
        self.reached(ids, &["--all"])
    }

    /// Which of these commits a ref or a reflog of this repository keeps.
    pub fn kept_or_logged(&self, ids: &[ObjectId]) -> anyhow::Result<Vec<bool>> {
        self.reached(ids, &["--all", "--reflog"])
    }

    fn reached(&self, ids: &[ObjectId], from: &[&str]) -> anyhow::Result<Vec<bool>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let existing = self.existing(ids)?;
        let mut input = String::new();
        for (id, _) in ids.iter().zip(&existing).filter(|(_, exists)| **exists) {
            input.push_str(id.as_str());
            input.push('\n');
        }
        let walk = self
            .git()
            .args(["rev-list", "--stdin", "--not"])
            .args(from)
            // What stands for another commit keeps only itself.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .stdin_bytes(input)
            .time_limit(SHORT)
            .output_cap(256 << 20)
            .output()
            .map_err(program_error)?;
        anyhow::ensure!(walk.exit.success(), "git rev-list: {}", walk.stderr_tail(3));
        let unkept: std::collections::HashSet<&[u8]> =
            walk.stdout.split(|&byte| byte == b'\n').collect();
        Ok(ids
            .iter()
            .zip(existing)
            .map(|(id, exists)| exists && !unkept.contains(id.as_str().as_bytes()))
            .collect())
    }
}
