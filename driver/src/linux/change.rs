//! One step from what is to what shall be, and why a step is not taken.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ofctl::MacAddr;

use super::desired::Member;
use super::observed::{PortSettings, VlanMembership, Vxlan};
use crate::model::{LinkName, VlanId, Vni};

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Difference {
    /// What to do, in this order: what carries traffic is added before what it replaces is removed.
    pub changes: Vec<Change>,
    /// What is desired and cannot be, with its remedy. The rest is done all the same.
    pub refusals: Vec<Refusal>,
    /// MACs that are desired elsewhere and that the bridge has learned here.
    pub contested: Vec<Contested>,
}

/// A MAC that the store has elsewhere and the bridge on a port of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// The network.
    pub vni: Vni,
    /// The MAC.
    pub mac: MacAddr,
    /// The port that has seen it.
    pub member: Member,
    /// The VTEP behind which the store has it.
    pub vtep: IpAddr,
}

/// One step. Each is idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a bridge and mark it as ours; it is down.
    CreateBridge {
        /// Its name.
        link: LinkName,
        /// Its alias.
        alias: String,
        /// Whether it keeps VLANs apart.
        vlan_filtering: bool,
    },
    /// Make a VXLAN link and mark it as ours; it is down.
    CreateVxlan {
        /// Its name.
        link: LinkName,
        /// Its alias.
        alias: String,
        /// Its settings.
        vxlan: Vxlan,
        /// Its MTU in bytes.
        mtu: u16,
    },
    /// Make a VLAN sub-interface of a port or bridge and mark it as ours; it is down.
    CreateVlan {
        /// Its name.
        link: LinkName,
        /// Its alias.
        alias: String,
        /// The link that carries it.
        parent: LinkName,
        /// The tag.
        vlan: VlanId,
    },
    /// Remove a link of ours.
    DeleteLink {
        /// Its name.
        link: LinkName,
    },
    /// Set a link's MTU.
    SetMtu {
        /// The link.
        link: LinkName,
        /// Bytes.
        mtu: u16,
    },
    /// Set a link administratively up.
    SetUp {
        /// The link.
        link: LinkName,
    },
    /// Make a link a port of a bridge of ours.
    Join {
        /// The link.
        link: LinkName,
        /// The bridge.
        bridge: LinkName,
    },
    /// Take a link out of a bridge of ours.
    Leave {
        /// The link.
        link: LinkName,
        /// The bridge.
        bridge: LinkName,
    },
    /// Set what the bridge does on a port.
    SetPort {
        /// The port.
        link: LinkName,
        /// The settings.
        settings: PortSettings,
    },
    /// Let a port carry a VLAN, or change how it does.
    AddVlan {
        /// The port.
        link: LinkName,
        /// The VLAN.
        vlan: VlanId,
        /// How.
        membership: VlanMembership,
    },
    /// Let a port not carry a VLAN any more.
    RemoveVlan {
        /// The port.
        link: LinkName,
        /// The VLAN.
        vlan: VlanId,
    },
    /// Add a VTEP to a VXLAN link's head-end replication list.
    AddFlood {
        /// The VXLAN link.
        vxlan: LinkName,
        /// The VTEP.
        vtep: IpAddr,
    },
    /// Remove a VTEP from a VXLAN link's head-end replication list.
    RemoveFlood {
        /// The VXLAN link.
        vxlan: LinkName,
        /// The VTEP.
        vtep: IpAddr,
    },
    /// Say behind which VTEP a MAC is: in the VXLAN link's table and in the bridge's, in one request.
    SetRemote {
        /// The VXLAN link.
        vxlan: LinkName,
        /// The MAC.
        mac: MacAddr,
        /// The VLAN in the bridge's table.
        vlan: Option<VlanId>,
        /// The VTEP.
        vtep: IpAddr,
    },
    /// Remove a MAC from a VXLAN link's own table.
    RemoveVtep {
        /// The VXLAN link.
        vxlan: LinkName,
        /// The MAC.
        mac: MacAddr,
        /// The VTEP.
        vtep: IpAddr,
    },
    /// Remove a MAC that is at a VXLAN link from the bridge's table.
    RemoveBridgeEntry {
        /// The VXLAN link.
        vxlan: LinkName,
        /// The MAC.
        mac: MacAddr,
        /// The VLAN in the bridge's table.
        vlan: Option<VlanId>,
    },
    /// Say which MAC an address has, for the bridge to answer ARP and ND.
    SetNeighbour {
        /// The bridge, or the VLAN link of it.
        link: LinkName,
        /// The address.
        address: IpAddr,
        /// The MAC.
        mac: MacAddr,
    },
    /// Forget which MAC an address has.
    RemoveNeighbour {
        /// The bridge, or the VLAN link of it.
        link: LinkName,
        /// The address.
        address: IpAddr,
    },
}

