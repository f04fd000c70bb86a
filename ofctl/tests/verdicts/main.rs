//! What is refused, and by which error: this crate's verdict, the simulator's, and a real ovs-vswitchd's on the same
//! bytes.
//!
//! `SLUICE_VERDICTS` says how many wrong messages go to the real one (4,000 otherwise), `SLUICE_SEED` which, and
//! `SLUICE_VERBOSE` how many of the differences are printed. Without an Open vSwitch that half is skipped, unless
//! `SLUICE_REQUIRE_LIVE=1`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod mutated;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod switch;
