//! What CONFIG_DB cannot get from us, and what helps.

use std::net::IpAddr;

use super::entry::Key;
use crate::model::{LinkName, VlanId, Vni};

/// Why something desired is not written, or something of ours not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is a tunnel from another address, or to one remote VTEP alone.
    #[error(
        "network {vni} cannot be in CONFIG_DB: SONiC has one tunnel for all networks, and {tunnel} {what}, not {vtep} \
         (--underlay): start the agent with that tunnel's address, or remove the tunnel (config vxlan del {})",
        tunnel.name
    )]
    OtherTunnel {
        /// The network.
        vni: Vni,
        /// The tunnel that there is.
        tunnel: Key,
        /// What it has instead.
        what: String,
        /// This switch's VTEP address.
        vtep: IpAddr,
    },
    /// There is an NVO of another tunnel.
    #[error(
        "network {vni} cannot be in CONFIG_DB: SONiC has one NVO, and {nvo} is that of tunnel {source_vtep}, not of \
         {tunnel}: remove it (config vxlan evpn_nvo del {})",
        nvo.name
    )]
    OtherNvo {
        /// The network.
        vni: Vni,
        /// The NVO that there is.
        nvo: Key,
        /// Its tunnel.
        source_vtep: String,
        /// The tunnel that is wanted.
        tunnel: String,
    },
    /// SONiC keeps the VLAN for itself.
    #[error(
        "network {vni} cannot be VLAN {vlan}, which SONiC keeps for itself: attach a port of the network with \
         --vlan N, from 2 to 4094"
    )]
    ReservedVlan {
        /// The network.
        vni: Vni,
        /// The VLAN.
        vlan: VlanId,
    },
    /// Two networks have one VLAN.
    #[error("network {vni} cannot be VLAN {vlan}: network {other} is: attach its ports with another --vlan")]
    VlanTaken {
        /// The network that is refused.
        vni: Vni,
        /// The VLAN.
        vlan: VlanId,
        /// The network that has it.
        other: Vni,
    },
    /// The VLAN has another VNI, or the VNI another VLAN.
    #[error(
        "network {vni} cannot be VLAN {vlan}: {map} maps {has}, and SONiC takes one VLAN for a VNI: attach its ports \
         with the VLAN that it has there, or another, or remove the map (config vxlan map del)"
    )]
    OtherMap {
        /// The network.
        vni: Vni,
        /// Its VLAN.
        vlan: VlanId,
        /// The map that there is.
        map: Key,
        /// Its VLAN and VNI.
        has: String,
    },
    /// SONiC has no such port.
    #[error(
        "port {port} cannot join network {vni}: CONFIG_DB has neither PORT|{port} nor PORTCHANNEL|{port}: see 'show \
         interfaces status'"
    )]
    NoSuchPort {
        /// The network.
        vni: Vni,
        /// The port.
        port: LinkName,
    },
    /// The port is routed, or part of a link aggregation.
    #[error("port {port} cannot join network {vni}: it is {used}, as {by} says: {remedy}")]
    PortInUse {
        /// The network.
        vni: Vni,
        /// The port.
        port: LinkName,
        /// For what.
        used: &'static str,
        /// The entry that says so.
        by: Key,
        /// What helps.
        remedy: String,
    },
    /// The operator made it a member with the other tagging mode.
    #[error(
        "port {port} cannot join network {vni} {wanted}: {by} has it {has}: attach it so, or remove it there (config \
         vlan member del)"
    )]
    OtherTagging {
        /// The network.
        vni: Vni,
        /// The port.
        port: LinkName,
        /// The tagging mode that is wanted.
        wanted: &'static str,
        /// The member that there is.
        by: Key,
        /// Its tagging mode.
        has: String,
    },
    /// The port has another untagged VLAN.
    #[error(
        "port {port} cannot join network {vni} untagged: it is untagged in {by}, and a port can be so in one VLAN \
         only: remove it there (config vlan member del), or attach it with --vlan"
    )]
    UntaggedElsewhere {
        /// The network.
        vni: Vni,
        /// The port.
        port: LinkName,
        /// The other member.
        by: Key,
    },
    /// Something else needs an entry of ours that is not needed for itself any more.
    #[error("{key}, which sluice wrote and needs no more, stays while {by} needs it: remove that first")]
    StillNeeded {
        /// The entry.
        key: Key,
        /// What refers to it.
        by: Key,
    },
}

impl Refusal {
    /// The network that it concerns, if it concerns one.
    pub const fn vni(&self) -> Option<Vni> {
        match self {
            Refusal::OtherTunnel { vni, .. }
            | Refusal::OtherNvo { vni, .. }
            | Refusal::ReservedVlan { vni, .. }
            | Refusal::VlanTaken { vni, .. }
            | Refusal::OtherMap { vni, .. }
            | Refusal::NoSuchPort { vni, .. }
            | Refusal::PortInUse { vni, .. }
            | Refusal::OtherTagging { vni, .. }
            | Refusal::UntaggedElsewhere { vni, .. } => Some(*vni),
            Refusal::StillNeeded { .. } => None,
        }
    }

    /// The port that it concerns, if it concerns one.
    pub const fn port(&self) -> Option<&LinkName> {
        match self {
            Refusal::NoSuchPort { port, .. }
            | Refusal::PortInUse { port, .. }
            | Refusal::OtherTagging { port, .. }
            | Refusal::UntaggedElsewhere { port, .. } => Some(port),
            _ => None,
        }
    }
}
