//! The names of workspaces by the real rule: the host's candidates, and the guest's own functions,
//! which find and make the directories, many thousand times in one shell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use git_agent_vm::branch::BranchName;
use git_agent_vm::identity::RepoId;
use git_agent_vm::workspace::Candidates;
use proptest::prelude::{ProptestConfig, Strategy};
use proptest::{collection, sample::select};

/// Reads `ID REF PLAIN HASHED` (`-` for nothing), finds or makes each, says the directory's
/// name. What takes long and says nothing about names is done by the shell itself: making the
/// repository, and the lock that nobody else wants.
const DRIVER: &str = r#"
parts=$2
. "$parts/10-common.sh"
. "$parts/20-workspace.sh"
git() {
  case $1 in
    --version) echo git version 2.39.0 ;;
    init) for new in "$@"; do :; done; mkdir "$new/.git" && echo '[core]' >"$new/.git/config" ;;
    *) command git "$@" ;;
  esac
}
flock() { :; }
mktemp() { mkdir "$root/.new.test" && echo "$root/.new.test"; }
base64() { :; }
format=sha1 user_name='' user_email=''
while read -r id ref plain hashed; do
  [ "$plain" != - ] || plain=''
  find_workspace || make_workspace
  printf '%s\n' "$name"
done
"#;

const REPOS: &[&str] = &[
    "a", "a-b", "a-b-c", "A", "a.b", "a_b", "ä", "a b", ".a", "-a", "a~b", "+", "@", "_a", "a-b~c",
];
const BRANCHES: &[&str] = &[
    "b", "c", "b-c", "b/c", "B", "b-C", "B/c", "b.c", "b_c", "ü", "b-c/d", "b/c-d", "c-d", "it's",
    "a;b#c", "\"q\"", "$x", "b+c", "main", "MAIN", "e\u{301}", "é",
];

/// Ids of repositories, and branches: which of each, and what the repository is called just then.
type Asked = (String, String, String);

fn ids() -> Vec<String> {
    let odd = ["0".repeat(32), "f".repeat(32), "a".repeat(32)];
    odd.into_iter().chain((1..4).map(|number| format!("{number:032x}"))).collect()
}

fn branches() -> Vec<String> {
    let long = |end| format!("{}/{}{end}", "x".repeat(120), "y".repeat(110));
    BRANCHES.iter().map(|&name| name.to_owned()).chain([long(1), long(2)]).collect()
}

fn repos() -> Vec<String> {
    REPOS.iter().map(|&name| name.to_owned()).chain(["r".repeat(210)]).collect()
}

/// One shell with a home of its own that finds or makes these in order: the directory of each.
fn directories(home: &Path, asked: &[Asked]) -> Vec<String> {
    let mut input = String::new();
    for (id, repo, branch) in asked {
        let branch = BranchName::new(branch).unwrap();
        let names = Candidates::new(repo, &RepoId::new(id).unwrap(), &branch);
        let plain = names.plain.as_ref().map_or("-", |name| name.as_str());
        writeln!(input, "{id} {} {plain} {}", branch.full_ref(), names.hashed).unwrap();
    }
    let parts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guest/program");
    let mut shell = Command::new("sh")
        .args(["-c", DRIVER, "agentvm", "-", parts])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = shell.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = shell.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let names: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(names.len(), asked.len(), "{names:?}");
    names
}

/// Asks for all of them in order, and checks that a repository's branch has one directory, and a
/// directory one branch, whatever the repository is called and whatever else lies there.
fn check(asked: &[Asked]) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("workspace");
    // What is no workspace of ours keeps its name, however it is spelt; an empty directory is free.
    for taken in ["a-b", "A-MAIN", "a-b-c-d"] {
        fs_err::create_dir_all(root.join(taken)).unwrap();
        fs_err::write(root.join(taken).join("notes"), "mine\n").unwrap();
    }
    fs_err::create_dir(root.join("a-c")).unwrap();
    let mut seen: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for ((id, repo, branch), name) in asked.iter().zip(directories(home.path(), asked)) {
        let before = seen.entry((id, branch)).or_insert_with(|| name.clone());
        assert_eq!(*before, name, "{branch} of {id}, now called {repo}");
    }
    let names: BTreeSet<_> = seen.values().map(|name| name.to_lowercase()).collect();
    assert_eq!(names.len(), seen.len(), "two share a directory: {seen:#?}");
    for taken in ["a-b", "a-main", "a-b-c-d"] {
        assert!(!names.contains(taken), "{names:?}");
    }
}

