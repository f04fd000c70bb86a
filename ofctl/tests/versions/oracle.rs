//! The real ovs-ofctl in a version: what it sends for a command.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use ofctl::wire::versions::Version;

const HELLO: u8 = 0;
const ECHO_REQUEST: u8 = 2;
const EXPERIMENTER: u8 = 4;
const FEATURES_REQUEST: u8 = 5;
const FLOW_MOD: u8 = 14;
const GROUP_MOD: u8 = 15;
const METER_MOD: u8 = 29;
const BUNDLE_CONTROL: u8 = 33;
const BUNDLE_ADD: u8 = 34;

/// Nicira messages by which ovs-ofctl makes a switch ready for a flow-mod of 1.0: `NXT_SET_FLOW_FORMAT` and
/// `NXT_FLOW_MOD_TABLE_ID`.
const PREPARATIONS: [[u8; 4]; 2] = [[0, 0, 0, 12], [0, 0, 0, 15]];

/// True if a message opens, closes or commits a bundle, by 1.4's own type or 1.3's extension.
fn is_bundle_control(message: &[u8]) -> bool {
    let extension = [0x4f, 0x4e, 0x46, 0, 0, 0, 0x08, 0xfc];
    message[1] == BUNDLE_CONTROL || (message[1] == EXPERIMENTER && message[8..16] == extension)
}

/// A switch of one version that answers what ovs-ofctl waits for, and remembers what changes it.
pub(crate) struct FakeSwitch {
    version: Version,
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
    pub(crate) fn new(version: Version, folder: &Path) -> FakeSwitch {
        let path = folder.join(version.name());
        let listener = UnixListener::bind(&path).expect("a socket in a new folder");
        FakeSwitch { version, listener, path }
    }

    /// Speaks with one client to its end; the changes that it asks for, with transaction numbers of zero.
    fn serve(&self) -> Vec<Vec<u8>> {
        let (mut stream, _) = self.listener.accept().expect("a client");
        let mut changes = Vec::new();
        let barrier = if self.version == Version::OpenFlow10 { 18 } else { 20 };
        let number = self.version.number();
        // A client that has gone is seen at the next read.
        let say = |stream: &mut UnixStream, kind: u8, of: &[u8]| {
            let mut answer = of.to_vec();
            (answer[0], answer[1]) = (number, kind);
            let length = u16::try_from(answer.len()).expect("a short answer");
            answer[2..4].copy_from_slice(&length.to_be_bytes());
            let _ = stream.write_all(&answer);
        };
        say(&mut stream, HELLO, &[0; 8]);
        while let Some(mut message) = read_message(&mut stream) {
            match message[1] {
                ECHO_REQUEST => say(&mut stream, ECHO_REQUEST + 1, &message),
                FEATURES_REQUEST => {
                    let mut features = message.clone();
                    features.resize(32, 0);
                    say(&mut stream, FEATURES_REQUEST + 1, &features);
                }
                kind if kind == barrier => say(&mut stream, barrier + 1, &message),
                EXPERIMENTER if PREPARATIONS.iter().any(|known| message[12..16] == *known) => {}
                kind if is_bundle_control(&message) => {
                    let mut answer = message.clone();
                    // Each answer is the number after its request's.
                    answer[if kind == EXPERIMENTER { 21 } else { 13 }] += 1;
                    say(&mut stream, kind, &answer);
                    message[4..8].fill(0);
                    changes.push(message);
                }
                FLOW_MOD | GROUP_MOD | METER_MOD | EXPERIMENTER | BUNDLE_ADD => {
                    message[4..8].fill(0);
                    changes.push(message);
                }
                _ => {}
            }
        }
        changes
    }

    /// What ovs-ofctl sends for a command with these arguments after the switch, or why it refuses.
    pub(crate) fn sent(&self, command: &[&str], arguments: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let mut child = Command::new("ovs-ofctl")
            .args(["--no-names", "-O", self.version.name()])
            .args(command)
            .arg(format!("unix:{}", self.path.display()))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("ovs-ofctl is there");
        thread::scope(|scope| {
            let served = scope.spawn(|| self.serve());
            let mut complaint = String::new();
            let mut stderr = child.stderr.take().expect("it was asked for");
            stderr.read_to_string(&mut complaint).expect("its complaint is text");
            let status = child.wait().expect("it ends");
            if !status.success() {
                // It refuses before it connects: then nobody comes, and this ends the wait.
                drop(UnixStream::connect(&self.path));
            }
            let changes = served.join().expect("no panic");
            if changes.is_empty() { Err(complaint) } else { Ok(changes) }
        })
    }
}

/// True if there is an ovs-ofctl to compare with; where it must be there, it fails instead.
pub(crate) fn is_there() -> bool {
    let version =
        Command::new("ovs-ofctl").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok() {
        return true;
    }
    assert!(
        std::env::var("SLUICE_REQUIRE_LIVE").as_deref() != Ok("1"),
        "there is no ovs-ofctl to compare with"
    );
    eprintln!("skipped: there is no ovs-ofctl to compare with");
    false
}
