//! The state of a worktree here as a commit on top of its HEAD, without touching anything: made with a
//! copy of the index, in a place of its own for new objects, which goes when the value goes.
//!
//! It is what `git stash --include-untracked` would take: git's own rules and the user's settings say
//! what is ignored, and files that git was told not to look at stay out of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::Context as _;

use crate::error::Error;
use crate::git::{ObjectId, Repo, program_error};
use crate::process::{Cmd, Output};
use crate::remote::incoming::Incoming;
use crate::sanitize;

const INDEX: &str = "index";
/// How often git may give up since a file changed while it was read.
const TRIES: usize = 4;
/// The most that a list of paths may have, in bytes.
const LIST_CAP: usize = 256 << 20;

/// What is not committed in a worktree.
#[derive(Debug)]
pub struct Local {
    /// For new objects and the copy of the index.
    place: Incoming,
    repo: Repo,
    /// The commit that is checked out.
    pub head: ObjectId,
    /// The commit, with HEAD as its parent; `None`: all is committed.
    pub commit: Option<ObjectId>,
    /// How many paths it changes.
    pub files: u64,
    /// Repositories inside, whose content and links to commits are left out.
    pub nested: Vec<String>,
}

impl Local {
    /// Takes the state of the worktree of `repo`, whose HEAD is at `head`.
    pub fn take(repo: &Repo, head: &ObjectId) -> anyhow::Result<Self> {
        let place = Incoming::new(repo)?;
        copy_index(&repo.git_dir().join("index"), &place.beside_objects(INDEX))?;
        let mut local = Self {
            place,
            repo: repo.clone(),
            head: head.clone(),
            commit: None,
            files: 0,
            nested: Vec::new(),
        };
        local.add_files()?;
        local.leave_out_links()?;
        let tree = id(local.git().arg("write-tree"))?;
        if id(local.git().args(["rev-parse", &format!("{head}^{{tree}}")]))? != tree {
            let commit = local.commit_tree(&tree)?;
            local.files = local.count(&commit)?;
            local.commit = Some(commit);
        }
        Ok(local)
    }

