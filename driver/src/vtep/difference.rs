//! From what a database holds to what it shall hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;
use ofctl::ovsdb::operation::Operation;
use ofctl::ovsdb::vtep::{
    LogicalSwitch, LogicalSwitchSpec, PhysicalSwitch, ReplicationMode, Vtep, VtepError, VtepTransaction,
};
use ofctl::ovsdb::{Replica, Transaction, Uuid};

use super::observed::bound;
use super::{Desired, Mark, Segment};
use crate::model::{NetworkName, PortTag, Vni};

/// What cannot be, and the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The switch has no such port.
    #[error(
        "network {network}: switch {switch} tells of no port {}: correct the name ('vtep-ctl list-ports {switch}' on the \
         switch shows them), or detach it",
        at.port
    )]
    NoSuchPort {
        /// The network.
        network: NetworkName,
        /// The switch.
        switch: String,
        /// The port.
        at: PortTag,
    },
    /// Somebody else has the port.
    #[error(
        "network {network}: another controller has bound {at} to its logical switch {holder}, which is left as it is: \
         unbind it there, or detach the port"
    )]
    PortTaken {
        /// The network.
        network: NetworkName,
        /// The port.
        at: PortTag,
        /// The logical switch that has it.
        holder: String,
    },
    /// Somebody else has a logical switch of that name.
    #[error(
        "network {network}: there is a logical switch {name} without this node's mark, which is left as it is: rename or \
         delete it on the switch ('vtep-ctl del-ls {name}')"
    )]
    NameTaken {
        /// The network.
        network: NetworkName,
        /// The name.
        name: String,
    },
    /// Somebody else has the VNI on this switch.
    #[error(
        "network {network}: its VNI {vni} is that of logical switch {holder} of another controller, which has ports of \
         this switch: make the network anew with another --vni, or take {holder} away"
    )]
    VniTaken {
        /// The network.
        network: NetworkName,
        /// The VNI.
        vni: Vni,
        /// The logical switch that has it.
        holder: String,
    },
    /// A node that the switch cannot send to.
    #[error(
        "network {network}: a hardware_vtep switch sends VXLAN over IPv4 only and cannot reach {remote}: give all nodes \
         of the network IPv4 underlay addresses"
    )]
    OtherFamily {
        /// The network.
        network: NetworkName,
        /// The tunnel end.
        remote: IpAddr,
    },
    /// Copies go to one node only.
    #[error(
        "network {network}: the switch's database is too old to be told to copy broadcasts itself (Logical_Switch has no \
         replication_mode), so that only one of {nodes} nodes may get them: upgrade the switch's software"
    )]
    OneCopy {
        /// The network.
        network: NetworkName,
        /// How many nodes should get them.
        nodes: usize,
    },
}

impl Refusal {
    /// The network.
    pub const fn network(&self) -> &NetworkName {
        match self {
            Refusal::NoSuchPort { network, .. }
            | Refusal::PortTaken { network, .. }
            | Refusal::NameTaken { network, .. }
            | Refusal::VniTaken { network, .. }
            | Refusal::OtherFamily { network, .. }
            | Refusal::OneCopy { network, .. } => network,
        }
    }

    /// True if because of it this port is not in its network.
    pub fn concerns(&self, network: &NetworkName, port: &PortTag) -> bool {
        self.network() == network
            && match self {
                Refusal::NoSuchPort { at, .. } | Refusal::PortTaken { at, .. } => at == port,
                Refusal::NameTaken { .. } | Refusal::VniTaken { .. } => true,
                Refusal::OtherFamily { .. } | Refusal::OneCopy { .. } => false,
            }
    }

    /// True if it keeps ports out of their network, and so is told with each of them.
    pub const fn is_of_ports(&self) -> bool {
        !matches!(self, Refusal::OtherFamily { .. } | Refusal::OneCopy { .. })
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Difference {
    /// The transaction; empty when all is as it shall be.
    pub transaction: Transaction,
    /// What cannot be.
    pub refusals: Vec<Refusal>,
}

impl Difference {
    /// How many changes there are to make.
    pub fn changes(&self) -> usize {
        let is_change = |operation: &&Operation| !matches!(operation, Operation::Wait { .. });
        self.transaction.operations().iter().filter(is_change).count()
    }
}

/// The transaction that makes the database as desired, and what cannot be.
///
/// # Errors
/// The switch is not in the database.
pub fn difference(desired: &Desired, replica: &Replica) -> Result<Difference, VtepError> {
    let vtep = Vtep::new(replica);
    let physical = vtep.physical_switch(&desired.switch);
    let physical = physical.ok_or_else(|| VtepError::NoPhysicalSwitch(desired.switch.clone()))?;
    let mut steps = Steps {
        desired,
        physical,
        vtep,
        bound: bound(&vtep, &physical),
        told: told(&vtep),
        plan: VtepTransaction::new(),
        kept: BTreeSet::new(),
        refusals: Vec::new(),
    };
    steps.unbind_ours();
    for (vni, segment) in &desired.networks {
        steps.network(*vni, segment);
    }
    steps.remove_the_rest();
    let Steps { plan, refusals, .. } = steps;
    Ok(Difference { transaction: plan.build(replica)?, refusals })
}

/// The MACs that the switch is told of in each logical switch.
fn told(vtep: &Vtep<'_>) -> BTreeMap<Uuid, BTreeSet<MacAddr>> {
    let mut told: BTreeMap<Uuid, BTreeSet<MacAddr>> = BTreeMap::new();
    for row in vtep.remote_macs() {
        told.entry(row.logical_switch).or_default().insert(row.mac);
    }
    told
}

struct Steps<'a> {
    desired: &'a Desired,
    physical: PhysicalSwitch<'a>,
    vtep: Vtep<'a>,
    bound: BTreeMap<Uuid, BTreeSet<PortTag>>,
    told: BTreeMap<Uuid, BTreeSet<MacAddr>>,
    plan: VtepTransaction,
    /// The logical switches of ours that stay.
    kept: BTreeSet<String>,
    refusals: Vec<Refusal>,
}

fn tag(at: &PortTag) -> u16 {
    at.vlan.map_or(0, crate::model::VlanId::get)
}

impl Steps<'_> {
    fn is_ours(&self, logical: &LogicalSwitch<'_>) -> bool {
        Mark::read(logical.description()).is_some_and(|mark| mark.node == self.desired.node)
    }

