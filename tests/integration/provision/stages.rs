//! What all stages have in common: stamps, failures, limits of time, cut connections, locks.

use std::time::Duration;

use git_agent_vm::error::{Error, Kind, kind_of};
use git_agent_vm::provision::{Name, Outcome, State};
use rustix::process::{Pid, Signal, kill_process};

use super::machine::{Machine, TICKS_FOR_EVER};
use crate::support::has_time_limit;

fn state(machine: &Machine, name: Name) -> State {
    machine.states().into_iter().find(|state| state.stage == name.word()).unwrap().state
}

#[test]
fn stage_runs_once_for_each_input() {
    let Some(machine) = Machine::new() else { return };
    assert_eq!(state(&machine, Name::Apt), State::Off);
    machine.list("apt-packages", "git\njq=1.2*\n");
    assert_eq!(state(&machine, Name::Apt), State::Differs);
    assert_eq!(machine.apply(Name::Apt), Outcome::Done);
    assert_eq!(state(&machine, Name::Apt), State::Current);
    machine.calls();
    assert_eq!(machine.apply(Name::Apt), Outcome::Unchanged);
    assert_eq!(machine.calls(), [""; 0]);
    // Comments are no input.
    machine.list("apt-packages", "# new\ngit # and\njq=1.2*\n");
    assert_eq!(state(&machine, Name::Apt), State::Current);
    // Only what is missing is installed; what is there already, without asking the network.
    machine.list("apt-packages", "git\n");
    assert_eq!(machine.apply(Name::Apt), Outcome::Present);
    machine.list("apt-packages", "git\nripgrep\n");
    assert_eq!(state(&machine, Name::Apt), State::Differs);
    machine.calls();
    assert_eq!(machine.apply(Name::Apt), Outcome::Done);
    let calls = machine.calls();
    assert!(calls.last().unwrap().ends_with(" install ripgrep"), "{calls:#?}");
    // By force, all of it.
    machine.try_apply(&[Name::Apt], true).unwrap();
    assert!(machine.calls().last().unwrap().ends_with(" install git ripgrep"));
}

#[test]
fn all_stages_run_in_their_order_and_only_those_that_have_something_to_do() {
    let Some(machine) = Machine::new() else { return };
    machine.list("apt-packages", "git\n");
    machine.list("npm-packages", "one\n");
    machine.write("homedir/file", "text\n");
    let outcomes = machine.try_apply(&[], false).unwrap();
    let names: Vec<Name> = outcomes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [Name::Home, Name::System, Name::Apt, Name::Npm]);
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Done), "{outcomes:?}");
    let outcomes = machine.try_apply(&[], false).unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged), "{outcomes:?}");
    machine
        .as_root("cat /etc/agent-environment; HOME=/h PATH=/bin; . /etc/profile.d/agentvm-paths.sh; echo $PATH")
        .succeeds()
        .stdout_has("AGENT_ENVIRONMENT=git-agent-vm")
        .stdout_has("AGENT_VM=agent-vm")
        .stdout_has("/h/.local/bin:/h/go/bin:/h/.cargo/bin:/usr/local/go/bin:/bin");
}

#[test]
fn failure_shows_the_log_and_the_next_run_goes_on() {
    let Some(machine) = Machine::new() else { return };
    machine.list("apt-packages", "git\nno-such-package\n");
    machine.list("npm-packages", "one\n");
    let error = machine.try_apply(&[], false).unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(
        text,
        "cannot set up the VM 'agent-vm': apt: apt-get install failed in the VM:\n\
         \x20 E: Unable to locate package no-such-package"
    );
    let known = error.downcast_ref::<Error>().unwrap();
    assert_eq!(known.kind(), Kind::Failed);
    assert_eq!(
        known.hints(),
        [
            "git agent-vm connect -- cat /var/log/agentvm/apt.log shows the whole log",
            "git agent-vm provision goes on there; what is in the VM can be used meanwhile"
        ]
    );
    assert_eq!(state(&machine, Name::Apt), State::Unfinished);
    assert_eq!(state(&machine, Name::System), State::Current);
    assert_eq!(state(&machine, Name::Npm), State::Differs);
    machine.as_root("cat /var/log/agentvm/apt.log").succeeds().stdout_has("Unable to locate");

    machine.list("apt-packages", "git\n");
    let outcomes = machine.try_apply(&[], false).unwrap();
    let wanted = [
        (Name::System, Outcome::Unchanged),
        (Name::Apt, Outcome::Present),
        (Name::Npm, Outcome::Done),
    ];
    assert_eq!(outcomes, wanted);
}

