//! Bundles: one file that holds an application for a switch, signed.
//!
//! A bundle is a plain tar archive of three members in this order, so that it can be read from a pipe:
//!
//! | member | content |
//! |---|---|
//! | `manifest.json` | a [`Manifest`] in [canonical JSON](crate::canonical): the process, what it may do, and every file with its digest |
//! | `signatures.json` | ed25519 signatures of the bytes of `manifest.json`, in canonical JSON |
//! | `rootfs.tar.zst` | the files' contents: the tar archive that the manifest determines, compressed |
//!
//! The manifest says everything, so it is what is signed, and the rest is checked against it. The inner archive's
//! headers are a function of the manifest ([`crate::tar::member`]); a reader computes the bytes that must come and
//! compares. Nothing that was not signed is ever parsed or believed, and there is no second reading of an archive
//! that could differ from the first.
//!
//! `openssl pkeyutl -verify -rawin -pubin -inkey KEY.pub -sigfile SIG -in manifest.json` checks a signature without
//! us.

mod assemble;
mod keys;
mod manifest;
mod pack;
mod payload;
mod read;
mod spec;
mod unpack;

pub(crate) use assemble::{Stock, sound};
pub use keys::{KeyError, KeyId, PublicKey, SecretKey, Signatures, Trust};
pub use manifest::{
    AppName, Capability, Entry, FORMAT, Health, Limits, Manifest, ManifestError, Mode, Mount, Network,
    Payload, PortName, Probe, Process, Run, Source, Version, Xattrs,
};
pub use pack::{Input, PackError, Packed, pack};
pub(crate) use payload::Sink;
pub(crate) use read::MAX_SIGNATURES;
pub use read::{Bundle, BundleError, MAX_MANIFEST};
pub use spec::{Spec, SpecError};
pub(crate) use unpack::{Key, sync_directory};
pub use unpack::{Shared, UnpackError, unpack};
