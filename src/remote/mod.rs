//! The remote helper: git's protocol on one side, one ssh session on the other.

pub mod url;
