//! A switch port that is a member of a network, and the stations behind such ports.

use std::fmt;
use std::net::IpAddr;

use ofctl::MacAddr;
use serde::{Deserialize, Serialize};

use super::{
    Dataplane, Encapsulation, LinkName, Network, NetworkName, Node, NodeName, Origin, UnknownFields, VlanId,
    Vni,
};

/// A physical port of a node, or one VLAN of it, that is a member of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAttachment {
    /// The node that has the port.
    pub node: NodeName,
    /// The port's link on that node.
    pub port: LinkName,
    /// The VLAN of the port whose frames are the network's; none: the frames without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// The network.
    pub network: NetworkName,
    /// The node on which this was asked for, and when.
    pub origin: Origin,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl PortAttachment {
    /// Which frames of which port these are.
    pub fn at(&self) -> PortTag {
        PortTag { port: self.port.clone(), vlan: self.vlan }
    }
}

/// The frames of one VLAN on a port, or those without a tag. They belong to one network at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortTag {
    /// The port.
    pub port: LinkName,
    /// The VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
}

impl fmt::Display for PortTag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vlan {
            None => write!(out, "{}", self.port),
            Some(vlan) => write!(out, "{} vlan {vlan}", self.port),
        }
    }
}

/// A MAC address that a node has learned on a port of a network: a server, or whatever is behind one.
///
/// It counts while its node is alive. In the store there is one for each MAC of a network; when it shows up on
/// another port its place is written anew under the next [`sequence`](Station::sequence), as BGP EVPN does,
/// RFC 7432 §15.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Station {
    /// The network.
    pub network: NetworkName,
    /// The MAC address.
    pub mac: MacAddr,
    /// The node that has learned it.
    pub node: NodeName,
    /// Where on that node; none: its switch does not tell which of its ports of the network.
    #[serde(flatten)]
    pub at: Option<PortTag>,
    /// Its addresses, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// How often it has moved from node to node.
    #[serde(default)]
    pub sequence: u64,
    /// Since when it has been at this place, in seconds since 1970-01-01 00:00 UTC.
    pub since: u64,
}

/// Why a port of a node cannot be a member of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCarry {
    /// The node's dataplane has no physical ports of ours.
    #[error(
        "node {0} is a Docker host with Open vSwitch: ports are attached on nodes whose agent runs with \
         --dataplane linux or hardware-vtep ('sluice node ls' shows which)"
    )]
    NotASwitch(NodeName),
    /// The node cannot put frames into this kind of packet.
    #[error(
        "network {network} is encap={encapsulation}, and node {node} carries VXLAN only: make the network anew with \
         'sluice network create NAME --encap vxlan', which hosts and switches both carry"
    )]
    Encapsulation {
        /// The network.
        network: NetworkName,
        /// What it has.
        encapsulation: Encapsulation,
        /// The node.
        node: NodeName,
    },
    /// A VLAN network needs no tunnel and no attachment.
    #[error(
        "network {network} is VLAN {vlan} of the physical network itself: make port {port} a member of VLAN {vlan} in \
         the switch's own configuration; there is nothing to attach"
    )]
    Vlan {
        /// The network.
        network: NetworkName,
        /// The VLAN.
        vlan: VlanId,
        /// The port.
        port: LinkName,
    },
    /// The network is one host's own.
    #[error(
        "network {0} is encap=local, which no other node can be part of: attach the port to a network of encap=vxlan"
    )]
    Local(NetworkName),
    /// Switches reserve this VNI.
    #[error(
        "network {network} has VNI {vni}, which switching chips keep for themselves: make the network anew with a VNI \
         from 1 to 16777214"
    )]
    ReservedVni {
        /// The network.
        network: NetworkName,
        /// The VNI.
        vni: Vni,
    },
    /// The node takes part in no tunnel.
    #[error("node {0} has no underlay address: start its agent with --underlay ADDRESS")]
    NoUnderlay(NodeName),
    /// The switch has not told where its tunnels end.
    #[error(
        "node {0} is a switch whose tunnel address is not known yet: see 'sluice status' of its agent, which reads it \
         from the switch's hardware_vtep database"
    )]
    NoTunnelIp(NodeName),
    /// `hardware_vtep` knows no other outer packets than IPv4's.
    #[error(
        "node {node} has the tunnel address {underlay}, and a hardware_vtep switch sends VXLAN over IPv4 only: give the \
         switch, and the hosts of its networks, IPv4 underlay addresses"
    )]
    OverIpv6 {
        /// The node.
        node: NodeName,
        /// Its address.
        underlay: IpAddr,
    },
}

/// The last VNI. The chips of white-box switches keep it, as they do VNI 0, which no network has.
const RESERVED_VNI: u32 = 0xff_ffff;

