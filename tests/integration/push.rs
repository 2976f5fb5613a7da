//! `git push agentvm::BRANCH`.
use crate::support::Lab;

#[test]
fn lab_works() {
    let lab = Lab::new();
    lab.git(["log", "--oneline"]).succeeds().stdout_has("Change");
    let ssh = lab.path().join("ssh/config");
    lab.host("ssh", ["-F", ssh.to_str().unwrap(), "vm", "pwd; echo $HOME; env"]).succeeds().stdout_has("of the guest/home");
    lab.guest_sh("pwd; id").succeeds().stdout_has("home");
}
