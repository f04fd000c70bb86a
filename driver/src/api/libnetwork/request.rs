//! The requests, parsed.
//!
//! Each type is one call's body after parsing: ids, prefixes and MAC addresses are values of their types, an empty
//! string, `null` and an absent field are all `None`, and arrays, whose order Docker does not keep, are sorted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ofctl::MacAddr;
use serde_json::Value;

use super::fields::{Fields, RequestError};
use crate::model::{DockerNetworkId, EndpointId};

/// What an id must look like.
const ID: &str = "an id of 1 to 64 letters and digits is wanted";
const PREFIX: &str = "a prefix such as 10.5.0.0/16 or fd00:5::/64 is wanted";
const ADDRESS_IN_PREFIX: &str = "an address with its prefix length such as 10.5.0.7/16 is wanted";
const ADDRESS: &str = "an IP address is wanted";
const MAC: &str = "a MAC address such as 02:00:0a:05:00:07 is wanted";
const PORT: &str = "a port number from 0 to 65535 is wanted";

/// The prefix of the keys that are Docker's own.
const DOCKERS: &str = "com.docker.network.";
const GENERIC: &str = "com.docker.network.generic";
const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
const INTERNAL: &str = "com.docker.network.internal";
const EXPOSED_PORTS: &str = "com.docker.network.endpoint.exposedports";
const PORT_MAP: &str = "com.docker.network.portmap";
const DNS_SERVERS: &str = "com.docker.network.endpoint.dnsservers";
const MAC_ADDRESS: &str = "com.docker.network.endpoint.macaddress";
const REQUEST_ADDRESS_TYPE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";

/// One pool of a network, as Docker's IPAM or ours chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolData {
    /// The address space that the pool is of; `null` for Docker's null IPAM.
    pub address_space: String,
    /// The prefix. Docker's null IPAM says `0.0.0.0/0`.
    pub pool: IpNet,
    /// The gateway's address with the prefix length.
    pub gateway: Option<IpNet>,
    /// The auxiliary addresses by name.
    pub auxiliary: BTreeMap<String, IpNet>,
}

impl PoolData {
    fn parse(mut fields: Fields) -> Result<PoolData, RequestError> {
        Ok(PoolData {
            address_space: fields.text("AddressSpace", "a string is wanted")?.unwrap_or_default(),
            pool: fields.required("Pool", PREFIX)?,
            gateway: fields.parsed("Gateway", ADDRESS_IN_PREFIX)?,
            auxiliary: fields.object("AuxAddresses")?.into_parsed(ADDRESS_IN_PREFIX)?,
        })
    }

    /// True if our IPAM driver gave the pool out.
    pub fn is_of_sluice(&self) -> bool {
        [AddressSpace::LOCAL, AddressSpace::GLOBAL].contains(&self.address_space.as_str())
    }

    /// True for the pool of Docker's null IPAM: endpoints have no address that Docker knows of.
    pub fn is_null(&self) -> bool {
        self.pool.prefix_len() == 0
    }
}

/// `NetworkDriver.CreateNetwork`. Docker sends neither the network's name nor its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateNetwork {
    /// Docker's id.
    pub network: DockerNetworkId,
    /// `-o KEY=VALUE`.
    pub options: BTreeMap<String, String>,
    /// `--internal`.
    pub internal: bool,
    /// False for `--ipv4=false`, which Docker has from 28 on.
    pub enable_ipv4: bool,
    /// `--ipv6`.
    pub enable_ipv6: bool,
    /// The IPv4 pools. Endpoints have addresses of the first.
    pub ipv4: Vec<PoolData>,
    /// The IPv6 pools.
    pub ipv6: Vec<PoolData>,
}

impl CreateNetwork {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        let network = fields.required("NetworkID", ID)?;
        let mut options = fields.object("Options")?;
        let pools = |fields: Vec<Fields>| fields.into_iter().map(PoolData::parse).collect::<Result<_, _>>();
        Ok(CreateNetwork {
            network,
            internal: options.truth(INTERNAL)?.unwrap_or(false),
            enable_ipv4: options.truth(ENABLE_IPV4)?.unwrap_or(true),
            enable_ipv6: options.truth(ENABLE_IPV6)?.unwrap_or(false),
            options: options.object(GENERIC)?.into_texts()?,
            ipv4: pools(fields.objects("IPv4Data")?)?,
            ipv6: pools(fields.objects("IPv6Data")?)?,
        })
    }
}

/// `NetworkDriver.DeleteNetwork`, `FreeNetwork`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRef {
    /// Docker's id.
    pub network: DockerNetworkId,
}

impl NetworkRef {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        Ok(NetworkRef { network: fields.required("NetworkID", ID)? })
    }
}

