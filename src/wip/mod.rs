//! Work in progress: what is not committed, brought from a workspace as a commit ([`snapshot`]), or
//! carried into one as files ([`local`], [`carry`]).

use crate::branch::BranchName;

pub mod carry;
pub mod local;
pub mod snapshot;

/// The ref on the host that holds what a workspace was when it was last looked at.
#[must_use]
pub fn ref_of(branch: &BranchName) -> String {
    format!("refs/agentvm/wip/{branch}")
}
