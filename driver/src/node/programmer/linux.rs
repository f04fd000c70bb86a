//! The rounds of a switch without Open vSwitch: its bridges, VXLAN links and tables, led to the plan by rtnetlink.
//!
//! A round plans from the view as it is now, compares with what the kernel has, and carries out the difference. What
//! the kernel has is read at the start, after every event that touches it, after every failure and at every audit;
//! between those it is known from what was done.
//!
//! A restart is no special case: links, entries and neighbours stay in the kernel while the agent is away, and the
//! first round waits until the store, or this switch's own memory of it, has told of every port. So nothing is taken
//! down only to be made again.

use std::collections::BTreeMap;
use std::time::Duration;

use ofctl::MacAddr;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::config_db::{Configurator, Report};
use super::intent::take;
use super::{Batch, LocalStation, PlanRevision, Reachability, Sight, Sighted, State};
use crate::linux::{
    Desired, Event, Form, Kernel, KernelError, LocalMac, Observed, Refusal, Watch, difference,
};
use crate::model::{NetworkName, PortTag, Vni};
use crate::plan::linux::{Claims, LinuxPlan, plan};
use crate::plan::{Facts, View};
use crate::sonic;

/// How the switch is to be programmed.
#[derive(Clone, Debug)]
pub struct LinuxConfig {
    /// How networks are laid on bridges.
    pub form: Form,
    /// How often the kernel is compared with the plan.
    pub audit_interval: Duration,
    /// Where SONiC's CONFIG_DB is, if it is to be written: with [`Form::Sonic`].
    pub config_db: Option<sonic::Address>,
}

/// An attached port, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// The network.
    pub network: NetworkName,
    /// The port.
    pub at: PortTag,
    /// Whether its link passes packets; none: there is no such link.
    pub running: Option<bool>,
    /// Why it is not in its network.
    pub problem: Option<String>,
}

/// What a switch has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxState {
    /// How networks are laid on bridges.
    pub form: Form,
    /// How many networks have a port here.
    pub networks: usize,
    /// How many MACs are behind other nodes.
    pub remotes: usize,
    /// How many of them the switching chip has, as the kernel says.
    pub offloaded: usize,
    /// How many addresses are answered for.
    pub neighbours: usize,
    /// The attached ports.
    pub members: Vec<MemberState>,
    /// The MACs on them.
    pub stations: Vec<LocalStation>,
    /// What else cannot be, and its cure.
    pub refusals: Vec<String>,
    /// What the kernel refused last.
    pub failures: Vec<String>,
}

