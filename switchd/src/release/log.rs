//! Logs that stay within bounds while they are written to.
//!
//! The container's first process writes to the log file itself: there is no daemon of ours between them that could
//! die, fill a pipe or cost memory. The file is opened to append, so cutting it to nothing makes the next write begin
//! at its start; that is what logrotate(8) calls copytruncate. It is cut at each `up`, `status`, `install` and `tend`,
//! the last of which `autostart enable` puts on a timer. What the two files hold is then at most twice
//! [`MAX_LOG`] and what the application writes between two of these.
//!
//! The price: what is written between the last read and the cut, some microseconds, is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::store::{ReleaseError, Store, io_error};

/// The size beyond which a log is cut, and the most of it that is kept.
pub const MAX_LOG: u64 = 1 << 20;

/// How often the end of a log is read again that grows meanwhile.
const CATCH_UP: usize = 8;

/// What became of a log that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capped {
    /// Its size before.
    pub size: u64,
    /// How much of its end is in `log.1`; nothing when the disk has no room even for that.
    pub kept: u64,
}

impl Store {
    /// Cuts the log when it is longer than [`MAX_LOG`] and keeps its end in `log.1`. `None` when there was nothing to
    /// do, or somebody else is doing it.
    ///
    /// # Errors
    /// When the log cannot be read or cut.
    pub fn cap_log(&self) -> Result<Option<Capped>, ReleaseError> {
        let path = self.log_path();
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("opening", &path)(source)),
        };
        let size = |file: &File| file.metadata().map(|m| m.len()).map_err(io_error("reading", &path));
        if size(&file)? <= MAX_LOG {
            return Ok(None);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(source) => return Err(io_error("locking", &path)(source.into())),
        }
        // Whoever held the lock may have cut it.
        let size = size(&file)?;
        if size <= MAX_LOG {
            return Ok(None);
        }
        let (old, new) = (path.with_extension("1"), path.with_extension("1.new"));
        // The disk may be full because of this very log: then it is cut all the same.
        let kept = keep_end(&file, size, &new).unwrap_or(0);
        file.set_len(0).map_err(io_error("cutting", &path))?;
        if kept > 0 {
            fs::rename(&new, &old).map_err(io_error("putting aside", &old))?;
        } else {
            let _ = fs::remove_file(&new);
        }
        Ok(Some(Capped { size, kept }))
    }
}

/// Copies the last whole lines of `file`, to [`MAX_LOG`], and what is written to it meanwhile.
fn keep_end(file: &File, size: u64, new: &Path) -> io::Result<u64> {
    let mut to = File::create(new)?;
    let mut from = BufReader::new(file);
    from.seek(SeekFrom::Start(size - MAX_LOG))?;
    // The first is rarely whole. A line longer than that is not looked for.
    Read::by_ref(&mut from).take(64 << 10).read_until(b'\n', &mut Vec::new())?;
    let mut kept = 0;
    for _ in 0..CATCH_UP {
        match io::copy(&mut Read::by_ref(&mut from).take(MAX_LOG), &mut to)? {
            0 => break,
            more => kept += more,
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), &"a".parse().unwrap());
        fs::create_dir_all(store.log_path().parent().unwrap()).unwrap();
        (dir, store)
    }

    fn line(n: usize) -> String {
        format!("line {n:08} {}\n", "x".repeat(85))
    }

    #[test]
    fn a_log_is_cut_while_it_is_open_and_its_last_lines_are_kept() {
        let (_dir, store) = store();
        assert_eq!(store.cap_log().unwrap(), None, "there is none");
        let mut log = store.open_log().unwrap();
        let lines = 3 * MAX_LOG as usize / line(0).len();
        (0..lines).for_each(|n| log.write_all(line(n).as_bytes()).unwrap());
        let capped = store.cap_log().unwrap().unwrap();
        assert_eq!(capped.size, (lines * line(0).len()) as u64);
        let kept = fs::read_to_string(store.log_path().with_extension("1")).unwrap();
        assert_eq!(kept.len() as u64, capped.kept);
        assert!(capped.kept <= MAX_LOG && capped.kept > MAX_LOG - 200, "{capped:?}");
        assert!(kept.starts_with("line ") && kept.ends_with(&line(lines - 1)), "whole lines, to the last");
        assert_eq!(store.cap_log().unwrap(), None, "and only once");
        log.write_all(b"after\n").unwrap();
        assert_eq!(fs::read_to_string(store.log_path()).unwrap(), "after\n", "no hole before it");
    }

    #[test]
    fn a_line_without_end_is_cut_as_well() {
        let (_dir, store) = store();
        let mut log = store.open_log().unwrap();
        log.write_all(&vec![b'x'; 2 * MAX_LOG as usize]).unwrap();
        let capped = store.cap_log().unwrap().unwrap();
        assert_eq!((capped.size, capped.kept), (2 * MAX_LOG, MAX_LOG - (64 << 10)));
        assert_eq!(fs::metadata(store.log_path()).unwrap().len(), 0);
    }

    #[test]
    fn one_at_a_time() {
        let (_dir, store) = store();
        let mut log = store.open_log().unwrap();
        log.write_all(&vec![b'\n'; 2 * MAX_LOG as usize]).unwrap();
        flock(&log, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(store.cap_log().unwrap(), None);
        flock(&log, FlockOperation::Unlock).unwrap();
        assert!(store.cap_log().unwrap().is_some());
    }

    #[test]
    fn on_a_full_disk_the_log_is_cut_although_nothing_of_it_can_be_kept() {
        let (_dir, store) = store();
        let mut log = store.open_log().unwrap();
        log.write_all(&vec![b'\n'; 2 * MAX_LOG as usize]).unwrap();
        // A name that cannot be written, as on a disk without room for another file.
        fs::create_dir(store.log_path().with_extension("1.new")).unwrap();
        let capped = store.cap_log().unwrap().unwrap();
        assert_eq!((capped.size, capped.kept), (2 * MAX_LOG, 0));
        assert_eq!(fs::metadata(store.log_path()).unwrap().len(), 0);
    }
}
