//! Where `agentvm.id` may stand: in the one configuration file that belongs to the repository alone.

use std::path::Path;

use super::origin_name;
use crate::error::Error;
use crate::git::Repo;
use crate::sanitize;

/// What `doctor` says of an id elsewhere.
pub(super) const RULE: &str =
    "an id stands in the configuration of its own repository alone, where git agent-vm writes it";

/// Whether an id that git found in `scope` and `origin` (as `git config` names them) is the
/// repository's own. In the user's configuration, in an included file or on a command line it would be
/// that of any repository; in that of one worktree, its neighbours would have another.
pub(super) fn is_in_its_place(repo: Option<&Repo>, scope: &[u8], origin: &str) -> bool {
    let Some(repo) = repo else { return scope == b"local" };
    let Some(file) = origin.strip_prefix("file:").filter(|_| scope == b"local") else {
        return false;
    };
    let own = repo.common_dir().join("config");
    let dir = repo.work_dir().unwrap_or(repo.common_dir());
    let resolved = |path: &Path| std::fs::canonicalize(path).ok();
    Path::new(file) == own || resolved(&dir.join(file)) == resolved(&own)
}

/// Refuses an id that stands elsewhere.
pub(super) fn misplaced(scope: &[u8], origin: &str) -> Error {
    let place = origin_name(origin);
    let error = Error::usage(format!("agentvm.id in {place} is not used: {RULE}"));
    match scope {
        b"command" => error.hint("leave it away"),
        _ => error.hint(format!(
            "git config --file {} --unset agentvm.id",
            sanitize::shell_path(Path::new(&place))
        )),
    }
}
