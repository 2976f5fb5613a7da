//! Steps about what the VM is set up with.

use rustix::process::Signal;
use serde_json::Value;

use super::{START, Vm, WORK, step};

pub(super) fn home_files_and_variables_reach_the_agent(vm: &Vm) {
    // docker/compose#9106
    step("home files and variables reach the agent");
    let common = vm.lab.home().join("common");
    let (tool, list) =
        (common.join("homedir/.local/bin/tool"), common.join("packages/envvars.txt"));
    for (path, text) in [(&tool, "#!/bin/sh\necho one\n"), (&list, "API_KEY # for the agent\n")] {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    fs_err::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    vm.git_config("agentvm.common", &common);
    vm.agent_vm("start").succeeds().stderr_lacks("warning: ");
    vm.agent("~/.local/bin/tool; stat -c '%a %U' ~/.local/bin/tool")
        .succeeds()
        .stdout_is("one\n755 agent");
    vm.agent("echo 'echo mine' >~/.local/bin/tool").succeeds();
    fs_err::write(&tool, "#!/bin/sh\necho two\n").unwrap();
    vm.agent_vm("start").succeeds().stderr_has("~/.local/bin/tool was changed in the VM");
    vm.agent("cd ~/.local/bin && ./tool && ./tool.agentvm-new").succeeds().stdout_is("mine\ntwo");

    let key = "it's\n`two` lines\n";
    let shown =
        vm.agent("printf %s \"$API_KEY\"; ls -A ~/.local/state/agentvm").env("API_KEY", key);
    shown.succeeds().stdout_is(&format!("{key}home"));
    vm.agent("printf %s \"${API_KEY-unset}\"").succeeds().stdout_is("unset");
    let shell = vm.lab.on_terminal("git agent-vm connect feature").within_seconds(WORK);
    let typed = "echo \"<$API_KEY>\"; case $PS1 in *'\\u@'*) echo prompted;; esac; exit 3\n";
    shell.env("API_KEY", "key").stdin(typed).fails(3).stdout_has("<key>").stdout_has("\nprompted");
}

pub(super) fn changed_package_list_is_installed_after_apts_lock_is_free(vm: &Vm) {
    // canonical/cloud-init#2908
    step("a changed package list is installed after apt's lock is free");
    let common = vm.lab.home().join("common");
    fs_err::create_dir_all(common.join("packages")).unwrap();
    fs_err::write(common.join("packages/apt-packages.txt"), "# greets\nhello\ngit\n").unwrap();
    vm.git_config("agentvm.common", &common);
    vm.agent("! command -v hello").succeeds();
    vm.agent(
        "sudo -n flock /var/lib/dpkg/lock-frontend sleep 15 >/dev/null 2>&1 </dev/null & sleep 1",
    )
    .succeeds();
    vm.agent_vm("start").succeeds().stderr_has("which holds the lock of apt");
    vm.agent("hello").succeeds().stdout_is("Hello, world!");
    fs_err::write(common.join("packages/apt-packages.txt"), "git\nno-such-package-here\n").unwrap();
    vm.agent_vm("start").fails(1).stderr_has("no-such-package-here");
    // Nothing is broken by that.
    vm.agent("hello").succeeds();
    vm.git("config --global --unset agentvm.common").succeeds();
}

/// A network that signs with its own CA is one that the guest has to know.
fn trust_what_the_host_trusts(vm: &Vm) {
    let Some(bundle) = std::env::var_os("SSL_CERT_FILE") else { return };
    vm.git_config("agentvm.caCerts", std::path::Path::new(&bundle));
    vm.agent_vm("start").succeeds().stderr_has("of agentvm.caCerts");
}

fn stage_state(vm: &Vm, stage: &str) -> Value {
    let status = vm.status();
    let stages = status["vm"]["provision"].as_array().unwrap_or_else(|| panic!("{status:#}"));
    stages.iter().find(|found| found["stage"] == stage).unwrap()["state"].clone()
}

pub(super) fn programs_come_from_the_registries(vm: &Vm) {
    step("programs come from the registries");
    trust_what_the_host_trusts(vm);
    let common = vm.lab.home().join("lists");
    let list = |name: &str, text: &str| {
        let path = common.join(format!("packages/{name}-packages.txt"));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    assert_eq!(stage_state(vm, "npm"), "current");
    assert_eq!(stage_state(vm, "docker"), "off");
    list("npm", "semver@7\nno-such-package-of-anybody\n");
    list("python", "uv\ncowsay==6.*\n");
    vm.git_config("agentvm.common", &common);
    assert_eq!(stage_state(vm, "npm"), "differs");
    vm.agent_vm("status").succeeds().stdout_has("npm, python not as common/ has it now");

    // A stage that fails, and what it leaves.
    vm.agent_vm("start")
        .fails(1)
        .stderr_has("npm: npm install --global no-such-package-of-anybody failed in the VM:")
        .stderr_has("E404")
        .stderr_has("hint: git agent-vm connect -- cat /var/log/agentvm/npm.log");
    vm.agent("semver 1.2.3").succeeds().stdout_is("1.2.3");
    vm.agent_vm("connect -- cat /var/log/agentvm/npm.log").succeeds().stdout_has("E404");
    assert_eq!(stage_state(vm, "npm"), "unfinished");
    assert_eq!(stage_state(vm, "python"), "differs");

    // One that is broken off, and goes on.
    let run = vm.agent_vm("provision python").background();
    vm.lab.wait_until("the stage runs", |lab| {
        lab.host_processes().iter().any(|process| process.contains(" stage ppython "))
    });
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, 130);
    list("npm", "semver@7\n");
    vm.agent_vm("provision")
        .succeeds()
        .stderr_has("apt: unchanged")
        .stderr_has("npm: all is there")
        .stderr_has("setting up the VM 'agent-vm': python: done in ");
    vm.agent("cowsay -t moo; uv --version").succeeds().stdout_has("| moo |").stdout_has("uv ");
    vm.agent_vm("provision").succeeds().stderr_has("python: unchanged");
    vm.git("config --global --unset agentvm.common").succeeds();
}

pub(super) fn agent_has_what_it_works_with(vm: &Vm) {
    step("the agent has what it works with");
    vm.agent(". /etc/agent-environment; echo $AGENT_ENVIRONMENT $AGENT_VM; echo $PATH")
        .succeeds()
        .stdout_has("git-agent-vm agent-vm")
        .stdout_has("/home/agent/.local/bin:");
    vm.agent("git lfs version && node --version && npm --version && rg --version && jq --version")
        .succeeds();
    let build = "cd && mkdir -p image && cd image \
        && printf '#include <stdio.h>\nint main(void) { puts(\"from inside\"); }\n' >hello.c \
        && gcc -static -o hello hello.c \
        && printf 'FROM scratch\nCOPY hello /hello\n' >Containerfile \
        && podman build -q -t hello . && podman run --rm hello /hello";
    vm.lab
        .agent_vm(["-q", "connect", "feature", "--", "sh", "-c", build])
        .within_seconds(START)
        .succeeds()
        .stdout_has("from inside");
    vm.agent("cat /proc/sys/kernel/hostname; loginctl show-user agent --property=Linger")
        .succeeds()
        .stdout_has("Linger=yes");
}
