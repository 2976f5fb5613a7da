//! Integration tests: what a user would see, against real git and a real sshd.
//!
//! `support` is the laboratory; every other module is one area of behaviour. `real_vm` needs
//! `AGENTVM_TEST_VM=1` and is left out of a quick run with `--skip real_vm::`.

mod push;
mod support;
