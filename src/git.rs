//! The host's git: the only caller of the git command, and reading refs through gix.
//!
//! Knows repositories on this machine; knows nothing of ssh or the VM.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::branch::BranchName;
use crate::error::Error;
use crate::hash;
use crate::process::{Cmd, Output, ProcessError};

mod beside;
pub mod locks;
mod objects;
mod refs;
mod trees;
pub mod version;

/// A git command that only reads or writes a little and still runs after this time hangs.
const SHORT: Duration = Duration::from_secs(120);

/// The hex id of an object, 40 (SHA-1) or 64 (SHA-256) lower-case digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectId(String);

impl ObjectId {
    /// Checks the digits.
    #[must_use]
    pub fn new(hex: &str) -> Option<Self> {
        let good = matches!(hex.len(), 40 | 64) && hash::is_hex(hex);
        good.then(|| Self(hex.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }

    /// Whether this is the id that stands for "no object".
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'0')
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository on this machine.
#[derive(Debug, Clone)]
pub struct Repo {
    git_dir: PathBuf,
    common_dir: PathBuf,
    work_dir: Option<PathBuf>,
    object_format: &'static str,
    gix: gix::ThreadSafeRepository,
}

impl Repo {
    /// The repository that git would use here: `GIT_DIR`, or the one around the current directory.
    /// `None` if there is none.
    pub fn discover() -> anyhow::Result<Option<Self>> {
        if std::env::var_os("GIT_DIR").is_none() && !git_finds_one()? {
            return Ok(None);
        }
        let gix = gix::ThreadSafeRepository::discover_with_environment_overrides(".")
            .map_err(|error| anyhow::anyhow!("cannot open the repository: {error}"))?;
        let local = gix.to_thread_local();
        let canonical = |path: &Path| {
            fs_err::canonicalize(path).context("cannot resolve the repository's directory")
        };
        Ok(Some(Self {
            git_dir: canonical(local.git_dir())?,
            common_dir: canonical(local.common_dir())?,
            work_dir: local.workdir().map(canonical).transpose()?,
            object_format: match local.object_hash() {
                gix::hash::Kind::Sha1 => "sha1",
                _ => "sha256",
            },
            gix,
        }))
    }

    /// [`Repo::discover`], where a repository is needed.
    pub fn required() -> anyhow::Result<Self> {
        Self::discover()?.ok_or_else(|| {
            Error::failed("not in a git repository")
                .hint("change to the repository whose branch you mean, or use git -C DIR")
                .into()
        })
    }

    /// The git directory of this worktree, absolute.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The directory that all worktrees share, absolute; it identifies the repository.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The top of the working tree, if there is one.
    #[must_use]
    pub fn work_dir(&self) -> Option<&Path> {
        self.work_dir.as_deref()
    }

    /// `sha1` or `sha256`.
    #[must_use]
    pub fn object_format(&self) -> &'static str {
        self.object_format
    }

    /// Whether history is cut off here, as after `git clone --depth`.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.common_dir.join("shallow").metadata().is_ok_and(|file| file.len() > 0)
    }

    /// The name that workspaces of this repository begin with: the directory that holds `.git`, or
    /// a bare repository's own name without `.git`.
    #[must_use]
    pub fn base_name(&self) -> String {
        let dir = &self.common_dir;
        let named = match dir.file_name() {
            Some(name) if name == ".git" => dir.parent().and_then(Path::file_name),
            name => name,
        };
        let name = named.unwrap_or_default().to_string_lossy().into_owned();
        name.strip_suffix(".git").filter(|rest| !rest.is_empty()).unwrap_or(&name).to_owned()
    }

    /// Where git looks for a hook. A `git -c core.hooksPath` is not seen.
    #[must_use]
    pub fn hook(&self, name: &str) -> PathBuf {
        let local = self.gix.to_thread_local();
        let set = local.config_snapshot().trusted_path("core.hooksPath").ok().flatten();
        match set {
            // A relative one is below the directory in which hooks run.
            Some(dir) => self.work_dir.as_deref().unwrap_or(&self.git_dir).join(dir).join(name),
            None => self.common_dir.join("hooks").join(name),
        }
    }

    /// A git command in this repository, with the user's configuration (`git -c` included).
    #[must_use]
    pub fn git(&self) -> Cmd {
        let dir = self.work_dir.as_deref().unwrap_or(&self.common_dir);
        with_user_config(Cmd::new("git")).current_dir(dir).env("GIT_DIR", &self.git_dir)
    }

    /// A git command on the user's own terminal, in the user's language. It finds our remote
    /// helper beside this program even where that is not in `PATH`.
    #[must_use]
    pub fn git_for_user(&self) -> Cmd {
        let mut cmd = self.git();
        for name in ["LC_ALL", "GIT_TERMINAL_PROMPT"] {
            cmd = cmd.env_remove(name).env_inherit(name);
        }
        let ours = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = ours.into_iter().chain(std::env::split_paths(&path));
        match std::env::join_paths(dirs) {
            Ok(path) => cmd.env("PATH", path),
            // A directory with a colon cannot stand in PATH; what is there must do.
            Err(_) => cmd,
        }
    }

    /// Runs a git command that must succeed and gives its output without the last line end.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args)?;
        if !output.exit.success() {
            anyhow::bail!("git {} failed: {}", args.join(" "), output.stderr_tail(5));
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        while text.ends_with('\n') {
            text.pop();
        }
        Ok(text)
    }

