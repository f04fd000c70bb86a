//! The options of `docker network create -d sluice -o KEY=VALUE`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Encapsulation, NetworkName, VlanId, Vni};

/// How containers of a network reach what is outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum External {
    /// Through Docker's own gateway bridge, which publishes ports too.
    #[default]
    Docker,
    /// Not at all.
    None,
}

impl External {
    /// The option's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::None => "none",
        }
    }
}

impl fmt::Display for External {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// An option that is not known or whose value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option has this key.
    #[error("unknown option '{key}={value}': allowed are {}", NetworkOptions::KEYS.join(", "))]
    Unknown {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The value is not one of this key's.
    #[error("option {key}={value}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Why, and what is wanted.
        reason: String,
    },
    /// Two options that contradict each other.
    #[error("options {first} and {second} cannot be given together: {reason}")]
    Conflict {
        /// One option with its value.
        first: String,
        /// The other.
        second: String,
        /// Why, and which to drop.
        reason: &'static str,
    },
}

/// The options of a network, parsed. What was not given is `None`, which agrees with whatever the cluster has.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NetworkOptions {
    /// `network`: the cluster's network; without it the network is this host's alone.
    pub network: Option<NetworkName>,
    /// `encap`.
    pub encapsulation: Option<Encapsulation>,
    /// `vni`.
    pub vni: Option<Vni>,
    /// `vlan`.
    pub vlan: Option<VlanId>,
    /// `mtu`, or Docker's `com.docker.network.driver.mtu`, in bytes.
    pub mtu: Option<u16>,
    /// `external`.
    pub external: Option<External>,
}

/// The least MTU that IPv6 allows, RFC 8200 §5; less than that is refused for IPv4 too.
pub(super) const MINIMUM_MTU: u16 = 1280;

impl NetworkOptions {
    /// The keys that are allowed.
    pub const KEYS: [&'static str; 7] =
        ["network", "encap", "vni", "vlan", "mtu", "external", "com.docker.network.driver.mtu"];

    /// Parses the options as Docker sends them: strings by key.
    ///
    /// # Errors
    /// The first key that is not known, or value that cannot be, in the order of the keys.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<NetworkOptions, OptionError> {
        let mut options = NetworkOptions::default();
        for (key, value) in given {
            match key.as_str() {
                "network" => options.network = Some(parse(key, value)?),
                "encap" => options.encapsulation = Some(parse(key, value)?),
                "vni" => options.vni = Some(parse(key, value)?),
                "vlan" => options.vlan = Some(parse(key, value)?),
                "external" => options.external = Some(parse_external(key, value)?),
                "mtu" | "com.docker.network.driver.mtu" => {
                    let mtu = parse_mtu(key, value)?;
                    if let Some(other) = options.mtu.filter(|other| *other != mtu) {
                        return Err(OptionError::Conflict {
                            first: format!("com.docker.network.driver.mtu={other}"),
                            second: format!("{key}={value}"),
                            reason: "both are the network's MTU; give one of them",
                        });
                    }
                    options.mtu = Some(mtu);
                }
                _ => return Err(OptionError::Unknown { key: key.clone(), value: value.clone() }),
            }
        }
        options.check_together()?;
        Ok(options)
    }

    fn check_together(&self) -> Result<(), OptionError> {
        let conflict =
            |first: String, second: String, reason| Err(OptionError::Conflict { first, second, reason });
        if let (Some(encapsulation), Some(vlan)) = (self.encapsulation, self.vlan)
            && encapsulation != Encapsulation::Vlan
        {
            return conflict(
                format!("encap={encapsulation}"),
                format!("vlan={vlan}"),
                "a VLAN id goes with encap=vlan; drop one of them",
            );
        }
        if let (Some(encapsulation), Some(vni)) = (self.encapsulation, self.vni)
            && !encapsulation.is_tunnel()
        {
            return conflict(
                format!("encap={encapsulation}"),
                format!("vni={vni}"),
                "a VNI goes with encap=vxlan, geneve or gre; drop one of them",
            );
        }
        if let (None, Some(vlan), Some(vni)) = (self.encapsulation, self.vlan, self.vni) {
            return conflict(
                format!("vlan={vlan}"),
                format!("vni={vni}"),
                "one is for encap=vlan, the other for tunnels; drop one of them",
            );
        }
        Ok(())
    }
}

fn parse<T>(key: &str, value: &str) -> Result<T, OptionError>
where
    T: FromStr<Err: fmt::Display>,
{
    value.parse().map_err(|error: T::Err| OptionError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: error.to_string(),
    })
}

fn parse_external(key: &str, value: &str) -> Result<External, OptionError> {
    let reason = match value {
        "docker" => return Ok(External::Docker),
        "none" => return Ok(External::None),
        "native" => "sluice's own gateway is not built yet; use external=docker or external=none",
        _ => "docker or none is wanted",
    };
    Err(OptionError::Value { key: key.to_owned(), value: value.to_owned(), reason: reason.to_owned() })
}

fn parse_mtu(key: &str, value: &str) -> Result<u16, OptionError> {
    value.parse().ok().filter(|mtu| (MINIMUM_MTU..=65_535).contains(mtu)).ok_or_else(|| OptionError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: "an MTU in bytes from 1280 to 65535 is wanted".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<NetworkOptions, OptionError> {
        NetworkOptions::parse(&given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn all_keys_parse() {
        let options = parse(&[
            ("network", "blue"),
            ("encap", "geneve"),
            ("vni", "7001"),
            ("com.docker.network.driver.mtu", "1400"),
            ("external", "none"),
        ])
        .unwrap();
        assert_eq!(options.network.unwrap().as_str(), "blue");
        assert_eq!(options.encapsulation, Some(Encapsulation::Geneve));
        assert_eq!(options.vni.unwrap().get(), 7001);
        assert_eq!(options.mtu, Some(1400));
        assert_eq!(options.external, Some(External::None));
        assert_eq!(parse(&[("encap", "vlan"), ("vlan", "100")]).unwrap().vlan.unwrap().get(), 100);
    }

    #[test]
    fn errors_name_key_value_and_what_is_allowed() {
        for (given, wanted) in [
            (vec![("foo", "bar")], vec!["'foo=bar'", "network, encap, vni"]),
            (vec![("encap", "stt")], vec!["encap=stt", "vxlan, geneve, gre, vlan, local"]),
            (vec![("vni", "16777216")], vec!["vni=16777216", "1 to 16777215"]),
            (vec![("vlan", "x")], vec!["vlan=x", "1 to 4094"]),
            (vec![("mtu", "100")], vec!["mtu=100", "1280 to 65535"]),
            (vec![("external", "native")], vec!["external=native", "external=docker"]),
            (vec![("network", "a/b")], vec!["network=a/b", "letters"]),
            (vec![("encap", "vxlan"), ("vlan", "5")], vec!["encap=vxlan", "vlan=5", "drop"]),
            (vec![("encap", "vlan"), ("vni", "5")], vec!["encap=vlan", "vni=5", "drop"]),
            (vec![("vlan", "5"), ("vni", "6")], vec!["vlan=5", "vni=6", "drop"]),
            (vec![("com.docker.network.driver.mtu", "1400"), ("mtu", "1500")], vec!["1400", "mtu=1500"]),
        ] {
            let error = parse(&given).unwrap_err().to_string();
            for part in wanted {
                assert!(error.contains(part), "{given:?}: {error:?} lacks {part:?}");
            }
        }
    }
}
