//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::keys;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--KEY` on the command line.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// The file, with the line.
    File(PathBuf, usize),
    /// Nobody gave one.
    Default,
    /// This host's name.
    Hostname,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(out, "flag --{name}"),
            Self::Variable(name) => write!(out, "environment variable {name}"),
            Self::File(path, line) => write!(out, "{}:{line}", path.display()),
            Self::Default => out.write_str("the default"),
            Self::Hostname => out.write_str("the host's name"),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration file {} ({origin}): {source}; correct the path, or let the agent's user read it",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: this is not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The file has a key that does not exist.
    #[error("{}:{line}: unknown key '{key}': {}", path.display(), hint(key))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A value that its key cannot have.
    #[error("{key} = {value:?} ({origin}): {wanted}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wanted.
        wanted: String,
        /// Where it came from.
        origin: Origin,
    },
    /// A key that needs another one, which was not given.
    #[error("{key} ({origin}) needs {needed} as well: {remedy}")]
    Lacks {
        /// The key.
        key: &'static str,
        /// Where it came from.
        origin: Origin,
        /// What is missing.
        needed: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that a key names cannot be used.
    #[error("{key} = {:?} ({origin}): {reason}; {remedy}", path.display().to_string())]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Where the key came from.
        origin: Origin,
        /// What is wrong with the file.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

fn hint(wrong: &str) -> String {
    match keys::nearest(wrong) {
        Some(key) => format!("did you mean '{}'?", key.name),
        None => {
            let names: Vec<_> = keys::KEYS.iter().map(|key| key.name).collect();
            format!("the keys are {}", names.join(", "))
        }
    }
}