impl fmt::Display for Change {
    /// As the command of iproute2 that does the same, without `ip` or `bridge` before it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::CreateBridge { link, .. } => write!(out, "create bridge {link}"),
            Change::CreateVxlan { link, vxlan, .. } => {
                write!(out, "create VXLAN link {link} with VNI {}", vxlan.vni)
            }
            Change::CreateVlan { link, parent, vlan, .. } => {
                write!(out, "create VLAN link {link} for VLAN {vlan} of {parent}")
            }
            Change::DeleteLink { link } => write!(out, "remove link {link}"),
            Change::SetMtu { link, mtu } => write!(out, "set the MTU of {link} to {mtu}"),
            Change::SetUp { link } => write!(out, "set {link} up"),
            Change::Join { link, bridge } => write!(out, "make {link} a port of {bridge}"),
            Change::Leave { link, bridge } => write!(out, "take {link} out of {bridge}"),
            Change::SetPort { link, settings } => write!(
                out,
                "set bridge port {link} to learning {}, neighbour suppression {}",
                on(settings.learning),
                settings.neigh_suppress.map_or("as it is", on)
            ),
            Change::AddVlan { link, vlan, .. } => write!(out, "let {link} carry VLAN {vlan}"),
            Change::RemoveVlan { link, vlan } => write!(out, "let {link} not carry VLAN {vlan}"),
            Change::AddFlood { vxlan, vtep } => write!(out, "add VTEP {vtep} to the flood list of {vxlan}"),
            Change::RemoveFlood { vxlan, vtep } => {
                write!(out, "remove VTEP {vtep} from the flood list of {vxlan}")
            }
            Change::SetRemote { vxlan, mac, vtep, .. } => {
                write!(out, "send {mac} by {vxlan} to VTEP {vtep}")
            }
            Change::RemoveVtep { vxlan, mac, vtep } => {
                write!(out, "remove {mac} to VTEP {vtep} from the table of {vxlan}")
            }
            Change::RemoveBridgeEntry { vxlan, mac, .. } => {
                write!(out, "remove {mac} at {vxlan} from the bridge's table")
            }
            Change::SetNeighbour { link, address, mac } => {
                write!(out, "set neighbour {address} on {link} to {mac}")
            }
            Change::RemoveNeighbour { link, address } => write!(out, "remove neighbour {address} on {link}"),
        }
    }
}

const fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// Why something desired cannot be, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A link that sluice did not make has the name of one that it needs.
    #[error(
        "network {vni} needs the name {link}, which a link has that sluice did not make: rename or remove that \
         link"
    )]
    NameTaken {
        /// The network.
        vni: Vni,
        /// The name.
        link: LinkName,
    },
    /// The port is in a bridge or bond of somebody else's.
    #[error(
        "port {member} cannot join network {vni}: {link} is a port of {master}, which sluice did not make: take it \
         out (ip link set {link} nomaster) or attach another port"
    )]
    PortInForeignMaster {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// Its link.
        link: LinkName,
        /// Whose port it is.
        master: LinkName,
    },
    /// There is no such port.
    #[error("port {member} cannot join network {vni}: this switch has no link {link}: see 'ip link'")]
    NoSuchPort {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// The missing link.
        link: LinkName,
    },
    /// The port is not one that can join: it is one of our own links, or a bridge.
    #[error("port {member} cannot join network {vni}: {link} is {what}: attach a physical port")]
    NotAPort {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// The link.
        link: LinkName,
        /// What it is.
        what: &'static str,
    },
    /// The port has addresses, which would stop working in a bridge.
    #[error(
        "port {member} cannot join network {vni}: it has the address {}, which would stop working in a bridge: \
         remove it (ip address del … dev {}), or attach another port",
        list(addresses), member.port
    )]
    RoutedPort {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// Its addresses.
        addresses: BTreeSet<IpAddr>,
    },
    /// The sub-interface's name would be too long for Linux.
    #[error(
        "port {member} cannot join network {vni}: the link name {port}.{vlan} would have more than 15 bytes: rename \
         the port (ip link set {port} name …), or use a VLAN-aware bridge",
        port = member.port, vlan = member.vlan.map_or(0, VlanId::get)
    )]
    NameTooLong {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
    },
    /// Two networks want one port, or one VLAN of it.
    #[error(
        "port {member} cannot join network {vni}: it is attached to network {other}: detach it there first"
    )]
    AttachedTwice {
        /// The network that is refused.
        vni: Vni,
        /// The port.
        member: Member,
        /// The network that has it.
        other: Vni,
    },
    /// A bridge with VLANs cannot translate tags.
    #[error(
        "port {member} cannot join network {vni}: on bridge {bridge} the network is VLAN {vlan}, and a VLAN-aware \
         bridge does not translate tags: attach it with --vlan {vlan}, or untagged"
    )]
    OtherTag {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// The bridge.
        bridge: LinkName,
        /// The network's VLAN.
        vlan: VlanId,
    },
    /// Another link has the VLAN of the port.
    #[error(
        "port {member} cannot join network {vni}: that VLAN of the port is the link {link}, which sluice did not \
         make: remove it (ip link del {link}), or attach another VLAN"
    )]
    VlanLinkTaken {
        /// The network.
        vni: Vni,
        /// The port.
        member: Member,
        /// The link that has it.
        link: LinkName,
    },
    /// A VXLAN link that sluice did not make has the network's VNI.
    #[error(
        "network {vni} cannot have its VXLAN link: {link}, which sluice did not make, has its VNI: remove that \
         link (ip link del {link})"
    )]
    VniTaken {
        /// The network.
        vni: Vni,
        /// The link that has it.
        link: LinkName,
    },
    /// A network has no VLAN on a bridge where VLANs keep networks apart.
    #[error(
        "network {vni} has no VLAN on bridge {bridge}: a VLAN-aware bridge needs one for each network: choose one \
         (sluice port attach … --vlan N)"
    )]
    NoVlan {
        /// The network.
        vni: Vni,
        /// The bridge.
        bridge: LinkName,
    },
    /// Two networks have one VLAN.
    #[error(
        "network {vni} cannot be VLAN {vlan} of bridge {bridge}: network {other} is: choose another VLAN"
    )]
    VlanTaken {
        /// The network that is refused.
        vni: Vni,
        /// The bridge.
        bridge: LinkName,
        /// The VLAN.
        vlan: VlanId,
        /// The network that has it.
        other: Vni,
    },
    /// A remote VTEP is of the other address family.
    #[error(
        "network {vni} cannot reach VTEP {remote} from {local}: a kernel VXLAN link speaks IPv4 or IPv6, not both: \
         give all nodes of the network underlay addresses of one family"
    )]
    OtherFamily {
        /// The network.
        vni: Vni,
        /// This switch's VTEP.
        local: IpAddr,
        /// The remote VTEP.
        remote: IpAddr,
    },
    /// SONiC has not made a link.
    #[error(
        "network {vni} has no VXLAN link on this switch: SONiC makes it from CONFIG_DB: config vxlan map add \
         <tunnel> {vlan} {vni}, or let the agent write that (--sonic-config-db)"
    )]
    NotMapped {
        /// The network.
        vni: Vni,
        /// The VLAN.
        vlan: VlanId,
    },
}

impl Refusal {
    /// The network that it concerns.
    pub const fn vni(&self) -> Vni {
        match self {
            Refusal::NameTaken { vni, .. }
            | Refusal::PortInForeignMaster { vni, .. }
            | Refusal::NoSuchPort { vni, .. }
            | Refusal::NotAPort { vni, .. }
            | Refusal::RoutedPort { vni, .. }
            | Refusal::NameTooLong { vni, .. }
            | Refusal::AttachedTwice { vni, .. }
            | Refusal::OtherTag { vni, .. }
            | Refusal::VlanLinkTaken { vni, .. }
            | Refusal::VniTaken { vni, .. }
            | Refusal::NoVlan { vni, .. }
            | Refusal::VlanTaken { vni, .. }
            | Refusal::OtherFamily { vni, .. }
            | Refusal::NotMapped { vni, .. } => *vni,
        }
    }

    /// The port that it concerns, if it concerns one.
    pub const fn member(&self) -> Option<&Member> {
        match self {
            Refusal::PortInForeignMaster { member, .. }
            | Refusal::NoSuchPort { member, .. }
            | Refusal::NotAPort { member, .. }
            | Refusal::RoutedPort { member, .. }
            | Refusal::NameTooLong { member, .. }
            | Refusal::AttachedTwice { member, .. }
            | Refusal::OtherTag { member, .. }
            | Refusal::VlanLinkTaken { member, .. } => Some(member),
            Refusal::NameTaken { .. }
            | Refusal::VniTaken { .. }
            | Refusal::NoVlan { .. }
            | Refusal::VlanTaken { .. }
            | Refusal::OtherFamily { .. }
            | Refusal::NotMapped { .. } => None,
        }
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