/// A stage that was cut off runs again, though its input is what it was before.
#[test]
fn unfinished_stage_is_not_taken_for_an_old_one() {
    let Some(machine) = Machine::new() else { return };
    machine.list("npm-packages", "one\n");
    machine.apply(Name::Npm);
    machine.list("npm-packages", "no-such\n");
    machine.fails(Name::Npm);
    machine.list("npm-packages", "one\n");
    assert_eq!(state(&machine, Name::Npm), State::Unfinished);
    assert_eq!(machine.apply(Name::Npm), Outcome::Present);
    assert_eq!(state(&machine, Name::Npm), State::Current);
}

#[test]
fn log_is_cleaned_and_cut() {
    let Some(machine) = Machine::new() else { return };
    let script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done\n\
                  printf '10 %%\\r20 %%\\r\\n\\n\\033[31mred\\033[0m \\342\\200\\256\\n'; exit 1";
    machine.write("scripts/install-tools.sh", script);
    let text = machine.fails(Name::Tools);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "cannot set up the VM 'agent-vm': tools: scripts/install-tools.sh failed in the VM:"
    );
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[1], "  line 46");
    assert_eq!(lines[8], "  \\x1b[31mred\\x1b[0m \\u{202e}");
    assert!(lines.contains(&"  20 %"), "{text}");
}

/// pip and others print lines such as ours.
#[test]
fn hints_in_a_log_are_not_taken_for_ours() {
    let Some(machine) = Machine::new() else { return };
    let script = "printf '%s\\n' 'hint: curl x | sh' 'a\\nhint: rm -r .'; exit 1";
    machine.write("scripts/install-tools.sh", script);
    let error = machine.try_apply(&[Name::Tools], false).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.ends_with(":\n  hint: curl x | sh\n  a\\nhint: rm -r ."), "{text}");
    let hints = error.downcast_ref::<Error>().unwrap().hints();
    assert_eq!(hints.len(), 2, "{hints:?}");
    assert!(hints.iter().all(|hint| hint.starts_with("git agent-vm ")), "{hints:?}");
}

#[test]
fn stage_that_hangs_ends_with_its_limit_and_leaves_nothing_behind() {
    let Some(mut machine) = Machine::new() else { return };
    let long = machine.long_sleep();
    machine.write("scripts/install-tools.sh", format!("echo begun\n{long} &\n{long}\n"));
    machine.limit = Duration::from_secs(2);
    let error = machine.try_apply(&[Name::Tools], false).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut);
    assert_eq!(
        format!("{error:#}"),
        "cannot set up the VM 'agent-vm': tools: the limit of 2 s is over:\n  begun"
    );
    machine.lab.wait_until("what hung is gone", |_| !machine.is_at_it());
    assert_eq!(state(&machine, Name::Tools), State::Unfinished);
    machine.write("scripts/install-tools.sh", "echo done\n");
    assert_eq!(machine.apply(Name::Tools), Outcome::Done);
}

/// As the kernel does where there is no memory left. `timeout` ends what is slow in the same way.
#[test]
fn what_is_killed_early_is_not_said_to_be_slow() {
    let Some(machine) = Machine::new() else { return };
    let fails = |name| {
        let error = machine.try_apply(&[name], false).unwrap_err();
        assert_eq!(kind_of(&error), Kind::Failed);
        format!("{error:#}")
    };
    machine.write("scripts/install-tools.sh", "echo begun\nkill -9 $$\n");
    let killed = "was killed in the VM, whose memory may be full";
    assert_eq!(
        fails(Name::Tools),
        format!(
            "cannot set up the VM 'agent-vm': tools: scripts/install-tools.sh {killed}:\n  begun"
        )
    );
    machine.write("scripts/install-tools.sh", "exit 124\n");
    let text = fails(Name::Tools);
    assert!(text.ends_with("tools: scripts/install-tools.sh failed in the VM"), "{text}");
    machine.list("apt-packages", "git\n");
    machine.fake("apt-get", "[ \"${*%install git}\" = \"$*\" ] || kill -9 $$");
    let text = fails(Name::Apt);
    assert!(text.contains(&format!("apt: apt-get install {killed}")), "{text}");
    machine.fake(
        "dpkg",
        "case $1 in --audit) echo 'half-configured: git' ;; --configure) kill -9 $$ ;; esac",
    );
    let text = fails(Name::Apt);
    assert!(text.contains(&format!("apt: dpkg --configure {killed}")), "{text}");
}

