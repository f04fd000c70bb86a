//! The plan of a `hardware_vtep` switch: from the same view as the hosts' flows to what its database should hold.
//!
//! Which networks it has, and who is where, [`attached`](super::attached) says for every kind of switch.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::attached::{Claims, Refused, attached, elsewhere};
use super::view::{Facts, View};
use crate::model::{Network, Node, PortAttachment};
use crate::vtep::{Desired, Remote, Segment};

/// What a switch should be told, and what it cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VtepPlan {
    /// What its database should hold.
    pub desired: Desired,
    /// Attached ports whose network cannot be carried, and why.
    pub refused: Vec<(PortAttachment, Refused)>,
}

/// The plan that follows from the view, for the switch of this name in its database, whose tunnels end at `tunnel`.
pub fn plan(view: &View, facts: &Facts, switch: &str, tunnel: IpAddr, claims: &Claims) -> VtepPlan {
    let mut networks: BTreeMap<_, Segment> = BTreeMap::new();
    let mut refused = Vec::new();
    // The switch itself has just told where its tunnels end, and the store may not have heard it yet.
    let own = view.nodes.get(&facts.node);
    let own = own.map(|own| Node { underlay: Some(tunnel), ..own.as_ref().clone() });
    for (attachment, network) in attached(view, facts, own.as_ref()) {
        let network = match network {
            Ok(network) => network,
            Err(reason) => {
                refused.push((attachment.clone(), reason));
                continue;
            }
        };
        let Some(vni) = network.vni else { continue };
        let segment = networks.entry(vni).or_insert_with(|| segment(view, facts, claims, network));
        segment.members.insert(attachment.at());
    }
    VtepPlan {
        desired: Desired { node: facts.node.clone(), switch: switch.to_owned(), tunnel, networks },
        refused,
    }
}

/// A network's part on this switch, without its member ports.
fn segment(view: &View, facts: &Facts, claims: &Claims, network: &Network) -> Segment {
    let elsewhere = elsewhere(view, &facts.node, claims, &network.name);
    let mut segment = Segment::new(network.name.clone());
    for vtep in elsewhere.flood {
        match vtep {
            IpAddr::V4(_) => segment.flood.insert(vtep),
            IpAddr::V6(_) => segment.unreachable.insert(vtep),
        };
    }
    let reachable = elsewhere.macs.into_iter().filter(|(_, vtep)| vtep.is_ipv4());
    segment.remotes = reachable.map(|(mac, vtep)| (mac, Remote { vtep, address: None })).collect();
    // A row has room for one address: the first of IPv4, which every switch can answer for, else the first of IPv6.
    for (address, mac) in elsewhere.addresses {
        if let Some(remote) = segment.remotes.get_mut(&mac) {
            remote.address.get_or_insert(address);
        }
    }
    segment
}

#[cfg(test)]
mod tests;
