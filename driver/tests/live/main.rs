//! Live tests: real Open vSwitch, etcd and dockerd in network namespaces of the test's own.
//!
//! They need root and Debian's packages; where something is missing they are skipped with the reason, or fail
//! when SLUICE_REQUIRE_LIVE is set.

#![cfg(feature = "agent")]
#![allow(unreachable_pub, reason = "the modules of a test binary are all of one crate")]

#[path = "../lab/mod.rs"]
mod lab;

mod docker;
mod examples;
mod isolation;
mod itself;
mod networks;
mod pace;
mod refusals;
mod restarts;
mod sonic;
mod switch;
mod traces;
mod vtep;
