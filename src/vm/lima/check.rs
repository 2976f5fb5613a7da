//! What Lima makes of our template, once the user's override files are merged in: the start is
//! refused where that would open the host to the VM.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;

/// The files that Lima merges into every VM, last one first.
const OVERRIDES: [&str; 3] = ["_config/override.yaml", "_config/default.yaml", "_config/base.yaml"];

/// A setting that must not be, and the word to look for in the files that may have brought it.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    what: &'static str,
    key: &'static str,
}

/// Refuses a configuration that reaches into the host. `instance_yaml` is the instance's own file.
pub(crate) fn effective(
    config: &Value,
    lima_home: &Path,
    instance_yaml: &Path,
) -> Result<(), Error> {
    let (violation, file) = match (first_violation(config), mounting_override(lima_home)) {
        (Some(violation), _) => {
            let file = culprit(violation.key, lima_home, instance_yaml);
            (violation, file)
        }
        (None, Some(file)) => {
            let what = "an override asks for mounts of this machine";
            (Violation { what, key: "mounts" }, file)
        }
        (None, None) => return Ok(()),
    };
    Err(Error::failed(format!("refusing the VM: {} (set in {})", violation.what, file.display()))
        .hint(format!("take '{}' out of {}", violation.key, file.display()))
        .hint("or give git-agent-vm a Lima of its own: export LIMA_HOME=~/.agent-vm-lima"))
}

/// The override files that there are.
pub(crate) fn override_files(lima_home: &Path) -> Vec<PathBuf> {
    OVERRIDES.iter().map(|name| lima_home.join(name)).filter(|path| path.exists()).collect()
}

/// An override file that adds mounts. Lima drops them as long as the VM is plain; a VM for code that
/// nobody trusts must not depend on what Lima drops.
fn mounting_override(lima_home: &Path) -> Option<PathBuf> {
    override_files(lima_home).into_iter().find(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_yaml::from_str::<serde_yaml::Value>(&text)
            .is_ok_and(|yaml| yaml["mounts"].as_sequence().is_some_and(|list| !list.is_empty()))
    })
}

fn first_violation(config: &Value) -> Option<Violation> {
    let on = |value: &Value| value.as_bool() == Some(true);
    let any = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    let ssh = &config["ssh"];
    let found = |what, key| Some(Violation { what, key });
    if any(&config["mounts"]) {
        return found("it would mount directories of this machine", "mounts");
    }
    if !on(&config["plain"]) {
        return found("it is not 'plain', so guest and host would be coupled", "plain");
    }
    if on(&ssh["forwardAgent"]) {
        return found("it would forward your ssh agent", "forwardAgent");
    }
    if on(&ssh["forwardX11"]) || on(&ssh["forwardX11Trusted"]) {
        return found("it would forward your X11 display", "forwardX11");
    }
    // A rule that only says what to ignore opens nothing.
    let rules = config["portForwards"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.iter().any(|rule| !on(&rule["ignore"])) {
        return found("it would forward ports of the VM to this machine", "portForwards");
    }
    if any(&config["copyToHost"]) {
        return found("it would copy files of the VM to this machine", "copyToHost");
    }
    if on(&config["propagateProxyEnv"]) {
        return found("it would hand this machine's proxy settings on", "propagateProxyEnv");
    }
    if config["user"]["name"].as_str() != Some("agent") {
        return found("its user is not 'agent'", "user");
    }
    None
}

fn culprit(key: &str, lima_home: &Path, instance_yaml: &Path) -> PathBuf {
    OVERRIDES
        .iter()
        .map(|name| lima_home.join(name))
        .find(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("{key}:")))
        })
        .unwrap_or_else(|| instance_yaml.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({"plain": true, "mounts": null, "user": {"name": "agent"},
            "ssh": {"forwardAgent": false, "forwardX11": false, "forwardX11Trusted": false},
            "portForwards": [{"ignore": true}], "propagateProxyEnv": false})
    }

    #[test]
    fn our_own_configuration_passes() {
        assert_eq!(first_violation(&good()), None);
    }

    #[test]
    fn whatever_opens_the_host_is_refused() {
        for (pointer, value, key) in [
            ("/mounts", json!([{"location": "~"}]), "mounts"),
            ("/plain", json!(false), "plain"),
            ("/ssh/forwardAgent", json!(true), "forwardAgent"),
            ("/ssh/forwardX11", json!(true), "forwardX11"),
            ("/ssh/forwardX11Trusted", json!(true), "forwardX11"),
            ("/portForwards", json!([{"guestPort": 80}]), "portForwards"),
            ("/propagateProxyEnv", json!(true), "propagateProxyEnv"),
            ("/user/name", json!("me"), "user"),
        ] {
            let mut config = good();
            *config.pointer_mut(pointer).unwrap() = value;
            assert_eq!(first_violation(&config).map(|found| found.key), Some(key), "{pointer}");
        }
    }

    #[test]
    fn an_override_that_asks_for_mounts_is_refused_though_lima_drops_them() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("_config")).unwrap();
        let file = home.path().join("_config/override.yaml");
        let check = || effective(&good(), home.path(), Path::new("lima.yaml"));
        std::fs::write(&file, "mounts: []\n").unwrap();
        check().unwrap();
        std::fs::write(&file, "mounts: [{location: '~', writable: true}]\n").unwrap();
        let error = check().unwrap_err().to_string();
        assert!(error.contains("mounts") && error.contains("override.yaml"), "{error}");
    }

    #[test]
    fn the_override_file_is_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("_config")).unwrap();
        let file = home.path().join("_config/override.yaml");
        std::fs::write(&file, "mounts:\n- location: \"~\"\n").unwrap();
        let mut config = good();
        config["mounts"] = json!([{"location": "~"}]);
        let error = effective(&config, home.path(), Path::new("/x/lima.yaml")).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        std::fs::remove_file(&file).unwrap();
        let error = effective(&config, home.path(), Path::new("/x/lima.yaml")).unwrap_err();
        assert!(error.to_string().contains("/x/lima.yaml"), "{error}");
    }
}
