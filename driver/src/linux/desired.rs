//! What shall be on a switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ofctl::MacAddr;
use serde::{Deserialize, Serialize};

use crate::model::{IdError, LinkName, VlanId, Vni};

/// What the alias (`ip link set … alias …`) of every link that we make begins with.
pub const ALIAS_PREFIX: &str = "sluice network ";

/// The name that a link bears until it has its alias, so that one that was left half-made is recognised.
pub const UNFINISHED: &str = "sl-unfinished";

/// The UDP port of VXLAN, RFC 7348 §8.
pub const VXLAN_PORT: u16 = 4789;

/// What shall be on this switch: complete, so that what is ours and not in it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// How networks are laid on bridges.
    pub form: Form,
    /// This switch's own VTEP address. Every remote VTEP must be of the same family: a kernel VXLAN link speaks
    /// one.
    pub vtep: IpAddr,
    /// The networks that have a member port here.
    pub networks: BTreeMap<Vni, Segment>,
}

/// How networks are laid on Linux bridges.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "form")]
pub enum Form {
    /// A bridge without VLANs for each network: `slbr<vni>`, with the VXLAN link `slvx<vni>`. Works on every kernel;
    /// some ASICs carry one VXLAN link a bridge only this way.
    #[default]
    Traditional,
    /// One bridge of ours with VLAN filtering; each network is a VLAN of it ([`Segment::vlan`]), and its VXLAN
    /// link an access port of that VLAN. Needs a kernel with `CONFIG_BRIDGE_VLAN_FILTERING`.
    VlanAware {
        /// The bridge's name.
        bridge: LinkName,
    },
    /// SONiC: `vxlanmgrd` makes bridge, VLANs and VXLAN links (named `…-<vlan>`) from CONFIG_DB. No link is made
    /// or changed, only forwarding entries are written, which `fdbsyncd` takes from the kernel to the ASIC.
    Sonic {
        /// The bridge that holds all VLANs; SONiC's is called `Bridge`.
        bridge: LinkName,
    },
}

/// One network's part on this switch.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Segment {
    /// The VLAN that stands for the network on the bridge: wanted in [`Form::VlanAware`] and [`Form::Sonic`],
    /// without meaning in [`Form::Traditional`].
    pub vlan: Option<VlanId>,
    /// The MTU of the network's packets in bytes, set on the VXLAN link.
    pub mtu: u16,
    /// The ports that belong to the network.
    pub members: BTreeSet<Member>,
    /// The VTEPs to which broadcast, unknown unicast and multicast are sent, one copy each (head-end replication):
    /// all other nodes that have the network.
    pub flood: BTreeSet<IpAddr>,
    /// MACs that are elsewhere.
    pub remotes: BTreeMap<MacAddr, Remote>,
    /// Addresses whose MACs are known, so that the bridge answers ARP and neighbour solicitations itself. An entry
    /// is of use only if its MAC is in `remotes`.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
}

/// Where a MAC is that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The VTEP behind which it is.
    pub vtep: IpAddr,
    /// What to do while the bridge has learned the MAC on a port of its own. False: leave it there and say so
    /// ([`Difference::contested`](super::Difference::contested)), since a host that has just moved here is known
    /// to the bridge before it is known to the store. True: take it from the port, since the store's word is newer
    /// than what the port saw.
    pub overrule: bool,
}

impl Remote {
    /// A MAC behind a VTEP that gives way to a local port which sees it.
    pub const fn new(vtep: IpAddr) -> Remote {
        Remote { vtep, overrule: false }
    }
}

/// A physical port, or one VLAN of it, that belongs to a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The port, such as `swp1`.
    pub port: LinkName,
    /// The IEEE 802.1Q tag that the network's frames carry on the port; none: untagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
}

impl Member {
    /// An untagged port.
    pub fn untagged(port: LinkName) -> Member {
        Member { port, vlan: None }
    }

