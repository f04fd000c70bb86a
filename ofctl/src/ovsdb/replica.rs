//! A local copy of the monitored tables.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::operation::Row;
use super::schema::Schema;
use super::value::{Uuid, Value};
use super::vswitch::Vswitch;

/// What became of one row (`<row-update>` of RFC 7047 §4.1.6, `<row-update2>` of ovsdb-server(7) §4.1.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowUpdate {
    /// The row is this, columns of default value left out or not.
    Put(Row),
    /// These columns changed: new values, or differences where a column may hold several elements.
    Modify(Row),
    /// The row is gone.
    Delete,
}

impl<'de> Deserialize<'de> for RowUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Member {
            Initial,
            Insert,
            Modify,
            Delete,
            Old,
            New,
        }
        struct UpdateVisitor;
        impl<'de> Visitor<'de> for UpdateVisitor {
            type Value = RowUpdate;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a row update")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RowUpdate, A::Error> {
                let mut update = None;
                while let Some(member) = members.next_key()? {
                    match member {
                        Member::Initial | Member::Insert | Member::New => {
                            update = Some(RowUpdate::Put(members.next_value()?));
                        }
                        Member::Modify => update = Some(RowUpdate::Modify(members.next_value()?)),
                        Member::Delete => {
                            members.next_value::<IgnoredAny>()?;
                            update = Some(RowUpdate::Delete);
                        }
                        // Without `new` beside it, it says that the row is gone.
                        Member::Old => {
                            members.next_value::<IgnoredAny>()?;
                            update.get_or_insert(RowUpdate::Delete);
                        }
                    }
                }
                update.ok_or_else(|| serde::de::Error::custom("a row update says nothing"))
            }
        }
        deserializer.deserialize_map(UpdateVisitor)
    }
}

/// Row updates by table and row (`<table-updates>`, `<table-updates2>`).
pub type TableUpdates = BTreeMap<String, BTreeMap<Uuid, RowUpdate>>;

/// How one row changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Arc<str>,
    /// The row.
    pub uuid: Uuid,
    /// What it was; none when it is new.
    pub old: Option<Arc<Row>>,
    /// What it is; none when it is gone.
    pub new: Option<Arc<Row>>,
}

impl Change {
    /// True when a column differs between old and new; a row that came or went differs in each.
    pub fn touches(&self, column: &str) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => old.get(column) != new.get(column),
            _ => true,
        }
    }
}

/// Changes of which several of one row are one, from the first old to the last new.
#[derive(Debug, Default)]
pub struct ChangeSet {
    changes: HashMap<(Arc<str>, Uuid), Change>,
}

impl ChangeSet {
    /// Adds changes.
    pub fn extend(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            let key = (change.table.clone(), change.uuid);
            match self.changes.remove(&key) {
                None => {
                    self.changes.insert(key, change);
                }
                // What came and went, or was changed and changed back, is no change.
                Some(earlier) if earlier.old == change.new => {}
                Some(earlier) => {
                    self.changes.insert(key, Change { old: earlier.old, ..change });
                }
            }
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes all of them, by table and row.
    pub fn take(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.changes.drain().map(|(_, change)| change).collect();
        changes.sort_unstable_by(|one, other| (&one.table, one.uuid).cmp(&(&other.table, other.uuid)));
        changes
    }
}

/// An update does not fit the replica: it is out of step and must be made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ovsdb-server reports a change of row {uuid} of table {table}, which this replica does not have")]
pub struct ReplicaError {
    table: String,
    uuid: Uuid,
}

#[derive(Debug, Clone, Default)]
struct Table {
    rows: BTreeMap<Uuid, Arc<Row>>,
    /// Rows by their `name` column, where the table has one.
    names: HashMap<String, Uuid>,
}

impl Table {
    fn put(&mut self, uuid: Uuid, row: Option<Arc<Row>>) -> Option<Arc<Row>> {
        let old = match &row {
            Some(row) => self.rows.insert(uuid, row.clone()),
            None => self.rows.remove(&uuid),
        };
        let old_name = old.as_ref().and_then(|row| row.str("name"));
        let name = row.as_ref().and_then(|row| row.str("name"));
        if old_name != name {
            // Within one update another row may already have taken the name over.
            if let Some(old_name) = old_name
                && self.names.get(old_name) == Some(&uuid)
            {
                self.names.remove(old_name);
            }
            if let Some(name) = name {
                self.names.insert(name.to_owned(), uuid);
            }
        }
        old
    }
}

/// A local copy of the monitored tables of one database.
///
/// A column that holds its type's default (an empty set or map, zero, an empty text) is left out of its row.
#[derive(Debug, Clone)]
pub struct Replica {
    schema: Arc<Schema>,
    tables: BTreeMap<Arc<str>, Table>,
    last_transaction: Uuid,
}

impl Replica {
    /// An empty replica of a database of this schema.
    pub fn new(schema: Arc<Schema>) -> Replica {
        Replica { schema, tables: BTreeMap::new(), last_transaction: Uuid::ZERO }
    }

