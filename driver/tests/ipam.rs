//! Addresses over real stores: two and more nodes' IPAM in one process, each with a ledger of its own.
#![cfg(feature = "agent")]

#[path = "ipam/support.rs"]
mod support;

#[path = "ipam/chaos.rs"]
mod chaos;
#[path = "ipam/docker.rs"]
mod docker;
#[path = "ipam/sharing.rs"]
mod sharing;
