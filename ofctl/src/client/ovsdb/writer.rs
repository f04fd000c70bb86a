//! Puts concurrent plans together: ovs-vswitchd reconfigures once for a transaction, however many ports it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::{ClientError, Core};
use crate::ovsdb::vswitch::{Interface, VswitchTransaction};

/// The most plans in one transaction: enough that their common cost per plan is small, and a bound on how long
/// a plan waits for others.
const MAX_BATCH: usize = 256;

/// How long the next transaction waits for ovs-vswitchd to finish the last one: plans that come meanwhile go
/// together. One that hangs must not hold up the plans of others longer than this.
const PACE: Duration = Duration::from_millis(20);

/// How often a plan is built anew when other writers are faster.
const ATTEMPTS: usize = 8;

/// How long to wait for the update that explains a conflict.
const CONFLICT_WAIT: Duration = Duration::from_millis(50);

/// How much longer a caller waits than its plan's deadline, so that it gets the plan's own error.
pub(super) const GRACE: Duration = Duration::from_millis(100);

pub(super) struct Request {
    pub(super) plan: VswitchTransaction,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Applied, ClientError>>,
}

/// What a plan came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The interfaces of the plan's ports, as ovs-vswitchd left them.
    pub interfaces: BTreeMap<String, Interface>,
}

/// ovs-vswitchd could not make a port, though the database has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ovs-vswitchd could not make port {port}: {error}")]
pub struct InterfaceError {
    /// The port.
    pub port: String,
    /// What ovs-vswitchd says (`Interface.error`).
    pub error: String,
}

impl Applied {
    /// The OpenFlow number of a port of the plan.
    ///
    /// # Errors
    ///
    /// [`InterfaceError`] with ovs-vswitchd's own words when it could not make the port.
    pub fn ofport(&self, port: &str) -> Result<u32, InterfaceError> {
        let failed = |error: &str| InterfaceError { port: port.to_owned(), error: error.to_owned() };
        let interface = self.interfaces.get(port).ok_or_else(|| failed("it was removed meanwhile"))?;
        interface.usable_ofport().ok_or_else(|| match &interface.error {
            Some(error) => failed(error),
            None => failed("it has no OpenFlow port number; see the log of ovs-vswitchd"),
        })
    }
}

pub(super) async fn run(core: Arc<Core>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(request) => request,
            None => match requests.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        let mut plan = first.plan.clone();
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = requests.try_recv()
        {
            // Who asks for something else of the same port comes after, in order.
            if plan.try_merge(next.plan.clone()).is_err() {
                held = Some(next);
                break;
            }
            batch.push(next);
        }
        commit(&core, plan, batch).await;
    }
}

/// Commits the plans of a batch together, or each on its own when that fails, and hands the wait for
/// ovs-vswitchd over to a task.
async fn commit(core: &Arc<Core>, plan: VswitchTransaction, mut batch: Vec<Request>) {
    let asked = batch.len();
    batch.retain(|request| !request.answer.is_closed() && request.deadline > Instant::now());
    let Some(deadline) = batch.iter().map(|request| request.deadline).max() else { return };
    // A plan whose caller has gone must not be done: the batch is put together anew without it.
    let plan = if batch.len() == asked { Some(plan) } else { merge(&batch) };
    let outcome = match plan {
        Some(plan) => settle(core, &plan, deadline).await,
        None => return,
    };
    match outcome {
        Ok(next_cfg) => {
            tracing::debug!(plans = batch.len(), next_cfg, "plans committed");
            let mut done = tokio::spawn(report(core.clone(), next_cfg, batch));
            let _ = timeout(PACE, &mut done).await;
        }
        Err(ClientError::Refused(_) | ClientError::Plan(_)) if batch.len() > 1 => {
            for request in batch {
                let plan = request.plan.clone();
                Box::pin(commit(core, plan, vec![request])).await;
            }
        }
        Err(error) => {
            for request in batch {
                // A caller whose deadline has passed does not listen any more.
                let _ = request.answer.send(Err(error.clone()));
            }
        }
    }
}

fn merge(batch: &[Request]) -> Option<VswitchTransaction> {
    let (first, others) = batch.split_first()?;
    others.iter().try_fold(first.plan.clone(), |mut plan, request| {
        plan.try_merge(request.plan.clone()).ok()?;
        Some(plan)
    })
}

/// Commits a plan, building it anew after a conflict; the result is the configuration that has it.
async fn settle(core: &Core, plan: &VswitchTransaction, deadline: Instant) -> Result<i64, ClientError> {
    let mut replica = core.replica.clone();
    let mut attempt = 1;
    loop {
        let transaction = plan.build(&replica.borrow_and_update())?;
        if transaction.is_empty() {
            // It is there already, and perhaps not yet in effect.
            return Ok(core.read(|replica| replica.vswitch().next_cfg()));
        }
        match core.transact_cfg(transaction, deadline).await {
            Ok((next_cfg, _)) => return Ok(next_cfg),
            Err(ClientError::Refused(error)) if error.is_conflict() && attempt < ATTEMPTS => {
                tracing::debug!(%error, attempt, "plan met another writer");
                // Built from the same copy it would be refused again.
                let _ = timeout(CONFLICT_WAIT, replica.changed()).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn report(core: Arc<Core>, next_cfg: i64, batch: Vec<Request>) {
    let mut batch = batch;
    batch.sort_by_key(|request| request.deadline);
    for request in batch {
        let outcome = core.wait_in_effect(next_cfg, request.deadline).await.map(|()| {
            core.read(|replica| {
                let vswitch = replica.vswitch();
                let interface = |name: &str| Some((name.to_owned(), vswitch.interface(name)?));
                Applied { interfaces: request.plan.wanted_ports().filter_map(interface).collect() }
            })
        });
        let _ = request.answer.send(outcome);
    }
}
