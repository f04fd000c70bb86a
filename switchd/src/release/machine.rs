//! Starts, stops and exchanges releases.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::health::{self, Unhealthy, default_health};
use super::journal::Journal;
use super::log::Capped;
use super::store::{Lock, ReleaseError, Store};
use crate::bundle::{AppName, Bundle};
use crate::digest::Digest;
use crate::runtime::{Cgroups, DEGRADED, Degraded, RELEASE, Runtime, RuntimeError, Status, prepare};

/// How often a process that was told to end is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What is done to a container whose release cannot be read.
const STOP_SIGNAL: u32 = 15;
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A switch: where things are kept, and what runs them.
pub struct Machine<'a> {
    /// Where releases are kept.
    pub state: PathBuf,
    /// What a reboot may clear.
    pub run: PathBuf,
    /// What brings containers to life.
    pub runtime: &'a dyn Runtime,
    /// Which limits can be held.
    pub cgroups: Cgroups,
    /// Whether limits may be held in a weaker way.
    pub consent: bool,
}

/// What has just been done, durably. Told in this order; after a failure, the three of the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The new release is on the disk, whole.
    Unpacked,
    /// The trial is written down.
    Journaled,
    /// The old release has ended.
    OldStopped,
    /// The new one runs.
    NewStarted,
    /// It works.
    Healthy,
    /// It has gone on working.
    Soaked,
    /// It is what runs after a reboot.
    Committed,
    /// The old one is where `rollback` goes.
    PreviousKept,
    /// The trial is over.
    Done,
    /// The new release has failed and is stopped.
    NewStopped,
    /// The old one runs again.
    OldStarted,
    /// The trial is over, and everything as before.
    RolledBack,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unpacked => "unpacked",
            Self::Journaled => "trial written down",
            Self::OldStopped => "old release stopped",
            Self::NewStarted => "new release started",
            Self::Healthy => "it works",
            Self::Soaked => "it goes on working",
            Self::Committed => "committed",
            Self::PreviousKept => "old release kept for rollback",
            Self::Done => "done",
            Self::NewStopped => "new release stopped",
            Self::OldStarted => "old release started",
            Self::RolledBack => "rolled back",
        })
    }
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The release was current already, and runs.
    Unchanged,
    /// The release is now current.
    Switched {
        /// What was current before.
        from: Option<Digest>,
        /// How long neither ran: from the signal to the old one until the new one began.
        gap: Duration,
    },
}

/// What was done for an application in passing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tended {
    /// Its log was cut.
    pub capped: Option<Capped>,
    /// The release that was started again.
    pub restarted: Option<Digest>,
}

/// Why there was no switch-over, or no start.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The disk.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The runtime.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The new release did not work, and everything is as before.
    #[error("{app} {to} failed: {why}; {}", match from {
        Some(from) => format!("rolled back to {from}, which runs"),
        None => "there was no release before it, so none runs".to_owned(),
    })]
    RolledBack {
        /// The application.
        app: AppName,
        /// The new release.
        to: Digest,
        /// The one that runs again.
        from: Option<Digest>,
        /// Why.
        why: Box<TrialError>,
    },
    /// The new release did not work, and the old one could not be started again.
    #[error(
        "{app} {to} failed: {why}; starting {from} again failed as well: {again}. `sluice-switch up {app}` tries again"
    )]
    Stuck {
        /// The application.
        app: AppName,
        /// The new release.
        to: Digest,
        /// The old one.
        from: Digest,
        /// Why the new one failed.
        why: Box<TrialError>,
        /// Why the old one did.
        again: Box<SwitchError>,
    },
    /// There is no release to go back to.
    #[error("{0} has no previous release to roll back to")]
    NoPrevious(AppName),
    /// There is no such application.
    #[error("there is no application {0} here; `sluice-switch status` lists those that are")]
    NoApp(AppName),
    /// A container did not end although it was killed.
    #[error("{0} did not end although it was killed; is a process stuck in the kernel?")]
    WontStop(AppName),
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It did not start.
    #[error(transparent)]
    Start(SwitchError),
    /// It did not work.
    #[error(transparent)]
    Unhealthy(#[from] Unhealthy),
}

