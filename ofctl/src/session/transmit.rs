//! Bytes on their way out.

/// A buffer that is written at its end and taken from its beginning.
#[derive(Debug, Default)]
pub(super) struct Transmit {
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes from here on wait for the handshake.
    held_from: Option<usize>,
}

/// Bytes that were sent are thrown away once they are this many.
const COMPACT_AT: usize = 1 << 20;

impl Transmit {
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..self.held_from.unwrap_or(self.bytes.len())]
    }

    pub(super) fn advance(&mut self, n: usize) {
        self.sent += n.min(self.pending().len());
        if self.sent == self.bytes.len() && self.held_from.is_none() {
            self.bytes.clear();
            self.sent = 0;
            // One large bundle must not hold its memory for ever.
            self.bytes.shrink_to(COMPACT_AT);
        } else if self.sent >= COMPACT_AT && self.sent >= self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.held_from = self.held_from.map(|from| from - self.sent);
            self.sent = 0;
        }
    }

    /// Holds back whatever is appended from now on.
    pub(super) fn hold_the_rest(&mut self) {
        self.held_from = Some(self.bytes.len());
    }

    pub(super) fn release(&mut self) {
        self.held_from = None;
    }

    pub(super) fn drop_held(&mut self) {
        if let Some(from) = self.held_from {
            self.bytes.truncate(from);
        }
    }

    /// Where the buffer ends now.
    pub(super) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was appended after the mark; nothing may have been sent in between.
    pub(super) fn take_back(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }
}
