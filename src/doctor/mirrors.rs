//! Remotes that are sent what was fetched from workspaces.

use super::sources::Entry;
use super::{Check, Situation, shell_word};

/// What must not go along.
const OURS: &str = "refs/agentvm/";
/// The refspec that leaves it out.
const SPARE: &str = "^refs/agentvm/*";

pub(super) fn look(situation: &Situation) -> Vec<Check> {
    let mut remotes: Vec<&str> = Vec::new();
    for entry in &situation.entries {
        if let Some((remote, "mirror" | "push")) = parts(entry)
            && !remotes.contains(&remote)
        {
            remotes.push(remote);
        }
    }
    remotes.into_iter().filter_map(|remote| mirror(situation, remote)).collect()
}

/// The remote's name and the setting's.
fn parts(entry: &Entry) -> Option<(&str, &str)> {
    entry.key.strip_prefix("remote.")?.rsplit_once('.')
}

fn mirror(situation: &Situation, remote: &str) -> Option<Check> {
    let of = |name: &str| -> Vec<&Entry> {
        situation.entries.iter().filter(|entry| parts(entry) == Some((remote, name))).collect()
    };
    let (pushes, mirror) = (of("push"), of("mirror").pop());
    let a_workspace = remote.starts_with("agentvm::")
        || of("url").iter().any(|entry| entry.value.starts_with("agentvm:"));
    if a_workspace {
        return None;
    }
    let has = |spec: &str| pushes.iter().any(|entry| entry.value == spec);
    let push = pushes.iter().find_map(|entry| match sent(&entry.value)? {
        Sent::WithOthers(spare) if has(&spare) => None,
        sent => Some((*entry, sent)),
    });
    // Takes our refs out of a mirror, too.
    let mirror = mirror.filter(|entry| is_true(&entry.value) && !has(SPARE));
    let entry = mirror.or(push.as_ref().map(|(entry, _)| *entry))?;
    let what = format!(
        "git push {remote} sends what is kept from workspaces ({} in {})",
        entry.key,
        entry.place()
    );
    let check = if situation.repo_is_used() {
        Check::warning("mirror-remote", what)
    } else {
        Check::info("mirror-remote", what)
    };
    let add = |spec: &str| {
        let git = entry.git_config(&situation.system)?;
        Some(format!("{git} --add {} '{spec}'", shell_word(&format!("remote.{remote}.push"))))
    };
    let fix = match push {
        Some((entry, Sent::Alone)) => {
            let escaped = entry.value.replace(['+', '*', '.'], ".");
            entry.unset(&situation.system, Some(&format!("^{escaped}$")))
        }
        Some((_, Sent::WithOthers(spare))) => add(&spare),
        // Alone, that refspec would leave a mirror nothing to send.
        None => {
            add("+refs/*:refs/*").zip(add(SPARE)).map(|(all, spare)| format!("{all} && {spare}"))
        }
    };
    Some(
        check
            .why("refs/agentvm/keep/* go along: everything that was ever fetched from a workspace is published")
            .maybe_fix(fix),
    )
}

/// How a refspec sends our refs.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// It sends nothing else.
    Alone,
    /// The refspec that takes them out; git looks at the names that refs get there.
    WithOthers(String),
}

fn sent(spec: &str) -> Option<Sent> {
    let spec = spec.trim_start_matches('+');
    let (source, destination) = spec.split_once(':').unwrap_or((spec, spec));
    let Some((before, _)) = source.split_once('*') else {
        return source.starts_with(OURS).then_some(Sent::Alone);
    };
    if before.starts_with(OURS) {
        return Some(Sent::Alone);
    }
    let rest = OURS.strip_prefix(before)?;
    let (there, _) = destination.split_once('*')?;
    Some(Sent::WithOthers(format!("^{there}{rest}*")))
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "1")
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::with;
    use super::*;

    fn count(entries: &[(&str, &str)]) -> usize {
        let entries: Vec<_> = entries.iter().map(|&(key, value)| ("local", key, value)).collect();
        look(&with(&entries)).len()
    }

    #[test]
    fn a_mirror_is_found_by_either_setting() {
        let (mirror, push) = ("remote.backup.mirror", "remote.backup.push");
        assert_eq!(count(&[(mirror, "true")]), 1);
        assert_eq!(count(&[(mirror, "false")]), 0);
        assert_eq!(count(&[(push, "refs/heads/*:refs/heads/*")]), 0);
        for spec in [
            "+refs/*:refs/*",
            "refs/agentvm/*:refs/x/*",
            "refs/a*:refs/a*",
            "refs/agentvm/keep/1/2",
        ] {
            assert_eq!(count(&[(push, spec)]), 1, "{spec}");
        }
        assert_eq!(count(&[(mirror, "true"), (push, "+refs/*:refs/*")]), 1);
        assert_eq!(count(&[("remote.vm.url", "agentvm::"), ("remote.vm.mirror", "true")]), 0);
    }

    #[test]
    fn a_mirror_that_spares_what_is_ours_is_fine() {
        let (mirror, push) = ("remote.backup.mirror", "remote.backup.push");
        let (all, spare) = ((push, "+refs/*:refs/*"), (push, "^refs/agentvm/*"));
        assert_eq!(count(&[(mirror, "true"), all, spare]), 0);
        assert_eq!(count(&[all, spare]), 0);
    }

    #[test]
    fn what_mends_it_can_be_typed() {
        let fix = |key: &str, value: &str| {
            let entries = [("local", &*format!("remote.backup.{key}"), value)];
            let found = look(&with(&entries));
            let fix = found[0].fix.clone().unwrap();
            fix.replace("git config --file /home/u/.gitconfig ", "")
                .replace("remote.backup.push", "P")
        };
        assert_eq!(fix("mirror", "true"), "--add P '+refs/*:refs/*' && --add P '^refs/agentvm/*'");
        assert_eq!(fix("push", "+refs/*:refs/*"), "--add P '^refs/agentvm/*'");
        assert_eq!(fix("push", "refs/*:refs/copy/*"), "--add P '^refs/copy/agentvm/*'");
        let unset = "--unset-all P '^refs/agentvm/.:refs/x/.$'";
        assert_eq!(fix("push", "refs/agentvm/*:refs/x/*"), unset);
    }
}