    /// One VLAN of a port.
    pub fn tagged(port: LinkName, vlan: VlanId) -> Member {
        Member { port, vlan: Some(vlan) }
    }

    /// The link that joins a traditional bridge: the port itself, or its VLAN sub-interface `<port>.<vlan>`.
    ///
    /// # Errors
    /// The sub-interface's name would have more than 15 bytes.
    pub fn link(&self) -> Result<LinkName, IdError> {
        match self.vlan {
            None => Ok(self.port.clone()),
            Some(vlan) => format!("{}.{vlan}", self.port).parse(),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vlan {
            None => write!(out, "{}", self.port),
            Some(vlan) => write!(out, "{} VLAN {vlan}", self.port),
        }
    }
}

impl Form {
    /// The bridge of a network.
    pub fn bridge(&self, vni: Vni) -> LinkName {
        match self {
            Form::Traditional => named("slbr", vni),
            Form::VlanAware { bridge } | Form::Sonic { bridge } => bridge.clone(),
        }
    }

    /// The VXLAN link that we make for a network; none in [`Form::Sonic`], where it is found by VNI and VLAN.
    pub fn vxlan(&self, vni: Vni) -> Option<LinkName> {
        match self {
            Form::Traditional | Form::VlanAware { .. } => Some(named("slvx", vni)),
            Form::Sonic { .. } => None,
        }
    }

    /// The link on which a network's neighbours are kept: where the bridge looks when it answers ARP and ND. With
    /// VLANs that is the VLAN's own link: ours is `<bridge>.<vlan>`, SONiC's is `Vlan<vlan>`.
    pub fn neighbour_link(&self, vni: Vni, vlan: Option<VlanId>) -> Option<LinkName> {
        self.neighbour_link_of(&self.bridge(vni), vlan)
    }

    pub(super) fn neighbour_link_of(&self, bridge: &LinkName, vlan: Option<VlanId>) -> Option<LinkName> {
        match (self, vlan) {
            (Form::Traditional, _) => Some(bridge.clone()),
            (Form::VlanAware { .. }, Some(vlan)) => format!("{bridge}.{vlan}").parse().ok(),
            (Form::Sonic { .. }, Some(vlan)) => format!("Vlan{vlan}").parse().ok(),
            (Form::VlanAware { .. } | Form::Sonic { .. }, None) => None,
        }
    }

    /// True if all networks share one bridge and VLANs keep them apart.
    pub const fn has_vlans(&self) -> bool {
        !matches!(self, Form::Traditional)
    }
}

fn named(prefix: &str, vni: Vni) -> LinkName {
    format!("{prefix}{vni}").parse().expect("four letters and at most eight digits fit a link name")
}

impl LinkName {
    /// True for the name of a VXLAN link that SONiC made for a VLAN. `fdbsyncd` reads the VLAN from there, too.
    pub(super) fn is_sonic_vxlan_of(&self, vlan: VlanId) -> bool {
        self.as_str().rsplit_once('-').is_some_and(|(_, digits)| digits.parse() == Ok(vlan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_linux() {
        let most: Vni = "16777215".parse().unwrap();
        assert_eq!(Form::Traditional.bridge(most).as_str(), "slbr16777215");
        assert_eq!(Form::Traditional.vxlan(most).unwrap().as_str(), "slvx16777215");
        let swp1: LinkName = "swp1".parse().unwrap();
        let vlan: VlanId = "20".parse().unwrap();
        assert_eq!(Member::tagged(swp1.clone(), vlan).link().unwrap().as_str(), "swp1.20");
        assert_eq!(Member::untagged(swp1.clone()).link().unwrap(), swp1);
        let long = Member::tagged("Ethernet100".parse().unwrap(), "4094".parse().unwrap());
        assert!(long.link().unwrap_err().to_string().contains("Ethernet100.4094"));
        assert!(UNFINISHED.parse::<LinkName>().is_ok());
    }
}
