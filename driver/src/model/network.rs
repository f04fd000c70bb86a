//! A network: created once for the whole cluster, or one host's own.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Encapsulation, External, NetworkId, NetworkName, NetworkOptions, NodeName, Subnet, UnknownFields, VlanId,
    Vni,
};

/// Where an object was created first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node.
    pub node: NodeName,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub at: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "node {}", self.node)
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name, the same on every host.
    pub name: NetworkName,
    /// Its number in the pipeline.
    pub id: NetworkId,
    /// How packets travel between hosts.
    pub encapsulation: Encapsulation,
    /// The virtual network identifier; with tunnels only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// The VLAN identifier; with [`Encapsulation::Vlan`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<VlanId>,
    /// Its subnets, none overlapping another.
    pub subnets: Vec<Subnet>,
    /// The endpoints' MTU in bytes, if it was chosen; otherwise each host takes what the underlay leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// How containers reach what is outside.
    #[serde(default)]
    pub external: External,
    /// Whether agents with `docker_sync` create the Docker network on their host by themselves.
    #[serde(default)]
    pub docker_sync: bool,
    /// Where it was created first.
    pub origin: Origin,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// What somebody asks a network to be. What is `None` or empty agrees with anything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NetworkSpec {
    /// The encapsulation.
    pub encapsulation: Option<Encapsulation>,
    /// The VNI.
    pub vni: Option<Vni>,
    /// The VLAN.
    pub vlan: Option<VlanId>,
    /// The MTU in bytes.
    pub mtu: Option<u16>,
    /// How containers reach what is outside.
    pub external: Option<External>,
    /// The subnets with gateways and reservations.
    pub subnets: Vec<Subnet>,
    /// Whether agents create the Docker network by themselves.
    pub docker_sync: bool,
}

/// How the names of networks that only one host has begin; the cluster's do not.
pub const LOCAL_PREFIX: &str = "local-";

/// A network that cannot be made as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// `encap=vlan` without an id.
    #[error("network {0}: encap=vlan needs the VLAN's id: add vlan=ID, 1 to 4094")]
    NoVlan(NetworkName),
    /// A VLAN id with another encapsulation.
    #[error("network {0}: vlan={1} needs encap=vlan, not encap={2}")]
    VlanNotUsed(NetworkName, VlanId, Encapsulation),
    /// A VNI with an encapsulation that carries none.
    #[error("network {0}: vni={1} needs encap=vxlan, geneve or gre, not encap={2}")]
    VniNotUsed(NetworkName, Vni, Encapsulation),
    /// Two subnets of one network share addresses.
    #[error("network {0}: subnets {1} and {2} overlap: give prefixes that share no address")]
    Overlap(NetworkName, IpNet, IpNet),
}

