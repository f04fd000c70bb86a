//! The replies, and how they are written.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ofctl::MacAddr;
use serde_json::{Map, Value, json};

use super::request::{Open, PoolId};
use crate::model::LinkName;

/// What an endpoint has. The edge tells Docker only what the request left open, as Docker refuses a driver that
/// repeats an address or a MAC address that it was given, even the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CreateEndpointReply {
    /// The MAC address. Without one `docker inspect` shows none, and dockerd announces no address.
    pub mac: Option<MacAddr>,
    /// The IPv4 address, if the driver chose it (with Docker's null IPAM).
    pub ipv4: Option<Ipv4Net>,
    /// The IPv6 address, if the driver chose it.
    pub ipv6: Option<Ipv6Net>,
}

impl CreateEndpointReply {
    pub(super) fn to_json(self, open: Open) -> Value {
        let mut interface = Map::new();
        if let Some(mac) = self.mac.filter(|_| open.mac) {
            interface.insert("MacAddress".to_owned(), mac.to_string().into());
        }
        if let Some(ipv4) = self.ipv4.filter(|_| open.ipv4) {
            interface.insert("Address".to_owned(), ipv4.to_string().into());
        }
        if let Some(ipv6) = self.ipv6.filter(|_| open.ipv6) {
            interface.insert("AddressIPv6".to_owned(), ipv6.to_string().into());
        }
        if interface.is_empty() { json!({}) } else { json!({ "Interface": interface }) }
    }
}

/// What dockerd names the interface in the sandbox after; it adds a number. Never empty: the interface would be
/// called `0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePrefix(String);

/// Text that is no [`InterfacePrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an interface prefix: 1 to 12 letters, digits, '-' and '_' are wanted, a letter first")]
pub struct InterfacePrefixError(String);

impl FromStr for InterfacePrefix {
    type Err = InterfacePrefixError;

    fn from_str(text: &str) -> Result<Self, InterfacePrefixError> {
        // Three of the fifteen bytes that Linux allows are left for the number.
        let valid = text.len() <= 12
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
        if valid { Ok(InterfacePrefix(text.to_owned())) } else { Err(InterfacePrefixError(text.to_owned())) }
    }
}

impl fmt::Display for InterfacePrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Default for InterfacePrefix {
    /// `eth`.
    fn default() -> Self {
        InterfacePrefix("eth".to_owned())
    }
}

/// A route for the sandbox, beside that of the default gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    destination: IpNet,
    via: Option<IpAddr>,
}

/// A route that cannot be given to Docker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StaticRouteError {
    /// Docker 28 fails on a default route here.
    #[error("{0} cannot be a static route: Docker refuses it; give a gateway instead")]
    Default(IpNet),
    /// The next hop is of the other family.
    #[error("static route {0} cannot go by {1}: they are of different families")]
    Family(IpNet, IpAddr),
}

impl StaticRoute {
    /// A route by a next hop, which must be on the link.
    ///
    /// # Errors
    /// A default route, or a next hop of the other family.
    pub fn by(destination: IpNet, next_hop: IpAddr) -> Result<StaticRoute, StaticRouteError> {
        if destination.network().is_ipv4() != next_hop.is_ipv4() {
            return Err(StaticRouteError::Family(destination, next_hop));
        }
        Ok(StaticRoute { via: Some(next_hop), ..StaticRoute::connected(destination)? })
    }

    /// A route to what is on the link itself.
    ///
    /// # Errors
    /// A default route.
    pub fn connected(destination: IpNet) -> Result<StaticRoute, StaticRouteError> {
        if destination.prefix_len() == 0 {
            return Err(StaticRouteError::Default(destination));
        }
        Ok(StaticRoute { destination, via: None })
    }

    fn to_json(self) -> Value {
        let destination = self.destination.to_string();
        match self.via {
            Some(next_hop) => {
                json!({ "Destination": destination, "RouteType": 0, "NextHop": next_hop.to_string() })
            }
            None => json!({ "Destination": destination, "RouteType": 1, "NextHop": "" }),
        }
    }
}

/// What a sandbox gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// The link that dockerd is to move into the sandbox. It exists.
    pub link: LinkName,
    /// What dockerd names it after.
    pub prefix: InterfacePrefix,
    /// The IPv4 default gateway, if it is ours. With one of either family port publishing is ours too.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 default gateway, if it is ours.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Further routes.
    pub static_routes: Vec<StaticRoute>,
    /// True if dockerd is not to attach the sandbox to docker_gwbridge, which it does when there is no gateway. No
    /// port is published then, and Docker says nothing about it.
    pub disable_gateway_service: bool,
}

impl JoinReply {
    /// A reply with this link, and nothing beyond the network itself unless dockerd provides it.
    pub fn new(link: LinkName) -> JoinReply {
        JoinReply {
            link,
            prefix: InterfacePrefix::default(),
            gateway: None,
            gateway_v6: None,
            static_routes: Vec::new(),
            disable_gateway_service: false,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut reply = json!({
            "InterfaceName": { "SrcName": self.link.as_str(), "DstPrefix": self.prefix.0 },
        });
        if let Some(gateway) = self.gateway {
            reply["Gateway"] = gateway.to_string().into();
        }
        if let Some(gateway) = self.gateway_v6 {
            reply["GatewayIPv6"] = gateway.to_string().into();
        }
        if !self.static_routes.is_empty() {
            reply["StaticRoutes"] = self.static_routes.iter().map(|route| route.to_json()).collect();
        }
        if self.disable_gateway_service {
            reply["DisableGatewayService"] = true.into();
        }
        reply
    }
}

/// What is known of an endpoint beyond what Docker knows. Nothing that Docker shows depends on it.
pub type OperationalInfo = std::collections::BTreeMap<String, String>;

/// A pool that was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPoolReply {
    /// What Docker is to call it.
    pub id: PoolId,
    /// Its prefix.
    pub pool: IpNet,
    /// The gateway, if the IPAM chooses it: Docker then asks for no gateway address.
    pub gateway: Option<IpNet>,
}

impl RequestPoolReply {
    pub(super) fn to_json(&self) -> Value {
        let data = match self.gateway {
            Some(gateway) => json!({ "com.docker.network.gateway": gateway.to_string() }),
            None => json!({}),
        };
        json!({ "PoolID": self.id.as_str(), "Pool": self.pool.to_string(), "Data": data })
    }
}
