//! What the engine says of networks, and what it is told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ofctl::MacAddr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::model::{DockerNetworkId, EndpointId};

/// The engine's version, Docker Engine API `GET /version`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EngineVersion {
    /// The engine's version, such as `28.5.2`.
    #[serde(rename = "Version")]
    pub version: String,
    /// The newest API version that it has, such as `1.51`.
    #[serde(rename = "ApiVersion")]
    pub api: String,
}

/// A network of the engine, Docker Engine API `GET /networks` and `GET /networks/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerNetwork {
    /// Docker's id.
    pub id: DockerNetworkId,
    /// Its name in this engine.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// `--internal`.
    #[serde(default)]
    pub internal: bool,
    /// `--attachable`.
    #[serde(default)]
    pub attachable: bool,
    /// False for `--ipv4=false`; engines before 28 do not say and have it always.
    #[serde(default = "yes", rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// `--ipv6`.
    #[serde(default, rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// `-o KEY=VALUE`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub options: BTreeMap<String, String>,
    /// `--label KEY=VALUE`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Where its addresses come from.
    #[serde(default, rename = "IPAM", deserialize_with = "null_is_default")]
    pub ipam: Ipam,
    /// Its endpoints, in no order. Only [`super::Docker::network`] has them.
    #[serde(default, rename = "Containers", deserialize_with = "endpoints")]
    pub endpoints: Vec<DockerEndpoint>,
}

/// Where a network's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// The IPAM driver; `default` is Docker's own.
    #[serde(deserialize_with = "null_is_default")]
    pub driver: String,
    /// `--ipam-opt KEY=VALUE`.
    #[serde(deserialize_with = "null_is_default")]
    pub options: BTreeMap<String, String>,
    /// The pools.
    #[serde(rename = "Config", deserialize_with = "null_is_default")]
    pub pools: Vec<IpamPool>,
}

/// One pool of a network.
#[derive(Clone, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamPool {
    /// `--subnet`.
    #[serde(deserialize_with = "empty_is_none")]
    pub subnet: Option<IpNet>,
    /// `--gateway`.
    #[serde(deserialize_with = "address")]
    pub gateway: Option<IpAddr>,
    /// `--ip-range`.
    #[serde(rename = "IPRange", deserialize_with = "empty_is_none")]
    pub range: Option<IpNet>,
    /// `--aux-address NAME=ADDRESS`.
    #[serde(rename = "AuxiliaryAddresses", deserialize_with = "null_is_default")]
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// One endpoint of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerEndpoint {
    /// Docker's id of the endpoint.
    pub endpoint: EndpointId,
    /// Docker's id of the container. `None` for an endpoint whose sandbox is gone: one that is being made or
    /// removed, or is stuck.
    pub container: Option<String>,
    /// The container's name.
    pub name: String,
    /// Its MAC address, if the driver said one.
    pub mac: Option<MacAddr>,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Net>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Net>,
}

fn yes() -> bool {
    true
}

/// Go writes an empty map or slice as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go writes an address that is not there as an empty string.
fn empty_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|error| D::Error::custom(format!("'{text}': {error}")))
        }
        _ => Ok(None),
    }
}

/// A gateway, which Docker repeats as the user wrote it or as its IPAM said it, with or without a prefix length.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => {
            let host = text.split_once('/').map_or(text.as_str(), |(host, _)| host);
            host.parse().map(Some).map_err(|error| D::Error::custom(format!("'{text}': {error}")))
        }
        _ => Ok(None),
    }
}

/// The endpoints are a map by the container's id, or by `ep-` and the endpoint's id where there is no sandbox.
fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DockerEndpoint>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        #[serde(default)]
        name: String,
        #[serde(rename = "EndpointID")]
        endpoint: EndpointId,
        #[serde(default, deserialize_with = "empty_is_none")]
        mac_address: Option<MacAddr>,
        #[serde(default, rename = "IPv4Address", deserialize_with = "empty_is_none")]
        ipv4: Option<Ipv4Net>,
        #[serde(default, rename = "IPv6Address", deserialize_with = "empty_is_none")]
        ipv6: Option<Ipv6Net>,
    }
    let listed: Option<BTreeMap<String, Listed>> = Option::deserialize(deserializer)?;
    Ok(listed
        .unwrap_or_default()
        .into_iter()
        .map(|(key, listed)| DockerEndpoint {
            endpoint: listed.endpoint,
            container: (!key.starts_with("ep-")).then_some(key),
            name: listed.name,
            mac: listed.mac_address,
            ipv4: listed.ipv4,
            ipv6: listed.ipv6,
        })
        .collect())
}

/// A network that the engine is to make, Docker Engine API `POST /networks/create`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DockerNetworkSpec {
    /// Its name in this engine.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// `-o KEY=VALUE`.
    pub options: BTreeMap<String, String>,
    /// `--label KEY=VALUE`.
    pub labels: BTreeMap<String, String>,
    /// `--internal`.
    pub internal: bool,
    /// `--attachable`.
    pub attachable: bool,
    /// Where its addresses come from.
    pub ipam: Ipam,
}

impl DockerNetworkSpec {
    fn has(&self, family: impl Fn(&IpAddr) -> bool) -> bool {
        self.ipam.pools.iter().filter_map(|pool| pool.subnet).any(|subnet| family(&subnet.network()))
    }

    pub(super) fn to_json(&self) -> Value {
        let text = |value: &dyn std::fmt::Display| Value::String(value.to_string());
        let pools: Vec<Value> = self
            .ipam
            .pools
            .iter()
            .map(|pool| {
                let mut item = json!({});
                if let Some(subnet) = &pool.subnet {
                    item["Subnet"] = text(subnet);
                }
                if let Some(gateway) = &pool.gateway {
                    item["Gateway"] = text(gateway);
                }
                if let Some(range) = &pool.range {
                    item["IPRange"] = text(range);
                }
                if !pool.auxiliary.is_empty() {
                    item["AuxiliaryAddresses"] = json!(pool.auxiliary);
                }
                item
            })
            .collect();
        let (ipv4, ipv6) = (self.has(IpAddr::is_ipv4), self.has(IpAddr::is_ipv6));
        let mut body = json!({
            "Name": self.name,
            // Engines before API 1.44 make two networks of one name unless told not to; later ones ignore this.
            "CheckDuplicate": true,
            "Driver": self.driver,
            "Internal": self.internal,
            "Attachable": self.attachable,
            "EnableIPv6": ipv6,
            "IPAM": { "Driver": self.ipam.driver, "Options": self.ipam.options, "Config": pools },
            "Options": self.options,
            "Labels": self.labels,
        });
        // Understood from API 1.48 on; elsewhere every network has IPv4.
        if ipv6 && !ipv4 {
            body["EnableIPv4"] = false.into();
        }
        body
    }
}

impl IpamPool {
    /// A pool of this subnet with this gateway.
    pub fn new(subnet: IpNet, gateway: Option<IpAddr>) -> IpamPool {
        IpamPool { subnet: Some(subnet), gateway, ..IpamPool::default() }
    }
}
