//! Reads a bundle front to back.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::keys::{KeyError, KeyId, Signatures, Trust};
use super::manifest::{Manifest, ManifestError};
use super::payload::{self, CheckOnly, Copy, PayloadError, Sink, expect};
use super::unpack::UnpackError;
use crate::canonical::{self, CanonicalError};
use crate::digest::Digest;
use crate::tar;

/// The largest manifest, which is held in memory: some 250,000 files.
pub const MAX_MANIFEST: u64 = 64 << 20;
pub(crate) const MAX_SIGNATURES: u64 = 64 << 10;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SIGNATURES: &str = "signatures.json";
pub(super) const PAYLOAD: &str = "rootfs.tar.zst";

/// A bundle whose manifest is read, believed and checked, and whose files come next.
pub struct Bundle<R> {
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The manifest's digest, which names the release.
    pub digest: Digest,
    /// Whose signature it was believed for; `None` when anyone's is.
    pub signed_by: Option<KeyId>,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) signatures_bytes: Vec<u8>,
    pub(super) source: R,
}

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file.
    #[error("the bundle `{path}`: {source}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bytes end early or cannot be read.
    #[error("reading the bundle's {member}: {source}; was it transferred whole?")]
    Read {
        /// Which part.
        member: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Not a bundle.
    #[error("this is no bundle: the header of its {0} is not the one that bundles have")]
    NoBundle(&'static str),
    /// A document larger than any.
    #[error("the bundle's {member} has {size} bytes, more than {limit}")]
    Large {
        /// Which part.
        member: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A document that is not canonical, or not what it should be.
    #[error("the bundle's {member}: {source}")]
    Document {
        /// Which part.
        member: &'static str,
        /// Why.
        source: CanonicalError,
    },
    /// Not signed, or not by one whom we trust.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A manifest that contradicts itself.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Files that are not the manifest's.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Something follows the end.
    #[error("the bundle goes on after its end")]
    Trailing,
    /// Unpacking.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

impl Bundle<BufReader<File>> {
    /// Opens a file. See [`Bundle::read`].
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, BundleError> {
        let file = File::open(path).map_err(|source| BundleError::Open { path: path.to_owned(), source })?;
        Self::read(BufReader::with_capacity(1 << 16, file), trust)
    }
}

impl<R> Bundle<R> {
    /// The bytes of the manifest and of its signatures.
    pub fn documents(&self) -> (&[u8], &[u8]) {
        (&self.manifest_bytes, &self.signatures_bytes)
    }
}

impl<R: Read> Bundle<R> {
    /// Reads the manifest. The signature is checked before a byte of it is parsed.
    ///
    /// # Errors
    /// When this is no bundle, is not signed by one whom we trust, or contradicts itself.
    pub fn read(mut source: R, trust: &Trust) -> Result<Self, BundleError> {
        let manifest_bytes = document(&mut source, MANIFEST, MAX_MANIFEST)?;
        let signatures_bytes = document(&mut source, SIGNATURES, MAX_SIGNATURES)?;
        Self::checked(manifest_bytes, signatures_bytes, source, trust)
    }

    /// The documents of a bundle, whose files come from `source` or, one by one, from elsewhere.
    pub(super) fn checked(
        manifest_bytes: Vec<u8>,
        signatures_bytes: Vec<u8>,
        source: R,
        trust: &Trust,
    ) -> Result<Self, BundleError> {
        let signatures: Signatures = canonical::from_slice(&signatures_bytes)
            .map_err(|source| BundleError::Document { member: SIGNATURES, source })?;
        let signed_by = signatures.check(&manifest_bytes, trust)?;
        let manifest: Manifest = canonical::from_slice(&manifest_bytes)
            .map_err(|source| BundleError::Document { member: MANIFEST, source })?;
        manifest.check()?;
        let digest = Digest::of(&manifest_bytes);
        Ok(Self { manifest, digest, signed_by, manifest_bytes, signatures_bytes, source })
    }

    /// Reads the files and checks every one of them, and that nothing follows.
    ///
    /// # Errors
    /// When the files are not those of the manifest.
    pub fn verify(mut self) -> Result<Manifest, BundleError> {
        self.walk(&mut CheckOnly)?;
        Ok(self.manifest)
    }

    /// Writes the files to `out` as an image's layer, uncompressed, and checks all as [`verify`](Self::verify) does:
    /// what was written is to be believed only when this returns `Ok`.
    pub(crate) fn write_layer(mut self, out: &mut impl Write) -> Result<Manifest, BundleError> {
        let mut copy = Copy::new(&mut *out, &self.manifest);
        self.walk(&mut copy)?;
        let failed = |source| BundleError::Read { member: PAYLOAD, source };
        out.write_all(&tar::TRAILER).map_err(failed)?;
        Ok(self.manifest)
    }

    pub(crate) fn walk(&mut self, sink: &mut impl Sink) -> Result<(), BundleError> {
        let failed = |source| BundleError::Read { member: PAYLOAD, source };
        let size = self.manifest.payload.size;
        if !expect(&mut self.source, &tar::plain_member(PAYLOAD, size)).map_err(failed)? {
            return Err(BundleError::NoBundle(PAYLOAD));
        }
        payload::read(&self.manifest, Read::by_ref(&mut self.source).take(size), sink)?;
        let end = [&[0; tar::BLOCK][..tar::padding(size)], &tar::TRAILER].concat();
        let ends = expect(&mut self.source, &end).map_err(failed)?;
        if !ends || self.source.read(&mut [0]).map_err(failed)? != 0 {
            return Err(BundleError::Trailing);
        }
        Ok(())
    }
}

/// Reads a member whose size only its header tells; all else in the header is known.
fn document(source: &mut impl Read, member: &'static str, limit: u64) -> Result<Vec<u8>, BundleError> {
    let failed = |source| BundleError::Read { member, source };
    let mut header = [0; tar::BLOCK];
    source.read_exact(&mut header).map_err(failed)?;
    let digits = str::from_utf8(&header[124..135]).ok();
    let size = digits.and_then(|d| u64::from_str_radix(d, 8).ok()).ok_or(BundleError::NoBundle(member))?;
    if tar::plain_member(member, size) != header {
        return Err(BundleError::NoBundle(member));
    }
    if size > limit {
        return Err(BundleError::Large { member, size, limit });
    }
    let mut bytes = vec![0; size as usize];
    source.read_exact(&mut bytes).map_err(failed)?;
    if !expect(source, &[0; tar::BLOCK][..tar::padding(size)]).map_err(failed)? {
        return Err(BundleError::NoBundle(member));
    }
    Ok(bytes)
}
