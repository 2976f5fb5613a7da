//! What is measured.

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::measure::{self, Table, Way};
use crate::world::{Connection, World};

type Case = fn(&World, &mut Table);

/// The cases by name, in the order in which they are done.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("helper-start", helper_start),
    ("connect", connect),
    ("push", push),
    ("fetch", fetch),
    ("no-op-fetch", no_op_fetch),
    ("status", status),
    // Last: what it leaves makes every copy of a workspace big.
    ("big", big),
];

/// In bytes.
const BIG: usize = 200 << 20;

fn helper_start(world: &World, table: &mut Table) {
    let mut times: Vec<f64> = (0..50)
        .map(|_| {
            let started = Instant::now();
            let mut helper = Command::new(env!("CARGO_BIN_EXE_git-remote-agentvm"))
                .args(["agentvm::feature", "feature"])
                .current_dir(world.app().path())
                .env("GIT_DIR", ".git")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut pipe = helper.stdin.take().unwrap();
            pipe.write_all(b"capabilities\n").unwrap();
            let mut answer = String::new();
            std::io::BufReader::new(helper.stdout.take().unwrap()).read_line(&mut answer).unwrap();
            let time = started.elapsed().as_secs_f64();
            drop(pipe);
            helper.wait().unwrap();
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2] * 1000.0;
    table.value("helper: from its start to its first answer", &format!("{median:.1} ms"), "≤ 3 ms");
}

fn connect(world: &World, table: &mut Table) {
    table.compare(
        "`connect feature -- true` : `ssh vm true`, both over a master",
        "≤ 1.3",
        Way::new(|| {}, || vec![world.agent_vm("connect feature -- true")]),
        Way::new(|| {}, || vec![world.ssh(Connection::Warm, "true")]),
    );
}

fn push(world: &World, table: &mut Table) {
    let ours = |connection| {
        Way::new(
            move || {
                world.commit(&world.app());
                world.before(connection);
            },
            || vec![world.git("push -q agentvm::feature")],
        )
    };
    let plain = |connection| {
        Way::new(
            || world.commit(&world.plain()),
            move || vec![world.plain_git("push -q vm feature", connection)],
        )
    };
    table.compare(
        "push of one commit : `git push` over ssh, both over a master",
        "≤ 1.2",
        ours(Connection::Warm),
        plain(Connection::Warm),
    );
    table.compare(
        "push of one commit : `git push` over ssh, neither with a master",
        "≤ 1.0",
        ours(Connection::Cold),
        plain(Connection::Cold),
    );
    let sequence = Way::new(
        || world.commit(&world.plain()),
        || {
            let make = "git init -q -b feature plain";
            let check_out = "cd plain && git merge -q --ff-only incoming";
            vec![
                world.ssh(Connection::Cold, make),
                world.plain_git("push -q vm feature:incoming", Connection::Cold),
                world.ssh(Connection::Cold, check_out),
            ]
        },
    );
    table.compare(
        "push of one commit : ssh to create, `git push`, ssh to check out, none with a master",
        "≤ 0.4",
        ours(Connection::Cold),
        sequence,
    );
}

fn fetch(world: &World, table: &mut Table) {
    for (connection, words, target) in [
        (Connection::Warm, "both over a master", "≤ 1.2"),
        (Connection::Cold, "neither with a master", "≤ 1.0"),
    ] {
        let ours = Way::new(
            || {
                world.guest_commit("workspace/app-feature");
                world.before(connection);
            },
            || vec![world.git("fetch -q agentvm::feature")],
        );
        let plain = Way::new(
            || world.guest_commit("plain"),
            || vec![world.plain_git("fetch -q vm feature", connection)],
        );
        table.compare(
            &format!("fetch of one commit : `git fetch` over ssh, {words}"),
            target,
            ours,
            plain,
        );
    }
    // The histories on the host go on from there.
    world.app().git("merge -q --ff-only FETCH_HEAD").succeeds();
    world.plain().git("merge -q --ff-only FETCH_HEAD").succeeds();
}

fn no_op_fetch(world: &World, table: &mut Table) {
    for (connection, words, target) in [
        (Connection::Warm, "both over a master", "≤ 1.2"),
        (Connection::Cold, "neither with a master", "≤ 1.0"),
    ] {
        table.compare(
            &format!("fetch of nothing : `git fetch` over ssh, {words}"),
            target,
            Way::new(|| world.before(connection), || vec![world.git("fetch -q agentvm::feature")]),
            Way::new(|| {}, || vec![world.plain_git("fetch -q vm feature", connection)]),
        );
    }
}

/// 200 MB that do not compress, there and back, over a master; and the helper's memory meanwhile. Each
/// time under another name: git would look for a delta to what was there, which takes it longer than
/// all the rest.
fn big(world: &World, table: &mut Table) {
    let script = "rm -f big.*; head -c \"$1\" /dev/urandom >$(mktemp big.XXXXXX) && git add -A && git commit -q -m big";
    let repos = [world.app(), world.plain()];
    let commit = |which: usize| {
        let words = ["-c", script, "sh", &BIG.to_string()];
        world.lab.host("sh", words).in_dir(repos[which].path()).succeeds();
    };
    table.compare_times(
        3,
        "push of 200 MB : `git push` over ssh, both over a master",
        "≤ 1.03",
        Way::new(|| commit(0), || vec![world.git("push -q agentvm::feature")]),
        Way::new(|| commit(1), || vec![world.plain_git("push -q vm feature", Connection::Warm)]),
    );
    commit(0);
    let pushing = peak_of_helpers(world.git("push -q agentvm::feature"));
    table.value("memory of the helper during that", &format!("{pushing:.1} MB"), "≤ 10 MB");
    let guest_commit = |dir| {
        world.guest(&format!(
            "cd {dir} && rm -f big.*; head -c {BIG} /dev/urandom >$(mktemp big.XXXXXX) && git add -A && git -c user.name=A -c user.email=a@b commit -qm big"
        ));
    };
    table.compare_times(
        3,
        "fetch of 200 MB : `git fetch` over ssh, both over a master",
        "≤ 1.03",
        Way::new(
            || guest_commit("workspace/app-feature"),
            || vec![world.git("fetch -q agentvm::feature")],
        ),
        Way::new(
            || guest_commit("plain"),
            || vec![world.plain_git("fetch -q vm feature", Connection::Warm)],
        ),
    );
    guest_commit("workspace/app-feature");
    let fetching = peak_of_helpers(world.git("fetch -q agentvm::feature"));
    table.value("memory of the helper during that", &format!("{fetching:.1} MB"), "≤ 10 MB");
    world.app().git("merge -q --ff-only FETCH_HEAD").succeeds();
    world.plain().git("merge -q --ff-only FETCH_HEAD").succeeds();
}

/// The most memory, in MB, that any one process of the helper had while the command ran.
fn peak_of_helpers(mut command: Command) -> f64 {
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.starts_with("Name:\tgit-remote-agen") {
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let words = line.and_then(|line| line.trim().split(' ').next());
                peak = peak.max(words.and_then(|word| word.parse::<u32>().ok()).unwrap_or(0));
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    f64::from(peak) / 1024.0
}

fn status(world: &World, table: &mut Table) {
    let mut one = 0.0;
    for (count, target) in [(1, ""), (10, ""), (100, "≤ 3")] {
        world.guest(&format!(
            "cd workspace && i=$(ls | wc -l) && while [ $i -lt {count} ]; do
               cp -a app-feature app-b$i && git -C app-b$i config agentvm.ref refs/heads/b$i
               git -C app-b$i branch -q -m b$i; i=$((i + 1)); done"
        ));
        let way = Way::new(|| {}, || vec![world.agent_vm("status --json")]);
        let time = measure::median_of(5, way);
        if count == 1 {
            one = time;
        }
        table.value(
            &format!("status of {count} workspaces : of one"),
            &format!("{:.2} ({:.0} ms)", time / one, time * 1000.0),
            target,
        );
    }
}