    /// Writes a pack of what the commit has and HEAD has not.
    pub fn write_pack(&self, out: &mut dyn std::io::Write) -> anyhow::Result<()> {
        let Some(commit) = &self.commit else { return Ok(()) };
        let words = ["pack-objects", "--revs", "--thin", "--stdout", "-q", "--delta-base-offset"];
        let mut git = self.git().args(words).spawn().map_err(program_error)?;
        let input = format!("{commit}\n^{}\n", self.head);
        if let Some(mut pipe) = git.stdin() {
            // If git ends before it has read all, its exit code tells.
            std::io::Write::write_all(&mut pipe, input.as_bytes()).ok();
        }
        let stderr = git.stderr().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                std::io::Read::read_to_end(&mut stderr, &mut text).ok();
                text
            })
        });
        let mut pack = git.stdout().context("a pipe to git is missing")?;
        std::io::copy(&mut pack, out)?;
        let exit = git.wait()?;
        let said = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
        anyhow::ensure!(exit.success(), "git pack-objects: {}", sanitize::line(said.trim_ascii()));
        Ok(())
    }

    /// git that sees the copy of the index, and puts new objects aside.
    fn git(&self) -> Cmd {
        let mut git = self.repo.git();
        if let Some(top) = self.repo.work_dir() {
            git = git.env("GIT_WORK_TREE", top);
        }
        for setting in [
            "core.fsmonitor=false",
            "core.untrackedCache=false",
            "core.splitIndex=false",
            "core.safecrlf=false",
            "core.hooksPath=/dev/null",
            "advice.addEmbeddedRepo=false",
            "gc.auto=0",
        ] {
            git = git.args(["-c", setting]);
        }
        self.place
            .give(git)
            .env("GIT_INDEX_FILE", self.place.beside_objects(INDEX))
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
    }

    /// All files that git does not ignore, into the copy of the index.
    fn add_files(&mut self) -> anyhow::Result<()> {
        let mut said = String::new();
        for _ in 0..TRIES {
            let added = run(self.git().args(["add", "-A", "--sparse", "--ignore-errors"]))?;
            let left = list(self.git().args([
                "ls-files",
                "-z",
                "-m",
                "-o",
                "--exclude-standard",
                "--deduplicate",
            ]))?;
            // A name that ends in / is a repository inside that has no commit to link to.
            let (nested, files): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|path| path.ends_with(b"/"));
            let is_whole = added.exit.success() || (files.is_empty() && !nested.is_empty());
            if is_whole && !is_closed(&added) {
                self.nested.extend(nested.iter().map(|path| shown(path)));
                return Ok(());
            }
            said = added.stderr_tail(3);
            fs_err::remove_file(self.place.beside_objects("index.lock")).ok();
        }
        Err(Error::failed(format!("cannot read all files here: {said}"))
            .hint("commit what shall go along, or have git ignore what cannot be read")
            .into())
    }

    /// Links to commits of other repositories stay as they are in HEAD: what they lead to does not go
    /// along.
    fn leave_out_links(&mut self) -> anyhow::Result<()> {
        let changed = ["diff-index", "--cached", "--raw", "-z", "--no-renames"];
        let changed = list(self.git().args(changed).arg(self.head.as_str()))?;
        let mut back = Vec::new();
        for pair in changed.chunks_exact(2) {
            let fields: Vec<&[u8]> = pair[0].split(|&byte| byte == b' ').collect();
            let [old_mode, new_mode, old_id, ..] = fields[..] else {
                anyhow::bail!("git diff-index said {}", sanitize::line(&pair[0]));
            };
            if new_mode != b"160000" && old_mode != b":160000" {
                continue;
            }
            self.nested.push(shown(&pair[1]));
            for part in [old_mode.strip_prefix(b":").unwrap_or(old_mode), b" ", old_id, b" 0\t"] {
                back.extend_from_slice(part);
            }
            back.extend_from_slice(&pair[1]);
            back.push(0);
        }
        if !back.is_empty() {
            let git = self.git().args(["update-index", "-z", "--index-info"]).stdin_bytes(back);
            succeed(run(git)?, "update-index")?;
        }
        let dirty = ["diff-files", "--raw", "-z", "--ignore-submodules=none"];
        for pair in list(self.git().args(dirty))?.chunks_exact(2) {
            if pair[0].starts_with(b":160000 ") {
                self.nested.push(shown(&pair[1]));
            }
        }
        self.nested.sort();
        self.nested.dedup();
        Ok(())
    }

    fn commit_tree(&self, tree: &ObjectId) -> anyhow::Result<ObjectId> {
        let mut git = self.git();
        for who in ["AUTHOR", "COMMITTER"] {
            git = git
                .env(format!("GIT_{who}_NAME"), "git-agent-vm")
                .env(format!("GIT_{who}_EMAIL"), "git-agent-vm@localhost");
        }
        let message = "files that are not committed on the host";
        let parent = self.head.as_str();
        id(git.args(["commit-tree", "-p", parent, "-m", message, tree.as_str()]))
    }

    fn count(&self, commit: &ObjectId) -> anyhow::Result<u64> {
        let words = ["diff-tree", "-r", "-z", "--name-only", "--no-renames"];
        let paths = list(self.git().args(words).args([self.head.as_str(), commit.as_str()]))?;
        Ok(paths.len().try_into()?)
    }
}

/// The object that git names.
fn id(git: Cmd) -> anyhow::Result<ObjectId> {
    let output = succeed(run(git)?, "cannot take the files")?;
    let text = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
    ObjectId::new(&text).with_context(|| format!("git said '{text}'"))
}

/// With its time, by which git knows which files it has to read.
fn copy_index(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = match std::fs::File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", from.display())),
    };
    let time = source.metadata()?.modified()?;
    let mut copy = std::fs::File::create(to)?;
    std::io::copy(&mut source, &mut copy)?;
    copy.set_modified(time)?;
    Ok(())
}

/// Whether git could not look into a directory, of which it only warns.
fn is_closed(added: &Output) -> bool {
    let said = String::from_utf8_lossy(&added.stderr);
    said.lines().any(|line| {
        line.starts_with("warning: could not open directory")
            || line.ends_with(": Permission denied")
    })
}

fn run(git: Cmd) -> anyhow::Result<Output> {
    git.output_cap(LIST_CAP).output().map_err(program_error)
}

fn succeed(output: Output, what: &str) -> anyhow::Result<Output> {
    anyhow::ensure!(output.exit.success(), "git {what}: {}", output.stderr_tail(3));
    Ok(output)
}

/// What git lists, NUL at each end.
fn list(git: Cmd) -> anyhow::Result<Vec<Vec<u8>>> {
    let output = succeed(run(git)?, "cannot list files")?;
    let mut parts: Vec<Vec<u8>> =
        output.stdout.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    parts.pop();
    Ok(parts)
}

fn shown(path: &[u8]) -> String {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    sanitize::text(&OsStr::from_bytes(path).to_string_lossy()).into_owned()
}
