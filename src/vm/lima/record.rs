//! What the host remembers of a VM that it made, and the files that ssh needs to reach it.
//!
//! One private directory for each VM, not in Lima's: it must outlive a lost `LIMA_HOME`, so that a
//! VM with work in it is never quietly replaced by a new one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::config::VmName;
use crate::error::Error;
use crate::process::Cmd;
use crate::state::{self, Lock};

/// The name that the VM's host key has in our known-hosts file; it is the only one there.
pub(crate) const HOST_KEY_ALIAS: &str = "agent-vm";
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";
/// A link to the key that Lima made; its name is short and plain wherever the home directory is.
pub(crate) const USER_KEY: &str = "key";
const HOST_KEY: &str = "host_key";

/// What a VM is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// Workspaces.
    #[default]
    Work,
    /// One build of an image.
    Build,
}

/// The record of one VM, `record.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The format, 1.
    version: u32,
    /// When it was made, in seconds since 1970, UTC.
    pub(crate) made: u64,
    /// The `LIMA_HOME` that it was made in.
    pub(crate) lima_home: PathBuf,
    /// Whether making it came to its end. An unfinished one holds nothing and is made again.
    pub(crate) finished: bool,
    /// What it was made for.
    #[serde(default)]
    pub(crate) purpose: Purpose,
    /// Whether it ever booted. One that did not holds nothing either.
    #[serde(default)]
    pub(crate) ever_booted: bool,
    /// Whether the user stopped it.
    #[serde(default)]
    pub(crate) stopped_on_purpose: bool,
    /// The run of the VM that was seen to be up, see [`run_of`].
    #[serde(default)]
    pub(crate) booted_run: Option<String>,
}

impl Record {
    /// Of a VM that is about to be made.
    pub(crate) fn new(lima_home: &Path) -> Self {
        Self {
            version: 1,
            made: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            lima_home: lima_home.to_owned(),
            finished: false,
            purpose: Purpose::Work,
            ever_booted: false,
            stopped_on_purpose: false,
            booted_run: None,
        }
    }

    /// When and where it was made, for messages.
    pub(crate) fn origin(&self) -> String {
        format!("made on {} in {}", date(self.made), self.lima_home.display())
    }
}

/// Which run of an instance this is: its host agent's process id and when that was written down.
/// `None` if no host agent is alive.
pub(crate) fn run_of(instance_dir: &Path) -> Option<String> {
    let path = instance_dir.join("ha.pid");
    let pid: i32 = std::fs::read_to_string(&path).ok()?.trim().parse().ok()?;
    let alive = rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    if !alive {
        return None;
    }
    let written = std::fs::metadata(&path).ok()?.modified().ok()?;
    let written = written.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Some(format!("{pid}:{}", written.as_nanos()))
}

