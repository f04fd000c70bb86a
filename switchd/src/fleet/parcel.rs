//! Bundles on the workstation, ready to be sent: every file compressed once for the whole fleet.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::cache::Cache;
use super::message::Need;
use super::room::{MAX_PATCH, MIN_PATCH};
use crate::bundle::{Bundle, BundleError, Entry, Manifest, Sink, Trust};
use crate::digest::Digest;
use crate::rootfs::{Blob, Section, Spool};

/// zstd's level for files that are sent. They are compressed once and sent over slow management ports many times.
const LEVEL: i32 = 19;
/// The level for large files, whose compression would take minutes.
const LARGE_LEVEL: i32 = 12;
/// What a large file is.
const LARGE: u64 = 32 << 20;

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// The bundle.
    #[error("the bundle `{path}`: {source}")]
    Bundle {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// A temporary file.
    #[error("a temporary file in `{directory}`: {source}")]
    Temporary {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two bundles for one application and one kind of machine.
    #[error("`{first}` and `{second}` are both {app} for {platform}; give one of them")]
    Twice {
        /// The first.
        first: PathBuf,
        /// The second.
        second: PathBuf,
        /// The application.
        app: String,
        /// What for.
        platform: String,
    },
}

/// A bundle whose files have been checked and can be had one by one.
#[derive(Debug)]
pub struct Parcel {
    /// Where it was.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// Which release.
    pub release: Digest,
    /// The bundle's own size.
    pub size: u64,
    documents: [Vec<u8>; 2],
    spool: Spool,
    files: HashMap<Digest, Blob>,
}

/// Puts files aside.
struct ToSpool<'a> {
    spool: &'a mut Spool,
    files: &'a mut HashMap<Digest, Blob>,
}

impl Sink for ToSpool<'_> {
    fn entry(&mut self, entry: &Entry, mut content: &mut dyn Read) -> io::Result<()> {
        if let Entry::File { size: 1.., .. } = entry {
            let blob = self.spool.add(&mut content)?;
            self.files.insert(blob.digest, blob);
        }
        Ok(())
    }
}

impl Parcel {
    /// Reads a bundle and compares every file with its digest. Whether it is trusted is for each box to say.
    ///
    /// # Errors
    /// When it is damaged, or there is no space for its files in `temporary`.
    pub fn read(path: &Path, temporary: &Path) -> Result<Self, ParcelError> {
        let failed = |source| ParcelError::Bundle { path: path.to_owned(), source };
        let aside = |source| ParcelError::Temporary { directory: temporary.to_owned(), source };
        let size = std::fs::metadata(path).map_or(0, |m| m.len());
        let mut bundle = Bundle::open(path, &Trust::Anyone).map_err(failed)?;
        let (mut spool, mut files) = (Spool::new(temporary).map_err(aside)?, HashMap::new());
        bundle.walk(&mut ToSpool { spool: &mut spool, files: &mut files }).map_err(failed)?;
        let (manifest, signatures) = bundle.documents();
        let small = |bytes| zstd::encode_all(bytes, LEVEL).map_err(aside);
        let documents = [small(manifest)?, small(signatures)?];
        let (manifest, release) = (bundle.manifest, bundle.digest);
        Ok(Self { path: path.to_owned(), manifest, release, size, documents, spool, files })
    }

    /// The manifest and the signatures, compressed.
    pub fn documents(&self) -> &[Vec<u8>; 2] {
        &self.documents
    }

    /// The digest and size of an entry's content, when it is a file.
    pub fn file(&self, entry: u32) -> Option<(Digest, u64)> {
        match self.manifest.entries.get(entry as usize)? {
            Entry::File { digest, size, .. } => Some((*digest, *size)),
            _ => None,
        }
    }
}

/// A content as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// The file that it refers to.
    pub base: Option<Digest>,
    /// Its size as it is sent.
    pub size: u64,
    at: u64,
}

type Slot = Arc<OnceLock<Result<Encoded, Arc<io::Error>>>>;

/// All bundles of a deployment, and their files as they were compressed.
#[derive(Debug)]
pub struct Parcels {
    parcels: Vec<Parcel>,
    /// Earlier ones, which boxes may have.
    bases: Vec<Parcel>,
    cache: Option<Cache>,
    out: Mutex<(File, u64)>,
    /// The same file: reading from a place does not wait for who writes.
    file: File,
    done: Mutex<HashMap<(Digest, Option<Digest>), Slot>>,
}

