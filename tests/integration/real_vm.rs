//! The main job on a real VM: Lima, QEMU and a Debian guest. Minutes, so only with
//! `AGENTVM_TEST_VM=1`, as an ordinary user, and with an image in `AGENTVM_TEST_IMAGE`.
//!
//! One VM lives through the whole module, since starting one is what takes the time. Each step is
//! a function named after the behaviour; one test calls them in order. `image` needs no VM.

mod day;
mod firmware;
mod image;
mod image_network;
mod set_up;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::docs;
use crate::support::{Lab, Run};

mod network;

/// An emulated boot on a busy machine, set-up included.
const START: u64 = 600;
/// Anything else that goes into an emulated guest.
const WORK: u64 = 120;

const GIB: u64 = 1 << 30;

/// A lab whose VM goes with it, whatever happens.
struct Vm {
    lab: Lab,
}

impl Vm {
    fn new() -> Self {
        let wanted = std::env::var("AGENTVM_TEST_VM").unwrap_or_default();
        assert!(
            wanted == "1",
            "real VM tests need AGENTVM_TEST_VM=1 and AGENTVM_TEST_IMAGE; leave them out with --skip real_vm::"
        );
        let lab = Lab::host_only("home");
        lab.make_app();
        if let Ok(image) = std::env::var("AGENTVM_TEST_IMAGE") {
            lab.git_config("agentvm.image", &image);
        }
        Self { lab }
    }

    fn agent_vm(&self, args: &str) -> Run {
        self.lab.agent_vm(args).within_seconds(START)
    }

    fn git(&self, args: &str) -> Run {
        self.lab.git(args).within_seconds(WORK)
    }

    /// A shell script of the agent in the workspace of feature.
    fn agent(&self, script: &str) -> Run {
        let words = ["-q", "connect", "feature", "--", "sh", "-c", script];
        self.lab.agent_vm(words).within_seconds(WORK)
    }

    /// The same, without a push before it.
    fn agent_alone(&self, script: &str) -> Run {
        let script = format!("cd app-feature && {{ {script}\n}}");
        let words = ["-q", "connect", "--", "sh", "-c", &script];
        self.lab.agent_vm(words).within_seconds(WORK)
    }

    fn git_config(&self, key: &str, value: &std::path::Path) {
        self.lab.git_config(key, value.to_str().unwrap());
    }

    fn status(&self) -> Value {
        self.agent_vm("status --json").succeeds().json()
    }

    /// The workspace of feature, as files of the host.
    fn mounted(&self) -> std::path::PathBuf {
        self.lab.home().join(".agent-vm-mounts/workspace/app-feature")
    }

    /// The pids of the VM's own processes on the host.
    fn processes(&self) -> Vec<Pid> {
        ["qemu-system", "hostagent"].iter().flat_map(|word| self.processes_of(word)).collect()
    }

    fn processes_of(&self, word: &str) -> Vec<Pid> {
        let lines = self.lab.host_processes().into_iter().filter(|line| line.contains(word));
        lines
            .filter_map(|line| line.split(' ').next()?.parse().ok().and_then(Pid::from_raw))
            .collect()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if !self.processes().is_empty() {
            self.agent_vm("destroy --discard=agent-vm").run();
        }
    }
}

fn step(name: &str) {
    eprintln!("step: {name}");
}

#[test]
fn whole_life_of_a_vm() {
    let vm = Vm::new();
    nothing_is_there_and_every_verb_says_so(&vm);
    start_makes_the_vm_with_its_resources(&vm);
    work_goes_there_and_comes_back(&vm);
    guest_has_nothing_of_the_host(&vm);
    workspaces_are_files_of_the_host(&vm);
    clock_of_the_guest_is_set_right(&vm);
    set_up::home_files_and_variables_reach_the_agent(&vm);
    network::credentials_reach_the_agent_alone(&vm);
    network::certificates_and_proxy_serve_every_session(&vm);
    set_up::changed_package_list_is_installed_after_apts_lock_is_free(&vm);
    set_up::programs_come_from_the_registries(&vm);
    set_up::agent_has_what_it_works_with(&vm);
    stopped_vm_is_left_alone_by_what_only_looks(&vm);
    stopped_vm_is_left_alone_by_fetches_in_the_background(&vm);
    push_starts_the_vm_again(&vm);
    killed_vm_comes_back_with_its_workspaces(&vm);
    day::agent_gets_libraries_from_the_registries(&vm);
    day::agent_has_docker_when_it_is_asked_for(&vm);
    day::agent_has_lima_where_vms_nest(&vm);
    unsaved_work_is_not_thrown_away(&vm);
    cleaned_workspace_comes_back(&vm);
    destroy_saves_what_is_nowhere_else(&vm);
    start_takes_the_image_that_was_built_here(&vm);
    new_vm_gets_back_what_was_saved(&vm);
    destroy_leaves_nothing(&vm);
}

