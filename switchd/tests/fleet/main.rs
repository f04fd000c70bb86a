//! Deployments to boxes with a real sshd each, in network namespaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boxes;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod disk;
mod hostile;
mod inventory;
mod rollout;
