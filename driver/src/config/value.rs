//! Values that configuration alone has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::linux::Form;
use crate::model::{LinkName, Subnet};
use crate::sonic;

/// What forwards packets on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataplaneChoice {
    /// Open vSwitch, on a host with Docker.
    #[default]
    Ovs,
    /// Linux bridges and VXLAN links, on a switch.
    Linux,
    /// A switch's `hardware_vtep` database, from anywhere.
    HardwareVtep,
}

impl FromStr for DataplaneChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ovs" => Ok(Self::Ovs),
            "linux" => Ok(Self::Linux),
            "hardware-vtep" => Ok(Self::HardwareVtep),
            _ => Err("ovs (a Docker host) or linux (a switch), or hardware-vtep (a switch that speaks OVSDB) is wanted"
                .to_owned()),
        }
    }
}

/// How networks are laid on a switch's bridges: `traditional`, `vlan-aware[:BRIDGE]` or `sonic[:BRIDGE]`.
pub(super) fn parse_form(text: &str) -> Result<Form, String> {
    let (form, bridge) = match text.split_once(':') {
        Some((form, bridge)) => (form, Some(bridge)),
        None => (text, None),
    };
    let named = |default: &str| {
        bridge
            .unwrap_or(default)
            .parse::<LinkName>()
            .map_err(|error| format!("{error}, as in {form}:{default}"))
    };
    match (form, bridge) {
        ("traditional", None) => Ok(Form::Traditional),
        ("vlan-aware", _) => Ok(Form::VlanAware { bridge: named("sl-bridge")? }),
        ("sonic", _) => Ok(Form::Sonic { bridge: named("Bridge")? }),
        _ => Err("traditional, vlan-aware, vlan-aware:BRIDGE, sonic or sonic:BRIDGE is wanted".to_owned()),
    }
}

/// The number that SONiC gives CONFIG_DB in its Redis server (database_config.json).
const CONFIG_DB: u16 = 4;

/// Where CONFIG_DB is: a socket's path or `HOST:PORT`, and `?db=N` behind it where the number is another.
pub(super) fn parse_config_db(text: &str) -> Result<Option<sonic::Address>, String> {
    if text == "none" {
        return Ok(None);
    }
    let (server, database) = match text.split_once("?db=") {
        Some((server, number)) => {
            let number = number.parse().map_err(|_| "a number is wanted behind ?db=")?;
            (server, number)
        }
        None => (text, CONFIG_DB),
    };
    let server = if server.starts_with('/') {
        sonic::Server::Unix(PathBuf::from(server))
    } else if server.contains('@') {
        return Err("SONiC's Redis has no users: PATH, HOST:PORT or none is wanted".to_owned());
    } else {
        let wanted = |said| format!("an absolute path, HOST:PORT or none is wanted: {said}");
        sonic::Server::Tcp(parse_endpoint(server).map_err(wanted)?)
    };
    Ok(Some(sonic::Address { server, database }))
}

/// Which datapath the bridge gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DatapathChoice {
    /// The kernel's where the kernel has it, else the userspace one.
    #[default]
    Auto,
    /// The kernel's.
    System,
    /// The userspace one.
    Netdev,
}

impl FromStr for DatapathChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "system" => Ok(Self::System),
            "netdev" => Ok(Self::Netdev),
            _ => Err("auto, system or netdev is wanted".to_owned()),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("text or json is wanted".to_owned()),
        }
    }
}

/// What is logged: tracing's filter directives, each with a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        LogFilter("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        // tracing takes a word that is no level for a module's name, and would log nothing at all.
        let is_directive = |part: &str| match part.rsplit_once('=') {
            Some((module, level)) => !module.is_empty() && LEVELS.contains(&level),
            None => LEVELS.contains(&part),
        };
        let parses = tracing_subscriber::EnvFilter::try_new(text).is_ok();
        if parses && text.split(',').all(|part| is_directive(part.trim())) {
            Ok(LogFilter(text.to_owned()))
        } else {
            Err("off, error, warn, info, debug or trace is wanted, or MODULE=LEVEL, with commas between"
                .to_owned())
        }
    }
}

/// What [`crate::ipam::DefaultPools`] has by default, by family.
pub(super) const STANDARD_POOLS: ((Ipv4Net, u8), (Ipv6Net, u8)) = (
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 192, 0, 0), 10), 20),
    (Ipv6Net::new_assert(Ipv6Addr::new(0xfd5c, 0x1ce5, 0x10c4, 0, 0, 0, 0, 0), 48), 64),
);

