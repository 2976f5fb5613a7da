//! The configuration: git's own, section `agentvm`, read once.
//!
//! It is read with the git command, since only git itself sees `git -c`, `GIT_CONFIG_COUNT` and
//! conditional includes. A wrong value names its key and the file it stands in.

use std::collections::HashMap;
use std::path::PathBuf;

mod id;
mod keep_trash;
mod network;
mod setup;
mod sizes;
mod trusted;

pub use keep_trash::KeepTrash;
pub(crate) use network::shown;
pub use network::{Network, Proxy};
pub use setup::Extra;
pub use sizes::{MIN_MEMORY, parse_cpus, parse_disk, parse_memory, parse_size};
pub use trusted::Trusted;

use crate::error::Error;
use crate::git::Repo;
use crate::sanitize;
use crate::ui;

mod problems;

pub use problems::{Problem, Setting};

/// Keys of later versions: known, so not an error, but whoever sets one is told that it has no
/// effect here. A restriction that is silently not there would be worse than none.
const RESERVED: &[&str] = &["template", "limahome", "egress"];

/// What else is read in the same call of git: whose identity a workspace gets, enrolments, and whose
/// repositories git trusts.
const PATTERN: &str =
    r"^(agentvm\..*|user\.(name|email)|remote\.agentvm::.*|safe\.directory|core\.ignorecase)$";

/// Where the VM comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// A VM of Lima on this machine.
    Lima,
    /// Any Linux host that ssh reaches.
    Ssh,
}

/// How QEMU runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// KVM where a probe finds it working, else emulation with a warning.
    Auto,
    /// KVM, or fail.
    Kvm,
    /// Emulation.
    Tcg,
}

/// Whether the workspaces are mounted on this machine by `start` and `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounting {
    /// They are.
    Yes,
    /// They are, and can't be written to.
    ReadOnly,
    /// Only by `git agent-vm mount`.
    No,
}

/// The name of a VM: letters, digits, `-`, `_` and `.`, at most 40 bytes, beginning with a letter
/// or digit. Lima makes a socket path of it, which must stay short.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VmName(String);

/// The VM that images are built in, which is nobody's own.
const BUILDER: &str = "agentvm-image";

impl VmName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, Error> {
        // Whatever the file system makes of its letters.
        if name.eq_ignore_ascii_case(BUILDER) {
            return Err(Error::usage(format!(
                "'{name}' is the VM in which git agent-vm image build works: use another name"
            )));
        }
        let first_is_good = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let all_good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if first_is_good && all_good && name.len() <= 40 {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::usage(format!(
            "'{}' is not a VM name: use at most 40 letters, digits, '-', '_' and '.', beginning with a letter or digit",
            sanitize::text(name)
        )))
    }

    /// The name of the VM that images are built in. It can be given to no other one.
    #[must_use]
    pub(crate) fn of_builder() -> Self {
        Self(BUILDER.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for VmName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// All settings, with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// `agentvm.vm`: the VM's name (agent-vm).
    pub vm: VmName,
    /// `agentvm.provider`: lima or ssh.
    pub provider: ProviderKind,
    /// `agentvm.sshHost`: the destination of provider ssh, `[USER@]HOST` or a name in `sshConfig`.
    pub ssh_host: Option<String>,
    /// `agentvm.sshConfig`: the configuration file that ssh reads instead of the user's.
    pub ssh_config: Option<PathBuf>,
    /// `agentvm.cpus`: virtual processors, 1 to 256.
    pub cpus: Option<u32>,
    /// `agentvm.memory`: bytes, at least 1 GiB.
    pub memory: Option<u64>,
    /// `agentvm.disk`: bytes, at least 4 GiB.
    pub disk: Option<u64>,
    /// `agentvm.image`: a disk image, an image directory, or an https URL with a digest.
    pub image: Option<String>,
    /// `agentvm.accel`.
    pub accel: Accel,
    /// `agentvm.common`: a directory whose files replace those of `common/`.
    pub common: Option<PathBuf>,
    /// `agentvm.extras`: what a VM has besides the packages of `common/`, in order.
    pub extras: Vec<Extra>,
    /// `agentvm.stageLimit`: the most time that one stage of setting a VM up may take.
    pub stage_limit: std::time::Duration,
    /// `agentvm.credentials`: whether Google's credentials of this user go into the VM.
    pub credentials: bool,
    /// What the VM has to know of the network that this machine is in.
    pub network: Network,
    /// `agentvm.autoStart`: whether a stopped VM is started by whatever needs it.
    pub auto_start: Option<bool>,
    /// `agentvm.mount`.
    pub mount: Mounting,
    /// `safe.directory`: in which directories git trusts repositories of any owner.
    pub trusted: Vec<Trusted>,
    /// `agentvm.keepTrash`: how long the VM's trash keeps what is in it.
    pub keep_trash: KeepTrash,
    /// `agentvm.fetchLimit`: the most bytes that one fetch may bring (8 GiB).
    pub fetch_limit: u64,
    /// `core.ignoreCase`: whether names that differ in case are one in the work tree here.
    pub ignore_case: bool,
    /// `agentvm.id` as it stands in this repository, unchecked.
    pub id: Option<String>,
    /// `user.name` and `user.email` as effective here.
    pub user: (Option<String>, Option<String>),
    /// The enrolment's refspec (`remote.agentvm::B.push`) by branch.
    pub enrolled: HashMap<String, String>,
}

/// What to do with a key that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeys {
    /// `git agent-vm` refuses: it may be a typing error.
    Refuse,
    /// The helper goes on: a newer key must never break a fetch.
    Ignore,
}

