//! What more than one test of this package needs: chance, flows and messages of every kind, messages made wrong, a
//! switch that records what it is sent, and the real ovs-ofctl.
#![allow(dead_code, reason = "each test needs a part of it")]

pub(crate) mod flows;
pub(crate) mod messages;
pub(crate) mod mutations;
pub(crate) mod ovs_ofctl;
pub(crate) mod random;
pub(crate) mod recorder;

use std::process::{Command, Stdio};

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// `SLUICE_SEED`, or the seed that tests have otherwise.
pub(crate) fn seed() -> u64 {
    setting("SLUICE_SEED").unwrap_or(7)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits of hexadecimal"))
        .collect()
}

/// Why this machine has no such tools, or the tests are not root's, which is printed; a failure where tests must not
/// be skipped.
pub(crate) fn missing(tools: &[&str], root: bool) -> Option<String> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let absent = |tool: &&&str| {
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
    };
    let reason = match tools.iter().find(absent) {
        Some(tool) => format!("{tool} is not installed"),
        None if root && !is_root => "this is not root".to_owned(),
        None => return None,
    };
    assert!(
        std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"),
        "SLUICE_REQUIRE_LIVE=1, and {reason}"
    );
    eprintln!("SKIPPED: {reason}");
    Some(reason)
}
