//! How programs get onto this system: which package manager it has, what its packages are called,
//! and the command that a user would type.

use std::path::Path;

/// A system's package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Pacman,
    Zypper,
    Apk,
    Brew,
}

/// What can be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    Git,
    Ssh,
    Lima,
    Qemu,
    Sshfs,
    Fuse,
    Mmdebstrap,
}

/// The system that commands are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) manager: Option<Manager>,
    /// Homebrew, on Linux beside the system's own manager.
    brew: bool,
    /// The word that a command needs in front to run as root.
    prefix: &'static str,
    pub(crate) macos: bool,
    /// Windows' Subsystem for Linux: 1 or 2.
    pub(crate) wsl: Option<u8>,
    arch: &'static str,
}

/// What a system says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs<'a> {
    /// `/etc/os-release`.
    pub(crate) os_release: &'a str,
    /// `/proc/sys/kernel/osrelease`.
    pub(crate) kernel: &'a str,
    pub(crate) macos: bool,
    pub(crate) root: bool,
    /// `x86_64` or `aarch64`.
    pub(crate) arch: &'static str,
}

impl System {
    /// The one that we run on.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let release = ["/etc/os-release", "/usr/lib/os-release"];
        let os_release = release.into_iter().map(read).find(|text| !text.is_empty());
        let signs = Signs {
            os_release: &os_release.unwrap_or_default(),
            kernel: &read("/proc/sys/kernel/osrelease"),
            macos: cfg!(target_os = "macos"),
            root: rustix::process::geteuid().is_root(),
            arch: std::env::consts::ARCH,
        };
        // A broken PATH does not change what is installed.
        let usual = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/opt/homebrew/bin"];
        let usual = |program: &str| usual.iter().any(|dir| Path::new(dir).join(program).exists());
        Self::of(signs, |program| which::which(program).is_ok() || usual(program))
    }

    /// The system that gives these signs and has these programs.
    pub(crate) fn of(signs: Signs<'_>, has: impl Fn(&str) -> bool) -> Self {
        let value = |key: &str| {
            let line = signs.os_release.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let (id, like) = (value("ID="), value("ID_LIKE="));
        let named = std::iter::once(id.as_str()).chain(like.split_whitespace());
        let by_name = named.filter_map(manager_of).find(|manager| has(manager.program()));
        let all = [Manager::Apt, Manager::Dnf, Manager::Pacman, Manager::Zypper, Manager::Apk];
        let manager = if signs.macos {
            has("brew").then_some(Manager::Brew)
        } else {
            by_name.or_else(|| all.into_iter().find(|manager| has(manager.program())))
        };
        let kernel = signs.kernel.to_ascii_lowercase();
        let wsl =
            kernel.contains("microsoft").then(|| if kernel.starts_with("4.4.") { 1 } else { 2 });
        let prefix = match () {
            () if signs.root => "",
            () if has("sudo") || !has("doas") => "sudo ",
            () => "doas ",
        };
        Self { manager, brew: has("brew"), prefix, macos: signs.macos, wsl, arch: signs.arch }
    }

    /// A command line that root has to run.
    pub(crate) fn as_root(&self, command: &str) -> String {
        format!("{}{command}", self.prefix)
    }

    /// The command that installs something, or in words what to install.
    pub(crate) fn install(&self, package: Package) -> String {
        if self.macos && package == Package::Sshfs {
            // sshfs needs macFUSE, which is no formula.
            let brew = "brew install --cask macfuse && brew install gromgit/fuse/sshfs-mac";
            return if self.brew { brew.into() } else { "install macFUSE and its sshfs".into() };
        }
        let names = self.manager.and_then(|manager| self.names(manager, package));
        match (self.manager, names) {
            (Some(Manager::Apt), Some(names)) => self.as_root(&format!("apt-get install {names}")),
            (Some(Manager::Dnf), Some(names)) => self.as_root(&format!("dnf install {names}")),
            (Some(Manager::Pacman), Some(names)) => self.as_root(&format!("pacman -S {names}")),
            (Some(Manager::Zypper), Some(names)) => {
                self.as_root(&format!("zypper install {names}"))
            }
            (Some(Manager::Apk), Some(names)) => self.as_root(&format!("apk add {names}")),
            (Some(Manager::Brew), Some(names)) => format!("brew install {names}"),
            _ if self.brew && package == Package::Lima => "brew install lima".into(),
            _ => in_words(package).into(),
        }
    }

    /// The command that brings something up to date.
    pub(crate) fn upgrade(&self, package: Package) -> String {
        let names = self.manager.and_then(|manager| self.names(manager, package));
        match (self.manager, names) {
            (Some(Manager::Apt), Some(names)) => self.as_root(&format!(
                "apt-get update && {}",
                self.as_root(&format!("apt-get install --only-upgrade {names}"))
            )),
            (Some(Manager::Dnf), Some(names)) => self.as_root(&format!("dnf upgrade {names}")),
            (Some(Manager::Pacman), Some(_)) => self.as_root("pacman -Syu"),
            (Some(Manager::Zypper), Some(names)) => self.as_root(&format!("zypper update {names}")),
            (Some(Manager::Apk), Some(names)) => self.as_root(&format!("apk upgrade {names}")),
            (Some(Manager::Brew), Some(names)) => format!("brew upgrade {names}"),
            _ => in_words(package).into(),
        }
    }

    /// The command that tells which package a file is of: its words and the file's name last.
    pub(crate) fn owner_command(&self) -> Option<&'static [&'static str]> {
        match self.manager? {
            Manager::Apt => Some(&["dpkg-query", "-S"]),
            Manager::Dnf | Manager::Zypper => Some(&["rpm", "-qf"]),
            Manager::Pacman => Some(&["pacman", "-Qoq"]),
            Manager::Apk => Some(&["apk", "info", "--who-owns"]),
            // Homebrew builds what upstream releases.
            Manager::Brew => None,
        }
    }

    fn names(&self, manager: Manager, package: Package) -> Option<&'static str> {
        let arm = self.arch == "aarch64";
        let (_, names) = NAMES.iter().find(|(known, _)| *known == package)?;
        let index = match manager {
            Manager::Apt => 0,
            Manager::Dnf => 1,
            Manager::Pacman => 2,
            Manager::Zypper => 3,
            Manager::Apk => 4,
            Manager::Brew => 5,
        };
        let names = match (package, arm) {
            (Package::Qemu, true) => QEMU_ON_ARM[index],
            _ => names[index],
        };
        Some(names).filter(|names| !names.is_empty())
    }
}

