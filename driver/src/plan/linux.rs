//! The plan of a switch with a Linux kernel: from the same view as the hosts' flows to what its bridges should hold.
//!
//! Which networks it has, and who is where, [`attached`](super::attached) says for every kind of switch. A server that
//! sends from an endpoint's MAC is overruled, since else any server could take a container's traffic.

use std::collections::BTreeMap;

pub use super::attached::{Claims, Refused};
use super::attached::{attached, elsewhere};
use super::ports::endpoint_mtu;
use super::view::{Facts, View};
use crate::linux::{Desired, Form, Member, Remote, Segment};
use crate::model::{Network, PortAttachment, VlanId};

/// What a switch should hold, and what it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxPlan {
    /// What it should hold; none without an underlay address, which leaves everything as it is.
    pub desired: Option<Desired>,
    /// Attached ports whose network cannot be carried, and why.
    pub refused: Vec<(PortAttachment, Refused)>,
}

/// The plan that follows from the view.
pub fn plan(view: &View, facts: &Facts, form: &Form, claims: &Claims) -> LinuxPlan {
    let mut networks: BTreeMap<_, Segment> = BTreeMap::new();
    let mut refused = Vec::new();
    let own = view.nodes.get(&facts.node);
    for (attachment, network) in attached(view, facts, own.map(AsRef::as_ref)) {
        let network = match network {
            Ok(network) => network,
            Err(reason) => {
                refused.push((attachment.clone(), reason));
                continue;
            }
        };
        let Some(vni) = network.vni else { continue };
        let segment = networks.entry(vni).or_insert_with(|| segment(view, facts, form, claims, network));
        if form.has_vlans() && attachment.vlan.is_some() {
            // On a bridge with VLANs the port's tag is the network's.
            segment.vlan = attachment.vlan;
        }
        segment.members.insert(Member { port: attachment.port.clone(), vlan: attachment.vlan });
    }
    LinuxPlan { desired: facts.underlay.map(|vtep| Desired { form: form.clone(), vtep, networks }), refused }
}

/// A network's part on this switch, without its member ports.
fn segment(view: &View, facts: &Facts, form: &Form, claims: &Claims, network: &Network) -> Segment {
    let elsewhere = elsewhere(view, &facts.node, claims, &network.name);
    let remote = |vtep| Remote { vtep, overrule: true };
    Segment {
        vlan: form.has_vlans().then(|| VlanId::try_from(network.id.get()).ok()).flatten(),
        mtu: endpoint_mtu(view, facts, network),
        flood: elsewhere.flood,
        remotes: elsewhere.macs.into_iter().map(|(mac, vtep)| (mac, remote(vtep))).collect(),
        neighbours: elsewhere.addresses,
        ..Segment::default()
    }
}

#[cfg(test)]
mod tests;
