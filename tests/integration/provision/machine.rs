//! A guest that can be set up as root: its `sh` runs in a namespace, in which the guest user is root
//! and the directories that stages write to are the guest's own. Package managers are fakes.

use std::path::PathBuf;
use std::time::Duration;

use git_agent_vm::config::Config;
use git_agent_vm::guest::Guest;
use git_agent_vm::handover::Unset;
use git_agent_vm::provision::{Name, Outcome, Plan, StageState, Way};

use crate::support::{Lab, Run, config};

/// `/etc` is a copy; the other directories begin empty.
const SH: &str = r#"
[ -z "$AGENTVM_MACHINE" ] || exec /bin/sh "$@"
export AGENTVM_MACHINE=1 SUDO_USER=agent
exec unshare --map-root-user --mount /bin/sh -ec '
    root=$HOME/root
    if [ ! -e "$root" ]; then
        mkdir -p "$root/usr/local/sbin" "$root/var/lib" "$root/var/log" "$root/opt" "$HOME/fakes"
        cp -rT /etc "$root/etc" 2>/dev/null || :
        : >"$root/no-kvm"
    fi
    for dir in /etc /var/lib /var/log /opt /usr/local; do
        mount --bind "$root$dir" "$dir"
    done
    mount --bind "$HOME/fakes" /usr/local/sbin
    [ ! -e /dev/kvm ] || mount --bind "$root/no-kvm" /dev/kvm
    [ ! -e "$HOME/more" ] || . "$HOME/more"
    exec "$@"' sh /bin/sh "$@"
"#;

/// What dpkg knows is what is in `installed`, `NAME VERSION` lines.
const DPKG_QUERY: &str = r#"sed 's/^/installed /' "$HOME/installed""#;

const APT_GET: &str = r#"
for last; do :; done
case $* in
*' install '*)
    for word in $(printf '%s' "${*##* install }"); do
        case $word in
        no-such*) echo "E: Unable to locate package $word"; exit 100 ;;
        esac
        echo "pmstatus:$word:50.5:Unpacking $word" >&3
        name=${word%%=*}
        echo "$name 1.2-3" >>"$HOME/installed"
    done ;;
esac"#;

/// What it installs has version 1.2.3, or the one that was asked for.
const NPM: &str = r#"
for last; do :; done
rest=${last#@} name=${rest%@*} version=${rest#"$name"}
[ "$rest" = "$last" ] || name=@$name
dir=/usr/local/lib/node_modules/$name
mkdir -p "$dir"
case $name in no-such*) echo "npm error code E404"; echo "npm error 404  '$name' is not in this registry."; exit 1 ;; esac
version=${version#@}
case $version in ''|?|next) version=1.2.3 ;; esac
printf '{\n  "name": "%s",\n  "version": "%s"\n}\n' "$name" "$version" >"$dir/package.json""#;