/// The directory of a VM's record.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Of the VM of that name; makes nothing.
    pub(crate) fn new(vm: &VmName) -> anyhow::Result<Self> {
        Ok(Self { dir: state::place()?.join("vm").join(vm.as_str()) })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the output of `limactl start` goes.
    pub(crate) fn start_log(&self) -> PathBuf {
        self.dir.join("start.log")
    }

    /// Taken by whatever changes the VM. Its file lies outside the directory, which deleting the
    /// VM removes.
    pub(crate) fn lock(&self, doing: &str) -> anyhow::Result<Lock> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        state::private_dir(parent)?;
        let mut name = self.dir.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        Lock::take(&parent.join(name), doing)
    }

    /// The record, `None` if there is none.
    pub(crate) fn load(&self) -> anyhow::Result<Option<Record>> {
        let path = self.dir.join("record.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!("{} is damaged: {error}", path.display()))
                .hint("move it away; git agent-vm start then takes the VM over from Lima")
        })?;
        if record.version != 1 {
            return Err(Error::failed(format!(
                "{} was written by a newer git-agent-vm",
                path.display()
            ))
            .hint("use that version, or a newer one")
            .into());
        }
        Ok(Some(record))
    }

    pub(crate) fn save(&self, record: &Record) -> anyhow::Result<()> {
        state::private_dir(&self.dir)?;
        let bytes = serde_json::to_vec_pretty(record)?;
        state::write_private(&self.dir.join("record.json"), &bytes)
    }

    /// Changes the record, if there is one.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Record)) -> anyhow::Result<()> {
        if let Some(mut record) = self.load()? {
            let before = record.clone();
            change(&mut record);
            if record != before {
                self.save(&record)?;
            }
        }
        Ok(())
    }

    /// Removes all that is remembered.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// Makes the VM's ssh host key here, on the host, and pins it: there is no first connection
    /// that has to be trusted. Gives the private key.
    pub(crate) fn make_host_key(&self) -> anyhow::Result<Vec<u8>> {
        let dir = state::private_dir(&self.dir)?;
        for name in [HOST_KEY, "host_key.pub"] {
            std::fs::remove_file(dir.join(name)).ok();
        }
        ssh_keygen(&dir, &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", HOST_KEY])?;
        let key = fs_err::read(dir.join(HOST_KEY))?;
        self.pin()?;
        Ok(key)
    }

    /// The private host key, where there is one.
    pub(crate) fn host_key(&self) -> Option<Vec<u8>> {
        std::fs::read(self.dir.join(HOST_KEY)).ok()
    }

    /// Takes over the host key that an existing VM was made with.
    pub(crate) fn adopt_host_key(&self, key: &[u8]) -> anyhow::Result<()> {
        state::private_dir(&self.dir)?;
        state::write_private(&self.dir.join(HOST_KEY), key)?;
        self.pin()
    }

    fn pin(&self) -> anyhow::Result<()> {
        let public = ssh_keygen(&self.dir, &["-y", "-P", "", "-f", HOST_KEY])?;
        let line = format!("{HOST_KEY_ALIAS} {}\n", String::from_utf8_lossy(&public).trim());
        state::write_private(&self.dir.join(KNOWN_HOSTS), line.as_bytes())
    }

    /// Whether a host key is pinned.
    pub(crate) fn is_pinned(&self) -> bool {
        self.dir.join(KNOWN_HOSTS).is_file()
    }

    /// Names the key that opens the VM.
    pub(crate) fn link_user_key(&self, target: &Path) -> anyhow::Result<()> {
        let link = self.dir.join(USER_KEY);
        if std::fs::read_link(&link).is_ok_and(|found| found == target) {
            return Ok(());
        }
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(target, &link)
            .with_context(|| format!("cannot make {}", link.display()))
    }

    /// An empty log for `limactl start`.
    pub(crate) fn new_start_log(&self) -> anyhow::Result<std::fs::File> {
        let path = self.start_log();
        let file = fs_err::File::create(&path)?.into_parts().0;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        Ok(file)
    }
}

fn ssh_keygen(dir: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Cmd::new("ssh-keygen")
        .current_dir(dir)
        .args(args)
        .time_limit(Duration::from_secs(60))
        .output()
        .map_err(|error| match error {
            crate::process::ProcessError::NotFound(_) => anyhow::Error::from(
                Error::missing_program("the program 'ssh-keygen' was not found").hint(
                    "install OpenSSH's client (on Debian: sudo apt-get install openssh-client)",
                ),
            ),
            other => other.into(),
        })?;
    anyhow::ensure!(output.exit.success(), "ssh-keygen failed: {}", output.stderr_tail(3));
    Ok(output.stdout)
}

/// `2026-07-12 10:20 UTC` for seconds since 1970.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let (mut year, mut left) = (1970, days);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while left >= if leap(year) { 366 } else { 365 } {
        left -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let minutes = seconds / 60 % 1440;
    format!("{year}-{month:02}-{:02} {:02}:{:02} UTC", left + 1, minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_827_640), "2000-02-29 12:34 UTC");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
    }

    #[test]
    fn a_record_is_kept_changed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { dir: dir.path().join("vm") };
        assert_eq!(files.load().unwrap(), None);
        files.update(|record| record.finished = true).unwrap();
        assert_eq!(files.load().unwrap(), None);
        files.save(&Record::new(Path::new("/lima"))).unwrap();
        files.update(|record| record.finished = true).unwrap();
        let record = files.load().unwrap().unwrap();
        assert!(record.finished && !record.ever_booted);
        assert!(record.origin().ends_with("UTC in /lima"), "{}", record.origin());
        files.forget().unwrap();
        files.forget().unwrap();
        assert_eq!(files.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_no_absence() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { dir: dir.path().to_owned() };
        std::fs::write(dir.path().join("record.json"), "{").unwrap();
        assert!(files.load().unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn the_host_key_is_made_pinned_and_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { dir: dir.path().join("one") };
        let key = files.make_host_key().unwrap();
        let pinned = std::fs::read_to_string(files.dir().join(KNOWN_HOSTS)).unwrap();
        assert!(pinned.starts_with("agent-vm ssh-ed25519 "), "{pinned}");
        let other = Files { dir: dir.path().join("two") };
        other.adopt_host_key(&key).unwrap();
        assert_eq!(std::fs::read_to_string(other.dir().join(KNOWN_HOSTS)).unwrap(), pinned);
    }
}
