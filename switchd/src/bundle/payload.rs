//! The archive of a bundle's files: written from a tree, and read by comparing with what the manifest determines.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};

use super::manifest::{Entry, Manifest};
use crate::digest::{Digest, Hashing};
use crate::rootfs::RootPath;
use crate::tar;

/// zstd's level. It is the highest whose window, which a reader must hold, stays at 8 MiB; a bundle is packed once
/// and sent over slow management ports many times.
const LEVEL: i32 = 19;

/// Why a payload is not what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Reading or decompressing.
    #[error("reading the bundle's files at `{path}`: {source}")]
    Read {
        /// The entry that was next.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An entry's header is not the one that the manifest determines.
    #[error("the bundle's files do not fit its manifest: the header of `{0}` differs")]
    Header(RootPath),
    /// A file's content is not what its digest says.
    #[error(
        "the content of `{path}` has the digest {is}, and the manifest says {wanted}: the bundle is damaged"
    )]
    Content {
        /// The file.
        path: RootPath,
        /// By the manifest.
        wanted: Digest,
        /// Of what is there.
        is: Digest,
    },
    /// The archive does not end where it must.
    #[error("the bundle's files do not end where the manifest says")]
    End,
    /// The compressed archive is another.
    #[error("the bundle's files have the digest {is}, and the manifest says {wanted}: the bundle is damaged")]
    Digest {
        /// By the manifest.
        wanted: Digest,
        /// Of what is there.
        is: Digest,
    },
    /// What the reader did with an entry failed.
    #[error("{path}: {source}")]
    Sink {
        /// The entry.
        path: RootPath,
        /// Why.
        source: io::Error,
    },
}

/// Takes entries as they are read.
pub(crate) trait Sink {
    /// One entry; `content` is empty unless it is a file, and is checked after this returns.
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()>;
}

/// Checks only.
pub(super) struct CheckOnly;

impl Sink for CheckOnly {
    fn entry(&mut self, _: &Entry, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the archive again as an image's layer, uncompressed, but for its end.
///
/// It differs in one thing. Docker gives a file the attributes of each further name that it unpacks, and a bundle's
/// further names have none of their own, so here they have the file's.
pub(super) struct Copy<W> {
    out: W,
    mtime: u64,
    files: HashMap<RootPath, Entry>,
}

impl<W: Write> Copy<W> {
    pub(super) fn new(out: W, manifest: &Manifest) -> Self {
        let targets: HashSet<&RootPath> = manifest
            .entries
            .iter()
            .filter_map(|entry| if let Entry::Hardlink { target, .. } = entry { Some(target) } else { None })
            .collect();
        let files = manifest.entries.iter().filter(|entry| targets.contains(entry.path()));
        let files = files.map(|entry| (entry.path().clone(), entry.clone())).collect();
        Self { out, mtime: manifest.mtime, files }
    }

    fn header(&self, entry: &Entry) -> Vec<u8> {
        if let Entry::Hardlink { path, target } = entry
            && let Some(Entry::File { mode, uid, gid, xattrs, .. }) = self.files.get(target)
        {
            let (kind, link, xattrs) = (tar::Kind::Hardlink, target.as_str(), &xattrs.0);
            let (mode, uid, gid, mtime) = (mode.0, *uid, *gid, self.mtime);
            let attributes = tar::Attributes { kind, mode, uid, gid, size: 0, mtime, link, xattrs };
            return tar::member(path.as_str(), &attributes);
        }
        entry.header(self.mtime)
    }
}

impl<W: Write> Sink for Copy<W> {
    fn entry(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        self.out.write_all(&self.header(entry))?;
        io::copy(content, &mut self.out)?;
        self.out.write_all(&[0; tar::BLOCK][..tar::padding(entry.size())])
    }
}

/// Writes the archive of `entries`, whose contents `open` gives, compressed.
pub(super) fn write<'a>(
    entries: &[Entry],
    mtime: u64,
    out: impl Write,
    open: impl Fn(usize) -> Option<Box<dyn Read + 'a>>,
) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    for (i, entry) in entries.iter().enumerate() {
        encoder.write_all(&entry.header(mtime))?;
        if let Some(mut content) = open(i) {
            io::copy(&mut content, &mut encoder)?;
            encoder.write_all(&[0; tar::BLOCK][..tar::padding(entry.size())])?;
        }
    }
    encoder.write_all(&tar::TRAILER)?;
    encoder.finish()?.flush()
}

/// Reads the archive of a checked manifest from exactly its compressed bytes and gives every entry to `sink`.
///
/// A digest is known to be wrong only after the bytes have passed, so what `sink` made is to be believed only when
/// this returns `Ok`.
pub(super) fn read(manifest: &Manifest, source: impl Read, sink: &mut impl Sink) -> Result<(), PayloadError> {
    let mut source = Hashing::new(source);
    let end = |source| PayloadError::Read { path: "the end".to_owned(), source };
    {
        let mut plain = zstd::Decoder::new(&mut source).map_err(end)?;
        for entry in &manifest.entries {
            let path = entry.path();
            let failed = |source| PayloadError::Read { path: path.to_string(), source };
            expect(&mut plain, &entry.header(manifest.mtime))
                .map_err(failed)?
                .then_some(())
                .ok_or_else(|| PayloadError::Header(path.clone()))?;
            let size = entry.size();
            let mut content = Hashing::new(Read::by_ref(&mut plain).take(size));
            sink.entry(entry, &mut content)
                .map_err(|source| PayloadError::Sink { path: path.clone(), source })?;
            io::copy(&mut content, &mut io::sink()).map_err(failed)?;
            let (is, count, _) = content.finish();
            if count != size {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Entry::File { digest, .. } = entry
                && *digest != is
            {
                return Err(PayloadError::Content { path: path.clone(), wanted: *digest, is });
            }
            if !expect(&mut plain, &[0; tar::BLOCK][..tar::padding(size)]).map_err(failed)? {
                return Err(PayloadError::Header(path.clone()));
            }
        }
        let ends = expect(&mut plain, &tar::TRAILER).map_err(end)?;
        if !ends || plain.read(&mut [0]).map_err(end)? != 0 {
            return Err(PayloadError::End);
        }
    }
    io::copy(&mut source, &mut io::sink()).map_err(end)?;
    let (is, ..) = source.finish();
    let wanted = manifest.payload.digest;
    if is == wanted { Ok(()) } else { Err(PayloadError::Digest { wanted, is }) }
}

/// Whether the next bytes are these.
pub(super) fn expect(source: &mut impl Read, wanted: &[u8]) -> io::Result<bool> {
    let mut bytes = vec![0; wanted.len()];
    source.read_exact(&mut bytes)?;
    Ok(bytes == wanted)
}