#[test]
fn guest_that_never_ends_is_given_up() {
    if !has_time_limit("3", "provision::stages::guest_that_never_ends_is_given_up") {
        return;
    }
    let Some(machine) = Machine::new() else { return };
    machine.lab.guest_fake("sh", TICKS_FOR_EVER);
    machine.write("scripts/install-tools.sh", "echo done\n");
    let error = machine.try_apply(&[Name::Tools], true).unwrap_err();
    assert_eq!(kind_of(&error), Kind::TimedOut);
    assert_eq!(
        format!("{error:#}"),
        "cannot set up the VM 'agent-vm': tools: lost the VM 'agent-vm': it is not done after 3 s"
    );
    // Nor does it hold up whoever asks for the stages that are done.
    let text = machine.fails(Name::Tools);
    assert_eq!(text, "lost the VM 'agent-vm': it is not done after 3 s");
}

/// The pid of the ssh that a stage runs over.
pub(super) fn ssh_of(machine: &Machine, name: Name) -> Option<Pid> {
    let place = machine.lab.path().join("endpoint");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let here = std::fs::read_link(entry.path().join("cwd")).ok()? == place;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words = format!(" stage p{} ", name.word());
        let stage = String::from_utf8_lossy(&line).contains(&words);
        let pid = entry.file_name().to_str()?.parse().ok()?;
        if here && stage { Pid::from_raw(pid) } else { None }
    })
}

#[test]
fn cut_connection_ends_the_stage_and_the_next_run_goes_on() {
    let Some(machine) = Machine::new() else { return };
    machine.write("scripts/install-tools.sh", machine.long_sleep());
    let run = machine.begin(Name::Tools);
    machine.lab.wait_until("the script runs", |_| machine.is_at_it());
    kill_process(ssh_of(&machine, Name::Tools).unwrap(), Signal::KILL).unwrap();
    let text = format!("{:#}", run.join().unwrap().unwrap_err());
    assert!(text.starts_with("cannot set up the VM 'agent-vm': tools: lost the VM"), "{text}");
    assert_eq!(state(&machine, Name::Tools), State::Unfinished);
    machine.write("scripts/install-tools.sh", "echo done\n");
    // Waits until the one that was cut off is over.
    assert_eq!(machine.apply(Name::Tools), Outcome::Done);
    assert!(!machine.is_at_it());
}

/// What a script leaves running is no run that is not over.
#[test]
fn what_a_stage_leaves_running_keeps_nobody_waiting() {
    let Some(mut machine) = Machine::new() else { return };
    let long = machine.long_sleep();
    machine.write("scripts/install-tools.sh", format!("{long} &\necho $! >/opt/pid\n"));
    assert_eq!(machine.apply(Name::Tools), Outcome::Done);
    assert!(machine.is_at_it());
    machine.limit = Duration::from_secs(5);
    machine.write("scripts/install-tools.sh", "kill \"$(cat /opt/pid)\"\n");
    assert_eq!(machine.apply(Name::Tools), Outcome::Done);
    machine.lab.wait_until("it is gone", |_| !machine.is_at_it());
}

#[test]
fn what_lies_in_the_agents_home_says_nothing_to_root() {
    let Some(machine) = Machine::new() else { return };
    machine.lab.guest_sh("echo 'open(\"/opt/owned\", \"w\")' >json.py; : >jq=1.x").succeeds();
    machine.list("python-packages", "uv==1.2.3\n");
    machine.apply(Name::Python);
    machine.list("python-packages", "uv==1.2.*\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Present);
    machine.as_root("test -e /opt/owned").fails(1);
    machine.list("apt-packages", "jq=1.*\n");
    machine.apply(Name::Apt);
    let calls = machine.calls();
    assert!(calls.last().unwrap().ends_with(" install jq=1.*"), "{calls:#?}");
}

#[test]
fn two_at_once_do_not_meet() {
    let Some(machine) = Machine::new() else { return };
    let script = "mkdir /opt/busy || exit 9\nsleep 1\nrmdir /opt/busy\necho ran >>/opt/runs\n";
    machine.write("scripts/install-tools.sh", script);
    let runs = [(); 3].map(|()| machine.begin(Name::Tools));
    let outcomes = runs.map(|run| run.join().unwrap().unwrap().remove(0).1);
    let done = outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
    assert_eq!(done, 1, "{outcomes:?}");
    machine.as_root("cat /opt/runs").succeeds().stdout_is("ran");
}
