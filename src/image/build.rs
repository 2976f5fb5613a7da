//! Building an image: writing the recipe down, running it, and telling why it failed.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::input::{File, Input};
use super::store::{Record, Store, Stored};
use super::{host, in_vm};
use crate::config::Config;
use crate::error::Error;
use crate::guest::{now, time_limit};
use crate::network::address::Address;
use crate::network::trust::Certificates;
use crate::packages::System;
use crate::process::{Cmd, Exit};
use crate::sanitize;
use crate::ui::Progress;

/// How much of what the recipe says on standard error is kept, in bytes.
const STDERR_KEPT: usize = 64 << 10;

/// How many times a stage's limit the recipe may take here: Debian's packages, three stages, the disk.
const STEPS: u32 = 5;
/// How long it gets to take away what it has made.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// What it exits with where a stage was too slow.
const TOO_SLOW: u8 = 6;

/// The variable that says where the image's packages come from.
pub(super) const APT_MIRROR: &str = "AGENTVM_APT_MIRROR";
/// Variables that the recipe gets: none other of the builder's comes near an image.
const PASSED_ON: &[&str] = &[
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    APT_MIRROR,
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];
/// Where the system has the certificates that it trusts.
const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whether this is a system on which an image can be built without a VM.
#[must_use]
pub fn is_possible() -> bool {
    host::is_possible(&System::here())
}

/// How an image is built.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Whether one that is there is built again.
    pub anew: bool,
    /// Whether it is built in a VM where it could be built here.
    pub in_vm: bool,
}

/// The image of `input`, and whether it was built now.
pub fn build(config: &Config, input: &Input, way: Way) -> anyhow::Result<(Stored, bool)> {
    let system = System::here();
    let store = Store::here()?;
    let in_vm = way.in_vm || !host::is_possible(&system);
    if !in_vm {
        host::check(&system)?;
    }
    let name = input.name();
    let asked = now();
    let lock = store.lock("git agent-vm image build")?;
    // Another command may have built it while this one waited.
    let serves = |stored: &Stored| !way.anew || stored.made().is_some_and(|made| made >= asked);
    if let Some(stored) = store.get(&name).filter(serves) {
        stored.open()?;
        return Ok((stored, false));
    }
    let out = store.begin()?;
    let made = if in_vm {
        in_vm::make(config, input, &store, &lock, &out)
    } else {
        make_here(config, input, &store, &out)
    };
    let record = Record::new(now(), std::env::consts::ARCH);
    let stored = made.and_then(|()| store.finish(&out, &name, &record));
    if stored.is_err() {
        // What cannot be taken away, the next one sweeps.
        std::fs::remove_dir_all(&out).ok();
    }
    Ok((stored?, true))
}

fn make_here(config: &Config, input: &Input, store: &Store, out: &Path) -> anyhow::Result<()> {
    let temporary = std::env::var_os("TMPDIR").filter(|dir| !dir.is_empty());
    let temporary = temporary.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let temporary = std::path::absolute(&temporary)?;
    host::is_open(&temporary)?;
    host::room(&temporary, store.dir())?;
    // Users of the namespace work in it, who are nobody outside.
    let work = tempfile::Builder::new().prefix("agentvm-image.").tempdir_in(&temporary).map_err(
        |error| {
            Error::failed(format!("cannot make a directory in {}: {error}", temporary.display()))
        },
    )?;
    fs_err::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755))?;
    let files = input.files().into_iter().chain(network_files(config)?);
    for file in files.chain([limit_file(config)]) {
        file.write_below(work.path())?;
    }
    run(config, input, work.path(), out)
}

/// What the recipe's programs have to know of the network, and what must not stay in the image.
fn network_files(config: &Config) -> anyhow::Result<Vec<File>> {
    let (environment, mut secrets) = registries(config);
    for name in PASSED_ON {
        let value = std::env::var_os(name).map(OsStringExt::into_vec).unwrap_or_default();
        // A proxy without a scheme is one of http; a mirror may be several lines.
        let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
        let words = value.split(u8::is_ascii_whitespace);
        secrets.extend(words.filter_map(|word| user_of(word, is_proxy)));
    }
    let mut files = vec![environment, secrets_file(secrets)];
    let certificates = Certificates::load(&config.network.ca_certs)?;
    if !certificates.is_empty() {
        let usual = std::env::var_os("SSL_CERT_FILE").unwrap_or_else(|| STORE.into());
        let mut all = fs_err::read(PathBuf::from(usual)).unwrap_or_default();
        for pem in certificates.iter() {
            all.push(b'\n');
            all.extend_from_slice(pem.as_bytes());
        }
        files.push(File::new("input/ca.pem", all, 0o644));
    }
    Ok(files)
}

