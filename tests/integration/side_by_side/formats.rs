//! Object formats and ref formats.

use super::{Side, Sides};

const LINES: &[&str] = &[
    "push vm feature",
    "push URL main:topic",
    "ls-remote URL",
    "fetch vm",
    "push --force-with-lease vm +feature~:feature",
    "push vm :topic",
];

/// Makes every repository anew, with these options of `git init`.
fn sides(options: &str) -> Option<Sides> {
    let sides = Sides::new();
    let anew = |side: &Side<'_>| {
        side.sh(&format!(
            "rm -rf .git && git init -q {options} && git add . && git commit -qm one &&
             git checkout -q -b feature && git commit -q --allow-empty -m two &&
             git remote add vm URL"
        ))
        .run()
        .code
            == 0
    };
    if !sides.ours().all(|side| anew(&side)) {
        return None;
    }
    anew(&sides.plain());
    Some(sides)
}

#[test]
fn sha256() {
    let sides = sides("--object-format=sha256").expect("git has known it since 2.29");
    sides.plain().far_sh(
        "rm -rf .git && git init -q -b feature --object-format=sha256 &&
        git config receive.denyCurrentBranch updateInstead",
    );
    assert_eq!(sides.plain().repo().tip("feature").len(), 64);
    for &words in LINES {
        sides.git(words).code(0).same();
    }
    sides.far_sh("git commit -q --allow-empty -m agent");
    sides.git("pull --ff-only vm feature").same();
    sides.git("fetch --depth=1 vm").code(0).same();
}

#[test]
fn reftable() {
    let Some(sides) = sides("--ref-format=reftable") else {
        // git has it since 2.45.
        eprintln!("left out: this git has no reftables");
        return;
    };
    for &words in LINES {
        sides.git(words).code(0).same();
    }
    sides.far_sh("git commit -q --allow-empty -m agent");
    sides.git("fetch vm").code(0).same();
    sides.git("fetch vm feature:copy").code(0).same();
    sides.ours().for_each(|side| {
        side.git("agent-vm fetch feature").run();
        side.git("agent-vm push feature").run();
        let kept = side.repo().refs("refs/agentvm/keep");
        assert!(kept.contains(&side.far().tip("feature")), "{kept}");
    });
}
