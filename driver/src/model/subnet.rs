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
    /// It has addresses that no endpoint can have.
    #[error(
        "subnet {prefix} cannot be used for endpoints: it overlaps {special}, which is {kind}; choose a unicast prefix \
         such as 10.5.0.0/16"
    )]
    NotUnicast {
        /// The subnet.
        prefix: IpNet,
        /// The part of the address space that it overlaps.
        special: IpNet,
        /// What that is for.
        kind: &'static str,
    },
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
    /// The gateway or a reserved address is something else already.
    #[error("{what} {address} is {reservation} in subnet {prefix}: choose another")]
    Reserved {
        /// What the address is for.
        what: String,
        /// The address.
        address: IpAddr,
        /// What it is already.
        reservation: String,
        /// The subnet.
        prefix: IpNet,
    },
}

/// What no endpoint can have addresses of: RFC 6890 §2.2, RFC 5771 and RFC 4291 §2.4.
const SPECIAL: [(&str, &str); 9] = [
    ("0.0.0.0/8", "\"this network\""),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "the unspecified address"),
    ("::1/128", "loopback"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

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
        let subnet =
            Subnet { prefix, gateway: None, reserved: BTreeMap::new(), unknown: UnknownFields::new() };
        for (special, kind) in SPECIAL {
            let special = special.parse().expect("the table holds prefixes");
            if subnet.overlaps(&special) {
                return Err(SubnetError::NotUnicast { prefix, special, kind });
            }
        }
        Ok(subnet)
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
    /// The gateway lies outside the prefix, or is an address that no host can have.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Subnet, SubnetError> {
        // A gateway that there is gives way to the new one.
        self.gateway = None;
        self.check_free("gateway", gateway)?;
        self.gateway = Some(gateway);
        Ok(self)
    }

    /// The same subnet with a reserved address.
    ///
    /// # Errors
    /// The address lies outside the prefix, or is something else already.
    pub fn with_reserved(mut self, name: &str, address: IpAddr) -> Result<Subnet, SubnetError> {
        self.reserved.remove(name);
        self.check_free(&format!("auxiliary address {name}"), address)?;
        self.reserved.insert(name.to_owned(), address);
        Ok(self)
    }

    fn check_free(&self, what: &str, address: IpAddr) -> Result<(), SubnetError> {
        let (what, prefix) = (what.to_owned(), self.prefix);
        if !prefix.contains(&address) {
            return Err(SubnetError::Outside { what, address, prefix });
        }
        match self.reservation(address) {
            Some(reservation) => Err(SubnetError::Reserved { what, address, reservation, prefix }),
            None => Ok(()),
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
        for text in [
            "224.0.0.0/8",
            "127.0.0.0/8",
            "240.0.0.0/8",
            "126.0.0.0/7",
            "0.0.0.0/0",
            "169.254.0.0/16",
            "fe80::/64",
            "ff02::/16",
            "::/0",
        ] {
            assert!(matches!(Subnet::parse(text), Err(SubnetError::NotUnicast { .. })), "{text}");
        }
        let outside = Subnet::parse("10.5.0.0/24").unwrap().with_gateway("10.6.0.1".parse().unwrap());
        assert!(outside.unwrap_err().to_string().contains("gateway 10.6.0.1 is not in subnet 10.5.0.0/24"));
    }

    #[test]
    fn a_gateway_is_an_address_that_a_host_can_have_and_nobody_elses() {
        let subnet = Subnet::parse("10.5.0.0/24").unwrap().with_reserved("rtr", "10.5.0.9".parse().unwrap());
        let subnet = subnet.unwrap();
        for (address, is) in
            [("10.5.0.0", "network address"), ("10.5.0.255", "broadcast address"), ("10.5.0.9", "'rtr'")]
        {
            let error = subnet.clone().with_gateway(address.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(address) && error.contains(is) && error.contains("choose"), "{error}");
        }
        let subnet = subnet.with_gateway("10.5.0.1".parse().unwrap()).unwrap();
        subnet.clone().with_gateway("10.5.0.1".parse().unwrap()).expect("the same once more");
        let error = subnet.with_reserved("x", "10.5.0.1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("auxiliary address x 10.5.0.1 is the network's gateway"), "{error}");
        for pair in ["10.5.0.0/31", "10.5.0.7/32", "fd00:5::8/127"] {
            let pair = Subnet::parse(pair).unwrap();
            let gateway = pair.default_gateway();
            pair.with_gateway(gateway).expect("an end of a prefix without ends");
        }
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
