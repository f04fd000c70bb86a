//! A real ovs-vswitchd with dummy ports, spoken to in bytes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ofctl::wire::{ErrorMessage, Message, MessageHeader, OfPort};

use super::support::missing;

/// Ports 1 to this.
pub(crate) const PORTS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// `OFPT_BARRIER_REQUEST`, whose numbers are those of messages with this bit.
const BARRIER: u8 = 20;
const BARRIER_BIT: u32 = 0x8000_0000;

/// The daemons, in a directory of their own; no privilege is needed.
pub(crate) struct Ovs {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Ovs {
    /// `None` with the reason printed if there cannot be one here.
    pub(crate) fn start() -> Option<Ovs> {
        if missing(&["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"], false).is_some() {
            return None;
        }
        let mut ovs = Ovs { folder: tempfile::tempdir().unwrap(), daemons: Vec::new() };
        let (database, socket) = (text(&ovs.path("conf.db")), text(&ovs.path("db.sock")));
        ovs.run("ovsdb-tool", &["create", &database, SCHEMA]);
        ovs.daemon("ovsdb-server", &[&database, &format!("--remote=punix:{socket}")]);
        let db = format!("--db=unix:{socket}");
        ovs.run("ovs-vsctl", &[&db, "--no-wait", "init"]);
        ovs.daemon("ovs-vswitchd", &[&format!("unix:{socket}"), "--enable-dummy", "--disable-system"]);
        let mut words = vec![db, "--timeout=20".to_owned()];
        words.extend(
            "add-br br0 -- set bridge br0 datapath_type=dummy fail_mode=secure".split(' ').map(str::to_owned),
        );
        for port in 1..=PORTS {
            let one =
                format!("-- add-port br0 p{port} -- set interface p{port} type=dummy ofport_request={port}");
            words.extend(one.split(' ').map(str::to_owned));
        }
        ovs.run("ovs-vsctl", &words.iter().map(String::as_str).collect::<Vec<_>>());
        Some(ovs)
    }

    /// True if ovs-vswitchd is still there; else another is begun.
    pub(crate) fn survived(&mut self) -> bool {
        // One that is dying may still be connected to, and says nothing.
        let hello = UnixStream::connect(self.path("br0.mgmt")).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read_exact(&mut [0; 8])
        });
        let is_alive = hello.is_ok();
        if !is_alive {
            *self = Ovs::start().expect("it started before");
        }
        is_alive
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.folder.path());
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn daemon(&mut self, program: &str, arguments: &[&str]) {
        let control = self.path(&format!("{program}.ctl"));
        let mut command = self.command(program);
        command.args(arguments).arg(format!("--unixctl={}", text(&control))).arg("--no-chdir");
        self.daemons.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while !control.exists() {
            assert!(start.elapsed() < PATIENCE, "{program} does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection by OpenFlow 1.3.
    pub(crate) fn connect(&self) -> Wire {
        let stream = UnixStream::connect(self.path("br0.mgmt")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Wire { stream, buffer: Vec::new() };
        wire.stream.write_all(&[4, 0, 0, 8, 0, 0, 0, 0]).unwrap();
        wire
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a switch said to one message: the errors by their names, and what else it answered by type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Said {
    pub(crate) errors: Vec<String>,
    /// True if the connection ended.
    pub(crate) hung_up: bool,
}

/// A connection.
pub(crate) struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
}

/// Gives a message this number, and the message in a bundle's too, which must have the same.
pub(crate) fn number(message: &mut [u8], number: u32) {
    message[4..8].copy_from_slice(&number.to_be_bytes());
    let is_bundle_add = message[1] == 4 && message[8..].starts_with(&[0x4f, 0x4e, 0x46, 0, 0, 0, 8, 0xfd]);
    if is_bundle_add && let Some(inner) = message.get_mut(28..32) {
        inner.copy_from_slice(&number.to_be_bytes());
    }
}

impl Wire {
    /// Says each of these messages, and after each a barrier; what was answered to each. After a hang-up nothing more
    /// is said.
    pub(crate) fn exchange(&mut self, messages: &[Vec<u8>]) -> Vec<Said> {
        let mut all = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let place = place as u32 + 1;
            let mut bytes = message.clone();
            number(&mut bytes, place);
            bytes.extend([4, BARRIER, 0, 8]);
            bytes.extend((BARRIER_BIT | place).to_be_bytes());
            let said = if self.stream.write_all(&bytes).is_ok() {
                self.until_barrier(BARRIER_BIT | place)
            } else {
                Said { hung_up: true, ..Said::default() }
            };
            let hung_up = said.hung_up;
            all.push(said);
            if hung_up {
                break;
            }
        }
        all
    }

    fn until_barrier(&mut self, barrier: u32) -> Said {
        let mut said = Said::default();
        let mut chunk = [0; 1 << 16];
        loop {
            while let Some(header) = MessageHeader::peek(&self.buffer).unwrap()
                && self.buffer.len() >= header.length.into()
            {
                let rest = self.buffer.split_off(header.length.into());
                let message = std::mem::replace(&mut self.buffer, rest);
                if header.kind == BARRIER + 1 && header.xid.0 == barrier {
                    return said;
                }
                if let Ok((_, Message::Error(ErrorMessage { error, .. }))) = Message::decode(&message) {
                    said.errors.push(error.to_string());
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(n) if n > 0 => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("no answer within {PATIENCE:?}")
                }
                _ => return Said { hung_up: true, ..said },
            }
        }
    }
}

/// The ports of the switch.
pub(crate) fn ports() -> impl Iterator<Item = OfPort> {
    (1..=PORTS).map(OfPort).chain([OfPort::LOCAL])
}
