//! What `destroy --force` saved, where a command that takes it away is killed.

use crate::support::Lab;

const SAVE: &str = "cd ~/.local/state/git-agent-vm && mkdir -p -m 700 saved/agent-vm/1700000000 &&
    cd saved/agent-vm/1700000000 && echo x >1.tar.gz && cat >manifest.json <<'END'
{\"version\": 1, \"vm\": \"agent-vm\", \"time\": 1700000000, \"items\": [{\"name\": \"app-x.1700000000\",
 \"kind\": \"workspace\", \"workspace\": \"app-x\", \"repository\": null, \"ref\": null,
 \"file\": \"1.tar.gz\", \"directory\": true, \"bytes\": 2, \"sha256\": \"00\", \"unpacked_bytes\": 2}]}
END";

#[test]
fn drop_that_is_killed_leaves_all_or_nothing() {
    let lab = Lab::new();
    lab.pushed_feature();
    if lab.sh("strace -o /dev/null true").run().code != 0 {
        eprintln!("left out: there is no strace here, or it may not trace");
        return;
    }
    let changes = "rename,unlink,unlinkat,rmdir";
    for step in 1.. {
        lab.sh(SAVE).succeeds();
        let killed = lab
            .sh(&format!(
                "exec strace -qq -o /dev/null -e trace={changes} -e inject={changes}:signal=KILL:when={step} \
                git-agent-vm restore --drop --force app-x.1700000000"
            ))
            .run();
        let listed = lab.agent_vm("restore").succeeds().stderr_lacks("warning:").text();
        if killed.code == 0 {
            assert!(step > 2 && listed.is_empty(), "{killed}\n{listed}");
            break;
        }
        assert!(listed.is_empty() || listed.contains("app-x.1700000000"), "{listed}");
        let left = lab.sh("ls ~/.local/state/git-agent-vm/saved/agent-vm").succeeds().text();
        assert_eq!(left.is_empty(), listed.is_empty(), "step {step}: {left}");
    }
}
