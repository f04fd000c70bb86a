//! An endpoint: one attachment of one container to one network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use ofctl::MacAddr;
use serde::{Deserialize, Serialize};

use super::{EndpointId, LinkName, NetworkName, NodeName, UnknownFields};

/// How far Docker has come with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// CreateEndpoint was answered.
    Created,
    /// Join was answered: a sandbox has the interface.
    Joined,
    /// Leave was answered; DeleteEndpoint is to come.
    Left,
}

/// One attachment of one container to one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Docker's EndpointID.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkName,
    /// The node that has the container.
    pub node: NodeName,
    /// The container's MAC address.
    pub mac: MacAddr,
    /// Its addresses with the prefix length of their subnet: none, one, or one of each family.
    pub addresses: Vec<IpNet>,
    /// The id in whose name its links were made, if that is not its own: they were made before it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spare: Option<EndpointId>,
    /// How far Docker has come.
    pub phase: Phase,
    /// The options of the attachment (`--driver-opt`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Endpoint {
    /// The id in whose name its links were made.
    pub fn link_id(&self) -> &EndpointId {
        self.spare.as_ref().unwrap_or(&self.id)
    }

    /// The end of its veth pair that stays on the host.
    pub fn host_link(&self) -> LinkName {
        self.link_id().host_link()
    }

    /// The end that dockerd moves into the sandbox.
    pub fn sandbox_link(&self) -> LinkName {
        self.link_id().sandbox_link()
    }

    /// True if one of its addresses is this.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }
}

/// The MAC address of an endpoint that asked for none: the same whenever the same address is used in the same
/// network, so that neighbours' caches stay right when a container is made again.
///
/// Locally administered, unicast. Forty-six bits of FNV-1a over the network's name and the seed (the first
/// address, or the EndpointID where there is none).
pub fn mac_for(network: &NetworkName, seed: &str) -> MacAddr {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in network.as_str().bytes().chain([0]).chain(seed.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // FNV-1a's high bits mix late for short inputs.
    hash ^= hash >> 29;
    let [_, _, octets @ ..] = hash.to_be_bytes();
    let [first, rest @ ..] = octets;
    let [b, c, d, e, f] = rest;
    MacAddr([(first & 0xfc) | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_stable_unicast_and_apart() {
        let blue: NetworkName = "blue".parse().unwrap();
        let mut seen = std::collections::HashSet::new();
        for host in 0..10_000u32 {
            let mac = mac_for(&blue, &std::net::Ipv4Addr::from(0x0a05_0000 + host).to_string());
            assert!(!mac.is_multicast() && mac.0[0] & 2 == 2);
            assert!(seen.insert(mac), "{mac} twice");
        }
        assert_eq!(mac_for(&blue, "10.5.0.2"), mac_for(&blue, "10.5.0.2"));
    }
}
