//! Programs from PyPI, each in an environment of its own.

use git_agent_vm::provision::{Name, Outcome};

use rustix::process::{Signal, kill_process};

use super::machine::Machine;
use super::stages::ssh_of;

#[test]
fn python_programs_are_installed_as_pinned() {
    let Some(machine) = Machine::new() else { return };
    machine.list("python-packages", "uv\nruff==1.2.*\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
    machine.calls();
    machine.list("python-packages", "uv==1.2.3\nruff==1.2\n");
    machine.apply(Name::Python);
    let calls = machine.calls();
    assert_eq!(calls, ["pipx install --force ruff==1.2"]);
    // One that was cut off is made anew.
    machine
        .as_root("rm /opt/pipx/venvs/uv/pipx_metadata.json; touch /opt/pipx/venvs/uv/half")
        .succeeds();
    machine.list("python-packages", "uv\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
}

#[test]
fn python_program_gets_the_extras_that_were_added() {
    let Some(machine) = Machine::new() else { return };
    machine.list("python-packages", "httpie\n");
    machine.apply(Name::Python);
    machine.list("python-packages", "httpie[socks,A.b]\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
    // Their order and spelling say nothing.
    machine.list("python-packages", "HTTPie[a_b,socks]==1.2.*\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Present);
    machine.list("python-packages", "httpie==1.2.3\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
}

/// Makes a program in an environment, and ends as pipx does: where it fails, it takes away what it made.
/// Version 8 takes very long, and there is no version 9.
const PIPX: &str = r#"
for last; do :; done
name=${last%%==*} version=${last##*==} venv=$PIPX_HOME/venvs/${last%%==*}
mkdir -p "$venv/bin" /usr/local/bin
printf '#!/bin/sh\necho %s\n' "$version" >"$venv/bin/$name"
chmod 755 "$venv/bin/$name"
ln -sf "$venv/bin/$name" "/usr/local/bin/$name"
[ "$version" != 8 ] || LONG
[ "$version" != 9 ] || { rm -rf "$venv"; echo 'No matching distribution found'; exit 1; }
echo "{\"main_package\": {\"package_version\": \"$version\", \"package_or_url\": \"$last\"}}" >"$venv/pipx_metadata.json""#;

/// A machine with the program `it` of version 1.
fn with_program() -> Option<Machine> {
    let machine = Machine::new()?;
    machine.fake("pipx", &PIPX.replace("LONG", &machine.long_sleep()));
    machine.list("python-packages", "it==1\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
    Some(machine)
}

fn is_version(machine: &Machine, version: &str) {
    machine.as_root("it; ls /opt/pipx").succeeds().stdout_is(&format!("{version}\nvenvs"));
}

#[test]
fn program_stays_where_no_other_version_can_be_had() {
    let Some(machine) = with_program() else { return };
    machine.list("python-packages", "it==9\n");
    let text = machine.fails(Name::Python);
    assert!(
        text.ends_with("pipx install it==9 failed in the VM:\n  No matching distribution found")
    );
    is_version(&machine, "1");
    machine.list("python-packages", "it==2\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Done);
    is_version(&machine, "2");
}

#[test]
fn program_stays_where_another_version_was_cut_off() {
    let Some(machine) = with_program() else { return };
    machine.list("python-packages", "it==8\n");
    let run = machine.begin(Name::Python);
    machine.lab.wait_until("it is installed", |_| machine.is_at_it());
    kill_process(ssh_of(&machine, Name::Python).unwrap(), Signal::KILL).unwrap();
    run.join().unwrap().unwrap_err();
    machine.lab.wait_until("it is ended", |_| !machine.is_at_it());
    machine.lab.wait_until("the old one is back", |lab| {
        lab.guest_sh("ls /opt/pipx").run().text() == "venvs"
    });
    is_version(&machine, "1");

    // So far it came before the machine went down.
    machine
        .as_root("cd /opt/pipx && mkdir agentvm-before && mv venvs/it agentvm-before && mkdir -p venvs/it/bin")
        .succeeds();
    machine.list("python-packages", "it==9\n");
    machine.fails(Name::Python);
    is_version(&machine, "1");
    machine.list("python-packages", "it==1\n");
    assert_eq!(machine.apply(Name::Python), Outcome::Present);
}
