//! The VM: Lima itself, what the VM is doing, processes that should not be, and the guest's clock
//! and left-over locks where it runs.

use std::time::Duration;

use super::{Check, Situation, network, repository, shell_word};
use crate::clock;
use crate::config::{Config, ProviderKind};
use crate::error::{self, Kind};
use crate::git::locks::ABANDONED;
use crate::guest::{Call, Guest, Session};
use crate::packages::Package;
use crate::sanitize::GuestText;
use crate::ssh::Endpoint;
use crate::vm::lima::{self, Lima, Look};
use crate::vm::ssh::SshHost;
use crate::vm::{Provider, State};

/// The third guest program.
pub(super) const PROGRAM: &str = include_str!("../guest/doctor.sh");
/// The guest may say nothing for this long.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn limactl(situation: &Situation) -> Vec<Check> {
    const ID: &str = "limactl";
    if situation.config.provider != ProviderKind::Lima {
        return Vec::new();
    }
    vec![match lima::limactl_version() {
        Ok(said) => Check::ok(ID, said.replace("limactl version", "Lima").trim()),
        Err(error) if error::kind_of(&error) == Kind::MissingProgram => {
            Check::missing(ID, format!("{error:#}"))
                .why("Lima makes and runs the VM")
                .fix(situation.system.install(Package::Lima))
        }
        Err(error) => {
            let hints = error.downcast_ref::<error::Error>().map(error::Error::hints);
            Check::error(ID, format!("{error:#}"))
                .why("Lima makes and runs the VM")
                .maybe_fix(hints.and_then(|hints| hints.first().cloned()))
        }
    }]
}

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    match situation.config.provider {
        ProviderKind::Lima => lima_vm(situation),
        ProviderKind::Ssh => ssh_host(situation),
    }
}

fn lima_vm(situation: &Situation) -> Vec<Check> {
    let config = &situation.config;
    let lima = match Lima::new(config) {
        Ok(lima) => lima,
        Err(error) => return vec![Check::error("vm", format!("{error:#}"))],
    };
    let look = lima.look();
    let describe = lima.describe();
    let mut checks = judge(&describe, &look);
    if matches!(look.state, Ok(State::Running)) {
        match lima.endpoint() {
            Ok(Some(endpoint)) => checks.extend(guest(config, endpoint, &describe)),
            Ok(None) => {}
            Err(error) => checks.push(Check::error("vm", format!("{error:#}"))),
        }
    }
    checks
}

fn judge(describe: &str, look: &Look) -> Vec<Check> {
    const ID: &str = "vm";
    let mut checks = vec![match &look.state {
        Ok(State::Absent) if look.unfinished => {
            Check::info(ID, format!("making the {describe} was broken off"))
                .why("it holds nothing yet")
                .fix("git agent-vm start")
        }
        Ok(State::Absent) => Check::ok(ID, format!("there is no {describe} yet")),
        Ok(State::Broken(damage)) => {
            Check::error(ID, format!("the {describe} is broken: {damage}"))
                .why("work of an agent may be in it: nothing is made in its place by itself")
                .maybe_fix(damage.hints.first().cloned())
        }
        Ok(state) if look.has_disk || *state != State::Stopped => {
            Check::ok(ID, format!("the {describe} is {}", state.word()))
        }
        Ok(_) => Check::error(ID, format!("the {describe} has no disk in {}", look.dir.display()))
            .why("it was deleted or moved, or the download of its image was broken off")
            .fix("git agent-vm start"),
        // That limactl is missing or refuses is said of limactl.
        Err(error) if error::kind_of(error) == Kind::MissingProgram => {
            Check::info(ID, format!("the {describe} cannot be looked at without limactl"))
        }
        Err(error) => Check::error(ID, format!("cannot learn of the {describe}: {error:#}"))
            .why("every command that needs the VM meets the same")
            .maybe_fix(
                error.downcast_ref::<error::Error>().and_then(|e| e.hints().first().cloned()),
            ),
    }];
    let idle = matches!(look.state, Ok(State::Stopped | State::Absent | State::Broken(_)));
    if idle && !look.holding.is_empty() {
        let pids: Vec<String> = look.holding.iter().map(ToString::to_string).collect();
        let pids = pids.join(", ");
        checks.push(
            Check::error(
                "orphaned-vm",
                format!("Lima says that the {describe} does not run, and its disk is in use (process {pids})"),
            )
            .why("a QEMU that Lima lost sight of keeps the VM from starting; two on one disk would destroy it")
            .fix("git agent-vm stop"),
        );
    }
    if let Some(refused) = &look.refused {
        checks.push(
            Check::error("lima-overrides", refused.to_string())
                .why("the VM would reach into this machine, so it is not started")
                .maybe_fix(refused.hints().first().cloned()),
        );
    }
    let home = look.home.as_os_str().len();
    // The host agent's socket lies below, and the kernel takes no path longer than 104 bytes.
    if home > 70 {
        checks.push(
            Check::error("lima-home", format!("LIMA_HOME is a path of {home} bytes"))
                .why("sockets below it would have names that are too long")
                .fix("export LIMA_HOME=\"$HOME/.lima\""),
        );
    }
    checks
}

