//! What SONiC shall build.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::linux;
use crate::model::{LinkName, VlanId, Vni};

/// Where CONFIG_DB is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The Redis server.
    pub server: Server,
    /// The number of the database in it.
    pub database: u16,
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// By a Unix socket.
    Unix(PathBuf),
    /// By TCP: `HOST:PORT`.
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Server::Unix(path) => write!(out, "{}", path.display())?,
            Server::Tcp(host) => write!(out, "{host}")?,
        }
        write!(out, "?db={}", self.database)
    }
}

/// What shall be in CONFIG_DB: complete, so that what is ours and not in it is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// This switch's own VTEP address.
    pub vtep: IpAddr,
    /// The networks that have a port here.
    pub networks: BTreeMap<Vni, Mapping>,
}

/// One network's VLAN and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The VLAN that stands for the network.
    pub vlan: VlanId,
    /// The ports that belong to it.
    pub members: BTreeMap<LinkName, Tagging>,
}

/// How a port carries a VLAN's frames: SONiC's `tagging_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    /// With an IEEE 802.1Q tag.
    Tagged,
    /// Without.
    Untagged,
}

impl Tagging {
    /// The value of the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tagging::Tagged => "tagged",
            Tagging::Untagged => "untagged",
        }
    }
}

impl From<&linux::Desired> for Desired {
    /// The same networks; those without a VLAN are left out, and refused by [`linux::difference`].
    fn from(desired: &linux::Desired) -> Desired {
        let mapping = |segment: &linux::Segment| {
            let tagging = |member: &linux::Member| match member.vlan {
                Some(_) => Tagging::Tagged,
                None => Tagging::Untagged,
            };
            let members = segment.members.iter().map(|member| (member.port.clone(), tagging(member)));
            Some(Mapping { vlan: segment.vlan?, members: members.collect() })
        };
        let networks = desired.networks.iter().filter_map(|(vni, segment)| Some((*vni, mapping(segment)?)));
        Desired { vtep: desired.vtep, networks: networks.collect() }
    }
}
