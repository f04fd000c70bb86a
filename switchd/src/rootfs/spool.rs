//! File contents on their way from layers to a bundle.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::digest::{Digest, Hashing};

/// A file's content in a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    offset: u64,
}

/// One nameless temporary file that holds each distinct content once.
#[derive(Debug)]
pub struct Spool {
    file: File,
    end: u64,
    known: HashMap<Digest, Blob>,
}

impl Spool {
    /// Makes the file in `directory`. It is gone with this value, also after a crash.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, end: 0, known: HashMap::new() })
    }

    /// Takes in all of `content`.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn add(&mut self, content: &mut impl Read) -> io::Result<Blob> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut content = Hashing::new(content);
        let mut writer = BufWriter::new(&self.file);
        io::copy(&mut content, &mut writer)?;
        writer.flush()?;
        drop(writer);
        let (digest, size, _) = content.finish();
        if let Some(blob) = self.known.get(&digest) {
            return Ok(*blob);
        }
        let blob = Blob { digest, size, offset: self.end };
        self.known.insert(digest, blob);
        self.end += size;
        Ok(blob)
    }

    /// Reads a content back.
    pub fn open(&self, blob: Blob) -> impl Read + use<'_> {
        Section { file: &self.file, at: blob.offset, left: blob.size }
    }

    /// All of a small content, or `None` when it is larger than `limit`.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read(&self, blob: &Blob, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if blob.size > limit {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.open(*blob).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// A part of a file, read without moving the file's own position.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) file: &'a File,
    pub(crate) at: u64,
    pub(crate) left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut buffer[..want], self.at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_held_once_and_read_back() {
        let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
        let first = spool.add(&mut &b"one"[..]).unwrap();
        let second = spool.add(&mut &b"two"[..]).unwrap();
        let again = spool.add(&mut &b"one"[..]).unwrap();
        let third = spool.add(&mut &b"three"[..]).unwrap();
        assert_eq!(first, again);
        for (blob, content) in [(first, "one"), (second, "two"), (third, "three")] {
            assert_eq!(spool.read(&blob, 10).unwrap().unwrap(), content.as_bytes());
        }
        assert_eq!(spool.read(&third, 4).unwrap(), None);
        assert_eq!(spool.end, 11);
    }
}
