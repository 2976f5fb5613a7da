//! Lima VMs, through limactl.
//!
//! Two sources are compared all the time: our own record of having made a VM ([`record`]) and what
//! limactl says. limactl alone is never believed when it says that there is none: after a change of
//! `LIMA_HOME` or with a damaged file it says so too, and a second VM would then quietly take the
//! place of one that has work in it.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;

use crate::config::{Config, VmName};
use crate::error::Error;
use crate::ssh::Endpoint;
use crate::ui::{self, Progress};
use crate::vm::{Damage, IfAbsent, Provider, Resources, State, Status};

mod accel;
mod boot;
mod builder;
mod check;
mod create;
mod limactl;
mod look;
mod processes;
mod record;
mod resize;
mod template;

pub(crate) use accel::{NoKvm, qemu, try_kvm};
pub(crate) use limactl::INSTALL;
use limactl::{Instance, Limactl, Listed};
pub(crate) use look::{Look, home, limactl_version};
use record::{Files, HOST_KEY_ALIAS, KNOWN_HOSTS, Purpose, Record, USER_KEY};

/// The user in the guest, see `templates/agent-vm.yaml`.
const USER: &str = "agent";
/// Lima itself waits for 3 minutes for the host agent, and as long for QEMU.
const STOP_LIMIT: Duration = Duration::from_secs(400);

/// A VM of Lima.
#[derive(Debug)]
pub struct Lima {
    name: VmName,
    config: Config,
    limactl: Limactl,
    files: Files,
    purpose: Purpose,
}

/// The VM as record and limactl together show it.
#[derive(Debug)]
enum Found {
    /// Neither knows it, or making it was broken off.
    Absent,
    /// Both know it, or it can be taken over.
    Instance(Box<Instance>),
    /// They contradict each other.
    Damaged(Damage),
}

