//! Frames in a capture file, from where the last look ended.

use std::path::PathBuf;

use crate::scenario::WorldError;

/// Length of the file's header, and of a record's; `tcpdump`'s classic format.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// What leaves by a port.
#[derive(Debug)]
pub(super) struct Capture {
    path: PathBuf,
    seen: usize,
}

impl Capture {
    pub(super) fn new(path: PathBuf) -> Self {
        Capture { path, seen: FILE_HEADER }
    }

    /// Bytes of the file, by which one sees whether it grows.
    pub(super) fn len(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Frames since the last call.
    pub(super) fn take(&mut self) -> Result<Vec<Vec<u8>>, WorldError> {
        let bytes = std::fs::read(&self.path)
            .map_err(|error| WorldError(format!("cannot read {}: {error}", self.path.display())))?;
        let mut frames = Vec::new();
        while let Some(record) = bytes.get(self.seen..).and_then(<[u8]>::first_chunk::<RECORD_HEADER>) {
            let length = u32::from_ne_bytes([record[8], record[9], record[10], record[11]]) as usize;
            let begin = self.seen + RECORD_HEADER;
            // A record that is being written is taken the next time.
            let Some(frame) = bytes.get(begin..begin + length) else { break };
            frames.push(frame.to_vec());
            self.seen = begin + length;
        }
        Ok(frames)
    }
}
