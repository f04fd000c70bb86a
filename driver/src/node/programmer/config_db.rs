//! The task that leads SONiC's CONFIG_DB to the plan.
//!
//! It is a task of its own, since Redis may be away, or `config reload` under way, while the kernel's tables are to be
//! written all the same. A new connection is followed by a round that compares all of it; so is every notification of a
//! change, whoever made it, and every audit. Restarts of the agent or of Redis are no special cases.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::model::Vni;
use crate::sonic::{
    Address, ConfigDb, DatabaseError, Desired, Difference, Events, Refusal, Written, difference,
};

/// What comes in a row, such as a `config reload`, is looked at when it is over.
const SETTLE: Duration = Duration::from_millis(50);
/// How often in a row somebody else may change what is about to be written.
const ATTEMPTS: u32 = 10;
/// The longest time between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How far CONFIG_DB is.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// What cannot be, and its cure.
    pub(super) refusals: Vec<Refusal>,
    /// The networks that it has.
    pub(super) mapped: BTreeSet<Vni>,
    /// Why it cannot be read or written now.
    pub(super) problem: Option<String>,
}

/// Tells the task what shall be, and what the task tells.
pub(super) struct Configurator {
    desired: watch::Sender<Option<Desired>>,
    report: watch::Receiver<Report>,
}

impl Configurator {
    /// Starts the task, which does nothing before it is told what shall be, and ends with this value.
    pub(super) fn start(address: Address, audit_interval: Duration) -> Configurator {
        let (desired, wanted) = watch::channel(None);
        let (report, reported) = watch::channel(Report::default());
        tokio::spawn(run(address, audit_interval, wanted, report));
        Configurator { desired, report: reported }
    }

    /// Says what shall be.
    pub(super) fn want(&self, desired: Desired) {
        self.desired.send_if_modified(|current| {
            let differs = current.as_ref() != Some(&desired);
            *current = Some(desired);
            differs
        });
    }

    /// How far it is.
    pub(super) fn report(&self) -> Report {
        self.report.borrow().clone()
    }

    /// Waits for another report. It can be given up at any time.
    pub(super) async fn changed(&mut self) {
        if self.report.changed().await.is_err() {
            // A panic has ended the task; the last report stands.
            std::future::pending::<()>().await;
        }
    }
}

async fn run(
    address: Address,
    audit_interval: Duration,
    mut desired: watch::Receiver<Option<Desired>>,
    report: watch::Sender<Report>,
) {
    if desired.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let Err(error) = session(&address, audit_interval, &mut desired, &report).await else { return };
        let problem = error.to_string();
        if report.borrow().problem.as_ref() != Some(&problem) {
            warn!(problem, "CONFIG_DB cannot be led to the plan; trying again");
        }
        report.send_modify(|report| report.problem = Some(problem));
        failures = if begun.elapsed() > LONGEST_PAUSE { 0 } else { failures + 1 };
        let pause = Duration::from_millis(50 << failures.min(7)).min(LONGEST_PAUSE);
        tokio::select! {
            () = sleep(pause) => {}
            gone = desired.wait_for(|_| false) => if gone.is_err() { return },
        }
    }
}

/// From a connection to its end; `Ok` if nobody wants anything any more.
async fn session(
    address: &Address,
    audit_interval: Duration,
    desired: &mut watch::Receiver<Option<Desired>>,
    report: &watch::Sender<Report>,
) -> Result<(), DatabaseError> {
    // Before the first look, so that nothing changes unseen between the two.
    let mut events = Events::subscribe(address).await?;
    let mut database = ConfigDb::connect(address).await?;
    let notifies = database.notifies().await?;
    info!(%address, notifies, "connected to CONFIG_DB");
    loop {
        let wanted = desired.borrow_and_update().clone();
        if let Some(wanted) = wanted {
            let reached = round(&mut database, &wanted).await?;
            for refusal in &reached.refusals {
                if !report.borrow().refusals.contains(refusal) {
                    warn!(%refusal, "CONFIG_DB");
                }
            }
            let Difference { refusals, mapped, .. } = reached;
            report.send_replace(Report { refusals, mapped, problem: None });
        }
        let audit_at = Instant::now() + audit_interval;
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return Ok(()) },
            event = events.next() => {
                event?;
                while let Ok(event) = timeout(SETTLE, events.next()).await {
                    event?;
                }
            }
            () = sleep_until(audit_at) => {}
        }
    }
}

/// Compares, and writes what differs.
async fn round(database: &mut ConfigDb, wanted: &Desired) -> Result<Difference, DatabaseError> {
    let mut attempts = 1;
    loop {
        let steps = difference(wanted, &database.observe().await?);
        if steps.changes.is_empty() {
            return Ok(steps);
        }
        match database.apply(&steps.changes).await? {
            Written::All => {
                for change in &steps.changes {
                    info!(%change, "CONFIG_DB");
                }
                return Ok(steps);
            }
            Written::Overtaken if attempts < ATTEMPTS => {
                debug!("somebody else has changed CONFIG_DB meanwhile; it is read again");
                attempts += 1;
            }
            // Somebody writes without end; the next notification brings us back.
            Written::Overtaken => return Ok(Difference { changes: Vec::new(), ..steps }),
        }
    }
}
