//! The releases of one application on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::journal::Journal;
use crate::bundle::{AppName, Bundle, BundleError, Manifest, Shared, Stock, sync_directory, unpack};
use crate::canonical::{self, CanonicalError};
use crate::digest::Digest;

/// One application's directory.
#[derive(Debug, Clone)]
pub struct Store {
    app: AppName,
    directory: PathBuf,
}

/// Held by whoever changes something about an application. The kernel lets go of it when its holder dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock is the open file")] File);

/// Why a release cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The file system.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Someone else is changing the application.
    #[error("another sluice-switch is changing {0}; wait for it to end")]
    Busy(AppName),
    /// A document of ours is damaged.
    #[error("`{path}` is damaged: {source}; install the release again")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CanonicalError,
    },
    /// A manifest that is not the one that the release is named after.
    #[error("`{path}` has the digest {is}: the disk has damaged it; install the release again")]
    Changed {
        /// Which.
        path: PathBuf,
        /// Its digest.
        is: Digest,
    },
    /// A link of ours that leads elsewhere.
    #[error(
        "`{path}` leads to `{target}`, which is no release; remove it and run `sluice-switch install` again"
    )]
    Link {
        /// Which.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl Store {
    /// The directory of `app` below `state`, which is made when something is first written.
    pub fn new(state: &Path, app: &AppName) -> Self {
        Self { app: app.clone(), directory: state.join("apps").join(app.as_str()) }
    }

    /// The applications that have a directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn apps(state: &Path) -> Result<Vec<AppName>, ReleaseError> {
        let path = state.join("apps");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ReleaseError::Io { what: "reading", path, source }),
        };
        let mut apps: Vec<AppName> =
            entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        apps.sort();
        Ok(apps)
    }

    /// The application's name.
    pub fn app(&self) -> &AppName {
        &self.app
    }

    /// Where a release is, or would be.
    pub fn release(&self, digest: Digest) -> PathBuf {
        self.directory.join("releases").join(digest.hex())
    }

    /// Where the application's output goes.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// When someone else has it.
    pub fn lock(&self) -> Result<Lock, ReleaseError> {
        let releases = self.directory.join("releases");
        fs::create_dir_all(&releases).map_err(io_error("making the directory", &releases))?;
        let path = self.directory.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io_error("opening", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(ReleaseError::Busy(self.app.clone())),
            Err(source) => Err(io_error("locking", &path)(source.into())),
        }
    }

    /// Unpacks a bundle beside the other releases, unless it is there already. Files that another release has are
    /// shared with it.
    ///
    /// # Errors
    /// When the bundle is damaged or does not fit on the disk. Nothing of it is then left.
    pub fn add(&self, _: &Lock, bundle: Bundle<impl Read>) -> Result<Digest, ReleaseError> {
        let digest = bundle.digest;
        let path = self.release(digest);
        // It got its name when it was whole; but disks fail.
        if path.exists() && self.manifest(digest).is_err() {
            self.discard(digest)?;
        }
        if !path.exists() {
            let mut shared = Shared::default();
            for other in self.releases()? {
                // One that is damaged has nothing to share, and is no reason to refuse another.
                if let Ok(manifest) = self.manifest(other) {
                    shared.add(&manifest, &self.release(other).join("rootfs"));
                }
            }
            unpack(bundle, &path, &shared)?;
        }
        Ok(digest)
    }

    /// A release's manifest.
    ///
    /// # Errors
    /// When there is none, or it is not the one that the release is named after.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest, ReleaseError> {
        let path = self.release(digest).join("manifest.json");
        let bytes = fs::read(&path).map_err(io_error("reading", &path))?;
        let is = Digest::of(&bytes);
        if is != digest {
            return Err(ReleaseError::Changed { path, is });
        }
        canonical::from_slice(&bytes).map_err(|source| ReleaseError::Damaged { path, source })
    }

    /// The release that is committed.
    ///
    /// # Errors
    /// When the link leads elsewhere.
    pub fn current(&self) -> Result<Option<Digest>, ReleaseError> {
        self.link("current")
    }

    /// The release before it.
    ///
    /// # Errors
    /// When the link leads elsewhere.
    pub fn previous(&self) -> Result<Option<Digest>, ReleaseError> {
        self.link("previous")
    }

    /// Takes away the name of the release to go back to.
    pub(crate) fn unlink_previous(&self, _: &Lock) -> Result<(), ReleaseError> {
        remove_file(&self.directory.join("previous"))?;
        self.sync()
    }

    /// Takes away the names of the release that is committed and of the one before.
    pub(crate) fn unlink_all(&self, lock: &Lock) -> Result<(), ReleaseError> {
        remove_file(&self.directory.join("current"))?;
        self.unlink_previous(lock)
    }

    fn link(&self, name: &str) -> Result<Option<Digest>, ReleaseError> {
        let path = self.directory.join(name);
        let target = match fs::read_link(&path) {
            Ok(target) => target,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("reading the link", &path)(source)),
        };
        let digest = target.to_str().and_then(|t| t.strip_prefix("releases/"));
        let digest = digest.and_then(|hex| format!("sha256:{hex}").parse().ok());
        digest.map(Some).ok_or(ReleaseError::Link { path, target })
    }

    /// Commits a release: one rename, on the disk when this returns.
    pub(super) fn set_current(&self, _: &Lock, digest: Digest) -> Result<(), ReleaseError> {
        self.set_link("current", digest)
    }

    pub(super) fn set_previous(&self, _: &Lock, digest: Digest) -> Result<(), ReleaseError> {
        self.set_link("previous", digest)
    }

    fn set_link(&self, name: &str, digest: Digest) -> Result<(), ReleaseError> {
        let (path, new) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        remove_file(&new)?;
        std::os::unix::fs::symlink(format!("releases/{}", digest.hex()), &new)
            .map_err(io_error("making the link", &new))?;
        fs::rename(&new, &path).map_err(io_error("changing the link", &path))?;
        self.sync()
    }

    /// What is under way, or was when someone died. One that cannot be parsed is as good as none: whether a trial
    /// was committed is for `current` to say.
    pub(crate) fn journal(&self) -> Result<Option<Journal>, ReleaseError> {
        let path = self.directory.join("journal.json");
        match fs::read(&path) {
            Ok(bytes) => Ok(canonical::from_slice(&bytes).ok()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("reading", &path)(source)),
        }
    }

    pub(super) fn write_journal(&self, _: &Lock, journal: &Journal) -> Result<(), ReleaseError> {
        let (path, new) = (self.directory.join("journal.json"), self.directory.join("journal.json.new"));
        let text = canonical::to_string(journal)
            .map_err(|source| ReleaseError::Damaged { path: path.clone(), source })?;
        let written = File::create(&new).and_then(|file| {
            io::Write::write_all(&mut &file, text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(io_error("writing", &new))?;
        fs::rename(&new, &path).map_err(io_error("writing", &path))?;
        self.sync()
    }

    pub(super) fn remove_journal(&self, _: &Lock) -> Result<(), ReleaseError> {
        let path = self.directory.join("journal.json");
        if fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        remove_file(&path)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), ReleaseError> {
        sync_directory(&self.directory).map_err(io_error("writing to the disk", &self.directory))
    }

    /// Writes down that the operator agrees to weaker limits for a release: whoever starts it later, at boot for
    /// instance, has nobody to ask.
    pub(super) fn allow_degraded(&self, _: &Lock, digest: Digest) -> Result<(), ReleaseError> {
        let directory = self.release(digest);
        let path = directory.join("allow-degraded");
        File::create(&path).map_err(io_error("making the file", &path))?;
        sync_directory(&directory).map_err(io_error("writing to the disk", &directory))
    }

    /// Whether the operator agreed to weaker limits for a release.
    pub fn allows_degraded(&self, digest: Digest) -> bool {
        self.release(digest).join("allow-degraded").exists()
    }

    /// The log, for an application that is about to start. It is opened to append, so that it can be cut while it is
    /// written to.
    pub(super) fn open_log(&self) -> Result<File, ReleaseError> {
        self.cap_log()?;
        let path = self.log_path();
        OpenOptions::new().create(true).append(true).open(&path).map_err(io_error("opening", &path))
    }

    /// Where files of a release to be are kept as they arrive.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.directory.join("incoming")
    }

    /// Puts a release together from files that are here, unless it is there already.
    pub(crate) fn assemble(&self, _: &Lock, bundle: Bundle<io::Empty>) -> Result<Digest, ReleaseError> {
        let digest = bundle.digest;
        if self.manifest(digest).is_ok() {
            return Ok(digest);
        }
        let path = self.release(digest);
        if path.exists() {
            self.discard(digest)?;
        }
        let mut stock = Stock::new(self.incoming());
        for other in self.releases()? {
            if let Ok(manifest) = self.manifest(other) {
                stock.add(&manifest, &self.release(other).join("rootfs"));
            }
        }
        bundle.assemble(&path, &stock)?;
        Ok(digest)
    }

    /// Removes what arrived for a release: all of it, or what `keep` does not name.
    pub(crate) fn clear_incoming(&self, _: &Lock, keep: impl Fn(&str) -> bool) -> Result<(), ReleaseError> {
        let path = self.incoming();
        let Ok(entries) = fs::read_dir(&path) else { return Ok(()) };
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(&keep) {
                remove_file(&entry.path())?;
            }
        }
        // It stays when something is kept.
        let _ = fs::remove_dir(&path);
        Ok(())
    }

    /// Removes a release, and what is left of those that were removed before or never got whole.
    pub(crate) fn remove_releases(&self, _: &Lock, which: &[Digest]) -> Result<(), ReleaseError> {
        which.iter().try_for_each(|digest| self.discard(*digest))?;
        self.sweep()
    }

    /// The releases that are here.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn releases(&self) -> Result<Vec<Digest>, ReleaseError> {
        let path = self.directory.join("releases");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error("reading", &path)(source)),
        };
        let digest = |entry: fs::DirEntry| format!("sha256:{}", entry.file_name().to_str()?).parse().ok();
        let mut digests: Vec<Digest> = entries.flatten().filter_map(digest).collect();
        digests.sort();
        Ok(digests)
    }

    /// Removes the releases that are neither current nor previous, and what failed tries left. Gives the removed
    /// ones.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn gc(&self, _: &Lock) -> Result<Vec<Digest>, ReleaseError> {
        let keep = [self.current()?, self.previous()?];
        let mut gone = self.releases()?;
        gone.retain(|digest| !keep.contains(&Some(*digest)));
        gone.iter().try_for_each(|digest| self.discard(*digest))?;
        self.sweep()?;
        Ok(gone)
    }

    /// Removes what has no release's name.
    fn sweep(&self) -> Result<(), ReleaseError> {
        let releases = self.directory.join("releases");
        for entry in fs::read_dir(&releases).map_err(io_error("reading", &releases))?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(".partial") {
                fs::remove_dir_all(entry.path()).map_err(io_error("removing", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Takes a release's name away first: half a release must not have one. The rest is removed with what failed
    /// tries left.
    fn discard(&self, digest: Digest) -> Result<(), ReleaseError> {
        let path = self.release(digest);
        let partial = path.with_extension("partial");
        fs::rename(&path, &partial).map_err(io_error("removing", &path))
    }

    /// Removes everything about the application.
    pub(super) fn remove(&self, lock: Lock) -> Result<(), ReleaseError> {
        // First what makes it start, so that half a removal is no application.
        remove_file(&self.directory.join("current"))?;
        self.sync()?;
        fs::remove_dir_all(&self.directory).map_err(io_error("removing", &self.directory))?;
        drop(lock);
        Ok(())
    }
}

fn remove_file(path: &Path) -> Result<(), ReleaseError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("removing", path)(e)),
        _ => Ok(()),
    }
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReleaseError + use<> {
    let path = path.to_owned();
    move |source| ReleaseError::Io { what, path, source }
}
