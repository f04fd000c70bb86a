//! Unpacks a bundle so that a directory is there whole or not at all.
//!
//! The manifest has been checked: each entry's parent is a directory of the same manifest that came before it, so no
//! path leads through a link. Unpacking relies on the kernel for it all the same. It walks by file descriptors, one
//! component at a time and never through a link (openat(2) with `O_NOFOLLOW`, as old kernels have no openat2(2)), and
//! makes every name anew (`O_EXCL`).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode as Perm, OFlags, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown,
    fsetxattr, fsync, futimens, linkat, mkdirat, openat, statvfs, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::manifest::{Entry, Manifest, Xattrs};
use super::payload::Sink;
use super::read::{Bundle, BundleError, MANIFEST, SIGNATURES};
use crate::digest::{Digest, Hashing};
use crate::rootfs::RootPath;

/// Why a bundle cannot be unpacked, where the bundle is not to blame.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The destination exists.
    #[error("`{0}` exists already; remove it or choose another place")]
    Exists(PathBuf),
    /// The destination has no parent or name.
    #[error("`{0}` cannot be a destination; give the path of a directory to be made")]
    Destination(PathBuf),
    /// There is not enough space.
    #[error(
        "`{path}` has {free} {unit} free and the bundle needs {needed}; remove old releases \
         (`sluice-switch gc`) or make space"
    )]
    Space {
        /// The directory.
        path: PathBuf,
        /// What there is too little of.
        unit: &'static str,
        /// How much there is.
        free: u64,
        /// How much is needed.
        needed: u64,
    },
    /// The file system.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Files that are on the disk already, in other releases: equal ones are linked and take no space again.
///
/// Releases have read-only roots, so nobody writes to a file that two of them share.
#[derive(Debug, Default)]
pub struct Shared(HashMap<Key, PathBuf>);

/// Everything that two names of one file have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    digest: Digest,
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: Vec<(String, Vec<u8>)>,
    mtime: u64,
}

impl Key {
    pub(crate) fn of(entry: &Entry, mtime: u64) -> Option<Self> {
        let Entry::File { mode, uid, gid, xattrs, digest, .. } = entry else { return None };
        let xattrs = xattrs.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { digest: *digest, mode: mode.0, uid: *uid, gid: *gid, xattrs, mtime })
    }
}

impl Shared {
    /// Adds the files of an unpacked release.
    pub fn add(&mut self, manifest: &Manifest, rootfs: &Path) {
        for entry in manifest.entries.iter().filter(|entry| entry.size() > 0) {
            if let Some(key) = Key::of(entry, manifest.mtime) {
                self.0.insert(key, rootfs.join(entry.path().as_str()));
            }
        }
    }

    /// The file to link for an entry. It is on a disk that may have been written to or be failing, so it is read:
    /// one that is not what it should be is not shared.
    fn find(&self, entry: &Entry, mtime: u64) -> Option<&Path> {
        let (key, Entry::File { size, digest, .. }) = (Key::of(entry, mtime)?, entry) else { return None };
        let path = self.0.get(&key)?;
        let file = File::from(
            openat(CWD, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Perm::empty()).ok()?,
        );
        let metadata = file.metadata().ok()?;
        let owner = (metadata.uid(), metadata.gid()) == (key.uid, key.gid);
        if !metadata.is_file() || metadata.len() != *size || metadata.mode() & 0o7777 != key.mode || !owner {
            return None;
        }
        let mut content = Hashing::new(file);
        io::copy(&mut content, &mut io::sink()).ok()?;
        (content.finish().0 == *digest).then_some(path)
    }

    /// Whether an entry will probably be shared, without reading its file.
    pub(crate) fn expects(&self, entry: &Entry, mtime: u64) -> bool {
        Key::of(entry, mtime).and_then(|key| self.0.get(&key)).is_some_and(|path| path.exists())
    }
}

/// Unpacks into the new directory `destination`: `rootfs`, `manifest.json` and `signatures.json`. Everything is on
/// the disk before the directory gets its name; after a failure or a power cut there is at most a directory with
/// `.partial` after its name, which the next try removes.
///
/// # Errors
/// When the bundle is damaged, or the directory cannot be made. The bundle's owners need root.
pub fn unpack<R: Read>(
    mut bundle: Bundle<R>,
    destination: &Path,
    shared: &Shared,
) -> Result<Manifest, BundleError> {
    let shared_room = |parent: &Path, manifest: &Manifest| room(manifest, parent, shared);
    whole(&mut bundle, destination, shared_room, |bundle, partial| {
        fill(bundle, partial, shared, None, |bundle, tree| bundle.walk(tree))
    })?;
    Ok(bundle.manifest)
}

