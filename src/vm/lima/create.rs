//! Making and deleting: the two ends of a VM's life, each of which may be broken off at any point
//! and is then carried on by the next command.

use std::time::Duration;

use rustix::process::Signal;

use super::limactl::{Instance, Listed};
use super::record::{Purpose, Record};
use super::{Found, Lima, host_key_of, name_processes, processes, template};
use crate::config::MIN_MEMORY;
use crate::error::Error;
use crate::image::input::Input;
use crate::image::store::Store;
use crate::image::{self, Image};
use crate::ui::{self, Progress};
use crate::vm::{Provider as _, Resources};

/// Copying the image takes seconds; the template's own is downloaded first.
const CREATE_LIMIT: Duration = Duration::from_secs(60 * 60);
const DELETE_LIMIT: Duration = Duration::from_secs(300);

const DEFAULT_CPUS: u32 = 4;
const DEFAULT_MEMORY: u64 = 8 << 30;
const DEFAULT_DISK: u64 = 100 << 30;

impl Lima {
    /// Makes a VM that does not exist yet. It does not run then.
    pub(crate) fn make(&self, asked: Resources) -> anyhow::Result<()> {
        // Everything that may be wrong with what was asked for, before anything is made.
        self.limactl.check_version()?;
        let machine = Machine::ours();
        let (cpus, memory, disk) = self.choose(asked, machine)?;
        let image = self.image()?;
        super::accel::require_qemu()?;

        let _lock = self.lock("making")?;
        match self.find()? {
            Found::Instance(_) if self.purpose == Purpose::Build => return Err(self.no_builder()),
            // Another command was first: it is there now.
            Found::Instance(_) => return Ok(()),
            Found::Damaged(damage) => return Err(self.broken(damage)),
            Found::Absent => {}
        }
        // Written first: whatever breaks this off, the next command finds that it was begun.
        let mut record = Record::new(self.limactl.home());
        record.purpose = self.purpose;
        self.files.forget()?;
        self.files.save(&record)?;
        self.clear_leftovers()?;
        let outcome = self.make_instance(cpus, memory, disk, image.as_ref());
        if let Err(error) = outcome {
            // Nothing may stay behind that would stand in the way of the next try.
            self.clear_leftovers()?;
            self.files.forget()?;
            return Err(error);
        }
        record.finished = true;
        self.files.save(&record)
    }

    /// The image of the settings, or the one that was built here for them; `None` for Debian's own.
    fn image(&self) -> anyhow::Result<Option<Image>> {
        if let Some(value) = &self.config.image {
            return Ok(Some(Image::open(value)?));
        }
        if self.purpose == Purpose::Build {
            return Ok(None);
        }
        let name = Input::load(&self.config)?.name();
        if let Some(stored) = Store::here()?.get(&name) {
            return Ok(Some(stored.open()?));
        }
        ui::hint(
            "git agent-vm image build makes an image for these settings: a new VM from it has all packages, and needs neither their downloads nor minutes to install them",
        );
        Ok(None)
    }

    fn make_instance(
        &self,
        cpus: u32,
        memory: u64,
        disk: u64,
        image: Option<&Image>,
    ) -> anyhow::Result<()> {
        let what = match image {
            None => "downloading Debian's image",
            Some(Image::Url { .. }) => "downloading the image",
            Some(_) => "copying the image",
        };
        let _progress = Progress::start(&format!("making the {} ({what})", self.describe()));
        let host_key = self.files.make_host_key()?;
        let yaml = template::render(
            crate::embedded::TEMPLATE,
            &template::Values {
                cpus,
                memory,
                disk,
                image,
                host_key: &host_key,
                arch: std::env::consts::ARCH,
                os: std::env::consts::OS,
            },
        )?;
        let cmd = self
            .limactl
            .command()
            .args(["create", &format!("--name={}", self.name), "-"])
            .stdin_bytes(yaml)
            // Lima leaves a rejected configuration in the directory it runs in.
            .current_dir(self.files.dir());
        let output = self.limactl.finish(cmd, CREATE_LIMIT)?;
        if !output.exit.success() {
            let mut error = Error::failed(format!(
                "cannot make the {}: {}",
                self.describe(),
                super::limactl::messages(&output.stderr)
            ));
            // Elsewhere it would need such an image itself.
            if image.is_none() && image::build::is_possible() {
                error = error
                    .hint("without a way to Debian's images, build one: git agent-vm image build");
            }
            for file in super::check::override_files(self.limactl.home()) {
                error = error.hint(format!("{} changes every VM of Lima", file.display()));
            }
            return Err(error.into());
        }
        match self.limactl.list(self.name.as_str())? {
            Listed::Found(instance) => self.check_effective(&instance)?,
            Listed::Missing | Listed::Silent | Listed::Unclear(_) => {
                anyhow::bail!("limactl made the {}, and does not list it", self.describe())
            }
        }
        self.files.link_user_key(&self.limactl.user_key())
    }

    /// Takes away what an earlier, broken-off attempt left. It never booted, so it holds nothing.
    pub(super) fn clear_leftovers(&self) -> anyhow::Result<()> {
        let dir = self.instance_dir();
        if !dir.exists() {
            return Ok(());
        }
        let held = processes::holding(&dir);
        processes::end(&held, Signal::KILL);
        self.limactl.must(
            &["delete", "--force", self.name.as_str()],
            DELETE_LIMIT,
            &format!("clear what was left of the {}", self.describe()),
        )?;
        if dir.exists() {
            fs_err::remove_dir_all(&dir)?;
        }
        Ok(())
    }

