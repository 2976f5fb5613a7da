//! The search for a secret on this machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// No file as large as a VM's disk is looked into, in bytes.
const LARGEST: u64 = 50 << 20;

/// Every place where the secret can be seen: any process's command line and environment, and files
/// below `dir` that others than their owner can read, or all of them.
pub(crate) fn leaks(dir: &Path, secret: &str, all_files: bool) -> Vec<String> {
    let mut found = Vec::new();
    let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        for name in ["cmdline", "environ"] {
            let path = entry.path().join(name);
            if std::fs::read(&path).is_ok_and(|bytes| has(&bytes)) {
                found.push(path.display().to_string());
            }
        }
    }
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file()
                && meta.len() < LARGEST
                && (all_files || meta.permissions().mode() & 0o077 != 0)
                && std::fs::read(&path).is_ok_and(|bytes| has(&bytes))
            {
                found.push(format!("{} {:o}", path.display(), meta.permissions().mode()));
            }
        }
    }
    found
}
