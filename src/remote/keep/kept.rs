//! Listing what is kept, and dropping what is kept elsewhere, too.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::changes::Changes;
use super::record::{self, Source};
use super::{NAMESPACE, last_seen};
use crate::error;
use crate::git::{ObjectId, Repo, program_error};
use crate::sanitize::GuestText;
use crate::ui;

/// The least age at which a fetch drops what is kept elsewhere, too.
pub const OLD: Duration = Duration::from_secs(30 * 86_400);

/// A commit that is kept.
#[derive(Debug)]
pub struct Kept {
    /// The keep-ref's full name.
    pub name: String,
    /// The commit.
    pub id: ObjectId,
    /// Where it was fetched from, if that is still known.
    pub source: Option<Source>,
    /// When it was fetched, in seconds since 1970; where that is not known, when it was committed.
    pub time: Option<i64>,
    /// The first line of its message.
    pub subject: GuestText,
    /// Whether a branch or a tag here has it, one that no other side moves.
    pub elsewhere: bool,
}

impl Kept {
    fn is_older_than(&self, age: Duration) -> bool {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.time.is_some_and(|time| crate::guest::now().saturating_sub(time) >= age)
    }
}

/// All that is kept, the latest first.
pub fn all(repo: &Repo) -> anyhow::Result<Vec<Kept>> {
    below(repo, NAMESPACE)
}

/// Drops what is kept elsewhere, too, and older than `age`; gives it.
pub fn prune(repo: &Repo, age: Duration) -> anyhow::Result<Vec<Kept>> {
    let mut old = all(repo)?;
    old.retain(|kept| kept.elsewhere && kept.is_older_than(age));
    drop_all(repo, &old)?;
    Ok(old)
}

/// The same for a branch of a workspace that was fetched just now, whose last tip stays.
pub fn tidy(repo: &Repo, source: &Source) -> anyhow::Result<()> {
    // The usual case costs no process.
    if repo.refs_below(&source.prefix())?.len() < 2 {
        return Ok(());
    }
    let last = last_seen(repo, source);
    let mut old = below(repo, &source.prefix())?;
    old.retain(|kept| kept.elsewhere && kept.is_older_than(OLD) && last.as_ref() != Some(&kept.id));
    if let Err(error) = drop_all(repo, &old) {
        error::warn(&error);
    } else if !old.is_empty() {
        ui::note(&format!(
            "no longer kept, since branches or tags here have it: {}",
            ui::count(old.len() as u64, "commit")
        ));
    }
    Ok(())
}

/// Drops keep-refs, whatever they keep.
pub fn drop_all(repo: &Repo, kept: &[Kept]) -> anyhow::Result<()> {
    let mut changes = Changes::default();
    for kept in kept {
        changes.drop_ref(kept.name.clone(), kept.id.clone());
    }
    if let Some(error) = changes.make_and_drop(repo)? {
        // Another command may have dropped them.
        for Kept { name, .. } in kept {
            if repo.ref_tip(name)?.is_some() {
                return Err(error.into());
            }
        }
    }
    for Kept { source, id, .. } in kept {
        let Some(source) = source else { continue };
        if repo.refs_below(&source.prefix())?.is_empty() {
            record::forget(repo, &source.key());
        } else if last_seen(repo, source).as_ref() == Some(id) {
            record::write(repo, source, None)?;
        }
    }
    Ok(())
}

fn below(repo: &Repo, prefix: &str) -> anyhow::Result<Vec<Kept>> {
    let format =
        "--format=%(refname) %(objectname) %(objecttype) %(committerdate:unix) %(contents:subject)";
    let output = repo.output(&["for-each-ref", format, "--", prefix])?;
    anyhow::ensure!(output.exit.success(), "git for-each-ref: {}", output.stderr_tail(3));
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let mut all: Vec<Kept> = lines.filter_map(|line| read(repo, line)).collect();
    let unkept = kept_here_alone(repo, &all)?;
    for kept in &mut all {
        kept.elsewhere = !unkept.contains(&kept.id);
    }
    all.sort_by(|one, other| (other.time, &one.name).cmp(&(one.time, &other.name)));
    Ok(all)
}

