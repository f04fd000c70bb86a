//! What a switch sees on its ports, whatever it forwards with.

use std::net::IpAddr;

use ofctl::MacAddr;

use crate::model::{NetworkName, PortTag, Vni};

/// A MAC on a port of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The network.
    pub vni: Vni,
    /// The MAC.
    pub mac: MacAddr,
    /// The port; none: one of the network's ports, and the switch does not tell which.
    pub at: Option<PortTag>,
    /// The addresses under which the switch itself knows it; mostly none.
    pub addresses: Vec<IpAddr>,
}

/// What is seen on the switch's ports.
#[derive(Clone, Debug)]
pub enum Sighted {
    /// Every MAC there is; nobody knows since when.
    All(Vec<Sight>),
    /// A MAC appeared, moved to another port or from elsewhere, or is known by other addresses.
    Learned {
        /// Where it is now.
        sight: Sight,
        /// Until now the switch was told that it is behind another node.
        was_remote: bool,
    },
    /// A MAC is on no port any more.
    Forgotten {
        /// The network.
        vni: Vni,
        /// The MAC.
        mac: MacAddr,
    },
}

/// A MAC seen on a port, with its network's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStation {
    /// The network.
    pub network: NetworkName,
    /// The MAC.
    pub mac: MacAddr,
    /// The port, if the switch tells.
    pub at: Option<PortTag>,
}
