//! What a release would take on a box's disk, what it shares there, and what would have to go first.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::message::{Amount, Need, Strategy};
use crate::bundle::{Entry, Key, Manifest, sound};
use crate::digest::Digest;
use crate::release::{ReleaseError, Store};

/// The smallest file that is worth a patch: below, a patch saves less than the base's name costs.
pub const MIN_PATCH: u64 = 4 << 10;
/// The largest file that is patched: the box holds its base, and a window as large as both, in memory.
pub const MAX_PATCH: u64 = 32 << 20;
/// What a file system itself needs beyond files and directories, apart from a part of those.
const SLACK: u64 = 256 << 10;

/// What a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    /// The unit in which files are stored.
    pub(super) block: u64,
    /// How many bytes are free.
    pub(super) free: u64,
    /// How many inodes are free, where a file system counts them.
    pub(super) inodes: Option<u64>,
}

impl Disk {
    /// The disk that holds `path`, or would hold it.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
        let stat = statvfs(there)?;
        let block = stat.f_frsize.max(1);
        // btrfs and others without a table of inodes say 0 of 0.
        let inodes = (stat.f_files > 0).then_some(stat.f_favail);
        Ok(Self { block, free: stat.f_bavail.saturating_mul(block), inodes })
    }

    fn blocks(&self, size: u64) -> u64 {
        size.div_ceil(self.block).saturating_mul(self.block)
    }
}

/// A release on the box.
struct Held {
    digest: Digest,
    rootfs: PathBuf,
    manifest: Manifest,
}

/// The files of an application on a box.
pub(super) struct Catalogue {
    held: Vec<Held>,
    by_key: HashMap<Key, Vec<(usize, PathBuf)>>,
    by_content: HashMap<Digest, Vec<(usize, PathBuf)>>,
    incoming: PathBuf,
    current: Option<Digest>,
    previous: Option<Digest>,
    /// Files that were read, and whether they were as they should be.
    read: RefCell<HashMap<PathBuf, bool>>,
}

/// What it would take to put a release on the disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The contents that must come.
    pub(super) need: Vec<Need>,
    /// Files that are linked or copied from other releases.
    pub(super) shared: Amount,
    /// Files that came in an earlier try.
    pub(super) arrived: Amount,
    /// Files of releases that are removed, which are to be kept.
    pub(super) rescued: Vec<(Digest, PathBuf)>,
    /// Where the files are that patches may refer to.
    pub(super) bases: HashMap<Digest, PathBuf>,
    /// Releases that are removed first.
    pub(super) removes: Vec<Digest>,
    /// Whether the current one is among them.
    pub(super) stops: bool,
    /// Bytes of disk that the release takes.
    pub(super) takes: u64,
    /// Inodes that it takes.
    pub(super) inodes: u64,
    /// Bytes that are free, with those that the removed releases leave.
    pub(super) free: u64,
    /// The same of inodes.
    pub(super) free_inodes: Option<u64>,
}

impl Room {
    fn fits(&self) -> bool {
        self.takes <= self.free && self.free_inodes.is_none_or(|free| self.inodes <= free)
    }
}

/// What there is too little of.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` has {free} {unit} free{removing} and the release needs {needed}: nothing was sent or removed. {remedy}"
)]
pub struct NoRoom {
    path: String,
    unit: &'static str,
    free: u64,
    needed: u64,
    removing: &'static str,
    remedy: &'static str,
}

impl Catalogue {
    /// Reads the manifests of the application's releases. One that is damaged has nothing to share.
    pub(super) fn read(store: &Store) -> Result<Self, ReleaseError> {
        let mut catalogue = Self {
            held: Vec::new(),
            by_key: HashMap::new(),
            by_content: HashMap::new(),
            incoming: store.incoming(),
            current: store.current()?,
            previous: store.previous()?,
            read: RefCell::default(),
        };
        for digest in store.releases()? {
            let Ok(manifest) = store.manifest(digest) else { continue };
            let (at, rootfs) = (catalogue.held.len(), store.release(digest).join("rootfs"));
            for entry in &manifest.entries {
                if let Entry::File { path, digest, size: 1.., .. } = entry {
                    let file = (at, rootfs.join(path.as_str()));
                    catalogue.by_content.entry(*digest).or_default().push(file.clone());
                    if let Some(key) = Key::of(entry, manifest.mtime) {
                        catalogue.by_key.entry(key).or_default().push(file);
                    }
                }
            }
            catalogue.held.push(Held { digest, rootfs, manifest });
        }
        Ok(catalogue)
    }