/// The default of `agentvm.fetchLimit`, in bytes.
const FETCH_LIMIT: u64 = 8 << 30;

impl Config {
    /// Reads the configuration that is in effect in `repo`, or outside any repository.
    pub fn load(repo: Option<&Repo>, unknown: UnknownKeys) -> anyhow::Result<Self> {
        // Every command begins with this; the two questions to git are asked at the same time.
        let version = std::thread::spawn(crate::git::version::check);
        let output = crate::git::config_command(repo)
            .args(["config", "-z", "--show-scope", "--show-origin", "--get-regexp", PATTERN])
            .output()
            .map_err(crate::git::program_error)?;
        version.join().map_err(|_| anyhow::anyhow!("the look at git's version failed"))??;
        // 1 means that no key matched.
        if !output.exit.success() && output.exit != crate::process::Exit::Code(1) {
            anyhow::bail!("cannot read git's configuration: {}", output.stderr_tail(3));
        }
        Ok(Self::parse(&output.stdout, unknown, repo)?)
    }

    /// The refspec that makes `git push agentvm::B` push B.
    #[must_use]
    pub fn enrolment(&self, branch: &crate::branch::BranchName) -> Option<&str> {
        self.enrolled.get(branch.as_str()).map(String::as_str)
    }

    /// What holds where nothing is set.
    pub(crate) fn defaults() -> Self {
        Self {
            vm: VmName("agent-vm".into()),
            provider: ProviderKind::Lima,
            ssh_host: None,
            ssh_config: None,
            cpus: None,
            memory: None,
            disk: None,
            image: None,
            accel: Accel::Auto,
            common: None,
            extras: Extra::DEFAULT.to_vec(),
            stage_limit: setup::STAGE_LIMIT,
            credentials: true,
            network: Network::default(),
            auto_start: None,
            mount: Mounting::Yes,
            trusted: Vec::new(),
            keep_trash: KeepTrash::default(),
            fetch_limit: FETCH_LIMIT,
            ignore_case: false,
            id: None,
            user: (None, None),
            enrolled: HashMap::new(),
        }
    }

    fn parse(bytes: &[u8], unknown: UnknownKeys, repo: Option<&Repo>) -> Result<Self, Error> {
        let mut config = Self::defaults();
        let mut fields = bytes.split(|&byte| byte == 0);
        while let (Some(scope), Some(origin), Some(entry)) =
            (fields.next(), fields.next(), fields.next())
        {
            let origin = String::from_utf8_lossy(origin);
            let entry = String::from_utf8_lossy(entry);
            // A key without "=" has no value; git reads it as true.
            let (key, value) = entry.split_once('\n').unwrap_or((&entry, "true"));
            if key == "agentvm.id" && !id::is_in_its_place(repo, scope, &origin) {
                return Err(id::misplaced(scope, &origin));
            }
            if let Some(key) = key.strip_prefix("agentvm.") {
                config.set(key, value, &origin, unknown)?;
            } else if key == "user.name" {
                config.user.0 = Some(value.to_owned());
            } else if key == "user.email" {
                config.user.1 = Some(value.to_owned());
            } else if key == "core.ignorecase" {
                config.ignore_case = parse_bool(value).unwrap_or(false);
            } else if key == "safe.directory" {
                trusted::add(&mut config.trusted, scope, value, origin_name(&origin));
            } else if let Some(branch) = enrolled_branch(key) {
                config.enrolled.insert(branch.to_owned(), value.to_owned());
            }
        }
        Ok(config)
    }

    fn set(
        &mut self,
        key: &str,
        value: &str,
        origin: &str,
        unknown: UnknownKeys,
    ) -> Result<(), Error> {
        match self.apply(key, value) {
            Ok(true) => Ok(()),
            Ok(false) if unknown == UnknownKeys::Ignore => Ok(()),
            Ok(false) if RESERVED.contains(&key) => {
                let place = origin_name(origin);
                ui::warning(&format!("agentvm.{key} in {place} has no effect in this version"));
                Ok(())
            }
            Ok(false) => Err(Error::usage(format!(
                "unknown key agentvm.{} in {}",
                sanitize::text(key),
                origin_name(origin)
            ))
            .hint("see CONFIGURATION in git agent-vm --help")),
            Err(why) => Err(Error::usage(format!(
                "agentvm.{key} in {} is {}: {why}",
                origin_name(origin),
                shown(key, value)
            ))),
        }
    }

