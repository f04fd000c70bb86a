//! Files that were deployed, on the workstation: what a patch refers to must be on both sides.
//!
//! The cache can be removed at any time; files are then sent whole once more.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::digest::{Digest, Hashing};

/// A directory of files, each under its digest.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    limit: u64,
}

impl Cache {
    /// Which may hold `limit` bytes.
    pub fn new(directory: &Path, limit: u64) -> Self {
        Self { directory: directory.to_owned(), limit }
    }

    /// Where an operator's cache is by the XDG base directory specification, if he has a home.
    pub fn default_directory() -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        base.map(|base| base.join("sluice-switch"))
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    /// A file, if it is there and sound. One that is not is removed.
    pub fn get(&self, digest: Digest, max: u64) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let file = File::open(&path).ok()?;
        if file.metadata().ok()?.len() > max {
            return None;
        }
        let mut content = Hashing::new(file.take(max));
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).ok()?;
        if content.finish().0 != digest {
            let _ = fs::remove_file(&path);
            return None;
        }
        // The oldest go first; this one is wanted.
        let _ = File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Puts a file there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, digest: Digest, content: &mut impl Read) -> io::Result<()> {
        let path = self.path(digest);
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
        io::copy(content, &mut file)?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes the files that were not used for longest, until the rest is within the limit.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((used, metadata.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.limit {
                break;
            }
            fs::remove_file(path)?;
            total -= size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_given_and_the_oldest_go_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path(), 25);
        let contents: Vec<Vec<u8>> = (0..4).map(|i| vec![b'0' + i; 10]).collect();
        let digests: Vec<Digest> = contents.iter().map(|c| Digest::of(c)).collect();
        for (i, content) in contents.iter().enumerate() {
            cache.put(digests[i], &mut &content[..]).unwrap();
            let file = File::options().append(true).open(cache.path(digests[i])).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(i as u64);
            file.set_modified(time).unwrap();
        }
        assert_eq!(cache.get(digests[0], 10).unwrap(), contents[0]);
        assert_eq!(cache.get(digests[1], 9), None, "it is longer than it may be");
        fs::write(cache.path(digests[3]), b"0123456789").unwrap();
        assert_eq!(cache.get(digests[3], 10), None);
        assert!(!cache.path(digests[3]).exists());
        cache.prune().unwrap();
        let left: Vec<bool> = digests.iter().map(|d| cache.path(*d).exists()).collect();
        assert_eq!(left, [true, false, true, false], "the second was not used, and 30 bytes are too many");
    }
}
