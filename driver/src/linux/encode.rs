//! Changes as netlink messages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use ofctl::MacAddr;
use rtnetlink::packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::link::{
    AfSpecBridge, AfSpecInet6, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, In6AddrGenMode, InfoBridge,
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVlan, InfoVxlan, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::desired::UNFINISHED;
use super::effect::FLOOD;
use super::observed::{PortSettings, VlanMembership, Vxlan};
use crate::linux::Change;
use crate::model::{LinkName, VlanId};

/// A message, and the flags of its request.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// `NUD_NOARP | NUD_REACHABLE` of linux/neighbour.h, iproute2's `static`: the one state that a VXLAN link's table and
/// a bridge's both take, and that ages out of neither.
const STATIC: NeighbourState = NeighbourState::Other(0x42);

/// The request that makes a link, under the name of an unfinished one; none if the change makes none. The index is
/// that of the link that carries a VLAN.
pub(super) fn creation(change: &Change, parent: Option<u32>) -> Option<Request> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(UNFINISHED.to_owned()));
    let info = match change {
        Change::CreateBridge { vlan_filtering, .. } => {
            message.attributes.push(LinkAttribute::Address(random_address()));
            // Snooping without a querier in every network would keep ND's multicast from hosts that joined unseen.
            let mut settings = vec![InfoBridge::MulticastSnooping(false)];
            if *vlan_filtering {
                // No VLAN but those that are asked for: VLAN 1 would join all ports.
                settings.extend([InfoBridge::VlanFiltering(true), InfoBridge::VlanDefaultPvid(0)]);
            }
            vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(settings))]
        }
        Change::CreateVxlan { vxlan, mtu, .. } => {
            message.attributes.push(LinkAttribute::Mtu(u32::from(*mtu)));
            let data = InfoData::Vxlan(vxlan_settings(vxlan));
            vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(data)]
        }
        Change::CreateVlan { vlan, .. } => {
            message.attributes.push(LinkAttribute::Link(parent?));
            let data = InfoData::Vlan(vec![InfoVlan::Id(vlan.get())]);
            vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)]
        }
        _ => return None,
    };
    message.attributes.push(LinkAttribute::LinkInfo(info));
    Some((RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL))
}

/// An address that a bridge keeps. One that it was not given goes with the lowest of its ports', and whenever that is
/// another, the kernel forgets all of the bridge's neighbours, permanent ones too.
fn random_address() -> Vec<u8> {
    let mut address = RandomState::new().build_hasher().finish().to_be_bytes();
    // IEEE 802: of one station, and administered locally.
    address[0] = address[0] & 0xfc | 0x02;
    address[..6].to_vec()
}

fn vxlan_settings(vxlan: &Vxlan) -> Vec<InfoVxlan> {
    let mut settings =
        vec![InfoVxlan::Id(vxlan.vni), InfoVxlan::Port(vxlan.port), InfoVxlan::Learning(vxlan.learning)];
    settings.extend(vxlan.local.map(|local| match local {
        IpAddr::V4(local) => InfoVxlan::Local(local),
        IpAddr::V6(local) => InfoVxlan::Local6(local),
    }));
    if vxlan.zero_checksum_rx6 {
        settings.push(InfoVxlan::UDPZeroCsumRX(true));
    }
    settings
}

/// Keeps the kernel from giving a link an IPv6 address of its own, which would speak into the network.
pub(super) fn no_address_of_its_own(index: u32) -> Request {
    let specifics = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    set_link(index, vec![LinkAttribute::AfSpecUnspec(vec![specifics])])
}

/// Gives an unfinished link its name and alias: from here on it is ours.
pub(super) fn finish(index: u32, name: &LinkName, alias: &str) -> Request {
    set_link(index, vec![LinkAttribute::IfName(name.to_string()), LinkAttribute::IfAlias(alias.to_owned())])
}

/// Asks for a link by name.
pub(super) fn lookup(name: &str) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes =
        vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    RouteNetlinkMessage::GetLink(message)
}

/// Removes a link.
pub(super) fn deletion(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    (RouteNetlinkMessage::DelLink(message), 0)
}