/// `NetworkDriver.AllocateNetwork`: sent by a Swarm manager to a managed plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllocateNetwork {
    pub(super) network: DockerNetworkId,
    pub(super) options: BTreeMap<String, String>,
}

impl AllocateNetwork {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        Ok(AllocateNetwork {
            network: fields.required("NetworkID", ID)?,
            options: fields.object("Options")?.into_texts()?,
        })
    }
}

/// `NetworkDriver.DeleteEndpoint`, `Leave`, `EndpointOperInfo` and `RevokeExternalConnectivity`: which endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRef {
    /// Docker's id of the network.
    pub network: DockerNetworkId,
    /// The endpoint.
    pub endpoint: EndpointId,
}

impl EndpointRef {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        EndpointRef::take(&mut fields)
    }

    fn take(fields: &mut Fields) -> Result<Self, RequestError> {
        Ok(EndpointRef {
            network: fields.required("NetworkID", ID)?,
            endpoint: fields.required("EndpointID", ID)?,
        })
    }
}

/// A transport protocol's number in IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl fmt::Display for IpProtocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            6 => out.write_str("tcp"),
            17 => out.write_str("udp"),
            132 => out.write_str("sctp"),
            other => write!(out, "{other}"),
        }
    }
}

/// `--expose` and the image's EXPOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    /// The protocol.
    pub protocol: IpProtocol,
    /// The container's port.
    pub port: u16,
}

/// `-p` and `-P`: a port of the host that is to lead to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortBinding {
    /// The protocol.
    pub protocol: IpProtocol,
    /// The container's port.
    pub port: u16,
    /// The container's address, if Docker says one.
    pub address: Option<IpAddr>,
    /// The address of the host; none is all of them.
    pub host_address: Option<IpAddr>,
    /// The first port of the host that may be taken; 0 is any.
    pub host_port: u16,
    /// The last port of the host that may be taken.
    pub host_port_end: u16,
}

/// What an endpoint exposes and publishes, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ports {
    /// The exposed ports.
    pub exposed: Vec<ExposedPort>,
    /// The published ports.
    pub published: Vec<PortBinding>,
}

impl Ports {
    fn take(options: &mut Fields) -> Result<Ports, RequestError> {
        let protocol = |fields: &mut Fields| {
            let wanted = "a protocol number such as 6 (tcp), 17 (udp) or 132 (sctp) is wanted";
            fields.number("Proto", wanted).map(IpProtocol)
        };
        let mut ports = Ports::default();
        for mut item in options.objects(EXPOSED_PORTS)? {
            ports
                .exposed
                .push(ExposedPort { protocol: protocol(&mut item)?, port: item.number("Port", PORT)? });
        }
        for mut item in options.objects(PORT_MAP)? {
            let host_port = item.number("HostPort", PORT)?;
            let end: u16 = item.number("HostPortEnd", PORT)?;
            if end != 0 && end < host_port {
                let wanted = format!("a port not below HostPort, which is {host_port}, is wanted");
                return Err(item.invalid("HostPortEnd", &end.into(), wanted));
            }
            ports.published.push(PortBinding {
                protocol: protocol(&mut item)?,
                port: item.number("Port", PORT)?,
                address: item.parsed("IP", ADDRESS)?,
                host_address: item.parsed("HostIP", ADDRESS)?,
                host_port,
                host_port_end: end.max(host_port),
            });
        }
        ports.exposed.sort_unstable();
        ports.exposed.dedup();
        ports.published.sort_unstable();
        ports.published.dedup();
        Ok(ports)
    }
}

/// `NetworkDriver.CreateEndpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEndpoint {
    /// Docker's id of the network.
    pub network: DockerNetworkId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The IPv4 address with its subnet's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// The IPv6 address with its subnet's prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// The MAC address, if the user or dockerd chose one.
    pub mac: Option<MacAddr>,
    /// What is exposed and published; nothing on an internal network.
    pub ports: Ports,
    /// The sandbox's name servers, as text: they may have an IPv6 zone.
    pub dns_servers: Vec<String>,
    /// `--driver-opt KEY=VALUE`, without Docker's own keys. Sent here only, never in Join.
    pub options: BTreeMap<String, String>,
    /// Those `--driver-opt` whose keys are Docker's own, such as `com.docker.network.endpoint.sysctls`. dockerd
    /// acts on them or not; a driver has no cause to refuse one.
    pub docker_options: BTreeMap<String, String>,
}

/// What a request for an endpoint left open: all that the answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) mac: bool,
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

