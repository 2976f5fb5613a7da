//! A lab that lives for many rounds: a user who commits, an agent who leaves work of every kind, and a
//! ledger of all that may exist in one place only.

use std::collections::{BTreeMap, BTreeSet};

use crate::rng::Rng;
use crate::shell::Shell;
use crate::support::{Lab, Run};

/// Rounds after which a lab makes room for a new one: what has to be looked through grows.
pub(crate) const LIFE: usize = 40;

/// What an agent may leave behind. `TOKEN` stands for unique bytes, `N` for a number.
const DEEDS: [(usize, &str); 10] = [
    (20, "mkdir -p agent && echo TOKEN >agent/untracked-N.txt"),
    (15, "mkdir -p agent && echo TOKEN >agent/ignored-N.log"),
    (5, "echo TOKEN >>.env"),
    (20, "echo TOKEN >>agent.txt"),
    (10, "mkdir -p agent && echo TOKEN >agent/staged-N.txt && git add agent/staged-N.txt"),
    (
        10,
        "mkdir -p agent && echo TOKEN >agent/commit-N.txt && git add agent/commit-N.txt &&
        git commit -q -m agent-N -- agent/commit-N.txt",
    ),
    // A mend leaves the flag of an earlier deed.
    (
        8,
        "git update-index --no-assume-unchanged agent.txt 2>/dev/null; echo TOKEN >>agent.txt
        git stash -q",
    ),
    (4, "git update-index --assume-unchanged agent.txt 2>/dev/null; echo TOKEN >>agent.txt"),
    (
        5,
        "mkdir -p agent && echo TOKEN >agent/gone-N.txt && git add agent/gone-N.txt &&
        git commit -q -m gone-N -- agent/gone-N.txt && git reset -q --keep HEAD~",
    ),
    (
        7,
        "blob=$(echo TOKEN | git hash-object -w --stdin) &&
        tree=$(printf '100644 blob %s\\tside.txt\\n' $blob | git mktree) &&
        git update-ref refs/heads/side-N $(git commit-tree -p HEAD -m side-N $tree)",
    ),
];

/// One commit of the user's: files that change, come and go, and a path that is by turns a
/// directory, a file and a link.
const USER_COMMIT: &str = r#"n=N
mkdir -p host
for k in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  echo "TOKEN $k" >host/$((n * k % 47)).txt
done
git rm -rqf --ignore-unmatch host/$(((n + 5) % 47)).txt host/$(((n + 6) % 47)).txt
[ $((n % 3)) != 0 ] || echo "TOKEN user" >>agent.txt
rm -rf swap
case $((n % 4)) in
  0) mkdir swap && echo TOKEN >swap/a && echo b >swap/b ;;
  1) echo "TOKEN swap" >swap ;;
  2) ln -s host swap ;;
