//! Keys and signatures (RFC 8032), in the files that openssl(1) reads and writes.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, hex, unhex};

/// A public key's name: the SHA-256 digest of its 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Signs bundles.
pub struct SecretKey(SigningKey);

/// Checks signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why a key or a signature is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("the key file `{path}`: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds no such key.
    #[error("`{path}` holds no {kind} ed25519 key in PEM form; `sluice-switch keygen` makes one")]
    Pem {
        /// Which.
        path: PathBuf,
        /// `public` or `secret`.
        kind: &'static str,
    },
    /// Others could read the secret.
    #[error("the secret key `{path}` can be read by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no randomness to make a key of.
    #[error("reading /dev/urandom: {0}")]
    Random(io::Error),
    /// A directory of trusted keys without any.
    #[error(
        "there is no `*.pub` file in `{0}`; copy the public key of those whose bundles are to be installed there"
    )]
    NoTrust(PathBuf),
    /// None of the signatures is by a trusted key.
    #[error("no signature is by a trusted key: {signed_by}; trusted: {trusted}")]
    Untrusted {
        /// By whom it is signed.
        signed_by: String,
        /// Who is trusted.
        trusted: String,
    },
    /// A trusted key's signature is wrong.
    #[error("the signature by key {0} does not fit the manifest: the bundle is damaged or was tampered with")]
    Wrong(KeyId),
}

impl SecretKey {
    /// A new key, from the kernel's randomness.
    ///
    /// # Errors
    /// When /dev/urandom cannot be read.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        let read = fs::File::open("/dev/urandom").and_then(|mut f| io::Read::read_exact(&mut f, &mut seed));
        read.map_err(KeyError::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a PKCS #8 PEM file, which only its owner may read.
    ///
    /// # Errors
    /// When the file cannot be read, may be read by others, or holds no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let key = SigningKey::from_pkcs8_pem(&text);
        key.map(Self).map_err(|_| KeyError::Pem { path: path.to_owned(), kind: "secret" })
    }

    /// Writes the key to `path`, for its owner alone, and the public key to `path` with `.pub` after it. A file that
    /// exists is never overwritten.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn write(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let secret = self.0.to_pkcs8_pem(LineEnding::LF).expect("an ed25519 key has a PKCS #8 form");
        let public = self.0.verifying_key().to_public_key_pem(LineEnding::LF).expect("and an SPKI form");
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        for (path, text, mode) in [(path, secret.as_str(), 0o600), (&public_path, public.as_str(), 0o644)] {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            let written = file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()));
            written.map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        }
        Ok(public_path)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl PublicKey {
    /// Reads a PEM file (RFC 5280's SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// When the file cannot be read or holds no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text =
            fs::read_to_string(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        let key = VerifyingKey::from_public_key_pem(&text);
        key.map(Self).map_err(|_| KeyError::Pem { path: path.to_owned(), kind: "public" })
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(self.0.as_bytes()))
    }
}

/// Whose bundles are believed.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that one of these keys signed.
    Keys(Vec<PublicKey>),
    /// Anyone's: what the operator must ask for by name.
    Anyone,
}

impl Trust {
    /// The keys of a directory's `*.pub` files.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn directory(path: &Path) -> Result<Self, KeyError> {
        let mut files = Vec::new();
        match fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
                    files.push(entry.path());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(KeyError::Io { path: path.to_owned(), source }),
        }
        files.retain(|f| f.extension().is_some_and(|e| e == "pub"));
        files.sort();
        if files.is_empty() {
            return Err(KeyError::NoTrust(path.to_owned()));
        }
        files.iter().map(|f| PublicKey::read(f)).collect::<Result<_, _>>().map(Self::Keys)
    }
}

/// `signatures.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatures {
    /// Each by another key.
    pub signatures: Vec<Signature>,
}

/// One signature of the manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Whose.
    pub key: KeyId,
    /// The 64 bytes in hexadecimal.
    pub signature: String,
}

impl Signatures {
    /// Signs with each key. Ed25519 takes no randomness: the same key and bytes give the same signature.
    pub fn sign(manifest: &[u8], keys: &[SecretKey]) -> Self {
        let sign = |key: &SecretKey| Signature {
            key: key.public().id(),
            signature: hex(&key.0.sign(manifest).to_bytes()),
        };
        let mut signatures: Vec<_> = keys.iter().map(sign).collect();
        signatures.sort_by_key(|s| s.key);
        signatures.dedup();
        Self { signatures }
    }

    /// Checks that one whom we trust signed these bytes, and tells who.
    ///
    /// # Errors
    /// When nobody trusted did, or a trusted key's signature is wrong.
    pub fn check(&self, manifest: &[u8], trust: &Trust) -> Result<Option<KeyId>, KeyError> {
        let Trust::Keys(keys) = trust else { return Ok(None) };
        for signature in &self.signatures {
            let Some(key) = keys.iter().find(|key| key.id() == signature.key) else { continue };
            let bytes = unhex(&signature.signature).and_then(|b| <[u8; 64]>::try_from(b).ok());
            // `verify_strict` also refuses the weak keys for which one signature fits several messages.
            let fits = bytes.is_some_and(|b| {
                key.0.verify_strict(manifest, &ed25519_dalek::Signature::from_bytes(&b)).is_ok()
            });
            return if fits { Ok(Some(signature.key)) } else { Err(KeyError::Wrong(signature.key)) };
        }
        let list = |ids: Vec<KeyId>| match ids.len() {
            0 => "nobody".to_owned(),
            _ => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        Err(KeyError::Untrusted {
            signed_by: format!("it is signed by {}", list(self.signatures.iter().map(|s| s.key).collect())),
            trusted: list(keys.iter().map(PublicKey::id).collect()),
        })
    }
}
