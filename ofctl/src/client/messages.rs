//! OpenFlow messages over a stream, without a session: for whoever watches what others say, or measures.
//!
//! Nothing is answered and nothing kept back, not even hellos and echo requests.
//!
//! ```no_run
//! use ofctl::client::{MessageStream, Target};
//! use ofctl::wire::{Hello, Message, Xid};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let target = Target::Unix("/var/run/openvswitch/br-int.snoop".into());
//! let mut stream = MessageStream::connect(&target).await?;
//! stream.send(Xid(1), &Message::Hello(Hello::OPENFLOW_13)).await?;
//! while let Some((xid, message)) = stream.next().await? {
//!     println!("{xid}: {message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use std::io;

use super::stream::Stream;
use super::target::Target;
use crate::wire::{DecodeError, EncodeError, Message, MessageHeader, Xid};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// Why a message did not go or come.
#[derive(Debug, thiserror::Error)]
pub enum MessageStreamError {
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
    /// What came is no message. A message that is complete was taken, and the next one may be asked for.
    #[error("what came cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The message cannot be written to the wire. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A connected stream of messages.
#[derive(Debug)]
pub struct MessageStream {
    stream: Stream,
    received: Vec<u8>,
    /// How much of `received` has been taken.
    taken: usize,
    buffer: Vec<u8>,
    /// The peer will say no more.
    ended: bool,
}

impl MessageStream {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there, or TLS fails.
    pub async fn connect(target: &Target) -> io::Result<MessageStream> {
        let stream = Stream::connect(target).await?;
        Ok(MessageStream {
            stream,
            received: Vec::new(),
            taken: 0,
            buffer: vec![0; READ_BYTES],
            ended: false,
        })
    }

    /// Sends a message; what comes meanwhile is kept. If it is dropped before it is done, a part may have been sent.
    ///
    /// # Errors
    /// If the message cannot be encoded, or the stream fails.
    pub async fn send(&mut self, xid: Xid, message: &Message) -> Result<(), MessageStreamError> {
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes)?;
        let mut sent = 0;
        while sent < bytes.len() {
            sent += self.exchange(&bytes[sent..]).await?;
        }
        // TLS may still hold what it has taken.
        tokio::io::AsyncWriteExt::flush(&mut self.stream).await?;
        Ok(())
    }

    async fn exchange(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.stream.exchange(bytes, &mut self.buffer).await?;
        match done.read {
            Some(0) if bytes.is_empty() => self.ended = true,
            Some(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(count) => self.received.extend_from_slice(&self.buffer[..count]),
            None => {}
        }
        Ok(done.written)
    }

    /// The next message; `None` after the last one. Nothing is lost if it is dropped.
    ///
    /// # Errors
    /// If the stream fails, or what came is no message.
    pub async fn next(&mut self) -> Result<Option<(Xid, Message)>, MessageStreamError> {
        loop {
            let rest = &self.received[self.taken..];
            if let Some(header) = MessageHeader::peek(rest)?
                && let Some(message) = rest.get(..header.length.into())
            {
                self.taken += message.len();
                return Ok(Some(Message::decode(message)?));
            }
            if self.ended {
                return Ok(None);
            }
            self.received.drain(..self.taken);
            self.taken = 0;
            self.exchange(&[]).await?;
        }
    }
}
