//! Integration tests: what a user would see, against real git and a real sshd.
