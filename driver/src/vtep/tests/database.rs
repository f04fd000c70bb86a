//! A hardware_vtep database in memory: enough of RFC 7047 §5.2 to carry out what [`super::difference`] gives, with its
//! checks, named rows, and the collection of rows that nothing refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ofctl::ovsdb::operation::{Condition, Function, Mutation, Mutator, Operation, Row, Until};
use ofctl::ovsdb::replica::RowUpdate;
use ofctl::ovsdb::{Atom, Replica, Schema, Transaction, Uuid, Value};

/// What is read of the schema that Open vSwitch 3.1 ships.
const SCHEMA: &str = include_str!("../../../../ofctl/tests/vectors/hardware_vtep.json");

/// Rows of these are there for as long as another row names them.
const COLLECTED: [&str; 4] = ["Physical_Locator_Set", "Physical_Locator", "Physical_Port", "Physical_Switch"];

type Tables = BTreeMap<String, BTreeMap<Uuid, Row>>;

#[derive(Clone, Debug)]
pub(super) struct Database {
    schema: Arc<Schema>,
    pub(super) tables: Tables,
    last: u32,
}

impl Database {
    pub(super) fn new() -> Database {
        let schema = Arc::new(serde_json::from_str(SCHEMA).expect("a schema"));
        Database { schema, tables: Tables::new(), last: 0 }
    }

    /// As an older switch has it.
    pub(super) fn without_column(mut self, table: &str, column: &str) -> Database {
        let schema = Arc::make_mut(&mut self.schema);
        schema.tables.get_mut(table).expect("a table").columns.remove(column).expect("a column");
        self
    }

    pub(super) fn replica(&self) -> Replica {
        let mut replica = Replica::new(self.schema.clone());
        let put = |rows: &BTreeMap<Uuid, Row>| {
            rows.iter().map(|(uuid, row)| (*uuid, RowUpdate::Put(row.clone()))).collect()
        };
        let updates = self.tables.iter().map(|(table, rows)| (table.clone(), put(rows))).collect();
        replica.apply_initial(false, Uuid::ZERO, updates).expect("rows");
        replica
    }

    pub(super) fn insert(&mut self, table: &str, row: Row) -> Uuid {
        let uuid = self.fresh();
        self.put(table, uuid, row);
        uuid
    }

