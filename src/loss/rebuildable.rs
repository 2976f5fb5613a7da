//! What a tool makes anew, so that nobody misses it. Part of the manual.
//!
//! Only names that tools give to what they make: nothing that a person may have written by hand, as
//! `build`, `dist`, `vendor`, `out` or `env` may be.

/// Directories whose content a tool makes anew, where git ignores them.
pub const REBUILDABLE_DIRS: &[&str] = &[
    "node_modules",
    "bower_components",
    "jspm_packages",
    ".pnpm-store",
    ".next",
    ".nuxt",
    ".svelte-kit",
    ".parcel-cache",
    ".turbo",
    ".nyc_output",
    "target",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".eggs",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".ipynb_checkpoints",
    ".gradle",
    ".bloop",
    ".metals",
    "elm-stuff",
    ".stack-work",
    "dist-newstyle",
    ".dart_tool",
    "CMakeFiles",
    ".ccls-cache",
    ".clangd",
    ".zig-cache",
    "zig-cache",
    "DerivedData",
    ".terraform",
    ".sass-cache",
];

/// Files of that kind, by the end of their names.
pub const REBUILDABLE_FILES: &[&str] = &[
    ".pyc",
    ".pyo",
    ".o",
    ".obj",
    ".lo",
    ".class",
    ".hi",
    ".beam",
    ".gcda",
    ".gcno",
    ".tsbuildinfo",
    ".eslintcache",
    ".stylelintcache",
    ".DS_Store",
    "Thumbs.db",
];

/// What nobody writes by hand even where git does not ignore it.
const NEVER_WORK: &[&str] = &[".pyc", ".pyo", ".DS_Store", "Thumbs.db"];

/// Whether an entry of `git status --porcelain` is of no account.
pub(super) fn is_of_no_account(letters: &[u8], path: &[u8]) -> bool {
    match letters {
        b"??" => ends_with_any(path, NEVER_WORK),
        b"!!" => in_any(path, REBUILDABLE_DIRS) || ends_with_any(path, REBUILDABLE_FILES),
        _ => false,
    }
}

/// The same as an extended regular expression without commas, for the guest, which tells only the
/// rest: there may be more files of this kind than an answer may have.
#[must_use]
pub fn pattern() -> String {
    let any = |words: &[&str]| words.join("|").replace('.', "\\.");
    format!(
        "^(!! (.*/)?({})/|!! .*({})$|[?][?] .*({})$)",
        any(REBUILDABLE_DIRS),
        any(REBUILDABLE_FILES),
        any(NEVER_WORK)
    )
}

/// A directory's path ends in a slash.
fn in_any(path: &[u8], dirs: &[&str]) -> bool {
    let mut components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    // The last is a file's name, or empty after a directory's slash.
    components.pop();
    components.iter().any(|component| dirs.iter().any(|name| name.as_bytes() == *component))
}

fn ends_with_any(path: &[u8], ends: &[&str]) -> bool {
    ends.iter().any(|end| path.ends_with(end.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Cmd;

    const NO_ACCOUNT: &[&str] = &[
        "!! node_modules/",
        "!! web/node_modules/left-pad/index.js",
        "!! target/",
        "!! a/b/__pycache__/",
        "!! x.pyc",
        "!! .DS_Store",
        "?? pkg/__pycache__/x.pyc",
        "!! zig-cache/o",
    ];
    const WORK: &[&str] = &[
        "!! .env",
        "!! my-target/",
        "!! target",
        "!! build/",
        "!! notes/target.txt",
        "!! xpyc",
        "?? target/a.rs",
        "?? node_modules/x",
        "?? a.o",
        " M src/a.o",
        "HH x.pyc",
        "GF node_modules/sub",
    ];

    #[test]
    fn what_a_tool_makes_anew_does_not_count_and_all_else_does() {
        let of_no_account = |entry: &&str| {
            let (letters, path) = entry.split_at(2);
            is_of_no_account(letters.as_bytes(), &path.as_bytes()[1..])
        };
        assert_eq!(NO_ACCOUNT.iter().find(|entry| !of_no_account(entry)), None);
        assert_eq!(WORK.iter().find(|entry| of_no_account(entry)), None);
    }

    #[test]
    fn the_guest_leaves_out_the_same() {
        let script = format!("\\,{},d", pattern());
        let input = [NO_ACCOUNT, WORK].concat().join("\n") + "\n";
        let sed = Cmd::new("sed").args(["-E", &script]).stdin_bytes(input).output().unwrap();
        let left = String::from_utf8(sed.stdout).unwrap();
        assert_eq!(left.lines().collect::<Vec<_>>(), WORK);
    }
}