esac
mkdir -p host && chmod $((644 + n % 2 * 111)) host/*.txt 2>/dev/null
git add -A . && git commit -qm "user $n""#;

pub(crate) struct World {
    /// The agent's shell, in the guest's home, without the lab's mark: no victim.
    pub(crate) agent: Shell,
    /// A second one, for what runs beside the first.
    pub(crate) killer: Shell,
    /// The user's shell, in the repository `app`, without the mark.
    pub(crate) user: Shell,
    pub(crate) rng: Rng,
    /// Unique bytes, each with what it was planted as. Every one has to be found again.
    pub(crate) planted: Vec<(String, String)>,
    /// What the user pushed, git saying that it is done: it has to be in the guest.
    pub(crate) pushed: BTreeSet<String>,
    /// Of the user's last commit.
    pub(crate) user_token: String,
    pub(crate) number: usize,
    pub(crate) age: usize,
    /// Whether the agent has committed since the user last fetched.
    agent_is_ahead: bool,
    /// How many steps the guest's part of a command has.
    pub(crate) steps: BTreeMap<&'static str, usize>,
    /// Goes last: it looks for processes that were left behind, and the shells are none.
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let lab = Lab::new();
        let agent = guest_shell(&lab, "sh");
        let killer = guest_shell(&lab, "sh");
        let user =
            Shell::new(&quiet(lab.host("env", "-u AGENTVM_LAB sh")).in_dir(lab.app().path()));
        let mut world = Self {
            agent,
            killer,
            user,
            rng: Rng::new(seed),
            planted: Vec::new(),
            pushed: BTreeSet::new(),
            user_token: String::new(),
            number: 0,
            age: 0,
            agent_is_ahead: false,
            steps: BTreeMap::new(),
            lab,
        };
        world.user.run("git checkout -q feature && git config advice.diverging false");
        world.user.run("echo agent >agent.txt && git add agent.txt && git commit -qm agent.txt");
        world.user.run("git push -q agentvm::feature");
        world
    }

    pub(crate) fn token(&mut self) -> String {
        format!("tok-{:016x}", self.rng.next())
    }

    /// A script in the workspace; "" where there is none.
    pub(crate) fn in_workspace(&mut self, script: &str) -> String {
        // One whose making was cut off is an empty directory, and as good as none.
        let enter = "{ cd workspace/app-feature && [ -e .git ]; } 2>/dev/null || exit 0";
        self.agent.run(&format!("{enter}\n{script}"))
    }

    /// The agent leaves something; most often it commits what it changed, so that a push may come.
    pub(crate) fn agent_works(&mut self, settled: usize) {
        let unborn = self.in_workspace("git rev-parse -q --verify HEAD >/dev/null || echo unborn");
        // Before there is a commit, an agent can leave files.
        let deeds = if unborn.contains("unborn") { &DEEDS[..3] } else { &DEEDS[..] };
        let mut script = String::new();
        for _ in 0..=self.rng.below(2) {
            script += &self.deed(deeds);
        }
        if self.rng.chance(settled) {
            script += "git update-index --no-assume-unchanged agent.txt 2>/dev/null
                git commit -qam settled >/dev/null; true\n";
            self.agent_is_ahead = true;
        }
        self.in_workspace(&script);
    }

    /// One deed of the agent's, as a script. It is in the ledger only if it was done: the script says
    /// so itself.
    fn deed(&mut self, deeds: &[(usize, &'static str)]) -> String {
        let text = self.rng.weighted(deeds);
        self.number += 1;
        let token = self.token();
        let script = text.replace("TOKEN", &token).replace("-N", &format!("-{}", self.number));
        if script.contains("commit") {
            self.agent_is_ahead = true;
        }
        let what = script.lines().next().unwrap_or_default().to_owned();
        self.planted.push((token, what));
        format!("{{ {script}\n}} || exit 1\n")
    }

    /// What an agent does while others push: it may find git's locks taken, so each deed may fail,
    /// and what it planted counts only where the file came to be.
    pub(crate) fn busy_script(&mut self, deeds: usize) -> String {
        let mut script = String::from("cd workspace/app-feature || exit 0\n");
        for _ in 0..deeds {
            self.number += 1;
            let token = self.token();
            let n = self.number;
            let kinds = [
                format!("echo {token} >>agent.txt; git commit -qam busy-{n}"),
                format!(
                    "mkdir -p agent; echo {token} >agent/busy-{n}.txt; git add agent/busy-{n}.txt; git commit -qm busy-{n}"
                ),
                format!("mkdir -p agent; echo {token} >agent/busy-{n}.log"),
                format!("echo {token} >>agent.txt; git stash -q; git stash pop -q"),
                format!(
                    "mkdir -p agent; echo {token} >agent/amend-{n}.txt; git add agent/amend-{n}.txt; git commit -q --amend --no-edit"
                ),
                format!(
                    "echo {token} >>agent.txt; git commit -qam again-{n}; git rebase -q HEAD~1 --exec true --keep-base"
                ),
            ];
            let which = self.rng.below(kinds.len());
            script += &kinds[which];
            script += "\n";
            self.planted.push((token, kinds[which].clone()));
        }
        self.agent_is_ahead = true;
        // Nothing of its own is left half done: that would be the agent's to mend. Giving a rebase up
        // throws away what is not committed.
        script
            + "for try in 1 2 3; do
                [ ! -d .git/rebase-merge ] || { git stash -q; git rebase --abort; }
                git commit -qam busy-end
            done; true"
    }

    /// The user commits, most often on top of what the agent has.
    pub(crate) fn user_works(&mut self) {
        if self.agent_is_ahead && self.rng.chance(90) {
            self.agent_is_ahead = false;
            self.user.run(
                "git fetch -q agentvm::feature || exit 0
                git merge -q -X theirs --no-edit FETCH_HEAD && exit
                git merge --abort; git reset -q --hard FETCH_HEAD",
            );
        }
        self.number += 1;
        self.user_token = self.token();
        let script = USER_COMMIT
            .replace("n=N", &format!("n={}", self.number))
            .replace("TOKEN", &self.user_token);
        self.user.run(&script);
    }

    /// A command of the product, as a user types it.
    pub(crate) fn command(&self, words: &str) -> Run {
        quiet(self.lab.git(words)).env("GIT_AGENT_VM_TIME_LIMIT", "20").within_seconds(100)
    }

    /// Waits until nothing of a command runs any more, on either side.
    pub(crate) fn wait_for_quiet(&mut self) {
        wait_for_quiet(&self.lab, &self.user, &mut self.agent);
    }

    /// What git thinks of the work tree, ignored files included.
    pub(crate) fn work_tree(&mut self) -> String {
        self.in_workspace("git status --porcelain -uall --ignored=matching --no-renames")
    }

    /// A workspace that was taken away, or moved to the trash, is made anew, with the agent's settings.
    pub(crate) fn ensure_workspace(&mut self) {
        let settings = "printf '%s\\n' '*.log' .env >.git/info/exclude && echo there";
        if self.in_workspace(settings).trim() != "there" {
            self.user.run("git push -q agentvm::feature");
            self.in_workspace(settings);
        }
    }
}

/// A shell in the guest's home that is no victim.
pub(crate) fn guest_shell(lab: &Lab, words: &str) -> Shell {
    let mut shell = Shell::new(&lab.guest_command("env", &format!("-u AGENTVM_LAB {words}")));
    // Programs that fake others stand first, and are not meant for the agent.
    shell.set("PATH=${PATH#*:}");
    shell
}

fn quiet(run: Run) -> Run {
    run.env("GIT_TERMINAL_PROMPT", "0")
}

/// The host's processes come first: one that is still connecting starts others in the guest.
pub(crate) fn wait_for_quiet(lab: &Lab, user: &Shell, agent: &mut Shell) {
    let user = format!("{} ", user.id());
    lab.wait_until("all processes of a command have ended", |lab| {
        let lines = lab.host_processes();
        lines.iter().all(|line| is_master(line) || line.starts_with(&user))
    });
    agent.wait_for_the_guest(lab);
}

/// Whether a line of [`Lab::host_processes`] is our ssh master, which outlives its commands.
pub(crate) fn is_master(line: &str) -> bool {
    line.contains("[mux]")
}
