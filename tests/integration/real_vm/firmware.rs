//! The disk of an image without the kernel beside it, as macOS's hypervisor gets it, or any template
//! that names the disk alone.

use std::path::Path;

use super::{Vm, WORK, step};

#[test]
fn a_disk_alone_is_booted_by_firmware_and_grows() {
    let vm = Vm::new();
    let image = std::env::var("AGENTVM_TEST_IMAGE").expect("this test needs AGENTVM_TEST_IMAGE");
    vm.git_config("agentvm.image", &Path::new(&image).join("disk.qcow2"));
    step("firmware boots it");
    vm.agent_vm("start --cpus 2 --memory 2GiB --disk 12GiB").succeeds();
    vm.agent_vm("connect -- id -un").succeeds().stdout_is("agent");
    vm.agent_vm("connect -- test -d /sys/firmware/efi").succeeds();
    assert_root_has(&vm, 12);
    step("its disk is enlarged");
    vm.agent_vm("stop").succeeds();
    vm.agent_vm("start --disk 14GiB").succeeds();
    assert_root_has(&vm, 14);
    vm.agent_vm("destroy --discard=agent-vm").succeeds();
}

/// The root file system is all of a disk of so many GiB, but for what boots it, and both copies of the
/// table of partitions are in their places.
fn assert_root_has(vm: &Vm, gib: u64) {
    let script = "df -BG --output=size / &&
        sudo -n sfdisk --verify \"/dev/$(lsblk -ndo PKNAME \"$(findmnt -no SOURCE /)\")\" 2>&1";
    let words = ["-q", "connect", "--", "sh", "-c", script];
    let ran = vm.lab.agent_vm(words).within_seconds(WORK).succeeds();
    // What is amiss with a copy is said in words, and counts for no error.
    ran.stdout_has(&format!(" {gib}G\n")).stdout_has("No errors detected").stdout_lacks("GPT");
}