impl Lima {
    /// The VM that the configuration names.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            name: config.vm.clone(),
            config: config.clone(),
            limactl: Limactl::new()?,
            files: Files::new(&config.vm)?,
            purpose: Purpose::Work,
        })
    }

    fn instance_dir(&self) -> PathBuf {
        self.limactl.instance_dir(self.name.as_str())
    }

    fn lock(&self, doing: &str) -> anyhow::Result<crate::state::Lock> {
        self.files.lock(&format!("git agent-vm to finish {doing} the {}", self.describe()))
    }

    fn find(&self) -> anyhow::Result<Found> {
        let record = self.files.load()?;
        if let Some(record) = &record
            && record.lima_home != self.limactl.home()
        {
            return Ok(Found::Damaged(self.elsewhere(record)));
        }
        let listed = self.limactl.list(self.name.as_str())?;
        if matches!(listed, Listed::Silent | Listed::Unclear(_)) {
            // An old Lima may be all that is wrong.
            self.limactl.check_version()?;
        }
        Ok(match (record, listed) {
            (Some(record), _) if !record.finished => Found::Absent,
            (Some(_), Listed::Found(instance)) => Found::Instance(instance),
            (Some(record), Listed::Missing) => {
                Found::Damaged(self.lost(&record, "limactl list does not know it any more"))
            }
            (Some(record), Listed::Silent) => {
                Found::Damaged(self.lost(&record, "limactl list says nothing about it"))
            }
            (Some(record), Listed::Unclear(why)) => Found::Damaged(self.lost(&record, &why)),
            (None, Listed::Found(instance)) if host_key_of(&instance).is_some() => {
                Found::Instance(instance)
            }
            (None, Listed::Found(_)) => Found::Damaged(self.foreign()),
            (None, listed) if self.instance_dir().exists() => {
                let why = match listed {
                    Listed::Unclear(why) => why,
                    _ => "limactl list does not know it".into(),
                };
                Found::Damaged(Damage {
                    why: format!("{why}, though there is {}", self.instance_dir().display()),
                    hints: vec![format!("limactl list {}", self.name)],
                    for_good: true,
                })
            }
            (None, Listed::Missing | Listed::Silent) => Found::Absent,
            (None, Listed::Unclear(why)) => anyhow::bail!(why),
        })
    }

    /// The instance, or why there is none that could be used.
    fn there(&self, found: Found) -> anyhow::Result<Box<Instance>> {
        match found {
            Found::Instance(instance) => Ok(instance),
            Found::Absent => Err(self.absent()),
            Found::Damaged(damage) => Err(self.broken(damage)),
        }
    }

    fn elsewhere(&self, record: &Record) -> Damage {
        Damage {
            why: format!(
                "it was {}, but LIMA_HOME is {} now",
                record.origin(),
                self.limactl.home().display()
            ),
            hints: vec![
                format!("export LIMA_HOME={} to reach it", record.lima_home.display()),
                self.how_to_have_another(),
            ],
            for_good: true,
        }
    }

    fn lost(&self, record: &Record, what: &str) -> Damage {
        Damage {
            why: format!("it was {}, and {what}", record.origin()),
            hints: vec![
                format!(
                    "if it is gone for good: git agent-vm destroy --discard forgets it, then git agent-vm start makes a new '{}'",
                    self.name
                ),
                self.how_to_have_another(),
            ],
            for_good: true,
        }
    }

    fn foreign(&self) -> Damage {
        Damage {
            why: format!("Lima has a VM '{}' that git-agent-vm did not make", self.name),
            hints: vec![self.how_to_have_another()],
            for_good: true,
        }
    }

    fn how_to_have_another(&self) -> String {
        format!(
            "to have another VM beside it: git config --global agentvm.vm {}-2, then git agent-vm start",
            self.name
        )
    }

    /// What an instance is doing, by Lima's word for it.
    fn state_of(&self, instance: &Instance, record: Option<&Record>) -> State {
        let run = record::run_of(&instance.dir);
        match instance.status.as_str() {
            "Running" if run.is_some() && record.is_some_and(|known| known.booted_run == run) => {
                State::Running
            }
            "Running" => State::Starting,
            "Stopped" => State::Stopped,
            // Its host agent is up, and QEMU is about to be.
            "Broken"
                if run.is_some()
                    && instance.driver_pid == 0
                    && processes::belongs(instance.host_agent_pid, &instance.dir) =>
            {
                State::Starting
            }
            other => {
                let origin = record.map(|record| format!("it was {}, and ", record.origin()));
                let file = instance.dir.join("lima.yaml");
                let for_good = instance.config.is_none();
                let hints = if for_good {
                    vec![
                        format!("its disk is still in {}", instance.dir.display()),
                        format!(
                            "put {} right, or make a new VM: git agent-vm destroy --discard, then git agent-vm start",
                            file.display()
                        ),
                        self.how_to_have_another(),
                    ]
                } else {
                    vec!["git agent-vm start tries to mend it".into()]
                };
                State::Broken(Damage {
                    why: format!(
                        "{}Lima says {}: {}",
                        origin.unwrap_or_default(),
                        if other.is_empty() { "nothing of its state" } else { other },
                        instance.said
                    ),
                    hints,
                    for_good,
                })
            }
        }
    }

    /// The way in, for a VM whose host agent is alive. Costs three small files.
    fn live_endpoint(&self) -> Option<Endpoint> {
        record::run_of(&self.instance_dir())?;
        self.endpoint_by_files()
    }

    /// The way in that the instance's files describe, whether it runs or not.
    fn endpoint_by_files(&self) -> Option<Endpoint> {
        let text = std::fs::read_to_string(self.instance_dir().join("ssh.config")).ok()?;
        let port = text.lines().find_map(|line| line.trim().strip_prefix("Port "))?;
        Some(Endpoint {
            dir: self.files.dir().to_owned(),
            destination: format!("{USER}@127.0.0.1"),
            port: Some(port.trim().parse().ok()?),
            identity: Some(USER_KEY.into()),
            pinned: Some((KNOWN_HOSTS.into(), HOST_KEY_ALIAS.into())),
            config: None,
        })
    }

    /// Refuses a configuration that some override file has opened to the host.
    fn check_effective(&self, instance: &Instance) -> anyhow::Result<()> {
        let config = instance.config.as_ref().ok_or_else(|| {
            Error::failed(format!(
                "the configuration of the {} cannot be read: {}",
                self.describe(),
                instance.said
            ))
        })?;
        check::effective(config, self.limactl.home(), &instance.dir.join("lima.yaml"))?;
        Ok(())
    }

    fn broken(&self, damage: Damage) -> anyhow::Error {
        let mut error = Error::failed(format!("the {} is broken: {damage}", self.describe()));
        for hint in damage.hints {
            error = error.hint(hint);
        }
        error.into()
    }

    fn absent(&self) -> anyhow::Error {
        Error::not_found(format!("there is no {}", self.describe()))
            .hint("git agent-vm start makes it")
            .into()
    }

    /// Ends our own connection before what it leads to is gone: a master that is left hangs.
    fn close_master(&self) {
        if let Some(endpoint) = self.live_endpoint() {
            endpoint.close_master();
            endpoint.forget_master();
        }
    }

    /// All processes that are this instance's beyond doubt.
    fn own_processes(&self, instance: Option<&Instance>) -> Vec<i32> {
        let dir = self.instance_dir();
        let mut pids = processes::holding(&dir);
        if let Some(instance) = instance {
            for pid in [instance.host_agent_pid, instance.driver_pid] {
                if pid > 0 && !pids.contains(&pid) && processes::belongs(pid, &dir) {
                    pids.push(pid);
                }
            }
        }
        pids
    }
}