pub(super) struct Task {
    config: LinuxConfig,
    facts: Facts,
    view: View,
    claims: Claims,
    inbox: mpsc::UnboundedReceiver<Batch>,
    state: watch::Sender<State>,
    heard: watch::Receiver<bool>,
    sighted: mpsc::UnboundedSender<Sighted>,
    kernel: Option<(Kernel, Watch)>,
    config_db: Option<Configurator>,
    /// What the kernel has; none: to be read.
    observed: Option<Observed>,
    /// MACs on ports, kept by events.
    locals: BTreeMap<(Vni, MacAddr), LocalMac>,
    seen: PlanRevision,
    audited: Instant,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        config: LinuxConfig,
        facts: Facts,
        inbox: mpsc::UnboundedReceiver<Batch>,
        state: watch::Sender<State>,
        heard: watch::Receiver<bool>,
        sighted: mpsc::UnboundedSender<Sighted>,
    ) -> Task {
        let start = |address: &sonic::Address| Configurator::start(address.clone(), config.audit_interval);
        let config_db = config.config_db.as_ref().map(start);
        Task {
            config,
            facts,
            view: View::default(),
            claims: Claims::new(),
            inbox,
            state,
            heard,
            sighted,
            kernel: None,
            config_db,
            observed: None,
            locals: BTreeMap::new(),
            seen: PlanRevision(0),
            audited: Instant::now(),
            failures: 0,
            retry_at: None,
        }
    }

    pub(super) async fn run(mut self) {
        let waiting =
            "waiting for the store to tell this switch's ports, to leave alone what runs".to_owned();
        self.state.send_modify(|state| state.switch = Reachability::Down(waiting));
        if self.heard.wait_for(|heard| *heard).await.is_err() {
            return;
        }
        loop {
            while let Ok(batch) = self.inbox.try_recv() {
                self.take(batch);
            }
            match self.round().await {
                Ok(()) => {}
                Err(error) => self.failed(&error),
            }
            if !self.next_cause().await {
                return;
            }
        }
    }

    /// Waits for a reason to begin a round. False when there will be none.
    async fn next_cause(&mut self) -> bool {
        let audit_at = self.audited + self.config.audit_interval;
        loop {
            let at = self.retry_at.map_or(audit_at, |retry| retry.min(audit_at));
            tokio::select! {
                batch = self.inbox.recv() => {
                    match batch {
                        Some(batch) => self.take(batch),
                        None => return false,
                    }
                    return true;
                }
                event = next_event(&mut self.kernel) => match event {
                    Some(event) => if self.event(event) {
                        return true;
                    },
                    None => {
                        warn!("the kernel's notifications have ended; they are opened again");
                        self.kernel = None;
                        return true;
                    }
                },
                () = reported(&mut self.config_db) => return true,
                () = sleep_until(at) => return true,
            }
        }
    }

    fn take(&mut self, (revision, changes): Batch) {
        self.seen = revision;
        for change in changes {
            take(&mut self.view, &mut self.facts, &mut self.claims, change);
        }
    }

    /// Takes note of what happened in the kernel; true if the plan may have to be carried out again.
    fn event(&mut self, event: Event) -> bool {
        let is_of_plan = match &event {
            Event::Learned { local, was_remote } => {
                self.locals.insert((local.vni, local.mac), local.clone());
                *was_remote
            }
            Event::Forgotten { vni, mac } => {
                self.locals.remove(&(*vni, *mac));
                false
            }
            Event::Link { .. } | Event::Resynchronised => true,
        };
        if is_of_plan || matches!(event, Event::Forgotten { .. }) {
            self.observed = None;
        }
        let sighted = match event {
            Event::Learned { local, was_remote } => {
                Some(Sighted::Learned { sight: local.into(), was_remote })
            }
            Event::Forgotten { vni, mac } => Some(Sighted::Forgotten { vni, mac }),
            Event::Link { .. } | Event::Resynchronised => None,
        };
        sighted.into_iter().for_each(|sighted| drop(self.sighted.send(sighted)));
        if !is_of_plan {
            self.report_stations();
        }
        is_of_plan
    }

    fn failed(&mut self, error: &KernelError) {
        let reason = error.to_string();
        self.observed = None;
        self.kernel = None;
        self.try_later();
        self.state.send_modify(|state| {
            if state.switch != Reachability::Down(reason.clone()) {
                warn!(reason, "the kernel cannot be programmed; trying again");
            }
            state.switch = Reachability::Down(reason);
        });
    }

    fn try_later(&mut self) {
        let delay = Duration::from_millis(20 << self.failures.min(8));
        self.failures += 1;
        self.retry_at = Some(Instant::now() + delay);
    }

    async fn kernel(&mut self) -> Result<Kernel, KernelError> {
        if let Some((kernel, _)) = &self.kernel {
            return Ok(kernel.clone());
        }
        let kernel = Kernel::open()?;
        let watch = kernel.watch(self.config.form.clone()).await?;
        let observed = kernel.observe().await?;
        let locals = observed.local_macs(&self.config.form);
        self.locals = locals.iter().map(|local| ((local.vni, local.mac), local.clone())).collect();
        let _ = self.sighted.send(Sighted::All(locals.into_iter().map(Sight::from).collect()));
        info!(stations = self.locals.len(), "connected to the kernel");
        self.kernel = Some((kernel.clone(), watch));
        self.observed = Some(observed);
        Ok(kernel)
    }

    async fn round(&mut self) -> Result<(), KernelError> {
        let started = Instant::now();
        let revision = self.seen;
        let is_audit = started >= self.audited + self.config.audit_interval;
        self.retry_at = None;
        let kernel = self.kernel().await?;
        let LinuxPlan { desired, refused } = plan(&self.view, &self.facts, &self.config.form, &self.claims);
        if let (Some(config_db), Some(desired)) = (&self.config_db, &desired) {
            config_db.want(desired.into());
        }
        if is_audit {
            self.observed = None;
        }
        let was_known = self.observed.is_some();
        let mut observed = match self.observed.take() {
            Some(observed) => observed,
            None => kernel.observe().await?,
        };
        let mut failures = Vec::new();
        let mut refusals = Vec::new();
        let mut repaired = 0;
        let mut has_failed = false;
        if let Some(desired) = &desired {
            let steps = difference(desired, &observed);
            refusals = steps.refusals;
            let count = steps.changes.len();
            if count > 0 {
                if is_audit && self.state.borrow().revision == revision {
                    repaired = count as u64;
                    warn!(changes = count, "the audit mends what was changed by somebody else");
                }
                let applied = kernel.apply(steps.changes.clone()).await;
                for failure in &applied.failures {
                    warn!(%failure, "a change failed");
                }
                has_failed = !applied.failures.is_empty() || applied.left_out > 0;
                failures = applied.failures.iter().map(ToString::to_string).collect();
                // What was done is known, unless something went wrong or the kernel names what it made.
                let is_known =
                    !has_failed && steps.changes.iter().all(|change| observed.apply(change).is_ok());
                if !is_known {
                    observed = kernel.observe().await?;
                }
                debug!(
                    revision = revision.0,
                    changes = count,
                    was_known,
                    took_us = started.elapsed().as_micros() as u64,
                    "round"
                );
            }
        }
        if has_failed {
            self.try_later();
        } else {
            self.failures = 0;
        }
        if is_audit || !was_known {
            self.audited = Instant::now();
        }
        let report = self.config_db.as_ref().map(Configurator::report);
        let mut linux = self.describe(desired.as_ref(), &observed, &Problems::of(&refusals, report.as_ref()));
        linux.failures.extend(failures);
        linux.failures.extend(report.and_then(|report| report.problem));
        for (port, reason) in refused {
            linux.members.push(MemberState {
                network: port.network.clone(),
                at: port.at(),
                running: running(&observed, &port.at()),
                problem: Some(reason.to_string()),
            });
        }
        self.observed = (!has_failed).then_some(observed);
        self.state.send_modify(|state| {
            state.revision = revision;
            state.switch = Reachability::Up;
            state.openflow = Reachability::Up;
            state.repaired += repaired;
            state.linux = Some(linux);
        });
        Ok(())
    }

    fn network_of(&self, vni: Vni) -> Option<NetworkName> {
        let mut ports = self.view.ports_of(&self.facts.node);
        let port = ports.find(|port| {
            self.view.networks.get(&port.network).is_some_and(|network| network.vni == Some(vni))
        })?;
        Some(port.network.clone())
    }

    fn stations(&self) -> Vec<LocalStation> {
        let station = |local: &LocalMac| {
            Some(LocalStation {
                network: self.network_of(local.vni)?,
                mac: local.mac,
                at: Some(PortTag { port: local.member.port.clone().into(), vlan: local.member.vlan }),
            })
        };
        self.locals.values().filter_map(station).collect()
    }

    fn report_stations(&self) {
        let stations = self.stations();
        self.state.send_modify(|state| {
            if let Some(linux) = &mut state.linux {
                linux.stations = stations;
            }
        });
    }

    fn describe(&self, desired: Option<&Desired>, observed: &Observed, problems: &Problems) -> LinuxState {
        let segments = || desired.into_iter().flat_map(|desired| &desired.networks);
        let mut members = Vec::new();
        for (vni, segment) in segments() {
            let Some(network) = self.network_of(*vni) else { continue };
            for member in &segment.members {
                let at = PortTag { port: member.port.clone().into(), vlan: member.vlan };
                members.push(MemberState {
                    network: network.clone(),
                    running: running(observed, &at),
                    problem: problems.of_member(*vni, &at),
                    at,
                });
            }
        }
        let offloaded = |vni: &Vni, mac: &MacAddr| {
            let entries = observed.bridge_entries.get(&self.config.form.bridge(*vni))?;
            let mut of_mac = entries.range((*mac, None)..).take_while(|((other, _), _)| other == mac);
            of_mac.find(|(_, entry)| entry.offloaded)
        };
        LinuxState {
            form: self.config.form.clone(),
            networks: segments().count(),
            remotes: segments().map(|(_, segment)| segment.remotes.len()).sum(),
            offloaded: segments()
                .flat_map(|(vni, segment)| segment.remotes.keys().map(move |mac| (vni, mac)))
                .filter(|(vni, mac)| offloaded(vni, mac).is_some())
                .count(),
            neighbours: segments().map(|(_, segment)| segment.neighbours.len()).sum(),
            members,
            stations: self.stations(),
            refusals: problems.of_networks(),
            failures: Vec::new(),
        }
    }
}