fn ssh_host(situation: &Situation) -> Vec<Check> {
    const ID: &str = "vm";
    let config = &situation.config;
    let host = match SshHost::look(config) {
        Ok(host) => host,
        Err(error) => {
            let hints = error.downcast_ref::<error::Error>().map(error::Error::hints);
            return vec![
                Check::error(ID, format!("{error:#}"))
                    .maybe_fix(hints.and_then(|hints| hints.first().cloned())),
            ];
        }
    };
    let mut endpoint = host.way().clone();
    // ssh runs in the host's own directory; where there is none yet, none is made.
    let passing = tempfile::tempdir();
    if let (false, Ok(dir)) = (endpoint.dir.is_dir(), &passing) {
        dir.path().clone_into(&mut endpoint.dir);
    }
    guest(config, endpoint, &host.describe())
}

/// What only the guest itself knows.
fn guest(config: &Config, endpoint: Endpoint, describe: &str) -> Vec<Check> {
    const ID: &str = "reachable";
    let guest = Guest::new(endpoint, describe.to_owned());
    let mut call = Call::of(PROGRAM, "locks").arg(ABANDONED.as_secs().to_string());
    for (name, _) in repository::LOCKS {
        call = call.arg(name);
    }
    let mut session = match guest.open_apart(&call) {
        Ok(session) => session,
        Err(error) => {
            let error = guest.explain(error);
            let check =
                Check::error(ID, format!("{error:#}")).why("push, fetch and connect need it");
            return vec![match config.provider {
                ProviderKind::Lima => check.fix("git agent-vm stop && git agent-vm start"),
                ProviderKind::Ssh => check.fix(try_ssh(config)),
            }];
        }
    };
    let mut checks = vec![
        Check::ok(ID, format!("the {describe} answers")),
        judge_clock(config.provider, describe, session.clock_skew()),
    ];
    session.set_patience(crate::guest::time_limit(PATIENCE));
    checks.extend(locks(config, &mut session));
    if config.provider == ProviderKind::Lima {
        checks.extend(network::in_guest(config, &guest));
    }
    checks
}

fn try_ssh(config: &Config) -> String {
    let file =
        config.ssh_config.as_ref().map_or_else(|| "none".into(), |file| super::shell_path(file));
    let host = config.ssh_host.as_deref().unwrap_or("HOST");
    format!("ssh -F {file} {} true   # shows what is wrong", shell_word(host))
}

fn judge_clock(provider: ProviderKind, describe: &str, skew: i64) -> Check {
    const ID: &str = "clock";
    if skew.abs() <= clock::NOTICED {
        return Check::ok(ID, format!("the clock of the {describe} is right"));
    }
    let words = clock::in_words(skew);
    let seconds = if words.contains(" s ") { String::new() } else { format!(" ({skew} s)") };
    let check = Check::warning(ID, format!("the clock of the {describe} is {words}{seconds}"))
        .why("certificates, apt and make fail in odd ways; its own time service is not there, or does not reach its servers");
    match provider {
        ProviderKind::Lima => check.fix("git agent-vm connect -- true"),
        ProviderKind::Ssh => check.fix("there: sudo systemctl restart systemd-timesyncd (or chronyd), or sudo date -s @SECONDS"),
    }
}

