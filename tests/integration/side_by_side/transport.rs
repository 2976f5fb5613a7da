//! Protocol versions, transports that are allowed, and the user's own ssh settings.

use super::Sides;

/// Something to push on feature, and something to fetch on another branch.
fn sides() -> Sides {
    let sides = Sides::pushed();
    sides.far_sh("git checkout -q -b topic && git commit -q --allow-empty -m agent && git checkout -q feature");
    sides.sh("git checkout -q feature && git commit -q --allow-empty -m host");
    sides
}

#[test]
fn versions_of_gits_protocol() {
    for version in ["0", "1", "2"] {
        let sides = sides();
        let set = format!("-c protocol.version={version}");
        sides.git(&format!("{set} ls-remote URL")).code(0).same();
        sides.git(&format!("{set} fetch vm")).code(0).same();
        sides.git(&format!("{set} push vm feature")).code(0).same();
    }
}

#[test]
fn version_asked_for_by_the_environment() {
    let sides = sides();
    sides.run(|side| side.git("fetch vm").env("GIT_PROTOCOL", "version=1")).code(0).same();
    sides.run(|side| side.git("push vm feature").env("GIT_PROTOCOL", "version=2")).code(0).same();
}

#[test]
fn transport_that_the_user_forbids() {
    let sides = sides();
    for words in ["fetch URL", "push URL feature", "ls-remote URL"] {
        let run = |allowed: &'static str| {
            sides.run(move |side| side.git(words).env("GIT_ALLOW_PROTOCOL", allowed))
        };
        run("https").code(128).same_repositories().says("not allowed");
        run("ssh:agentvm").code(0).same();
    }
}

#[test]
fn transport_that_a_setting_forbids() {
    let sides = sides();
    let never = "-c protocol.agentvm.allow=never -c protocol.ssh.allow=never";
    sides.git(&format!("{never} fetch vm")).code(128).same_repositories().says("not allowed");
    sides.git(&format!("{never} push vm feature")).code(128).same_repositories();
    sides.git("-c protocol.allow=never fetch vm").code(128).same_repositories();
    let one =
        "-c protocol.allow=never -c protocol.agentvm.allow=always -c protocol.ssh.allow=always";
    sides.git(&format!("{one} fetch vm")).code(0).same();
    sides.git(&format!("{one} push vm feature")).code(0).same();
}

#[test]
fn transport_that_was_not_the_users_own_choice() {
    // As in a submodule's URL: ssh is trusted there, a remote helper is not.
    let sides = sides();
    sides
        .run(|side| side.git("fetch vm").env("GIT_PROTOCOL_FROM_USER", "0"))
        .plain_code(0)
        .ours_code(128)
        .ours_says("fatal: transport 'agentvm' not allowed");
    let allowed = sides.run(|side| {
        side.git("-c protocol.agentvm.allow=always fetch vm").env("GIT_PROTOCOL_FROM_USER", "0")
    });
    allowed.code(0);
}

#[test]
fn ssh_settings_of_the_user_are_for_other_remotes() {
    let sides = sides();
    for name in ["GIT_SSH_COMMAND", "GIT_SSH"] {
        let seen =
            sides.run(|side| side.git("fetch vm").env("GIT_SSH_COMMAND", "").env(name, "false"));
        seen.plain_code(128).ours_code(0);
    }
    let set = "-c core.sshCommand=false -c ssh.variant=simple";
    sides
        .run(|side| side.git(&format!("{set} push vm feature")).env("GIT_SSH_COMMAND", side.ssh()))
        .ours_code(0);
    sides.ours().for_each(|side| assert_eq!(side.far().tip("feature"), side.repo().tip("feature")));
}
