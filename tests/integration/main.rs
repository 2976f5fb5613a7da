//! Integration tests: what a user would see, against real git and a real sshd.
//!
//! `support` is the laboratory; every other module is one area of behaviour. `real_vm` needs
//! `AGENTVM_TEST_VM=1` and is left out of a quick run with `--skip real_vm::`, as what takes minutes is
//! with `--skip scale::`.

// A laboratory that cannot be set up is a failed test; there is nothing to hand an error to.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod clean;
mod completions;
mod connect;
mod destroy_saves;
mod diff;
mod docs;
mod doctor;
mod doctor_vm;
mod enrolment;
mod environment;
mod fetch;
mod fetch_cut_off;
mod handover;
mod help;
mod home_files;
mod host_locks;
mod hostile;
mod identity;
mod identity_names;
mod image;
mod image_in_vm;
mod kept;
mod lfs;
mod limactl;
mod losses;
mod mend;
mod mount;
mod mount_fails;
mod objects;
mod odd_names;
mod odd_repositories;
mod odd_trees;
mod partial;
mod provision;
mod push;
mod push_cut_off;
mod push_refused;
mod real_vm;
mod repositories;
mod rest;
mod restore;
mod rewritten;
mod saved;
mod scale;
mod side_by_side;
mod ssh_config;
mod status;
mod support;
mod trash;
mod usage;
mod verbs;
mod wip_fetch;
mod wip_fetch_trouble;
mod wip_push;
mod wip_push_cut_off;