/// What cannot be, of all that was tried for the networks.
struct Problems(Vec<(Option<Vni>, Option<PortTag>, String)>);

impl Problems {
    fn of(refusals: &[Refusal], report: Option<&Report>) -> Problems {
        // A port may have this and other VLANs: without one, all of them are meant.
        let of_sonic = |refusal: &sonic::Refusal| {
            let port = refusal.port().map(|port| PortTag { port: port.clone().into(), vlan: None });
            (refusal.vni(), port, refusal.to_string())
        };
        let mut problems: Vec<_> =
            report.into_iter().flat_map(|report| &report.refusals).map(of_sonic).collect();
        for refusal in refusals {
            let at = refusal
                .member()
                .map(|member| PortTag { port: member.port.clone().into(), vlan: member.vlan });
            let text = match (refusal, report) {
                // The refusal of CONFIG_DB, or that it cannot be reached, is the cause.
                (Refusal::NotMapped { vni, .. }, Some(report)) if !report.mapped.contains(vni) => {
                    if report.problem.is_none() {
                        continue;
                    }
                    format!("network {vni} waits for CONFIG_DB, where SONiC's vxlanmgrd finds what to make")
                }
                (Refusal::NotMapped { vni, vlan }, Some(_)) => format!(
                    "network {vni} waits for its VXLAN link: CONFIG_DB maps it to Vlan{vlan}, and SONiC's vxlanmgrd has \
                     not made the link: see 'show vxlan vlanvnimap', and in the container swss that vxlanmgrd runs"
                ),
                _ => refusal.to_string(),
            };
            problems.push((Some(refusal.vni()), at, text));
        }
        Problems(problems)
    }

