//! Puts a release together from files that are on the disk already, in other releases or as they arrived.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode as Perm, OFlags, openat};

use super::keys::Trust;
use super::manifest::{Entry, Manifest};
use super::payload::{PayloadError, Sink as _};
use super::read::{Bundle, BundleError};
use super::unpack::{Shared, fill, whole};
use crate::digest::{Digest, Hashing};

/// The files that a release can be put together from.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// Those that are linked, as all about them is equal.
    shared: Shared,
    /// Those whose content is copied, as their permissions or owners differ.
    contents: HashMap<Digest, Vec<PathBuf>>,
    /// Where files are that arrived one by one, each under its digest.
    incoming: PathBuf,
}

impl Stock {
    /// Files that arrived are in `incoming`, which need not exist.
    pub(crate) fn new(incoming: PathBuf) -> Self {
        Self { incoming, ..Self::default() }
    }

    /// Adds the files of an unpacked release.
    pub(crate) fn add(&mut self, manifest: &Manifest, rootfs: &Path) {
        self.shared.add(manifest, rootfs);
        for entry in &manifest.entries {
            if let Entry::File { path, digest, size: 1.., .. } = entry {
                self.contents.entry(*digest).or_default().push(rootfs.join(path.as_str()));
            }
        }
    }

    /// A file of a release with this content.
    fn content(&self, digest: Digest) -> Option<&Path> {
        let paths = self.contents.get(&digest)?;
        paths.iter().find(|path| sound(path, digest)).map(PathBuf::as_path)
    }
}

/// Whether a file is there and has this content.
pub(crate) fn sound(path: &Path, digest: Digest) -> bool {
    let Ok(file) = open(path) else { return false };
    let mut content = Hashing::new(file);
    io::copy(&mut content, &mut io::sink()).is_ok() && content.finish().0 == digest
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(CWD, path, flags, Perm::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    Ok(file)
}

/// Opens a file when it is first read, as most are linked and never read.
struct Lazy<'a> {
    stock: &'a Stock,
    digest: Digest,
    file: Option<File>,
}

impl Read for Lazy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let arrived = self.stock.incoming.join(self.digest.hex());
                let path = self.stock.content(self.digest).unwrap_or(&arrived);
                let missing = |e| io::Error::new(io::ErrorKind::NotFound, format!("its content: {e}"));
                none.insert(open(path).map_err(missing)?)
            }
        };
        file.read(buffer)
    }
}

impl Bundle<io::Empty> {
    /// The manifest of a bundle whose files come one by one. The signature is checked before a byte is parsed.
    ///
    /// # Errors
    /// When it is not signed by one whom we trust, or contradicts itself.
    pub fn of_documents(manifest: Vec<u8>, signatures: Vec<u8>, trust: &Trust) -> Result<Self, BundleError> {
        Self::checked(manifest, signatures, io::empty(), trust)
    }

    /// Makes the directory `destination`, as [`unpack`](super::unpack()) does, from files of `stock`. Every one of
    /// them is compared with its digest. What arrived is taken over and not copied.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the directory cannot be made.
    pub(crate) fn assemble(mut self, destination: &Path, stock: &Stock) -> Result<Manifest, BundleError> {
        whole(
            &mut self,
            destination,
            |_, _| Ok(()),
            |bundle, partial| {
                fill(bundle, partial, &stock.shared, Some(&stock.incoming), |bundle, tree| {
                    entries(&bundle.manifest, stock, tree)
                })
            },
        )?;
        Ok(self.manifest)
    }
}

fn entries(
    manifest: &Manifest,
    stock: &Stock,
    tree: &mut super::unpack::Extract<'_>,
) -> Result<(), BundleError> {
    for entry in &manifest.entries {
        let path = entry.path();
        let sink = |source| PayloadError::Sink { path: path.clone(), source };
        let Entry::File { digest, size: 1.., .. } = entry else {
            tree.entry(entry, &mut io::empty()).map_err(sink)?;
            continue;
        };
        let mut content = Hashing::new(Lazy { stock, digest: *digest, file: None });
        tree.entry(entry, &mut content).map_err(sink)?;
        let (is, _, lazy) = content.finish();
        // One that was linked was not opened here; its digest was compared then.
        if lazy.file.is_some() && is != *digest {
            return Err(PayloadError::Content { path: path.clone(), wanted: *digest, is }.into());
        }
    }
    Ok(())
}