impl Parcels {
    /// Reads bundles. Patches refer to files of `bases`, earlier bundles, and of `cache`.
    ///
    /// # Errors
    /// When a bundle is damaged, or two are the same thing.
    pub fn read(
        paths: &[PathBuf],
        bases: &[PathBuf],
        temporary: &Path,
        cache: Option<Cache>,
    ) -> Result<Self, ParcelError> {
        let mut parcels: Vec<Parcel> = Vec::new();
        for path in paths {
            let new = Parcel::read(path, temporary)?;
            let (app, platform) = (&new.manifest.app, &new.manifest.platform);
            let same = parcels.iter().find(|p| p.manifest.app == *app && p.manifest.platform == *platform);
            if let Some(other) = same {
                let (first, second) = (other.path.clone(), path.clone());
                let (app, platform) = (app.to_string(), platform.to_string());
                return Err(ParcelError::Twice { first, second, app, platform });
            }
            parcels.push(new);
        }
        let aside = |source| ParcelError::Temporary { directory: temporary.to_owned(), source };
        let file = tempfile::tempfile_in(temporary).map_err(aside)?;
        let out = Mutex::new((file.try_clone().map_err(aside)?, 0));
        let bases = bases.iter().map(|path| Parcel::read(path, temporary)).collect::<Result<_, _>>()?;
        Ok(Self { parcels, bases, cache, out, file, done: Mutex::default() })
    }

    /// The bundles.
    pub fn iter(&self) -> impl Iterator<Item = &Parcel> {
        self.parcels.iter()
    }

    /// Keeps the files that later patches may refer to.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn remember(&self) -> io::Result<()> {
        let Some(cache) = &self.cache else { return Ok(()) };
        for parcel in &self.parcels {
            for blob in parcel.files.values().filter(|b| (MIN_PATCH..=MAX_PATCH).contains(&b.size)) {
                cache.put(blob.digest, &mut parcel.spool.open(*blob))?;
            }
        }
        cache.prune()
    }

    /// The way to send a content that takes the fewest bytes: whole, or as a patch to a file that both sides have.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub fn encode(&self, parcel: &Parcel, digest: Digest, need: &Need) -> io::Result<Encoded> {
        let mut best = self.one(parcel, digest, None)?;
        for base in &need.bases {
            let with = self.one(parcel, digest, Some(*base))?;
            if with.size < best.size {
                best = with;
            }
        }
        Ok(best)
    }

    /// A content whole.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub fn whole(&self, parcel: &Parcel, digest: Digest) -> io::Result<Encoded> {
        self.one(parcel, digest, None)
    }

    /// What is sent.
    pub fn open(&self, encoded: Encoded) -> impl Read + use<'_> {
        Section { file: &self.file, at: encoded.at, left: encoded.size }
    }

    fn one(&self, parcel: &Parcel, digest: Digest, base: Option<Digest>) -> io::Result<Encoded> {
        let slot = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.entry((digest, base)).or_default().clone()
        };
        // Whoever comes first compresses; the others wait for it.
        let result = slot.get_or_init(|| self.compress(parcel, digest, base).map_err(Arc::new));
        result.clone().map_err(|e| io::Error::new(e.kind(), e.to_string()))
    }

    fn compress(&self, parcel: &Parcel, digest: Digest, base: Option<Digest>) -> io::Result<Encoded> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the bundle has no file {digest}"));
        let blob = parcel.files.get(&digest).ok_or_else(missing)?;
        let level = if blob.size > LARGE { LARGE_LEVEL } else { LEVEL };
        let prefix = base.map(|base| self.content(base));
        let bytes = match &prefix {
            // Something that we do not have: never the best way.
            Some(None) => return Ok(Encoded { base, size: u64::MAX, at: 0 }),
            Some(Some(prefix)) => {
                let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), level, prefix)?;
                // The window must reach back over the content to the base's beginning.
                let reach = (prefix.len() as u64 + blob.size).max(1 << 10);
                encoder.window_log(u64::BITS - (reach - 1).leading_zeros())?;
                encoder.long_distance_matching(true)?;
                encoder.set_pledged_src_size(Some(blob.size))?;
                io::copy(&mut parcel.spool.open(*blob), &mut encoder)?;
                encoder.finish()?
            }
            None => {
                let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
                encoder.set_pledged_src_size(Some(blob.size))?;
                io::copy(&mut parcel.spool.open(*blob), &mut encoder)?;
                encoder.finish()?
            }
        };
        let (file, end) = &mut *self.out.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(*end))?;
        file.write_all(&bytes)?;
        let encoded = Encoded { base, size: bytes.len() as u64, at: *end };
        *end += encoded.size;
        Ok(encoded)
    }

    /// A file that both sides may have: of another bundle that is here, or of an earlier deployment.
    fn content(&self, digest: Digest) -> Option<Vec<u8>> {
        for parcel in self.parcels.iter().chain(&self.bases) {
            if let Some(blob) = parcel.files.get(&digest) {
                return parcel.spool.read(blob, MAX_PATCH).ok()?;
            }
        }
        self.cache.as_ref()?.get(digest, MAX_PATCH)
    }
}
