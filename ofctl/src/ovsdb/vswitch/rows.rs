//! Typed reading of the rows that an agent needs.

use std::collections::BTreeMap;

use super::{BRIDGE, FailMode, INTERFACE, PORT, ROOT};
use crate::MacAddr;
use crate::ovsdb::operation::Row;
use crate::ovsdb::replica::Replica;
use crate::ovsdb::value::{Uuid, Value};

/// A view of a replica of the Open_vSwitch database.
#[derive(Debug, Clone, Copy)]
pub struct Vswitch<'a> {
    replica: &'a Replica,
}

impl<'a> Vswitch<'a> {
    /// The view of a replica.
    pub fn new(replica: &'a Replica) -> Vswitch<'a> {
        Vswitch { replica }
    }

    /// The replica.
    pub fn replica(&self) -> &'a Replica {
        self.replica
    }

    /// The one row of the Open_vSwitch table; none before `ovs-vsctl init` has made it.
    pub fn root(&self) -> Option<(Uuid, &'a Row)> {
        self.replica.rows(ROOT).next()
    }

    fn root_integer(&self, column: &str) -> i64 {
        self.root().and_then(|(_, row)| row.integer(column)).unwrap_or(0)
    }

    /// The configuration that clients ask for (`next_cfg`).
    pub fn next_cfg(&self) -> i64 {
        self.root_integer("next_cfg")
    }

    /// The configuration that ovs-vswitchd has put into effect (`cur_cfg`).
    pub fn cur_cfg(&self) -> i64 {
        self.root_integer("cur_cfg")
    }

    /// The release of Open vSwitch, as in `3.1.0`; ovs-ctl writes it, so a switch started otherwise has none.
    pub fn ovs_version(&self) -> Option<&'a str> {
        self.root()?.1.str("ovs_version")
    }

    /// The datapath types that ovs-vswitchd can do; empty until it has run.
    pub fn datapath_types(&self) -> Vec<&'a str> {
        let value = self.root().and_then(|(_, row)| row.get("datapath_types"));
        value.map_or(&[][..], Value::atoms).iter().filter_map(|atom| atom.as_str()).collect()
    }

    /// This host's id, `external_ids:system-id`.
    pub fn system_id(&self) -> Option<&'a str> {
        self.root()?.1.map_str("external_ids", "system-id")
    }

    /// A setting of the whole switch (`other_config`).
    pub fn other_config(&self, key: &str) -> Option<&'a str> {
        self.root()?.1.map_str("other_config", key)
    }

    /// The bridges.
    pub fn bridges(&self) -> impl Iterator<Item = Bridge<'a>> + use<'a> {
        self.replica.rows(BRIDGE).map(|(uuid, row)| Bridge { uuid, row })
    }

    /// The bridge of this name.
    pub fn bridge(&self, name: &str) -> Option<Bridge<'a>> {
        self.replica.by_name(BRIDGE, name).map(|(uuid, row)| Bridge { uuid, row })
    }

    /// The bridge that a port is in.
    pub fn bridge_of(&self, port: Uuid) -> Option<Bridge<'a>> {
        self.bridges().find(|bridge| bridge.has_port(port))
    }

    /// The ports of a bridge, its local port among them.
    pub fn ports(&self, bridge: &Bridge<'a>) -> impl Iterator<Item = Port<'a>> + use<'a> {
        let replica = self.replica;
        bridge.row.uuids("ports").filter_map(move |uuid| Some(Port { uuid, row: replica.row(PORT, uuid)? }))
    }

    /// The port of this name, in whichever bridge.
    pub fn port(&self, name: &str) -> Option<Port<'a>> {
        self.replica.by_name(PORT, name).map(|(uuid, row)| Port { uuid, row })
    }

    /// The interfaces of a port: one, or several of a bond.
    pub fn interfaces(&self, port: &Port<'a>) -> impl Iterator<Item = Interface> + use<'a> {
        let replica = self.replica;
        port.row
            .uuids("interfaces")
            .filter_map(move |uuid| Some(Interface::read(uuid, replica.row(INTERFACE, uuid)?)))
    }

    /// The rows of a port's interfaces as they are, for a reader of few columns and many ports.
    pub fn interface_rows(&self, port: &Port<'a>) -> impl Iterator<Item = &'a Row> + use<'a> {
        let replica = self.replica;
        port.row.uuids("interfaces").filter_map(move |uuid| replica.row(INTERFACE, uuid))
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<Interface> {
        self.replica.by_name(INTERFACE, name).map(|(uuid, row)| Interface::read(uuid, row))
    }

    /// An interface's row as it is, for columns that [`Interface`] does not have.
    pub fn interface_row(&self, name: &str) -> Option<(Uuid, &'a Row)> {
        self.replica.by_name(INTERFACE, name)
    }
}

/// A row of table Bridge.
#[derive(Debug, Clone, Copy)]
pub struct Bridge<'a> {
    /// The row.
    pub uuid: Uuid,
    /// Its columns.
    pub row: &'a Row,
}