impl CreateEndpoint {
    pub(super) fn parse(mut fields: Fields) -> Result<(Self, Open), RequestError> {
        let EndpointRef { network, endpoint } = EndpointRef::take(&mut fields)?;
        let mut interface = fields.object("Interface")?;
        let ipv4 = interface
            .parsed("Address", "an IPv4 address with its prefix length such as 10.5.0.7/16 is wanted")?;
        let ipv6 = interface
            .parsed("AddressIPv6", "an IPv6 address with its prefix length such as fd00:5::7/64 is wanted")?;
        let in_interface: Option<MacAddr> = interface.parsed("MacAddress", MAC)?;
        let mut options = fields.object("Options")?;
        let in_options = take_mac_option(&mut options)?;
        if let (Some(mac), Some(other)) = (in_interface, in_options)
            && mac != other
        {
            let wanted = format!("the MAC address of Options[\"{MAC_ADDRESS}\"], {other}, is wanted");
            return Err(interface.invalid("MacAddress", &mac.to_string().into(), wanted));
        }
        // A MAC address in the options alone is not in the interface: Docker has to be told it.
        let open = Open { mac: in_interface.is_none(), ipv4: ipv4.is_none(), ipv6: ipv6.is_none() };
        let request = CreateEndpoint {
            network,
            endpoint,
            ipv4,
            ipv6,
            mac: in_interface.or(in_options),
            ports: Ports::take(&mut options)?,
            dns_servers: options.texts(DNS_SERVERS)?,
            docker_options: options.take_texts(|key| key.starts_with(DOCKERS)),
            options: options.into_texts()?,
        };
        Ok((request, open))
    }

    /// The addresses: none, one, or one of each family.
    pub fn addresses(&self) -> Vec<IpNet> {
        self.ipv4.map(IpNet::V4).into_iter().chain(self.ipv6.map(IpNet::V6)).collect()
    }
}

/// A MAC address in an endpoint's options: Go writes the six bytes in base64 (RFC 4648 §4); IPAM requests have text.
fn take_mac_option(options: &mut Fields) -> Result<Option<MacAddr>, RequestError> {
    let wanted = "a MAC address, as text or as six bytes in base64, is wanted";
    let Some(text) = options.text(MAC_ADDRESS, wanted)? else { return Ok(None) };
    match text.parse().ok().or_else(|| mac_from_base64(&text)) {
        Some(mac) => Ok(Some(mac)),
        None => Err(options.invalid(MAC_ADDRESS, &Value::String(text), wanted)),
    }
}

/// Six bytes in base64 are eight characters without padding.
fn mac_from_base64(text: &str) -> Option<MacAddr> {
    let digits: &[u8; 8] = text.as_bytes().try_into().ok()?;
    let mut bits = 0u64;
    for digit in digits {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(six);
    }
    let [_, _, octets @ ..] = bits.to_be_bytes();
    Some(MacAddr(octets))
}

/// `NetworkDriver.Join`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Docker's id of the network.
    pub network: DockerNetworkId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The path of the sandbox's network namespace. It need not exist yet: before Docker 28 it does not when a
    /// container starts. Its last part is the start of the sandbox's id.
    pub sandbox_key: String,
    /// What is exposed and published.
    pub ports: Ports,
}

impl Join {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        let EndpointRef { network, endpoint } = EndpointRef::take(&mut fields)?;
        Ok(Join {
            network,
            endpoint,
            sandbox_key: fields.required("SandboxKey", "the path of a network namespace is wanted")?,
            ports: Ports::take(&mut fields.object("Options")?)?,
        })
    }
}

/// `NetworkDriver.ProgramExternalConnectivity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramExternal {
    /// Docker's id of the network.
    pub network: DockerNetworkId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// What is to be published.
    pub ports: Ports,
}

impl ProgramExternal {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        let EndpointRef { network, endpoint } = EndpointRef::take(&mut fields)?;
        Ok(ProgramExternal { network, endpoint, ports: Ports::take(&mut fields.object("Options")?)? })
    }
}

/// The address space of a pool: which of the names that we gave Docker it came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSpace {
    /// [`AddressSpace::LOCAL`], or none.
    Local,
    /// [`AddressSpace::GLOBAL`]: for networks of global scope, which a Swarm manager makes.
    Global,
    /// One that we never named.
    Other(String),
}

