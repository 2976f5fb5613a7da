//! A repository on the host and a workspace in the guest, as tests speak of them.

use std::path::{Path, PathBuf};

use super::Lab;
use super::run::{Run, Words};

/// A repository on the host.
pub(crate) struct Repo<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) dir: PathBuf,
}

impl Repo<'_> {
    pub(crate) fn git(&self, args: impl Words) -> Run {
        self.lab.host("git", args).in_dir(&self.dir)
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.dir.join(path);
        fs_err::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8_lossy(&fs_err::read(self.dir.join(path)).unwrap()).into_owned()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.dir.join(path).symlink_metadata().is_ok()
    }

    /// Commits one file on the branch that is checked out; gives the commit.
    pub(crate) fn commit(&self, path: &str, text: impl AsRef<[u8]>) -> String {
        self.write(path, text);
        self.git(["add", "-f", "--", path]).succeeds();
        self.git(["commit", "-q", "-m", &format!("Change {path}")]).succeeds();
        self.tip("HEAD")
    }

    /// Commits one file on a branch that is not checked out, and comes back.
    pub(crate) fn commit_on(&self, branch: &str, path: &str, text: impl AsRef<[u8]>) -> String {
        self.git(["checkout", "-q", branch]).succeeds();
        let commit = self.commit(path, text);
        self.git("checkout -q -").succeeds();
        commit
    }

    /// The object that a revision names, "" if there is none.
    pub(crate) fn tip(&self, revision: &str) -> String {
        self.git(["rev-parse", "-q", "--verify", "--end-of-options", revision]).run().text()
    }

    /// The refs below a prefix: `OID NAME` lines.
    pub(crate) fn refs(&self, prefix: &str) -> String {
        self.git(["for-each-ref", "--format=%(objectname) %(refname)", prefix]).succeeds().text()
    }

    /// The bytes of the configuration file.
    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        fs_err::read(self.config_file()).unwrap()
    }

    fn config_file(&self) -> PathBuf {
        let dir = if self.has(".git") { self.dir.join(".git") } else { self.dir.clone() };
        dir.join("config")
    }

    /// Makes `git push agentvm::BRANCH` push that branch, as `start`, `connect` and `push` do.
    pub(crate) fn enrol(&self, branch: &str) {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let refspec = quoted(&format!("refs/heads/{branch}:refs/heads/{branch}"));
        let section = format!(
            "[remote \"agentvm::{}\"]\n\tpush = \"{refspec}\"\n\tskipFetchAll = true\n",
            quoted(branch)
        );
        let text = String::from_utf8(self.config_bytes()).unwrap() + &section;
        fs_err::write(self.config_file(), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

/// A workspace in the guest, looked at as the guest user and not through our ssh.
pub(crate) struct Workspace<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) name: String,
}

impl Workspace<'_> {
    pub(crate) fn path(&self) -> PathBuf {
        self.lab.guest_home().join("workspace").join(&self.name)
    }

    /// A shell script in it; `$1` and so on are `args`.
    pub(crate) fn sh_with<const N: usize>(&self, script: &str, args: [&str; N]) -> Run {
        let script = format!("cd \"$HOME/workspace/$0\" && {{ {script}\n}}");
        let mut words = vec!["-c".into(), script.into(), self.name.clone().into()];
        words.extend(args.map(Into::into));
        self.lab.guest_command("sh", words)
    }

    pub(crate) fn sh(&self, script: &str) -> Run {
        self.sh_with(script, [])
    }

    pub(crate) fn git(&self, args: impl Words) -> Run {
        let path = self.path().into_os_string();
        let mut words = vec!["-C".into(), path];
        words.extend(args.words());
        self.lab.guest_command("git", words)
    }

    pub(crate) fn exists(&self) -> bool {
        self.lab.guest_command("test", vec!["-e".into(), self.path().into()]).run().code == 0
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let script = "mkdir -p \"$(dirname \"$1\")\" && cat >\"$1\"";
        self.sh_with(script, [path]).stdin(text).succeeds();
    }

    /// What is in a file, or a word that no file holds.
    pub(crate) fn read(&self, path: &str) -> String {
        let ran = self.sh_with("cat \"$1\"", [path]).run();
        if ran.code == 0 {
            String::from_utf8_lossy(&ran.stdout).into_owned()
        } else {
            "<none>".into()
        }
    }

    /// What an agent does: commits one file on whatever is checked out; gives the commit.
    pub(crate) fn commit(&self, path: &str, text: &str) -> String {
        self.write(path, text);
        let script = "git add -f \"$1\" && git commit -q -m \"Agent changes $1\"";
        self.sh_with(script, [path]).succeeds();
        self.tip("HEAD")
    }

    pub(crate) fn tip(&self, revision: &str) -> String {
        self.git(["rev-parse", "-q", "--verify", "--end-of-options", revision]).run().text()
    }

    pub(crate) fn refs(&self, prefix: &str) -> String {
        self.git(["for-each-ref", "--format=%(objectname) %(refname)", prefix]).succeeds().text()
    }

    pub(crate) fn status(&self) -> String {
        self.git("status --porcelain -uall").succeeds().text()
    }

    /// HEAD, refs, index, and every file's mode and bytes: what a refused command must not change.
    pub(crate) fn snapshot(&self) -> String {
        let script = r#"cat .git/HEAD; git for-each-ref refs/heads; git ls-files -s
            find . -path ./.git -prune -o ! -type d -exec sh -c 'for file; do
                printf "%s %s %s\n" "$(ls -ld "$file" | cut -c1-10)" "$file" "$(cksum <"$file")"
            done' sh {} + | LC_ALL=C sort"#;
        self.sh(script).succeeds().text()
    }
}
