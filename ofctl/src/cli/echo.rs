//! `probe` and `ping`: echo requests, OpenFlow 1.3.5 §7.5.2.
//!
//! A session answers for its own liveness and shows no echo replies, so these two speak to the socket by
//! themselves: a hello, the requests, and nothing else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ofctl::wire::{Hello, Message, MessageHeader, Xid};

use super::args::Connect;
use super::error::CliError;
use super::output::Output;
use super::switch::socket;
use super::{Outcome, print};

struct Peer {
    name: String,
    stream: UnixStream,
    received: Vec<u8>,
    next: u32,
}

impl Peer {
    fn connect(connect: &Connect, name: &str) -> Result<Peer, CliError> {
        let path = socket(connect, name)?;
        let failed = |what| {
            let target = format!("{name} ({})", path.display());
            move |source| CliError::Socket { target, what, source }
        };
        let stream = UnixStream::connect(&path).map_err(failed("cannot connect"))?;
        let timeout = Some(Duration::from_secs(connect.timeout));
        stream.set_read_timeout(timeout).map_err(failed("cannot set a time limit"))?;
        stream.set_write_timeout(timeout).map_err(failed("cannot set a time limit"))?;
        let mut peer = Peer { name: name.to_owned(), stream, received: Vec::new(), next: 1 };
        peer.send(&Message::Hello(Hello::OPENFLOW_13))?;
        match peer.next_message()?.1 {
            Message::Hello(hello) if hello.speaks_13() => Ok(peer),
            other => Err(CliError::Closed {
                target: name.to_owned(),
                reason: format!(
                    "it does not speak OpenFlow 1.3 (it said {}); enable OpenFlow13 in the bridge's protocols",
                    print::one_line(&other)
                ),
            }),
        }
    }

    fn send(&mut self, message: &Message) -> Result<Xid, CliError> {
        let xid = Xid(self.next);
        self.next += 1;
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes).map_err(|error| CliError::encode(message, error))?;
        self.stream.write_all(&bytes).map_err(|source| self.failed("cannot write", source))?;
        Ok(xid)
    }

    fn failed(&self, what: &'static str, source: std::io::Error) -> CliError {
        CliError::Socket { target: self.name.clone(), what, source }
    }

    fn next_message(&mut self) -> Result<(Xid, Message), CliError> {
        let undecodable = |target: &str| {
            let target = target.to_owned();
            move |source| CliError::Answer { target, source }
        };
        let mut buffer = [0; 4096];
        loop {
            if let Some(header) = MessageHeader::peek(&self.received).map_err(undecodable(&self.name))?
                && self.received.len() >= header.length.into()
            {
                let rest = self.received.split_off(header.length.into());
                let message = std::mem::replace(&mut self.received, rest);
                return Message::decode(&message).map_err(undecodable(&self.name));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(CliError::Closed {
                        target: self.name.clone(),
                        reason: "it hung up".to_owned(),
                    });
                }
                Ok(n) => self.received.extend_from_slice(&buffer[..n]),
                Err(source) => return Err(self.failed("no answer", source)),
            }
        }
    }

    /// Sends a request and waits for its answer.
    fn echo(&mut self, data: Vec<u8>) -> Result<Xid, CliError> {
        let xid = self.send(&Message::EchoRequest(data.clone()))?;
        loop {
            match self.next_message()? {
                (answered, Message::EchoReply(same)) if answered == xid => {
                    if same != data {
                        return Err(CliError::Closed {
                            target: self.name.clone(),
                            reason: "its echo reply holds other bytes than the request".to_owned(),
                        });
                    }
                    return Ok(xid);
                }
                (_, Message::EchoRequest(theirs)) => {
                    self.send(&Message::EchoReply(theirs))?;
                }
                (answered, error @ Message::Error(_)) if answered == xid => {
                    return Err(CliError::WrongAnswer {
                        target: self.name.clone(),
                        what: "an echo request",
                        got: print::one_line(&error),
                    });
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn probe(connect: &Connect, name: &str) -> Result<Outcome, CliError> {
    Peer::connect(connect, name)?.echo(Vec::new())?;
    Ok(Outcome::Done)
}

pub(crate) fn ping(
    connect: &Connect,
    name: &str,
    count: u32,
    length: u16,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let mut peer = Peer::connect(connect, name)?;
    let data: Vec<u8> = (0..length).map(|place| place as u8).collect();
    for _ in 0..count {
        let begun = Instant::now();
        let xid = peer.echo(data.clone())?;
        let taken = begun.elapsed().as_secs_f64() * 1000.0;
        output.line(format_args!("{length} bytes from {name}: xid={:08x} time={taken:.3} ms", xid.0))?;
        output.flush()?;
    }
    Ok(Outcome::Done)
}
