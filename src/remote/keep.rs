//! Keep-refs: what was fetched from a workspace stays on the host, whatever the VM does later.
//!
//! `refs/agentvm/keep/<key>/<id>`, where the key is a hash of workspace and branch, so that a
//! branch's name never becomes a path. A kept tip that a newer one contains is dropped.

use crate::config::Config;
use crate::git::{ObjectId, Repo, program_error};
use crate::remote::session::Session;

/// The namespace of all keep-refs.
const NAMESPACE: &str = "refs/agentvm/keep/";

/// Keeps the tip of a workspace's branch that was fetched just now.
pub fn fetched(
    repo: &Repo,
    config: &Config,
    session_workspace: &str,
    full_ref: &str,
    tip: &ObjectId,
) -> anyhow::Result<()> {
    let prefix = prefix(config, session_workspace, full_ref);
    let merged = format!("--merged={tip}");
    let format = "--format=%(refname) %(objectname)";
    let contained = repo.run(&["for-each-ref", format, &merged, "--", &prefix])?;
    let mut updates = format!("update {prefix}{tip} {tip}\n");
    for (name, old) in contained.lines().filter_map(|line| line.split_once(' ')) {
        if old == tip.as_str() {
            return Ok(());
        }
        updates.push_str(&format!("delete {name} {old}\n"));
    }
    let output = repo
        .git()
        .args(["update-ref", "-m", "agentvm: fetched", "--stdin"])
        .stdin_bytes(updates)
        .output()
        .map_err(program_error)?;
    anyhow::ensure!(
        output.exit.success(),
        "cannot keep the fetched commit {}: {}",
        tip.short(),
        output.stderr_tail(3)
    );
    Ok(())
}

/// Keeps a tip that is here whole, but on no ref; a tip that is not here is left for the fetch.
pub fn if_present(
    repo: &Repo,
    config: &Config,
    session: &Session,
    tip: &ObjectId,
) -> anyhow::Result<()> {
    let full_ref = session.branch.full_ref();
    let kept_as = format!("{}{tip}", prefix(config, &session.workspace, &full_ref));
    if !repo.may_have(tip)
        || [&full_ref, &kept_as].iter().any(|name| repo.quick_tip(name).as_ref() == Some(tip))
    {
        return Ok(());
    }
    let unkept = repo.output(&["rev-list", "-1", tip.as_str(), "--not", "--all", "--"])?;
    // Not here, or kept by some ref.
    if !unkept.exit.success() || unkept.stdout.is_empty() {
        return Ok(());
    }
    if repo.is_connected(std::slice::from_ref(tip))? {
        fetched(repo, config, &session.workspace, &full_ref, tip)?;
    }
    Ok(())
}

fn prefix(config: &Config, workspace: &str, full_ref: &str) -> String {
    let key = crate::hash::short(format!("{}\0{workspace}\0{full_ref}", config.vm), 8);
    format!("{NAMESPACE}{key}/")
}
