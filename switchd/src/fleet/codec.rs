//! Frames on a byte stream: how a workstation and a box take turns on one ssh session.
//!
//! ```text
//! box:      MAGIC                       after whatever a login script printed
//! both:     length:u32 kind:u8 body     length of the body alone, big-endian
//!           kind 1  a message in JSON, at most 16 MiB
//!           kind 2  a piece of a content, 1 byte to 128 KiB
//!           kind 3  the end of a content, no body
//! ```
//!
//! Every length is checked against its kind's limit before anything is allocated, so a peer can neither make us hold
//! more than that nor be misread: what is not a frame is an error and ends the session.
//!
//! ```
//! use sluice_switch::fleet::codec::{FrameReader, FrameWriter};
//!
//! let mut bytes = Vec::new();
//! let mut writer = FrameWriter::new(&mut bytes);
//! writer.message(&"hello").unwrap();
//! writer.content(&mut &b"some bytes"[..]).unwrap();
//!
//! let mut reader = FrameReader::new(&bytes[..]);
//! assert_eq!(reader.message::<String>().unwrap(), "hello");
//! let mut content = Vec::new();
//! std::io::copy(&mut reader.content(), &mut content).unwrap();
//! assert_eq!(content, b"some bytes");
//! ```

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the box's program writes first. A NUL is in no text that a login script prints, and the last byte is the
/// framing's version: that of the messages is in [`Hello`](super::message::Hello).
pub const MAGIC: [u8; 16] = *b"\0sluice-switch\0\x01";
/// The largest message: a plan for some 250,000 files.
pub const MAX_MESSAGE: u32 = 16 << 20;
/// The largest piece of a content.
pub const MAX_PIECE: u32 = 128 << 10;
/// How much a login script may print before the first frame.
pub const MAX_NOISE: usize = 64 << 10;
/// The pieces that we write.
const PIECE: usize = 64 << 10;

const MESSAGE: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;

/// Why frames cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The stream ended between two frames.
    #[error("the connection ended")]
    Closed,
    /// The stream ended within a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The stream.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// A frame longer than its kind may be.
    #[error("the peer sent a frame of kind {kind} and {length} bytes, and the limit is {limit}")]
    Large {
        /// Its kind.
        kind: u8,
        /// Its length.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// An empty piece, which could be sent for ever without a content's growing.
    #[error("the peer sent an empty piece of a content")]
    Empty,
    /// A kind that there is not.
    #[error("the peer sent a frame of kind {0}, which there is not; do both sides have this version?")]
    Kind(u8),
    /// A frame of one kind where another was due.
    #[error("the peer sent a frame of kind {is} where one of kind {wanted} was due")]
    Unexpected {
        /// What came.
        is: u8,
        /// What was due.
        wanted: u8,
    },
    /// A message that is not what was due.
    #[error("the peer's message is not understood: {0}")]
    Message(serde_json::Error),
    /// A message of our own that is too large to send.
    #[error("a message of {0} bytes is more than one frame holds; does the bundle have too many files?")]
    Unsendable(usize),
    /// No frames came at all.
    #[error("it answered `{0}` and not as sluice-switch does")]
    NoMagic(String),
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message's JSON.
    Message(Vec<u8>),
    /// A piece of a content.
    Data(Vec<u8>),
    /// The end of a content.
    End,
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Message(_) => MESSAGE,
            Self::Data(_) => DATA,
            Self::End => END,
        }
    }
}

/// Writes frames, and counts the bytes.
#[derive(Debug)]
pub struct FrameWriter<W> {
    inner: W,
    count: u64,
}

impl<W: Write> FrameWriter<W> {
    /// Writes to `inner`, each frame with few calls of `write`.
    pub fn new(inner: W) -> Self {
        Self { inner, count: 0 }
    }

    /// How many bytes were written.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The writer that frames go to.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// Writes [`MAGIC`].
    ///
    /// # Errors
    /// When the stream fails.
    pub fn magic(&mut self) -> Result<(), CodecError> {
        self.inner.write_all(&MAGIC)?;
        self.count += MAGIC.len() as u64;
        Ok(())
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut head = [0; 5];
        head[..4].copy_from_slice(&(body.len() as u32).to_be_bytes());
        head[4] = kind;
        self.inner.write_all(&head)?;
        self.inner.write_all(body)?;
        self.count += (head.len() + body.len()) as u64;
        Ok(())
    }

    /// Writes a message, and everything before it, to the peer.
    ///
    /// # Errors
    /// When it is too large, or the stream fails.
    pub fn message(&mut self, message: &impl Serialize) -> Result<(), CodecError> {
        let body = serde_json::to_vec(message).map_err(CodecError::Message)?;
        if body.len() > MAX_MESSAGE as usize {
            return Err(CodecError::Unsendable(body.len()));
        }
        self.frame(MESSAGE, &body)?;
        Ok(self.inner.flush()?)
    }