/// A second creation that differs from the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "network {network} already exists {} (created on {origin}), but {field} {here} was asked for: leave {field} out{}, \
     choose another network name, or remove the old network everywhere and then with 'sluice network rm {network}'",
    has(.field, .there.as_deref()), give(.there.as_deref())
)]
pub struct Disagreement {
    /// The network.
    pub network: NetworkName,
    /// What differs.
    pub field: &'static str,
    /// What was asked for now.
    pub here: String,
    /// What the network has, if anything.
    pub there: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

fn has(field: &str, there: Option<&str>) -> String {
    there.map_or_else(|| format!("without {field}"), |there| format!("with {field} {there}"))
}

fn give(there: Option<&str>) -> String {
    there.map(|there| format!(", give {there}")).unwrap_or_default()
}

impl NetworkSpec {
    /// What the options of a creation ask for, with the subnets that Docker's IPAM, or ours, chose.
    pub fn from_options(options: &NetworkOptions, subnets: Vec<Subnet>) -> NetworkSpec {
        NetworkSpec {
            encapsulation: options.encapsulation,
            vni: options.vni,
            vlan: options.vlan,
            mtu: options.mtu,
            external: options.external,
            subnets,
            docker_sync: false,
        }
    }
}

impl Network {
    /// The network that a first creation makes.
    ///
    /// # Errors
    /// The parts do not go together.
    pub fn new(
        name: NetworkName,
        id: NetworkId,
        spec: &NetworkSpec,
        default_encapsulation: Encapsulation,
        origin: Origin,
    ) -> Result<Network, SpecError> {
        let encapsulation = spec.encapsulation.unwrap_or(match (spec.vlan, spec.vni) {
            (Some(_), _) => Encapsulation::Vlan,
            (None, Some(_)) => Encapsulation::Vxlan,
            (None, None) => default_encapsulation,
        });
        if encapsulation == Encapsulation::Vlan && spec.vlan.is_none() {
            return Err(SpecError::NoVlan(name));
        }
        if let Some(vlan) = spec.vlan.filter(|_| encapsulation != Encapsulation::Vlan) {
            return Err(SpecError::VlanNotUsed(name, vlan, encapsulation));
        }
        if let Some(vni) = spec.vni.filter(|_| !encapsulation.is_tunnel()) {
            return Err(SpecError::VniNotUsed(name, vni, encapsulation));
        }
        for (index, subnet) in spec.subnets.iter().enumerate() {
            if let Some(other) = spec.subnets[..index].iter().find(|other| other.overlaps(&subnet.prefix)) {
                return Err(SpecError::Overlap(name, other.prefix, subnet.prefix));
            }
        }
        let vni = encapsulation.is_tunnel().then(|| {
            spec.vni
                .unwrap_or_else(|| Vni::try_from(id.get()).expect("every network id is in the range of VNIs"))
        });
        Ok(Network {
            name,
            id,
            encapsulation,
            vni,
            vlan: spec.vlan,
            subnets: spec.subnets.clone(),
            mtu: spec.mtu,
            external: spec.external.unwrap_or_default(),
            docker_sync: spec.docker_sync,
            origin,
            unknown: UnknownFields::new(),
        })
    }

    /// Checks that a later creation agrees with this network or is silent.
    ///
    /// # Errors
    /// The first field that differs, with both values and where the network's came from.
    pub fn agrees_with(&self, spec: &NetworkSpec) -> Result<(), Box<Disagreement>> {
        self.compare("encap", spec.encapsulation, Some(self.encapsulation))?;
        self.compare("vni", spec.vni, self.vni)?;
        self.compare("vlan", spec.vlan, self.vlan)?;
        self.compare("mtu", spec.mtu, self.mtu)?;
        self.compare("external", spec.external, Some(self.external))?;
        for asked in &spec.subnets {
            let Some(subnet) = self.subnets.iter().find(|subnet| subnet.prefix == asked.prefix) else {
                let prefixes: Vec<_> = self.subnets.iter().map(|subnet| subnet.prefix.to_string()).collect();
                let there = Some(prefixes.join(", ")).filter(|there| !there.is_empty());
                return Err(self.disagreement("subnet", asked.prefix.to_string(), there));
            };
            self.compare("gateway", asked.gateway, subnet.gateway)?;
            for (name, address) in &asked.reserved {
                let named = |address: &IpAddr| format!("{name}={address}");
                self.compare("aux-address", Some(named(address)), subnet.reserved.get(name).map(named))?;
            }
        }
        Ok(())
    }

    fn compare<T: PartialEq + fmt::Display>(
        &self,
        field: &'static str,
        here: Option<T>,
        there: Option<T>,
    ) -> Result<(), Box<Disagreement>> {
        match (here, there) {
            (None, _) => Ok(()),
            (Some(here), Some(there)) if here == there => Ok(()),
            (Some(here), there) => {
                Err(self.disagreement(field, here.to_string(), there.map(|there| there.to_string())))
            }
        }
    }

    fn disagreement(&self, field: &'static str, here: String, there: Option<String>) -> Box<Disagreement> {
        Box::new(Disagreement { network: self.name.clone(), field, here, there, origin: self.origin.clone() })
    }

    /// The subnet that has this address.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.prefix.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { node: "h1".parse().unwrap(), at: 0 }
    }