/// Makes a directory by `fill` under another name, and gives it its own when everything in it is on the disk.
pub(super) fn whole<R>(
    bundle: &mut Bundle<R>,
    destination: &Path,
    room: impl FnOnce(&Path, &Manifest) -> Result<(), UnpackError>,
    fill: impl FnOnce(&mut Bundle<R>, &Path) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    let io = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Io { what, path, source }
    };
    let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
        return Err(UnpackError::Destination(destination.to_owned()).into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    if destination.symlink_metadata().is_ok() {
        return Err(UnpackError::Exists(destination.to_owned()).into());
    }
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = parent.join(partial);
    remove(&partial).map_err(io("removing what an earlier try left at", &partial))?;
    room(parent, &bundle.manifest)?;
    fs::create_dir(&partial).map_err(io("making the directory", &partial))?;
    let made = fill(bundle, &partial);
    if made.is_err() {
        // The first failure is the one to tell; what is left is removed by the next try.
        let _ = remove(&partial);
    }
    made?;
    fs::rename(&partial, destination).map_err(io("giving its name to", destination))?;
    sync_directory(parent).map_err(io("writing to the disk", parent))?;
    Ok(())
}

/// Fills a release's directory: `walk` gives the entries to the tree that it is called with.
pub(super) fn fill<R>(
    bundle: &mut Bundle<R>,
    partial: &Path,
    shared: &Shared,
    incoming: Option<&Path>,
    walk: impl FnOnce(&mut Bundle<R>, &mut Extract<'_>) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    let io = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Io { what, path, source }
    };
    let rootfs = partial.join("rootfs");
    fs::create_dir(&rootfs).map_err(io("making the directory", &rootfs))?;
    let root = File::open(&rootfs).map_err(io("opening the directory", &rootfs))?;
    fchmod(&root, Perm::from_raw_mode(0o755)).map_err(|e| io("setting the mode of", &rootfs)(e.into()))?;
    let mtime = bundle.manifest.mtime;
    let adopted = HashMap::new();
    let mut tree = Extract { root: root.into(), above: Vec::new(), mtime, shared, incoming, adopted };
    walk(bundle, &mut tree)?;
    tree.finish().map_err(io("finishing the directories of", &rootfs))?;
    for (name, bytes) in [(MANIFEST, &bundle.manifest_bytes), (SIGNATURES, &bundle.signatures_bytes)] {
        let path = partial.join(name);
        let file = File::create_new(&path).map_err(io("making the file", &path))?;
        io::Write::write_all(&mut &file, bytes).map_err(io("writing the file", &path))?;
        file.sync_all().map_err(io("writing to the disk", &path))?;
    }
    sync_directory(partial).map_err(io("writing to the disk", partial))?;
    Ok(())
}

/// Writes a directory's names to the disk.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a tree that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Refuses what cannot fit before anything is written.
fn room(manifest: &Manifest, path: &Path, shared: &Shared) -> Result<(), UnpackError> {
    let stat = statvfs(path).map_err(|e| UnpackError::Io {
        what: "asking for the space of",
        path: path.into(),
        source: e.into(),
    })?;
    let block = stat.f_frsize.max(1);
    let blocks = |entry: &Entry| match entry {
        Entry::Hardlink { .. } => 0,
        entry if shared.expects(entry, manifest.mtime) => 0,
        entry => entry.size().div_ceil(block).max(1) * block,
    };
    let needed = manifest.entries.iter().map(blocks).fold(0, u64::saturating_add);
    let free = stat.f_bavail.saturating_mul(block);
    if needed > free {
        return Err(UnpackError::Space { path: path.to_owned(), unit: "bytes", free, needed });
    }
    // btrfs and others without a table of inodes say 0 of 0.
    let inodes = manifest.entries.len() as u64 + 4;
    if stat.f_files > 0 && inodes > stat.f_favail {
        return Err(UnpackError::Space {
            path: path.to_owned(),
            unit: "inodes",
            free: stat.f_favail,
            needed: inodes,
        });
    }
    Ok(())
}

/// A directory whose entries are still coming.
struct Open {
    path: RootPath,
    fd: OwnedFd,
    entry: Entry,
}