    /// Whether a file is what it should be. It is read once.
    fn sound(&self, path: &Path, digest: Digest) -> bool {
        if let Some(known) = self.read.borrow().get(path) {
            return *known;
        }
        let is = sound(path, digest);
        self.read.borrow_mut().insert(path.to_owned(), is);
        is
    }

    fn first<'a>(
        &'a self,
        files: Option<&'a Vec<(usize, PathBuf)>>,
        digest: Digest,
        allowed: impl Fn(Digest) -> bool,
    ) -> Option<&'a Path> {
        let mut files = files.into_iter().flatten().filter(|(at, _)| allowed(self.held[*at].digest));
        files.find(|(_, path)| self.sound(path, digest)).map(|(_, path)| path.as_path())
    }

    /// The way to put `to` on `disk` that removes least, if there is one.
    pub(super) fn plan(
        &self,
        to: Digest,
        manifest: &Manifest,
        disk: Disk,
        strategy: Strategy,
        path: &Path,
    ) -> Result<Room, NoRoom> {
        let unused = |d: &Digest| Some(*d) != self.current && Some(*d) != self.previous && *d != to;
        let unused: Vec<Digest> = self.held.iter().map(|h| h.digest).filter(unused).collect();
        let previous = [&unused[..], self.previous.filter(|d| *d != to).as_slice()].concat();
        let all = [&previous[..], self.current.filter(|d| *d != to).as_slice()].concat();
        let mut ways = vec![(Vec::new(), false), (unused, false)];
        if strategy == Strategy::DeleteFirst {
            ways.extend([(previous, false), (all, self.current.is_some_and(|c| c != to))]);
        }
        let mut last = Room::default();
        for (removes, stops) in ways {
            let mut room = self.evaluate(to, manifest, disk, &removes);
            (room.removes, room.stops) = (removes, stops);
            if room.fits() {
                return Ok(room);
            }
            last = room;
        }
        let (unit, free, needed) = match last.free_inodes {
            Some(inodes) if last.takes <= last.free => ("inodes", inodes, last.inodes),
            _ => ("bytes", last.free, last.takes),
        };
        let (removing, remedy) = match strategy {
            Strategy::Keep if self.current.is_none() => ("", "Make space there"),
            Strategy::Keep => (
                ", without the releases that are neither current nor previous,",
                "Make space there, or allow `--strategy delete-first`, which may stop the application first and \
                 leaves no way back",
            ),
            Strategy::DeleteFirst => (", even without every other release,", "Make space there"),
        };
        let path = path.display().to_string();
        Err(NoRoom { path, unit, free, needed, removing, remedy })
    }

    /// What it would take without the releases `removed`.
    fn evaluate(&self, to: Digest, manifest: &Manifest, disk: Disk, removed: &[Digest]) -> Room {
        let mut room = Room { free: disk.free, free_inodes: disk.inodes, ..Room::default() };
        if self.held.iter().any(|held| held.digest == to) {
            return room;
        }
        let stays = |digest| !removed.contains(&digest);
        let goes = |digest| removed.contains(&digest);
        let mut seen = HashSet::new();
        let mut rescued = HashSet::new();
        for (number, entry) in (0..).zip(&manifest.entries) {
            match entry {
                Entry::Hardlink { .. } => continue,
                Entry::Directory { .. } => room.takes += disk.block,
                // Short ones are in the inode, where there are inodes.
                Entry::Symlink { target, .. } => room.takes += disk.blocks(target.len() as u64),
                Entry::File { size, digest, .. } => {
                    let key = Key::of(entry, manifest.mtime);
                    let same = key.and_then(|key| self.by_key.get(&key));
                    if *size == 0 {
                        // It takes an inode.
                    } else if self.first(same, *digest, stays).is_some() {
                        room.shared.add(*size);
                        continue;
                    } else if self.first(self.by_content.get(digest), *digest, stays).is_some() {
                        room.shared.add(*size);
                        room.takes += disk.blocks(*size);
                    } else if !seen.insert(*digest) {
                        // A second file with what comes: another copy, unless all about it is equal.
                        room.takes += disk.blocks(*size);
                    } else if self.sound(&self.incoming.join(digest.hex()), *digest) {
                        room.arrived.add(*size);
                        continue;
                    } else if let Some(path) = self.first(self.by_content.get(digest), *digest, goes) {
                        room.shared.add(*size);
                        room.rescued.push((*digest, path.to_owned()));
                        rescued.insert(*digest);
                        continue;
                    } else {
                        room.takes += disk.blocks(*size);
                        let bases = self.bases(entry, removed, &mut room.bases);
                        room.need.push(Need { entry: number, bases });
                    }
                }
            }
            room.inodes += 1;
        }
        // The two documents and three directories.
        room.inodes += 5;
        room.takes += disk.blocks(manifest.entries.len() as u64 * 256) + 4 * disk.block;
        room.takes += room.takes / 64 + SLACK;
        let (bytes, inodes) = self.left_by(removed, &rescued);
        room.free += bytes;
        room.free_inodes = room.free_inodes.map(|free| free + inodes);
        room
    }

    /// The files with an entry's path in the releases that stay: the current one's first.
    fn bases(&self, entry: &Entry, removed: &[Digest], known: &mut HashMap<Digest, PathBuf>) -> Vec<Digest> {
        let mut bases = Vec::new();
        if !(MIN_PATCH..=MAX_PATCH).contains(&entry.size()) {
            return bases;
        }
        for release in [self.current, self.previous].into_iter().flatten() {
            let Some(held) = self.held.iter().find(|held| held.digest == release) else { continue };
            let entries = &held.manifest.entries;
            // Entries are sorted by their paths.
            let at = entries.binary_search_by(|other| other.path().cmp(entry.path()));
            if let Some(Entry::File { path, size: MIN_PATCH..=MAX_PATCH, digest, .. }) =
                at.ok().map(|at| &entries[at])
                && !removed.contains(&release)
                && !bases.contains(digest)
            {
                let path = held.rootfs.join(path.as_str());
                if self.sound(&path, *digest) {
                    known.insert(*digest, path);
                    bases.push(*digest);
                }
            }
        }
        bases
    }

    /// The bytes and inodes that are free when these releases are gone, but not the contents that are kept of them.
    /// A file that another release also has stays.
    fn left_by(&self, removed: &[Digest], rescued: &HashSet<Digest>) -> (u64, u64) {
        struct Inode {
            names: u64,
            all: u64,
            bytes: u64,
        }
        let mut inodes: BTreeMap<(u64, u64), Inode> = BTreeMap::new();
        for held in self.held.iter().filter(|held| removed.contains(&held.digest)) {
            for entry in &held.manifest.entries {
                if matches!(entry, Entry::File { digest, .. } if rescued.contains(digest)) {
                    continue;
                }
                let Ok(meta) = fs::symlink_metadata(held.rootfs.join(entry.path().as_str())) else {
                    continue;
                };
                let all = if meta.is_dir() { 1 } else { meta.nlink() };
                let new = Inode { names: 0, all, bytes: meta.blocks() * 512 };
                inodes.entry((meta.dev(), meta.ino())).or_insert(new).names += 1;
            }
        }
        let gone = inodes.values().filter(|inode| inode.names >= inode.all);
        gone.fold((0, 0), |(bytes, count), inode| (bytes + inode.bytes, count + 1))
    }
}
