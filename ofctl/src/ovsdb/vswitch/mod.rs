//! The Open_vSwitch database, typed (ovs-vswitchd.conf.db(5)).
//!
//! [`Vswitch`] reads a [`Replica`](super::Replica); [`VswitchTransaction`] says what bridges and ports should
//! be and is compared with a replica to make a transaction.

mod plan;
mod rows;
mod spec;
#[cfg(test)]
mod tests;

pub use plan::{PlanError, VswitchTransaction};
pub use rows::{Bridge, Interface, LinkState, Port, Vswitch, usable_ofport};
pub use spec::{BridgeSpec, FailMode, PortSpec, VlanMode};

use super::operation::{Condition, Mutation, Operation, Transaction};
use super::session::MonitorTable;
use super::value::Uuid;

/// The database's name.
pub const DATABASE: &str = "Open_vSwitch";

/// The root table.
pub const ROOT: &str = "Open_vSwitch";
/// The table of bridges.
pub const BRIDGE: &str = "Bridge";
/// The table of ports.
pub const PORT: &str = "Port";
/// The table of interfaces.
pub const INTERFACE: &str = "Interface";

/// The tables and columns that [`Vswitch`] reads. What an older database lacks is left out by the session.
///
/// Statistics are not among them: they change every few seconds for every interface.
pub fn monitored() -> Vec<MonitorTable> {
    vec![
        MonitorTable::new(
            ROOT,
            &[
                "bridges",
                "cur_cfg",
                "datapath_types",
                "db_version",
                "external_ids",
                "next_cfg",
                "other_config",
                "ovs_version",
            ],
        ),
        MonitorTable::new(
            BRIDGE,
            &[
                "datapath_id",
                "datapath_type",
                "external_ids",
                "fail_mode",
                "name",
                "other_config",
                "ports",
                "protocols",
            ],
        ),
        MonitorTable::new(
            PORT,
            &["external_ids", "interfaces", "name", "other_config", "tag", "trunks", "vlan_mode"],
        ),
        MonitorTable::new(
            INTERFACE,
            &[
                "admin_state",
                "error",
                "external_ids",
                "ifindex",
                "link_state",
                "mac",
                "mac_in_use",
                "mtu",
                "mtu_request",
                "name",
                "ofport",
                "ofport_request",
                "options",
                "other_config",
                "type",
            ],
        ),
    ]
}

/// Appends the increment of `next_cfg`, so that `cur_cfg` tells when ovs-vswitchd has done it.
///
/// The result is the index of the `select` whose row holds the number to wait for.
pub fn push_next_cfg(transaction: &mut Transaction, root: Uuid) -> usize {
    transaction.push(Operation::mutate(ROOT, root, vec![Mutation::add("next_cfg", 1)]));
    transaction.push(Operation::select(ROOT, Condition::row(root), &["next_cfg"]))
}
