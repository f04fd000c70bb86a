//! A network's subnets, their gateways and what is reserved in them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::UnknownFields;

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The prefix, with no host bits set.
    pub prefix: IpNet,
    /// The gateway's address, the same on every host. It is nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Docker's auxiliary addresses by name: reserved, and given to no endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A subnet that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// The text is no prefix.
    #[error("'{0}' is not a subnet: a prefix such as 10.5.0.0/16 or fd00:5::/64 is wanted")]
    Syntax(String),
    /// Bits behind the prefix length are set.
    #[error("subnet {given} has host bits set: did you mean {meant}?")]
    HostBits {
        /// What was given.
        given: IpNet,
        /// The same without its host bits.
        meant: IpNet,
    },
    /// Multicast, loopback, link-local or unspecified.
    #[error(
        "subnet {0} cannot be used for endpoints: it is {1}; choose a unicast prefix such as 10.5.0.0/16"
    )]
    NotUnicast(IpNet, &'static str),
    /// An address of the subnet lies outside it.
    #[error("{what} {address} is not in subnet {prefix}: choose one inside")]
    Outside {
        /// What the address is for.
        what: String,
        /// The address.
        address: IpAddr,
        /// The subnet.
        prefix: IpNet,
    },
}

impl Subnet {
    /// A subnet with its prefix checked, no gateway and nothing reserved.
    ///
    /// # Errors
    /// Host bits are set, or the prefix is not unicast.
    pub fn new(prefix: IpNet) -> Result<Subnet, SubnetError> {
        let meant = prefix.trunc();
        if meant != prefix {
            return Err(SubnetError::HostBits { given: prefix, meant });
        }
        let network = prefix.network();
        let unusable = if network.is_multicast() {
            Some("multicast")
        } else if network.is_loopback() {
            Some("loopback")
        } else if matches!(network, IpAddr::V4(v4) if v4.is_link_local())
            || matches!(network, IpAddr::V6(v6) if v6.is_unicast_link_local())
        {
            Some("link-local")
        } else if network.is_unspecified() {
            Some("the default route")
        } else {
            None
        };
        match unusable {
            Some(why) => Err(SubnetError::NotUnicast(prefix, why)),
            None => {
                Ok(Subnet { prefix, gateway: None, reserved: BTreeMap::new(), unknown: UnknownFields::new() })
            }
        }
    }

    /// A subnet from text.
    ///
    /// # Errors
    /// As [`Subnet::new`], and for text that is no prefix.
    pub fn parse(text: &str) -> Result<Subnet, SubnetError> {
        Subnet::new(text.parse().map_err(|_| SubnetError::Syntax(text.to_owned()))?)
    }

    /// The same subnet with a gateway.
    ///
    /// # Errors
    /// The gateway lies outside the prefix.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Subnet, SubnetError> {
        self.check_inside("gateway", gateway)?;
        self.gateway = Some(gateway);
        Ok(self)
    }

    /// The same subnet with a reserved address.
    ///
    /// # Errors
    /// The address lies outside the prefix.
    pub fn with_reserved(mut self, name: &str, address: IpAddr) -> Result<Subnet, SubnetError> {
        self.check_inside(&format!("auxiliary address {name}"), address)?;
        self.reserved.insert(name.to_owned(), address);
        Ok(self)
    }

    fn check_inside(&self, what: &str, address: IpAddr) -> Result<(), SubnetError> {
        if self.prefix.contains(&address) {
            Ok(())
        } else {
            Err(SubnetError::Outside { what: what.to_owned(), address, prefix: self.prefix })
        }
    }

    /// The address that the gateway has when nobody chose one: the first that a host can have.
    pub fn default_gateway(&self) -> IpAddr {
        let point_to_point = self.prefix.max_prefix_len() - self.prefix.prefix_len() <= 1;
        match self.prefix.network() {
            network if point_to_point => network,
            IpAddr::V4(network) => IpAddr::V4((u32::from(network) + 1).into()),
            IpAddr::V6(network) => IpAddr::V6((u128::from(network) + 1).into()),
        }
    }

    /// Why no endpoint may have this address, if that is so.
    pub fn reservation(&self, address: IpAddr) -> Option<String> {
        if self.gateway == Some(address) {
            return Some("the network's gateway".to_owned());
        }
        if let Some((name, _)) = self.reserved.iter().find(|(_, reserved)| **reserved == address) {
            return Some(format!("the network's auxiliary address '{name}'"));
        }
        let has_ends = self.prefix.max_prefix_len() - self.prefix.prefix_len() > 1;
        if has_ends && address == self.prefix.network() {
            return Some("the subnet's network address".to_owned());
        }
        if has_ends && address.is_ipv4() && address == self.prefix.broadcast() {
            return Some("the subnet's broadcast address".to_owned());
        }
        None
    }

    /// True if the two prefixes share an address.
    pub fn overlaps(&self, other: &IpNet) -> bool {
        self.prefix.contains(&other.network()) || other.contains(&self.prefix.network())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_subnets_say_what_is_wanted() {
        assert!(Subnet::parse("10.5.0.0").unwrap_err().to_string().contains("such as 10.5.0.0/16"));
        assert!(Subnet::parse("10.5.0.1/16").unwrap_err().to_string().contains("did you mean 10.5.0.0/16"));
        for text in
            ["224.0.0.0/8", "127.0.0.0/8", "fe80::/64", "0.0.0.0/0", "::/0", "ff02::/16", "169.254.0.0/16"]
        {
            assert!(matches!(Subnet::parse(text), Err(SubnetError::NotUnicast(..))), "{text}");
        }
        let outside = Subnet::parse("10.5.0.0/24").unwrap().with_gateway("10.6.0.1".parse().unwrap());
        assert!(outside.unwrap_err().to_string().contains("gateway 10.6.0.1 is not in subnet 10.5.0.0/24"));
    }

    #[test]
    fn ends_and_gateway_are_reserved() {
        let subnet = Subnet::parse("10.5.0.0/24").unwrap();
        let subnet = subnet.clone().with_gateway(subnet.default_gateway()).unwrap();
        for (address, reserved) in [
            ("10.5.0.0", true),
            ("10.5.0.1", true),
            ("10.5.0.2", false),
            ("10.5.0.254", false),
            ("10.5.0.255", true),
        ] {
            assert_eq!(subnet.reservation(address.parse().unwrap()).is_some(), reserved, "{address}");
        }
        let pair = Subnet::parse("10.5.0.0/31").unwrap();
        assert_eq!(pair.reservation("10.5.0.0".parse().unwrap()), None);
        assert_eq!(pair.default_gateway(), "10.5.0.0".parse::<IpAddr>().unwrap());
    }
}
