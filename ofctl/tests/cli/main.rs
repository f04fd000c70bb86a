//! The `ofctl` command: its bytes beside ovs-ofctl's, its work on a real Open vSwitch, its filters.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bytes;
mod filters;
mod followed;
mod live;
mod others;
mod speed;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tls;
mod vsctl;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use support::missing;

/// The command, without the caller's surroundings.
fn ofctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ofctl"));
    command.args(arguments).env_remove("OVS_RUNDIR");
    command
}

/// Runs it with this on its standard input.
fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let text = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that needs no input may have ended.
        let _ = stdin.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
