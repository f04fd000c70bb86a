//! What this host keeps of an address that it gave out.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{EndpointId, UnknownFields};

/// Who chose an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This IPAM: ReleaseAddress will come.
    Sluice,
    /// Docker's own IPAM: the address goes with its endpoint.
    Docker,
}

/// An address of this host. The address and its pool's scope are in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The subnet that the address is of.
    pub subnet: IpNet,
    /// The endpoint that uses it, from CreateEndpoint to DeleteEndpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointId>,
    /// Who chose it.
    pub source: Source,
    /// RequestAddress calls for it less ReleaseAddress calls. Two containers can ask for one `--ip` at once, and
    /// the one that does not get it must not release it for the other.
    pub requests: u32,
    /// When it was last requested, bound or unbound: seconds since 1970-01-01 00:00 UTC.
    pub since: u64,
    /// Fields of a later version.
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

impl Lease {
    /// A lease that RequestAddress makes.
    pub fn requested(subnet: IpNet, since: u64) -> Lease {
        Lease {
            subnet,
            endpoint: None,
            source: Source::Sluice,
            requests: 1,
            since,
            unknown: UnknownFields::new(),
        }
    }

    /// A lease of an address that Docker's IPAM chose for an endpoint.
    pub fn claimed(subnet: IpNet, endpoint: EndpointId, since: u64) -> Lease {
        Lease {
            subnet,
            endpoint: Some(endpoint),
            source: Source::Docker,
            requests: 0,
            since,
            unknown: UnknownFields::new(),
        }
    }

    /// True if nobody uses it and nobody will release it.
    pub fn is_over(&self) -> bool {
        self.endpoint.is_none() && self.requests == 0
    }
}
