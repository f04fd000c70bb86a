//! Names and numbers, each a type of its own, each checked where it enters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name or number that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not a {what}: {wanted}")]
pub struct IdError {
    what: &'static str,
    value: String,
    wanted: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $wanted:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok($name(text.into()))
                } else {
                    Err(IdError { what: $what, value: text.to_owned(), wanted: $wanted })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn is_docker_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

text_id! {
    /// The name of a network, the same on every host.
    NetworkName, "network name",
    "1 to 63 letters, digits, '-', '_' and '.' are wanted, a letter or digit first", is_name
}
text_id! {
    /// The name of a node, unique in the cluster.
    NodeName, "node name",
    "1 to 63 letters, digits, '-', '_' and '.' are wanted, a letter or digit first", is_name
}
text_id! {
    /// Docker's EndpointID: new at every start of a container.
    EndpointId, "EndpointID", "1 to 64 letters and digits are wanted", is_docker_id
}
text_id! {
    /// Docker's NetworkID: another one on every host, 64 hex digits (25 base-36 digits under Swarm).
    DockerNetworkId, "NetworkID", "1 to 64 letters and digits are wanted", is_docker_id
}
text_id! {
    /// The name of a network interface in Linux: 1 to 15 bytes.
    LinkName, "link name", "1 to 15 bytes without '/' and white space are wanted",
    |text| (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|c| c.is_ascii_graphic() && c != b'/' && c != b':')
}

text_id! {
    /// The name of a switch's port: of a link in Linux, or as a switch's own software calls it, such as
    /// `Ten-GigabitEthernet1/0/1`.
    PortName, "port name", "1 to 63 printable ASCII characters without white space are wanted",
    |text| (1..=63).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|c| c.is_ascii_graphic())
}

impl PortName {
    /// The link of this name, if Linux can have one.
    pub fn link(&self) -> Option<LinkName> {
        self.as_str().parse().ok()
    }
}

impl From<LinkName> for PortName {
    fn from(link: LinkName) -> PortName {
        PortName(link.0)
    }
}

impl EndpointId {
    fn short(&self) -> &str {
        let id = self.as_str();
        &id[..id.len().min(11)]
    }

    /// The end of this endpoint's veth pair that stays on the host and is a port of the bridge.
    pub fn host_link(&self) -> LinkName {
        LinkName(format!("slh-{}", self.short()).into())
    }

    /// The end that dockerd moves into the sandbox.
    pub fn sandbox_link(&self) -> LinkName {
        LinkName(format!("slc-{}", self.short()).into())
    }
}

impl LinkName {
    /// True for a name that [`EndpointId::host_link`] or [`EndpointId::sandbox_link`] makes.
    pub fn is_of_an_endpoint(&self) -> bool {
        self.0.starts_with("slh-") || self.0.starts_with("slc-")
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $repr:ty, $what:literal, $wanted:literal, $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name($repr);

        impl $name {
            /// The number.
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = IdError;

            fn try_from(number: u32) -> Result<Self, IdError> {
                let valid: std::ops::RangeInclusive<u32> = $range;
                if valid.contains(&number) {
                    Ok($name(number as $repr))
                } else {
                    Err(IdError { what: $what, value: number.to_string(), wanted: $wanted })
                }
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let number: u32 = text
                    .parse()
                    .map_err(|_| IdError { what: $what, value: text.to_owned(), wanted: $wanted })?;
                number.try_into()
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                u32::from(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }
    };
}

number_id! {
    /// A network's number: 24 bits, in the pipeline's metadata, and the VNI unless another is given.
    NetworkId, u32, "network id", "1 to 16777214 is wanted", 1..=0xff_fffe
}
number_id! {
    /// A virtual network identifier: 24 bits in VXLAN (RFC 7348 §5) and Geneve (RFC 8926 §3.4), the key in GRE.
    Vni, u32, "VNI", "1 to 16777215 is wanted", 1..=0xff_ffff
}
number_id! {
    /// An IEEE 802.1Q VLAN identifier.
    VlanId, u16, "VLAN id", "1 to 4094 is wanted", 1..=4094
}

impl NetworkId {
    /// Ids from here on are given out by each host to its own local networks; below, by the cluster's store.
    pub const FIRST_LOCAL: u32 = 0xf0_0000;

    /// True for the id of a network that only this host has.
    pub const fn is_local(self) -> bool {
        self.0 >= Self::FIRST_LOCAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["blue", "a", "Blue-2_x.y", &"a".repeat(63)] {
            assert!(good.parse::<NetworkName>().is_ok(), "{good}");
        }
        for bad in ["", "-blue", "bl ue", "bl/ue", &"a".repeat(64), "blü"] {
            let error = bad.parse::<NetworkName>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")) && error.contains("wanted"), "{error}");
        }
    }

    #[test]
    fn link_names_fit_linux() {
        let id: EndpointId = "466a53675492aabb".repeat(4).parse().unwrap();
        assert_eq!(id.host_link().as_str(), "slh-466a5367549");
        assert!(id.host_link().as_str().len() <= 15 && id.sandbox_link().is_of_an_endpoint());
        let short: EndpointId = "ab".parse().unwrap();
        assert_eq!(short.sandbox_link().as_str(), "slc-ab");
    }

    #[test]
    fn numbers_have_ranges() {
        assert!("0".parse::<VlanId>().is_err() && "4095".parse::<VlanId>().is_err());
        assert_eq!("4094".parse::<VlanId>().unwrap().get(), 4094);
        assert!("16777216".parse::<Vni>().is_err() && "-1".parse::<Vni>().is_err());
        assert!(serde_json::from_str::<VlanId>("70000").is_err());
    }
}
