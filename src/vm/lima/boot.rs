//! Starting: making and changing what there is, `limactl start` in the background, and our own logins
//! until the guest says that this boot is finished. limactl's own word for that, READY, comes several
//! seconds later.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::create::drop_stale_pid_files;
use super::limactl::{Instance, log_messages};
use super::record::Purpose;
use super::{Found, Lima, accel, name_processes, processes, record};
use crate::clock;
use crate::error::Error;
use crate::guest::{Guest, skew_of, time_limit};
use crate::process::Running;
use crate::ssh::Endpoint;
use crate::ui::Progress;
use crate::vm::{IfAbsent, Provider as _, Resources, State, Status};

/// How long a boot may take. Emulated, on a busy machine and with Debian's own image, it takes
/// minutes.
const BOOT_LIMIT: Duration = Duration::from_secs(15 * 60);
/// One login, with a guest that is busy booting.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);
/// How long there may be neither limactl nor a host agent with a port before it has failed.
const GONE_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);
/// How long a guest that lost its host agent gets to shut down.
const RETIRE_LIMIT: Duration = Duration::from_secs(60);

impl Lima {
    pub(super) fn bring_up(&self, asked: Resources, absent: IfAbsent) -> anyhow::Result<Status> {
        let lock = self.lock("starting")?;
        // limactl is asked as seldom as can be: it takes longer than all the rest for a VM that runs.
        let found = self.find()?;
        if matches!(found, Found::Absent) && absent == IfAbsent::Make {
            drop(lock);
            self.make(asked)?;
            return self.bring_up(asked, IfAbsent::Fail);
        }
        // Never let limactl start what it does not have: it would make a VM of its own choice.
        let mut instance = self.there(found)?;
        if self.set_resources(&instance, asked)? {
            instance = self.there(self.find()?)?;
        }
        let mut state = self.state_of(&instance, self.files.load()?.as_ref());
        if let State::Broken(damage) = &state {
            if damage.for_good {
                return Err(self.broken(damage.clone()));
            }
            instance = self.mend(&instance)?;
            state = self.state_of(&instance, self.files.load()?.as_ref());
        }
        self.adopt(&instance)?;
        self.check_effective(&instance)?;
        match state {
            State::Running => self.await_boot(None, "asking"),
            State::Starting => self.await_boot(None, "starting"),
            State::Stopped => self.launch(&instance),
            State::Absent => Err(self.absent()),
            State::Broken(damage) => Err(self.broken(damage)),
        }?;
        self.files.update(|record| {
            record.ever_booted = true;
            record.stopped_on_purpose = false;
            record.booted_run = record::run_of(&instance.dir);
        })?;
        Ok(instance.status_in(State::Running))
    }

    fn launch(&self, instance: &Instance) -> anyhow::Result<()> {
        self.limactl.check_version()?;
        let held = processes::holding(&instance.dir);
        if !held.is_empty() {
            // Lima has lost sight of it; QEMU would refuse the disk.
            self.retire(&held)?;
        }
        let mut cmd = self.limactl.command().args(["start", "--timeout=30m", self.name.as_str()]);
        if let Some((name, value)) = accel::environment(self.config.accel)? {
            cmd = cmd.env(name, value);
        }
        if let Some(endpoint) = self.live_endpoint() {
            endpoint.forget_master();
        }
        std::fs::remove_file(self.files.dir().join(crate::ssh::MASTER_SOCKET)).ok();
        // The port that stands there is that of the last run, and may be anybody's now.
        std::fs::remove_file(instance.dir.join("ssh.config")).ok();
        let mut child = cmd.current_dir("/").detach(self.files.new_start_log()?)?;
        let outcome = self.await_boot(Some(&mut child), "starting");
        // It goes on watching the boot by itself, whatever came of ours.
        child.let_go();
        outcome
    }