/// Lock files in workspaces. What it cannot tell is left out: it is the guest's own affair.
fn locks(config: &Config, session: &mut Session) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut age = 0;
    for field in session.fields().unwrap_or_default() {
        match field.key.as_str() {
            "age" => age = field.value.as_clean_str().and_then(|age| age.parse().ok()).unwrap_or(0),
            "lock" => checks.extend(lock(config, age, &field.value)),
            _ => {}
        }
    }
    checks.truncate(50);
    checks
}

fn lock(config: &Config, age: u64, path: &GuestText) -> Option<Check> {
    let text = path.as_clean_str()?;
    let (workspace, name) = text.split_once("/.git/")?;
    let (_, effect) = repository::LOCKS.iter().find(|(known, _)| *known == name)?;
    let vm = if config.provider == ProviderKind::Lima { "VM" } else { "host" };
    let check = repository::stale(&format!("in the {vm}, {workspace}/.git/{name}"), age, effect);
    Some(check.fix(format!("git agent-vm connect -- rm -- {}", shell_word(text))))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;
    use crate::vm::Damage;

    fn seen(state: anyhow::Result<State>) -> Look {
        Look {
            home: "/home/u/.lima".into(),
            dir: "/home/u/.lima/agent-vm".into(),
            state,
            holding: Vec::new(),
            has_disk: true,
            refused: None,
            unfinished: false,
        }
    }

    #[test]
    fn a_disk_in_use_is_an_orphan_only_where_the_vm_does_not_run() {
        let with = |state| Look { holding: vec![7], ..seen(Ok(state)) };
        let found =
            |look: &Look| judge("VM 'x'", look).iter().any(|check| check.id == "orphaned-vm");
        assert!(found(&with(State::Stopped)));
        assert!(!found(&with(State::Running)) && !found(&with(State::Starting)));
        assert!(!found(&seen(Ok(State::Stopped))));
    }

    #[test]
    fn a_vm_without_a_disk_and_a_broken_one_are_errors() {
        let look = Look { has_disk: false, ..seen(Ok(State::Stopped)) };
        assert_eq!(judge("VM 'x'", &look)[0].severity, Severity::Error);
        let damage = Damage { why: "gone".into(), hints: vec!["do".into()], for_good: true };
        let checks = judge("VM 'x'", &seen(Ok(State::Broken(damage))));
        assert_eq!((checks[0].severity, checks[0].fix.as_deref()), (Severity::Error, Some("do")));
        let look = Look { home: "/x".repeat(40).into(), ..seen(Ok(State::Absent)) };
        assert_eq!(judge("VM 'x'", &look)[1].id, "lima-home");
    }

    #[test]
    fn a_wrong_clock_is_told_in_seconds_with_the_command() {
        let check = judge_clock(ProviderKind::Lima, "VM 'x'", -21_600);
        assert!(check.subject.ends_with("6 h behind (-21600 s)"), "{check:?}");
        assert_eq!(check.fix.as_deref(), Some("git agent-vm connect -- true"));
        assert_eq!(judge_clock(ProviderKind::Ssh, "x", 2).severity, Severity::Ok);
    }

    #[test]
    fn a_lock_is_believed_only_if_it_is_one_that_was_asked_for() {
        let config = Config::lenient(&[]).0;
        let lock = |path: &str| lock(&config, 90_000, &GuestText::new(path.as_bytes()));
        let found = lock("app-it's/.git/gc.pid").unwrap();
        assert!(found.subject.contains("25 h"), "{found:?}");
        assert_eq!(found.fix.unwrap(), r"git agent-vm connect -- rm -- 'app-it'\''s/.git/gc.pid'");
        assert!(lock("x/.git/HEAD").is_none() && lock("x\x1b/.git/gc.pid").is_none());
    }
}
