//! Writes that nobody awaits, where a killed process leaves them: in a file that is written and not synced.
//!
//! redb keeps a transaction without fsync in memory, so that a kill would lose it; with fsync it would delay every
//! commit. So such a transaction goes to this file too. The kernel has it then, and a kill loses nothing; a power
//! loss may. The next durable commit contains it anyway, says so by its number, and empties the file.
//!
//! A record is its length and a checksum (u32 and u64, little-endian), its number (u64) and the batch's bytes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Larger than this, the next batch is made durable.
const LARGEST: u64 = 4 << 20;
const HEAD: usize = 12;

/// What one [`Journal::append`] wrote: its number and its bytes.
pub(super) type Record = (u64, Vec<u8>);

/// The file, open at its end.
pub(super) struct Journal {
    file: File,
    length: u64,
    /// The number of the last record.
    last: u64,
    /// Something could not be written: what comes after it must not be there either.
    broken: bool,
}

impl Journal {
    /// Opens the file, or makes it, and reads what is in it: the number and bytes of each whole record. A record that
    /// was cut off ends it.
    pub(super) fn open(path: &Path) -> io::Result<(Journal, Vec<Record>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let records = read(&bytes);
        let last = records.last().map_or(0, |(number, _)| *number);
        Ok((Journal { length: bytes.len() as u64, file, last, broken: false }, records))
    }

    /// The number of the last record: a durable commit notes it.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Goes on counting from what a durable commit has noted.
    pub(super) fn count_from(&mut self, number: u64) {
        self.last = self.last.max(number);
    }

    /// True if it is time for a durable commit.
    pub(super) fn is_full(&self) -> bool {
        self.length > LARGEST
    }

    /// Adds a record.
    pub(super) fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        let mut body = (self.last + 1).to_le_bytes().to_vec();
        body.extend_from_slice(batch);
        let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut record = length.to_le_bytes().to_vec();
        record.extend_from_slice(&checksum(&body).to_le_bytes());
        record.extend_from_slice(&body);
        self.broken = true;
        self.file.write_all(&record)?;
        self.broken = false;
        self.last += 1;
        self.length += record.len() as u64;
        Ok(())
    }

    /// Empties the file: everything in it is in a durable commit.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if self.length > 0 || self.broken {
            self.file.set_len(0)?;
            self.file.rewind()?;
            (self.length, self.broken) = (0, false);
        }
        Ok(())
    }
}

fn read(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let (length, sum) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("split at 4")) as usize;
        let sum = u64::from_le_bytes(sum.try_into().expect("the other 8 of HEAD"));
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        let Some((number, batch)) = body.split_at_checked(8) else { break };
        if checksum(body) != sum {
            break;
        }
        let number = u64::from_le_bytes(number.try_into().expect("split at 8"));
        records.push((number, batch.to_vec()));
        bytes = rest;
    }
    records
}

/// FNV-1a, 64 bits: against torn writes, not against anybody.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_cut_or_changed_anywhere_ends_the_journal_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, vec![]);
        for batch in [&b"one"[..], b"", b"three"] {
            journal.append(batch).unwrap();
        }
        let whole = vec![(1, b"one".to_vec()), (2, vec![]), (3, b"three".to_vec())];
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(read(&bytes), whole);
        let ends = [HEAD + 8 + 3, 2 * (HEAD + 8) + 3, bytes.len()];
        for at in 0..bytes.len() {
            let intact = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(read(&bytes[..at]), whole[..intact], "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert_eq!(read(&changed), whole[..intact], "changed at {at}");
        }
        journal.clear().unwrap();
        journal.append(b"four").unwrap();
        let (journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, vec![(4, b"four".to_vec())]);
        assert_eq!(journal.last(), 4);
    }
}
