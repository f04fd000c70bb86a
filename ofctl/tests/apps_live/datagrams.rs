//! Datagrams from many addresses and ports to many others, sent and received by this program itself, started again
//! inside a host's namespace.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::Namespace;

const ROLE: &str = "OFCTL_APPS_LIVE_ROLE";

/// Numbered datagrams: from, to, number.
pub(crate) type Datagram = (SocketAddr, SocketAddr, u32);

fn again(namespace: &Namespace, role: &str) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = namespace.command(this.to_str().unwrap());
    command.args(["--exact", "datagrams::in_a_namespace", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Sends them, and waits until they are sent.
pub(crate) fn send(from: &Namespace, datagrams: &[Datagram]) {
    let mut child = again(from, "send").spawn().unwrap();
    let mut orders = child.stdin.take().unwrap();
    for (from, to, number) in datagrams {
        writeln!(orders, "{from} {to} {number}").unwrap();
    }
    drop(orders);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Something that notes what arrives.
pub(crate) struct Receiver(Child);

impl Receiver {
    /// Listens at these addresses.
    pub(crate) fn start(at: &Namespace, places: impl IntoIterator<Item = SocketAddr>) -> Receiver {
        let mut child = again(at, "receive").spawn().unwrap();
        let orders = child.stdin.as_mut().unwrap();
        for place in places {
            writeln!(orders, "{place}").unwrap();
        }
        writeln!(orders, "go").unwrap();
        orders.flush().unwrap();
        let mut receiver = Receiver(child);
        let output = receiver.0.stdout.as_mut().unwrap();
        let mut byte = [0];
        let mut said = String::new();
        while !said.ends_with("READY\n") {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "the receiver ended: {said}");
            said.push(byte[0].into());
        }
        receiver
    }

    /// The numbers that arrived, half a second after now.
    pub(crate) fn finish(mut self) -> BTreeSet<u32> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success(), "the receiver failed");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("GOT "))
            .map(|number| number.parse().unwrap())
            .collect()
    }
}

/// Not a test of anything, unless it is started by the functions above.
#[test]
fn in_a_namespace() {
    match std::env::var(ROLE).as_deref() {
        Ok("send") => {
            for (count, line) in std::io::stdin().lock().lines().enumerate() {
                let line = line.unwrap();
                let words: Vec<&str> = line.split(' ').collect();
                let socket = UdpSocket::bind(words[0]).unwrap();
                socket.send_to(words[2].as_bytes(), words[1]).unwrap();
                // The datapath learns of each new kind of packet.
                if count % 8 == 7 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
        Ok("receive") => receive(),
        _ => {}
    }
}

fn receive() {
    let mut orders = BufReader::new(std::io::stdin());
    let mut sockets = Vec::new();
    loop {
        let mut line = String::new();
        orders.read_line(&mut line).unwrap();
        if line.trim() == "go" {
            break;
        }
        let socket = UdpSocket::bind(line.trim()).unwrap();
        socket.set_nonblocking(true).unwrap();
        sockets.push(socket);
    }
    println!("READY");
    let ended = std::thread::spawn(move || orders.read_line(&mut String::new()));
    let mut until = None;
    loop {
        for socket in &sockets {
            let mut bytes = [0; 16];
            match socket.recv(&mut bytes) {
                Ok(n) => println!("GOT {}", String::from_utf8_lossy(&bytes[..n])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        if ended.is_finished() && until.is_none() {
            until = Some(Instant::now() + Duration::from_millis(500));
        }
        if until.is_some_and(|until| Instant::now() > until) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
