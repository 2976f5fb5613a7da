//! SIGKILL for processes of every kind, while they are at work.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::rng::Rng;
use crate::support::{Background, Lab};
use crate::world::{World, is_master};

/// What may be killed in the guest: a name, and a shell pattern for the command line, of which the
/// shell sees no white space.
const IN_GUEST: [(usize, (&str, &str)); 19] = [
    (14, ("any process", "*")),
    (8, ("guest program", "sh-c*eval*agentvm*")),
    (8, ("receive-pack", "*receive-pack*")),
    (6, ("unpack-objects or index-pack", "git*unpack-objects*|git*index-pack*")),
    (8, ("pre-receive", "*/pre-receive")),
    (12, ("push-to-checkout", "*/push-to-checkout*")),
    (12, ("checkout", "git*checkout*--detach*")),
    (4, ("status", "git*status*")),
    (4, ("rev-list", "git*rev-list*")),
    (3, ("read-tree", "git*read-tree*")),
    (3, ("checkout-index", "git*checkout-index*")),
    (3, ("update-ref", "git*update-ref*")),
    (3, ("symbolic-ref", "git*symbolic-ref*")),
    (5, ("sync", "sync*")),
    (4, ("upload-pack", "*upload-pack*")),
    (3, ("pack-objects", "git*pack-objects*")),
    (10, ("whole session", "ALL")),
    (7, ("sshd's session", "SESSION")),
    (1, ("sshd's listener", "LISTENER")),
];

/// On the host: a name, and words one of which the command line contains.
const ON_HOST: [(usize, (&str, &[&str])); 10] = [
    (6, ("any process", &[""])),
    (8, ("git", &["git push", "git fetch", "git agent-vm"])),
    (8, ("helper", &["git-remote-agentvm agentvm", "git remote-agentvm"])),
    (6, ("relay", &["--relay"])),
    (8, ("send-pack", &["send-pack"])),
    (6, ("fetch-pack", &["fetch-pack", "index-pack", "unpack-objects"])),
    (4, ("pack-objects", &["pack-objects"])),
    (4, ("rev-list", &["rev-list", "update-ref"])),
    (8, ("ssh", &["ssh "])),
    (3, ("ssh master", &["[mux]"])),
];

/// Waits for a victim, lets it work for `NAP` seconds, and kills it. The listener's own children are
/// sessions; the lab's mark finds all the others.
const KILLER: &str = r#"kin() { ps -o pid= --ppid "$1"; }
listener=
for file in ../sshd.*.pid; do
  read -r pid <"$file" && kill -0 "$pid" 2>/dev/null && listener=$pid