    /// The logical switch of somebody else that has this port.
    fn holder(&self, at: &PortTag) -> Option<String> {
        let is_holder = |logical: &LogicalSwitch<'_>| {
            !self.is_ours(logical) && self.bound.get(&logical.uuid).is_some_and(|ports| ports.contains(at))
        };
        self.vtep.logical_switches().find(is_holder).map(|logical| logical.name().to_owned())
    }

    /// Why the network as a whole cannot be on the switch.
    fn obstacle(&self, vni: Vni, name: &str, network: &NetworkName) -> Option<Refusal> {
        match self.vtep.logical_switch(name) {
            // It is there: what others have made since does not take it down.
            Some(there) if self.is_ours(&there) => return None,
            Some(_) => {
                return Some(Refusal::NameTaken { network: network.clone(), name: name.to_owned() });
            }
            None => {}
        }
        let has_it = |logical: &LogicalSwitch<'_>| {
            !self.is_ours(logical)
                && logical.vni() == Some(vni.get())
                && self.bound.contains_key(&logical.uuid)
        };
        let holder = self.vtep.logical_switches().find(has_it)?.name().to_owned();
        Some(Refusal::VniTaken { network: network.clone(), vni, holder })
    }

    /// Of what is bound to our logical switches, that stays which a network then binds anew. Also on the other switches of
    /// the database: this node may have been one of them before.
    fn unbind_ours(&mut self) {
        let ours = self.vtep.logical_switches().filter(|logical| self.is_ours(logical));
        let ours: BTreeSet<Uuid> = ours.map(|logical| logical.uuid).collect();
        for physical in self.vtep.physical_switches() {
            for port in self.vtep.ports(&physical) {
                let bound = port.vlan_bindings().into_iter().filter(|(_, logical)| ours.contains(logical));
                // The schema allows one VLAN more than there are.
                for (vlan, _) in bound.filter(|(vlan, _)| *vlan < 4095) {
                    self.plan.unbind(physical.name(), port.name(), vlan);
                }
            }
        }
    }

    fn network(&mut self, vni: Vni, segment: &Segment) {
        let network = || segment.name.clone();
        let mark = Mark { node: self.desired.node.clone(), network: network() };
        let name = mark.logical_switch();
        if let Some(obstacle) = self.obstacle(vni, &name, &segment.name) {
            return self.refusals.push(obstacle);
        }
        let mut members = BTreeSet::new();
        for at in &segment.members {
            let is_there = self.vtep.ports(&self.physical).any(|port| port.name() == at.port.as_str());
            if !is_there {
                let switch = self.desired.switch.clone();
                self.refusals.push(Refusal::NoSuchPort { network: network(), switch, at: at.clone() });
            } else if let Some(holder) = self.holder(at) {
                self.refusals.push(Refusal::PortTaken { network: network(), at: at.clone(), holder });
            } else {
                members.insert(at);
            }
        }
        if members.is_empty() {
            return;
        }
        let remotes = segment.unreachable.iter();
        self.refusals
            .extend(remotes.map(|remote| Refusal::OtherFamily { network: network(), remote: *remote }));
        if segment.flood.len() > 1 && !self.vtep.has_replication_mode() {
            self.refusals.push(Refusal::OneCopy { network: network(), nodes: segment.flood.len() });
        }
        let spec = LogicalSwitchSpec::new(&name, vni.get())
            .description(mark.to_string())
            .replication_mode(ReplicationMode::SourceNode);
        self.plan.logical_switch(spec).flood_to(&name, segment.flood.iter().copied());
        for at in &members {
            self.plan.bind(&self.desired.switch, at.port.as_str(), tag(at), &name);
        }
        for (mac, remote) in &segment.remotes {
            self.plan.remote_mac(&name, *mac, remote.vtep, remote.address);
        }
        if let Some(there) = self.vtep.logical_switch(&name) {
            let told = self.told.get(&there.uuid).into_iter().flatten();
            for mac in told.filter(|mac| !segment.remotes.contains_key(mac)) {
                self.plan.remove_remote_mac(&name, *mac);
            }
        }
        self.kept.insert(name);
    }

    fn remove_the_rest(&mut self) {
        let ours = self.vtep.logical_switches().filter(|logical| self.is_ours(logical));
        let gone: Vec<String> =
            ours.map(|logical| logical.name().to_owned()).filter(|name| !self.kept.contains(name)).collect();
        for name in gone {
            self.plan.remove_logical_switch(name);
        }
    }
}