    /// The database's schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The last transaction seen, for `monitor_cond_since`; zero where the server does not number them.
    pub fn last_transaction(&self) -> Uuid {
        self.last_transaction
    }

    /// Takes the answer to a monitor request.
    ///
    /// Unless the server found `since` in its history, its rows are the whole contents, and what the replica
    /// has beyond them is gone.
    ///
    /// # Errors
    ///
    /// [`ReplicaError`] when a change does not fit.
    pub fn apply_initial(
        &mut self,
        found: bool,
        last_transaction: Uuid,
        updates: TableUpdates,
    ) -> Result<Vec<Change>, ReplicaError> {
        let mut gone = Vec::new();
        if !found {
            for (name, table) in &mut self.tables {
                let stays = |uuid: &Uuid| updates.get(&**name).is_some_and(|rows| rows.contains_key(uuid));
                let lost: Vec<Uuid> = table.rows.keys().copied().filter(|uuid| !stays(uuid)).collect();
                for uuid in lost {
                    let old = table.put(uuid, None);
                    gone.push(Change { table: name.clone(), uuid, old, new: None });
                }
            }
        }
        gone.extend(self.apply(last_transaction, updates)?);
        Ok(gone)
    }

    /// Takes an update notification.
    ///
    /// # Errors
    ///
    /// [`ReplicaError`] when a change does not fit: the replica is then of no more use.
    pub fn apply(
        &mut self,
        last_transaction: Uuid,
        updates: TableUpdates,
    ) -> Result<Vec<Change>, ReplicaError> {
        let mut changes = Vec::with_capacity(updates.values().map(BTreeMap::len).sum());
        for (name, rows) in updates {
            let columns = self.schema.tables.get(&name).map(|table| &table.columns);
            let is_default = |column: &str, value: &Value| {
                columns
                    .and_then(|columns| columns.get(column))
                    .is_some_and(|column| column.r#type.is_default(value))
            };
            let (name, table) = match self.tables.get_key_value(name.as_str()) {
                Some((shared, _)) => (shared.clone(), self.tables.get_mut(name.as_str())),
                None => (Arc::from(name.as_str()), None),
            };
            let table = match table {
                Some(table) => table,
                None => self.tables.entry(name.clone()).or_default(),
            };
            for (uuid, update) in rows {
                let missing = || ReplicaError { table: name.to_string(), uuid };
                let row = match update {
                    RowUpdate::Put(mut row) => {
                        row.0.retain(|column, value| !is_default(column, value));
                        Some(Arc::new(row))
                    }
                    RowUpdate::Delete => {
                        table.rows.get(&uuid).ok_or_else(missing)?;
                        None
                    }
                    RowUpdate::Modify(difference) => {
                        let mut row = Row::clone(table.rows.get(&uuid).ok_or_else(missing)?);
                        for (column, value) in difference.0 {
                            let composite = columns
                                .and_then(|columns| columns.get(&column))
                                .is_some_and(|column| column.r#type.is_composite());
                            let value = match row.get(&column) {
                                Some(old) if composite => old.patched(&value),
                                _ => value,
                            };
                            if is_default(&column, &value) {
                                row.0.remove(&column);
                            } else {
                                row.0.insert(column, value);
                            }
                        }
                        Some(Arc::new(row))
                    }
                };
                let old = table.put(uuid, row.clone());
                if old != row {
                    changes.push(Change { table: name.clone(), uuid, old, new: row });
                }
            }
        }
        self.last_transaction = last_transaction;
        Ok(changes)
    }

    /// A row.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table)?.rows.get(&uuid).map(|row| &**row)
    }

    /// A table's rows.
    pub fn rows<'a>(&'a self, table: &str) -> impl Iterator<Item = (Uuid, &'a Row)> + use<'a> {
        let rows = self.tables.get(table).into_iter().flat_map(|table| &table.rows);
        rows.map(|(uuid, row)| (*uuid, &**row))
    }

    /// The row of this name, in a table that has a `name` column.
    pub fn by_name(&self, table: &str, name: &str) -> Option<(Uuid, &Row)> {
        let table = self.tables.get(table)?;
        let uuid = *table.names.get(name)?;
        Some((uuid, table.rows.get(&uuid)?))
    }

    /// The typed view, for a replica of the Open_vSwitch database.
    pub fn vswitch(&self) -> Vswitch<'_> {
        Vswitch::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::schema;
    use super::*;

    fn uuid(number: u8) -> Uuid {
        Uuid([number; 16])
    }

    fn named(name: &str) -> RowUpdate {
        RowUpdate::Put(Row::new().with("name", name))
    }

    fn ports<const N: usize>(rows: [(u8, RowUpdate); N]) -> TableUpdates {
        [("Port".to_owned(), rows.into_iter().map(|(number, update)| (uuid(number), update)).collect())]
            .into()
    }

    fn modified(row: Row) -> RowUpdate {
        RowUpdate::Modify(row)
    }

    fn replica<const N: usize>(rows: [(u8, RowUpdate); N]) -> Replica {
        let mut replica = Replica::new(schema());
        replica.apply_initial(false, Uuid::ZERO, ports(rows)).unwrap();
        replica
    }

    fn names(replica: &Replica) -> Vec<&str> {
        replica.rows("Port").filter_map(|(_, row)| row.str("name")).collect()
    }

    /// A server that does not know where the replica was sends everything; what it does not send is gone.
    #[test]
    fn a_second_first_copy_replaces_unless_found() {
        let mut whole = replica([(1, named("a")), (2, named("b"))]);
        let changes = whole.apply_initial(false, uuid(9), ports([(2, named("b")), (3, named("c"))])).unwrap();
        let changed: Vec<_> = changes.iter().map(|change| (change.uuid, change.new.is_some())).collect();
        assert_eq!(changed, [(uuid(1), false), (uuid(3), true)]);
        assert_eq!((names(&whole), whole.last_transaction()), (vec!["b", "c"], uuid(9)));
        assert!(whole.by_name("Port", "a").is_none());

        let mut found = replica([(1, named("a")), (2, named("b"))]);
        found.apply_initial(true, uuid(9), ports([(2, RowUpdate::Delete), (3, named("c"))])).unwrap();
        assert_eq!(names(&found), ["a", "c"]);
    }

    #[test]
    fn names_may_change_hands_in_one_update() {
        let mut swapped = replica([(1, named("a")), (2, named("b"))]);
        let name = |name| modified(Row::new().with("name", name));
        swapped.apply(Uuid::ZERO, ports([(1, name("b")), (2, name("a"))])).unwrap();
        let found = ["a", "b"].map(|name| swapped.by_name("Port", name).unwrap().0);
        assert_eq!(found, [uuid(2), uuid(1)]);
        swapped.apply(Uuid::ZERO, ports([(1, named("a")), (2, RowUpdate::Delete)])).unwrap();
        assert_eq!(swapped.by_name("Port", "a").unwrap().0, uuid(1));
        assert!(swapped.by_name("Port", "b").is_none());
    }

    #[test]
    fn changes_of_unknown_rows_are_errors() {
        for update in [RowUpdate::Delete, modified(Row::new().with("name", "x"))] {
            let error = replica([(1, named("a"))]).apply(Uuid::ZERO, ports([(2, update)])).unwrap_err();
            assert!(error.to_string().contains(&uuid(2).to_string()), "{error}");
        }
    }

    #[test]
    fn several_changes_of_a_row_are_one() {
        let mut replica = replica([(1, named("a"))]);
        let mut set = ChangeSet::default();
        let tag = |tag: Value| modified(Row::new().with("tag", tag));
        for update in [
            ports([(1, tag(7.into())), (2, named("b")), (3, named("c"))]),
            ports([(1, tag(8.into())), (2, RowUpdate::Delete), (3, tag(5.into()))]),
        ] {
            set.extend(replica.apply(Uuid::ZERO, update).unwrap());
        }
        let changes = set.take();
        let seen: Vec<_> = changes.iter().map(|change| (change.uuid, change.old.is_some())).collect();
        assert_eq!(seen, [(uuid(1), true), (uuid(3), false)], "row 2 came and went");
        assert_eq!(changes[0].new.as_ref().unwrap().integer("tag"), Some(8));
        assert!(changes[0].touches("tag") && !changes[0].touches("name"));
        assert_eq!(changes[1].new.as_ref().unwrap().integer("tag"), Some(5));
        assert!(set.is_empty());
        set.extend(replica.apply(Uuid::ZERO, ports([(1, tag(Value::empty()))])).unwrap());
        set.extend(replica.apply(Uuid::ZERO, ports([(1, tag(8.into()))])).unwrap());
        assert!(set.is_empty(), "changed and changed back");
    }
}
