//! Addresses over real stores: two and more nodes' IPAM in one process, each with a ledger of its own.
#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "clippy only knows unit tests to be tests")]

#[path = "ipam/support.rs"]
mod support;

#[path = "ipam/chaos.rs"]
mod chaos;
#[path = "ipam/docker.rs"]
mod docker;
#[path = "ipam/sharing.rs"]
mod sharing;
