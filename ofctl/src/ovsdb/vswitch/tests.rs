//! Plans against a database in memory, which does what ovsdb-server does with the operations that plans use.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ovsdb::operation::{Function, Mutator, Row, Until};
use crate::ovsdb::recorded::schema;
use crate::ovsdb::replica::{Replica, RowUpdate, TableUpdates};
use crate::ovsdb::value::{Atom, Value};

/// Tables by name, rows by UUID, and what refers to a row that is not a root.
struct Database {
    tables: BTreeMap<String, BTreeMap<Uuid, Row>>,
    replica: Replica,
    last_uuid: u8,
}

impl Database {
    fn new() -> Database {
        let root = Row::new().with("external_ids", Value::map([("system-id", "h1")]));
        let tables = BTreeMap::from([(ROOT.to_owned(), BTreeMap::from([(Uuid([255; 16]), root)]))]);
        let mut database = Database { tables, replica: Replica::new(schema()), last_uuid: 0 };
        database.publish(BTreeMap::new());
        database
    }

    fn value(row: &Row, table: &str, column: &str) -> Value {
        let schema = schema();
        let default = || {
            let column = schema.column(table, column).unwrap();
            match (column.value, column.min) {
                (Some(_), _) => Value::Map(BTreeMap::new()),
                (None, 0) => Value::empty(),
                (None, _) => Value::Atom(column.key.default_atom()),
            }
        };
        row.get(column).cloned().unwrap_or_else(default)
    }

    fn matching(&self, table: &str, conditions: &[Condition]) -> Vec<Uuid> {
        let rows = self.tables.get(table).into_iter().flatten();
        rows.filter(|(uuid, row)| {
            conditions.iter().all(|Condition(column, function, value)| {
                assert_eq!(*function, Function::Equal);
                if column == "_uuid" {
                    *value == Value::from(**uuid)
                } else {
                    Database::value(row, table, column) == *value
                }
            })
        })
        .map(|(uuid, _)| *uuid)
        .collect()
    }

