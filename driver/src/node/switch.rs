//! Bridges and ports of this agent in the Open_vSwitch database.

use std::collections::HashMap;
use std::path::Path;

use ofctl::ovsdb::Replica;
use ofctl::ovsdb::replica::Change;
use ofctl::ovsdb::vswitch::{
    BridgeSpec, FailMode, INTERFACE, PlanError, PortSpec, ROOT, VlanMode, Vswitch, usable_ofport,
};
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
    /// The node whose mark the integration bridge has.
    pub owner: Option<String>,
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
            seen.owner = on.external_ids().remove(MARK);
        }
        for port in switch.ports(&on).filter(|port| port.external_id(MARK) == Some(node)) {
            let Ok(name) = port.name().parse::<LinkName>() else { continue };
            if on.name() == bridge {
                for interface in switch.interface_rows(&port) {
                    if let Some(ofport) = usable_ofport(interface.integer("ofport")) {
                        seen.ofports.insert(name.clone(), OfPort(ofport));
                    } else if let Some(error) = interface.str("error") {
                        seen.errors.insert(name.clone(), error.to_owned());
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

/// True if a change may make another observation of the same switch, or call for other ports.
///
/// What is left out comes with every port and every transaction, so that without this each attachment would be
/// followed by rounds that find nothing to do: counters of configurations, and what links tell of themselves.
pub(super) fn concerns_ports(change: &Change) -> bool {
    const IDLE_OF_ROOT: [&str; 2] = ["cur_cfg", "next_cfg"];
    const IDLE_OF_INTERFACE: [&str; 5] = ["admin_state", "ifindex", "link_state", "mac_in_use", "mtu"];
    let idle: &[&str] = match &*change.table {
        ROOT => &IDLE_OF_ROOT,
        INTERFACE => &IDLE_OF_INTERFACE,
        _ => &[],
    };
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let mut columns = old.0.keys().chain(new.0.keys());
    columns.any(|column| !idle.contains(&column.as_str()) && change.touches(column))
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
        // Switches without Open vSwitch have programmers of their own, which make no such bridge.
        Dataplane::OvsSystem | Dataplane::Linux | Dataplane::HardwareVtep => "system",
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

/// A port for an endpoint that is to come.
pub(super) fn spare_port(link: &EndpointId, integration_bridge: &str) -> PortSpec {
    PortSpec::new(integration_bridge, link.host_link().as_str())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ofctl::ovsdb::Uuid;
    use ofctl::ovsdb::operation::Row;

    use super::*;

    fn change(table: &str, old: Option<Row>, new: Option<Row>) -> Change {
        Change { table: table.into(), uuid: Uuid::ZERO, old: old.map(Arc::new), new: new.map(Arc::new) }
    }

    #[test]
    fn a_round_follows_what_an_observation_reads() {
        let interface = || Row::new().with("name", "slh-aa").with("ofport", 7).with("mtu", 1400);
        let differs = |new: Row| concerns_ports(&change(INTERFACE, Some(interface()), Some(new)));
        assert!(!differs(interface()));
        assert!(!differs(interface().with("mtu", 1450).with("link_state", "up").with("ifindex", 3)));
        assert!(differs(interface().with("ofport", 8)), "another number");
        assert!(differs(interface().with("error", "could not open network device")), "a failure");
        assert!(concerns_ports(&change(INTERFACE, None, Some(interface()))), "a new row");
        assert!(concerns_ports(&change(INTERFACE, Some(interface()), None)), "a row that is gone");

        let root =
            |cfg: i64| Row::new().with("cur_cfg", cfg).with("next_cfg", 9).with("ovs_version", "3.1.0");
        assert!(!concerns_ports(&change(ROOT, Some(root(8)), Some(root(9)))));
        let upgraded = root(9).with("ovs_version", "3.5.0");
        assert!(concerns_ports(&change(ROOT, Some(root(8)), Some(upgraded))));
        let trunks = |vlan: i64| Row::new().with("trunks", vlan);
        assert!(concerns_ports(&change("Port", Some(trunks(100)), Some(trunks(200)))));
    }
}