impl<'a> Bridge<'a> {
    /// The bridge's name.
    pub fn name(&self) -> &'a str {
        self.row.str("name").unwrap_or_default()
    }

    /// Its datapath; empty means `system`.
    pub fn datapath_type(&self) -> &'a str {
        self.row.str("datapath_type").unwrap_or_default()
    }

    /// Its datapath id, 16 hex digits, once ovs-vswitchd has made it.
    pub fn datapath_id(&self) -> Option<&'a str> {
        self.row.str("datapath_id")
    }

    /// What it does without a controller; none means standalone.
    pub fn fail_mode(&self) -> Option<FailMode> {
        self.row.str("fail_mode")?.parse().ok()
    }

    /// Its marks.
    pub fn external_ids(&self) -> BTreeMap<String, String> {
        self.row.string_map("external_ids")
    }

    /// True when the port is in this bridge.
    pub fn has_port(&self, port: Uuid) -> bool {
        self.row.get("ports").is_some_and(|ports| ports.contains(crate::ovsdb::Atom::Uuid(port)))
    }
}

/// A row of table Port.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// The row.
    pub uuid: Uuid,
    /// Its columns.
    pub row: &'a Row,
}

impl<'a> Port<'a> {
    /// The port's name.
    pub fn name(&self) -> &'a str {
        self.row.str("name").unwrap_or_default()
    }

    /// Its marks.
    pub fn external_ids(&self) -> BTreeMap<String, String> {
        self.row.string_map("external_ids")
    }

    /// One of its marks.
    pub fn external_id(&self, key: &str) -> Option<&'a str> {
        self.row.map_str("external_ids", key)
    }
}

/// Whether a link has a carrier (`Interface.link_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// It has.
    Up,
    /// It has not.
    Down,
}

/// A row of table Interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The row.
    pub uuid: Uuid,
    /// The interface's name.
    pub name: String,
    /// Its type; empty for a device of the host.
    pub interface_type: String,
    /// Its OpenFlow port number, once ovs-vswitchd has given it; -1 when it could not be made (see `error`).
    pub ofport: Option<i64>,
    /// Why ovs-vswitchd could not make it, as `could not open network device eth7 (No such device)`.
    pub error: Option<String>,
    /// Its marks.
    pub external_ids: BTreeMap<String, String>,
    /// Its options, as `remote_ip`.
    pub options: BTreeMap<String, String>,
    /// The MAC address that it has.
    pub mac_in_use: Option<MacAddr>,
    /// The MTU that it has.
    pub mtu: Option<i64>,
    /// Whether it has a carrier.
    pub link_state: Option<LinkState>,
    /// The host's index of it.
    pub ifindex: Option<i64>,
}

impl Interface {
    fn read(uuid: Uuid, row: &Row) -> Interface {
        Interface {
            uuid,
            name: row.str("name").unwrap_or_default().to_owned(),
            interface_type: row.str("type").unwrap_or_default().to_owned(),
            ofport: row.integer("ofport"),
            error: row.str("error").map(str::to_owned),
            external_ids: row.string_map("external_ids"),
            options: row.string_map("options"),
            mac_in_use: row.str("mac_in_use").and_then(|mac| mac.parse().ok()),
            mtu: row.integer("mtu"),
            link_state: match row.str("link_state") {
                Some("up") => Some(LinkState::Up),
                Some("down") => Some(LinkState::Down),
                _ => None,
            },
            ifindex: row.integer("ifindex"),
        }
    }

    /// The OpenFlow port number, if the interface is in the datapath.
    pub fn usable_ofport(&self) -> Option<u32> {
        usable_ofport(self.ofport)
    }
}

/// The OpenFlow port number that column `Interface.ofport` tells, if the interface is in the datapath.
pub fn usable_ofport(column: Option<i64>) -> Option<u32> {
    column.and_then(|ofport| u32::try_from(ofport).ok()).filter(|ofport| *ofport > 0)
}
