//! Building an image where the host cannot: the same recipe, in a VM that is made for it and deleted
//! afterwards. It is plain as every VM, gets no credentials, and what comes out of it is as hostile as
//! what comes out of any: five files by their names, each with a limit, checked before anything opens
//! them.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::build::{APT_MIRROR, explain, limit_file, mirror, registries, secrets_file, user_of};
use super::host;
use super::input::{File, Input};
use super::keeper::Keeper;
use super::store::Store;
use crate::config::{Config, ProviderKind};
use crate::error::Error;
use crate::guest::{Call, Guest, time_limit};
use crate::handover::{self, Handover, Unset};
use crate::hash;
use crate::process::Exit;
use crate::provision::program;
use crate::state::{self, Lock};
use crate::ui::{self, Progress};
use crate::vm::lima::{self, Lima};
use crate::vm::{self, IfAbsent, Provider as _, Resources};

/// The guest program.
const PROGRAM: &str =
    concat!(include_str!("../guest/setup/11-answers.sh"), include_str!("../guest/image.sh"));
/// The most that the recipe may take: a long list in an emulated guest takes an hour.
const RECIPE_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// The least that the VM's disk has, in bytes. It takes up only what is used.
const DISK: u64 = 32 << 30;
/// What comes back, and the most bytes of each. The disk is the largest that the recipe can make.
const RESULTS: [(&str, u64); 5] = [
    ("SHA256SUMS", 4 << 10),
    ("cmdline", 4 << 10),
    ("vmlinuz", 256 << 20),
    ("initrd.img", 256 << 20),
    ("disk.qcow2", 16 << 30),
];

/// Makes the files of the image of `input` in `out`. To be called with the lock of the images, which is
/// held until the VM is gone, whatever becomes of us.
pub(super) fn make(
    config: &Config,
    input: &Input,
    store: &Store,
    lock: &Lock,
    out: &Path,
) -> anyhow::Result<()> {
    let config = Config { provider: ProviderKind::Lima, credentials: false, ..config.clone() };
    // What is wrong there is said before anything is made.
    let handover = Handover::load(&config, Unset::Goes)?;
    let vm = Lima::builder(&config)?;
    // What an earlier build has left may be what there is no room for.
    vm.take_away()?;
    host::room_in_vm(there(&lima::home()?), store.dir())?;
    let keeper = Keeper::start(lock)?;
    let doing = format!("making the image {}", input.name());
    let outcome = make_with(&config, input, &vm, &handover, &doing, out);
    let describe = vm.describe();
    let progress = Progress::start(&format!("{doing}: deleting the {describe}"));
    let ended = keeper.end();
    drop(progress);
    if let Err(error) = ended {
        ui::warning(&format!("the {describe} is left: {error:#}"));
        ui::hint("the next git agent-vm image build takes it away");
    }
    outcome.map_err(|error| advise(&error, &handover))
}

/// Adds the setting that mends a failure, where its text tells that one does.
fn advise(error: &anyhow::Error, handover: &Handover) -> anyhow::Error {
    let text = format!("{error:#}");
    let begins = "cannot make the image: ";
    let message = if text.starts_with(begins) { text.clone() } else { format!("{begins}{text}") };
    // That shows the user's own VM.
    let explained = Error::in_other_words(error, message).without_hints("git agent-vm status");
    handover.advice(&text).into_iter().fold(explained, Error::hint).into()
}

/// The directory, or the one above it that there is.
fn there(dir: &Path) -> &Path {
    dir.ancestors().find(|above| above.exists()).unwrap_or(dir)
}

fn make_with(
    config: &Config,
    input: &Input,
    vm: &Lima,
    handover: &Handover,
    doing: &str,
    out: &Path,
) -> anyhow::Result<()> {
    let disk = config.disk.map(|disk| disk.max(DISK));
    vm.make(Resources { disk, ..Resources::default() })?;
    vm.start(Resources::default(), IfAbsent::Fail)?;
    let guest = Guest::new(vm::endpoint(vm)?, vm.describe());
    handover.apply(&guest, handover::ROOT)?;
    let site = Site { guest, config, input, doing };
    site.install()?;
    site.send(&site.files(handover))?;
    site.run()?;
    for (name, largest) in RESULTS {
        site.bring(name, largest, out)?;
    }
    Ok(())
}

/// The VM while the image is made in it.
struct Site<'a> {
    guest: Guest,
    config: &'a Config,
    input: &'a Input,
    doing: &'a str,
}