/// A prefix from which subnets of one length are cut when nobody chose one: `10.192.0.0/10/20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultPool {
    pub(super) prefix: IpNet,
    pub(super) subnet_length: u8,
}

impl FromStr for DefaultPool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "a prefix and the length of its subnets are wanted, as in 10.192.0.0/10/20";
        let (prefix, length) = text.rsplit_once('/').ok_or(WANTED)?;
        let subnet_length: u8 = length.parse().map_err(|_| WANTED)?;
        let prefix = prefix.parse::<IpNet>().map_err(|_| WANTED)?;
        Subnet::new(prefix).map_err(|error| error.to_string())?;
        Ok(DefaultPool { prefix, subnet_length })
    }
}

/// A time with its unit: `500ms`, `10s`, `5m`, `1h`.
pub(super) fn parse_time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let time = unit
        .zip(number.parse::<u64>().ok())
        .and_then(|(unit, number)| number.checked_mul(unit))
        .map(Duration::from_millis)
        .ok_or("a number with the unit ms, s, m or h is wanted, as in 10s")?;
    if (least..=most).contains(&time) {
        Ok(time)
    } else {
        Err(format!("a time from {least:?} to {most:?} is wanted"))
    }
}

/// An absolute path.
pub(super) fn parse_path(text: &str) -> Result<PathBuf, String> {
    if Path::new(text).is_absolute() {
        Ok(PathBuf::from(text))
    } else {
        Err("an absolute path is wanted, since the agent may run in another directory".to_owned())
    }
}

/// What [`crate::api::http::bind`] takes: `sun_path` of unix(7), less what it needs for the socket's first place.
const LONGEST_SOCKET_PATH: usize = 90;

/// A path at which a Unix socket can be bound.
pub(super) fn parse_socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > LONGEST_SOCKET_PATH {
        return Err(format!(
            "a socket's path has at most {} bytes, this one has {}",
            LONGEST_SOCKET_PATH,
            text.len()
        ));
    }
    parse_path(text)
}

/// An address that other hosts can send tunnel packets to.
pub(super) fn parse_underlay(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| "an IPv4 or IPv6 address of this host is wanted, without a prefix length")?;
    let unusable = match address {
        _ if address.is_unspecified() => Some("every address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address.is_loopback() => Some("a loopback address, which no other host can reach"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("a link-local address, which needs a link to mean one host")
        }
        _ => None,
    };
    match unusable {
        Some(what) => Err(format!("that is {what}; one of this host's own unicast addresses is wanted")),
        None => Ok(address),
    }
}

/// Which store, as the key `store` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoreAddress {
    Embedded(Option<PathBuf>),
    Etcd(Vec<String>),
}

impl FromStr for StoreAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded(None));
        }
        if let Some(path) = text.strip_prefix("embedded:") {
            return parse_path(path).map(|path| Self::Embedded(Some(path)));
        }
        let Some(servers) = text.strip_prefix("etcd://") else {
            return Err("embedded, embedded:PATH or etcd://HOST:PORT[,HOST:PORT] is wanted".to_owned());
        };
        let mut endpoints = Vec::new();
        for server in servers.split(',') {
            // A later entry may repeat the scheme.
            let endpoint = parse_endpoint(server.strip_prefix("etcd://").unwrap_or(server))?;
            if endpoints.contains(&endpoint) {
                return Err(format!("{endpoint} is there twice"));
            }
            endpoints.push(endpoint);
        }
        Ok(Self::Etcd(endpoints))
    }
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    if text.contains('@') {
        return Err(
            "a user and password in the address would show in ps; use etcd-user and etcd-password-file"
                .to_owned(),
        );
    }
    let wanted = || format!("'{text}' is not HOST:PORT, as in 192.0.2.1:2379 or [2001:db8::1]:2379");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    port.parse().ok().filter(|port: &u16| *port > 0).ok_or_else(wanted)?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => {
            let address = bracketed.strip_suffix(']').ok_or_else(wanted)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| wanted())?;
            address
        }
        None => host,
    };
    let is_name = !host.is_empty()
        && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'));
    if is_name || host.parse::<std::net::Ipv6Addr>().is_ok() && text.starts_with('[') {
        Ok(text.to_owned())
    } else {
        Err(wanted())
    }
}
