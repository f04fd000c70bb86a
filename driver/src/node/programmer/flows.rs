//! The flows' part of a round.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ofctl::client::openflow::{self, Connection, Events, Notification};
use ofctl::session::Failure;
use ofctl::wire::{FlowMod, FlowStatsRequest, FragmentMode};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::task::{RoundError, Task};
use crate::plan::tables::Generation;
use crate::reconcile;

/// A connection whose flows are those of the plan but for changes not yet sent.
pub(super) struct Programmed {
    connection: Connection,
    events: Events,
    pub(super) generation: Generation,
    pub(super) audited: Instant,
    /// The switch's own word for its release.
    pub(super) version: String,
    /// Tunnel ends whose MAC the switch was made to resolve since the last audit.
    woken: BTreeSet<IpAddr>,
}

impl Task {
    /// Sends what changed in the plan, or, on a new connection, all of it.
    pub(super) async fn program_flows(&mut self) -> Result<(), RoundError> {
        let changes = self.planner.refresh();
        for key in changes.set.iter().map(|flow| flow.key()).chain(changes.delete.iter().cloned()) {
            self.refused.remove(&key);
        }
        let Some(programmed) = &mut self.openflow else {
            let programmed = self.resync().await?;
            self.openflow = Some(programmed);
            return Ok(());
        };
        if !changes.is_empty() {
            let mods = reconcile::changes(programmed.generation, &changes);
            let connection = programmed.connection.clone();
            if let Err(error) = self.send(&connection, mods).await {
                // What part of the plan the switch has is not known any more.
                self.openflow = None;
                return Err(error);
            }
        }
        if let Some(programmed) = &self.openflow
            && programmed.audited.elapsed() >= self.config.audit_interval
        {
            self.audit().await?;
        }
        Ok(())
    }

    /// Tells neighbours what has changed for them, and wakes up new far ends. That they hear it is not certain on any
    /// network.
    pub(super) async fn announce(&mut self) {
        let mut packets = self.planner.take_announcements();
        let Some(programmed) = &mut self.openflow else { return };
        let far_ends = self.planner.far_ends();
        programmed.woken.retain(|far| far_ends.contains(far));
        for far in far_ends {
            if !programmed.woken.contains(&far)
                && let Some(packet) = self.planner.wake_up(far)
            {
                packets.push(packet);
                programmed.woken.insert(far);
            }
        }
        for packet in packets {
            if let Err(error) = programmed.connection.packet_out(packet).await {
                debug!(%error, "neighbours could not be told of a change");
            }
        }
    }

    /// Connects, and makes the switch hold the plan and nothing else of ours.
    async fn resync(&mut self) -> Result<Programmed, RoundError> {
        let started = Instant::now();
        // Another switch, or another release of it, may take what the last one refused.
        self.refused.clear();
        let path = self.config.ovs_rundir.join(format!("{}.mgmt", self.config.bridge));
        let (connection, events) =
            Connection::connect(openflow::Target::Unix(path), openflow::Options::default()).await?;
        // Fragments keep their ports out of the match: ovs-ofctl(8), set-frags.
        connection.set_config(FragmentMode::NxMatch, 128).await?;
        let version = connection.description().await?.software;
        let observed = connection.dump_flows(FlowStatsRequest::default()).await?;
        let (generation, mods) = reconcile::resync(self.planner.flows(), &observed);
        let sent = mods.len();
        self.send(&connection, mods).await?;
        info!(
            generation = generation.0,
            flow_mods = sent,
            milliseconds = started.elapsed().as_millis() as u64,
            "the switch has the whole plan"
        );
        Ok(Programmed {
            connection,
            events,
            generation,
            audited: Instant::now(),
            version,
            woken: BTreeSet::new(),
        })
    }

    /// Sends flow mods as one atomic bundle. Those that the switch refuses are left out and remembered, so that the
    /// others take effect.
    async fn send(&mut self, connection: &Connection, mut mods: Vec<FlowMod>) -> Result<(), RoundError> {
        loop {
            mods.retain(|flow_mod| !self.refused.contains_key(&flow_mod.key()));
            if mods.is_empty() {
                return Ok(());
            }
            match connection.bundle(mods.clone()).await {
                Ok(()) => return Ok(()),
                Err(openflow::ClientError::Failed { what, failure: Failure::Refused(refusals) })
                    if !refusals.is_empty() =>
                {
                    for refusal in refusals {
                        warn!(flow = refusal.offending, error = %refusal.error, "the switch refuses a flow");
                        let Some(flow_mod) = refusal.index.and_then(|index| mods.get(index)) else {
                            let failure = Failure::Refused(vec![refusal]);
                            return Err(openflow::ClientError::Failed { what, failure }.into());
                        };
                        let reason = (refusal.offending.clone(), refusal.error.to_string());
                        self.refused.insert(flow_mod.key(), reason);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Compares the switch's flows with the plan, and mends what differs.
    async fn audit(&mut self) -> Result<(), RoundError> {
        let Some(programmed) = &mut self.openflow else { return Ok(()) };
        programmed.audited = Instant::now();
        // The switch forgets what it has not used for a quarter of an hour.
        programmed.woken.clear();
        // Links are read once and then known by what is done to them; another hand may have done something else.
        self.present_links = None;
        let (connection, generation) = (programmed.connection.clone(), programmed.generation);
        let observed = connection.dump_flows(FlowStatsRequest::default()).await?;
        let plan = self.planner.flows().filter(|flow| !self.refused.contains_key(&flow.key()));
        let (found, mods) = reconcile::audit(plan, &observed, generation);
        if found.is_empty() {
            return Ok(());
        }
        for flow in found.add.iter().chain(&found.modify) {
            warn!(%flow, "a flow was missing or changed on the switch");
        }
        let repaired = (found.add.len() + found.modify.len() + found.delete.len()) as u64;
        warn!(repaired, "the switch's flows were not those of the plan");
        self.send(&connection, mods).await?;
        self.state.send_modify(|state| state.repaired += repaired);
        Ok(())
    }
}

/// Why the OpenFlow connection ended; pends for ever while it is there or there is none.
pub(super) async fn closed(openflow: &mut Option<Programmed>) -> String {
    match openflow {
        Some(programmed) => loop {
            match programmed.events.next().await {
                Some(Notification::Closed(reason)) => return reason.to_string(),
                Some(_) => {}
                None => std::future::pending().await,
            }
        },
        None => std::future::pending().await,
    }
}