    fn choose(&self, asked: Resources, machine: Machine) -> Result<(u32, u64, u64), Error> {
        let memory = asked.memory.or(self.config.memory);
        if let (Some(wanted), Some(there)) = (memory, machine.memory)
            && wanted > there
        {
            return Err(Error::usage(format!(
                "{} of memory for the VM is more than this machine has ({})",
                ui::size(wanted),
                ui::size(there)
            )));
        }
        Ok((
            asked.cpus.or(self.config.cpus).unwrap_or(machine.cpus.min(DEFAULT_CPUS)),
            memory.unwrap_or_else(|| default_memory(machine.memory)),
            asked.disk.or(self.config.disk).unwrap_or(DEFAULT_DISK),
        ))
    }

    /// Takes over a VM of ours whose record was lost: its own file still has the host key.
    pub(super) fn adopt(&self, instance: &Instance) -> anyhow::Result<()> {
        if self.files.load()?.is_some() && self.files.is_pinned() {
            return self.files.link_user_key(&self.limactl.user_key());
        }
        let key = host_key_of(instance).ok_or_else(|| self.broken(self.foreign()))?;
        self.files.adopt_host_key(&key)?;
        self.files.link_user_key(&self.limactl.user_key())?;
        if self.files.load()?.is_none() {
            let mut record = Record::new(self.limactl.home());
            record.finished = true;
            record.ever_booted = true;
            self.files.save(&record)?;
            ui::note(&format!("took over the {} from Lima: its record was lost", self.describe()));
        }
        Ok(())
    }

    /// Deletes it. The record goes last, and only when processes and files are gone.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let record = self.files.load()?;
        if let Some(record) = &record
            && record.lima_home != self.limactl.home()
            && record.lima_home.join(self.name.as_str()).exists()
        {
            return Err(self.broken(self.elsewhere(record)));
        }
        let listed = self.limactl.list(self.name.as_str())?;
        let instance = match listed {
            Listed::Found(instance) => Some(instance),
            Listed::Missing | Listed::Silent | Listed::Unclear(_) => None,
        };
        let dir = self.instance_dir();
        let made_here = record.as_ref().is_some_and(|known| known.lima_home == self.limactl.home());
        if !made_here {
            match &instance {
                None if !dir.exists() && record.is_none() => return Err(self.absent()),
                None if !dir.exists() => return self.files.forget(),
                Some(instance) if host_key_of(instance).is_some() => {}
                _ if record.is_none() => return Err(self.broken(self.foreign())),
                _ => {
                    ui::note(&format!("{} was not made by git-agent-vm and stays", dir.display()));
                    return self.files.forget();
                }
            }
        }
        if instance.as_ref().is_some_and(|instance| instance.protected) {
            return Err(Error::failed(format!("the {} is protected in Lima", self.describe()))
                .hint(format!("limactl unprotect {}", self.name))
                .into());
        }
        self.close_master();
        let own = self.own_processes(instance.as_deref());
        // Lima would end whatever process a stale PID file names.
        drop_stale_pid_files(instance.as_deref());
        processes::end(&own, Signal::KILL);
        let left = processes::wait_gone(&own, Duration::from_secs(20));
        if !left.is_empty() {
            return Err(Error::failed(format!(
                "cannot delete the {}: {} does not end",
                self.describe(),
                name_processes(&left)
            ))
            .hint("end it, then git agent-vm destroy again")
            .into());
        }
        if dir.exists() {
            self.limactl.must(
                &["delete", "--force", self.name.as_str()],
                DELETE_LIMIT,
                &format!("delete the {}", self.describe()),
            )?;
        }
        if dir.exists() {
            return Err(Error::failed(format!(
                "limactl deleted the {}, but {} is still there",
                self.describe(),
                dir.display()
            ))
            .into());
        }
        self.files.forget()
    }
}

/// Removes PID files that name a process which is not this instance's.
pub(super) fn drop_stale_pid_files(instance: Option<&Instance>) {
    let Some(instance) = instance else { return };
    let files: [(i32, &[&str]); 2] =
        [(instance.host_agent_pid, &["ha.pid"]), (instance.driver_pid, &["qemu.pid", "vz.pid"])];
    for (pid, names) in files {
        if pid > 0 && !processes::belongs(pid, &instance.dir) {
            for name in names {
                std::fs::remove_file(instance.dir.join(name)).ok();
            }
        }
    }
}

fn default_memory(there: Option<u64>) -> u64 {
    // Half of a small machine, in whole MiB, but never less than a guest works with.
    there
        .map_or(DEFAULT_MEMORY, |bytes| DEFAULT_MEMORY.min((bytes / 2) >> 20 << 20))
        .max(MIN_MEMORY)
}

/// What this machine has.
#[derive(Debug, Clone, Copy)]
struct Machine {
    cpus: u32,
    /// Bytes; `None` where it could not be learned.
    memory: Option<u64>,
}

impl Machine {
    fn ours() -> Self {
        let cpus = std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(DEFAULT_CPUS));
        Self { cpus, memory: memory_of_machine() }
    }
}

fn memory_of_machine() -> Option<u64> {
    if cfg!(target_os = "macos") {
        let output = crate::process::Cmd::new("sysctl")
            .args(["-n", "hw.memsize"])
            .time_limit(Duration::from_secs(10))
            .output()
            .ok()?;
        return String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_half_of_a_small_machine_and_8_gib_of_a_large_one() {
        assert_eq!(default_memory(Some(64 << 30)), 8 << 30);
        assert_eq!(default_memory(Some(6 << 30)), 3 << 30);
        assert_eq!(default_memory(Some(1 << 30)), 1 << 30);
        assert_eq!(default_memory(None), 8 << 30);
    }

    #[test]
    fn this_machine_is_measured() {
        let machine = Machine::ours();
        assert!(machine.cpus >= 1);
        assert!(machine.memory.is_some_and(|bytes| bytes > 64 << 20));
    }
}
