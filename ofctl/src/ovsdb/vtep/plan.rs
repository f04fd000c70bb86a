//! What logical switches, bindings and remote addresses should be, compared with a replica to make one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{
    LOGICAL_SWITCH, MCAST_MACS_REMOTE, MulticastMac, PHYSICAL_LOCATOR, PHYSICAL_LOCATOR_SET, PHYSICAL_PORT,
    ReplicationMode, UCAST_MACS_REMOTE, UNKNOWN_DST, UnicastMac, Vtep,
};
use crate::MacAddr;
use crate::ovsdb::operation::{Condition, Mutation, Operation, Row, Transaction, Until};
use crate::ovsdb::replica::Replica;
use crate::ovsdb::value::{Atom, Uuid, Value};

/// A plan does not fit what the database holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VtepError {
    /// A logical switch that is neither there nor in the plan.
    #[error("logical switch {0} does not exist: make it first, by ensure_logical_switch")]
    NoLogicalSwitch(String),
    /// The switch has not told of itself.
    #[error("switch {0} is not in the database: its agent makes the row when it starts")]
    NoPhysicalSwitch(String),
    /// The switch has no such port.
    #[error("switch {switch} has no port {port}")]
    NoPhysicalPort {
        /// The switch.
        switch: String,
        /// The port.
        port: String,
    },
    /// A VLAN that cannot be.
    #[error("VLAN {0} cannot be: they are 1 to 4094, and 0 for frames without a tag")]
    Vlan(u16),
    /// A number of more than 24 bits.
    #[error("{0} is no VXLAN network identifier: it has more than 24 bits")]
    Vni(u32),
}

/// What a logical switch should be. What is not said of it is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalSwitchSpec {
    name: String,
    vni: u32,
    description: Option<String>,
    replication_mode: Option<ReplicationMode>,
}

impl LogicalSwitchSpec {
    /// A logical switch with this VXLAN network identifier.
    pub fn new(name: impl Into<String>, vni: u32) -> LogicalSwitchSpec {
        LogicalSwitchSpec { name: name.into(), vni, description: None, replication_mode: None }
    }

    /// With a text of its maker's, by which it also knows its own.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> LogicalSwitchSpec {
        self.description = Some(description.into());
        self
    }

    /// With copies of broadcasts made there. Left out where the database's schema is too old to have the column.
    #[must_use]
    pub fn replication_mode(mut self, mode: ReplicationMode) -> LogicalSwitchSpec {
        self.replication_mode = Some(mode);
        self
    }
}

/// Where an address is: behind which tunnel endpoint, and with which IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    vtep: IpAddr,
    ip: Option<IpAddr>,
}