fn nothing_is_there_and_every_verb_says_so(vm: &Vm) {
    step("nothing is there");
    assert_eq!(vm.status()["vm"]["status"], "absent");
    for verb in ["stop", "destroy", "fetch feature", "clean feature", "clean-all"] {
        vm.agent_vm(verb).fails(4).stderr_has("there is no ");
    }
    vm.lab.app().enrol("feature");
    vm.git("fetch agentvm::feature").fails(128).stderr_has("git agent-vm push feature");
    vm.git("push agentvm::feature").fails(128).stderr_has("git agent-vm start");
    vm.git("config --remove-section remote.agentvm::feature").succeeds();
    assert!(vm.processes().is_empty());
}

fn start_makes_the_vm_with_its_resources(vm: &Vm) {
    step("start makes the VM");
    vm.git("checkout -q feature").succeeds();
    let start = "-c agentvm.mount=true agent-vm start --cpus 2 --memory 2GiB --disk 20GiB";
    let start = vm.lab.git(start).within_seconds(START);
    let proxy = "http://127.0.0.1:9";
    let ran = start.env("http_proxy", proxy).env("HTTPS_PROXY", proxy).succeeds();
    docs::assert_prints(&vm.lab, &ran.errors(), &docs::lines_of_start());
    vm.agent_vm("unmount").succeeds();
    vm.git("checkout -q main").succeeds();
    let status = vm.status();
    assert_eq!(status["vm"]["name"], "agent-vm");
    assert_eq!(status["vm"]["status"], "running");
    assert_eq!(status["vm"]["cpus"], 2);
    assert_eq!(status["vm"]["memory_bytes"], 2 * GIB);
    assert_eq!(status["vm"]["disk_bytes"], 20 * GIB);
    assert_eq!(status["workspaces"], Value::Array(Vec::new()));
    vm.agent_vm("connect -- nproc").succeeds().stdout_is("2");
    vm.agent_vm("connect -- df -BG --output=size /").succeeds().stdout_has("20G");
    // Not again, and not silently: what cannot change says how it can.
    vm.agent_vm("start --disk 10GiB").fails(2).stderr_has("cannot shrink to 10.00 GiB");
    vm.agent_vm("start --memory 3GiB")
        .succeeds()
        .stderr_has("hint: git agent-vm stop && git agent-vm start --memory 3");
}

/// The three commands of the tour, as they stand in the README.
fn work_goes_there_and_comes_back(vm: &Vm) {
    step("work goes there and comes back");
    let app = vm.lab.app();
    vm.git("push agentvm::feature").succeeds().stderr_has("[new branch]");
    let names = "git rev-parse HEAD HEAD^{tree} && git symbolic-ref HEAD && git status --porcelain";
    let wanted =
        format!("{}\n{}\nrefs/heads/feature", app.tip("feature"), app.tip("feature^{tree}"));
    vm.agent(names).succeeds().stdout_is(&wanted);

    vm.agent("echo agent >agent.txt && git add agent.txt && git commit -qm 'Agent works'")
        .succeeds();
    let agents = vm.agent("git rev-parse HEAD HEAD^{tree}").succeeds().text();
    vm.git("checkout -q feature").succeeds();
    vm.git("pull agentvm::feature").succeeds();
    assert_eq!(format!("{}\n{}", app.tip("HEAD"), app.tip("HEAD^{tree}")), agents);
    assert_eq!(app.read("agent.txt"), "agent\n");
    vm.git("log -1 --format=%an").succeeds().stdout_is("Host User");
    vm.git("checkout -q main").succeeds();

    let status = vm.status();
    let workspace = &status["workspaces"][0];
    assert_eq!(workspace["name"], "app-feature", "{status:#}");
    assert_eq!(workspace["commits_unfetched"], 0, "{status:#}");
    assert_eq!(workspace["changed"], 0, "{status:#}");
    vm.agent_vm("status").succeeds().stdout_has("app-feature");
}

