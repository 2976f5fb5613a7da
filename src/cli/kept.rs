//! `git agent-vm kept`: what was fetched from workspaces and is kept under `refs/agentvm/keep/`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::cli::common::Here;
use crate::error::Error;
use crate::git::Repo;
use crate::guest::now;
use crate::remote::keep::kept::{self, Kept};
use crate::remote::keep::{NAMESPACE, Source};
use crate::ui;

/// List or drop the commits that are kept from workspaces
///
/// Every tip that is fetched from a workspace is kept here under refs/agentvm/keep/, so that it stays
/// when the workspace rewrites, deletes or loses it. A fetch drops what a newer tip contains, and what
/// is older than 30 days and on a branch or tag here. A branch that another side moves, as
/// origin/main, does not count.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  git agent-vm kept                                  list what is kept, the latest first
  git agent-vm kept --prune --older-than 7.days      drop what is older and on a branch here

A commit in the list is a commit of this repository: git log ID shows it, git branch NAME ID makes a
branch of it.")]
pub(super) struct Args {
    /// One JSON document on standard output, for scripts
    #[arg(long, conflicts_with_all = ["drop", "prune"])]
    json: bool,
    /// Drop these, by the first digits of the commit or by the whole ref
    #[arg(long, value_name = "ID", num_args = 1.., conflicts_with = "prune")]
    drop: Vec<String>,
    /// Drop them even if nothing else has them
    #[arg(long, requires = "drop")]
    force: bool,
    /// Drop what is old and on a branch or tag, too
    #[arg(long)]
    prune: bool,
    /// How old that is
    #[arg(long, value_name = "AGE", requires = "prune", default_value = "30.days", value_parser = age)]
    older_than: Duration,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Here { repo, config } = Here::load()?;
    if !args.drop.is_empty() {
        drop_some(&repo, &args.drop, args.force)?;
    } else if args.prune {
        let dropped = kept::prune(&repo, args.older_than)?;
        ui::note(&format!("no longer kept: {}", ui::count(dropped.len() as u64, "commit")));
    } else if args.json {
        ui::data(&(serde_json::to_string_pretty(&document(&kept::all(&repo)?))? + "\n"));
    } else {
        list(&kept::all(&repo)?, config.vm.as_str());
    }
    Ok(ExitCode::SUCCESS)
}

fn list(all: &[Kept], vm: &str) {
    if all.is_empty() {
        ui::note("nothing is kept");
        return;
    }
    let head = ["WORKSPACE", "BRANCH", "COMMIT", "AGE", "ELSEWHERE", "SUBJECT"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(all.iter().map(|kept| row(kept, vm)));
    ui::data(&ui::table(&rows));
    if all.iter().any(|kept| !kept.elsewhere) {
        ui::hint("git branch NAME COMMIT makes a branch of one that is nowhere else");
    }
}

fn row(kept: &Kept, vm: &str) -> [String; 6] {
    let (workspace, branch) = match &kept.source {
        Some(source) if source.vm == vm => (source.workspace.clone(), source.branch().to_owned()),
        Some(source) => (format!("{}/{}", source.vm, source.workspace), source.branch().to_owned()),
        // All that is known is the hash.
        None => (key(&kept.name).to_owned(), "?".to_owned()),
    };
    let since = kept.time.map_or("?".to_owned(), |time| since(now().saturating_sub(time)));
    let elsewhere = if kept.elsewhere { "yes" } else { "no" };
    let subject = kept.subject.to_string();
    [workspace, branch, kept.id.short().to_owned(), since, elsewhere.to_owned(), subject]
}

fn key(name: &str) -> &str {
    name.strip_prefix(NAMESPACE).and_then(|rest| rest.split('/').next()).unwrap_or(name)
}

fn document(all: &[Kept]) -> serde_json::Value {
    let kept = all.iter().map(|kept| {
        let source = kept.source.as_ref();
        json!({
            "ref": kept.name,
            "id": kept.id,
            "vm": source.map(|source| &source.vm),
            "workspace": source.map(|source| &source.workspace),
            "branch": source.map(Source::branch),
            "time": kept.time,
            "subject": kept.subject,
            "elsewhere": kept.elsewhere,
        })
    });
    json!({ "version": 1, "kept": kept.collect::<Vec<_>>() })
}

/// All that were named, or none.
fn drop_some(repo: &Repo, words: &[String], force: bool) -> anyhow::Result<()> {
    let all = kept::all(repo)?;
    for word in words {
        let mut ids: Vec<&str> =
            all.iter().filter(|kept| is_meant(kept, word)).map(|kept| kept.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.len() {
            0 => {
                return Err(Error::failed(format!("no commit that is kept begins with '{word}'"))
                    .hint("git agent-vm kept lists them")
                    .into());
            }
            1 => {}
            _ => {
                return Err(Error::usage(format!(
                    "more than one kept commit begins with '{word}'"
                ))
                .hint("give more of its digits")
                .into());
            }
        }
    }
    let meant: Vec<Kept> =
        all.into_iter().filter(|kept| words.iter().any(|word| is_meant(kept, word))).collect();
    let alone: Vec<&Kept> = meant.iter().filter(|kept| !kept.elsewhere).collect();
    if !force && let Some(first) = alone.first() {
        let lines: Vec<String> =
            alone.iter().map(|kept| format!("  {} {}", kept.id.short(), kept.subject)).collect();
        return Err(Error::would_lose_work(format!(
            "no branch or tag has what would be dropped:\n{}",
            lines.join("\n")
        ))
        .hint(format!("git branch NAME {} makes a branch of it", first.id.short()))
        .hint(format!("git agent-vm kept --drop {} --force drops it all the same", words.join(" ")))
        .into());
    }
    kept::drop_all(repo, &meant)?;
    for kept in &meant {
        ui::note(&format!("dropped {} {}", kept.id, kept.subject));
    }
    if !alone.is_empty() {
        ui::hint("git branch NAME COMMIT brings one back, until git gc removes it");
    }
    Ok(())
}

fn is_meant(kept: &Kept, word: &str) -> bool {
    word == kept.name || (word.len() >= 4 && kept.id.as_str().starts_with(word))
}

/// As git writes it: `30.days`, `12.hours`.
fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_once('.').unwrap_or((text, ""));
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        _ => 0,
    };
    match number.parse::<u32>() {
        Ok(number) if seconds > 0 => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err("an age is a number and a unit, as in 30.days, 2.weeks or 12.hours".into()),
    }
}

/// `5 min`, `3 h`, `2 days`.
fn since(seconds: i64) -> String {
    match seconds {
        ..=7199 => format!("{} min", seconds.max(0) / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_gits() {
        assert_eq!(age("30.days"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("1.week"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "30", "days", "-1.days", "1.5.days", "99999999999.days", "3.fortnights"] {
            assert!(age(bad).is_err(), "{bad}");
        }
        assert_eq!([since(-5), since(7200), since(200_000)], ["0 min", "2 h", "2 days"]);
    }
}
