//! Google's credentials of this user, for agents in the VM.
//!
//! Finds and checks the file, and says which variables make an agent use it. How it gets into the VM
//! is [`crate::handover`]'s business.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde_json::error::Category;
use serde_json::{Map, Value};

use crate::environment::export;
use crate::error::Error;
use crate::hash;
use crate::secret::Secret;
use crate::small_file::{self, NoFile};
use crate::ui;

/// Where the VM has them.
pub const PLACE: &str = "/etc/google/application_default_credentials.json";
/// The variable that names the file, here and in the VM.
pub const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The variable that names the project for Google's models, here and in the VM.
pub const PROJECT: &str = "ANTHROPIC_VERTEX_PROJECT_ID";
/// The largest file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Google's default, where nothing else is said.
const REGION: &str = "us-central1";

/// The credentials, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Google {
    /// The file that they are from.
    pub source: PathBuf,
    /// What is in it.
    pub json: Secret,
}

/// What a search for credentials comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// There they are.
    Found(Google),
    /// The variable names a file that is not there.
    Gone(PathBuf),
    /// This user has none.
    Nothing,
}

impl Search {
    /// For those of this user: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, else gcloud's
    /// own.
    ///
    /// A file that is something else than credentials is wrong usage: it is said before anything is
    /// made, as with the files of `common/`.
    pub fn new(value_of: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let path_in =
            |name: &str| value_of(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = path_in(VARIABLE);
        let default = || {
            let own = path_in("CLOUDSDK_CONFIG");
            let dir = own.or_else(|| Some(std::env::home_dir()?.join(".config/gcloud")))?;
            Some(dir.join("application_default_credentials.json"))
        };
        let Some(source) = named.clone().or_else(default) else { return Ok(Self::Nothing) };
        match Google::read(&source) {
            Ok(json) => Ok(Self::Found(Google { source: absolute(source), json })),
            Err(Wrong::File(NoFile::Missing)) => Ok(named.map_or(Self::Nothing, Self::Gone)),
            Err(why) => {
                let by = if named.is_some() { format!("{VARIABLE}: ") } else { String::new() };
                Err(Error::usage(format!("{by}{}: {why}", source.display())).hint(
                    "git config --global agentvm.credentials none keeps credentials out of the VM",
                ))
            }
        }
    }

    /// The credentials, with a warning where the file is gone, which ends with what that means.
    #[must_use]
    pub fn found(self, so: &str) -> Option<Google> {
        match self {
            Self::Found(google) => Some(google),
            Self::Gone(path) => {
                ui::warning(&format!("{}; {so}", gone(&path)));
                None
            }
            Self::Nothing => None,
        }
    }
}

/// What is the matter with a file that is not there.
#[must_use]
pub fn gone(path: &Path) -> String {
    format!("{VARIABLE} names {}, which is not there", path.display())
}

impl Google {
    /// The file's bytes, if they are credentials. Nothing of them is in an error.
    pub fn read(path: &Path) -> Result<Secret, Wrong> {
        let bytes = small_file::read(path, LARGEST)?;
        check(&bytes)?;
        Ok(Secret::new(bytes))
    }

    /// Tells one content of the file from another.
    #[must_use]
    pub fn digest(json: &Secret) -> String {
        hash::short(json.expose(), 32)
    }

    /// The script for login shells. An agent is told to use Google's models only where a project
    /// for them is named here, and nobody switched it off.
    #[must_use]
    pub fn profile(value_of: impl Fn(&str) -> Option<OsString>) -> Secret {
        let mut script = b"# Made by git agent-vm start, which makes it anew.\n".to_vec();
        let here = |name: &str| value_of(name).filter(|value| !value.is_empty());
        export(&mut script, VARIABLE, PLACE.as_bytes());
        if let Some(project) = here(PROJECT) {
            let region = here("CLOUD_ML_REGION").unwrap_or_else(|| REGION.into());
            export(&mut script, PROJECT, project.as_bytes());
            export(&mut script, "CLOUD_ML_REGION", region.as_bytes());
            let off =
                here("CLAUDE_CODE_USE_VERTEX").is_some_and(|word| word == "0" || word == "false");
            if !off {
                export(&mut script, "CLAUDE_CODE_USE_VERTEX", b"true");
            }
        }
        Secret::new(script)
    }
}

/// Why a file is no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("{0}")]
    File(#[from] NoFile),
    /// It is not JSON; line and column.
    #[error("it is no JSON (line {0}, column {1}), so these are no credentials")]
    NoJson(usize, usize),
    /// It does not say what kind it is.
    #[error("it has no 'type', so these are no credentials of Google")]
    NoType,
}

fn check(bytes: &[u8]) -> Result<(), Wrong> {
    // serde's own message could repeat what it found.
    let object: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            Category::Data => Wrong::NoType,
            _ => Wrong::NoJson(error.line(), error.column()),
        })?;
    match object.get("type") {
        Some(Value::String(kind)) if !kind.is_empty() => Ok(()),
        _ => Err(Wrong::NoType),
    }
}

