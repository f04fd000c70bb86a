//! What is on a switch, as its kernel lists it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;

use super::desired::{ALIAS_PREFIX, Form, Member};
use crate::model::{LinkName, VlanId, Vni};

/// Links, forwarding tables and neighbours of the network namespace.
///
/// Everything goes by link names, which are what operators and errors know; the edge turns them into indices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// Every link.
    pub links: BTreeMap<LinkName, Link>,
    /// The bridges' tables (`bridge fdb show … master`), by bridge.
    pub bridge_entries: BTreeMap<LinkName, BTreeMap<(MacAddr, Option<VlanId>), BridgeEntry>>,
    /// The VXLAN links' own tables (`… self`), by link, MAC and remote VTEP. The MAC 00:00:00:00:00:00 is the
    /// head-end replication list.
    pub vtep_entries: BTreeMap<LinkName, BTreeMap<MacAddr, BTreeMap<IpAddr, VtepEntry>>>,
    /// Neighbours on bridges and on VLAN links of bridges, by link.
    pub neighbours: BTreeMap<LinkName, BTreeMap<IpAddr, Neighbour>>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// What kind it is, with what matters of it.
    pub kind: LinkKind,
    /// Its alias.
    pub alias: Option<String>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it can pass packets: up, and with a carrier.
    pub running: bool,
    /// The bridge, bond or VRF that it is a port of.
    pub master: Option<LinkName>,
    /// Its settings as a port of a bridge; none: it is in no bridge.
    pub port: Option<PortSettings>,
    /// Its VLANs as a port of a bridge with VLAN filtering.
    pub vlans: BTreeMap<VlanId, VlanMembership>,
    /// Its addresses, without link-local ones.
    pub addresses: BTreeSet<IpAddr>,
}

/// What kind a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A bridge.
    Bridge {
        /// Whether it keeps VLANs apart.
        vlan_filtering: bool,
    },
    /// A VXLAN tunnel end.
    Vxlan(Vxlan),
    /// A VLAN of another link.
    Vlan {
        /// The link that carries it; none: it is in another network namespace.
        parent: Option<LinkName>,
        /// The tag.
        vlan: VlanId,
    },
    /// Another kind with a name (`veth`, `bond`, `dummy`); none for a physical device.
    Other(Option<String>),
}

/// A VXLAN link's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network.
    pub vni: u32,
    /// The outer source address.
    pub local: Option<IpAddr>,
    /// The UDP destination port.
    pub port: u16,
    /// Whether it learns VTEPs from what it receives.
    pub learning: bool,
    /// Whether it takes packets without UDP checksum over IPv6 (RFC 6935), as Open vSwitch may send.
    pub zero_checksum_rx6: bool,
}

/// A bridge port's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// Whether the bridge learns MACs on it.
    pub learning: bool,
    /// Whether the bridge answers ARP and ND that would leave by it; none: the kernel is older than 4.15 and cannot.
    pub neigh_suppress: Option<bool>,
}

/// How a port carries a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VlanMembership {
    /// Untagged frames that enter belong to this VLAN.
    pub pvid: bool,
    /// Frames leave untagged.
    pub untagged: bool,
}

/// An entry of a bridge's forwarding table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeEntry {
    /// The port to which frames go.
    pub port: LinkName,
    /// How it came to be there.
    pub learned: Learned,
    /// The ASIC has it.
    pub offloaded: bool,
}

/// How an entry came to be in a bridge's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// From a packet; it ages out.
    FromPackets,
    /// By a control plane (`extern_learn`); it stays, and moves when a packet from the MAC enters another port.
    Externally,
    /// By hand (`static`).
    Static,
    /// It is the bridge's or a port's own address (`permanent`).
    Own,
}

/// An entry of a VXLAN link's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VtepEntry {
    /// Put there by a control plane (`extern_learn`).
    pub external: bool,
    /// It does not age out.
    pub permanent: bool,
    /// The ASIC has it.
    pub offloaded: bool,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address.
    pub mac: MacAddr,
    /// It does not age out: it was put there.
    pub permanent: bool,
    /// Put there by a control plane (`extern_learn`).
    pub external: bool,
}

/// A MAC that the bridge has learned on a member port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalMac {
    /// The network.
    pub vni: Vni,
    /// The MAC.
    pub mac: MacAddr,
    /// The port, and the VLAN on it, behind which it is.
    pub member: Member,
    /// The addresses under which the switch itself knows it; mostly none.
    pub addresses: BTreeSet<IpAddr>,
}

/// Something that changed in the kernel without us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A MAC appeared on a member port, moved to one (from another port or from a remote VTEP), or is known by
    /// other addresses.
    Learned {
        /// Where it is now.
        local: LocalMac,
        /// It was an entry of ours for a remote VTEP until now: the host has moved here.
        was_remote: bool,
    },
    /// A MAC is on no member port any more: it aged out, its port went down, or it is remote now.
    Forgotten {
        /// The network.
        vni: Vni,
        /// The MAC.
        mac: MacAddr,
    },
    /// A link went up or down, appeared or disappeared.
    Link {
        /// The link.
        link: LinkName,
        /// Whether it passes packets now; none: it is gone.
        running: Option<bool>,
    },
    /// Notifications were lost, and everything was read again; the events that follow make up for what was lost.
    /// A full synchronisation is due.
    Resynchronised,
}