/// What should be. Of several steps for one thing the last one counts; what no step names is left as it is.
///
/// Each row that the comparison relied on is checked by a `wait` in the same transaction, so that what another writer
/// changed meanwhile makes it fail as a [conflict](crate::ovsdb::OperationError::is_conflict).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VtepTransaction {
    /// Each logical switch, or none if it is not to be there.
    switches: BTreeMap<String, Option<LogicalSwitchSpec>>,
    /// The logical switch of each (switch, port, VLAN), or none if it is not to be bound.
    bindings: BTreeMap<(String, String, u16), Option<String>>,
    macs: BTreeMap<(String, MacAddr), Option<Place>>,
    floods: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl VtepTransaction {
    /// A plan that wants nothing.
    pub fn new() -> VtepTransaction {
        VtepTransaction::default()
    }

    /// The logical switch is to be there, with this VXLAN network identifier.
    pub fn ensure_logical_switch(&mut self, name: impl Into<String>, vni: u32) -> &mut Self {
        self.logical_switch(LogicalSwitchSpec::new(name, vni))
    }

    /// The logical switch is to be there, as this says.
    pub fn logical_switch(&mut self, spec: LogicalSwitchSpec) -> &mut Self {
        self.switches.insert(spec.name.clone(), Some(spec));
        self
    }

    /// The logical switch is not to be there, nor what is said of it: its bindings and remote addresses.
    pub fn remove_logical_switch(&mut self, name: impl Into<String>) -> &mut Self {
        self.switches.insert(name.into(), None);
        self
    }

    /// Frames of this VLAN on this port are to belong to the logical switch; VLAN 0 stands for frames without a tag.
    pub fn bind(
        &mut self,
        switch: impl Into<String>,
        port: impl Into<String>,
        vlan: u16,
        logical_switch: impl Into<String>,
    ) -> &mut Self {
        self.bindings.insert((switch.into(), port.into(), vlan), Some(logical_switch.into()));
        self
    }

    /// Frames of this VLAN on this port are to belong to none.
    pub fn unbind(&mut self, switch: impl Into<String>, port: impl Into<String>, vlan: u16) -> &mut Self {
        self.bindings.insert((switch.into(), port.into(), vlan), None);
        self
    }

    /// The address is to be sent to this tunnel endpoint. With `ip` the switch can answer ARP for it.
    pub fn remote_mac(
        &mut self,
        logical_switch: impl Into<String>,
        mac: MacAddr,
        vtep: IpAddr,
        ip: Option<IpAddr>,
    ) -> &mut Self {
        self.macs.insert((logical_switch.into(), mac), Some(Place { vtep, ip }));
        self
    }

    /// Nothing is to be said of the address.
    pub fn remove_remote_mac(&mut self, logical_switch: impl Into<String>, mac: MacAddr) -> &mut Self {
        self.macs.insert((logical_switch.into(), mac), None);
        self
    }

    /// Broadcasts, and frames to unknown addresses, are to be sent to exactly these tunnel endpoints.
    pub fn flood_to(
        &mut self,
        logical_switch: impl Into<String>,
        vteps: impl IntoIterator<Item = IpAddr>,
    ) -> &mut Self {
        self.floods.insert(logical_switch.into(), vteps.into_iter().collect());
        self
    }

    /// True when it wants nothing.
    pub fn is_empty(&self) -> bool {
        *self == VtepTransaction::default()
    }

    /// The transaction that makes the database of this replica as planned; empty when it is so already.
    ///
    /// # Errors
    ///
    /// [`VtepError`] when the plan does not fit; nothing is then to be sent.
    pub fn build(&self, replica: &Replica) -> Result<Transaction, VtepError> {
        let mut builder = Builder::new(replica);
        for (name, wanted) in &self.switches {
            match wanted {
                Some(wanted) if wanted.vni >> 24 != 0 => return Err(VtepError::Vni(wanted.vni)),
                Some(wanted) => builder.ensure_switch(wanted),
                None => builder.remove_switch(name),
            }
        }
        builder.bindings(&self.bindings)?;
        for ((switch, mac), place) in &self.macs {
            builder.remote_mac(switch, *mac, *place)?;
        }
        for (switch, vteps) in &self.floods {
            builder.flood(switch, vteps)?;
        }
        let mut transaction = Transaction::new();
        if !builder.changes.is_empty() {
            builder.guards.into_iter().chain(builder.changes).for_each(|operation| {
                transaction.push(operation);
            });
        }
        Ok(transaction)
    }
}

struct Builder<'a> {
    vtep: Vtep<'a>,
    /// The rows of each address that is told: one, unless somebody made it again, which nothing in the schema forbids.
    told: BTreeMap<(Uuid, MacAddr), Vec<UnicastMac>>,
    /// The tunnel endpoints without a tunnel key of their own: one with it is for tunnels that have their own.
    locators: BTreeMap<IpAddr, Uuid>,
    guards: Vec<Operation>,
    guarded: BTreeSet<(String, Uuid, Vec<String>)>,
    changes: Vec<Operation>,
    /// Logical switches that this transaction makes, by their rows' names in it.
    new_switches: BTreeMap<String, String>,
    new_locators: BTreeMap<IpAddr, String>,
    /// Logical switches that this transaction deletes.
    gone: BTreeSet<Uuid>,
}