pub(super) struct Extract<'a> {
    root: OwnedFd,
    /// The directories that lead to the last entry, from the root down.
    above: Vec<Open>,
    mtime: u64,
    shared: &'a Shared,
    /// Where files are that arrived one by one, each under its digest.
    incoming: Option<&'a Path>,
    /// What became of those.
    adopted: HashMap<Digest, Key>,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Extract<'_> {
    /// Leaves the directories that do not hold `parent`, and gives the one that is it.
    fn enter(&mut self, parent: Option<&RootPath>) -> io::Result<()> {
        while let Some(last) = self.above.last()
            && Some(&last.path) != parent
        {
            self.leave()?;
        }
        Ok(())
    }

    fn here(&self) -> &OwnedFd {
        self.above.last().map_or(&self.root, |open| &open.fd)
    }

    /// A directory's attributes are set when nothing more is made in it, as its mode may forbid that.
    fn leave(&mut self) -> io::Result<()> {
        if let Some(open) = self.above.pop()
            && let Entry::Directory { mode, uid, gid, xattrs, .. } = &open.entry
        {
            self.attributes(open.fd.as_fd(), mode.0, *uid, *gid, xattrs)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.enter(None)?;
        futimens(&self.root, &self.times())?;
        Ok(fsync(&self.root)?)
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime as i64, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }

    /// In this order: a change of owner clears setuid bits and file capabilities.
    fn attributes(
        &self,
        fd: rustix::fd::BorrowedFd<'_>,
        mode: u32,
        uid: u32,
        gid: u32,
        xattrs: &Xattrs,
    ) -> io::Result<()> {
        fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|e| owner(e, uid, gid))?;
        fchmod(fd, Perm::from_raw_mode(mode))?;
        for (name, value) in &xattrs.0 {
            fsetxattr(fd, name.as_str(), value, XattrFlags::empty())?;
        }
        futimens(fd, &self.times())?;
        Ok(fsync(fd)?)
    }

    /// Makes a file that has arrived a file of this tree, without another copy: it gets the entry's attributes and a
    /// further name. Not so when it has other names already, as those would change with it.
    fn adopt(&mut self, entry: &Entry, name: &str) -> io::Result<bool> {
        let (Some(incoming), Some(key)) = (self.incoming, Key::of(entry, self.mtime)) else {
            return Ok(false);
        };
        let Entry::File { mode, uid, gid, xattrs, size, digest, .. } = entry else { return Ok(false) };
        let path = incoming.join(digest.hex());
        match self.adopted.get(digest) {
            Some(other) if *other != key => return Ok(false),
            Some(_) => {}
            None => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = match openat(CWD, &path, flags, Perm::empty()) {
                    Ok(fd) => File::from(fd),
                    Err(Errno::NOENT) => return Ok(false),
                    Err(error) => return Err(error.into()),
                };
                let metadata = file.metadata()?;
                if !metadata.is_file() || metadata.nlink() != 1 || metadata.len() != *size {
                    return Ok(false);
                }
                let mut content = Hashing::new(&file);
                io::copy(&mut content, &mut io::sink())?;
                if content.finish().0 != *digest {
                    return Ok(false);
                }
                self.attributes(file.as_fd(), mode.0, *uid, *gid, xattrs)?;
                self.adopted.insert(*digest, key);
            }
        }
        linkat(CWD, &path, self.here(), name, AtFlags::empty())?;
        Ok(true)
    }

    /// The directory of a path that came before, by one component after the other.
    fn walk(&self, path: &RootPath) -> io::Result<Option<OwnedFd>> {
        let mut fd: Option<OwnedFd> = None;
        let Some(parent) = path.parent() else { return Ok(None) };
        for component in parent.components() {
            let at = fd.as_ref().unwrap_or(&self.root);
            fd = Some(openat(at, component, DIRECTORY, Perm::empty())?);
        }
        Ok(fd)
    }
}

fn owner(error: Errno, uid: u32, gid: u32) -> io::Error {
    if error == Errno::PERM {
        let message =
            format!("giving it to user {uid} and group {gid} needs root; run sluice-switch as root");
        return io::Error::new(io::ErrorKind::PermissionDenied, message);
    }
    error.into()
}

impl Sink for Extract<'_> {
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let path = entry.path();
        let parent = path.parent();
        self.enter(parent.as_ref())?;
        let name = path.name();
        match entry {
            Entry::Directory { .. } => {
                mkdirat(self.here(), name, Perm::RWXU)?;
                let fd = openat(self.here(), name, DIRECTORY, Perm::empty())?;
                self.above.push(Open { path: path.clone(), fd, entry: entry.clone() });
            }
            Entry::File { mode, uid, gid, xattrs, .. } => {
                if let Some(other) = self.shared.find(entry, self.mtime) {
                    match linkat(CWD, other, self.here(), name, AtFlags::empty()) {
                        Ok(()) => return Ok(()),
                        // Too many names already, or another file system: then it is written.
                        Err(Errno::MLINK | Errno::XDEV) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                if self.adopt(entry, name)? {
                    return Ok(());
                }
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(self.here(), name, flags, Perm::RUSR | Perm::WUSR)?);
                io::copy(content, &mut file)?;
                self.attributes(file.as_fd(), mode.0, *uid, *gid, xattrs)?;
            }
            Entry::Hardlink { target, .. } => {
                let from = self.walk(target)?;
                let from = from.as_ref().unwrap_or(&self.root);
                linkat(from, target.name(), self.here(), name, AtFlags::empty())?;
            }
            Entry::Symlink { uid, gid, target, .. } => {
                symlinkat(target.as_str(), self.here(), name)?;
                let (user, group) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                rustix::fs::chownat(self.here(), name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| owner(e, *uid, *gid))?;
                utimensat(self.here(), name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }
}
