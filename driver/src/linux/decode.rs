//! What the kernel's messages say, with names in place of indices.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ofctl::MacAddr;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfoFlags, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoVlan, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};

use super::desired::VXLAN_PORT;
use super::observed::{
    BridgeEntry, Learned, Link, LinkKind, Neighbour, PortSettings, VlanMembership, VtepEntry, Vxlan,
};
use crate::model::{LinkName, VlanId};

/// `NUD_*` of linux/neighbour.h.
mod nud {
    pub(super) const INCOMPLETE: u16 = 0x01;
    pub(super) const FAILED: u16 = 0x20;
    pub(super) const NOARP: u16 = 0x40;
    pub(super) const PERMANENT: u16 = 0x80;
}

/// The links' names by index.
pub(super) type Names = BTreeMap<u32, LinkName>;

/// The name and index of the link that a message describes; none if the name is one that sluice cannot say, as with
/// a colon in it.
pub(super) fn name_of(message: &LinkMessage) -> Option<(u32, LinkName)> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => name.parse().ok(),
        _ => None,
    })?;
    Some((message.header.index, name))
}

/// A link, from a message of the family AF_UNSPEC. Its VLANs and addresses are in other messages.
pub(super) fn link(message: &LinkMessage, names: &Names) -> Link {
    let flags = message.header.flags;
    let mut link = Link::new(message.header.index, LinkKind::Other(None));
    link.up = flags.contains(LinkFlags::Up);
    link.running = link.up && flags.contains(LinkFlags::Running);
    let mut parent = None;
    let mut elsewhere = false;
    let mut details: &[LinkInfo] = &[];
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = names.get(index).cloned(),
            LinkAttribute::Link(index) => parent = names.get(index).cloned(),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => details = infos,
            _ => {}
        }
    }
    link.kind = kind(details, parent.filter(|_| !elsewhere));
    link.port = details.iter().find_map(|detail| match detail {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => Some(port(settings)),
        _ => None,
    });
    link
}

fn kind(details: &[LinkInfo], parent: Option<LinkName>) -> LinkKind {
    let name = details.iter().find_map(|detail| match detail {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let data = details.iter().find_map(|detail| match detail {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match (name, data) {
        (Some(InfoKind::Bridge), data) => {
            let settings = match data {
                Some(InfoData::Bridge(settings)) => settings.as_slice(),
                _ => &[],
            };
            LinkKind::Bridge { vlan_filtering: settings.contains(&InfoBridge::VlanFiltering(true)) }
        }
        (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(settings))) => LinkKind::Vxlan(vxlan(settings)),
        (Some(InfoKind::Vlan), Some(InfoData::Vlan(settings))) => {
            let vlan = settings.iter().find_map(|setting| match setting {
                InfoVlan::Id(vlan) => VlanId::try_from(u32::from(*vlan)).ok(),
                _ => None,
            });
            match vlan {
                Some(vlan) => LinkKind::Vlan { parent, vlan },
                // Priority tags, VLAN 0.
                None => LinkKind::Other(Some(InfoKind::Vlan.to_string())),
            }
        }
        (kind, _) => LinkKind::Other(kind.map(InfoKind::to_string)),
    }
}

fn vxlan(settings: &[InfoVxlan]) -> Vxlan {
    let mut vxlan =
        Vxlan { vni: 0, local: None, port: VXLAN_PORT, learning: false, zero_checksum_rx6: false };
    for setting in settings {
        match setting {
            InfoVxlan::Id(vni) => vxlan.vni = *vni,
            InfoVxlan::Local(local) => vxlan.local = Some((*local).into()),
            InfoVxlan::Local6(local) => vxlan.local = Some((*local).into()),
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Learning(learning) => vxlan.learning = *learning,
            InfoVxlan::UDPZeroCsumRX(zero) => vxlan.zero_checksum_rx6 = *zero,
            _ => {}
        }
    }
    vxlan
}

fn port(settings: &[InfoBridgePort]) -> PortSettings {
    let mut port = PortSettings { learning: true, neigh_suppress: None };
    for setting in settings {
        match setting {
            InfoBridgePort::Learning(learning) => port.learning = *learning,
            InfoBridgePort::NeighSupress(suppress) => port.neigh_suppress = Some(*suppress),
            _ => {}
        }
    }
    port
}

/// The VLANs of a bridge port, from a message of the family AF_BRIDGE; none if it says nothing of VLANs.
pub(super) fn vlans(message: &LinkMessage) -> Option<BTreeMap<VlanId, VlanMembership>> {
    let specifics = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::AfSpecBridge(specifics) => Some(specifics),
        _ => None,
    })?;
    let mut vlans = BTreeMap::new();
    let mut begin = None;
    for specific in specifics {
        let AfSpecBridge::VlanInfo(info) = specific else { continue };
        // Notifications give ranges, by their first and last VLAN.
        if info.flags.contains(BridgeVlanInfoFlags::RangeBegin) {
            begin = Some(info.vid);
            continue;
        }
        let membership = VlanMembership {
            pvid: info.flags.contains(BridgeVlanInfoFlags::Pvid),
            untagged: info.flags.contains(BridgeVlanInfoFlags::Untagged),
        };
        for vlan in begin.take().unwrap_or(info.vid)..=info.vid {
            vlans.extend(VlanId::try_from(u32::from(vlan)).map(|vlan| (vlan, membership)));
        }
    }
    Some(vlans)
}

/// A link's own address with the link's index; none for a link-local one.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the other side's.
            AddressAttribute::Local(local) => found = Some(*local),
            AddressAttribute::Address(address) if found.is_none() => found = Some(*address),
            _ => {}
        }
    }
    let is_link_local = matches!(found, Some(IpAddr::V6(address)) if address.is_unicast_link_local());
    Some((message.header.index, found.filter(|_| !is_link_local)?))
}