/// Checks that this node can make a port of its own a member of this network.
///
/// # Errors
/// It cannot; the reason comes with the cure.
pub fn can_carry(node: &Node, network: &Network, port: &LinkName) -> Result<(), CannotCarry> {
    if !node.dataplane.is_switch() {
        return Err(CannotCarry::NotASwitch(node.name.clone()));
    }
    match (network.encapsulation, network.vlan) {
        (Encapsulation::Vxlan, _) => {}
        (Encapsulation::Local, _) => return Err(CannotCarry::Local(network.name.clone())),
        (Encapsulation::Vlan, Some(vlan)) => {
            let (network, port) = (network.name.clone(), port.clone());
            return Err(CannotCarry::Vlan { network, vlan, port });
        }
        (encapsulation, _) => {
            let (network, node) = (network.name.clone(), node.name.clone());
            return Err(CannotCarry::Encapsulation { network, encapsulation, node });
        }
    }
    if let Some(vni) = network.vni.filter(|vni| vni.get() == RESERVED_VNI) {
        return Err(CannotCarry::ReservedVni { network: network.name.clone(), vni });
    }
    match (node.dataplane, node.underlay) {
        (Dataplane::HardwareVtep, None) => Err(CannotCarry::NoTunnelIp(node.name.clone())),
        (_, None) => Err(CannotCarry::NoUnderlay(node.name.clone())),
        (Dataplane::HardwareVtep, Some(underlay)) if underlay.is_ipv6() => {
            Err(CannotCarry::OverIpv6 { node: node.name.clone(), underlay })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkSpec;

    fn network(spec: &NetworkSpec) -> Network {
        let origin = Origin { node: "h1".parse().unwrap(), at: 0 };
        Network::new("blue".parse().unwrap(), 7.try_into().unwrap(), spec, Encapsulation::Vxlan, origin)
            .unwrap()
    }

    fn switch(dataplane: Dataplane, underlay: Option<IpAddr>) -> Node {
        Node {
            name: "sw1".parse().unwrap(),
            installation: "i".into(),
            underlay,
            underlay_mtu: None,
            encapsulations: dataplane.encapsulations().to_vec(),
            dataplane,
            version: String::new(),
            unknown: UnknownFields::new(),
        }
    }

    #[test]
    fn a_switch_carries_vxlan_and_says_why_not_the_rest() {
        let port = "swp1".parse().unwrap();
        let underlay = Some([192, 0, 2, 9].into());
        let (sw, host) = (switch(Dataplane::Linux, underlay), switch(Dataplane::OvsNetdev, underlay));
        let of = |encapsulation| NetworkSpec {
            encapsulation: Some(encapsulation),
            vlan: (encapsulation == Encapsulation::Vlan).then(|| 5.try_into().unwrap()),
            ..NetworkSpec::default()
        };
        let last = NetworkSpec { vni: Some(0xff_ffff.try_into().unwrap()), ..NetworkSpec::default() };
        let vtep = switch(Dataplane::HardwareVtep, underlay);
        let over_ipv6 = switch(Dataplane::HardwareVtep, Some("2001:db8::9".parse().unwrap()));
        for switch in [&sw, &vtep] {
            can_carry(switch, &network(&NetworkSpec::default()), &port).unwrap();
        }
        for (node, spec, parts) in [
            (&sw, of(Encapsulation::Geneve), ["encap=geneve", "--encap vxlan"]),
            (&sw, of(Encapsulation::Gre), ["encap=gre", "--encap vxlan"]),
            (&sw, of(Encapsulation::Local), ["encap=local", "vxlan"]),
            (&sw, of(Encapsulation::Vlan), ["VLAN 5", "swp1"]),
            (&sw, last, ["16777215", "16777214"]),
            (&host, NetworkSpec::default(), ["sw1", "--dataplane linux"]),
            (&switch(Dataplane::Linux, None), NetworkSpec::default(), ["sw1", "--underlay"]),
            (&vtep, of(Encapsulation::Geneve), ["encap=geneve", "--encap vxlan"]),
            (&switch(Dataplane::HardwareVtep, None), NetworkSpec::default(), ["sw1", "hardware_vtep"]),
            (&over_ipv6, NetworkSpec::default(), ["2001:db8::9", "IPv4"]),
        ] {
            let error = can_carry(node, &network(&spec), &port).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_station_reads_as_flat_json() {
        let station = Station {
            network: "blue".parse().unwrap(),
            mac: "02:00:00:00:00:09".parse().unwrap(),
            node: "sw1".parse().unwrap(),
            at: Some(PortTag { port: "swp1".parse().unwrap(), vlan: Some(7.try_into().unwrap()) }),
            addresses: vec!["10.5.0.9".parse().unwrap()],
            sequence: 3,
            since: 11,
        };
        let json = serde_json::to_value(&station).unwrap();
        assert_eq!((json["port"].as_str(), json["vlan"].as_u64()), (Some("swp1"), Some(7)));
        assert_eq!(serde_json::from_value::<Station>(json).unwrap(), station);
        let somewhere = Station { at: None, ..station };
        let json = serde_json::to_value(&somewhere).unwrap();
        assert!(json.get("port").is_none() && json.get("at").is_none(), "{json}");
        assert_eq!(serde_json::from_value::<Station>(json).unwrap(), somewhere);
    }
}
