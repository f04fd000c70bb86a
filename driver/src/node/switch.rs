//! Bridges and ports of this agent in the Open_vSwitch database.

use std::collections::HashMap;
use std::path::Path;

use ofctl::ovsdb::Replica;
use ofctl::ovsdb::vswitch::{BridgeSpec, FailMode, PlanError, PortSpec, VlanMode, Vswitch};
use ofctl::wire::OfPort;

use crate::model::{Dataplane, EndpointId, LinkName, VlanId};
use crate::plan::ports::{PortKind, PortPlan};
use crate::reconcile::ObservedPort;

/// The key in `external_ids` of all that we make; the value is the node's name.
pub(super) const MARK: &str = "sluice-node";
/// The key in `external_ids` of an endpoint's port.
const MARK_ENDPOINT: &str = "sluice-endpoint";

/// What the database says of this agent's ports.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// Ports with our mark, on any bridge.
    pub ports: Vec<ObservedPort>,
    /// Ports on the integration bridge that are in the datapath.
    pub ofports: HashMap<LinkName, OfPort>,
    /// Ports that ovs-vswitchd could not make, and what it says.
    pub errors: HashMap<LinkName, String>,
    /// The integration bridge's datapath, if the bridge is there.
    pub dataplane: Option<Dataplane>,
    /// ovs-vswitchd's release.
    pub version: Option<String>,
    /// Whether the userspace datapath takes packets with unfinished checksums (`userspace-tso-enable`).
    pub userspace_tso: bool,
}

/// Reads what is there.
pub(super) fn observe(replica: &Replica, node: &str, bridge: &str) -> Observation {
    let switch = Vswitch::new(replica);
    let mut seen = Observation {
        version: switch.ovs_version().map(str::to_owned),
        userspace_tso: switch.other_config("userspace-tso-enable") == Some("true"),
        ..Observation::default()
    };
    for on in switch.bridges() {
        if on.name() == bridge {
            seen.dataplane = Some(dataplane_of(on.datapath_type()));
        }
        for port in switch.ports(&on).filter(|port| port.external_id(MARK) == Some(node)) {
            let Ok(name) = port.name().parse::<LinkName>() else { continue };
            if on.name() == bridge {
                for interface in switch.interfaces(&port) {
                    if let Some(ofport) = interface.usable_ofport() {
                        seen.ofports.insert(name.clone(), OfPort(ofport));
                    } else if let Some(error) = interface.error {
                        seen.errors.insert(name.clone(), error);
                    }
                }
            }
            // The bridge's own port goes with the bridge.
            if port.name() != on.name() {
                seen.ports.push(ObservedPort { bridge: on.name().to_owned(), name });
            }
        }
    }
    seen
}

fn dataplane_of(datapath_type: &str) -> Dataplane {
    match datapath_type {
        "netdev" => Dataplane::OvsNetdev,
        _ => Dataplane::OvsSystem,
    }
}

/// The datapath for a bridge that is not there yet: the kernel's if its module is loaded.
pub(super) fn likely_dataplane() -> Dataplane {
    if Path::new("/sys/module/openvswitch").exists() { Dataplane::OvsSystem } else { Dataplane::OvsNetdev }
}

/// The integration bridge: nothing is forwarded but by our flows, whatever becomes of the agent.
pub(super) fn integration_bridge(name: &str, dataplane: Dataplane, node: &str) -> BridgeSpec {
    let datapath_type = match dataplane {
        Dataplane::OvsSystem => "system",
        Dataplane::OvsNetdev => "netdev",
    };
    BridgeSpec::new(name).datapath_type(datapath_type).fail_mode(FailMode::Secure).external_id(MARK, node)
}

/// The rows that a planned port stands for: one, or both ends of a patch.
pub(super) fn port_specs(plan: &PortPlan, integration_bridge: &str) -> Vec<PortSpec> {
    let port = PortSpec::new(integration_bridge, plan.name.as_str());
    match &plan.kind {
        PortKind::Endpoint(endpoint) => vec![marked(port, endpoint)],
        PortKind::Tunnel { encapsulation, local } => vec![
            port.interface_type(encapsulation.name())
                .option("remote_ip", "flow")
                .option("key", "flow")
                .option("local_ip", local.to_string()),
        ],
        PortKind::Trunk { bridge, peer, vlans } => {
            let mut outer = PortSpec::new(bridge, peer.as_str())
                .interface_type("patch")
                .option("peer", plan.name.as_str())
                .trunks(vlans.iter().copied().map(VlanId::get));
            outer.vlan_mode = Some(VlanMode::Trunk);
            vec![port.interface_type("patch").option("peer", peer.as_str()), outer]
        }
    }
}

fn marked(port: PortSpec, endpoint: &EndpointId) -> PortSpec {
    port.external_id(MARK_ENDPOINT, endpoint.as_str())
}

/// The port that an error of a plan is about. Without our own bridge nothing can be done for any port.
pub(super) fn port_of<'a>(error: &'a PlanError, integration_bridge: &str) -> Option<&'a str> {
    match error {
        PlanError::NoSuchBridge { bridge, .. } if bridge == integration_bridge => None,
        PlanError::NoSuchBridge { port, .. }
        | PlanError::NoSuchPort { port, .. }
        | PlanError::OtherBridge { port, .. } => Some(port),
        PlanError::Bond(name) | PlanError::LocalPort(name) | PlanError::Foreign { name, .. } => Some(name),
        PlanError::NotInitialised | PlanError::EmptyName(_) => None,
    }
}

/// True if one of the rows that a planned port stands for has this name.
pub(super) fn has_port(plan: &PortPlan, name: &str) -> bool {
    let is_peer = matches!(&plan.kind, PortKind::Trunk { peer, .. } if peer.as_str() == name);
    plan.name.as_str() == name || is_peer
}
