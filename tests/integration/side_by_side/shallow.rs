//! shallow