/// The request that carries out a change of a link or table that is there; none if the change makes or removes a
/// link. The indices are those of the change's links, in the order of [`links`].
pub(super) fn request(change: &Change, indices: &[u32]) -> Option<Request> {
    let &[index, ref more @ ..] = indices else { return None };
    let request = match change {
        Change::CreateBridge { .. }
        | Change::CreateVxlan { .. }
        | Change::CreateVlan { .. }
        | Change::DeleteLink { .. } => return None,
        Change::SetMtu { mtu, .. } => set_link(index, vec![LinkAttribute::Mtu(u32::from(*mtu))]),
        Change::SetUp { .. } => {
            let mut message = LinkMessage::default();
            message.header.index = index;
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
            (RouteNetlinkMessage::SetLink(message), 0)
        }
        Change::Join { .. } => set_link(index, vec![LinkAttribute::Controller(*more.first()?)]),
        Change::Leave { .. } => set_link(index, vec![LinkAttribute::Controller(0)]),
        Change::SetPort { settings, .. } => set_port(index, *settings),
        Change::AddVlan { vlan, membership, .. } => {
            (RouteNetlinkMessage::SetLink(port_vlan(index, *vlan, *membership)), 0)
        }
        Change::RemoveVlan { vlan, .. } => {
            (RouteNetlinkMessage::DelLink(port_vlan(index, *vlan, VlanMembership::TAGGED)), 0)
        }
        Change::AddFlood { vtep, .. } => {
            let mut message = vtep_entry(index, FLOOD, *vtep);
            message.header.state = NeighbourState::Permanent;
            (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND)
        }
        Change::RemoveFlood { vtep, .. } => {
            (RouteNetlinkMessage::DelNeighbour(vtep_entry(index, FLOOD, *vtep)), 0)
        }
        Change::SetRemote { mac, vlan, vtep, .. } => {
            let mut message = vtep_entry(index, *mac, *vtep);
            message.header.state = STATIC;
            message.header.flags |= NeighbourFlags::Controller | NeighbourFlags::ExtLearned;
            message.attributes.extend(vlan.map(|vlan| NeighbourAttribute::Vlan(vlan.get())));
            (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Change::RemoveVtep { mac, vtep, .. } => {
            (RouteNetlinkMessage::DelNeighbour(vtep_entry(index, *mac, *vtep)), 0)
        }
        Change::RemoveBridgeEntry { mac, vlan, .. } => {
            let mut message = table_entry(index, *mac);
            message.header.flags = NeighbourFlags::Controller;
            message.attributes.extend(vlan.map(|vlan| NeighbourAttribute::Vlan(vlan.get())));
            (RouteNetlinkMessage::DelNeighbour(message), 0)
        }
        Change::SetNeighbour { address, mac, .. } => {
            let mut message = neighbour(index, *address);
            message.header.state = NeighbourState::Permanent;
            message.header.flags = NeighbourFlags::ExtLearned;
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
            (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        }
        Change::RemoveNeighbour { address, .. } => {
            (RouteNetlinkMessage::DelNeighbour(neighbour(index, *address)), 0)
        }
    };
    Some(request)
}

/// The links that must be there for a change; the first one is what it changes.
pub(super) fn links(change: &Change) -> Vec<&LinkName> {
    match change {
        Change::CreateBridge { .. } | Change::CreateVxlan { .. } => Vec::new(),
        Change::CreateVlan { parent, .. } => vec![parent],
        Change::Join { link, bridge } => vec![link, bridge],
        Change::DeleteLink { link }
        | Change::SetMtu { link, .. }
        | Change::SetUp { link }
        | Change::Leave { link, .. }
        | Change::SetPort { link, .. }
        | Change::AddVlan { link, .. }
        | Change::RemoveVlan { link, .. }
        | Change::SetNeighbour { link, .. }
        | Change::RemoveNeighbour { link, .. } => vec![link],
        Change::AddFlood { vxlan, .. }
        | Change::RemoveFlood { vxlan, .. }
        | Change::SetRemote { vxlan, .. }
        | Change::RemoveVtep { vxlan, .. }
        | Change::RemoveBridgeEntry { vxlan, .. } => vec![vxlan],
    }
}

fn set_link(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// A port's settings are changed by RTM_NEWLINK without NLM_F_CREATE: RTM_SETLINK ignores them.
fn set_port(index: u32, settings: PortSettings) -> Request {
    let mut data = vec![InfoBridgePort::Learning(settings.learning)];
    data.extend(settings.neigh_suppress.map(InfoBridgePort::NeighSupress));
    let info =
        vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(data))];
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::LinkInfo(info)];
    (RouteNetlinkMessage::NewLink(message), 0)
}

fn port_vlan(index: u32, vlan: VlanId, membership: VlanMembership) -> LinkMessage {
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, membership.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, membership.untagged);
    let info = BridgeVlanInfo { flags, vid: vlan.get() };
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message.attributes = vec![LinkAttribute::AfSpecBridge(vec![AfSpecBridge::VlanInfo(info)])];
    message
}

fn table_entry(index: u32, mac: MacAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    message
}

fn vtep_entry(index: u32, mac: MacAddr, vtep: IpAddr) -> NeighbourMessage {
    let mut message = table_entry(index, mac);
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(vtep)));
    message
}

fn neighbour(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::from(address))];
    message
}