    /// Does the transaction as a whole or, when a `wait` does not hold, not at all: then its index.
    fn transact(&mut self, transaction: &Transaction) -> Result<(), usize> {
        let before = self.tables.clone();
        let mut named = BTreeMap::new();
        for operation in transaction.operations() {
            if let Operation::Insert { uuid_name: Some(name), .. } = operation {
                self.last_uuid += 1;
                assert!(
                    named.insert(name.clone(), Uuid([self.last_uuid; 16])).is_none(),
                    "{name} names two rows"
                );
            }
        }
        let resolve = |value: &Value| match value {
            Value::Map(_) => value.clone(),
            _ => Value::set(value.atoms().iter().map(|atom| match atom {
                Atom::NamedUuid(name) => Atom::Uuid(named[name]),
                atom => atom.clone(),
            })),
        };
        for (index, operation) in transaction.operations().iter().enumerate() {
            match operation {
                Operation::Insert { table, row, uuid_name: Some(name) } => {
                    let row =
                        Row(row.0.iter().map(|(column, value)| (column.clone(), resolve(value))).collect());
                    self.tables.entry(table.clone()).or_default().insert(named[name], row);
                }
                Operation::Update { table, r#where, row } => {
                    for uuid in self.matching(table, r#where) {
                        let stored = self.tables.get_mut(table).unwrap().get_mut(&uuid).unwrap();
                        stored.0.extend(row.0.clone());
                    }
                }
                Operation::Mutate { table, r#where, mutations } => {
                    for uuid in self.matching(table, r#where) {
                        let stored = self.tables.get_mut(table).unwrap().get_mut(&uuid).unwrap();
                        for Mutation(column, mutator, operand) in mutations {
                            let value =
                                mutated(&Database::value(stored, table, column), *mutator, &resolve(operand));
                            stored.set(column, value);
                        }
                    }
                }
                Operation::Wait {
                    timeout: Some(0),
                    table,
                    r#where,
                    columns: Some(columns),
                    until: Until::Equal,
                    rows,
                } => {
                    let found: Vec<Row> = self
                        .matching(table, r#where)
                        .into_iter()
                        .map(|uuid| {
                            let row = &self.tables[table][&uuid];
                            let value =
                                |column: &String| (column.clone(), Database::value(row, table, column));
                            Row(columns.iter().map(value).collect())
                        })
                        .collect();
                    if found != *rows {
                        self.tables = before;
                        return Err(index);
                    }
                }
                Operation::Comment { .. } => {}
                other => panic!("a plan does not use {other:?}"),
            }
        }
        for (table, column, referred) in
            [(ROOT, "bridges", BRIDGE), (BRIDGE, "ports", PORT), (PORT, "interfaces", INTERFACE)]
        {
            let kept: BTreeSet<Uuid> =
                self.tables.get(table).into_iter().flatten().flat_map(|(_, row)| row.uuids(column)).collect();
            self.tables.entry(referred.to_owned()).or_default().retain(|uuid, _| kept.contains(uuid));
            let names: Vec<_> = self.tables[referred].values().map(|row| row.str("name")).collect();
            assert_eq!(
                names.iter().collect::<BTreeSet<_>>().len(),
                names.len(),
                "two rows of {referred} of one name"
            );
        }
        self.publish(before);
        Ok(())
    }

    fn publish(&mut self, before: BTreeMap<String, BTreeMap<Uuid, Row>>) {
        let mut updates = TableUpdates::new();
        for (table, rows) in &before {
            for uuid in rows.keys().filter(|uuid| !self.tables[table].contains_key(uuid)) {
                updates.entry(table.clone()).or_default().insert(*uuid, RowUpdate::Delete);
            }
        }
        for (table, rows) in &self.tables {
            for (uuid, row) in rows {
                updates.entry(table.clone()).or_default().insert(*uuid, RowUpdate::Put(row.clone()));
            }
        }
        self.replica.apply(Uuid::ZERO, updates).unwrap();
    }

    fn apply(&mut self, plan: &VswitchTransaction) {
        let transaction = plan.build(&self.replica).unwrap();
        self.transact(&transaction).unwrap();
    }

    fn ports(&self, bridge: &str) -> Vec<String> {
        let vswitch = self.replica.vswitch();
        let mut names: Vec<String> =
            vswitch.ports(&vswitch.bridge(bridge).unwrap()).map(|port| port.name().to_owned()).collect();
        names.sort();
        names
    }
}

fn mutated(old: &Value, mutator: Mutator, operand: &Value) -> Value {
    match (old, mutator, operand) {
        (Value::Map(old), Mutator::Insert, Value::Map(new)) => {
            let mut map = old.clone();
            for (key, value) in new {
                map.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Value::Map(map)
        }
        (Value::Map(old), Mutator::Delete, keys) => Value::Map(
            old.iter().filter(|(key, _)| !keys.contains(*key)).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        (old, Mutator::Insert, new) => Value::set(old.atoms().iter().chain(new.atoms()).cloned()),
        (old, Mutator::Delete, gone) => {
            Value::set(old.atoms().iter().filter(|atom| !gone.contains(*atom)).cloned())
        }
        other => panic!("a plan does not use {other:?}"),
    }
}

fn bridge(name: &str) -> VswitchTransaction {
    let mut plan = VswitchTransaction::new();
    plan.ensure_bridge(BridgeSpec::new(name).datapath_type("netdev").fail_mode(FailMode::Secure));
    plan
}

fn with_bridge() -> Database {
    let mut database = Database::new();
    database.apply(&bridge("br0"));
    database
}

#[test]
fn the_operations_for_a_port_are_these() {
    let database = with_bridge();
    let mut plan = VswitchTransaction::new();
    plan.owned_by("owner", "me").add_port(PortSpec::new("br0", "v0"));
    let transaction = plan.build(&database.replica).unwrap();
    let uuid = database.replica.vswitch().bridge("br0").unwrap().uuid;
    assert_eq!(
        serde_json::to_value(transaction.operations()).unwrap(),
        serde_json::json!([
            {"op": "wait", "table": "Port", "timeout": 0, "where": [["name", "==", "v0"]], "columns": ["name"],
             "until": "==", "rows": []},
            {"op": "wait", "table": "Bridge", "timeout": 0, "where": [["_uuid", "==", ["uuid", uuid]]],
             "columns": ["name"], "until": "==", "rows": [{"name": "br0"}]},
            {"op": "insert", "table": "Interface", "uuid-name": "interface0",
             "row": {"name": "v0", "type": "", "options": ["map", []], "external_ids": ["map", [["owner", "me"]]]}},
            {"op": "insert", "table": "Port", "uuid-name": "port0",
             "row": {"name": "v0", "interfaces": ["named-uuid", "interface0"],
                     "external_ids": ["map", [["owner", "me"]]]}},
            {"op": "mutate", "table": "Bridge", "where": [["_uuid", "==", ["uuid", uuid]]],
             "mutations": [["ports", "insert", ["named-uuid", "port0"]]]},
        ])
    );
}

#[test]
fn a_stale_plan_fails_and_changes_nothing() {
    let mut database = with_bridge();
    let stale = database.replica.clone();
    let mut plan = VswitchTransaction::new();
    plan.add_port(PortSpec::new("br0", "v0"));
    database.apply(&plan);
    assert!(plan.build(&database.replica).unwrap().is_empty());
    assert_eq!(database.transact(&plan.build(&stale).unwrap()), Err(0));

    // Another writer's port survives a plan that does not know of it.
    let mut other = VswitchTransaction::new();
    other.add_port(PortSpec::new("br0", "v1")).remove_port("br0", "v0");
    let stale = database.replica.clone();
    let mut theirs = VswitchTransaction::new();
    theirs.add_port(PortSpec::new("br0", "theirs"));
    database.apply(&theirs);
    database.transact(&other.build(&stale).unwrap()).unwrap();
    assert_eq!(database.ports("br0"), ["br0", "theirs", "v1"]);

    let stale = database.replica.clone();
    let mut removal = VswitchTransaction::new();
    removal.remove_bridge("br0");
    database.apply(&removal);
    assert!(database.tables[INTERFACE].is_empty() && database.tables[PORT].is_empty());
    assert!(database.transact(&plan.build(&stale).unwrap()).is_err(), "the bridge is gone");
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let mut database = with_bridge();
    database.apply(&bridge("br1"));
    let mut plan = VswitchTransaction::new();
    plan.add_port(PortSpec::new("br0", "v0"));
    database.apply(&plan);
    let refuse = |change: &dyn Fn(&mut VswitchTransaction)| {
        let mut plan = VswitchTransaction::new();
        change(&mut plan);
        plan.build(&database.replica).unwrap_err().to_string()
    };
    let cases = [
        (
            refuse(&|plan| {
                plan.remove_port("br0", "br0");
            }),
            "port br0 is the local port of bridge br0: it goes with the bridge, and not before",
        ),
        (
            refuse(&|plan| {
                plan.remove_bridge("br1").add_port(PortSpec::new("br1", "v1"));
            }),
            "port v1 wants bridge br1, which does not exist: create the bridge first",
        ),
        (
            refuse(&|plan| {
                plan.add_port(PortSpec::new("br9", "v1"));
            }),
            "port v1 wants bridge br9, which does not exist: create the bridge first",
        ),
        (
            refuse(&|plan| {
                plan.add_port(PortSpec::new("br1", "v0"));
            }),
            "port v0 is in bridge br0, not in br1: remove it there first",
        ),
        (
            refuse(&|plan| {
                plan.update_port(PortSpec::new("br0", "v1"));
            }),
            "bridge br0 has no port v1 to update",
        ),
        (
            refuse(&|plan| {
                plan.add_port(PortSpec::new("br0", ""));
            }),
            "a port has an empty name",
        ),
        (
            refuse(&|plan| {
                plan.owned_by("owner", "me").remove_port("br0", "v0");
            }),
            "port v0 does not carry the mark owner=me: another program made it, and it is left alone",
        ),
        (
            refuse(&|plan| {
                plan.owned_by("owner", "me").remove_bridge("br1");
            }),
            "bridge br1 does not carry the mark owner=me: another program made it, and it is left alone",
        ),
    ];
    for (error, wanted) in cases {
        assert_eq!(error, wanted);
    }
    let error = plan.build(&Replica::new(schema())).unwrap_err();
    assert_eq!(error, PlanError::NotInitialised);
    // A port of that name in another bridge is not this bridge's to remove.
    let mut removal = VswitchTransaction::new();
    removal.remove_port("br1", "v0").remove_port("br1", "absent");
    assert!(removal.build(&database.replica).unwrap().is_empty());
}

#[test]
fn plans_merge_unless_they_contradict() {
    let mut one = VswitchTransaction::new();
    one.add_port(PortSpec::new("br0", "v0"));
    let mut other = VswitchTransaction::new();
    other.add_port(PortSpec::new("br0", "v1")).add_port(PortSpec::new("br0", "v0"));
    one.try_merge(other).unwrap();
    assert_eq!(one.wanted_ports().collect::<Vec<_>>(), ["v0", "v1"]);
    let mut removal = VswitchTransaction::new();
    removal.remove_port("br0", "v1");
    assert_eq!(one.try_merge(removal.clone()), Err(removal));
    let mut marked = VswitchTransaction::new();
    marked.owned_by("a", "b").add_port(PortSpec::new("br0", "v2"));
    assert!(one.try_merge(marked).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Add { name: u8, kind: u8, ofport: Option<u16>, trunks: Vec<u16>, id: Option<u8> },
    Remove { name: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let add = (
        0u8..6,
        0u8..3,
        prop::option::of(1u16..9),
        prop::collection::vec(1u16..5, 0..3),
        prop::option::of(0u8..3),
    )
        .prop_map(|(name, kind, ofport, trunks, id)| Step::Add { name, kind, ofport, trunks, id });
    prop_oneof![3 => add, 1 => (0u8..6).prop_map(|name| Step::Remove { name })]
}

fn plan(steps: &[Step]) -> VswitchTransaction {
    let mut plan = bridge("br0");
    for step in steps {
        match step {
            Step::Add { name, kind, ofport, trunks, id } => {
                let mut spec = PortSpec::new("br0", format!("p{name}")).trunks(trunks.iter().copied());
                spec.interface_type = ["", "internal", "vxlan"][usize::from(*kind)].to_owned();
                spec.ofport_request = *ofport;
                if *kind == 2 {
                    spec = spec.option("remote_ip", "flow");
                }
                if let Some(id) = id {
                    spec = spec.external_id("id", id.to_string());
                }
                plan.add_port(spec);
            }
            Step::Remove { name } => {
                plan.remove_port("br0", format!("p{name}"));
            }
        }
    }
    plan
}

proptest! {
    /// Applied, a plan is fulfilled: built again it is empty, its ports are there, and others' are too.
    #[test]
    fn an_applied_plan_is_fulfilled(plans in prop::collection::vec(prop::collection::vec(step(), 0..8), 1..5)) {
        let mut database = with_bridge();
        let mut stranger = VswitchTransaction::new();
        stranger.add_port(PortSpec::new("br0", "stranger").external_id("theirs", "1"));
        database.apply(&stranger);
        let mut wanted = BTreeSet::from(["br0".to_owned(), "stranger".to_owned()]);
        for steps in plans {
            let plan = plan(&steps);
            database.apply(&plan);
            prop_assert!(plan.build(&database.replica).unwrap().is_empty());
            for step in &steps {
                match step {
                    Step::Add { name, .. } => wanted.insert(format!("p{name}")),
                    Step::Remove { name } => wanted.remove(&format!("p{name}")),
                };
            }
            prop_assert_eq!(database.ports("br0"), wanted.iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(database.tables[INTERFACE].len(), wanted.len());
            let last: BTreeMap<u8, &Step> = steps
                .iter()
                .map(|step| match step {
                    Step::Add { name, .. } | Step::Remove { name } => (*name, step),
                })
                .collect();
            for (name, step) in last {
                let Step::Add { kind, ofport, id, .. } = step else { continue };
                let interface = database.replica.vswitch().interface(&format!("p{name}")).unwrap();
                prop_assert_eq!(&interface.interface_type, ["", "internal", "vxlan"][usize::from(*kind)]);
                prop_assert_eq!(interface.options.len(), usize::from(*kind == 2));
                if let Some(id) = id {
                    prop_assert_eq!(interface.external_ids.get("id"), Some(&id.to_string()));
                }
                if let Some(ofport) = ofport {
                    let (_, row) = database.replica.vswitch().interface_row(&format!("p{name}")).unwrap();
                    prop_assert_eq!(row.integer("ofport_request"), Some(i64::from(*ofport)));
                }
            }
        }
    }
}
