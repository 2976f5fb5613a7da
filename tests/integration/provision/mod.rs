//! Setting a VM up: the stages' machinery and each stage, over a real ssh. What `start` and
//! `provision` do with them is in `real_vm`.

mod bad_input;
pub(crate) mod machine;
mod packages;
mod python;
mod stages;