/// The variables that name the registries of the settings, as a file, and who logs in there.
pub(super) fn registries(config: &Config) -> (File, Vec<Vec<u8>>) {
    let network = &config.network;
    let settings =
        [("npm_config_registry", &network.npm_registry), ("PIP_INDEX_URL", &network.pypi_index)];
    let mut environment = Vec::new();
    let mut secrets = Vec::new();
    for (name, address) in settings {
        let Some(address) = address else { continue };
        environment.extend_from_slice(name.as_bytes());
        environment.push(b'=');
        environment.extend_from_slice(address.text().expose());
        environment.push(b'\n');
        secrets.extend(user_of(address.text().expose(), false));
    }
    (File::new("input/environment", environment, 0o600), secrets)
}

/// The longest that a stage may take.
pub(super) fn limit_file(config: &Config) -> File {
    File::new("input/limit", format!("{}\n", config.stage_limit.as_secs().max(1)), 0o644)
}

/// What no file of the image may hold.
pub(super) fn secrets_file(secrets: Vec<Vec<u8>>) -> File {
    let lines: Vec<u8> =
        secrets.into_iter().flat_map(|secret| [secret, vec![b'\n']].concat()).collect();
    File::new("input/secrets", lines, 0o600)
}

/// The user's name and password in a URL, with the `@` behind them. `bare` is one that may lack its
/// scheme.
pub(super) fn user_of(url: &[u8], bare: bool) -> Option<Vec<u8>> {
    let scheme = url.windows(3).position(|part| part == b"://").map(|at| at + 3);
    let place = url[scheme.or(bare.then_some(0))?..].split(|byte| *byte == b'/').next()?;
    let end = place.iter().rposition(|byte| *byte == b'@')?;
    Some(place[..=end].to_vec())
}

/// The lines of apt's that lead to the mirror of the settings, unless the environment names one.
pub(super) fn mirror(config: &Config) -> Option<String> {
    let lines = config.network.apt_mirror.as_ref().map(mirror_lines);
    lines.filter(|_| std::env::var_os(APT_MIRROR).is_none())
}

fn mirror_lines(mirror: &Address) -> String {
    let base = mirror.mirror_base();
    format!(
        "deb {base}/debian trixie main\ndeb {base}/debian trixie-updates main\ndeb {base}/debian-security trixie-security main"
    )
}

fn run(config: &Config, input: &Input, work: &Path, out: &Path) -> anyhow::Result<()> {
    let name = input.name();
    let doing = format!("making the image {name}");
    let mut command = Cmd::new("bash")
        .arg(work.join("recipe/build"))
        .args([&work.join("input"), work, out])
        .env_only(|name| PASSED_ON.contains(&name))
        .env("WATCH_STDIN", "1")
        .own_group();
    if let Some(mirror) = mirror(config) {
        command = command.env(APT_MIRROR, mirror);
    }
    let progress = Progress::start(&doing);
    let mut recipe = command.spawn()?;
    // Kept open until the end: where it closes before, because we are gone, the recipe ends.
    let alive = recipe.stdin();
    let errors = recipe.stderr().map(|pipe| thread::spawn(move || tail(pipe)));
    let limit = time_limit(config.stage_limit * STEPS);
    let began = Instant::now();
    let left = || limit.saturating_sub(began.elapsed());
    let lines = recipe.stdout().map(lines_of);
    while let Some(Ok(line)) = lines.as_ref().map(|lines| lines.recv_timeout(left())) {
        progress.update(&format!("{doing}: {}", sanitize::text(&line)));
    }
    let Some(exit) = recipe.wait_for(Some(left()))? else {
        drop(alive);
        // Its work directory is its own to take away.
        recipe.wait_for(Some(CLEAN_UP))?;
        let what = format!("cannot make the image: that did not end in {} s", limit.as_secs());
        return Err(Error::timed_out(what)
            .hint(format!("agentvm.stageLimit allows it, {STEPS} times"))
            .into());
    };
    let said = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    if exit.success() { Ok(()) } else { Err(explain(config, input, exit, &said).into()) }
}

/// The lines that come through a pipe.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(pipe).lines().map_while(Result::ok);
        // Whoever listens no more has given up.
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    receiver
}

/// The end of what is said; all of it is read, so that nobody waits for room in the pipe.
fn tail(mut pipe: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 8 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let over = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..over);
    }
    kept
}

/// apt's words before and after the name of a package that cannot be had.
const NO_PACKAGE: &[(&str, &str)] = &[
    ("E: Unable to locate package ", ""),
    ("E: Package '", "' has no installation candidate"),
    ("E: Couldn't find any package by glob '", "'"),
    ("E: Couldn't find any package by regex '", "'"),
];