impl Site<'_> {
    fn open(&self, call: &Call) -> anyhow::Result<crate::guest::Session> {
        self.guest.open(call).map_err(|error| self.guest.explain(error))
    }

    fn say(&self, what: &str) -> String {
        format!("{}: {what}", self.doing)
    }

    /// Puts what the recipe needs into the VM.
    fn install(&self) -> anyhow::Result<()> {
        let lines: String = host::packages().iter().map(|word| format!("{word}\n")).collect();
        let limit = self.config.stage_limit.as_secs().max(1).to_string();
        let call = Call::of(program::BUILDER, "stage").arg("builder");
        let mut session = self.open(&call.arg(hash::short(&lines, 32)).arg(limit).arg("0"))?;
        let progress = Progress::start(&self.say("installing what it takes"));
        while let Some(field) = session.field()? {
            match field.key.as_str() {
                "send" => session.send_by(|pipe| {
                    pipe.write_all(lines.as_bytes())?;
                    Ok(pipe.write_all(b"#end\n")?)
                })?,
                "stage" => progress.update(&self.say(&field.value.to_string())),
                "step" => progress.detail(&self.say(&field.value.to_string())),
                _ => {}
            }
        }
        Ok(())
    }

    /// The recipe and its input. The VM has its certificates and variables by now.
    fn files(&self, handover: &Handover) -> Vec<File> {
        let (environment, mut secrets) = registries(self.config);
        let there = std::env::var_os(APT_MIRROR).and_then(|value| value.into_string().ok());
        let mirror = there.or_else(|| mirror(self.config)).unwrap_or_default();
        let words = mirror.as_bytes().split(u8::is_ascii_whitespace);
        secrets.extend(words.filter_map(|word| user_of(word, false)));
        secrets.extend(handover.values().filter_map(|value| user_of(value.expose(), false)));
        let mut files = self.input.files();
        let mirror = File::new("mirror", mirror, 0o600);
        files.extend([environment, secrets_file(secrets), limit_file(self.config), mirror]);
        files
    }

    fn send(&self, files: &[File]) -> anyhow::Result<()> {
        let mut session = self.open(&Call::of(PROGRAM, "take"))?;
        while let Some(field) = session.field()? {
            if field.key == "send" {
                session.send_by(|pipe| {
                    for File { path, content, mode } in files {
                        pipe.write_all(format!("{mode:o} {} {path}\n", content.len()).as_bytes())?;
                        pipe.write_all(content)?;
                    }
                    Ok(pipe.write_all(b"end\n")?)
                })?;
            }
        }
        Ok(())
    }

    /// Runs the recipe. It ends when the session does.
    fn run(&self) -> anyhow::Result<()> {
        let limit = time_limit(RECIPE_LIMIT);
        let mut session = self.open(&Call::of(PROGRAM, "build"))?;
        let progress = Progress::start(self.doing);
        let began = Instant::now();
        let mut said = Vec::new();
        let mut exit = None;
        while let Some(field) = session.field()? {
            match field.key.as_str() {
                "line" => progress.update(&self.say(&field.value.to_string())),
                "said" => said = field.value.as_bytes().to_vec(),
                "exit" => exit = field.value.as_clean_str().and_then(|code| code.parse().ok()),
                _ => {}
            }
            if began.elapsed() > limit {
                let what = format!("the recipe did not end in {} s", limit.as_secs());
                return Err(Error::timed_out(what).into());
            }
        }
        match exit.map(Exit::Code).context("the guest's answer makes no sense")? {
            exit if exit.success() => Ok(()),
            exit => Err(explain(self.config, self.input, exit, &said).into()),
        }
    }

    /// Brings a file into `out`.
    fn bring(&self, name: &str, largest: u64, out: &Path) -> anyhow::Result<()> {
        let mut session = self.open(&Call::of(PROGRAM, "give").arg(name))?;
        let fields = session.fields()?;
        let size = fields.iter().find(|field| field.key == "size");
        let size = size.and_then(|field| field.value.as_clean_str()?.parse::<u64>().ok());
        let size = size.context("the guest's answer makes no sense")?;
        if size > largest {
            let (size, largest) = (ui::size(size), ui::size(largest));
            let what = format!("its {name} has {size}, and may have {largest} at most");
            return Err(Error::failed(what).into());
        }
        let free = state::free(out)?;
        if size > free {
            return Err(Error::failed(format!(
                "too little room in {}: {} are free, and its {name} has {}",
                out.display(),
                ui::size(free),
                ui::size(size)
            ))
            .into());
        }
        let path = out.join(name);
        let cannot = || format!("cannot write {}", path.display());
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o644);
        let mut file = options.open(&path).with_context(cannot)?;
        let what = self.say(&format!("bringing its {name} ({})", ui::size(size)));
        let progress = Progress::start(&what);
        let mut came = 0;
        let said = session.receive(|bytes| {
            came += bytes.len() as u64;
            if came > size {
                return Err(Error::failed(format!("its {name} is longer than it was said")).into());
            }
            progress.detail(&format!("{what}: {}", ui::size(came)));
            file.write_all(bytes).with_context(cannot)
        })?;
        if came != size {
            let said = if said.is_empty() { said } else { format!(": {said}") };
            return Err(Error::failed(format!("not all of its {name} arrived{said}")).into());
        }
        Ok(())
    }
}
