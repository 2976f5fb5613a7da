//! What the VM has to know of the network that this machine is in: certificates of its own, a
//! proxy, mirrors. Reads and checks the settings, and says which variables and certificates they
//! mean for the VM; how these get there is [`crate::handover`]'s business.

pub mod address;
pub mod faults;
pub mod proxy;
pub mod trust;
