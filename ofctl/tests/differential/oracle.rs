//! The real ovs-ofctl: what it sends for a flow, and what it prints for a message.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

const HELLO: u8 = 0;
const ECHO_REQUEST: u8 = 2;
const FLOW_MOD: u8 = 14;
const GROUP_MOD: u8 = 15;
const METER_MOD: u8 = 29;
const BARRIER_REQUEST: u8 = 20;

/// A switch that answers a hello, echoes and barriers, and remembers what a connection changes.
pub(crate) struct FakeSwitch {
    listener: UnixListener,
    path: PathBuf,
}

fn read_message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 8];
    stream.read_exact(&mut message).ok()?;
    message.resize(u16::from_be_bytes([message[2], message[3]]).into(), 0);
    stream.read_exact(&mut message[8..]).ok()?;
    Some(message)
}

impl FakeSwitch {
    pub(crate) fn new(folder: &Path) -> FakeSwitch {
        let path = folder.join("switch");
        let listener = UnixListener::bind(&path).expect("a socket in a new folder");
        FakeSwitch { listener, path }
    }

    /// Speaks with one client to its end; its changes with transaction numbers of zero.
    fn serve(&self) -> Vec<Vec<u8>> {
        let (mut stream, _) = self.listener.accept().expect("a client");
        let mut flows = Vec::new();
        let say = |stream: &mut UnixStream, kind: u8, of: &[u8]| {
            let mut answer = of.to_vec();
            (answer[0], answer[1]) = (4, kind);
            // A client that has gone is seen at the next read.
            let _ = stream.write_all(&answer);
        };
        say(&mut stream, HELLO, &[0, 0, 0, 8, 0, 0, 0, 1]);
        while let Some(mut message) = read_message(&mut stream) {
            match message[1] {
                ECHO_REQUEST => say(&mut stream, ECHO_REQUEST + 1, &message),
                BARRIER_REQUEST => say(&mut stream, BARRIER_REQUEST + 1, &message),
                FLOW_MOD | GROUP_MOD | METER_MOD => {
                    message[4..8].fill(0);
                    flows.push(message);
                }
                _ => {}
            }
        }
        flows
    }

    /// What ovs-ofctl sends to add this flow, or why it refuses it.
    pub(crate) fn flow_mod(&self, text: &str) -> Result<Vec<u8>, String> {
        self.message("add-flow", text)
    }

    /// What ovs-ofctl sends for a command and its text, or why it refuses it.
    pub(crate) fn message(&self, command: &str, text: &str) -> Result<Vec<u8>, String> {
        let mut child = ovs_ofctl()
            .args(["-O", "OpenFlow13", command, &format!("unix:{}", self.path.display()), text])
            .stderr(Stdio::piped())
            .spawn()
            .expect("ovs-ofctl is there");
        thread::scope(|scope| {
            let served = scope.spawn(|| self.serve());
            let mut complaint = String::new();
            let mut stderr = child.stderr.take().expect("it was asked for");
            stderr.read_to_string(&mut complaint).expect("its complaint is text");
            child.wait().expect("it ends");
            if !complaint.is_empty() {
                // It refuses a flow before it connects: then nobody comes, and this ends the wait.
                drop(UnixStream::connect(&self.path));
            }
            let flow = served.join().expect("no panic").pop();
            flow.ok_or(complaint)
        })
    }
}

fn ovs_ofctl() -> Command {
    let mut command = Command::new("ovs-ofctl");
    command.arg("--no-names");
    command
}

/// True if there is an ovs-ofctl to compare with.
pub(crate) fn is_there() -> bool {
    Command::new("ovs-ofctl").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// What ovs-ofctl prints of a flow-mod that adds a flow.
pub(crate) fn printed(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = ovs_ofctl().args(["ofp-print", &hex]).output().expect("ovs-ofctl is there");
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