/// What a neighbour message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An entry of a bridge's table.
    Bridge { bridge: LinkName, mac: MacAddr, vlan: Option<VlanId>, entry: BridgeEntry },
    /// An entry of a VXLAN link's own table.
    Vtep { vxlan: LinkName, mac: MacAddr, vtep: IpAddr, entry: VtepEntry },
    /// A neighbour; none: the kernel looks for it, or does not find it.
    Neighbour { link: LinkName, address: IpAddr, neighbour: Option<Neighbour> },
}

/// What a neighbour message says; none if it is of no interest, such as a network card's own filters.
pub(super) fn entry(
    message: &NeighbourMessage,
    names: &Names,
    links: &BTreeMap<LinkName, Link>,
) -> Option<Entry> {
    let link = names.get(&message.header.ifindex)?.clone();
    let state = u16::from(message.header.state);
    let flags = message.header.flags;
    let external = flags.contains(NeighbourFlags::ExtLearned);
    let offloaded = flags.contains(NeighbourFlags::Offloaded);
    let (mut mac, mut destination, mut vlan, mut master) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            NeighbourAttribute::Destination(address) => destination = ip(address),
            NeighbourAttribute::Vlan(tag) => vlan = VlanId::try_from(u32::from(*tag)).ok(),
            NeighbourAttribute::Controller(index) => master = Some(names.get(index)?.clone()),
            _ => {}
        }
    }
    if message.header.family != AddressFamily::Bridge {
        let address = destination.filter(|address| !address.is_multicast())?;
        let is_known = state != 0 && state & (nud::INCOMPLETE | nud::FAILED) == 0;
        let neighbour = mac.filter(|_| is_known).map(|mac| Neighbour {
            mac,
            permanent: state & (nud::PERMANENT | nud::NOARP) != 0,
            external,
        });
        return Some(Entry::Neighbour { link, address, neighbour });
    }
    let mac = mac?;
    match (master, destination) {
        (Some(bridge), _) => {
            let entry = BridgeEntry { port: link, learned: learned(state, external), offloaded };
            Some(Entry::Bridge { bridge, mac, vlan, entry })
        }
        (None, Some(vtep)) => {
            let permanent = state & (nud::PERMANENT | nud::NOARP) != 0;
            Some(Entry::Vtep { vxlan: link, mac, vtep, entry: VtepEntry { external, permanent, offloaded } })
        }
        // Kernels before 3.16 do not say which bridge an entry is of.
        (None, None) if !flags.contains(NeighbourFlags::Own) => {
            let bridge = links.get(&link)?.master.clone()?;
            let entry = BridgeEntry { port: link, learned: learned(state, external), offloaded };
            Some(Entry::Bridge { bridge, mac, vlan, entry })
        }
        (None, None) => None,
    }
}

fn learned(state: u16, external: bool) -> Learned {
    if state & nud::PERMANENT != 0 {
        Learned::Own
    } else if external {
        Learned::Externally
    } else if state & nud::NOARP != 0 {
        Learned::Static
    } else {
        Learned::FromPackets
    }
}

/// In a message of the family AF_BRIDGE an address' own family shows by its length alone.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(bytes.as_slice())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
            .ok(),
        _ => None,
    }
}
