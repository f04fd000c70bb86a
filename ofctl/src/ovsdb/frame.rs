//! Where JSON-RPC messages end in a byte stream (RFC 7047 §4).
//!
//! OVSDB has no framing: messages are JSON objects one after another. [`Splitter`] looks at each byte once,
//! however the stream is cut into pieces, and caps a message's length and nesting before any of it is parsed.
//!
//! ```
//! use ofctl::ovsdb::frame::{Limits, Splitter};
//!
//! let mut splitter = Splitter::new(Limits::default());
//! splitter.push(br#"{"id":1,"result":[]}{"id""#);
//! assert_eq!(splitter.next_message(), Ok(Some(&br#"{"id":1,"result":[]}"#[..])));
//! assert_eq!(splitter.next_message(), Ok(None));
//! ```

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

/// How much room for messages is kept when a long one is done with.
const KEPT_CAPACITY: usize = 1 << 20;

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
            // The first copy of a big switch is long, and nothing after it.
            if self.buffer.capacity() > KEPT_CAPACITY {
                self.buffer.shrink_to(KEPT_CAPACITY);
            }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(splitter: &mut Splitter) -> Result<Vec<String>, FrameError> {
        let mut messages = Vec::new();
        while let Some(message) = splitter.next_message()? {
            messages.push(String::from_utf8_lossy(message).into_owned());
        }
        Ok(messages)
    }

    #[test]
    fn braces_and_quotes_in_strings_do_not_end_a_message() {
        let message = r#"{"a":"}\"]{\\","b":[{"c":"[\\\""}]}"#;
        let mut splitter = Splitter::new(Limits::default());
        splitter.push(format!("  {message}\n{{}}").as_bytes());
        assert_eq!(all(&mut splitter).unwrap(), [message, "{}"]);
        assert_eq!(all(&mut splitter).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn limits_hold_and_the_error_stays() {
        let limits = Limits { length: 20, depth: 3 };
        let cases: [(&[u8], FrameError); 5] = [
            (b"{\"a\":[[[", FrameError::TooDeep { limit: 3 }),
            (b"{\"a\":\"0123456789012345", FrameError::TooLong { limit: 20 }),
            (b"{\"a\":\"0123456789012345\"}", FrameError::TooLong { limit: 20 }),
            (b" GET / HTTP/1.1", FrameError::NotAnObject { byte: b'G' }),
            (b"{}]", FrameError::NotAnObject { byte: b']' }),
        ];
        for (bytes, wanted) in cases {
            let mut splitter = Splitter::new(limits);
            splitter.push(bytes);
            let mut error = all(&mut splitter).unwrap_err();
            assert_eq!(error, wanted, "{:?}", String::from_utf8_lossy(bytes));
            splitter.push(b"}}}}");
            error = all(&mut splitter).unwrap_err();
            assert_eq!(error, wanted, "{:?} and more", String::from_utf8_lossy(bytes));
        }
        let mut splitter = Splitter::new(limits);
        splitter.push(b"{\"a\":[[]],\"b\":\"01\"}");
        assert_eq!(all(&mut splitter).unwrap().len(), 1, "exactly at the limits");
    }

    /// A rescan at each piece would look at 4 MiB two million times.
    #[test]
    fn small_pieces_of_a_big_message_are_looked_at_once() {
        let message = format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 20));
        let mut splitter = Splitter::new(Limits::default());
        let (last, pieces) = message.as_bytes().split_last().unwrap();
        for piece in pieces.chunks(2) {
            splitter.push(piece);
            assert_eq!(splitter.next_message(), Ok(None));
            assert_eq!(splitter.scanned, splitter.buffer.len());
        }
        splitter.push(&[*last]);
        assert_eq!(splitter.next_message().unwrap().map(<[u8]>::len), Some(message.len()));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Into::into),
            any::<bool>().prop_map(Into::into),
            "[a-z\\\\\"{}\\[\\] \u{e9}\u{1f600}]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"\\\\{}]{0,5}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            bodies in prop::collection::vec(json(), 0..5),
            cuts in prop::collection::vec(1usize..40, 1..20),
            gap in "[ \n\t\r]{0,3}",
        ) {
            let messages: Vec<String> =
                bodies.iter().map(|body| serde_json::json!({ "params": body }).to_string()).collect();
            let stream: String = messages.iter().map(|message| format!("{gap}{message}")).collect();
            let mut splitter = Splitter::new(Limits::default());
            let (mut rest, mut found) = (stream.as_bytes(), Vec::new());
            for size in cuts.iter().cycle() {
                let (piece, later) = rest.split_at((*size).min(rest.len()));
                splitter.push(piece);
                found.extend(all(&mut splitter).unwrap());
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn any_bytes_are_harmless(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10)) {
            let mut splitter = Splitter::new(Limits { length: 64, depth: 4 });
            for piece in pieces {
                splitter.push(&piece);
                while let Ok(Some(message)) = splitter.next_message() {
                    prop_assert!(message.len() <= 64);
                }
            }
        }
    }
}