fn guest_has_nothing_of_the_host(vm: &Vm) {
    step("the guest has nothing of the host");
    vm.agent("id -un; id -u; echo \"[$SSH_AUTH_SOCK]\"; pwd")
        .succeeds()
        .stdout_is("agent\n1000\n[]\n/home/agent/workspace/app-feature");
    vm.agent("mount")
        .succeeds()
        .stdout_lacks("virtiofs")
        .stdout_lacks("9p")
        .stdout_lacks("fuse.sshfs");
    vm.agent("sudo -n true").succeeds();
    // lima-vm/lima#697
    vm.agent("env; cat /etc/environment; sudo -n env")
        .succeeds()
        .stdout_lacks("127.0.0.1:9")
        .stdout_lacks("_proxy=")
        .stdout_lacks("_PROXY=");
    vm.lab
        .on_terminal("git agent-vm connect feature -- tty")
        .within_seconds(WORK)
        .succeeds()
        .stdout_has("/dev/pts/");
    vm.lab.host("test", "! -e .ssh").succeeds();
}

fn workspaces_are_files_of_the_host(vm: &Vm) {
    step("the workspaces are files of the host");
    vm.agent_vm("mount").succeeds();
    let file = vm.mounted().join("from-host.txt");
    fs_err::write(&file, "from the host\n").unwrap();
    vm.agent("cat from-host.txt").succeeds().stdout_is("from the host");
    vm.git("-C ../.agent-vm-mounts/workspace/app-feature status")
        .fails(128)
        .stderr_has("dubious ownership");
    fs_err::remove_file(&file).unwrap();
    vm.agent("test ! -e from-host.txt").succeeds();

    let user = vm.lab.host("sleep", "1000").in_dir(vm.mounted()).background();
    vm.agent_vm("stop").fails(1).stderr_has("sleep (process ").stderr_has("unmount --force");
    assert_eq!(vm.status()["vm"]["status"], "running");
    user.signal(Signal::KILL);
    user.finish();
}

fn clock_of_the_guest_is_set_right(vm: &Vm) {
    step("the guest's clock is set right");
    for command in ["fetch agentvm::feature", "agent-vm status"] {
        vm.agent("sudo -n date -s '3 hours ago' >/dev/null").succeeds();
        vm.git(command).succeeds().stderr_has("behind and is set right");
    }
    let status = vm.status();
    let skew = status["vm"]["clock_skew_s"].as_i64().unwrap();
    assert!(skew.abs() <= 3, "{status:#}");
}

fn stopped_vm_is_left_alone_by_what_only_looks(vm: &Vm) {
    // aws/git-remote-codecommit#52
    step("a stopped VM is left alone by what only looks");
    assert_eq!(vm.status()["mount"]["state"], "mounted");
    vm.agent_vm("stop").succeeds();
    assert_eq!(vm.status()["mount"]["state"], "none");
    assert!(vm.lab.mounts().is_empty());
    assert!(vm.processes().is_empty());
    let sessions = vm.lab.ssh_sessions_of(|| {
        for command in ["remote -v", "status -sb", "branch -vv"] {
            vm.git(command).succeeds();
        }
        assert_eq!(vm.status()["vm"]["status"], "stopped");
        vm.agent_vm("status").succeeds().stdout_has("stopped");
    });
    assert_eq!(sessions, 0);
    assert_eq!(vm.status()["workspaces"], Value::Null);
    assert!(vm.processes().is_empty());
}

fn stopped_vm_is_left_alone_by_fetches_in_the_background(vm: &Vm) {
    // microsoft/vscode#242740
    step("a stopped VM is left alone by fetches in the background");
    for _ in 0..3 {
        vm.git("fetch agentvm::feature")
            .fails(128)
            .stderr_has("git agent-vm start")
            .took_under_seconds(5);
    }
    vm.git("-c agentvm.autoStart=false push agentvm::feature").fails(128).stderr_has("stopped");
    assert!(vm.processes().is_empty());
}