/// Which VXLAN link of a network namespace gets a packet: two with the same cannot both be.
pub(super) type VxlanKey = (u32, u16);

impl Vxlan {
    pub(super) const fn key(&self) -> VxlanKey {
        (self.vni, self.port)
    }
}

impl Link {
    /// True if we made it: its alias says so.
    pub fn is_ours(&self) -> bool {
        self.alias.as_deref().is_some_and(|alias| alias.starts_with(ALIAS_PREFIX))
    }
}

impl Observed {
    /// The MACs learned on member ports of our bridges, in order.
    pub fn local_macs(&self, form: &Form) -> Vec<LocalMac> {
        let mut found = Vec::new();
        for (bridge, entries) in &self.bridge_entries {
            for ((mac, vlan), entry) in entries {
                found.extend(self.local_mac(form, bridge, *mac, *vlan, entry));
            }
        }
        found.sort();
        found
    }
}

impl Observed {
    /// True for a bridge or a VLAN link of one: a switch's other neighbours are its router's business.
    pub(super) fn keeps_neighbours(&self, link: &LinkName) -> bool {
        let is_bridge = |link: &LinkName| {
            self.links.get(link).is_some_and(|link| matches!(link.kind, LinkKind::Bridge { .. }))
        };
        match self.links.get(link).map(|link| &link.kind) {
            Some(LinkKind::Bridge { .. }) => true,
            Some(LinkKind::Vlan { parent: Some(parent), .. }) => is_bridge(parent),
            _ => false,
        }
    }

    /// What a bridge's entry says about a MAC on a member port; none if it is not a MAC learned from packets on a
    /// port of a bridge of ours.
    pub(super) fn local_mac(
        &self,
        form: &Form,
        bridge: &LinkName,
        mac: MacAddr,
        vlan: Option<VlanId>,
        entry: &BridgeEntry,
    ) -> Option<LocalMac> {
        let port = self.links.get(&entry.port)?;
        if entry.learned != Learned::FromPackets || matches!(port.kind, LinkKind::Vxlan(_)) {
            return None;
        }
        let vni = self.network_of(form, bridge, vlan)?;
        let member = self.member(&entry.port, vlan.filter(|_| form.has_vlans()));
        let neighbours = form.neighbour_link_of(bridge, vlan).and_then(|link| self.neighbours.get(&link));
        let addresses = neighbours
            .into_iter()
            .flatten()
            .filter(|(_, neighbour)| neighbour.mac == mac && !neighbour.permanent)
            .map(|(address, _)| *address)
            .collect();
        Some(LocalMac { vni, mac, member, addresses })
    }

    /// The member that a bridge's port is, in the bridge's VLAN where it has any.
    pub(super) fn member(&self, port: &LinkName, vlan: Option<VlanId>) -> Member {
        let Some(link) = self.links.get(port) else { return Member::untagged(port.clone()) };
        match (vlan, &link.kind) {
            (Some(vlan), _) => {
                let untagged = link.vlans.get(&vlan).is_some_and(|membership| membership.untagged);
                Member { port: port.clone(), vlan: (!untagged).then_some(vlan) }
            }
            (None, LinkKind::Vlan { parent: Some(parent), vlan }) => {
                let tagged = Member::tagged(parent.clone(), *vlan);
                if tagged.link().as_ref() == Ok(port) { tagged } else { Member::untagged(port.clone()) }
            }
            (None, _) => Member::untagged(port.clone()),
        }
    }

    /// The network of a bridge, or of a VLAN of it.
    pub(super) fn network_of(&self, form: &Form, bridge: &LinkName, vlan: Option<VlanId>) -> Option<Vni> {
        let vxlan_of = |wanted: &dyn Fn(&LinkName, &Link) -> bool| {
            self.links.iter().find_map(|(name, link)| match &link.kind {
                LinkKind::Vxlan(vxlan) if link.master.as_ref() == Some(bridge) && wanted(name, link) => {
                    Vni::try_from(vxlan.vni).ok()
                }
                _ => None,
            })
        };
        match form {
            Form::Traditional => {
                let vni: Vni = bridge.as_str().strip_prefix("slbr")?.parse().ok()?;
                self.links.get(bridge).is_some_and(Link::is_ours).then_some(vni)
            }
            Form::VlanAware { bridge: ours } => {
                let is_ours = bridge == ours && self.links.get(bridge).is_some_and(Link::is_ours);
                let vlan = vlan.filter(|_| is_ours)?;
                vxlan_of(&|_, link| link.vlans.get(&vlan).is_some_and(|membership| membership.pvid))
            }
            Form::Sonic { bridge: sonics } => {
                let vlan = vlan.filter(|_| bridge == sonics)?;
                vxlan_of(&|name, _| name.is_sonic_vxlan_of(vlan))
            }
        }
    }
}