/// A line of git's. What is no commit is not of ours.
fn read(repo: &Repo, line: &[u8]) -> Option<Kept> {
    let mut words = line.splitn(5, |&byte| byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (name, id, kind) = (word()?, ObjectId::new(word()?)?, word()?);
    if kind != "commit" {
        return None;
    }
    let committed = word()?.parse().ok();
    let (key, _) = name.strip_prefix(NAMESPACE)?.split_once('/')?;
    Some(Kept {
        source: record::read(repo, key).map(|(source, _)| source),
        time: logged(repo.common_dir(), name).or(committed),
        subject: GuestText::new(words.next().unwrap_or_default()),
        elsewhere: false,
        name: name.to_owned(),
        id,
    })
}

/// When a ref was last written, by its reflog.
fn logged(common_dir: &Path, name: &str) -> Option<i64> {
    let log = std::fs::read(common_dir.join("logs").join(name)).ok()?;
    let line = log.trim_ascii_end().rsplit(|&byte| byte == b'\n').next()?;
    // OLD NEW NAME <ADDRESS> TIME ZONE, a tab and the message (gitformat-reflog is of no use here).
    let who = line.split(|&byte| byte == b'\t').next()?;
    let after = who.rsplit(|&byte| byte == b'>').next()?;
    std::str::from_utf8(after).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// Which of these commits no branch and no tag of the user's has. No other ref counts: tracking refs,
/// `refs/prefetch` and `refs/pull` follow another side, ours follow a workspace, and a stash or a
/// bisection goes when it was of use. Nor does a branch that a fetch writes, as in a mirror.
fn kept_here_alone(repo: &Repo, kept: &[Kept]) -> anyhow::Result<HashSet<ObjectId>> {
    if kept.is_empty() {
        return Ok(HashSet::new());
    }
    let input: String = kept.iter().map(|kept| format!("{}\n", kept.id)).collect();
    let fetched = fetched_by_remotes(repo)?;
    let mut walk = repo.git().args(["rev-list", "--stdin", "--not"]);
    for own in ["--glob=refs/heads/*", "--glob=refs/tags/*"] {
        // git forgets them after each.
        walk = walk.args(fetched.iter().map(|glob| format!("--exclude={glob}"))).arg(own);
    }
    let walk = walk.stdin_bytes(input).output_cap(256 << 20).output().map_err(program_error)?;
    anyhow::ensure!(walk.exit.success(), "git rev-list: {}", walk.stderr_tail(3));
    let lines = walk.stdout.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(|line| ObjectId::new(std::str::from_utf8(line).ok()?)).collect())
}

/// What the refspecs of remotes write to.
fn fetched_by_remotes(repo: &Repo) -> anyhow::Result<Vec<String>> {
    // It fails where there are none.
    let said = repo.output(&["config", "-z", "--get-regexp", r"^remote\..*\.fetch$"])?;
    let said = String::from_utf8_lossy(&said.stdout);
    let refspecs = said.split('\0').filter_map(|entry| entry.split_once('\n'));
    let written = refspecs.filter_map(|(_, refspec)| refspec.split_once(':'));
    let written = written.map(|(_, name)| name).filter(|name| !name.is_empty());
    Ok(written
        .map(|name| match name.strip_prefix("refs/") {
            Some(_) => name.to_owned(),
            None => format!("refs/heads/{name}"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_reflog_tells_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("logs/x"), text).unwrap();
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        assert_eq!(logged(dir.path(), "x"), None);
        write("0 1 A <a@b> 100 +0000\tagentvm: fetched\n0 1 A B <a@b> 200 -0100\tx > 7\n");
        assert_eq!(logged(dir.path(), "x"), Some(200));
        write("");
        assert_eq!(logged(dir.path(), "x"), None);
    }
}