    /// Writes a content of any length, with its end.
    ///
    /// # Errors
    /// When `content` or the stream fails.
    pub fn content(&mut self, content: &mut impl Read) -> Result<(), CodecError> {
        let mut piece = vec![0; PIECE];
        loop {
            match content.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => self.frame(DATA, &piece[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.frame(END, &[])?;
        Ok(self.inner.flush()?)
    }
}

/// Reads frames, and counts the bytes.
#[derive(Debug)]
pub struct FrameReader<R> {
    inner: R,
    count: u64,
}

impl<R: Read> FrameReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, count: 0 }
    }

    /// How many bytes were read.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Skips what comes before [`MAGIC`] and it.
    ///
    /// # Errors
    /// When it does not come; what came instead is told.
    pub fn magic(&mut self) -> Result<(), CodecError> {
        let mut noise = Vec::new();
        let mut byte = [0];
        loop {
            if noise.ends_with(&MAGIC) {
                return Ok(());
            }
            let more = noise.len() < MAX_NOISE && self.inner.read(&mut byte)? == 1;
            if !more {
                let text = String::from_utf8_lossy(&noise);
                let text: String = text.chars().take(200).collect();
                return Err(CodecError::NoMagic(text.trim().escape_debug().to_string()));
            }
            self.count += 1;
            noise.push(byte[0]);
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// When there is none, or what comes is no frame.
    pub fn frame(&mut self) -> Result<Frame, CodecError> {
        let mut head = [0; 5];
        let mut have = 0;
        while have < head.len() {
            match self.inner.read(&mut head[have..]) {
                Ok(0) if have == 0 => return Err(CodecError::Closed),
                Ok(0) => return Err(CodecError::Truncated),
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        let [a, b, c, d, kind] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let limit = match kind {
            MESSAGE => MAX_MESSAGE,
            DATA => MAX_PIECE,
            END => 0,
            _ => return Err(CodecError::Kind(kind)),
        };
        if length > limit {
            return Err(CodecError::Large { kind, length, limit });
        }
        // Grown as bytes come: a length alone costs us nothing.
        let mut body = Vec::new();
        Read::by_ref(&mut self.inner).take(length.into()).read_to_end(&mut body)?;
        if body.len() < length as usize {
            return Err(CodecError::Truncated);
        }
        self.count += 5 + u64::from(length);
        match kind {
            MESSAGE => Ok(Frame::Message(body)),
            DATA if body.is_empty() => Err(CodecError::Empty),
            DATA => Ok(Frame::Data(body)),
            _ => Ok(Frame::End),
        }
    }

    /// The next frame, which must be a message.
    ///
    /// # Errors
    /// When it is not, or not of this type.
    pub fn message<T: DeserializeOwned>(&mut self) -> Result<T, CodecError> {
        match self.frame()? {
            Frame::Message(body) => serde_json::from_slice(&body).map_err(CodecError::Message),
            other => Err(CodecError::Unexpected { is: other.kind(), wanted: MESSAGE }),
        }
    }

    /// The content that comes next, to its end.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { frames: self, piece: Vec::new(), at: 0, ended: false, failed: None }
    }
}

/// A content as it comes. It must be read to its end before the next frame is.
#[derive(Debug)]
pub struct Content<'a, R> {
    frames: &'a mut FrameReader<R>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
    failed: Option<CodecError>,
}

impl<R: Read> Content<'_, R> {
    /// Reads what nobody wanted, up to the end.
    ///
    /// # Errors
    /// When the stream failed, here or earlier: then nothing more can come of it.
    pub fn finish(mut self) -> Result<(), CodecError> {
        while self.failed.is_none() && !self.ended {
            self.next_piece();
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn next_piece(&mut self) {
        match self.frames.frame() {
            Ok(Frame::Data(piece)) => (self.piece, self.at) = (piece, 0),
            Ok(Frame::End) => self.ended = true,
            Ok(other) => self.failed = Some(CodecError::Unexpected { is: other.kind(), wanted: DATA }),
            Err(error) => self.failed = Some(error),
        }
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            if self.failed.is_none() {
                self.next_piece();
            }
            if let Some(error) = &self.failed {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error.to_string()));
            }
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives at most so many bytes a call, as a network does.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = buffer.len().min(self.1).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn large(length: u32, kind: u8) -> Vec<u8> {
        [&length.to_be_bytes()[..], &[kind]].concat()
    }

    #[test]
    fn what_is_no_frame_is_refused_with_its_reason() {
        let read = |bytes: &[u8]| FrameReader::new(bytes).frame().unwrap_err();
        assert!(matches!(read(b""), CodecError::Closed));
        assert!(matches!(read(&[0, 0]), CodecError::Truncated));
        assert!(matches!(read(&[0, 0, 0, 2, MESSAGE, 9]), CodecError::Truncated));
        assert!(matches!(read(&[0, 0, 0, 0, DATA]), CodecError::Empty));
        assert!(matches!(read(&[0, 0, 0, 0, 9]), CodecError::Kind(9)));
        for (length, kind) in
            [(MAX_MESSAGE + 1, MESSAGE), (u32::MAX, MESSAGE), (MAX_PIECE + 1, DATA), (1, END)]
        {
            match read(&large(length, kind)) {
                CodecError::Large { kind: k, length: l, .. } => assert_eq!((k, l), (kind, length)),
                other => panic!("{other}"),
            }
        }
        let wrong = FrameReader::new(&[0, 0, 0, 0, END][..]).message::<String>().unwrap_err();
        assert!(matches!(wrong, CodecError::Unexpected { is: END, wanted: MESSAGE }));
    }

    #[test]
    fn noise_before_the_first_frame_is_skipped_and_told_when_nothing_follows() {
        let mut bytes = b"Welcome to NOS 5\r\n\0sluice-switch".to_vec();
        bytes.extend(MAGIC);
        let mut reader = FrameReader::new(&bytes[..]);
        reader.magic().unwrap();
        assert!(matches!(reader.frame(), Err(CodecError::Closed)));
        let error = FrameReader::new(&b"sh: not found\n"[..]).magic().unwrap_err();
        assert!(error.to_string().contains("`sh: not found`"), "{error}");
        let endless = vec![b'x'; MAX_NOISE * 2];
        let mut reader = FrameReader::new(&endless[..]);
        assert!(matches!(reader.magic(), Err(CodecError::NoMagic(_))));
        assert_eq!(reader.count(), MAX_NOISE as u64);
    }

    #[test]
    fn a_content_that_breaks_off_is_an_error_and_not_a_short_content() {
        let mut bytes = Vec::new();
        FrameWriter::new(&mut bytes).content(&mut &[7; 1000][..]).unwrap();
        for cut in 0..bytes.len() {
            let mut reader = FrameReader::new(&bytes[..cut]);
            let mut content = reader.content();
            let mut got = Vec::new();
            assert!(content.read_to_end(&mut got).is_err(), "cut at {cut}");
            assert!(content.finish().is_err());
        }
        // A message in the place of a piece.
        let mut bytes = large(1, DATA);
        bytes.extend([1]);
        FrameWriter::new(&mut bytes).message(&1).unwrap();
        let mut reader = FrameReader::new(&bytes[..]);
        let error = reader.content().finish().unwrap_err();
        assert!(matches!(error, CodecError::Unexpected { is: MESSAGE, wanted: DATA }), "{error}");
    }

    #[derive(Debug, Clone)]
    enum Piece {
        Message(String),
        Content(Vec<u8>),
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            any::<String>().prop_map(Piece::Message),
            prop::collection::vec(any::<u8>(), 0..200_000).prop_map(Piece::Content),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            pieces in prop::collection::vec(piece(), 0..6), step in 1..5000_usize,
        ) {
            let mut bytes = Vec::new();
            let mut writer = FrameWriter::new(&mut bytes);
            writer.magic().unwrap();
            for piece in &pieces {
                match piece {
                    Piece::Message(text) => writer.message(text).unwrap(),
                    Piece::Content(content) => writer.content(&mut &content[..]).unwrap(),
                }
            }
            let written = writer.count();
            prop_assert_eq!(written, bytes.len() as u64);
            let mut reader = FrameReader::new(Slow(&bytes, step));
            reader.magic().unwrap();
            for piece in &pieces {
                match piece {
                    Piece::Message(text) => prop_assert_eq!(&reader.message::<String>().unwrap(), text),
                    Piece::Content(content) => {
                        let mut got = Vec::new();
                        let mut from = reader.content();
                        from.read_to_end(&mut got).unwrap();
                        from.finish().unwrap();
                        prop_assert_eq!(&got, content);
                    }
                }
            }
            prop_assert!(matches!(reader.frame(), Err(CodecError::Closed)));
            prop_assert_eq!(reader.count(), written);
        }

        #[test]
        fn any_bytes_end_without_a_panic_and_nothing_is_made_up(bytes: Vec<u8>) {
            let mut reader = FrameReader::new(&bytes[..]);
            let mut held = 0;
            while let Ok(frame) = reader.frame() {
                held += 5 + match frame { Frame::Message(b) | Frame::Data(b) => b.len(), Frame::End => 0 };
            }
            prop_assert!(held <= bytes.len());
        }
    }
}
