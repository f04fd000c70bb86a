//! What another hand does to the switch, with a real Open vSwitch.
//!
//! Needs what the live tests need; skipped with the reason where it is missing.

#![cfg(feature = "agent")]
#![allow(
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "the lab is shared with the live tests, which use all of it"
)]

mod lab;

use lab::{Plan, eventually};

#[test]
fn a_bridge_that_was_deleted_is_made_again_even_without_ports() {
    let Some(lab) = Plan::hosts(1).start() else { return };
    let host = lab.host(1);
    let is_whole = || {
        let status = host.sluice("status --json").ok()?;
        let status: serde_json::Value = serde_json::from_str(&status).map_err(|error| error.to_string())?;
        let is_up = |part: &str| status[part]["state"] == "ok";
        let bridge = host.vsctl("--if-exists get bridge br-int fail_mode");
        if is_up("ovs") && is_up("openflow") && bridge.contains("secure") {
            Ok(())
        } else {
            Err(format!("{status:#} {bridge}"))
        }
    };
    eventually("the switch is programmed", lab::PATIENCE, is_whole);
    host.vsctl("del-br br-int");
    eventually("the bridge is there again", lab::PATIENCE, is_whole);
}
