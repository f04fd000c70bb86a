//! The real ovs-ofctl, and what it prints for a message.

use std::path::Path;
use std::process::Command;

use super::hex;

const BARRIER_REQUEST: u8 = 20;

/// The command, which shows numbers of ports.
pub(super) fn ovs_ofctl() -> Command {
    let mut command = Command::new("ovs-ofctl");
    command.arg("--no-names");
    command
}

/// True if there is an ovs-ofctl to compare with; where it must be there, it fails instead.
pub(crate) fn is_there() -> bool {
    super::missing(&["ovs-ofctl"], false).is_none()
}

/// What ovs-ofctl prints of a flow-mod that adds a flow.
pub(crate) fn printed(bytes: &[u8]) -> String {
    let output = ovs_ofctl().args(["ofp-print", &hex(bytes)]).output().expect("ovs-ofctl is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    line.split_once(": ADD ").map_or(line, |(_, flow)| flow).to_owned()
}

/// What ovs-ofctl prints of each of many messages, whose headers must tell their lengths; all in one go.
pub(crate) fn printed_all(messages: &[Vec<u8>], folder: &Path) -> Vec<String> {
    /// Between two messages stands a barrier with a number of its own, by which the output is divided.
    const FIRST: u32 = 0x7f00_0000;
    let mut stream = Vec::new();
    for (number, message) in (FIRST..).zip(messages) {
        stream.extend_from_slice(message);
        stream.extend_from_slice(&[4, BARRIER_REQUEST, 0, 8]);
        stream.extend_from_slice(&number.to_be_bytes());
    }
    let path = folder.join("messages");
    std::fs::write(&path, stream).expect("a file in a new folder");
    let output = ovs_ofctl().arg("ofp-parse").arg(&path).output().expect("ovs-ofctl is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rest = &*text;
    let mut all = Vec::with_capacity(messages.len());
    for number in FIRST..FIRST + messages.len() as u32 {
        let barrier = format!("OFPT_BARRIER_REQUEST (OF1.3) (xid={number:#x}):\n");
        let (before, after) = rest.split_once(&barrier).unwrap_or_else(|| {
            panic!("no message {} of {}: {rest}", all.len(), messages.len());
        });
        all.push(before.to_owned());
        rest = after;
    }
    all
}
