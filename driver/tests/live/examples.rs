//! The examples print what their readers are told they print.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::Plan;

fn as_expected(example: &str) {
    // For the check of what this machine can do: the example makes its own hosts.
    let Some(lab) = Plan::hosts(0).without_agents().start() else { return };
    drop(lab);
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/check");
    let output = Command::new(check)
        .arg(example)
        .env("SLUICE_BIN", env!("CARGO_BIN_EXE_sluice"))
        .stdin(Stdio::null())
        .output()
        .expect("the check starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[test]
fn two_hosts() {
    as_expected("two-hosts");
}

#[test]
fn quickstart() {
    as_expected("quickstart");
}