/// By manager: apt, dnf, pacman, zypper, apk, brew. Empty where there is no such package.
const NAMES: [(Package, [&str; 6]); 7] = [
    (Package::Git, ["git"; 6]),
    (
        Package::Ssh,
        [
            "openssh-client",
            "openssh-clients",
            "openssh",
            "openssh-clients",
            "openssh-client openssh-keygen",
            "openssh",
        ],
    ),
    (Package::Lima, ["", "", "lima", "", "", "lima"]),
    (
        Package::Qemu,
        [
            "qemu-system-x86 qemu-utils ovmf",
            "qemu-system-x86-core qemu-img edk2-ovmf",
            "qemu-system-x86 qemu-img edk2-ovmf",
            "qemu-x86 qemu-tools qemu-ovmf-x86_64",
            "qemu-system-x86_64 qemu-img ovmf",
            "qemu",
        ],
    ),
    (Package::Sshfs, ["sshfs", "fuse-sshfs", "sshfs", "sshfs", "sshfs", ""]),
    (Package::Fuse, ["fuse3", "fuse3", "fuse3", "fuse3", "fuse3", ""]),
    (Package::Mmdebstrap, ["mmdebstrap uidmap fdisk mtools qemu-utils", "", "", "", "", ""]),
];

const QEMU_ON_ARM: [&str; 6] = [
    "qemu-system-arm qemu-utils qemu-efi-aarch64",
    "qemu-system-aarch64-core qemu-img edk2-aarch64",
    "qemu-system-aarch64 qemu-img edk2-aarch64",
    "qemu-arm qemu-tools qemu-uefi-aarch64",
    "qemu-system-aarch64 qemu-img aavmf",
    "qemu",
];

fn manager_of(id: &str) -> Option<Manager> {
    Some(match id {
        "debian" | "ubuntu" => Manager::Apt,
        "fedora" | "rhel" | "centos" => Manager::Dnf,
        "arch" => Manager::Pacman,
        "suse" | "opensuse" | "opensuse-tumbleweed" | "opensuse-leap" => Manager::Zypper,
        "alpine" => Manager::Apk,
        _ => return None,
    })
}

