//! The files that a configuration names: whether they are there and what they should be.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{AgentConfig, ConfigError, Origin, StoreConfig};

impl AgentConfig {
    /// Reads every file that the configuration names, as the agent will.
    ///
    /// # Errors
    /// The first file that cannot be used, with its key and the remedy.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let check = || {
            if let Some(tls) = self.vtep.as_ref().and_then(|vtep| vtep.tls.as_ref()) {
                check_pem("vtep-ca", &tls.ca, "CERTIFICATE")?;
                check_pem("vtep-cert", &tls.certificate, "CERTIFICATE")?;
                check_pem("vtep-key", &tls.key, "PRIVATE KEY")?;
                refuse_if_others_can_read("vtep-key", &tls.key)?;
            }
            let StoreConfig::Etcd(etcd) = &self.store else { return Ok(()) };
            if let Some(tls) = &etcd.tls {
                check_pem("etcd-ca", &tls.ca_file, "CERTIFICATE")?;
                if let Some((certificate, key)) = &tls.identity {
                    check_pem("etcd-cert", certificate, "CERTIFICATE")?;
                    check_pem("etcd-key", key, "PRIVATE KEY")?;
                    refuse_if_others_can_read("etcd-key", key)?;
                }
            }
            if let Some(user) = &etcd.user {
                check_password("etcd-password-file", &user.password_file)?;
            }
            Ok(())
        };
        check().map_err(|error: FileError| ConfigError::File {
            origin: self.layers.given(error.key).map_or(Origin::Default, |given| given.origin.clone()),
            key: error.key,
            path: error.path,
            reason: error.reason,
            remedy: error.remedy,
        })
    }
}

/// A file that cannot be used, without the origin of the key that names it.
struct FileError {
    key: &'static str,
    path: PathBuf,
    reason: String,
    remedy: &'static str,
}

fn check_password(key: &'static str, path: &Path) -> Result<(), FileError> {
    let password = read(key, path)?;
    refuse_if_others_can_read(key, path)?;
    if password.trim_end().is_empty() {
        let reason = "it is empty".to_owned();
        return Err(FileError { key, path: path.to_owned(), reason, remedy: "write the password into it" });
    }
    Ok(())
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

fn check_pem(key: &'static str, path: &Path, label: &str) -> Result<(), FileError> {
    let text = read(key, path)?;
    // RFC 7468 §2; a private key may say its algorithm before the words.
    let found = text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----")));
    if found {
        Ok(())
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
