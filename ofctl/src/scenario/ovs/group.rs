//! Group-mods, said in OpenFlow 1.5: sessions speak 1.3, which knows nothing of selection methods.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::wire::versions::{GroupMod, Message, Version, VersionError};
use crate::wire::{self, DecodeError, ErrorMessage, Hello, MessageHeader, Xid};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error("it cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("the group cannot be said in OpenFlow 1.5: {0}")]
    Encode(#[from] VersionError),
    #[error("it answers what is no message: {0}")]
    Decode(#[from] DecodeError),
    #[error("it refuses the group: {}", .0.error)]
    Refused(ErrorMessage),
}

/// Has the switch behind a socket change a group, and waits until it has.
pub(super) fn change(socket: &Path, change: GroupMod) -> Result<(), ChangeError> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let messages = [
        Message::Same(wire::Message::Hello(Hello { version: 6, bitmap: Some(1 << 6) })),
        Message::GroupMod(change),
        Message::BarrierRequest,
    ];
    let mut bytes = Vec::new();
    for (xid, message) in (1..).zip(messages) {
        message.encode(Version::OpenFlow15, Xid(xid), &mut bytes)?;
    }
    stream.write_all(&bytes)?;
    loop {
        match next(&mut stream)? {
            Some(Message::BarrierReply) => return Ok(()),
            Some(Message::Same(wire::Message::Error(error))) => return Err(ChangeError::Refused(error)),
            _ => {}
        }
    }
}

/// The next message, if it is of a kind that is known.
fn next(stream: &mut UnixStream) -> Result<Option<Message>, ChangeError> {
    let mut bytes = vec![0; 8];
    stream.read_exact(&mut bytes)?;
    let length = MessageHeader::peek(&bytes)?.map_or(8, |header| usize::from(header.length));
    bytes.resize(length.max(8), 0);
    stream.read_exact(&mut bytes[8..])?;
    Ok(Message::decode(&bytes).ok().map(|(_, _, message)| message))
}