    fn fresh(&mut self) -> Uuid {
        self.last += 1;
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.last.to_be_bytes());
        Uuid(bytes)
    }

    fn put(&mut self, table: &str, uuid: Uuid, row: Row) {
        for column in row.0.keys() {
            assert!(self.schema.column(table, column).is_some(), "{table} has no column {column}");
        }
        self.tables.entry(table.to_owned()).or_default().insert(uuid, row);
    }

    pub(super) fn row(&mut self, table: &str, uuid: Uuid) -> &mut Row {
        self.tables.get_mut(table).and_then(|rows| rows.get_mut(&uuid)).expect("the row")
    }

    pub(super) fn rows(&self, table: &str) -> impl Iterator<Item = (&Uuid, &Row)> {
        self.tables.get(table).into_iter().flatten()
    }

    fn selected(&self, table: &str, conditions: &[Condition]) -> Vec<Uuid> {
        let passes = |uuid: &Uuid, row: &Row| {
            conditions.iter().all(|Condition(column, function, value)| {
                assert_eq!(*function, Function::Equal);
                match column.as_str() {
                    "_uuid" => value.as_uuid() == Some(*uuid),
                    column => holds(row, column, value),
                }
            })
        };
        self.rows(table).filter(|(uuid, row)| passes(uuid, row)).map(|(uuid, _)| *uuid).collect()
    }

    /// Carries a transaction out; it must not fail.
    pub(super) fn carry_out(&mut self, transaction: &Transaction) {
        // A row may be named before the operation that makes it.
        let mut names = BTreeMap::new();
        for operation in transaction.operations() {
            if let Operation::Insert { uuid_name: Some(name), .. } = operation {
                assert!(names.insert(name.clone(), self.fresh()).is_none(), "{name} is used twice");
            }
        }
        for operation in transaction.operations() {
            match operation {
                Operation::Wait { table, r#where, columns, until, rows, .. } => {
                    assert_eq!(*until, Until::Equal);
                    let columns = columns.as_ref().expect("columns");
                    let found = self.selected(table, r#where);
                    assert_eq!(found.len(), rows.len(), "{operation:?}");
                    for (uuid, wanted) in found.iter().zip(rows) {
                        let row = &self.tables[table][uuid];
                        assert!(
                            columns.iter().all(|column| holds(row, column, &wanted.0[column])),
                            "{row:?}"
                        );
                    }
                }
                Operation::Insert { table, row, uuid_name } => {
                    let uuid = uuid_name.as_ref().map_or_else(|| self.fresh(), |name| names[name]);
                    self.put(table, uuid, resolved(row, &names));
                }
                Operation::Update { table, r#where, row } => {
                    for uuid in self.selected(table, r#where) {
                        let new = resolved(row, &names);
                        self.row(table, uuid).0.extend(new.0);
                    }
                }
                Operation::Mutate { table, r#where, mutations } => {
                    for uuid in self.selected(table, r#where) {
                        let row = self.row(table, uuid);
                        mutations.iter().for_each(|mutation| mutate(row, mutation, &names));
                    }
                }
                Operation::Delete { table, r#where } => {
                    for uuid in self.selected(table, r#where) {
                        self.tables.get_mut(table).expect("the table").remove(&uuid);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        self.collect();
        self.check();
    }

    fn referred(&self) -> BTreeSet<Uuid> {
        let rows = self.tables.values().flat_map(BTreeMap::values);
        rows.flat_map(|row| row.0.values()).flat_map(uuids).collect()
    }

    fn collect(&mut self) {
        for table in COLLECTED {
            let referred = self.referred();
            if let Some(rows) = self.tables.get_mut(table) {
                rows.retain(|uuid, _| referred.contains(uuid));
            }
        }
    }

    /// References lead to rows, and what is an index is unique.
    fn check(&self) {
        let there: BTreeSet<Uuid> = self.tables.values().flat_map(BTreeMap::keys).copied().collect();
        let dangling: Vec<Uuid> = self.referred().difference(&there).copied().collect();
        assert!(dangling.is_empty(), "{dangling:?}");
        let names: Vec<_> = self.rows("Logical_Switch").map(|(_, row)| row.str("name")).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
        let locators: Vec<_> = self
            .rows("Physical_Locator")
            .map(|(_, row)| (row.str("dst_ip"), row.integer("tunnel_key")))
            .collect();
        assert_eq!(locators.len(), locators.iter().collect::<BTreeSet<_>>().len(), "{locators:?}");
    }
}

fn uuids(value: &Value) -> Vec<Uuid> {
    let of_map = value.as_map().into_iter().flat_map(BTreeMap::values).filter_map(Atom::as_uuid);
    value.uuids().chain(of_map).collect()
}

/// True if a column has this value; one that is left out has its type's default.
fn holds(row: &Row, column: &str, value: &Value) -> bool {
    match row.get(column) {
        Some(there) => there == value,
        None => match value {
            Value::Map(map) => map.is_empty(),
            Value::Set(set) => set.as_slice().is_empty(),
            Value::Atom(Atom::String(text)) => text.is_empty(),
            Value::Atom(Atom::Integer(number)) => *number == 0,
            Value::Atom(_) => false,
        },
    }
}

fn named(atom: &Atom, names: &BTreeMap<String, Uuid>) -> Atom {
    match atom {
        Atom::NamedUuid(name) => Atom::Uuid(names[name]),
        other => other.clone(),
    }
}

fn resolve(value: &Value, names: &BTreeMap<String, Uuid>) -> Value {
    match value {
        Value::Map(map) => {
            Value::Map(map.iter().map(|(key, value)| (named(key, names), named(value, names))).collect())
        }
        other => Value::set(other.atoms().iter().map(|atom| named(atom, names))),
    }
}

fn resolved(row: &Row, names: &BTreeMap<String, Uuid>) -> Row {
    Row(row.0.iter().map(|(column, value)| (column.clone(), resolve(value, names))).collect())
}

fn mutate(row: &mut Row, Mutation(column, mutator, value): &Mutation, names: &BTreeMap<String, Uuid>) {
    let mut map = row.get(column).and_then(Value::as_map).cloned().unwrap_or_default();
    match (mutator, resolve(value, names)) {
        (Mutator::Insert, Value::Map(pairs)) => {
            for (key, value) in pairs {
                // RFC 7047 §5.1: a key that is there keeps its value.
                map.entry(key).or_insert(value);
            }
        }
        (Mutator::Delete, keys) => keys.atoms().iter().for_each(|key| drop(map.remove(key))),
        other => panic!("{other:?}"),
    }
    row.set(column, Value::Map(map));
}
