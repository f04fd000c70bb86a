//! The hardware_vtep database, typed (vtep(5)): what a hardware switch tells of its ports and MAC addresses, and what
//! it is told of logical switches and of addresses behind other tunnel endpoints.
//!
//! [`Vtep`] reads a [`Replica`](super::Replica); [`VtepTransaction`] says what should be and is compared with a
//! replica to make a transaction.
//!
//! ```
//! use ofctl::ovsdb::vtep::VtepTransaction;
//!
//! let mut plan = VtepTransaction::new();
//! plan.ensure_logical_switch("blue", 5000)
//!     .bind("leaf-1", "swp1", 100, "blue")
//!     .remote_mac("blue", "02:00:00:00:00:05".parse().unwrap(), "192.0.2.7".parse().unwrap(), None)
//!     .flood_to("blue", ["192.0.2.7".parse().unwrap()]);
//! assert!(!plan.is_empty());
//! ```

mod plan;
mod rows;

pub use plan::{LogicalSwitchSpec, VtepError, VtepTransaction};
pub use rows::{
    Locator, LogicalSwitch, MulticastMac, PhysicalPort, PhysicalSwitch, ReplicationMode, UnicastMac, Vtep,
};

use super::session::MonitorTable;

/// The database's name.
pub const DATABASE: &str = "hardware_vtep";

/// The root table.
pub const GLOBAL: &str = "Global";
/// The table of switches.
pub const PHYSICAL_SWITCH: &str = "Physical_Switch";
/// The table of their ports.
pub const PHYSICAL_PORT: &str = "Physical_Port";
/// The table of logical switches.
pub const LOGICAL_SWITCH: &str = "Logical_Switch";
/// The table of tunnel endpoints.
pub const PHYSICAL_LOCATOR: &str = "Physical_Locator";
/// The table of sets of tunnel endpoints.
pub const PHYSICAL_LOCATOR_SET: &str = "Physical_Locator_Set";
/// The table of addresses that the switch has learned.
pub const UCAST_MACS_LOCAL: &str = "Ucast_Macs_Local";
/// The table of addresses that the switch is told.
pub const UCAST_MACS_REMOTE: &str = "Ucast_Macs_Remote";
/// The table of groups that the switch has members of.
pub const MCAST_MACS_LOCAL: &str = "Mcast_Macs_Local";
/// The table of groups that the switch is told.
pub const MCAST_MACS_REMOTE: &str = "Mcast_Macs_Remote";

/// Stands in a multicast table for every address that no other row has.
pub const UNKNOWN_DST: &str = "unknown-dst";

/// The tables and columns that [`Vtep`] reads. What an older database lacks is left out by the session.
pub fn monitored() -> Vec<MonitorTable> {
    let unicast = ["MAC", "ipaddr", "locator", "logical_switch"];
    let multicast = ["MAC", "ipaddr", "locator_set", "logical_switch"];
    vec![
        MonitorTable::new(GLOBAL, &["switches"]),
        MonitorTable::new(
            PHYSICAL_SWITCH,
            &["description", "management_ips", "name", "ports", "switch_fault_status", "tunnel_ips"],
        ),
        MonitorTable::new(PHYSICAL_PORT, &["description", "name", "port_fault_status", "vlan_bindings"]),
        MonitorTable::new(LOGICAL_SWITCH, &["description", "name", "replication_mode", "tunnel_key"]),
        MonitorTable::new(PHYSICAL_LOCATOR, &["dst_ip", "encapsulation_type", "tunnel_key"]),
        MonitorTable::new(PHYSICAL_LOCATOR_SET, &["locators"]),
        MonitorTable::new(UCAST_MACS_LOCAL, &unicast),
        MonitorTable::new(UCAST_MACS_REMOTE, &unicast),
        MonitorTable::new(MCAST_MACS_LOCAL, &multicast),
        MonitorTable::new(MCAST_MACS_REMOTE, &multicast),
    ]
}
