//! Reading without indices, and writing with lengths that are filled in at the end.

use super::error::DecodeError;

/// Bytes from which one can only take, so that decoding cannot reach out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// What is being read, for errors.
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which `what` names in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { bytes, what }
    }

    /// True if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left, without taking it.
    pub fn peek(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(n) else {
            return Err(DecodeError::Truncated { what: self.what, wanted: n, left: self.bytes.len() });
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes `n` bytes as a reader of their own.
    pub fn sub(&mut self, what: &'static str, n: usize) -> Result<Reader<'a>, DecodeError> {
        Ok(Reader { bytes: self.take(n)?, what })
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Takes an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { what: self.what, wanted: N, left: self.bytes.len() });
        };
        self.bytes = rest;
        Ok(*taken)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes 16 bits.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes 32 bits.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes 64 bits.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes padding; what it holds does not matter (OpenFlow 1.3.5 §7.1.2).
    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.take(n).map(drop)
    }

    /// Checks that all was taken.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { what: self.what, left: self.bytes.len() })
        }
    }

    /// An error about a length in what is being read.
    pub fn bad_length(&self, length: usize) -> DecodeError {
        DecodeError::BadLength { what: self.what, length }
    }
}

/// Appending of numbers in network order.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put(&mut self, bytes: &[u8]);
    fn put_zeros(&mut self, n: usize);
}

impl Put for Vec<u8> {
    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_zeros(&mut self, n: usize) {
        self.resize(self.len() + n, 0);
    }
}

/// What a nested length counts, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// No padding.
    None,
    /// Zeros up to a multiple of 8, which the length counts.
    Counted,
    /// Zeros up to a multiple of 8, which the length does not count.
    Uncounted,
}

/// Something with a 16-bit length inside that is filled in when this is dropped.
///
/// A length that does not fit is written as `0xffff`; whatever encloses it is longer still, so the message is
/// refused by the check on its own length.
pub(crate) struct Nested<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    length_at: usize,
    padding: Padding,
}

impl<'a> Nested<'a> {
    /// Begins at the end of `out`, with the length `offset` bytes later.
    pub(crate) fn begin(out: &'a mut Vec<u8>, offset: usize, padding: Padding) -> Self {
        let start = out.len();
        Nested { out, start, length_at: start + offset, padding }
    }
}

impl std::ops::Deref for Nested<'_> {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        self.out
    }
}

impl std::ops::DerefMut for Nested<'_> {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        self.out
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        let bare = self.out.len() - self.start;
        let padded = bare.next_multiple_of(8);
        if self.padding != Padding::None {
            self.out.resize(self.start + padded, 0);
        }
        let length = if self.padding == Padding::Counted { padded } else { bare };
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        if let Some(place) = self.out.get_mut(self.length_at..self.length_at + 2) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}