impl AddressSpace {
    /// The name of the local space.
    pub const LOCAL: &'static str = "sluice-local";
    /// The name of the global space.
    pub const GLOBAL: &'static str = "sluice-global";

    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Local => Self::LOCAL,
            Self::Global => Self::GLOBAL,
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for AddressSpace {
    fn from(name: &str) -> Self {
        match name {
            "" | Self::LOCAL => Self::Local,
            Self::GLOBAL => Self::Global,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What our IPAM calls a pool. Docker keeps it and sends it back; it is the only handle that address requests have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(String);

impl PoolId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is no [`PoolId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a PoolID: {POOL_ID}")]
pub struct PoolIdError(String);

const POOL_ID: &str = "1 to 255 printable ASCII characters without spaces are wanted";

impl FromStr for PoolId {
    type Err = PoolIdError;

    fn from_str(text: &str) -> Result<Self, PoolIdError> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic()) {
            Ok(PoolId(text.to_owned()))
        } else {
            Err(PoolIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// `IpamDriver.RequestPool`.
///
/// A pool that the IPAM chooses (`pool` is `None`) and that overlaps one of the host's makes Docker ask again, for
/// ever and some thousand times a second: never give the same pool twice to such requests, and refuse in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPool {
    /// The address space.
    pub address_space: AddressSpace,
    /// `--subnet`; `None` leaves the choice to the IPAM.
    pub pool: Option<IpNet>,
    /// `--ip-range`, inside the pool.
    pub sub_pool: Option<IpNet>,
    /// `--ipam-opt KEY=VALUE`.
    pub options: BTreeMap<String, String>,
    /// Whether an IPv6 pool is asked for.
    pub v6: bool,
}

impl RequestPool {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        let space =
            fields.text("AddressSpace", "the name of an address space is wanted")?.unwrap_or_default();
        let pool: Option<IpNet> = fields.parsed("Pool", PREFIX)?;
        let sub_pool: Option<IpNet> = fields.parsed("SubPool", PREFIX)?;
        let v6 = fields.truth("V6")?;
        if let (Some(pool), Some(v6)) = (pool, v6)
            && pool.network().is_ipv6() != v6
        {
            let wanted = if v6 { "an IPv6 prefix" } else { "an IPv4 prefix" };
            return Err(fields.invalid(
                "Pool",
                &pool.to_string().into(),
                format!("{wanted} is wanted, as V6 is {v6}"),
            ));
        }
        if let Some(sub) = sub_pool
            && !pool.is_some_and(|pool| pool.contains(&sub))
        {
            let wanted = match pool {
                Some(pool) => format!("a part of Pool, which is {pool}, is wanted as --ip-range"),
                None => "a sub-pool goes with a Pool, and none is given".to_owned(),
            };
            return Err(fields.invalid("SubPool", &sub.to_string().into(), wanted));
        }
        Ok(RequestPool {
            address_space: AddressSpace::from(space.as_str()),
            pool,
            sub_pool,
            options: fields.object("Options")?.into_texts()?,
            v6: v6.or(pool.map(|pool| pool.network().is_ipv6())).unwrap_or(false),
        })
    }
}

/// `IpamDriver.ReleasePool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasePool {
    /// The pool.
    pub pool: PoolId,
}

impl ReleasePool {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        Ok(ReleasePool { pool: fields.required("PoolID", POOL_ID)? })
    }
}

/// What an address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The network's gateway.
    Gateway,
    /// An endpoint, or an auxiliary address: Docker's requests for these look the same, but an auxiliary address
    /// is always given, and comes before any endpoint's.
    Endpoint,
}

/// `IpamDriver.RequestAddress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAddress {
    /// The pool.
    pub pool: PoolId,
    /// The address that is wanted; `None` leaves the choice to the IPAM.
    pub address: Option<IpAddr>,
    /// What it is for.
    pub purpose: Purpose,
    /// The endpoint's MAC address, which Docker says if asked to (we do not ask).
    pub mac: Option<MacAddr>,
    /// The options that are left, such as Swarm's `com.docker.network.ipam.serial`.
    pub options: BTreeMap<String, String>,
}

impl RequestAddress {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        let pool = fields.required("PoolID", POOL_ID)?;
        let address = fields.parsed("Address", ADDRESS)?;
        let mut options = fields.object("Options")?;
        let purpose = match options.text(REQUEST_ADDRESS_TYPE, "a string is wanted")?.as_deref() {
            Some(GATEWAY) => Purpose::Gateway,
            _ => Purpose::Endpoint,
        };
        Ok(RequestAddress {
            pool,
            address,
            purpose,
            mac: take_mac_option(&mut options)?,
            options: options.into_texts()?,
        })
    }
}

/// `IpamDriver.ReleaseAddress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseAddress {
    /// The pool.
    pub pool: PoolId,
    /// The address.
    pub address: IpAddr,
}

impl ReleaseAddress {
    pub(super) fn parse(mut fields: Fields) -> Result<Self, RequestError> {
        Ok(ReleaseAddress {
            pool: fields.required("PoolID", POOL_ID)?,
            address: fields.required("Address", ADDRESS)?,
        })
    }
}
