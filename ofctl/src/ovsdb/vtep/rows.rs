//! Typed reading of the rows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{
    LOGICAL_SWITCH, MCAST_MACS_LOCAL, MCAST_MACS_REMOTE, PHYSICAL_LOCATOR, PHYSICAL_LOCATOR_SET,
    PHYSICAL_PORT, PHYSICAL_SWITCH, UCAST_MACS_LOCAL, UCAST_MACS_REMOTE,
};
use crate::MacAddr;
use crate::ovsdb::operation::Row;
use crate::ovsdb::replica::Replica;
use crate::ovsdb::value::{Uuid, Value};

/// A view of a replica of the hardware_vtep database.
#[derive(Debug, Clone, Copy)]
pub struct Vtep<'a> {
    replica: &'a Replica,
}

impl<'a> Vtep<'a> {
    /// The view of a replica.
    pub fn new(replica: &'a Replica) -> Vtep<'a> {
        Vtep { replica }
    }

    /// The replica.
    pub fn replica(&self) -> &'a Replica {
        self.replica
    }

    /// The switches.
    pub fn physical_switches(&self) -> impl Iterator<Item = PhysicalSwitch<'a>> + use<'a> {
        self.replica.rows(PHYSICAL_SWITCH).map(|(uuid, row)| PhysicalSwitch { uuid, row })
    }

    /// The switch of this name.
    pub fn physical_switch(&self, name: &str) -> Option<PhysicalSwitch<'a>> {
        self.replica.by_name(PHYSICAL_SWITCH, name).map(|(uuid, row)| PhysicalSwitch { uuid, row })
    }

    /// Whether a logical switch can be told who makes the copies of broadcasts: older schemas lack the
    /// column.
    pub fn has_replication_mode(&self) -> bool {
        self.replica.schema().column(LOGICAL_SWITCH, "replication_mode").is_some()
    }

    /// The ports of a switch.
    pub fn ports(&self, switch: &PhysicalSwitch<'a>) -> impl Iterator<Item = PhysicalPort<'a>> + use<'a> {
        let replica = self.replica;
        let row = move |uuid| Some(PhysicalPort { uuid, row: replica.row(PHYSICAL_PORT, uuid)? });
        switch.row.uuids("ports").filter_map(row)
    }

    /// The logical switches.
    pub fn logical_switches(&self) -> impl Iterator<Item = LogicalSwitch<'a>> + use<'a> {
        self.replica.rows(LOGICAL_SWITCH).map(|(uuid, row)| LogicalSwitch { uuid, row })
    }

    /// The logical switch of this name.
    pub fn logical_switch(&self, name: &str) -> Option<LogicalSwitch<'a>> {
        self.replica.by_name(LOGICAL_SWITCH, name).map(|(uuid, row)| LogicalSwitch { uuid, row })
    }

    /// Addresses that the switch has learned on its ports.
    pub fn local_macs(&self) -> impl Iterator<Item = UnicastMac> + use<'a> {
        self.replica.rows(UCAST_MACS_LOCAL).filter_map(|(uuid, row)| UnicastMac::read(uuid, row))
    }

    /// Addresses behind other tunnel endpoints, as the switch is told.
    pub fn remote_macs(&self) -> impl Iterator<Item = UnicastMac> + use<'a> {
        self.replica.rows(UCAST_MACS_REMOTE).filter_map(|(uuid, row)| UnicastMac::read(uuid, row))
    }

    /// Groups that the switch has members of.
    pub fn local_groups(&self) -> impl Iterator<Item = MulticastMac> + use<'a> {
        self.replica.rows(MCAST_MACS_LOCAL).filter_map(|(uuid, row)| MulticastMac::read(uuid, row))
    }

    /// Where the switch is told to send copies.
    pub fn remote_groups(&self) -> impl Iterator<Item = MulticastMac> + use<'a> {
        self.replica.rows(MCAST_MACS_REMOTE).filter_map(|(uuid, row)| MulticastMac::read(uuid, row))
    }

    /// A tunnel endpoint.
    pub fn locator(&self, uuid: Uuid) -> Option<Locator> {
        Locator::read(uuid, self.replica.row(PHYSICAL_LOCATOR, uuid)?)
    }

    /// All tunnel endpoints.
    pub fn locators(&self) -> impl Iterator<Item = Locator> + use<'a> {
        self.replica.rows(PHYSICAL_LOCATOR).filter_map(|(uuid, row)| Locator::read(uuid, row))
    }

    /// The tunnel endpoints of a set.
    pub fn locators_of(&self, set: Uuid) -> impl Iterator<Item = Locator> + use<'a> {
        let vtep = *self;
        let row = self.replica.row(PHYSICAL_LOCATOR_SET, set);
        row.into_iter().flat_map(|row| row.uuids("locators")).filter_map(move |uuid| vtep.locator(uuid))
    }
}

/// A row of table Physical_Switch.
#[derive(Debug, Clone, Copy)]
pub struct PhysicalSwitch<'a> {
    /// The row.
    pub uuid: Uuid,
    /// Its columns.
    pub row: &'a Row,
}

impl<'a> PhysicalSwitch<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.row.str("name").unwrap_or_default()
    }

    /// Addresses at which its tunnels end.
    pub fn tunnel_ips(&self) -> Vec<IpAddr> {
        addresses(self.row, "tunnel_ips")
    }

    /// Addresses at which it is managed.
    pub fn management_ips(&self) -> Vec<IpAddr> {
        addresses(self.row, "management_ips")
    }

    /// What it could not do.
    pub fn faults(&self) -> Vec<&'a str> {
        words(self.row, "switch_fault_status")
    }
}