    fn of_member(&self, vni: Vni, at: &PortTag) -> Option<String> {
        let is_it = |(of, port, _): &&(Option<Vni>, Option<PortTag>, String)| {
            let is_port =
                |port: &PortTag| port.port == at.port && port.vlan.is_none_or(|vlan| at.vlan == Some(vlan));
            *of == Some(vni) && port.as_ref().is_none_or(is_port)
        };
        self.0.iter().find(is_it).map(|(_, _, text)| text.clone())
    }

    /// Those that are no port's.
    fn of_networks(&self) -> Vec<String> {
        self.0.iter().filter(|(_, port, _)| port.is_none()).map(|(_, _, text)| text.clone()).collect()
    }
}

impl From<LocalMac> for Sight {
    fn from(local: LocalMac) -> Sight {
        Sight {
            vni: local.vni,
            mac: local.mac,
            at: Some(PortTag { port: local.member.port.into(), vlan: local.member.vlan }),
            addresses: local.addresses.into_iter().collect(),
        }
    }
}

fn running(observed: &Observed, at: &PortTag) -> Option<bool> {
    observed.links.get(at.port.as_str()).map(|link| link.running)
}

/// The kernel's next event; `None` if there will be none. Pends for ever without a connection.
async fn next_event(kernel: &mut Option<(Kernel, Watch)>) -> Option<Event> {
    match kernel {
        Some((_, watch)) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for news of CONFIG_DB. Pends for ever without it.
async fn reported(config_db: &mut Option<Configurator>) {
    match config_db {
        Some(config_db) => config_db.changed().await,
        None => std::future::pending().await,
    }
}