impl Manager {
    fn program(self) -> &'static str {
        match self {
            Manager::Apt => "apt-get",
            Manager::Dnf => "dnf",
            Manager::Pacman => "pacman",
            Manager::Zypper => "zypper",
            Manager::Apk => "apk",
            Manager::Brew => "brew",
        }
    }
}

fn in_words(package: Package) -> &'static str {
    match package {
        Package::Git => "install git 2.39 or newer, or put a newer one first in PATH",
        Package::Ssh => "install OpenSSH's client",
        Package::Lima => crate::vm::lima::INSTALL,
        Package::Qemu => "install QEMU",
        Package::Sshfs => "install sshfs 3.7.6 or newer",
        Package::Fuse => "install FUSE 3 (fusermount3)",
        Package::Mmdebstrap => "install mmdebstrap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str =
        "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n";
    const UBUNTU: &str = "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n";
    const MINT: &str = "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
    const FEDORA: &str =
        "NAME=\"Fedora Linux\"\nVERSION=\"42\"\nID=fedora\nVARIANT_ID=workstation\n";
    const ARCH: &str = "NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n";
    const SUSE: &str =
        "NAME=\"openSUSE Tumbleweed\"\nID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n";
    const ALPINE: &str = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\n";

    fn system(os_release: &str, programs: &[&str]) -> System {
        let signs =
            Signs { os_release, kernel: "6.1.0", macos: false, root: false, arch: "x86_64" };
        System::of(signs, |program| programs.contains(&program))
    }

    #[test]
    fn each_distribution_gets_its_own_command() {
        for (release, programs, wanted) in [
            (DEBIAN, &["apt-get", "sudo"][..], "sudo apt-get install sshfs"),
            (UBUNTU, &["apt-get", "sudo"], "sudo apt-get install sshfs"),
            (MINT, &["apt-get", "sudo"], "sudo apt-get install sshfs"),
            (FEDORA, &["dnf", "apt-get", "sudo"], "sudo dnf install fuse-sshfs"),
            (ARCH, &["pacman", "sudo"], "sudo pacman -S sshfs"),
            (SUSE, &["zypper", "sudo"], "sudo zypper install sshfs"),
            (ALPINE, &["apk", "doas"], "doas apk add sshfs"),
            ("", &["zypper"], "sudo zypper install sshfs"),
            (DEBIAN, &[], "install sshfs 3.7.6 or newer"),
        ] {
            let system = system(release, programs);
            assert_eq!(system.install(Package::Sshfs), wanted, "{release}");
            assert_eq!(system.wsl, None);
        }
    }

    #[test]
    fn lima_comes_from_where_there_is_one() {
        let install = |release, programs| system(release, programs).install(Package::Lima);
        assert_eq!(install(ARCH, &["pacman", "sudo"]), "sudo pacman -S lima");
        assert_eq!(install(DEBIAN, &["apt-get", "brew"]), "brew install lima");
        assert!(install(DEBIAN, &["apt-get"]).starts_with("install Lima 2"));
    }

    #[test]
    fn root_needs_no_sudo_and_arm_has_another_qemu() {
        let signs =
            Signs { os_release: UBUNTU, kernel: "", macos: false, root: true, arch: "aarch64" };
        let system = System::of(signs, |program| program == "apt-get");
        assert_eq!(
            system.install(Package::Qemu),
            "apt-get install qemu-system-arm qemu-utils qemu-efi-aarch64"
        );
        assert_eq!(
            system.upgrade(Package::Git),
            "apt-get update && apt-get install --only-upgrade git"
        );
    }

    #[test]
    fn macos_has_homebrew_or_words() {
        let signs = Signs { os_release: "", kernel: "", macos: true, root: false, arch: "aarch64" };
        let system = System::of(signs, |program| program == "brew");
        assert_eq!(system.install(Package::Lima), "brew install lima");
        assert!(system.install(Package::Sshfs).contains("macfuse"));
        let bare = System::of(signs, |_| false);
        assert_eq!(bare.install(Package::Ssh), "install OpenSSH's client");
    }

    #[test]
    fn windows_is_told_by_its_kernel() {
        let wsl = |kernel| {
            let signs =
                Signs { os_release: UBUNTU, kernel, macos: false, root: false, arch: "x86_64" };
            System::of(signs, |program| program == "apt-get").wsl
        };
        assert_eq!(wsl("5.15.167.4-microsoft-standard-WSL2"), Some(2));
        assert_eq!(wsl("4.4.0-19041-Microsoft"), Some(1));
        assert_eq!(wsl("6.12.0-generic"), None);
    }
}