    /// Runs a short git command and gives all that it left.
    pub fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        self.git().args(args).time_limit(SHORT).output().map_err(program_error)
    }

    /// The branch that HEAD names, born or not; `None` if HEAD is detached.
    pub fn head_branch(&self) -> anyhow::Result<Option<BranchName>> {
        // A repository with reftables holds a placeholder in its HEAD file, or cannot be read by gix
        // at all; git can.
        let name = match self.gix.to_thread_local().head_name() {
            Ok(None) => None,
            Ok(Some(name)) if name.as_bstr() != "refs/heads/.invalid" => {
                Some(name.as_bstr().to_string())
            }
            _ => {
                let output = self.output(&["symbolic-ref", "-q", "HEAD"])?;
                let name = String::from_utf8_lossy(output.stdout.trim_ascii_end()).into_owned();
                output.exit.success().then_some(name)
            }
        };
        Ok(name.as_deref().and_then(BranchName::from_full_ref))
    }

    /// The commit that a full ref name points to, `None` if there is no such ref.
    pub fn ref_tip(&self, full_name: &str) -> anyhow::Result<Option<ObjectId>> {
        if full_name.starts_with("refs/")
            && let Some(tip) = self.quick_tip(full_name)
        {
            return Ok(Some(tip));
        }
        let output =
            self.output(&["rev-parse", "--verify", "-q", "--end-of-options", full_name])?;
        if !output.exit.success() {
            return Ok(None);
        }
        let hex = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
        Ok(ObjectId::new(&hex))
    }

    /// The tip of a local branch.
    pub fn branch_tip(&self, branch: &BranchName) -> anyhow::Result<Option<ObjectId>> {
        self.ref_tip(&branch.full_ref())
    }

    /// The worktree in which a branch is checked out, if any.
    pub fn checked_out_at(&self, branch: &BranchName) -> anyhow::Result<Option<PathBuf>> {
        if self.head_branch()?.as_ref() == Some(branch)
            && let Some(dir) = &self.work_dir
        {
            return Ok(Some(dir.clone()));
        }
        let full = branch.full_ref();
        let path = self.run(&["for-each-ref", "--format=%(worktreepath)", "--", &full])?;
        Ok(path.lines().next().filter(|line| !line.is_empty()).map(PathBuf::from))
    }

    /// Sets a key in the configuration that all worktrees share.
    pub fn set_config(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.change_config(&["config", "--local", key, value])
            .with_context(|| format!("cannot set {key} in {}", self.common_dir.display()))
    }

    /// Makes `git push agentvm::B` push B from wherever it is typed, and keeps `git fetch --all`
    /// away from the VM. Never adds a fetch refspec: it would break `git pull agentvm::B`.
    pub fn enrol(&self, branch: &BranchName) -> anyhow::Result<()> {
        self.enrol_as(&format!("agentvm::{branch}"), branch)
    }

    /// The same for another name of that address (`url.agentvm::.insteadOf`).
    pub fn enrol_as(&self, remote: &str, branch: &BranchName) -> anyhow::Result<()> {
        let full = branch.full_ref();
        self.set_config(&format!("remote.{remote}.push"), &format!("{full}:{full}"))?;
        self.set_config(&format!("remote.{remote}.skipFetchAll"), "true")
    }
}

/// Whether git finds a repository around the current directory, by its own rules: another user's is
/// refused unless `safe.directory` allows it. (Told the directory outright, git would not ask.)
fn git_finds_one() -> anyhow::Result<bool> {
    // A current directory that was deleted belongs to no repository.
    if std::env::current_dir().is_err() {
        return Ok(false);
    }
    let asked = with_user_config(Cmd::new("git"))
        .args(["rev-parse", "--git-dir"])
        .time_limit(SHORT)
        .output()
        .map_err(program_error)?;
    let said = asked.stderr_tail(9);
    if !asked.exit.success() && !said.contains("not a git repository") {
        anyhow::bail!("{}", said.strip_prefix("fatal: ").unwrap_or(&said));
    }
    Ok(asked.exit.success())
}

/// A git command for reading configuration, in a repository or outside any.
#[must_use]
pub fn config_command(repo: Option<&Repo>) -> Cmd {
    match repo {
        Some(repo) => repo.git(),
        // "/" is no repository, and exists where the current directory was deleted.
        None => with_user_config(Cmd::new("git")).current_dir("/"),
    }
}

/// Explains a git command that could not be run.
#[must_use]
pub fn program_error(error: ProcessError) -> anyhow::Error {
    match error {
        ProcessError::NotFound(_) => Error::missing_program("the program 'git' was not found")
            .hint("install git 2.39 or newer")
            .into(),
        ProcessError::TimedOut(..) => Error::timed_out(error.to_string()).into(),
        other => other.into(),
    }
}

/// Whether this process is the remote helper.
static IN_HELPER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The variable that marks what the helper runs.
pub const NESTED: &str = "GIT_AGENT_VM_NESTED";

/// Marks all git commands from now on as run by the helper. Where a workspace is named as the
/// promisor of a partial clone, they would fetch missing objects from it through another helper,
/// which would look for them in the same way, and so on.
pub fn mark_helper() {
    IN_HELPER.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// Gives git the configuration that the user set for this one command, and a fixed locale.
fn with_user_config(cmd: Cmd) -> Cmd {
    let nested = IN_HELPER.load(std::sync::atomic::Ordering::Relaxed);
    let cmd = if nested { cmd.env(NESTED, "1") } else { cmd };
    let mut cmd =
        cmd.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env_inherit("GIT_CONFIG_PARAMETERS");
    if let Some(count) =
        std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse::<u32>().ok())
    {
        cmd = cmd.env_inherit("GIT_CONFIG_COUNT");
        for index in 0..count.min(10_000) {
            cmd = cmd
                .env_inherit(format!("GIT_CONFIG_KEY_{index}"))
                .env_inherit(format!("GIT_CONFIG_VALUE_{index}"));
        }
    }
    cmd
}
