//! What bridges and ports should be, compared with a replica to make one transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{Bridge, Vswitch};
use super::{BRIDGE, BridgeSpec, INTERFACE, PORT, PortSpec, ROOT};
use crate::ovsdb::operation::{Condition, Mutation, Operation, Row, Transaction};
use crate::ovsdb::replica::Replica;
use crate::ovsdb::value::{Atom, Uuid, Value};

/// A plan does not fit what the switch holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The database has no root row.
    #[error("the Open_vSwitch database is not initialised: run 'ovs-vsctl --no-wait init'")]
    NotInitialised,
    /// A bridge or port without a name.
    #[error("a {0} has an empty name")]
    EmptyName(&'static str),
    /// The bridge of a port is neither there nor in the plan.
    #[error("port {port} wants bridge {bridge}, which does not exist: create the bridge first")]
    NoSuchBridge {
        /// The bridge.
        bridge: String,
        /// The port.
        port: String,
    },
    /// A port to be updated is not there.
    #[error("bridge {bridge} has no port {port} to update")]
    NoSuchPort {
        /// The bridge.
        bridge: String,
        /// The port.
        port: String,
    },
    /// The port is in another bridge.
    #[error("port {port} is in bridge {found}, not in {wanted}: remove it there first")]
    OtherBridge {
        /// The port.
        port: String,
        /// Where it is.
        found: String,
        /// Where the plan has it.
        wanted: String,
    },
    /// A bridge's own port was to be removed.
    #[error("port {0} is the local port of bridge {0}: it goes with the bridge, and not before")]
    LocalPort(String),
    /// The name is a bond's, or an interface's inside one.
    #[error("{0} is, or is part of, a bond: a port of one interface was expected")]
    Bond(String),
    /// Somebody else made it.
    #[error(
        "{kind} {name} does not carry the mark {key}={value}: another program made it, and it is left alone"
    )]
    Foreign {
        /// `port` or `bridge`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The mark's key in external_ids.
        key: String,
        /// The mark's value.
        value: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BridgeStep {
    Ensure(BridgeSpec),
    Remove,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortStep {
    Ensure(PortSpec),
    Update(PortSpec),
    Remove { bridge: String },
}

/// What bridges and ports should be. Of several steps for one port or bridge the last one counts.
///
/// [`build`](VswitchTransaction::build) compares with a replica and says only what differs. Sets and maps are
/// mutated, never written whole, and each row that the comparison relied on is checked by a `wait` in the
/// same transaction: what another writer changed meanwhile makes it fail as a
/// [conflict](crate::ovsdb::OperationError::is_conflict) and never loses that writer's ports.
///
/// Rows of removed ports, and their interfaces', are not deleted: ovsdb-server collects what nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VswitchTransaction {
    bridges: BTreeMap<String, BridgeStep>,
    ports: BTreeMap<String, PortStep>,
    mark: Option<(String, String)>,
    comment: Option<String>,
}

impl VswitchTransaction {
    /// A plan that wants nothing.
    pub fn new() -> VswitchTransaction {
        VswitchTransaction::default()
    }

    /// Marks what the plan makes, and leaves alone the ports, and bridges to be removed, that lack the mark.
    pub fn owned_by(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.mark = Some((key.into(), value.into()));
        self
    }

    /// A line for ovsdb-server's log.
    pub fn comment(&mut self, comment: impl Into<String>) -> &mut Self {
        self.comment = Some(comment.into());
        self
    }

    /// The bridge is to be there, like this.
    pub fn ensure_bridge(&mut self, bridge: BridgeSpec) -> &mut Self {
        self.bridges.insert(bridge.name.clone(), BridgeStep::Ensure(bridge));
        self
    }

    /// The bridge is not to be there, nor any of its ports.
    pub fn remove_bridge(&mut self, name: impl Into<String>) -> &mut Self {
        self.bridges.insert(name.into(), BridgeStep::Remove);
        self
    }

    /// The port is to be there, like this, whether or not it is now.
    pub fn add_port(&mut self, port: PortSpec) -> &mut Self {
        self.ports.insert(port.name.clone(), PortStep::Ensure(port));
        self
    }

    /// The port, which is there, is to be like this.
    pub fn update_port(&mut self, port: PortSpec) -> &mut Self {
        let step = match self.ports.get(&port.name) {
            Some(PortStep::Ensure(_)) => PortStep::Ensure(port.clone()),
            _ => PortStep::Update(port.clone()),
        };
        self.ports.insert(port.name, step);
        self
    }

    /// The bridge is not to have the port, whether or not it has now.
    pub fn remove_port(&mut self, bridge: impl Into<String>, name: impl Into<String>) -> &mut Self {
        self.ports.insert(name.into(), PortStep::Remove { bridge: bridge.into() });
        self
    }

    /// True when it wants nothing.
    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty() && self.ports.is_empty()
    }

    /// The names of the ports that are to be there.
    pub fn wanted_ports(&self) -> impl Iterator<Item = &str> {
        self.ports
            .iter()
            .filter(|(_, step)| !matches!(step, PortStep::Remove { .. }))
            .map(|(name, _)| name.as_str())
    }

    /// Takes up another plan's steps as later ones, if no step of one contradicts the other and both have one
    /// mark; otherwise the other plan comes back.
    ///
    /// # Errors
    ///
    /// The other plan, untouched, when it must be done on its own.
    pub fn try_merge(&mut self, other: VswitchTransaction) -> Result<(), VswitchTransaction> {
        let disagree = self.mark != other.mark
            || other
                .bridges
                .iter()
                .any(|(name, step)| self.bridges.get(name).is_some_and(|mine| mine != step))
            || other.ports.iter().any(|(name, step)| self.ports.get(name).is_some_and(|mine| mine != step));
        if disagree {
            return Err(other);
        }
        self.bridges.extend(other.bridges);
        self.ports.extend(other.ports);
        if self.comment.is_none() {
            self.comment = other.comment;
        }
        Ok(())
    }

    /// The transaction that makes the switch of this replica as planned; empty when it is so already.
    ///
    /// # Errors
    ///
    /// [`PlanError`] when the plan does not fit; nothing is then to be sent.
    pub fn build(&self, replica: &Replica) -> Result<Transaction, PlanError> {
        let vswitch = replica.vswitch();
        let (root, _) = vswitch.root().ok_or(PlanError::NotInitialised)?;
        let mut builder = Builder {
            vswitch,
            mark: self.mark.as_ref(),
            guards: Vec::new(),
            changes: Vec::new(),
            bridges: BTreeMap::new(),
            homes: BTreeMap::new(),
            gone: BTreeSet::new(),
        };
        for bridge in builder.vswitch.bridges() {
            builder.homes.extend(bridge.row.uuids("ports").map(|port| (port, bridge)));
        }
        let mut made = Vec::new();
        for (name, step) in &self.bridges {
            if name.is_empty() {
                return Err(PlanError::EmptyName("bridge"));
            }
            match (step, vswitch.bridge(name)) {
                (BridgeStep::Ensure(spec), Some(bridge)) => builder.update_bridge(&bridge, spec),
                (BridgeStep::Ensure(spec), None) => made.push(spec),
                (BridgeStep::Remove, Some(bridge)) => {
                    builder.check_mark("bridge", name, bridge.row)?;
                    builder.gone.insert(bridge.uuid);
                }
                (BridgeStep::Remove, None) => {}
            }
        }
        for spec in &made {
            builder.bridges.insert(&spec.name, PortsOfBridge { new: true, ..PortsOfBridge::default() });
            let local = PortSpec::new(&*spec.name, &*spec.name).interface_type("internal");
            builder.make_rows(&local, &spec.name)?;
        }
        for (name, step) in &self.ports {
            if name.is_empty() {
                return Err(PlanError::EmptyName("port"));
            }
            match step {
                PortStep::Ensure(spec) => builder.ensure_port(spec, true)?,
                PortStep::Update(spec) => builder.ensure_port(spec, false)?,
                PortStep::Remove { bridge } => builder.remove_port(bridge, name)?,
            }
        }
        let mut bridge_names = Vec::new();
        for (index, spec) in made.iter().enumerate() {
            let ports = builder.bridges.remove(spec.name.as_str()).unwrap_or_default();
            let row_name = format!("bridge{index}");
            builder.make_bridge(spec, &row_name, ports.added);
            bridge_names.push(Atom::NamedUuid(row_name));
        }
        for (name, ports) in std::mem::take(&mut builder.bridges) {
            if let Some(bridge) = vswitch.bridge(name) {
                builder.change_ports(&bridge, ports);
            }
        }
        let mut mutations = Vec::new();
        if !bridge_names.is_empty() {
            mutations.push(Mutation::insert("bridges", Value::set(bridge_names)));
        }
        if !builder.gone.is_empty() {
            mutations.push(Mutation::delete("bridges", Value::set(builder.gone)));
        }
        if !mutations.is_empty() {
            builder.changes.push(Operation::mutate(ROOT, root, mutations));
        }
        if builder.changes.is_empty() {
            return Ok(Transaction::new());
        }
        let comment = self.comment.iter().map(Operation::comment);
        Ok(builder.guards.into_iter().chain(builder.changes).chain(comment).collect())
    }
}

