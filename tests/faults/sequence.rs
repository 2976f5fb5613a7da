//! Random sequences, done for real, and held against the model.
//!
//! Each sequence begins with a new repository and a new workspace, so that one that fails can be made
//! shorter.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::model::{Action, Content, Crash, Model, Place, actions};
use crate::shell::Shell;
use crate::support::{Lab, Ran};
use crate::world::{guest_shell, wait_for_quiet};

struct Bench {
    agent: Shell,
    killer: Shell,
    user: Shell,
    count: u64,
    story: String,
    lab: Lab,
}

/// Runs so many sequences.
pub(crate) fn run(sequences: u32, seed: u64) {
    let lab = Lab::new();
    let user = Shell::new(&lab.host("env", "-u AGENTVM_LAB sh"));
    let (agent, killer) = (guest_shell(&lab, "sh"), guest_shell(&lab, "sh"));
    let bench = RefCell::new(Bench { agent, killer, user, count: 0, story: String::new(), lab });
    // Each sequence begins with copies of these two: a push into a new workspace takes longer.
    bench.borrow_mut().user.run(
        "cd app && git checkout -q feature && printf '*.log\\n' >.gitignore && echo 1 >tracked &&
        git add . && git commit -qm start && git push -q agentvm::feature && cd .. && cp -a app base",
    );
    bench.borrow_mut().agent.run("cp -a workspace base");
    let config = Config {
        cases: sequences,
        failure_persistence: None,
        max_shrink_iters: 80,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    runner
        .run(&actions(), |actions| bench.borrow_mut().sequence(&actions))
        .unwrap_or_else(|error| panic!("{error}\n{}", bench.borrow().story));
}

impl Bench {
    fn sequence(&mut self, actions: &[Action]) -> Result<(), TestCaseError> {
        self.user.start("rm -rf app && cp -a base app");
        self.agent.run("rm -rf workspace && cp -a base workspace");
        assert_eq!(self.user.finish().1, 0);
        self.story.clear();
        let mut model = Model { branch: "feature".to_owned(), ..Model::default() };
        for action in actions {
            self.story += &format!("=== {action:?}\n");
            self.act(&mut model, *action)?;
        }
        self.check(&mut model)
    }

    fn token(&mut self) -> String {
        self.count += 1;
        format!("tok-{:08x}{:08x}", std::process::id(), self.count)
    }

    /// A script of the agent's; whether all of it was done.
    fn agent(&mut self, model: &Model, script: &str) -> bool {
        let (said, code) =
            self.agent.try_run(&format!("cd {} || exit 9\n{script}", model.workspace()));
        self.story += &format!("agent: {script}\n  exit code {code}: {said}\n");
        code == 0
    }

    /// A git command of the user's with the network.
    fn command(&mut self, model: &mut Model, words: &str) -> Ran {
        let ran = self.lab.git(words).env("GIT_AGENT_VM_TIME_LIMIT", "20").run();
        self.story += &format!("{ran}\n");
        if ran.code == 0 && words.starts_with("push") {
            model.pushed.extend(model.user_token.clone());
        }
        ran
    }

    fn act(&mut self, model: &mut Model, action: Action) -> Result<(), TestCaseError> {
        let branch = model.branch.clone();
        match action {
            Action::WriteUntracked => self.write(model, "new-N.txt", Place::WorkTree),
            Action::WriteIgnored => self.write(model, "new-N.log", Place::Ignored),
            Action::EditTracked => self.write(model, "tracked", Place::WorkTree),
            Action::Commit => {
                if self.agent(model, "git add -A && git commit -qm agent") {
                    model.uncommitted_goes_to(Place::Objects, !model.elsewhere && !model.crashed);
                }
            }
            Action::Stash => {
                if self.agent(model, "git stash -qu && git rev-parse -q --verify refs/stash") {
                    model.uncommitted_goes_to(Place::Objects, false);
                }
            }
            Action::Amend => drop(self.agent(model, "git commit -q --amend -m amended")),
            Action::Rebase => {
                let script = "git rebase -q --force-rebase HEAD~1 || git rebase --abort";
                self.agent(model, script);
            }
            Action::ResetHard => {
                self.agent(model, "git reset -q --hard");
                model.contents.retain(|content| content.place != Place::WorkTree);
            }
            Action::NewBranch => {
                model.elsewhere |= self.agent(model, "git checkout -q -b side");
            }
            Action::BackToBranch => {
                if self.agent(model, &format!("git checkout -q {branch}")) {
                    model.elsewhere = false;
                }
            }
            Action::UserCommit => {
                let token = self.token();
                let said = self.user.run(&format!(
                    "cd app && git checkout -q {branch} && echo {token} >user.txt && git add user.txt &&
                    git commit -qm user"
                ));
                self.story += &said;
                model.user_token = Some(token);
            }
            Action::Push => drop(self.command(model, &format!("push agentvm::{branch}"))),
            Action::ForcePush => {
                if self.command(model, &format!("push --force agentvm::{branch}")).code == 0 {
                    model.replaced();
                }
            }
            Action::Fetch => self.fetch(model, &format!("fetch agentvm::{branch}")),
            Action::Pull => {
                self.fetch(model, &format!("pull --no-rebase --no-edit agentvm::{branch}"));
            }
            Action::Clean => self.clean(model)?,
            Action::CleanForce => {
                if self.command(model, &format!("agent-vm clean --force {branch}")).code == 0 {
                    model.cleaned();
                }
            }
            Action::Restore => {
                let (_, there) = self.agent.try_run(&format!("test -d {}", model.workspace()));
                let ran = self.command(model, &format!("agent-vm restore {branch}"));
                // Beside a new workspace it stays by itself, and nobody touches it any more.
                if ran.code == 0 && there != 0 {
                    model.restored();
                }
            }
            Action::DeleteBranch => {
                let (said, _) = self.user.try_run(&format!(
                    "cd app && git checkout -q --detach && git branch -qD {branch} &&
                    git reflog expire --expire=now --all && git gc -q --prune=now &&
                    git checkout -q -b {branch}"
                ));
                self.story += &said;
            }
            Action::RenameBranch => {
                model.number += 1;
                let new = format!("renamed-{}", model.number);
                self.user.run(&format!("cd app && git branch -m {branch} {new}"));
                model.branch = new;
                model.elsewhere = false;
            }
            Action::Crash(crash, after) => self.crash(model, crash, after),
        }
        self.check_files(model)
    }

    fn write(&mut self, model: &mut Model, file: &str, place: Place) {
        model.number += 1;
        let file = file.replace('N', &model.number.to_string());
        let token = self.token();
        if self.agent(model, &format!("echo {token} >>{file}")) {
            let file = format!("{}/{file}", model.workspace());
            model.contents.push(Content {
                token,
                file,
                place,
                trashed: None,
                on_branch: false,
                on_host: false,
            });
        }
    }

    fn fetch(&mut self, model: &mut Model, words: &str) {
        if self.command(model, words).code == 0 && !model.crashed {
            let here = format!("{}/", model.workspace());
            for content in &mut model.contents {
                content.on_host |= content.on_branch
                    && content.place != Place::Trash
                    && content.file.starts_with(&here);
            }
        }
    }

    /// Without `--force`, nothing that exists nowhere else may go.
    fn clean(&mut self, model: &mut Model) -> Result<(), TestCaseError> {
        let here = format!("{}/", model.workspace());
        let only_there = model.contents.iter().find(|content| {
            content.place != Place::Trash && !content.on_host && content.file.starts_with(&here)
        });
        let only_there = only_there.map(|content| content.token.clone());
        if self.command(model, &format!("agent-vm clean {}", model.branch)).code == 0 {
            prop_assert!(only_there.is_none(), "cleaned without --force: {only_there:?}");
            model.cleaned();
        }
        Ok(())
    }

    /// Kills in the middle of a command.
    fn crash(&mut self, model: &mut Model, crash: Crash, after: u16) {
        let words = match crash {
            Crash::GuestInPush | Crash::HostInPush => {
                format!("push --force agentvm::{}", model.branch)
            }
            Crash::GuestInFetch | Crash::HostInFetch => format!("fetch agentvm::{}", model.branch),
            Crash::GuestInClean => format!("agent-vm clean --force {}", model.branch),
        };
        model.crashed = true;
        let running = self.lab.git(&words).env("GIT_AGENT_VM_TIME_LIMIT", "20").background();
        let seconds = f64::from(after) / 1000.0;
        match crash {
            Crash::HostInPush | Crash::HostInFetch => {
                std::thread::sleep(std::time::Duration::from_secs_f64(seconds));
                running.signal(rustix::process::Signal::KILL);
            }
            _ => drop(self.killer.try_run(&format!(
                "sleep {seconds}; kill -9 $(grep -lzsxF 'AGENTVM_LAB={}' /proc/[0-9]*/environ | cut -d/ -f3)",
                self.lab.path().join("guest/of the guest").display()
            ))),
        }
        let ran = running.finish();
        self.story += &format!("{ran}\n");
        if matches!(crash, Crash::GuestInClean) {
            model.cleaned();
        }
    }

    /// After each step: uncommitted files are where they were. A push that was cut off may have moved
    /// what was in its way.
    fn check_files(&mut self, model: &Model) -> Result<(), TestCaseError> {
        if model.crashed || model.elsewhere {
            return Ok(());
        }
        let stays = |content: &&Content| matches!(content.place, Place::WorkTree | Place::Ignored);
        let mut script = String::new();
        for content in model.contents.iter().filter(stays) {
            script +=
                &format!("grep -qF {} {} || echo {}\n", content.token, content.file, content.file);
        }
        let gone = if script.is_empty() { script } else { self.agent.run(&(script + "true")) };
        prop_assert!(gone.is_empty(), "no longer in its file: {gone}");
        Ok(())
    }

    /// At the end, after one ordinary command where something was killed: all that must be there is.
    fn check(&mut self, model: &mut Model) -> Result<(), TestCaseError> {
        if model.crashed {
            wait_for_quiet(&self.lab, &self.user, &mut self.agent);
            let branch = model.branch.clone();
            self.command(model, &format!("fetch agentvm::{branch}"));
        }
        self.user.start(FIND_ON_HOST);
        let guest = self.agent.run(FIND_IN_GUEST);
        let (host, _) = self.user.finish();
        for content in &model.contents {
            let there = guest.contains(&content.token);
            let here = host.contains(&content.token);
            prop_assert!(there || here, "gone: {content:?}");
            prop_assert!(here || !content.on_host, "fetched, and gone from the host: {content:?}");
        }
        for token in &model.pushed {
            prop_assert!(guest.contains(token), "pushed, and not in the workspace: {token}");
        }
        for line in guest.lines().chain(host.lines()) {
            prop_assert!(line.starts_with("tok-"), "not sound: {line}");
        }
        Ok(())
    }
}

const FIND_IN_GUEST: &str = r#"cd workspace 2>/dev/null || exit 0
for repo in app-* .trash/*; do
  [ -d "$repo" ] || continue
  find "$repo" -path "$repo/.git" -prune -o -type f -print0 | xargs -0 -r cat
  # A workspace whose making was cut off is an empty directory, and as good as none.
  [ -e "$repo/.git" ] || continue
  git -C "$repo" rev-list --objects --all --reflog --indexed-objects | cut -d' ' -f1 |
    git -C "$repo" cat-file --batch --buffer
done | grep -aoh 'tok-[0-9a-f]\{16\}'
for repo in app-*; do
  [ -e "$repo/.git" ] || continue
  git -C "$repo" fsck --full --no-dangling --no-progress 2>&1 | grep -E '^(error|fatal|missing|broken)'
  find "$repo/.git" -ignore_readdir_race -name '*.lock' ! -name agentvm.lock
  [ ! -s "$repo/.git/agentvm-journal" ] || echo "open: $repo/.git/agentvm-journal"
done
true"#;

const FIND_ON_HOST: &str = r"cd app
git rev-list --objects --all --reflog --indexed-objects | cut -d' ' -f1 |
  git cat-file --batch --buffer | grep -aoh 'tok-[0-9a-f]\{16\}'
git fsck --full --no-dangling --no-progress 2>&1 | grep -E '^(error|fatal|missing|broken)'
true";