/// The host key that an instance was made with, which stands in its own file on the host.
fn host_key_of(instance: &Instance) -> Option<Vec<u8>> {
    let text = instance.config.as_ref()?["param"]["hostKey"].as_str()?;
    base64::engine::general_purpose::STANDARD.decode(text).ok().filter(|key| !key.is_empty())
}

/// Process ids for a message: `process 12`, `processes 12, 13`.
fn name_processes(pids: &[i32]) -> String {
    let list = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if pids.len() == 1 { format!("process {list}") } else { format!("processes {list}") }
}

impl Provider for Lima {
    fn describe(&self) -> String {
        format!("VM '{}'", self.name)
    }

    fn status(&self) -> anyhow::Result<Status> {
        let none = |state| Status { state, cpus: None, memory: None, disk: None };
        Ok(match self.find()? {
            Found::Absent => none(State::Absent),
            Found::Damaged(damage) => none(State::Broken(damage)),
            Found::Instance(instance) => {
                let state = self.state_of(&instance, self.files.load()?.as_ref());
                instance.status_in(state)
            }
        })
    }

    fn start(&self, asked: Resources, absent: IfAbsent) -> anyhow::Result<Status> {
        self.bring_up(asked, absent)
    }

    fn stop(&self) -> anyhow::Result<()> {
        let _lock = self.lock("stopping")?;
        let instance = self.there(self.find()?)?;
        // First, so that a fetch in the background does not start it again in between.
        self.files.update(|record| record.stopped_on_purpose = true)?;
        match self.state_of(&instance, self.files.load()?.as_ref()) {
            State::Stopped => {
                let held = processes::holding(&instance.dir);
                if held.is_empty() {
                    ui::note(&format!("the {} is stopped already", self.describe()));
                    return Ok(());
                }
                return self.retire(&held);
            }
            State::Broken(damage) => {
                let own = self.own_processes(Some(&instance));
                return if own.is_empty() { Err(self.broken(damage)) } else { self.retire(&own) };
            }
            _ => {}
        }
        self.close_master();
        let _progress = Progress::start(&format!("stopping the {}", self.describe()));
        let own = self.own_processes(Some(&instance));
        self.limactl.must(
            &["stop", self.name.as_str()],
            STOP_LIMIT,
            &format!("stop the {}", self.describe()),
        )?;
        let left = processes::wait_gone(&own, Duration::from_secs(10));
        if !left.is_empty() {
            return Err(Error::failed(format!(
                "the {} is stopped by Lima's word, but {} runs on",
                self.describe(),
                name_processes(&left)
            ))
            .hint("git agent-vm stop, once more, ends it")
            .into());
        }
        Ok(())
    }

    fn delete(&self) -> anyhow::Result<()> {
        let _lock = self.lock("deleting")?;
        self.remove()
    }

    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>> {
        // Without a record there is no pinned key: starting it takes it over.
        let known = self
            .files
            .load()?
            .is_some_and(|record| record.finished && record.lima_home == self.limactl.home());
        Ok(if known && self.files.is_pinned() { self.live_endpoint() } else { None })
    }

    fn stopped_on_purpose(&self) -> bool {
        self.files.load().ok().flatten().is_some_and(|record| record.stopped_on_purpose)
    }
}