fn push_starts_the_vm_again(vm: &Vm) {
    // lima-vm/lima#1514: a stranger has the old port meanwhile
    step("push starts the VM again");
    let config = fs_err::read_to_string(vm.lab.home().join(".lima/agent-vm/ssh.config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap();
    let _stranger = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let tip = vm.lab.app().commit_on("feature", "second.txt", "second\n");
    vm.git("push agentvm::feature").within_seconds(START).succeeds();
    vm.agent("git rev-parse HEAD && cat second.txt")
        .succeeds()
        .stdout_is(&format!("{tip}\nsecond"));
    vm.agent_vm("mount").succeeds();
    assert_eq!(fs_err::read_to_string(vm.mounted().join("second.txt")).unwrap(), "second\n");
}

fn killed_vm_comes_back_with_its_workspaces(vm: &Vm) {
    // canonical/multipass#3220
    step("a killed VM comes back with its workspaces");
    let before = vm.lab.app().tip("feature");
    let app = vm.lab.app();
    vm.agent(
        "echo untracked >notes.txt && echo ignored >key.log && echo '*.log' >>.git/info/exclude
        git config filter.slow.smudge 'sleep 0.1; cat' && sync",
    )
    .succeeds();
    vm.git("checkout -q feature").succeeds();
    app.write(".gitattributes", "many/* filter=slow\n");
    for index in 0..400 {
        app.write(&format!("many/{index}"), format!("{index}\n").repeat(500));
    }
    vm.git("add -A").succeeds();
    vm.git("commit -q -m many").succeeds();
    vm.git("checkout -q main").succeeds();
    let watch =
        vm.agent_alone("until [ -e many/11 ] && [ -s .git/agentvm-journal ]; do sleep 0.1; done");
    let watch = watch.background();
    let push = vm.git("push agentvm::feature").background();
    // Its files are half moved then.
    assert_eq!(watch.finish().code, 0);
    for pid in vm.processes() {
        kill_process(pid, Signal::KILL).ok();
    }
    let ran = push.finish();
    vm.agent_vm("start").succeeds();
    vm.agent_vm("mount").succeeds();
    assert!(vm.mounted().join("feature.txt").exists());
    assert!(ran.code != 0, "{ran}");
    vm.agent_vm("status").succeeds();
    vm.agent_alone("git rev-parse HEAD && git symbolic-ref HEAD && git status --porcelain")
        .succeeds()
        .stdout_is(&format!("{before}\nrefs/heads/feature\n?? notes.txt"));
    vm.agent_alone("cat notes.txt key.log && git fsck --full --no-dangling 2>/dev/null")
        .succeeds()
        .stdout_is("untracked\nignored");
    vm.agent_alone("git config --remove-section filter.slow && rm notes.txt key.log").succeeds();
    vm.git("push agentvm::feature").succeeds();
    let now = format!("{}\nrefs/heads/feature", app.tip("feature"));
    vm.agent("git rev-parse HEAD && git symbolic-ref HEAD && git status --porcelain")
        .succeeds()
        .stdout_is(&now);
}

fn unsaved_work_is_not_thrown_away(vm: &Vm) {
    step("unsaved work is not thrown away");
    vm.agent("echo only >notes.txt").succeeds();
    vm.agent_vm("clean feature").fails(3).stderr_has("notes.txt");
    vm.agent_vm("destroy").fails(3).stderr_has("notes.txt").stderr_has("--force");
    vm.agent("cat notes.txt").succeeds().stdout_is("only");
}

fn cleaned_workspace_comes_back(vm: &Vm) {
    step("a cleaned workspace comes back");
    vm.agent("echo x >feature.txt; git stash -q; chmod a-w .git/objects").succeeds();
    vm.agent_vm("clean --force feature").succeeds();
    assert_eq!(vm.status()["vm"]["trash_entries"], 1);
    assert!(vm.status()["vm"]["trash_bytes"].as_u64().unwrap() > 10_000);
    vm.agent_vm("restore").succeeds().stdout_has("app-feature.").stdout_has("trash");
    vm.agent_vm("restore feature").succeeds().stderr_has("as workspace 'app-feature'");
    vm.agent("chmod u+w .git/objects; git stash list | wc -l; cat notes.txt")
        .succeeds()
        .stdout_is("1\nonly");
}

/// With files of root, as containers leave them, and a worktree elsewhere.
fn destroy_saves_what_is_nowhere_else(vm: &Vm) {
    step("destroy saves what is nowhere else");
    let script = "sudo -n sh -c 'umask 077; mkdir data; echo root >data/file' &&
        git worktree add -q ~/away -b away && echo w >~/away/w &&
        printf '#!/bin/sh\ntouch ~/pwned\n' >.git/hooks/post-checkout &&
        chmod +x .git/hooks/post-checkout";
    vm.agent(script).succeeds();
    vm.agent_vm("stop").succeeds();
    vm.agent_vm("destroy --force")
        .succeeds()
        .stderr_has("saved 1 thing of the VM 'agent-vm' in ")
        .stderr_has("deleted the VM 'agent-vm'");
    assert!(vm.processes().is_empty());
    assert!(!vm.lab.home().join(".lima/agent-vm").exists());
    vm.agent_vm("restore").succeeds().stdout_has("saved of VM 'agent-vm'");
}

fn start_takes_the_image_that_was_built_here(vm: &Vm) {
    step("start takes the image that was built here");
    let packages = vm.lab.home().join("short/packages");
    fs_err::create_dir_all(&packages).unwrap();
    for (name, text) in [("apt", "hello\n"), ("npm", ""), ("python", "")] {
        fs_err::write(packages.join(format!("{name}-packages.txt")), text).unwrap();
    }
    fs_err::write(packages.join("versions.txt"), "").unwrap();
    vm.git_config("agentvm.common", packages.parent().unwrap());
    vm.lab.git_config("agentvm.extras", "none");
    vm.git("config --global --unset agentvm.image").succeeds();
    vm.agent_vm("image build").succeeds().stderr_has("made the image ");
    vm.agent_vm("image list").succeeds().stdout_has("takes it for a new VM");
    let start = vm.agent_vm("start --cpus 2 --memory 2GiB --disk 20GiB").succeeds();
    start
        .stderr_has("(copying the image)")
        .stderr_lacks("downloading Debian's image")
        .stderr_lacks(" apt: done in")
        .stderr_lacks(" npm: done in")
        .stderr_lacks(" python: done in");
    vm.agent_vm("connect -- hello").succeeds().stdout_is("Hello, world!");
}

fn new_vm_gets_back_what_was_saved(vm: &Vm) {
    step("a new VM gets back what was saved");
    vm.agent_vm("restore feature")
        .succeeds()
        .stderr_has("as workspace 'app-feature' of branch 'feature'")
        .stderr_has("~/workspace/app-feature-away")
        .stderr_has("out of effect");
    let script = "cat notes.txt data/file ../app-feature-away/w; git stash list | wc -l
        git -C ../app-feature-away status --short; git checkout -q -b tried; git checkout -q feature
        ls ~/pwned 2>/dev/null; git branch -qD tried";
    vm.agent(script).succeeds().stdout_is("only\nroot\nw\n1\n?? w");
    vm.git("fetch agentvm::feature").succeeds();
    vm.agent_vm("mount").succeeds();
}

fn destroy_leaves_nothing(vm: &Vm) {
    step("destroy leaves nothing");
    let user = vm.lab.host("sleep", "1000").in_dir(vm.mounted()).background();
    // hashicorp/vagrant#10377: a QEMU that hangs must not outlive its VM.
    for pid in vm.processes_of("qemu-system") {
        kill_process(pid, Signal::STOP).unwrap();
    }
    let refused = vm.agent_vm("destroy --force").run();
    assert!([3, 6].contains(&refused.code), "{refused}");
    refused.stderr_has("so it stays").stderr_has("git agent-vm destroy --discard");
    // The mount's own connection has been given up by now.
    vm.agent_vm("destroy --discard=agent-vm").succeeds().stderr_has("cannot be learned");
    assert!(vm.lab.mounts().is_empty());
    user.signal(Signal::KILL);
    user.finish();
    assert!(vm.processes().is_empty());
    assert!(!vm.lab.home().join(".lima/agent-vm").exists());
    assert_eq!(vm.status()["vm"]["status"], "absent");
    vm.agent_vm("stop").fails(4);
}