impl Machine<'_> {
    /// The releases of an application.
    pub fn store(&self, app: &AppName) -> Store {
        Store::new(&self.state, app)
    }

    /// Unpacks a bundle, puts it on trial in place of the release that runs, and commits it when it works; otherwise
    /// brings the old release back. `told` hears of every step once it is done.
    ///
    /// # Errors
    /// When the bundle is refused (nothing has then changed), or the release did not work.
    pub fn install(
        &self,
        bundle: Bundle<impl Read>,
        mut told: impl FnMut(Step),
    ) -> Result<Outcome, SwitchError> {
        let store = self.store(&bundle.manifest.app);
        let lock = store.lock()?;
        // Should the bundle be refused, the old release runs all the same. That it cannot be started is no reason
        // not to replace it.
        let _ = self.recover_locked(&store, &lock);
        let to = store.add(&lock, bundle)?;
        if self.consent {
            store.allow_degraded(&lock, to)?;
        }
        told(Step::Unpacked);
        self.switch(&store, &lock, to, &mut told)
    }

    /// Puts the previous release on trial, as [`install`](Self::install) does a new one.
    ///
    /// # Errors
    /// When there is none, or it does not work.
    pub fn rollback(&self, app: &AppName, mut told: impl FnMut(Step)) -> Result<Outcome, SwitchError> {
        let (store, lock) = self.existing(app)?;
        let _ = self.recover_locked(&store, &lock);
        let to = store.previous()?.ok_or_else(|| SwitchError::NoPrevious(app.clone()))?;
        self.switch(&store, &lock, to, &mut told)
    }

    /// Sets right what a power cut or a kill left, and starts the committed release unless it runs: what is done at
    /// boot. Gives the release that runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn recover(&self, app: &AppName) -> Result<Option<Digest>, SwitchError> {
        let (store, lock) = self.existing(app)?;
        self.recover_locked(&store, &lock)
    }

    /// Stops an application until [`recover`](Self::recover) or a reboot.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn stop(&self, app: &AppName) -> Result<(), SwitchError> {
        let (store, _lock) = self.existing(app)?;
        self.end(&store)
    }

    /// Stops an application and removes all of it.
    ///
    /// # Errors
    /// When it cannot be stopped or removed.
    pub fn remove(&self, app: &AppName) -> Result<(), SwitchError> {
        let (store, lock) = self.existing(app)?;
        self.end(&store)?;
        Ok(store.remove(lock)?)
    }

    /// Runs a command in an application.
    ///
    /// # Errors
    /// When it does not run, or the command does not end in time.
    pub fn exec(
        &self,
        app: &AppName,
        args: &[String],
        timeout: Duration,
    ) -> Result<crate::runtime::Ran, SwitchError> {
        Ok(self.runtime.exec(app, args, timeout)?)
    }

    /// Cuts an application's log when it has grown too long. With `restart`, also starts what has ended by itself
    /// and what an interrupted exchange left stopped, but not what `stop` stopped. For timers: does nothing while
    /// somebody else changes the application.
    ///
    /// # Errors
    /// When the log cannot be cut, or the application cannot be started.
    pub fn tend(&self, app: &AppName, restart: bool) -> Result<Tended, SwitchError> {
        let capped = self.store(app).cap_log()?;
        let (store, lock) = match self.existing(app) {
            Err(SwitchError::Release(ReleaseError::Busy(_))) => {
                return Ok(Tended { capped, restarted: None });
            }
            other => other?,
        };
        // `stop` leaves no container, and neither does a reboot, after which `up` is asked for.
        let ended = self.runtime.state(app)?.is_some_and(|state| state.status == Status::Stopped);
        let restarted = if restart && (ended || store.journal()?.is_some()) {
            self.recover_locked(&store, &lock)?
        } else {
            None
        };
        Ok(Tended { capped, restarted })
    }

    /// The limits of an application that hold only in a weaker way: those with which its container was started, or
    /// would be when it does not run.
    ///
    /// # Errors
    /// When the release cannot be read, or the runtime cannot say.
    pub fn degraded(&self, app: &AppName) -> Result<Vec<Degraded>, SwitchError> {
        let store = self.store(app);
        if let Some(state) = self.runtime.state(app)?.filter(|s| s.status == Status::Running) {
            let names = state.annotations.get(DEGRADED).map(String::as_str).unwrap_or_default();
            return Ok(names.split(',').filter_map(Degraded::named).collect());
        }
        let Some(current) = store.current()? else { return Ok(Vec::new()) };
        Ok(self.cgroups.enforce(&store.manifest(current)?.run.limits).degraded)
    }

    /// The release that runs, by what the container itself says.
    ///
    /// # Errors
    /// When the runtime cannot say.
    pub fn running(&self, app: &AppName) -> Result<Option<Digest>, RuntimeError> {
        let state = self.runtime.state(app)?.filter(|s| s.status == Status::Running);
        Ok(state.and_then(|s| s.annotations.get(RELEASE)?.parse().ok()))
    }

    fn existing(&self, app: &AppName) -> Result<(Store, Lock), SwitchError> {
        if !Store::apps(&self.state)?.contains(app) {
            return Err(SwitchError::NoApp(app.clone()));
        }
        let store = self.store(app);
        let lock = store.lock()?;
        Ok((store, lock))
    }

    /// As [`recover`](Self::recover), for who holds the lock.
    pub(crate) fn recover_locked(&self, store: &Store, lock: &Lock) -> Result<Option<Digest>, SwitchError> {
        let (journal, current) = (store.journal()?, store.current()?);
        if let Some(Journal { from: Some(from), to }) = journal
            && current == Some(to)
        {
            store.set_previous(lock, from)?;
        }
        let interrupted = journal.is_some_and(|journal| current != Some(journal.to));
        match current {
            // In an interrupted exchange the old release may have been told to end, and be about to.
            Some(current) if !interrupted && self.running(store.app())? == Some(current) => {}
            Some(current) => {
                self.end(store)?;
                self.begin(store, current)?;
            }
            // A first release that was on trial when the power failed.
            None => self.end(store)?,
        }
        store.remove_journal(lock)?;
        Ok(current)
    }

    /// Puts a release on trial that is on the disk, as [`install`](Self::install) does.
    pub(crate) fn switch(
        &self,
        store: &Store,
        lock: &Lock,
        to: Digest,
        told: &mut dyn FnMut(Step),
    ) -> Result<Outcome, SwitchError> {
        let from = store.current()?;
        if from == Some(to) {
            self.recover_locked(store, lock)?;
            return Ok(Outcome::Unchanged);
        }
        store.write_journal(lock, &Journal { from, to })?;
        told(Step::Journaled);
        let stopping = Instant::now();
        self.end(store)?;
        told(Step::OldStopped);
        match self.trial(store, to, told) {
            Ok(started) => {
                store.set_current(lock, to)?;
                told(Step::Committed);
                if let Some(from) = from {
                    store.set_previous(lock, from)?;
                }
                told(Step::PreviousKept);
                store.remove_journal(lock)?;
                told(Step::Done);
                Ok(Outcome::Switched { from, gap: started.duration_since(stopping) })
            }
            Err(why) => {
                let (app, why) = (store.app().clone(), Box::new(why));
                let back = self.back(store, from, told);
                if let (Err(again), Some(from)) = (back, from) {
                    return Err(SwitchError::Stuck { app, to, from, why, again: Box::new(again) });
                }
                store.remove_journal(lock)?;
                told(Step::RolledBack);
                Err(SwitchError::RolledBack { app, to, from, why })
            }
        }
    }

    /// Starts a release and sees whether it works. Gives when it began.
    fn trial(&self, store: &Store, to: Digest, told: &mut dyn FnMut(Step)) -> Result<Instant, TrialError> {
        self.begin(store, to).map_err(TrialError::Start)?;
        let started = Instant::now();
        told(Step::NewStarted);
        let manifest = store.manifest(to).map_err(|e| TrialError::Start(e.into()))?;
        let health = manifest.health.unwrap_or_else(default_health);
        health::wait(self.runtime, store.app(), &health)?;
        told(Step::Healthy);
        health::soak(self.runtime, store.app(), &health)?;
        told(Step::Soaked);
        Ok(started)
    }

    fn back(
        &self,
        store: &Store,
        from: Option<Digest>,
        told: &mut dyn FnMut(Step),
    ) -> Result<(), SwitchError> {
        self.end(store)?;
        told(Step::NewStopped);
        if let Some(from) = from {
            self.begin(store, from)?;
        }
        told(Step::OldStarted);
        Ok(())
    }

    /// Starts a release's container. There must be none.
    fn begin(&self, store: &Store, digest: Digest) -> Result<(), SwitchError> {
        let manifest = store.manifest(digest)?;
        let directory = self.directory(store.app());
        let rootfs = store.release(digest).join("rootfs");
        let consent = self.consent || store.allows_degraded(digest);
        prepare(&manifest, digest, &rootfs, &directory, &self.cgroups, consent)?;
        let log = store.open_log()?;
        self.runtime.create(store.app(), &directory, &log)?;
        Ok(self.runtime.start(store.app())?)
    }

    fn directory(&self, app: &AppName) -> PathBuf {
        self.run.join("apps").join(app.as_str())
    }

    /// Ends an application and takes away the release that runs and the one before, for who needs their space.
    pub(crate) fn clear(&self, store: &Store, lock: &Lock) -> Result<(), SwitchError> {
        // The link first: after a power cut nobody must look for what is half removed.
        store.unlink_all(lock)?;
        self.end(store)
    }

    /// Ends and removes the container, whichever release it is of. No error when there is none.
    fn end(&self, store: &Store) -> Result<(), SwitchError> {
        let app = store.app();
        let Some(state) = self.runtime.state(app)? else { return Ok(()) };
        if state.status == Status::Running {
            let digest = state.annotations.get(RELEASE).and_then(|d| d.parse().ok());
            let process = digest.and_then(|d| store.manifest(d).ok()).map(|m| m.process);
            let (signal, timeout) = process.map_or((STOP_SIGNAL, STOP_TIMEOUT), |p| {
                (p.stop_signal, Duration::from_millis(p.stop_timeout_ms))
            });
            // It may end by itself before the signal comes.
            let _ = self.runtime.signal(app, signal);
            let end = Instant::now() + timeout;
            while self.runtime.state(app)?.is_some_and(|s| s.status == Status::Running)
                && Instant::now() < end
            {
                thread::sleep(POLL);
            }
        }
        self.runtime.delete(app)?;
        if self.runtime.state(app)?.is_some() {
            return Err(SwitchError::WontStop(app.clone()));
        }
        Ok(())
    }
}