#[derive(Default)]
struct PortsOfBridge {
    new: bool,
    added: Vec<Atom>,
    removed: Vec<Uuid>,
}

struct Builder<'a, 'p> {
    vswitch: Vswitch<'a>,
    mark: Option<&'p (String, String)>,
    guards: Vec<Operation>,
    changes: Vec<Operation>,
    /// The bridges whose ports change, new ones among them.
    bridges: BTreeMap<&'p str, PortsOfBridge>,
    /// Which bridge each port is in, so that a plan of many ports stays linear.
    homes: BTreeMap<Uuid, Bridge<'a>>,
    /// The bridges to be removed.
    gone: BTreeSet<Uuid>,
}

impl<'a, 'p> Builder<'a, 'p> {
    fn check_mark(&self, kind: &'static str, name: &str, row: &Row) -> Result<(), PlanError> {
        match self.mark {
            Some((key, value)) if row.map_str("external_ids", key) != Some(value) => {
                Err(PlanError::Foreign {
                    kind,
                    name: name.to_owned(),
                    key: key.clone(),
                    value: value.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn marked(&self, external_ids: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut external_ids = external_ids.clone();
        if let Some((key, value)) = self.mark {
            external_ids.insert(key.clone(), value.clone());
        }
        external_ids
    }

    fn make_bridge(&mut self, spec: &BridgeSpec, row_name: &str, ports: Vec<Atom>) {
        self.guards.push(Operation::require_none(BRIDGE, Condition::equal("name", spec.name.as_str())));
        let mut row = Row::new().with("name", spec.name.as_str());
        row.0.insert("ports".to_owned(), Value::set(ports));
        set_bridge_columns(&mut row, spec);
        set_map(&mut row, "external_ids", &self.marked(&spec.external_ids));
        set_map(&mut row, "other_config", &spec.other_config);
        self.changes.push(Operation::insert_named(BRIDGE, row_name, row));
    }

    fn update_bridge(&mut self, bridge: &Bridge<'a>, spec: &BridgeSpec) {
        let mut wanted = Row::new();
        set_bridge_columns(&mut wanted, spec);
        let maps = [("external_ids", &spec.external_ids), ("other_config", &spec.other_config)];
        self.change_row(BRIDGE, bridge.uuid, bridge.row, wanted, &maps);
    }

    /// Says what differs between a row and what is wanted of it.
    fn change_row(
        &mut self,
        table: &str,
        uuid: Uuid,
        row: &Row,
        mut wanted: Row,
        maps: &[(&str, &BTreeMap<String, String>)],
    ) {
        let schema = self.vswitch.replica().schema();
        wanted.0.retain(|column, value| match row.get(column) {
            Some(current) => current != value,
            // The replica leaves defaults out.
            None => !schema.column(table, column).is_some_and(|column| column.is_default(value)),
        });
        let mutations: Vec<Mutation> =
            maps.iter().flat_map(|(column, wanted)| merge_map(column, row, wanted)).collect();
        if wanted.is_empty() && mutations.is_empty() {
            return;
        }
        let name = row.str("name").unwrap_or_default();
        self.guards.push(Operation::require(table, Condition::row(uuid), Row::new().with("name", name)));
        if !wanted.is_empty() {
            self.changes.push(Operation::update(table, uuid, wanted));
        }
        if !mutations.is_empty() {
            self.changes.push(Operation::mutate(table, uuid, mutations));
        }
    }

    fn ensure_port(&mut self, spec: &'p PortSpec, may_make: bool) -> Result<(), PlanError> {
        let no_bridge = || PlanError::NoSuchBridge { bridge: spec.bridge.clone(), port: spec.name.clone() };
        let bridge = self.vswitch.bridge(&spec.bridge);
        if bridge.is_some_and(|bridge| self.gone.contains(&bridge.uuid)) {
            return Err(no_bridge());
        }
        let Some(port) = self.vswitch.port(&spec.name) else {
            let planned = self.bridges.get(spec.bridge.as_str()).is_some_and(|bridge| bridge.new);
            if planned && spec.name == spec.bridge {
                // The local port of a bridge that this plan makes is made with it.
                return Ok(());
            }
            if !planned && bridge.is_none() {
                return Err(no_bridge());
            }
            if !may_make {
                return Err(PlanError::NoSuchPort { bridge: spec.bridge.clone(), port: spec.name.clone() });
            }
            return self.make_port(spec);
        };
        match self.homes.get(&port.uuid) {
            Some(home) if home.name() == spec.bridge => {}
            home => {
                return Err(PlanError::OtherBridge {
                    port: spec.name.clone(),
                    found: home.map(Bridge::name).unwrap_or_default().to_owned(),
                    wanted: spec.bridge.clone(),
                });
            }
        }
        self.check_mark("port", &spec.name, port.row)?;
        let mut interfaces = port.row.uuids("interfaces");
        let interface = match (interfaces.next(), interfaces.next()) {
            (Some(interface), None) => interface,
            _ => return Err(PlanError::Bond(spec.name.clone())),
        };
        let row = self
            .vswitch
            .replica()
            .row(INTERFACE, interface)
            .ok_or_else(|| PlanError::Bond(spec.name.clone()))?;
        let external_ids = self.marked(&spec.external_ids);
        self.change_row(PORT, port.uuid, port.row, port_columns(spec), &[("external_ids", &external_ids)]);
        let maps = [("external_ids", &external_ids), ("other_config", &spec.other_config)];
        self.change_row(INTERFACE, interface, row, interface_columns(spec), &maps);
        Ok(())
    }

    fn make_port(&mut self, spec: &'p PortSpec) -> Result<(), PlanError> {
        self.make_rows(spec, &spec.bridge)
    }

    fn make_rows(&mut self, spec: &PortSpec, bridge: &'p str) -> Result<(), PlanError> {
        if self.vswitch.interface_row(&spec.name).is_some() {
            return Err(PlanError::Bond(spec.name.clone()));
        }
        let index = self.changes.len();
        let (port_row, interface_row) = (format!("port{index}"), format!("interface{index}"));
        let external_ids = self.marked(&spec.external_ids);
        let mut interface = interface_columns(spec).with("name", spec.name.as_str());
        set_map(&mut interface, "external_ids", &external_ids);
        set_map(&mut interface, "other_config", &spec.other_config);
        let interfaces = Value::Atom(Atom::NamedUuid(interface_row.clone()));
        let mut port = port_columns(spec).with("name", spec.name.as_str());
        port.0.insert("interfaces".to_owned(), interfaces);
        set_map(&mut port, "external_ids", &external_ids);
        self.guards.push(Operation::require_none(PORT, Condition::equal("name", spec.name.as_str())));
        self.changes.push(Operation::insert_named(INTERFACE, &interface_row, interface));
        self.changes.push(Operation::insert_named(PORT, &port_row, port));
        self.bridges.entry(bridge).or_default().added.push(Atom::NamedUuid(port_row));
        Ok(())
    }

    fn remove_port(&mut self, bridge: &'p str, name: &str) -> Result<(), PlanError> {
        let Some(port) = self.vswitch.port(name) else { return Ok(()) };
        if name == bridge {
            return Err(PlanError::LocalPort(name.to_owned()));
        }
        // In another bridge it is another's port: this bridge does not have it.
        if self.homes.get(&port.uuid).is_none_or(|home| home.name() != bridge) {
            return Ok(());
        }
        self.check_mark("port", name, port.row)?;
        self.bridges.entry(bridge).or_default().removed.push(port.uuid);
        Ok(())
    }

    fn change_ports(&mut self, bridge: &Bridge<'a>, ports: PortsOfBridge) {
        let mut mutations = Vec::new();
        if !ports.removed.is_empty() {
            mutations.push(Mutation::delete("ports", Value::set(ports.removed)));
        }
        if !ports.added.is_empty() {
            // Were the bridge gone, the mutation would match no row and the new ports would vanish unsaid.
            let name = Row::new().with("name", bridge.name());
            self.guards.push(Operation::require(BRIDGE, Condition::row(bridge.uuid), name));
            mutations.push(Mutation::insert("ports", Value::set(ports.added)));
        }
        if !mutations.is_empty() {
            self.changes.push(Operation::mutate(BRIDGE, bridge.uuid, mutations));
        }
    }
}

fn set_bridge_columns(row: &mut Row, spec: &BridgeSpec) {
    if let Some(datapath_type) = &spec.datapath_type {
        row.set("datapath_type", datapath_type.as_str());
    }
    if let Some(fail_mode) = spec.fail_mode {
        row.set("fail_mode", fail_mode.as_str());
    }
    if !spec.protocols.is_empty() {
        row.0.insert("protocols".to_owned(), Value::set(spec.protocols.iter().map(String::as_str)));
    }
}

fn port_columns(spec: &PortSpec) -> Row {
    let mut row = Row::new();
    if let Some(tag) = spec.tag {
        row.set("tag", i64::from(tag));
    }
    if !spec.trunks.is_empty() {
        row.0.insert("trunks".to_owned(), Value::set(spec.trunks.iter().map(|vlan| i64::from(*vlan))));
    }
    if let Some(vlan_mode) = spec.vlan_mode {
        row.set("vlan_mode", vlan_mode.as_str());
    }
    row
}

fn interface_columns(spec: &PortSpec) -> Row {
    let mut row = Row::new().with("type", spec.interface_type.as_str());
    let options = spec.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    row.0.insert("options".to_owned(), Value::map(options));
    if let Some(ofport) = spec.ofport_request {
        row.set("ofport_request", i64::from(ofport));
    }
    if let Some(mtu) = spec.mtu_request {
        row.set("mtu_request", i64::from(mtu));
    }
    if let Some(mac) = spec.mac {
        row.set("mac", mac.to_string());
    }
    row
}

fn set_map(row: &mut Row, column: &str, map: &BTreeMap<String, String>) {
    if !map.is_empty() {
        let pairs = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        row.0.insert(column.to_owned(), Value::map(pairs));
    }
}

/// Sets keys of a map and leaves the others: `insert` alone does not replace a key's value.
fn merge_map(column: &str, row: &Row, wanted: &BTreeMap<String, String>) -> Vec<Mutation> {
    let different = |(key, value): &(&String, &String)| row.map_str(column, key) != Some(value.as_str());
    let changed: Vec<(&String, &String)> = wanted.iter().filter(different).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    vec![
        Mutation::delete(column, Value::set(changed.iter().map(|(key, _)| key.as_str()))),
        Mutation::insert(
            column,
            Value::map(changed.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
        ),
    ]
}