    /// Logs in until the boot marker is there, then sets the guest's clock right.
    fn await_boot(&self, mut launcher: Option<&mut Running>, doing: &str) -> anyhow::Result<()> {
        let progress = Progress::start(&format!("{doing} the {}", self.describe()));
        let limit = time_limit(BOOT_LIMIT);
        let deadline = Instant::now() + limit;
        let mut said = String::from("it has no ssh port yet");
        let mut gone_since: Option<Instant> = None;
        while Instant::now() < deadline {
            // Whatever came of limactl: as long as the host agent lives, the VM may come up.
            if let Some(child) = &mut launcher
                && child.wait_for(Some(Duration::ZERO))?.is_some()
            {
                launcher = None;
            }
            if let Some(endpoint) = self.live_endpoint() {
                gone_since = None;
                match log_in(&endpoint)? {
                    Login::Booted { clock_skew } => {
                        drop(progress);
                        // What is left of it was told.
                        let _ = clock::mend(&Guest::new(endpoint, self.describe()), clock_skew);
                        return Ok(());
                    }
                    Login::Booting => {
                        if said != "booting" {
                            progress.update(&format!("starting the {}: it boots", self.describe()));
                        }
                        said = "booting".into();
                    }
                    Login::Refused(words) => said = words,
                }
            } else if launcher.is_none() {
                let since = *gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() > GONE_LIMIT {
                    return Err(self.start_failed());
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err(self.too_slow(limit, &said))
    }

    fn start_failed(&self) -> anyhow::Error {
        let log = self.files.start_log();
        let dir = self.instance_dir();
        let agent = std::fs::read(dir.join("ha.stderr.log"))
            .map(|log| super::limactl::messages(&log))
            .unwrap_or_default();
        let error =
            Error::failed(format!("the {} did not start: {}", self.describe(), log_messages(&log)))
                .hint(format!("its host agent said: {agent}"));
        // A builder's go with it.
        let error = if self.purpose == Purpose::Build {
            error
        } else {
            error.hint(format!("logs: {}, {}/*.log", log.display(), dir.display()))
        };
        error.hint("git agent-vm doctor looks for what is missing on this machine").into()
    }

    fn too_slow(&self, limit: Duration, said: &str) -> anyhow::Error {
        let dir = self.instance_dir();
        let error = Error::timed_out(format!(
            "the {} did not finish booting in {} s; the last login said: {said}",
            self.describe(),
            limit.as_secs()
        ));
        if self.purpose == Purpose::Build {
            return error
                .hint("a machine without KVM, or a busy one, may be too slow for it")
                .into();
        }
        let error = error.hint(format!("what the guest printed: {}/serial*.log", dir.display()));
        let booted = self.files.load().ok().flatten().is_some_and(|record| record.ever_booted);
        let next = if booted {
            "git agent-vm start waits on; git agent-vm stop, then start, boots it anew"
        } else {
            "git agent-vm start waits on; or make it anew, it holds no work yet: git agent-vm destroy --discard, then git agent-vm start"
        };
        error.hint(next).into()
    }

    /// Brings an instance whose parts do not fit together back to "Stopped".
    fn mend(&self, instance: &Instance) -> anyhow::Result<Box<Instance>> {
        drop_stale_pid_files(Some(instance));
        let own = self.own_processes(Some(instance));
        if !own.is_empty() {
            self.retire(&own)?;
        }
        self.there(self.find()?)
    }

    /// Ends processes of this instance that Lima does not look after any more. The guest may still
    /// be at work: it is asked to shut down first.
    pub(super) fn retire(&self, pids: &[i32]) -> anyhow::Result<()> {
        let progress = Progress::start(&format!(
            "the {} runs without Lima's host agent ({}): shutting it down",
            self.describe(),
            name_processes(pids)
        ));
        if let Some(endpoint) = self.orphan_endpoint() {
            endpoint.close_master();
            endpoint.forget_master();
            // What it says does not matter: whether the process ends does.
            endpoint.probe("sudo -n systemctl poweroff").time_limit(LOGIN_LIMIT).output().ok();
        }
        let mut left = processes::wait_gone(pids, time_limit(RETIRE_LIMIT));
        for signal in [Signal::TERM, Signal::KILL] {
            if !left.is_empty() {
                processes::end(&left, signal);
                left = processes::wait_gone(&left, Duration::from_secs(10));
            }
        }
        drop(progress);
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::failed(format!(
            "{} of the {} has its disk open and does not end",
            name_processes(&left),
            self.describe()
        ))
        .hint(format!(
            "kill -9 {}, then git agent-vm start",
            left.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        ))
        .into())
    }

    /// The way into a guest without a host agent: QEMU itself forwards the port.
    fn orphan_endpoint(&self) -> Option<Endpoint> {
        self.files.is_pinned().then(|| self.endpoint_by_files()).flatten()
    }
}

/// What one login found.
enum Login {
    /// The marker is there. The clock's skew in seconds, positive where the guest is ahead.
    Booted { clock_skew: i64 },
    /// It lets us in, and is not finished.
    Booting,
    /// No login yet; ssh's words, cleaned.
    Refused(String),
}

fn log_in(endpoint: &Endpoint) -> anyhow::Result<Login> {
    use crate::process::{Exit, ProcessError};
    let remote = "cat /run/agentvm/booted 2>/dev/null && exec date +%s";
    let output = match endpoint.probe(remote).time_limit(LOGIN_LIMIT).output_cap(4096).output() {
        Ok(output) => output,
        Err(ProcessError::TimedOut(..)) => return Ok(Login::Refused("nothing".into())),
        Err(error) => return Err(error.into()),
    };
    if let Some(guest_now) = booted(&output.stdout) {
        return Ok(Login::Booted { clock_skew: skew_of(guest_now) });
    }
    Ok(match output.exit {
        Exit::Code(255) => Login::Refused(output.stderr_tail(1)),
        _ => Login::Booting,
    })
}

/// The guest's clock, if `text` is the marker, `1 BOOT_ID`, and the time after it.
fn booted(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    // Start-up files may print before it.
    let mut lines = text.lines().rev();
    let now = lines.next()?.parse().ok()?;
    let (version, boot_id) = lines.next()?.split_once(' ')?;
    (version == "1" && boot_id.len() == 36).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::booted;

    #[test]
    fn the_marker_and_the_time_are_read_strictly() {
        let id = "0d5fe8a1-2e6b-4f5c-9d5c-0123456789ab";
        assert_eq!(booted(format!("1 {id}\n1764100000\n").as_bytes()), Some(1_764_100_000));
        assert_eq!(booted(format!("hello\n1 {id}\n17\n").as_bytes()), Some(17));
        for text in ["", "1764100000\n", "1 short\n17\n", "2 x\n17\n"] {
            assert_eq!(booted(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(booted(format!("1 {id}\n").as_bytes()), None);
    }
}
