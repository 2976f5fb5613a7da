//! What has to be so after a fault and one ordinary command.

use std::collections::BTreeSet;

use crate::world::World;

/// Everything that can be known of the guest, as lines `WORD REST`.
const LOOK_IN_GUEST: &str = r#"cd workspace || exit 0
if [ -d app-feature/.git ]; then (
  cd app-feature
  echo "head $(git symbolic-ref -q HEAD)"
  [ ! -d .git/rebase-merge ] || echo rebasing
  said=$(git fsck --full --no-dangling --no-progress 2>&1) || echo "fsck exit code $?"
  printf '%s\n' "$said" | grep -E '^(error|fatal|missing|broken|corrupt)' | sed 's/^/fsck /'
  find .git -ignore_readdir_race -name '*.lock' ! -path .git/agentvm.lock | sed 's/^/lock /'
  for file in .git/agentvm-journal .git/agentvm-received; do [ ! -s $file ] || echo "left $file"; done
  for file in .git/agentvm-index* .git/agentvm-paths* .git/agentvm-before; do [ ! -e "$file" ] || echo "left $file"; done
  git status --porcelain -uall --ignored=matching --no-renames 2>&1 | sed 's/^/status /'
); else echo absent; fi
for repo in app-feature .trash/*; do
  [ -d "$repo" ] || continue
  find "$repo" -path "$repo/.git" -prune -o -type f -print0 | xargs -0 -r cat
  # A workspace whose making was cut off is an empty directory, and as good as none.
  [ -e "$repo/.git" ] || continue
  git -C "$repo" rev-list --objects --all --reflog --indexed-objects | cut -d' ' -f1 |
    git -C "$repo" cat-file --batch --buffer
done | grep -aoh 'tok-[0-9a-f]\{16\}' | sort -u | sed 's/^/token /'"#;

const LOOK_AT_HOST: &str = r"said=$(git fsck --full --no-dangling --no-progress 2>&1) || echo fsck exit code $?
printf '%s\n' $said | grep -E '^(error|fatal|missing|broken|corrupt)' | sed 's/^/fsck /'
find .git -ignore_readdir_race -name '*.lock' | sed 's/^/lock /'
{ find . -path ./.git -prune -o -type f -print0 | xargs -0 -r cat
  git rev-list --objects --all --reflog --indexed-objects | cut -d' ' -f1 | git cat-file --batch --buffer
} | grep -aoh 'tok-[0-9a-f]\{16\}' | sort -u | sed 's/^/token /'";

/// Something that is not as promised.
pub(crate) enum Wrong {
    /// Bytes are gone, or a repository is broken.
    Loss(String),
    /// Somebody would have to do something by hand.
    Manual(String),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loss(text) => write!(f, "loss: {text}"),
            Self::Manual(text) => write!(f, "to be done by hand: {text}"),
        }
    }
}

#[derive(Default)]
struct Side {
    tokens: BTreeSet<String>,
    status: Vec<String>,
    head: Option<String>,
    rebasing: bool,
    wrong: Vec<Wrong>,
}

fn read(said: &str, whose: &str) -> Side {
    let mut side = Side::default();
    for line in said.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "token" => drop(side.tokens.insert(rest.to_owned())),
            "status" => side.status.push(rest.to_owned()),
            "head" => side.head = Some(rest.to_owned()),
            "fsck" => side.wrong.push(Wrong::Loss(format!("git fsck in the {whose}: {rest}"))),
            "lock" | "left" => {
                side.wrong.push(Wrong::Manual(format!("left behind in the {whose}: {rest}")));
            }
            "rebasing" => side.rebasing = true,
            "absent" => {}
            _ => side.wrong.push(Wrong::Loss(format!("looking into the {whose}: {line}"))),
        }
    }
    side
}

/// How the work tree may differ from HEAD.
pub(crate) enum Allowed<'a> {
    /// As it did before the fault, in the words of `git status`; and in what the agent has touched
    /// since.
    AsBefore(&'a str, &'a [String]),
    /// In whatever the agent touches.
    TheAgents,
}

impl Allowed<'_> {
    fn allows(&self, line: &str) -> bool {
        let path = line.get(3..).unwrap_or_default().trim_matches('"');
        // What a mended push found in the way, and said so.
        if path.contains(".found-") {
            return true;
        }
        match self {
            Self::AsBefore(before, touched) => {
                before.lines().any(|known| known == line) || touched.iter().any(|one| one == path)
            }
            Self::TheAgents => path.starts_with("agent") || path.starts_with(".env"),
        }
    }
}

impl World {
    /// Everything that is wrong now.
    pub(crate) fn look(&mut self, allowed: &Allowed) -> Vec<Wrong> {
        // One after the other would take longer.
        self.user.start(LOOK_AT_HOST);
        let guest = read(&self.agent.run(LOOK_IN_GUEST), "workspace");
        let host = read(&self.user.finish().0, "host's repository");
        let mut wrong = guest.wrong;
        wrong.extend(host.wrong);
        for (token, what) in &self.planted {
            if !guest.tokens.contains(token) && !host.tokens.contains(token) {
                wrong.push(Wrong::Loss(format!("gone: {token}, planted by: {what}")));
            }
        }
        for token in self.pushed.difference(&guest.tokens) {
            wrong.push(Wrong::Loss(format!("pushed, but not in the workspace: {token}")));
        }
        if let Some(head) = guest.head {
            // What the agent itself is in the middle of is its own to end.
            let its_own = matches!(allowed, Allowed::TheAgents) && guest.rebasing;
            if head != "refs/heads/feature" && !its_own {
                wrong.push(Wrong::Manual(format!("HEAD is at {head:?}")));
            }
            for line in guest.status.iter().filter(|line| !allowed.allows(line)) {
                wrong.push(Wrong::Manual(format!("the work tree differs: {line}")));
            }
            if let Allowed::AsBefore(before, _) = allowed {
                let gone = |line: &&str| !guest.status.iter().any(|now| now == line);
                for line in before.lines().filter(gone) {
                    wrong.push(Wrong::Manual(format!("no longer in the work tree: {line}")));
                }
            }
        }
        wrong
    }
}
