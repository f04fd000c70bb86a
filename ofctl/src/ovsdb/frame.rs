//! Where JSON-RPC messages end in a byte stream (RFC 7047 §4).
//!
//! OVSDB has no framing: messages are JSON objects one after another. [`Splitter`] looks at each byte once,
//! however the stream is cut into pieces, and caps a message's length and nesting before any of it is parsed.

/// What a message may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one message.
    pub length: usize,
    /// Objects and arrays open at once.
    pub depth: usize,
}

impl Default for Limits {
    /// Room for a switch with 100,000 ports; nothing in the protocol nests deeper than a dozen.
    fn default() -> Self {
        Limits { length: 256 << 20, depth: 64 }
    }
}

/// The stream cannot be OVSDB. It cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message does not start with `{`.
    #[error("a message starts with byte {byte:#04x} and not with '{{': the peer does not speak OVSDB")]
    NotAnObject {
        /// What it starts with.
        byte: u8,
    },
    /// A message has no end within the limit.
    #[error("a message is longer than the {limit} bytes allowed")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A message nests deeper than the limit.
    #[error("a message nests deeper than the {limit} levels allowed")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct Splitter {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where the first message not yet handed out starts.
    start: usize,
    /// Everything before this has been looked at.
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    /// A splitter at the beginning of a stream.
    pub fn new(limits: Limits) -> Splitter {
        Splitter { limits, ..Splitter::default() }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moved only when at least as much goes as stays, so that each byte is moved a bounded number of times.
        if self.start > 0 && self.start >= self.buffer.len() - self.start {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; none when more bytes are needed.
    ///
    /// Only nesting and strings are tracked: whether the message is JSON is for the parser to say.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when no message can start or end here; each later call says the same.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, FrameError> {
        while self.depth == 0
            && let Some(&byte) = self.buffer.get(self.start)
        {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.start += 1,
                b'{' => {
                    self.depth = 1;
                    self.scanned = self.start;
                }
                _ => return Err(FrameError::NotAnObject { byte }),
            }
            self.scanned += 1;
        }
        if self.depth == 0 {
            return Ok(None);
        }
        for (offset, &byte) in self.buffer[self.scanned..].iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.depth == self.limits.depth => {
                    self.scanned += offset;
                    return Err(FrameError::TooDeep { limit: self.limits.depth });
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let (start, end) = (self.start, self.scanned + offset + 1);
                        if end - start > self.limits.length {
                            self.depth = 1;
                            self.scanned = end - 1;
                            return Err(FrameError::TooLong { limit: self.limits.length });
                        }
                        (self.start, self.scanned) = (end, end);
                        return Ok(Some(&self.buffer[start..end]));
                    }
                }
                _ => {}
            }
        }
        self.scanned = self.buffer.len();
        if self.scanned - self.start > self.limits.length {
            return Err(FrameError::TooLong { limit: self.limits.length });
        }
        Ok(None)
    }
}
