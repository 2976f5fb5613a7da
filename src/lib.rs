//! git-agent-vm: a branch gets its own repository inside one VM, where a coding agent may do as it
//! likes, and the host reaches it with ordinary git.
//!
//! `ARCHITECTURE.md` is the map. The way of a push: `git-remote-agentvm/main.rs`,
//! [`remote::protocol`], [`remote::session`], `guest/program/`.

pub mod access;
pub mod branch;
pub mod cli;
pub mod clock;
pub mod common;
pub mod config;
pub mod credentials;
pub mod doctor;
pub mod embedded;
pub mod environment;
pub mod error;
pub mod git;
pub mod guest;
pub mod handover;
pub mod hash;
pub mod home_files;
pub mod identity;
pub mod image;
pub mod loss;
pub mod mount;
pub mod network;
mod packages;
pub mod process;
pub mod provision;
pub mod remote;
pub mod sanitize;
pub mod saved;
pub mod secret;
pub mod small_file;
pub mod ssh;
pub mod state;
pub mod survey;
pub mod trash;
pub mod ui;
pub mod vm;
pub mod wip;
pub mod workspace;
