//! Containers on the switch.
//!
//! A [`Runtime`] is what brings a container to life; [`Runc`] does it by runc(8), which works on every kernel that
//! switches have, or, with the feature `libcontainer`, by this program itself where there is no runc and the kernel
//! is new enough. What the container is comes from a bundle's manifest: [`prepare`] writes the `config.json` for it,
//! after asking the machine which limits it can hold ([`Cgroups`]).

mod cgroup;
mod config;
#[cfg(feature = "libcontainer")]
pub mod helper;
mod runc;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use cgroup::{Cgroups, Degraded, Enforcement};
pub use config::{DEGRADED, RELEASE, config};
pub use runc::Runc;

use crate::bundle::{AppName, Manifest};
use crate::digest::Digest;

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, and its process not yet begun.
    Created,
    /// Its process is there.
    Running,
    /// Its process has ended.
    Stopped,
    /// Frozen.
    Paused,
}

/// A container that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it does.
    pub status: Status,
    /// Its first process, by the host's number; none when that has ended.
    pub pid: Option<u32>,
    /// The annotations of its `config.json`.
    pub annotations: BTreeMap<String, String>,
}

/// What a command in a container gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit status; 128 and the signal when a signal ended it.
    pub code: i32,
    /// What it wrote, stdout and stderr, to a limit.
    pub output: String,
}

/// Brings containers to life. A container's id is its application's name.
///
/// Every method may be called again after a crash of the caller.
pub trait Runtime {
    /// Makes a container from the directory that holds its `config.json`. Its output goes to `log`. Gives the number
    /// of its first process, which waits for [`start`](Self::start).
    ///
    /// # Errors
    /// When there is one already, or the machine cannot do what its configuration asks for.
    fn create(&self, id: &AppName, bundle: &Path, log: &File) -> Result<u32, RuntimeError>;

    /// Begins the process.
    ///
    /// # Errors
    /// When there is no such container, or it has begun.
    fn start(&self, id: &AppName) -> Result<(), RuntimeError>;

    /// What a container does; `None` when there is none.
    ///
    /// # Errors
    /// When the runtime cannot say.
    fn state(&self, id: &AppName) -> Result<Option<State>, RuntimeError>;

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// When there is no such container, or its process has ended.
    fn signal(&self, id: &AppName, signal: u32) -> Result<(), RuntimeError>;

    /// Removes a container, killing what is left in it; no error when there is none.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    fn delete(&self, id: &AppName) -> Result<(), RuntimeError>;

    /// Runs a command in a container, with its user, environment and restrictions, and waits for its end. After
    /// `timeout` it is killed.
    ///
    /// # Errors
    /// When there is no such container, or the command does not end in time.
    fn exec(&self, id: &AppName, args: &[String], timeout: std::time::Duration) -> Result<Ran, RuntimeError>;
}

/// Why the runtime did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no runtime.
    #[error("there is no runc: `{program}`: {source}; install runc, or name it with --runc")]
    NoRuntime {
        /// What was tried.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The runtime refused.
    #[error("the runtime failed to {what} {id}: {message}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// On which container.
        id: AppName,
        /// The runtime's own words.
        message: String,
    },
    /// The runtime's answer is not understood.
    #[error("what the runtime answered about {id} is not understood: {source}")]
    Answer {
        /// On which container.
        id: AppName,
        /// Why.
        source: serde_json::Error,
    },
    /// A command in a container took too long.
    #[error("`{command}` in {id} did not end within {seconds} s and was killed")]
    Timeout {
        /// The container.
        id: AppName,
        /// The command.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
    /// A path of the switch that is to be mounted and is not there.
    #[error(
        "`mounts` binds `{path}` on `/{target}`, and this switch has no such path; make it, or correct `mounts`"
    )]
    Mount {
        /// Where in the container.
        target: crate::rootfs::RootPath,
        /// What is missing.
        path: String,
    },
    /// A limit that this machine cannot hold, and that nobody agreed to do without.
    #[error("{}; agree with --allow-degraded, or have `sluice-switch preflight --fix` mount what can be mounted", list(.0))]
    Degraded(Vec<Degraded>),
    /// A file of ours.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn list(degraded: &[Degraded]) -> String {
    degraded.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Writes the `config.json` of a release into `directory`, which is made, and tells which limits hold only in a
/// weaker way: to that either the caller or the manifest's maker consents. `directory` is on a file system that a reboot clears: what is in it fits this boot's machine.
///
/// # Errors
/// When a file cannot be written, a mount's source is not there, or a limit cannot be held and `consent` is not
/// given.
pub fn prepare(
    manifest: &Manifest,
    digest: Digest,
    rootfs: &Path,
    directory: &Path,
    cgroups: &Cgroups,
    consent: bool,
) -> Result<Vec<Degraded>, RuntimeError> {
    let enforcement = cgroups.enforce(&manifest.run.limits);
    if !enforcement.degraded.is_empty() && !consent && !manifest.run.allow_degraded {
        return Err(RuntimeError::Degraded(enforcement.degraded));
    }
    // Runtimes do not all say which mount failed.
    if let Some(mount) = manifest.run.mounts.iter().find(|mount| !Path::new(&mount.source).exists()) {
        return Err(RuntimeError::Mount { target: mount.target.clone(), path: mount.source.clone() });
    }
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| RuntimeError::Io { what, path, source }
    };
    // runc takes a relative root from the directory of config.json.
    let rootfs = fs::canonicalize(rootfs).map_err(io("finding", rootfs))?;
    fs::create_dir_all(directory).map_err(io("making the directory", directory))?;
    let path = directory.join("config.json");
    let text = config(manifest, digest, &rootfs, &enforcement).to_string();
    fs::write(&path, text).map_err(io("writing", &path))?;
    Ok(enforcement.degraded)
}
