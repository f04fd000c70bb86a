//! A connection without a session: every message as it comes.
//!
//! A session answers for its own liveness, and keeps to itself what it takes care of. Commands that show such
//! messages, or count them, speak to the socket by themselves: a hello, the requests, and nothing else.
//! Here too: `probe`, `ping` and `benchmark`, by echo requests (OpenFlow 1.3.5 §7.5.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ofctl::client::{MessageStream, MessageStreamError, Target};
use ofctl::wire::{HEADER_LENGTH, Hello, Message, Xid};

use super::args::Connect;
use super::error::CliError;
use super::output::Output;
use super::switch::target;
use super::{Outcome, print};

/// The other end.
pub(crate) struct Peer {
    name: String,
    stream: MessageStream,
    /// How long an answer may take; `None` for ever.
    patience: Option<Duration>,
    /// Messages that came while an answer was waited for.
    passed: VecDeque<(Xid, Message)>,
    next: u32,
}

impl Peer {
    pub(crate) async fn connect(connect: &Connect, name: &str) -> Result<Peer, CliError> {
        let target = target(connect, name)?;
        Peer::connect_to(connect, name, target).await
    }

    /// Connects to what `name` means.
    pub(crate) async fn connect_to(connect: &Connect, name: &str, target: Target) -> Result<Peer, CliError> {
        let patience = Duration::from_secs(connect.timeout);
        let stream = tokio::time::timeout(patience, MessageStream::connect(&target)).await;
        let failed = |source| CliError::Socket {
            target: format!("{name} ({target})"),
            what: "cannot connect",
            source,
        };
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(failed)?;
        let mut peer = Peer {
            name: name.to_owned(),
            stream,
            patience: Some(patience),
            passed: VecDeque::new(),
            next: 1,
        };
        peer.send(&Message::Hello(Hello::OPENFLOW_13)).await?;
        match peer.next_message().await?.1 {
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

    /// From now on messages may come whenever they do.
    pub(crate) fn wait_for_ever(&mut self) {
        self.patience = None;
    }

    pub(crate) async fn send(&mut self, message: &Message) -> Result<Xid, CliError> {
        let xid = Xid(self.next);
        self.next += 1;
        self.put(xid, message).await?;
        Ok(xid)
    }

    async fn put(&mut self, xid: Xid, message: &Message) -> Result<(), CliError> {
        self.stream.send(xid, message).await.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: MessageStreamError) -> CliError {
        CliError::Stream { target: self.name.clone(), source }
    }

    /// The next message, whatever it is.
    pub(crate) async fn next_message(&mut self) -> Result<(Xid, Message), CliError> {
        let next = match self.patience {
            Some(patience) => match tokio::time::timeout(patience, self.stream.next()).await {
                Ok(next) => next,
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            },
            None => self.stream.next().await,
        };
        match next.map_err(|source| self.failed(source))? {
            Some(message) => Ok(message),
            None => Err(CliError::Closed { target: self.name.clone(), reason: "it hung up".to_owned() }),
        }
    }

    /// Sends a request and waits for its answer; what comes before that is kept.
    pub(crate) async fn request(&mut self, message: &Message) -> Result<Message, CliError> {
        let xid = self.send(message).await?;
        self.answer(xid, message).await
    }

    /// Waits for the answer to what was sent under this number.
    pub(crate) async fn answer(&mut self, xid: Xid, message: &Message) -> Result<Message, CliError> {
        loop {
            match self.next_message().await? {
                (answered, Message::Error(error)) if answered == xid => {
                    return Err(CliError::RequestRefused {
                        target: self.name.clone(),
                        request: print::one_line(message),
                        error: error.error,
                    });
                }
                (answered, answer) if answered == xid => return Ok(answer),
                other => self.passed.push_back(other),
            }
        }
    }

    /// Sends messages to which no answer comes, and waits until the switch has carried them out.
    pub(crate) async fn carry_out(&mut self, message: &Message) -> Result<(), CliError> {
        let xid = self.send(message).await?;
        let place = self.passed.len();
        self.request(&Message::BarrierRequest).await?;
        let refused = self.passed.iter().skip(place).find_map(|(answered, message)| match message {
            Message::Error(error) if *answered == xid => Some(error.error),
            _ => None,
        });
        match refused {
            Some(error) => Err(CliError::RequestRefused {
                target: self.name.clone(),
                request: print::one_line(message),
                error,
            }),
            None => Ok(()),
        }
    }

    /// The next message that is not the switch's asking whether anybody is there.
    pub(crate) async fn next_event(&mut self) -> Result<(Xid, Message), CliError> {
        loop {
            let next = match self.passed.pop_front() {
                Some(passed) => passed,
                None => self.next_message().await?,
            };
            match next {
                (xid, Message::EchoRequest(data)) => self.put(xid, &Message::EchoReply(data)).await?,
                event => return Ok(event),
            }
        }
    }

    /// Sends a request and waits for its answer.
    async fn echo(&mut self, data: Vec<u8>) -> Result<Xid, CliError> {
        let xid = self.send(&Message::EchoRequest(data.clone())).await?;
        loop {
            match self.next_message().await? {
                (answered, Message::EchoReply(same)) if answered == xid => {
                    if same != data {
                        return Err(CliError::Closed {
                            target: self.name.clone(),
                            reason: "its echo reply holds other bytes than the request".to_owned(),
                        });
                    }
                    return Ok(xid);
                }
                (asked, Message::EchoRequest(theirs)) => self.put(asked, &Message::EchoReply(theirs)).await?,
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

pub(crate) async fn probe(connect: &Connect, name: &str) -> Result<Outcome, CliError> {
    Peer::connect(connect, name).await?.echo(Vec::new()).await?;
    Ok(Outcome::Done)
}

pub(crate) async fn ping(
    connect: &Connect,
    name: &str,
    count: u32,
    length: u16,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let mut peer = Peer::connect(connect, name).await?;
    let data: Vec<u8> = (0..length).map(|place| place as u8).collect();
    for _ in 0..count {
        let begun = Instant::now();
        let xid = peer.echo(data.clone()).await?;
        let taken = begun.elapsed().as_secs_f64() * 1000.0;
        output.line(format_args!("{length} bytes from {name}: xid={:08x} time={taken:.3} ms", xid.0))?;
        output.flush()?;
    }
    Ok(Outcome::Done)
}

/// Sends many echo requests, one after the answer to another, and prints how many go through in a second.
pub(crate) async fn benchmark(
    connect: &Connect,
    name: &str,
    length: u16,
    count: u32,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let mut peer = Peer::connect(connect, name).await?;
    let bytes = u64::from(count) * (HEADER_LENGTH as u64 + u64::from(length));
    output.line(format_args!(
        "Sending {count} packets * {} bytes (with header) = {bytes} bytes total",
        HEADER_LENGTH + usize::from(length)
    ))?;
    output.flush()?;
    let begun = Instant::now();
    for _ in 0..count {
        peer.echo(vec![0; length.into()]).await?;
    }
    let taken = begun.elapsed().as_secs_f64();
    output.line(format_args!(
        "Finished in {:.1} ms ({:.0} packets/s) ({:.0} bytes/s)",
        taken * 1000.0,
        f64::from(count) / taken,
        bytes as f64 / taken
    ))?;
    Ok(Outcome::Done)
}
