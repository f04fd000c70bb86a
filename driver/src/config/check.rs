//! The files that a configuration names: whether they are there and what they should be.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{AgentConfig, ConfigError, EtcdLogin, EtcdTls, Origin, StoreConfig};

/// A text that must not be seen: its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

impl AgentConfig {
    /// Reads every file that the configuration names, as the agent will.
    ///
    /// # Errors
    /// The first file that cannot be used, with its key and the remedy.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        self.store_secrets().map(drop)
    }

    /// The certificates and the password for etcd, read now.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn store_secrets(&self) -> Result<StoreSecrets, ConfigError> {
        let StoreConfig::Etcd(etcd) = &self.store else { return Ok(StoreSecrets::default()) };
        let read = || {
            Ok(StoreSecrets {
                tls: etcd.tls.as_ref().map(EtcdTls::read).transpose()?,
                password: etcd.login.as_ref().map(EtcdLogin::read).transpose()?,
            })
        };
        read().map_err(|error: FileError| error.with_origin(self))
    }
}

/// What the files hold that let an agent into the cluster's store.
#[derive(Clone, Debug, Default)]
pub struct StoreSecrets {
    /// For TLS.
    pub tls: Option<TlsMaterial>,
    /// The password of [`EtcdLogin::user`].
    pub password: Option<Secret>,
}

/// A file that cannot be used, without the origin of the key that names it.
struct FileError {
    key: &'static str,
    path: std::path::PathBuf,
    reason: String,
    remedy: &'static str,
}

impl FileError {
    fn with_origin(self, config: &AgentConfig) -> ConfigError {
        let origin = config.layers.given(self.key).map_or(Origin::Default, |given| given.origin.clone());
        ConfigError::File { key: self.key, path: self.path, origin, reason: self.reason, remedy: self.remedy }
    }
}

/// The contents of the files of [`EtcdTls`].
#[derive(Clone, Debug)]
pub struct TlsMaterial {
    /// The CA certificates.
    pub ca: Vec<u8>,
    /// The client certificate and its private key.
    pub client: Option<(Vec<u8>, Secret)>,
}

impl EtcdTls {
    fn read(&self) -> Result<TlsMaterial, FileError> {
        let ca = read_pem("etcd-ca", &self.ca, "CERTIFICATE")?;
        let client = match &self.client {
            Some((cert, key)) => {
                let cert = read_pem("etcd-cert", cert, "CERTIFICATE")?;
                let key_text = read_pem("etcd-key", key, "PRIVATE KEY")?;
                refuse_if_others_can_read("etcd-key", key)?;
                Some((cert.into_bytes(), Secret(key_text)))
            }
            None => None,
        };
        Ok(TlsMaterial { ca: ca.into_bytes(), client })
    }
}

impl EtcdLogin {
    fn read(&self) -> Result<Secret, FileError> {
        let key = "etcd-password-file";
        let text = read(key, &self.password_file)?;
        refuse_if_others_can_read(key, &self.password_file)?;
        match text.lines().next() {
            Some(password) if !password.is_empty() => Ok(Secret(password.to_owned())),
            _ => Err(FileError {
                key,
                path: self.password_file.clone(),
                reason: "its first line is empty".to_owned(),
                remedy: "write the password on it",
            }),
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|error| FileError {
        key,
        path: path.to_owned(),
        remedy: match error.kind() {
            io::ErrorKind::NotFound => "create it, or correct the path",
            io::ErrorKind::PermissionDenied => "let the agent's user read it",
            io::ErrorKind::InvalidData => "a text file is wanted",
            _ => "name a readable file",
        },
        reason: error.to_string(),
    })
}

fn read_pem(key: &'static str, path: &Path, label: &str) -> Result<String, FileError> {
    let text = read(key, path)?;
    // RFC 7468 §2; a private key may say its algorithm before the words.
    let found = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----")));
    if found {
        Ok(text)
    } else {
        Err(FileError {
            key,
            path: path.to_owned(),
            reason: format!("there is no {label} in it"),
            remedy: "a PEM file is wanted",
        })
    }
}

fn refuse_if_others_can_read(key: &'static str, path: &Path) -> Result<(), FileError> {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode & 0o007 == 0 {
        return Ok(());
    }
    Err(FileError {
        key,
        path: path.to_owned(),
        reason: format!("every user of this host can reach it (mode {:o})", mode & 0o777),
        remedy: "take that away with chmod 600",
    })
}
