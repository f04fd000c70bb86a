//! The `linux` dataplane against the real kernel: switches with real bridges and VXLAN links, in network namespaces
//! of their own.
//!
//! Needs root; without it the tests print why they were skipped, or fail if `SLUICE_REQUIRE_LIVE=1`.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod forwarding;
#[path = "../lab/namespace.rs"]
#[allow(dead_code, unreachable_pub, reason = "the lab uses the rest")]
mod namespace;
mod strangers;
mod switch;
mod watching;
