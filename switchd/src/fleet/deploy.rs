//! A deployment to a fleet.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::inventory::Host;
use super::message::{Amount, Options};
use super::parcel::Parcels;
use super::program::Programs;
use super::progress::Display;
use super::rollout::{Outcome, Rules, roll};
use super::send::{Connection, Delivered, Event, Place, SendError, for_machine};
use super::transport::{Ssh, Transport};
use crate::digest::Digest;

/// Everything that a deployment is.
pub struct Deployment<'a> {
    /// What is brought.
    pub parcels: &'a Parcels,
    /// This program for the boxes.
    pub programs: &'a Programs,
    /// Where it is brought.
    pub hosts: &'a [Host],
    /// In which order.
    pub rules: Rules,
    /// What the operator agreed to.
    pub options: Options,
    /// Nothing is changed; what would be sent is told.
    pub dry_run: bool,
    /// Whether this program is brought to boxes that have another.
    pub push: bool,
    /// Options of ssh for every host, before its own.
    pub ssh_options: &'a [String],
    /// A directory of ours for ssh's shared connections.
    pub control: Option<PathBuf>,
    /// How long nothing may pass before a box is given up.
    pub patience: Duration,
}

/// One application on a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppDone {
    /// Its name.
    pub app: String,
    /// Its version.
    pub version: String,
    /// Which release.
    pub release: Digest,
    /// Whether another release runs than before.
    pub changed: bool,
    /// Files that were sent, with their bytes uncompressed.
    pub sent: Amount,
    /// Of those, how many as patches.
    pub patches: u64,
    /// The bytes of files as they were sent.
    pub payload_bytes: u64,
    /// Files that the box had.
    pub had: Amount,
    /// For how many milliseconds the application was interrupted.
    pub gap_ms: Option<u64>,
    /// What was held in a weaker way, and other things to know.
    pub notes: Vec<String>,
}

impl AppDone {
    fn new(parcel: &super::parcel::Parcel, delivered: Delivered) -> Self {
        let Delivered { changed, sent, patches, payload, had, gap_ms, notes } = delivered;
        Self {
            app: parcel.manifest.app.to_string(),
            version: parcel.manifest.version.to_string(),
            release: parcel.release,
            changed,
            sent,
            patches,
            payload_bytes: payload,
            had,
            gap_ms,
            notes,
        }
    }
}

/// What was done on a box, also when it failed in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostDone {
    /// The applications that are done.
    pub apps: Vec<AppDone>,
    /// Bytes of this program that were brought there.
    pub program_bytes: u64,
    /// All bytes that were handed to ssh after that: files, manifests and messages.
    pub wire_bytes: u64,
}

/// What a deployment came to: one row for a box, in their order.
#[derive(Debug)]
pub struct Report {
    /// The rows.
    pub rows: Vec<(String, HostDone, Outcome<(), SendError>)>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether every box is well.
    pub fn is_ok(&self) -> bool {
        self.rows.iter().all(|(.., outcome)| matches!(outcome, Outcome::Ok(())))
    }
}

/// Brings bundles to boxes. When `interrupted` becomes true no other box is begun.
pub fn deploy(deployment: &Deployment<'_>, display: &Display, interrupted: &AtomicBool) -> Report {
    let begun = Instant::now();
    let hosts = deployment.hosts;
    let done: Vec<Mutex<HostDone>> = hosts.iter().map(|_| Mutex::default()).collect();
    let outcomes = roll(hosts.len(), deployment.rules, interrupted, |at| {
        display.begin(at);
        let result = one(deployment, &hosts[at], &done[at], &|event| display.event(at, &event));
        let done = done[at].lock().unwrap_or_else(PoisonError::into_inner);
        display.end(at, &done, result.as_ref().err());
        result
    });
    let rows = hosts.iter().zip(done).zip(outcomes).map(|((host, done), outcome)| {
        (host.name.clone(), done.into_inner().unwrap_or_else(PoisonError::into_inner), outcome)
    });
    Report { rows: rows.collect(), took: begun.elapsed() }
}

/// The transport to a host.
pub(super) fn transport(host: &Host, ssh_options: &[String], control: Option<&Path>) -> Ssh {
    let options = [ssh_options, &host.ssh_options].concat();
    Ssh::new(&host.destination, options, host.sudo, control)
}

fn one(
    deployment: &Deployment<'_>,
    host: &Host,
    done: &Mutex<HostDone>,
    told: &dyn Fn(Event),
) -> Result<(), SendError> {
    let parcels = deployment.parcels;
    if !parcels.iter().any(|p| host.takes(&p.manifest.app)) {
        return Ok(());
    }
    let transport = transport(host, deployment.ssh_options, deployment.control.as_deref());
    to(deployment, host, &transport, done, told)
}

/// Brings bundles to one box, over any transport.
pub(super) fn to(
    deployment: &Deployment<'_>,
    host: &Host,
    transport: &dyn Transport,
    done: &Mutex<HostDone>,
    told: &dyn Fn(Event),
) -> Result<(), SendError> {
    let mut arguments = host.places();
    if let Some(keys) = &host.keys {
        arguments.extend(["--keys".to_owned(), keys.clone()]);
    }
    let place = Place {
        program: host.program.clone(),
        arguments,
        push: deployment.push,
        patience: deployment.patience,
    };
    let done = || done.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = |event: Event| {
        if let Event::Pushing { bytes } = &event {
            done().program_bytes += bytes;
        }
        told(event);
    };
    let open = || Connection::open(transport, &place, deployment.programs, &noted);
    let mut connection = open()?;
    let machine = connection.session.hello.machine.clone();
    let mut chosen = match for_machine(deployment.parcels, |p| host.takes(&p.manifest.app), &machine) {
        Ok(chosen) => chosen.into_iter().peekable(),
        Err(error) => return connection.close(Err(error)),
    };
    while let Some(parcel) = chosen.next() {
        let session = &mut connection.session;
        let result =
            session.deliver(deployment.parcels, parcel, deployment.options, deployment.dry_run, told);
        done().wire_bytes += session.sent();
        // One session for each application: a box keeps its lock until the end of the session.
        let delivered = connection.close(result)?;
        done().apps.push(AppDone::new(parcel, delivered));
        if chosen.peek().is_none() {
            return Ok(());
        }
        connection = open()?;
    }
    connection.close(Ok(()))
}