impl<'a> Builder<'a> {
    fn new(replica: &'a Replica) -> Builder<'a> {
        let vtep = Vtep::new(replica);
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in vtep.remote_macs() {
            told.entry((row.logical_switch, row.mac)).or_default().push(row);
        }
        let of_no_tunnel = vtep.locators().filter(|one| one.vni.is_none());
        Builder {
            vtep,
            told,
            locators: of_no_tunnel.map(|one| (one.dst, one.uuid)).collect(),
            guards: Vec::new(),
            guarded: BTreeSet::new(),
            changes: Vec::new(),
            new_switches: BTreeMap::new(),
            new_locators: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Fails the transaction unless these columns of the row are still as they were read.
    fn guard(&mut self, table: &str, uuid: Uuid, columns: &[&str]) {
        let names = columns.iter().map(|column| (*column).to_owned()).collect();
        if !self.guarded.insert((table.to_owned(), uuid, names)) {
            return;
        }
        let Some(row) = self.vtep.replica().row(table, uuid) else { return };
        let schema = self.vtep.replica().schema();
        let mut wanted = Row::new();
        for column in columns {
            let Some(kind) = schema.column(table, column) else { continue };
            // A replica leaves out what is as in a new row.
            let usual = match (kind.value, kind.min) {
                (Some(_), _) => Value::Map(BTreeMap::new()),
                (None, 0) => Value::empty(),
                (None, _) => Value::Atom(kind.key.default_atom()),
            };
            wanted.set(column, row.get(column).cloned().unwrap_or(usual));
        }
        self.guards.push(Operation::require(table, Condition::row(uuid), wanted));
    }

    /// Fails the transaction if a row of this address has come meanwhile.
    fn guard_none(&mut self, table: &str, mac: &str, logical: &Atom) {
        // What this transaction makes, nobody has.
        if let Atom::Uuid(switch) = logical {
            self.guards.push(Operation::Wait {
                timeout: Some(0),
                table: table.to_owned(),
                r#where: vec![Condition::equal("MAC", mac), Condition::equal("logical_switch", *switch)],
                columns: Some(vec!["MAC".to_owned()]),
                until: Until::Equal,
                rows: Vec::new(),
            });
        }
    }

    fn ensure_switch(&mut self, wanted: &LogicalSwitchSpec) {
        let has_mode = self.vtep.has_replication_mode();
        let mode = wanted.replication_mode.filter(|_| has_mode);
        let mut row = Row::new();
        let found = self.vtep.logical_switch(&wanted.name);
        if found.as_ref().and_then(|switch| switch.vni()) != Some(wanted.vni) {
            row.set("tunnel_key", i64::from(wanted.vni));
        }
        if let Some(description) = wanted.description.as_deref()
            && found.as_ref().map(|switch| switch.description()) != Some(description)
        {
            row.set("description", description);
        }
        if let Some(mode) = mode
            && found.as_ref().and_then(|switch| switch.replication_mode()) != Some(mode)
        {
            row.set("replication_mode", mode.name());
        }
        match found {
            Some(_) if row.is_empty() => {}
            Some(switch) => {
                let columns: Vec<&str> =
                    ["name"].into_iter().chain(row.0.keys().map(String::as_str)).collect();
                self.guard(LOGICAL_SWITCH, switch.uuid, &columns);
                self.changes.push(Operation::update(LOGICAL_SWITCH, switch.uuid, row));
            }
            None => {
                let id = format!("switch{}", self.new_switches.len());
                let name = wanted.name.as_str();
                self.guards.push(Operation::require_none(LOGICAL_SWITCH, Condition::equal("name", name)));
                self.changes.push(Operation::insert_named(LOGICAL_SWITCH, &id, row.with("name", name)));
                self.new_switches.insert(wanted.name.clone(), id);
            }
        }
    }

    /// A strong reference would keep the row: what refers to it goes with it.
    fn remove_switch(&mut self, name: &str) {
        let Some(switch) = self.vtep.logical_switch(name) else { return };
        self.gone.insert(switch.uuid);
        let mine = |table: &str| Operation::Delete {
            table: table.to_owned(),
            r#where: vec![Condition::equal("logical_switch", switch.uuid)],
        };
        self.changes.extend(
            [super::UCAST_MACS_LOCAL, UCAST_MACS_REMOTE, super::MCAST_MACS_LOCAL, MCAST_MACS_REMOTE]
                .map(mine),
        );
        for physical in self.vtep.physical_switches() {
            for port in self.vtep.ports(&physical) {
                let vlans: Vec<Atom> = port
                    .vlan_bindings()
                    .into_iter()
                    .filter(|(_, bound)| *bound == switch.uuid)
                    .map(|(vlan, _)| Atom::Integer(vlan.into()))
                    .collect();
                if !vlans.is_empty() {
                    let mutations = vec![Mutation::delete("vlan_bindings", Value::set(vlans))];
                    self.changes.push(Operation::mutate(PHYSICAL_PORT, port.uuid, mutations));
                }
            }
        }
        self.changes.push(Operation::delete(LOGICAL_SWITCH, switch.uuid));
    }

    /// A logical switch that is there, or that this transaction makes.
    fn switch(&mut self, name: &str) -> Result<Atom, VtepError> {
        if let Some(id) = self.new_switches.get(name) {
            return Ok(Atom::NamedUuid(id.clone()));
        }
        match self.vtep.logical_switch(name) {
            Some(switch) if !self.gone.contains(&switch.uuid) => {
                self.guard(LOGICAL_SWITCH, switch.uuid, &["name"]);
                Ok(Atom::Uuid(switch.uuid))
            }
            _ => Err(VtepError::NoLogicalSwitch(name.to_owned())),
        }
    }

    fn bindings(
        &mut self,
        bindings: &BTreeMap<(String, String, u16), Option<String>>,
    ) -> Result<(), VtepError> {
        for ((switch, port, vlan), wanted) in bindings {
            if *vlan > 4094 {
                return Err(VtepError::Vlan(*vlan));
            }
            let physical = self.vtep.physical_switch(switch);
            let physical = physical.ok_or_else(|| VtepError::NoPhysicalSwitch(switch.clone()))?;
            let found = self.vtep.ports(&physical).find(|one| one.name() == port);
            let found = found
                .ok_or_else(|| VtepError::NoPhysicalPort { switch: switch.clone(), port: port.clone() })?;
            let bound = found.vlan_bindings().get(vlan).copied().map(Atom::Uuid);
            let wanted = wanted.as_ref().map(|name| self.switch(name)).transpose()?;
            if bound == wanted {
                continue;
            }
            self.guard(PHYSICAL_PORT, found.uuid, &["name", "vlan_bindings"]);
            let key = Atom::Integer((*vlan).into());
            let mut mutations = Vec::new();
            if bound.is_some() {
                mutations.push(Mutation::delete("vlan_bindings", Value::set([key.clone()])));
            }
            if let Some(wanted) = wanted {
                mutations.push(Mutation::insert("vlan_bindings", Value::map([(key, wanted)])));
            }
            self.changes.push(Operation::mutate(PHYSICAL_PORT, found.uuid, mutations));
        }
        Ok(())
    }

    /// A tunnel endpoint that is there, or that this transaction makes.
    fn locator(&mut self, vtep: IpAddr) -> Atom {
        if let Some(found) = self.locators.get(&vtep) {
            return Atom::Uuid(*found);
        }
        let next = self.new_locators.len();
        let changes = &mut self.changes;
        let id = self.new_locators.entry(vtep).or_insert_with(|| {
            let id = format!("locator{next}");
            let row =
                Row::new().with("encapsulation_type", "vxlan_over_ipv4").with("dst_ip", vtep.to_string());
            changes.push(Operation::insert_named(PHYSICAL_LOCATOR, &id, row));
            id
        });
        Atom::NamedUuid(id.clone())
    }

    fn remote_mac(&mut self, switch: &str, mac: MacAddr, place: Option<Place>) -> Result<(), VtepError> {
        let logical = match (self.switch(switch), place) {
            (Ok(logical), _) => logical,
            // Nothing is said of it where there is nothing.
            (Err(_), None) => return Ok(()),
            (Err(error), Some(_)) => return Err(error),
        };
        let rows =
            logical.as_uuid().and_then(|logical| self.told.remove(&(logical, mac))).unwrap_or_default();
        let (found, surplus) = match (rows.split_first(), place) {
            (Some((first, more)), Some(_)) => (Some(*first), more),
            _ => (None, &rows[..]),
        };
        for row in surplus {
            self.guard(UCAST_MACS_REMOTE, row.uuid, &["MAC", "logical_switch"]);
            self.changes.push(Operation::delete(UCAST_MACS_REMOTE, row.uuid));
        }
        let Some(place) = place else { return Ok(()) };
        let ip = place.ip.map(|ip| ip.to_string()).unwrap_or_default();
        match found {
            Some(found) => {
                let same = self.vtep.locator(found.locator).is_some_and(|one| one.dst == place.vtep);
                if same && found.ip == place.ip {
                    return Ok(());
                }
                self.guard(UCAST_MACS_REMOTE, found.uuid, &["MAC", "locator", "logical_switch"]);
                let locator = self.locator(place.vtep);
                let row = Row::new().with("locator", Value::Atom(locator)).with("ipaddr", ip);
                self.changes.push(Operation::update(UCAST_MACS_REMOTE, found.uuid, row));
            }
            None => {
                self.guard_none(UCAST_MACS_REMOTE, &mac.to_string(), &logical);
                let locator = self.locator(place.vtep);
                let row = Row::new()
                    .with("MAC", mac.to_string())
                    .with("logical_switch", Value::Atom(logical))
                    .with("locator", Value::Atom(locator))
                    .with("ipaddr", ip);
                self.changes.push(Operation::insert(UCAST_MACS_REMOTE, row));
            }
        }
        Ok(())
    }

    fn flood(&mut self, switch: &str, vteps: &BTreeSet<IpAddr>) -> Result<(), VtepError> {
        let logical = self.switch(switch)?;
        let of_switch = |one: &MulticastMac| one.mac.is_none() && logical == Atom::Uuid(one.logical_switch);
        let mut rows = self.vtep.remote_groups().filter(of_switch);
        let found = rows.next();
        // Nothing in the schema forbids a second row.
        self.changes.extend(rows.map(|row| Operation::delete(MCAST_MACS_REMOTE, row.uuid)));
        let now: Option<BTreeSet<IpAddr>> =
            found.map(|one| self.vtep.locators_of(one.locator_set).map(|locator| locator.dst).collect());
        match (found, vteps.is_empty()) {
            (Some(found), true) => self.changes.push(Operation::delete(MCAST_MACS_REMOTE, found.uuid)),
            (None, true) => {}
            (_, false) if now.as_ref() == Some(vteps) => {}
            (found, false) => {
                match found {
                    Some(found) => {
                        self.guard(MCAST_MACS_REMOTE, found.uuid, &["MAC", "locator_set", "logical_switch"]);
                    }
                    None => self.guard_none(MCAST_MACS_REMOTE, UNKNOWN_DST, &logical),
                }
                let locators: Vec<Atom> = vteps.iter().map(|vtep| self.locator(*vtep)).collect();
                // Sets are not changed but replaced; the database collects the old one.
                let id = format!("set{}", self.changes.len());
                let row = Row::new().with("locators", Value::set(locators));
                self.changes.push(Operation::insert_named(PHYSICAL_LOCATOR_SET, &id, row));
                let set = Value::Atom(Atom::NamedUuid(id));
                self.changes.push(match found {
                    Some(found) => {
                        Operation::update(MCAST_MACS_REMOTE, found.uuid, Row::new().with("locator_set", set))
                    }
                    None => Operation::insert(
                        MCAST_MACS_REMOTE,
                        Row::new()
                            .with("MAC", UNKNOWN_DST)
                            .with("logical_switch", Value::Atom(logical))
                            .with("locator_set", set),
                    ),
                });
            }
        }
        Ok(())
    }
}