/// A row of table Physical_Port.
#[derive(Debug, Clone, Copy)]
pub struct PhysicalPort<'a> {
    /// The row.
    pub uuid: Uuid,
    /// Its columns.
    pub row: &'a Row,
}

impl<'a> PhysicalPort<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.row.str("name").unwrap_or_default()
    }

    /// Which logical switch each VLAN belongs to; VLAN 0 stands for frames without a tag.
    pub fn vlan_bindings(&self) -> BTreeMap<u16, Uuid> {
        let map = self.row.get("vlan_bindings").and_then(Value::as_map);
        let pairs = map
            .into_iter()
            .flatten()
            .filter_map(|(vlan, switch)| Some((u16::try_from(vlan.as_integer()?).ok()?, switch.as_uuid()?)));
        pairs.collect()
    }

    /// What it could not do.
    pub fn faults(&self) -> Vec<&'a str> {
        words(self.row, "port_fault_status")
    }
}

/// A row of table Logical_Switch.
#[derive(Debug, Clone, Copy)]
pub struct LogicalSwitch<'a> {
    /// The row.
    pub uuid: Uuid,
    /// Its columns.
    pub row: &'a Row,
}

impl<'a> LogicalSwitch<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.row.str("name").unwrap_or_default()
    }

    /// What its maker says of it.
    pub fn description(&self) -> &'a str {
        self.row.str("description").unwrap_or_default()
    }

    /// Who makes the copies of broadcasts; none: nobody said, which means [`ReplicationMode::ServiceNode`].
    pub fn replication_mode(&self) -> Option<ReplicationMode> {
        let of_name = |name| ReplicationMode::ALL.into_iter().find(|mode| mode.name() == name);
        words(self.row, "replication_mode").into_iter().find_map(of_name)
    }

    /// Its VXLAN network identifier (`tunnel_key`), if the locators do not have their own.
    pub fn vni(&self) -> Option<u32> {
        self.row.integer("tunnel_key").and_then(|key| u32::try_from(key).ok())
    }
}

/// Who makes the copies of broadcasts, and of frames to unknown addresses, for the tunnel endpoints of a set (vtep(5),
/// column `replication_mode` of Logical_Switch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationMode {
    /// One endpoint of the set, chosen by the switch: it gets one copy and makes the others.
    ServiceNode,
    /// The switch: one copy for each endpoint of the set.
    SourceNode,
}

impl ReplicationMode {
    const ALL: [ReplicationMode; 2] = [ReplicationMode::ServiceNode, ReplicationMode::SourceNode];

    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            ReplicationMode::ServiceNode => "service_node",
            ReplicationMode::SourceNode => "source_node",
        }
    }
}

/// A row of table Ucast_Macs_Local or Ucast_Macs_Remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnicastMac {
    /// The row.
    pub uuid: Uuid,
    /// The address.
    pub mac: MacAddr,
    /// Its logical switch.
    pub logical_switch: Uuid,
    /// The tunnel endpoint that it is behind.
    pub locator: Uuid,
    /// The IP address that goes with it, for answers to ARP.
    pub ip: Option<IpAddr>,
}

impl UnicastMac {
    /// A row, if its columns hold what they should.
    fn read(uuid: Uuid, row: &Row) -> Option<UnicastMac> {
        Some(UnicastMac {
            uuid,
            mac: row.str("MAC")?.parse().ok()?,
            logical_switch: row.get("logical_switch")?.as_uuid()?,
            locator: row.get("locator")?.as_uuid()?,
            ip: row.str("ipaddr").and_then(|ip| ip.parse().ok()),
        })
    }
}

/// A row of table Mcast_Macs_Local or Mcast_Macs_Remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MulticastMac {
    /// The row.
    pub uuid: Uuid,
    /// The group; `None` for every address without a row of its own ([`UNKNOWN_DST`](super::UNKNOWN_DST)).
    pub mac: Option<MacAddr>,
    /// Its logical switch.
    pub logical_switch: Uuid,
    /// The set of tunnel endpoints that get a copy.
    pub locator_set: Uuid,
}

impl MulticastMac {
    /// A row, if its columns hold what they should.
    fn read(uuid: Uuid, row: &Row) -> Option<MulticastMac> {
        let mac = match row.str("MAC")? {
            super::UNKNOWN_DST => None,
            mac => Some(mac.parse().ok()?),
        };
        Some(MulticastMac {
            uuid,
            mac,
            logical_switch: row.get("logical_switch")?.as_uuid()?,
            locator_set: row.get("locator_set")?.as_uuid()?,
        })
    }
}

/// A row of table Physical_Locator: a tunnel endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locator {
    /// The row.
    pub uuid: Uuid,
    /// Its address.
    pub dst: IpAddr,
    /// Its VXLAN network identifier, where tunnels have their own.
    pub vni: Option<u32>,
}

impl Locator {
    /// A row, if it is one of VXLAN and holds an address.
    fn read(uuid: Uuid, row: &Row) -> Option<Locator> {
        Some(Locator {
            uuid,
            dst: row.str("dst_ip")?.parse().ok()?,
            vni: row.integer("tunnel_key").and_then(|key| u32::try_from(key).ok()),
        })
    }
}

fn words<'a>(row: &'a Row, column: &str) -> Vec<&'a str> {
    row.get(column).map_or(&[][..], Value::atoms).iter().filter_map(|atom| atom.as_str()).collect()
}

fn addresses(row: &Row, column: &str) -> Vec<IpAddr> {
    words(row, column).into_iter().filter_map(|ip| ip.parse().ok()).collect()
}