    fn network(spec: &NetworkSpec) -> Result<Network, SpecError> {
        Network::new("blue".parse().unwrap(), 7.try_into().unwrap(), spec, Encapsulation::Vxlan, origin())
    }

    #[test]
    fn a_vni_is_the_id_unless_given() {
        assert_eq!(network(&NetworkSpec::default()).unwrap().vni.unwrap().get(), 7);
        let spec = NetworkSpec { vni: Some("99".parse().unwrap()), ..Default::default() };
        assert_eq!(network(&spec).unwrap().vni.unwrap().get(), 99);
        let spec = NetworkSpec { vlan: Some("99".parse().unwrap()), ..Default::default() };
        let vlan = network(&spec).unwrap();
        assert_eq!((vlan.encapsulation, vlan.vni), (Encapsulation::Vlan, None));
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        let subnet = |text: &str| Subnet::parse(text).unwrap();
        for (spec, wanted) in [
            (NetworkSpec { encapsulation: Some(Encapsulation::Vlan), ..Default::default() }, "vlan=ID"),
            (
                NetworkSpec {
                    encapsulation: Some(Encapsulation::Gre),
                    vlan: Some("5".parse().unwrap()),
                    ..Default::default()
                },
                "vlan=5 needs encap=vlan",
            ),
            (
                NetworkSpec {
                    encapsulation: Some(Encapsulation::Local),
                    vni: Some("5".parse().unwrap()),
                    ..Default::default()
                },
                "vni=5 needs encap=vxlan",
            ),
            (
                NetworkSpec {
                    subnets: vec![subnet("10.5.0.0/16"), subnet("10.5.9.0/24")],
                    ..Default::default()
                },
                "10.5.0.0/16 and 10.5.9.0/24 overlap",
            ),
        ] {
            let error = network(&spec).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_second_creation_agrees_omits_or_is_told_what_differs() {
        let gateway = "10.5.0.1".parse().unwrap();
        let spec = NetworkSpec {
            subnets: vec![Subnet::parse("10.5.0.0/16").unwrap().with_gateway(gateway).unwrap()],
            mtu: Some(1400),
            ..Default::default()
        };
        let blue = network(&spec).unwrap();
        blue.agrees_with(&spec).unwrap();
        blue.agrees_with(&NetworkSpec::default()).unwrap();
        for (other, field, here, there) in [
            (NetworkSpec { mtu: Some(1300), ..spec.clone() }, "mtu", "1300", Some("1400")),
            (NetworkSpec { vlan: Some("7".parse().unwrap()), ..spec.clone() }, "vlan", "7", None),
            (
                NetworkSpec { encapsulation: Some(Encapsulation::Gre), ..spec.clone() },
                "encap",
                "gre",
                Some("vxlan"),
            ),
            (
                NetworkSpec { subnets: vec![Subnet::parse("10.6.0.0/16").unwrap()], ..spec.clone() },
                "subnet",
                "10.6.0.0/16",
                Some("10.5.0.0/16"),
            ),
            (
                NetworkSpec {
                    subnets: vec![
                        Subnet::parse("10.5.0.0/16")
                            .unwrap()
                            .with_gateway("10.5.0.9".parse().unwrap())
                            .unwrap(),
                    ],
                    ..spec.clone()
                },
                "gateway",
                "10.5.0.9",
                Some("10.5.0.1"),
            ),
        ] {
            let error = blue.agrees_with(&other).unwrap_err();
            assert_eq!((error.field, error.here.as_str(), error.there.as_deref()), (field, here, there));
            let text = error.to_string();
            assert!(text.contains("created on node h1") && text.contains(&has(field, there)), "{text}");
            assert_eq!(text.contains(", give "), there.is_some(), "{text}");
        }
    }

    #[test]
    fn unknown_fields_survive() {
        let mut json = serde_json::to_value(network(&NetworkSpec::default()).unwrap()).unwrap();
        json["router"] = "later".into();
        let back: Network = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(back).unwrap(), json);
    }
}