    /// Takes a value; `false` if the key is not ours, an error with the rule if the value is wrong.
    fn apply(&mut self, key: &str, value: &str) -> Result<bool, String> {
        match key {
            "vm" => self.vm = VmName::new(value).map_err(|error| error.to_string())?,
            "provider" => {
                self.provider = match value {
                    "lima" => ProviderKind::Lima,
                    "ssh" => ProviderKind::Ssh,
                    _ => return Err("it is 'lima' or 'ssh'".into()),
                }
            }
            "sshhost" if value.is_empty() || value.starts_with('-') => {
                return Err("it is [USER@]HOST".into());
            }
            "sshhost" => self.ssh_host = Some(value.to_owned()),
            "sshconfig" => self.ssh_config = Some(expand_home(value)),
            "cpus" => self.cpus = Some(parse_cpus(value)?),
            "memory" => self.memory = Some(parse_memory(value)?),
            "disk" => self.disk = Some(parse_disk(value)?),
            "image" => self.image = Some(value.to_owned()),
            "accel" => {
                self.accel = match value {
                    "auto" => Accel::Auto,
                    "kvm" => Accel::Kvm,
                    "tcg" => Accel::Tcg,
                    _ => return Err("it is 'auto', 'kvm' or 'tcg'".into()),
                }
            }
            "common" => self.common = Some(expand_home(value)),
            "extras" => self.extras = setup::parse_extras(value)?,
            "stagelimit" => self.stage_limit = setup::parse_limit(value)?,
            "credentials" => {
                self.credentials = match value {
                    "google" => true,
                    "none" => false,
                    _ => return Err("it is 'google' or 'none'".into()),
                }
            }
            "autostart" => self.auto_start = Some(parse_bool(value)?),
            "fetchlimit" => self.fetch_limit = parse_size(value)?,
            "id" => self.id = Some(value.to_owned()),
            "mount" if value == "ro" => self.mount = Mounting::ReadOnly,
            "mount" => {
                let yes = parse_bool(value).map_err(|_| "it is 'true', 'false' or 'ro'")?;
                self.mount = if yes { Mounting::Yes } else { Mounting::No };
            }
            "keeptrash" => self.keep_trash = KeepTrash::parse(value)?,
            _ => return self.network.apply(key, value),
        }
        Ok(true)
    }
}

fn enrolled_branch(key: &str) -> Option<&str> {
    key.strip_prefix("remote.agentvm::")?.strip_suffix(".push")
}

fn origin_name(origin: &str) -> String {
    let name = origin.strip_prefix("file:").unwrap_or(origin);
    sanitize::text(name.trim_end_matches(':')).into_owned()
}

fn expand_home(value: &str) -> PathBuf {
    match (value.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(value),
    }
}

fn parse_bool(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("it is 'true' or 'false'".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<Config, Error> {
        let mut bytes = Vec::new();
        for (key, value) in entries {
            bytes.extend_from_slice(
                format!("global\0file:/home/u/.gitconfig\0{key}\n{value}\0").as_bytes(),
            );
        }
        Config::parse(&bytes, UnknownKeys::Refuse, None)
    }

    #[test]
    fn a_bad_value_names_key_file_and_rule() {
        let error = parse(&[("agentvm.memory", "512MiB")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "agentvm.memory in /home/u/.gitconfig is '512MiB': the least is 1 GiB"
        );
        assert_eq!(error.kind(), crate::error::Kind::Usage);
    }

    #[test]
    fn an_unknown_key_is_refused_by_the_command_and_ignored_by_the_helper() {
        let bytes = b"command\0command line:\0agentvm.memroy\n8\0";
        let error = Config::parse(bytes, UnknownKeys::Refuse, None).unwrap_err();
        assert_eq!(error.to_string(), "unknown key agentvm.memroy in command line");
        assert!(Config::parse(bytes, UnknownKeys::Ignore, None).is_ok());
    }

    #[test]
    fn later_values_win_and_enrolments_are_read() {
        let config = parse(&[
            ("agentvm.vm", "one"),
            ("agentvm.vm", "two"),
            ("remote.agentvm::fix/a.b.push", "refs/heads/fix/a.b:refs/heads/fix/a.b"),
            ("remote.agentvm::fix/a.b.skipfetchall", "true"),
        ])
        .unwrap();
        assert_eq!(config.vm.as_str(), "two");
        assert_eq!(config.enrolled.len(), 1);
        assert!(config.enrolled.contains_key("fix/a.b"));
    }
}