const PIPX: &str = r#"
for last; do :; done
name=${last%%[[=]*}
mkdir -p "$PIPX_HOME/venvs/$name"
[ ! -e "$PIPX_HOME/venvs/$name/half" ] || { echo 'a half environment is in the way'; exit 1; }
echo "{\"main_package\": {\"package_version\": \"1.2.3\", \"package_or_url\": \"$last\"}}" >"$PIPX_HOME/venvs/$name/pipx_metadata.json""#;

/// Gives what the test has put beside it, whatever is asked for. What it reads is noted in `asked`.
const CURL: &str = r#"
cat >>"$HOME/asked"
while [ "$1" != -o ]; do shift; done
cp "$HOME/download" "$2""#;

/// A guest that is alive, and does nothing else. `$5` is the nonce.
pub(crate) const TICKS_FOR_EVER: &str = r#"
[ "$3" = agentvm ] || exec /bin/sh "$@"
printf 'agentvm/1 %s 1\n' "$5"
while printf 'tick=\0'; do sleep 0.2; done"#;

/// What came of stages.
pub(crate) type Outcomes = anyhow::Result<Vec<(Name, Outcome)>>;

pub(crate) struct Machine {
    pub(crate) lab: Lab,
    pub(crate) limit: Duration,
    pub(crate) extras: &'static str,
}

impl Machine {
    /// With lists that name nothing. `None` where there can be none: as root, or with the system's own
    /// sudo, stages would set up the very machine that the tests run on.
    pub(crate) fn new() -> Option<Self> {
        let lab = Lab::new();
        if lab.guest_sh("id -u").succeeds().text() == "0" {
            eprintln!("left out: the guest user is root; see AGENTVM_TEST_GUEST_USER");
            return None;
        }
        lab.guest_fake("sh", SH);
        let ran = lab.guest_sh(": >installed; : >calls").run();
        if ran.code != 0 {
            eprintln!("left out: no namespaces for ordinary users here\n{ran}");
            return None;
        }
        is_apart(&lab);
        let machine = Self { lab, limit: Duration::from_secs(60), extras: "none" };
        machine.fake("dpkg-query", DPKG_QUERY);
        machine.fake("dpkg", ":");
        machine.fake("apt-get", APT_GET);
        machine.fake("npm", NPM);
        machine.fake("node", ":");
        machine.fake("pipx", PIPX);
        machine.fake("curl", CURL);
        for list in ["apt", "podman", "docker", "nested", "npm", "python"] {
            machine.list(&format!("{list}-packages"), "");
        }
        machine.list("versions", "");
        Some(machine)
    }

    /// A program in front of all others, for the stages. Its calls are noted in `calls`.
    pub(crate) fn fake(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>\"$HOME/calls\"\n{script}\n");
        let write = "cat >\"fakes/$1.new\" && chmod 755 \"fakes/$1.new\" && mv \"fakes/$1.new\" \"fakes/$1\"";
        self.lab.guest_command("sh", ["-c", write, "sh", name]).stdin(text).succeeds();
    }

    pub(crate) fn common(&self) -> PathBuf {
        self.lab.home().join("common")
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.common().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// A list in `packages/`.
    pub(crate) fn list(&self, name: &str, text: &str) {
        self.write(&format!("packages/{name}.txt"), text);
    }

    fn config(&self) -> Config {
        let common = self.common();
        config(&[("agentvm.common", common.to_str().unwrap()), ("agentvm.extras", self.extras)])
    }

    pub(crate) fn guest(&self) -> Guest {
        self.lab.library_guest()
    }

    pub(crate) fn try_apply(&self, names: &[Name], force: bool) -> Outcomes {
        let way = Way { limit: self.limit, force };
        Plan::load(&self.config(), Unset::Goes)?.run(&self.guest(), way, names)
    }

    /// The same for one stage while the test goes on.
    pub(crate) fn begin(&self, name: Name) -> std::thread::JoinHandle<Outcomes> {
        let (plan, guest) = (Plan::load(&self.config(), Unset::Goes).unwrap(), self.guest());
        let way = Way { limit: self.limit, force: false };
        std::thread::spawn(move || plan.run(&guest, way, &[name]))
    }

    /// What came of a stage, which is the only one that is asked for.
    pub(crate) fn apply(&self, name: Name) -> Outcome {
        let mut outcomes = self.try_apply(&[name], false).unwrap();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.remove(0).1
    }

    /// The message with which a stage fails.
    pub(crate) fn fails(&self, name: Name) -> String {
        format!("{:#}", self.try_apply(&[name], false).unwrap_err())
    }

    pub(crate) fn states(&self) -> Vec<StageState> {
        Plan::look(&self.config(), &self.guest()).unwrap()
    }

    /// The calls of fakes since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = self.lab.guest_sh("cat calls; : >calls").succeeds().text();
        text.lines().map(str::to_owned).collect()
    }

    /// A command that does nothing for a long time, and that no other test runs.
    pub(crate) fn long_sleep(&self) -> String {
        let name = self.lab.path().file_name().unwrap().to_str().unwrap();
        let digits: String =
            name.bytes().rev().take(6).map(|b| char::from(b'0' + b % 10)).collect();
        format!("sleep 1000.{digits}")
    }

    /// Whether such a command runs.
    pub(crate) fn is_at_it(&self) -> bool {
        let wanted = self.long_sleep().replace(' ', "\0") + "\0";
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        })
    }

    /// A script in the guest that sees what root sees there.
    pub(crate) fn as_root(&self, script: &str) -> Run {
        self.lab.guest_sh(script)
    }
}

/// What a stage runs there as root is root in a namespace only, and writes to the guest's own
/// directories.
fn is_apart(lab: &Lab) {
    let config = lab.path().join("ssh/config");
    let script = "sh -c 'id -u; cat /proc/self/uid_map; touch /var/lib/here'; ls /var/lib/here";
    let ran = lab.host("ssh", ["-F", config.to_str().unwrap(), "vm", script]).run();
    let said = ran.text();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(matches!(words[..], ["0", "0", _, "1"]) && ran.code != 0, "this is not apart:\n{ran}");
}