done
while [ ! -e stop.ROUND ]; do
  victims=
  case 'PATTERN' in
    LISTENER) victims=$listener ;;
    SESSION) victims=$(kin "$listener") ;;
    *)
      for file in $(grep -lzsxF "$MARK" /proc/[0-9]*/environ); do
        pid=${file#/proc/} pid=${pid%/environ} words=
        words=$(tr -d ' \0\n' <"/proc/$pid/cmdline" 2>/dev/null)
        case 'PATTERN' in
          ALL) [ -z "$words" ] || victims="$victims $pid" ;;
          *) case $words in '') ;; PATTERN) victims="$victims $pid" ;; esac ;;
        esac
      done ;;
  esac
  [ -n "$victims" ] || continue
  sleep NAP
  set -- $victims
  # What lives on without the one that is killed, until the round is over.
  case 'PATTERN' in SESSION | LISTENER) for pid in $(kin "$listener"); do echo $pid; kin $pid; done >>sessions ;; esac
  if [ -n "MACHINE" ]; then
    set -- $(grep -lzsxF "$MARK" /proc/[0-9]*/environ | cut -d/ -f3) $(kin "$listener")
    set -- "$@" $(for pid in $(kin "$listener"); do kin $pid; done)
  else
    case 'PATTERN' in ALL) ;; *) n=$((PICK % $# + 1)); eval "set -- \${$n}" ;; esac
  fi
  kill -9 "$@" 2>/dev/null && { echo killed; break; }
done"#;

/// One process, or one kind of it, to be killed.
#[derive(Debug, Clone)]
pub(crate) enum Victim {
    Guest { name: &'static str, pattern: &'static str, all: bool, nap: usize, pick: usize },
    Host { name: &'static str, words: &'static [&'static str], nap: usize, pick: usize },
}

impl Victim {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        if rng.chance(70) { Self::guest(rng) } else { Self::host(rng) }
    }

    /// One in the guest.
    pub(crate) fn guest(rng: &mut Rng) -> Self {
        let (name, pattern) = rng.weighted(&IN_GUEST);
        // What is there all the time is killed at any time, the others soon.
        let longest =
            if matches!(pattern, "*" | "ALL" | "SESSION" | "LISTENER") { 250 } else { 25 };
        Self::Guest { name, pattern, all: false, nap: rng.below(longest), pick: rng.below(1000) }
    }

    /// All of the guest's processes at once, when one of some kind is at work.
    pub(crate) fn machine(rng: &mut Rng) -> Self {
        let patterns =
            ["*/push-to-checkout*", "git*checkout*--detach*", "sync*", "*receive-pack*", "*"];
        let (pattern, nap) = (rng.pick(&patterns), rng.below(60));
        Self::Guest { name: "machine", pattern, all: true, nap, pick: 0 }
    }

    fn host(rng: &mut Rng) -> Self {
        let (name, words) = rng.weighted(&ON_HOST);
        Self::Host { name, words, nap: rng.below(200), pick: rng.below(1000) }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Guest { name, .. } => format!("guest: {name}"),
            Self::Host { name, .. } => format!("host: {name}"),
        }
    }
}

/// What was started to kill during one command.
pub(crate) struct Killers {
    guest: Vec<Victim>,
    host: Vec<Victim>,
    stop: String,
    seen: Option<std::time::Instant>,
    hit: Vec<String>,
}

impl World {
    /// Lies in wait for `victims`, one after the other on each side.
    pub(crate) fn lie_in_wait(&mut self, victims: Vec<Victim>) -> Killers {
        self.number += 1;
        let stop = format!("stop.{}", self.number);
        let (guest, host): (Vec<_>, Vec<_>) =
            victims.into_iter().partition(|victim| matches!(victim, Victim::Guest { .. }));
        let mark = self.lab.path().join("guest/of the guest");
        let mut script = format!("MARK='AGENTVM_LAB={}'\n", mark.display());
        for victim in &guest {
            let Victim::Guest { pattern, all, nap, pick, .. } = victim else { continue };
            script += &KILLER
                .replace("MACHINE", if *all { "yes" } else { "" })
                .replace("ROUND", &self.number.to_string())
                .replace("PATTERN", pattern)
                .replace("NAP", &format!("0.{nap:03}"))
                .replace("PICK", &pick.to_string());
            script += "\n[ -e stop.N ] && exit\n".replace('N', &self.number.to_string()).as_str();
        }
        self.killer.start(&script.replace("\n[ -e", "\necho next\n[ -e"));
        Killers { guest, host, stop, seen: None, hit: Vec::new() }
    }

    /// Waits for the commands' end, killing meanwhile; gives who was hit.
    pub(crate) fn hunt(
        &mut self,
        mut killers: Killers,
        commands: &mut [Background],
    ) -> Vec<String> {
        while commands.iter_mut().any(Background::is_running) {
            killers.on_host(&self.lab);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        self.agent.run(&format!(": >{}", killers.stop));
        let (said, _) = self.killer.finish();
        self.agent.run(&format!("rm -f {}", killers.stop));
        let mut hit = killers.hit;
        for (victim, said) in killers.guest.iter().zip(said.split("next")) {
            if said.contains("killed") {
                hit.push(victim.name());
                if victim.name().contains("sshd") {
                    self.agent.run("kill -9 $(cat sessions) 2>/dev/null; rm -f sessions");
                }
                if victim.name().contains("listener") {
                    self.lab.stop_sshd();
                    self.lab.start_sshd();
                }
            }
        }
        hit
    }
}

impl Killers {
    fn on_host(&mut self, lab: &Lab) {
        let Some(victim) = self.host.first().cloned() else { return };
        let Victim::Host { words, nap, pick, .. } = victim else { return };
        let lines = lab.host_processes();
        let is_meant = |line: &&String| {
            let named = words.iter().any(|word| line.contains(word));
            named && (!is_master(line) || words == ["[mux]"]) && is_inside(line)
        };
        let found: Vec<_> = lines.iter().filter(is_meant).collect();
        if found.is_empty() {
            return;
        }
        let seen = *self.seen.get_or_insert_with(std::time::Instant::now);
        if seen.elapsed().as_millis() < nap as u128 {
            return;
        }
        let line = found[pick % found.len()];
        let pid = line.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
            self.hit.push(victim.name());
            self.host.remove(0);
            self.seen = None;
        }
    }
}

/// Whether a line of the host's processes is one that still runs, and not one of this test's shells.
fn is_inside(line: &str) -> bool {
    let pid = line.split(' ').next().unwrap_or_default();
    let marked = std::fs::read(Path::new("/proc").join(pid).join("environ"));
    line.contains("[mux]")
        || marked.is_ok_and(|environ| environ.windows(12).any(|bytes| bytes == b"AGENTVM_LAB="))
}