/// The lines that tell why it failed: apt's and our own, else what mmdebstrap makes of them, else the
/// last ones.
fn telling(lines: &[String]) -> Vec<&str> {
    let begins = |line: &str, signs: &[&str]| signs.iter().any(|sign| line.starts_with(sign));
    let mut errors: Vec<&str> = lines.iter().map(String::as_str).collect();
    errors.retain(|line| begins(line, &["E: ", "Err:", "error: "]));
    errors.dedup();
    let follows = ["E: setup failed", "E: mmdebstrap failed", "E: run_"];
    if errors.iter().any(|line| !begins(line, &follows)) {
        errors.retain(|line| !begins(line, &follows));
    }
    if errors.is_empty() {
        errors = lines.iter().rev().take(5).rev().map(String::as_str).collect();
    }
    errors.into_iter().map(|line| line.strip_prefix("error: ").unwrap_or(line)).collect()
}

/// Why the recipe failed, by what it said on standard error.
pub(super) fn explain(config: &Config, input: &Input, exit: Exit, said: &[u8]) -> Error {
    let lines = said.trim_ascii().split(|byte| *byte == b'\n');
    let lines: Vec<String> = lines.map(|line| sanitize::line(line).trim().to_owned()).collect();
    let shown = telling(&lines);
    let why = shown.join("\n");
    let why = if why.is_empty() { exit.to_string() } else { why };
    let why = format!("cannot make the image: {why}");
    let mut error = match exit {
        Exit::Code(TOO_SLOW) => {
            Error::timed_out(why).hint("agentvm.stageLimit is the longest that a stage may take")
        }
        _ => Error::failed(why),
    };
    for line in &lines {
        let named = NO_PACKAGE.iter().find_map(|(before, after)| {
            let rest = line.strip_prefix(before)?;
            if after.is_empty() { Some(rest) } else { Some(rest.split_once(after)?.0) }
        });
        if let Some(package) = named
            && let Some(file) = input.place_of(package, config)
        {
            let hint = format!("'{package}' is named in {}", file.display());
            if !error.hints().contains(&hint) {
                error = error.hint(hint);
            }
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_in_an_address() {
        let found = |url: &str, bare| user_of(url.as_bytes(), bare);
        let user = |url: &str| found(url, false).map(|user| String::from_utf8(user).unwrap());
        assert_eq!(user("http://me:p@ss@proxy.example:3128/").as_deref(), Some("me:p@ss@"));
        assert_eq!(user("http://proxy.example:3128/a@b"), None);
        assert_eq!(user("localhost,.example"), None);
        assert_eq!(found("me:pw@proxy.example:3128", true).unwrap(), b"me:pw@");
        assert_eq!(found("/home/me@work/bin:/usr/bin", false), None);
    }

    #[test]
    fn what_the_recipe_is_told_of_the_network_is_closed_and_searched_for() {
        let (pypi, npm) =
            ("https://me:hunter2@mirror.example/simple", "https://mirror.example/npm/");
        let config = Config::of(&[("agentvm.pypiindex", pypi), ("agentvm.npmregistry", npm)]);
        let dir = tempfile::tempdir().unwrap();
        for file in network_files(&config).unwrap() {
            file.write_below(dir.path()).unwrap();
        }
        let input = dir.path().join("input");
        let read = |name: &str| fs_err::read_to_string(input.join(name)).unwrap();
        assert_eq!(
            read("environment"),
            format!("npm_config_registry={npm}\nPIP_INDEX_URL={pypi}\n")
        );
        assert!(read("secrets").lines().any(|line| line == "me:hunter2@"));
        assert!(!input.join("ca.pem").exists());
        for name in ["environment", "secrets"] {
            let mode = fs_err::metadata(input.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_mirror_of_the_settings_has_all_that_debian_has() {
        let mirror = Address::web("https://mirror.example/x/debian").unwrap();
        assert_eq!(
            mirror_lines(&mirror),
            "deb https://mirror.example/x/debian trixie main\n\
             deb https://mirror.example/x/debian trixie-updates main\n\
             deb https://mirror.example/x/debian-security trixie-security main"
        );
    }

    #[test]
    fn a_package_that_cannot_be_had_is_named_with_its_list() {
        let (config, _) = Config::lenient(&[]);
        let input = Input::load(&config).unwrap();
        let said = b"Reading package lists...\nE: Unable to locate package ripgrep\nE: Unable to locate package ripgrep\nE: setup failed: E: apt-get failed\nE: mmdebstrap failed to run\n";
        let error = explain(&config, &input, Exit::Code(1), said);
        let wanted = "cannot make the image: E: Unable to locate package ripgrep";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(error.hints(), ["'ripgrep' is named in common/packages/apt-packages.txt"]);
        let error = explain(&config, &input, Exit::Signal(9), b"");
        assert_eq!(error.to_string(), "cannot make the image: signal 9");
    }

    #[test]
    fn only_the_end_of_what_is_said_is_kept() {
        let mut long = vec![b'x'; STDERR_KEPT];
        long.extend_from_slice(b"the end");
        let kept = tail(long.as_slice());
        assert!(kept.len() == STDERR_KEPT && kept.ends_with(b"the end"));
    }
}