/// One question: a repository is called as it always is, or now and then something else.
fn question() -> impl Strategy<Value = Asked> {
    let repos = repos();
    (0..ids().len(), 0..20_u8, select(repos.clone()), select(branches())).prop_map(
        move |(index, odds, other, branch)| {
            let repo = if odds == 0 { other } else { repos[index / 2].clone() };
            (ids()[index].clone(), repo, branch)
        },
    )
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..ProptestConfig::with_cases(5) })]
    #[test]
    fn ten_thousand_pairs_of_names_never_meet_and_never_part(
        asked in collection::vec(question(), 2000)
    ) {
        check(&asked);
    }
}

/// Configuration files that say, in many ways, whose the workspace is.
fn markers() -> Vec<String> {
    let (id, other) = ("0123456789abcdef".repeat(2), "f".repeat(32));
    let plain = format!("[agentvm]\n\trepo = {id}\n\tref = \"refs/heads/x\"\n");
    let sections = [
        "[agentvm]",
        "[AgentVM]",
        "[agentvm \"x\"]",
        "[ agentvm ]",
        "[agentvm] ; c",
        "[core]",
        "[agentvm.x]",
        "[agentvm]repo = 1",
        "[include]\n\tpath = other",
        "\t[agentvm]",
        "",
    ];
    let lines = [
        format!("\trepo = {id}"),
        format!("\trepo = {other}"),
        format!("repo={id}"),
        format!("\trepo = \"{id}\""),
        format!("\trepo = {id} ; mine"),
        format!("\trepo = {id} "),
        format!("\trepo = {id}\r"),
        format!("\tREPO = {other}"),
        "\trepo".into(),
        format!("\trepo = {}\\\n{}", &id[..16], &id[16..]),
        "\trepo = ".into(),
        "\tref = \"refs/heads/x\"".into(),
        "\tref = \"refs/heads/y\"".into(),
        "\tref = refs/heads/x".into(),
        "\tref = \"refs/heads/a\\\"b\"".into(),
        "\tref = \"refs/heads/x\" # c".into(),
        "\tref = \"refs/heads/a;b#c\"".into(),
        "\tref = \"refs/heads/x\"y".into(),
        "\tother = \"a\nb\"".into(),
        "; repo = 1".into(),
        "\tref = \"refs/heads/x\\\ny\"".into(),
        "\tref = \"refs/heads/\"x\"\"".into(),
    ];
    let mut all = vec![plain.clone(), String::new()];
    for section in sections {
        for line in &lines {
            all.push(format!("{section}\n{line}\n"));
            all.push(format!("{plain}{section}\n{line}\n"));
            all.push(format!("{section}\n{line}\n{plain}"));
            all.push(format!("{plain}{line}\n"));
        }
    }
    all
}

#[test]
fn marker_that_the_shell_reads_by_itself_says_what_git_reads_in_it() {
    const DRIVER: &str = r#"
        parts=$2
        . "$parts/10-common.sh" && . "$parts/20-workspace.sh"
        cd "$HOME" && for file in marker.*; do
          read_plain_marker "$file" || { echo "$file left to git"; continue; }
          git config --file "$file" --list >/dev/null 2>&1 || { echo "$file broken"; continue; }
          [ "$its_id" = "$(git config --file "$file" --get agentvm.repo)" ] &&
            [ "$its_ref" = "$(git config --file "$file" --get agentvm.ref)" ] &&
            echo "$file same" || echo "$file OTHER: $its_id $its_ref"
        done"#;
    let home = tempfile::tempdir().unwrap();
    let all = markers();
    for (index, text) in all.iter().enumerate() {
        fs_err::write(home.path().join(format!("marker.{index}")), text).unwrap();
    }
    let parts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/guest/program");
    let output = Command::new("sh")
        .args(["-c", DRIVER, "agentvm", "-", parts])
        .env("HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.lines().count(), all.len(), "{said}");
    let wrong = said.lines().find(|line| line.contains("OTHER"));
    if let Some(line) = wrong {
        let index = line.strip_prefix("marker.").and_then(|rest| rest.split(' ').next()).unwrap();
        panic!("{line}\n{}", all[index.parse::<usize>().unwrap()]);
    }
    assert!(said.contains("marker.0 same") && said.contains("left to git"), "{said}");
}
