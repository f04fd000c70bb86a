//! What Docker has forgotten, and what it has that we do not know.
//!
//! dockerd never repeats itself: an endpoint that went while the agent was away, or whose deletion failed, is never
//! mentioned again. So the ledger is compared with Docker's own lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{DockerNetworkId, EndpointId};

/// How long something may be missing from Docker's lists before it counts as forgotten, in seconds. dockerd lists an
/// endpoint only when its container runs, and retries a call for 15 s.
pub(super) const GRACE: u64 = 60;

/// What this host owes Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerView {
    /// Docker's networks that are served here, with the time of their creation in seconds.
    pub networks: BTreeMap<DockerNetworkId, u64>,
    /// Endpoints with their network and the time of their last call from Docker, in seconds.
    pub endpoints: BTreeMap<EndpointId, (DockerNetworkId, u64)>,
}

/// What Docker lists, read after the ledger was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerView {
    /// Docker's networks of our driver, with the endpoints of their running containers.
    pub networks: BTreeMap<DockerNetworkId, BTreeSet<EndpointId>>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Docker has forgotten an endpoint: it is to be deleted.
    ForgottenEndpoint(EndpointId),
    /// Docker has forgotten a network: it is to be deleted.
    ForgottenNetwork(DockerNetworkId),
    /// Docker has a network that the ledger does not: it is to be adopted.
    UnknownNetwork(DockerNetworkId),
    /// A container has an endpoint that the ledger does not: it has no connectivity until it is restarted.
    UnknownEndpoint(DockerNetworkId, EndpointId),
}

/// All differences, in the order in which they should be dealt with.
pub type Drift = Vec<Finding>;

/// Compares the ledger with Docker's lists at the time `now`, in seconds.
pub fn compare_with_docker(ledger: &LedgerView, docker: &DockerView, now: u64) -> Drift {
    let is_old = |since: u64| now.saturating_sub(since) > GRACE;
    let listed: BTreeSet<&EndpointId> = docker.networks.values().flatten().collect();
    let mut drift = Drift::new();
    for (id, (_, since)) in &ledger.endpoints {
        if !listed.contains(id) && is_old(*since) {
            drift.push(Finding::ForgottenEndpoint(id.clone()));
        }
    }
    for (id, since) in &ledger.networks {
        let has_endpoints =
            ledger.endpoints.values().any(|(network, since)| network == id && !is_old(*since));
        if !docker.networks.contains_key(id) && is_old(*since) && !has_endpoints {
            drift.push(Finding::ForgottenNetwork(id.clone()));
        }
    }
    for (network, endpoints) in &docker.networks {
        if !ledger.networks.contains_key(network) {
            drift.push(Finding::UnknownNetwork(network.clone()));
        }
        for endpoint in endpoints {
            if !ledger.endpoints.contains_key(endpoint) {
                drift.push(Finding::UnknownEndpoint(network.clone(), endpoint.clone()));
            }
        }
    }
    drift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> DockerNetworkId {
        text.parse().unwrap()
    }

    fn endpoint(text: &str) -> EndpointId {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_is_old_is_forgotten() {
        let ledger = LedgerView {
            networks: BTreeMap::from([(network("a"), 0), (network("b"), 0), (network("c"), 990)]),
            endpoints: BTreeMap::from([
                (endpoint("1"), (network("a"), 0)),
                (endpoint("2"), (network("a"), 0)),
                (endpoint("3"), (network("a"), 950)),
                (endpoint("4"), (network("b"), 950)),
            ]),
        };
        let docker = DockerView {
            networks: BTreeMap::from([
                (network("a"), BTreeSet::from([endpoint("1")])),
                (network("d"), BTreeSet::from([endpoint("9")])),
            ]),
        };
        assert_eq!(
            compare_with_docker(&ledger, &docker, 1000),
            [
                Finding::ForgottenEndpoint(endpoint("2")),
                Finding::UnknownNetwork(network("d")),
                Finding::UnknownEndpoint(network("d"), endpoint("9")),
            ]
        );
        assert_eq!(
            compare_with_docker(&ledger, &docker, 1100)[..4],
            [
                Finding::ForgottenEndpoint(endpoint("2")),
                Finding::ForgottenEndpoint(endpoint("3")),
                Finding::ForgottenEndpoint(endpoint("4")),
                Finding::ForgottenNetwork(network("b")),
            ]
        );
    }
}
