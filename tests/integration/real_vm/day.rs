//! What an agent does in a day: libraries from the registries, containers, VMs in the VM.

use super::{START, Vm, step};
use crate::handover::tls::Tls;
use crate::support::Run;

/// As the archive of a release is laid out, around the host's own Lima, which is of one file.
const LIMA: &str = "mkdir -p lima/bin && cp \"$(command -v limactl)\" lima/bin/limactl &&
    tar -C lima -czf lima.tar.gz bin && sha256sum lima.tar.gz | cut -d' ' -f1";

/// A shell script of the agent in the workspace of feature, however long it takes.
fn agent(vm: &Vm, script: &str) -> Run {
    vm.agent(script).within_seconds(START)
}

pub(super) fn agent_gets_libraries_from_the_registries(vm: &Vm) {
    step("the agent gets libraries from the registries");
    let npm = "mkdir -p ~/day && cd ~/day && npm init -y >/dev/null &&
        npm install --no-audit --no-fund is-odd@3.0.1 >&2 &&
        node -e 'console.log(require(\"is-odd\")(3))'";
    agent(vm, npm).succeeds().stdout_is("true");
    let pip = "cd ~/day && python3 -m venv by-pip && by-pip/bin/pip install -q six==1.17.0 >&2 &&
        by-pip/bin/python -c 'import six; print(six.__version__)'";
    agent(vm, pip).succeeds().stdout_is("1.17.0");
    let uv = "cd ~/day && uv venv -q by-uv && uv pip install -q -p by-uv six==1.16.0 >&2 &&
        by-uv/bin/python -c 'import six; print(six.__version__)'";
    agent(vm, uv).succeeds().stdout_is("1.16.0");
}

pub(super) fn agent_has_docker_when_it_is_asked_for(vm: &Vm) {
    step("the agent has Docker when it is asked for");
    vm.agent("! docker ps 2>/dev/null").succeeds();
    vm.lab.git_config("agentvm.extras", "podman docker");
    vm.agent_vm("start").succeeds().stderr_has("docker: done in ");
    agent(vm, "docker ps").succeeds().stdout_has("CONTAINER ID");
    // The one that was built by podman, with its one program.
    let run = "podman save -q hello | docker load -q && docker run --rm --network none localhost/hello /hello";
    agent(vm, run).succeeds().stdout_has("from inside");
}

/// The packages are in the image. Lima comes by a server of ours, since GitHub is not reached from
/// everywhere, and the guest gets the device that a host gives it where VMs may nest.
pub(super) fn agent_has_lima_where_vms_nest(vm: &Vm) {
    step("the agent has Lima where VMs nest");
    let tls = Tls::new(&vm.lab);
    let home = vm.lab.home();
    let sum = vm.lab.host("sh", ["-c", LIMA]).succeeds().text();
    let arch = std::env::consts::ARCH;
    let path = "lima-vm/lima/releases/download/v2.2.0";
    let file = home.join(format!("tls/served/{path}/lima-2.2.0-Linux-{arch}.tar.gz"));
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(&file, "another archive").unwrap();
    let packages = home.join("nested/packages");
    fs_err::create_dir_all(&packages).unwrap();
    let versions = format!("LIMA=2.2.0\nLIMA_SHA256_AMD64={sum}\nLIMA_SHA256_ARM64={sum}\n");
    fs_err::write(packages.join("versions.txt"), versions).unwrap();
    vm.git_config("agentvm.common", &home.join("nested"));
    vm.lab.git_config("agentvm.extras", "podman docker nested");

    vm.agent("sudo -n rm -f /dev/kvm").succeeds();
    vm.agent_vm("start").succeeds().stderr_has("nested: left out, the VM has no /dev/kvm");
    vm.agent("! command -v limactl").succeeds();
    let server = tls.url("192.168.5.2");
    let server = server.trim_start_matches("https://").trim_end_matches('/');
    let script = format!(
        "sudo -n mknod /dev/kvm c 10 232 && printf 'insecure\nconnect-to = \"github.com:443:{server}\"\n' |
        sudo -n tee /root/.curlrc >/dev/null"
    );
    vm.agent(&script).succeeds();
    vm.agent_vm("provision nested").fails(1).stderr_has("is not what versions.txt pins");
    vm.agent("! command -v limactl").succeeds();
    fs_err::copy(home.join("lima.tar.gz"), &file).unwrap();
    vm.agent_vm("provision nested").succeeds().stderr_has("nested: done in ");
    let here = vm.lab.host("limactl", "--version").succeeds().text();
    vm.agent("limactl --version; id -nG").succeeds().stdout_has(&here).stdout_has(" kvm");
    vm.agent(&format!("qemu-system-{arch} --version")).succeeds().stdout_has("QEMU emulator");

    vm.agent("sudo -n rm /dev/kvm /root/.curlrc").succeeds();
    vm.git("config --global --unset agentvm.extras").succeeds();
    vm.git("config --global --unset agentvm.common").succeeds();
    tls.stop();
}