/// A later command may be typed somewhere else.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const GOOD: &str = r#"{"client_secret": "hunter2", "type": "authorized_user"}"#;

    fn find(dir: &Path, variables: &[(&str, &str)]) -> Result<Search, Error> {
        Search::new(|name| {
            let value =
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)?;
            Some(value.replace("DIR", dir.to_str().unwrap()).into())
        })
    }

    #[test]
    fn the_variable_wins_over_gclouds_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("application_default_credentials.json", GOOD);
        write("named", &GOOD.replace("authorized_user", "service_account"));
        let gcloud = ("CLOUDSDK_CONFIG", "DIR");
        let own = dir.path().join("application_default_credentials.json");
        let found = |variables: &[(&str, &str)]| match find(dir.path(), variables).unwrap() {
            Search::Found(google) => google.source,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(&[gcloud]), own);
        assert_eq!(found(&[gcloud, (VARIABLE, "DIR/named")]), dir.path().join("named"));
        assert_eq!(found(&[gcloud, (VARIABLE, "")]), own);
        // What the variable names is gone: another file is not what was meant.
        let none = find(dir.path(), &[gcloud, (VARIABLE, "DIR/none")]).unwrap();
        assert_eq!(none, Search::Gone(dir.path().join("none")));
        let none = find(dir.path(), &[("CLOUDSDK_CONFIG", "DIR/none")]).unwrap();
        assert_eq!(none, Search::Nothing);
    }

    #[test]
    fn what_is_no_credentials_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        for (text, why) in [
            ("hunter2", "no JSON (line 1, column 1)"),
            ("", "no JSON"),
            (r#"{"type": "x", "#, "no JSON"),
            (r#""hunter2""#, "no 'type'"),
            (r#"["hunter2"]"#, "no 'type'"),
            (r#"{"key": "hunter2"}"#, "no 'type'"),
            (r#"{"type": ["hunter2"]}"#, "no 'type'"),
            (r#"{"type": ""}"#, "no 'type'"),
            (&" ".repeat(1 << 21), "over 1024 KiB"),
        ] {
            std::fs::write(dir.path().join("named"), text).unwrap();
            let error = find(dir.path(), &[(VARIABLE, "DIR/named")]).unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(VARIABLE) && said.contains(why), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
            assert_eq!(error.kind(), Kind::Usage);
        }
        let error = find(dir.path(), &[(VARIABLE, "DIR")]).unwrap_err().to_string();
        assert!(error.contains("it is a directory"), "{error}");
    }

    fn profile(variables: &[(&str, &str)]) -> String {
        let value_of = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        String::from_utf8(Google::profile(value_of).expose().to_vec()).unwrap()
    }

    #[test]
    fn vertex_is_used_where_a_project_is_named() {
        let path = "export GOOGLE_APPLICATION_CREDENTIALS='/etc/google/application_default_credentials.json'\n";
        let text = profile(&[("CLOUD_ML_REGION", "x")]);
        assert!(text.ends_with(path), "{text}");
        let text = profile(&[("ANTHROPIC_VERTEX_PROJECT_ID", "it's $(mine)")]);
        let wanted = "export ANTHROPIC_VERTEX_PROJECT_ID='it'\\''s $(mine)'\nexport CLOUD_ML_REGION='us-central1'\nexport CLAUDE_CODE_USE_VERTEX='true'\n";
        assert!(text.ends_with(&format!("{path}{wanted}")), "{text}");
        let project = ("ANTHROPIC_VERTEX_PROJECT_ID", "p");
        let text = profile(&[
            project,
            ("CLOUD_ML_REGION", "europe-west1"),
            ("CLAUDE_CODE_USE_VERTEX", "0"),
        ]);
        assert!(text.ends_with("export CLOUD_ML_REGION='europe-west1'\n"), "{text}");
    }
}
