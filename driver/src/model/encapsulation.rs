//! How a network's packets travel between hosts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a network's packets travel between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encapsulation {
    /// VXLAN, RFC 7348.
    #[default]
    Vxlan,
    /// Geneve, RFC 8926.
    Geneve,
    /// Transparent Ethernet bridging over GRE with a key, RFC 2784 and RFC 2890.
    Gre,
    /// IEEE 802.1Q tags on a trunk.
    Vlan,
    /// Nowhere: the network is one host's own.
    Local,
}

impl Encapsulation {
    /// Every encapsulation, in the order in which messages list them.
    pub const ALL: [Encapsulation; 5] = [Self::Vxlan, Self::Geneve, Self::Gre, Self::Vlan, Self::Local];

    /// The encapsulations that use a tunnel port.
    pub const TUNNELS: [Encapsulation; 3] = [Self::Vxlan, Self::Geneve, Self::Gre];

    /// The name used in options, in the store, and as OVS's interface type of a tunnel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gre => "gre",
            Self::Vlan => "vlan",
            Self::Local => "local",
        }
    }

    /// True if packets travel in a tunnel between node addresses.
    pub const fn is_tunnel(self) -> bool {
        matches!(self, Self::Vxlan | Self::Geneve | Self::Gre)
    }

    /// Bytes by which an inner IP packet grows until it is the underlay's IP packet: the inner Ethernet header
    /// (14), the encapsulation's own headers and the outer IP header.
    ///
    /// Geneve counts eight bytes of options, so that a later option does not shrink running networks. A VLAN tag
    /// counts nothing: Ethernet's MTU does not include it.
    pub const fn overhead(self, underlay: IpAddr) -> u16 {
        let outer = match underlay {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        };
        match self {
            Self::Vxlan => outer + 8 + 8 + 14,
            Self::Geneve => outer + 8 + 8 + 8 + 14,
            Self::Gre => outer + 8 + 14,
            Self::Vlan | Self::Local => 0,
        }
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// The text names no encapsulation that this version carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an encapsulation; one of vxlan, geneve, gre, vlan, local is wanted")]
pub struct EncapsulationParseError(String);

impl FromStr for Encapsulation {
    type Err = EncapsulationParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|encapsulation| encapsulation.name() == text)
            .ok_or_else(|| EncapsulationParseError(text.to_owned()))
    }
}
