//! push_default
