//! What a switch's database shall hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ofctl::MacAddr;

use crate::model::{NetworkName, NodeName, PortTag, Vni};

/// What shall be in the database for one switch: complete, so that what is ours and not in it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The node that the switch is.
    pub node: NodeName,
    /// Its name in the database (`Physical_Switch.name`).
    pub switch: String,
    /// Where its tunnels end.
    pub tunnel: IpAddr,
    /// The networks that have a member port here.
    pub networks: BTreeMap<Vni, Segment>,
}

/// One network's part on the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The network.
    pub name: NetworkName,
    /// The ports, and VLANs of them, that belong to it.
    pub members: BTreeSet<PortTag>,
    /// The tunnel ends that get a copy of broadcasts and of frames to unknown MACs.
    pub flood: BTreeSet<IpAddr>,
    /// MACs that are elsewhere.
    pub remotes: BTreeMap<MacAddr, Remote>,
    /// Tunnel ends that the switch cannot send to, since it knows VXLAN over IPv4 only.
    pub unreachable: BTreeSet<IpAddr>,
}

impl Segment {
    /// A network without members.
    pub fn new(name: NetworkName) -> Segment {
        Segment {
            name,
            members: BTreeSet::new(),
            flood: BTreeSet::new(),
            remotes: BTreeMap::new(),
            unreachable: BTreeSet::new(),
        }
    }
}

/// Where a MAC is that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The tunnel end behind which it is.
    pub vtep: IpAddr,
    /// An address for which the switch may answer ARP in its name.
    pub address: Option<IpAddr>,
}

/// What the description of a logical switch says if it is one of sluice's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The node for which it was made.
    pub node: NodeName,
    /// The network.
    pub network: NetworkName,
}

impl Mark {
    /// Reads a description; none if it is not one of sluice's.
    pub fn read(description: &str) -> Option<Mark> {
        let (node, network) = description.strip_prefix("sluice node ")?.split_once(" network ")?;
        Some(Mark { node: node.parse().ok()?, network: network.parse().ok()? })
    }

    /// The logical switch's name. It tells people what it is; what tells us is the description.
    pub fn logical_switch(&self) -> String {
        format!("sluice-{}-{}", self.node, self.network)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "sluice node {} network {}", self.node, self.network)
    }
}
