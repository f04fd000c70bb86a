//! `vsctl list`, `get`, `set`, `add`, `remove` and `clear`: rows of any table, by the database's own schema.

use std::sync::Arc;

use ofctl::ovsdb::schema::{ColumnType, TableSchema};
use ofctl::ovsdb::{Atom, Condition, Mutation, Operation, Row, Schema, Transaction, Uuid, Value};
use serde_json::{Map, Value as Json, json};

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::Output;
use super::{Database, failed, usage};

/// A value as JSON that needs no knowledge of OVSDB: an atom, a list or an object.
pub(super) fn json_of(value: &Value) -> Json {
    let atom = |atom: &Atom| match atom {
        Atom::Integer(number) => json!(number),
        Atom::Real(number) => json!(number.to_f64()),
        Atom::Boolean(truth) => json!(truth),
        Atom::String(text) => json!(text),
        other => json!(other.to_string()),
    };
    match value {
        Value::Atom(one) => atom(one),
        Value::Set(set) => set.as_slice().iter().map(atom).collect(),
        Value::Map(map) => {
            let key = |key: &Atom| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Json::Object(map.iter().map(|(one, value)| (key(one), atom(value))).collect())
        }
    }
}

/// A value's text: a column that may hold several shows brackets around one, too.
pub(super) fn text_of(schema: &Schema, table: &str, column: &str, value: &Value) -> String {
    let several = schema.column(table, column).is_some_and(|kind| kind.max != Some(1));
    match value {
        Value::Atom(atom) if several => format!("[{atom}]"),
        value => value.to_string(),
    }
}

/// The name that is meant: the same but for case and dashes, or the only one that begins so.
fn find<'a>(names: impl Iterator<Item = &'a String> + Clone, wanted: &str) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(wanted);
    if let Some(same) = names.clone().find(|name| plain(name) == wanted) {
        return Some(same);
    }
    let mut begin = names.filter(|name| plain(name).starts_with(&wanted));
    match (begin.next(), begin.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// A table of the schema.
struct Table {
    schema: Arc<Schema>,
    name: String,
}

impl Table {
    fn of(database: &Database<'_>, wanted: &str) -> Result<Table, CliError> {
        let schema = database.client.read(|replica| replica.schema().clone());
        let name = find(schema.tables.keys(), wanted).map(str::to_owned);
        let name = name.ok_or_else(|| {
            let known: Vec<&str> = schema.tables.keys().map(String::as_str).collect();
            usage(format!("{} has no table '{wanted}'; it has {}", schema.name, known.join(", ")))
        })?;
        Ok(Table { schema, name })
    }

    fn table(&self) -> &TableSchema {
        &self.schema.tables[&self.name]
    }

    fn column(&self, wanted: &str) -> Result<(&str, ColumnType), CliError> {
        let name = find(self.table().columns.keys(), wanted);
        let name = name.ok_or_else(|| {
            let known: Vec<&str> = self.table().columns.keys().map(String::as_str).collect();
            usage(format!("table {} has no column '{wanted}'; it has {}", self.name, known.join(", ")))
        })?;
        Ok((name, self.table().columns[name].r#type))
    }

    fn text(&self, column: &str, value: &Value) -> String {
        text_of(&self.schema, &self.name, column, value)
    }

    /// The rows with these conditions; every column.
    async fn rows(&self, database: &Database<'_>, conditions: Vec<Condition>) -> Result<Vec<Row>, CliError> {
        // Without a word for all columns the UUID is among them.
        let select = Operation::Select { table: self.name.clone(), r#where: conditions, columns: None };
        let sent = database.client.transact(Transaction::new().with(select), database.deadline).await;
        Ok(sent.map_err(failed)?.into_iter().next().map(|result| result.rows).unwrap_or_default())
    }

    /// The row of this name or UUID; with `.` the only one.
    async fn row(&self, database: &Database<'_>, record: &str) -> Result<Option<(Uuid, Row)>, CliError> {
        let rows = if record == "." {
            self.rows(database, Vec::new()).await?
        } else if let Ok(uuid) = record.parse() {
            self.rows(database, vec![Condition::row(uuid)]).await?
        } else if self.table().columns.contains_key("name") {
            self.rows(database, vec![Condition::equal("name", record)]).await?
        } else {
            return Err(usage(format!(
                "rows of table {} have no names: give a UUID, or . for the only one",
                self.name
            )));
        };
        if rows.len() > 1 {
            let problem =
                format!("{} rows of table {} are meant by '{record}': give a UUID", rows.len(), self.name);
            return Err(usage(problem));
        }
        Ok(rows.into_iter().next().and_then(|row| Some((row.get("_uuid")?.as_uuid()?, row))))
    }

    /// The row, or `None` if there need be none.
    async fn needed(&self, database: &Database<'_>, record: &str) -> Result<Option<(Uuid, Row)>, CliError> {
        match self.row(database, record).await? {
            None if !database.how.if_exists => {
                Err(usage(format!("table {} has no row '{record}'; vsctl list {0} lists them", self.name)))
            }
            found => Ok(found),
        }
    }
}

pub(super) async fn list(
    database: &Database<'_>,
    table: &str,
    records: &[String],
    columns: &[String],
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let table = Table::of(database, table)?;
    let mut names: Vec<&str> = Vec::new();
    for column in columns {
        names.push(if column == "_uuid" { "_uuid" } else { table.column(column)?.0 });
    }
    if columns.is_empty() {
        names.push("_uuid");
        names.extend(table.table().columns.keys().map(String::as_str));
    }
    let mut rows = Vec::new();
    if records.is_empty() {
        rows = table.rows(database, Vec::new()).await?;
        rows.sort_by(|a, b| {
            (a.str("name"), a.get("_uuid").and_then(Value::as_uuid))
                .cmp(&(b.str("name"), b.get("_uuid").and_then(Value::as_uuid)))
        });
    }
    for record in records {
        rows.extend(table.needed(database, record).await?.map(|(_, row)| row));
    }
    for (place, row) in rows.iter().enumerate() {
        let values = names.iter().filter_map(|name| Some((*name, row.get(name)?)));
        if database.how.json {
            output.line(Json::Object(
                values.map(|(name, value)| (name.to_owned(), json_of(value))).collect(),
            ))?;
            continue;
        }
        if place > 0 {
            output.line("")?;
        }
        for (name, value) in values {
            output.line(format_args!("{name:20}: {}", table.text(name, value)))?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) async fn get(
    database: &Database<'_>,
    table: &str,
    record: &str,
    columns: &[String],
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let table = Table::of(database, table)?;
    let mut wanted = Vec::new();
    for text in columns {
        let (column, key) = match text.split_once(':') {
            Some((column, key)) => (column, Some(key)),
            None => (text.as_str(), None),
        };
        if column == "_uuid" {
            wanted.push(("_uuid", None));
            continue;
        }
        let (name, kind) = table.column(column)?;
        if key.is_some() && kind.value.is_none() {
            return Err(usage(format!("column {name} of table {} is no map: it has no keys", table.name)));
        }
        let key = key.map(|key| kind.key.parse(key).map_err(|error| usage(format!("{text}: {error}"))));
        wanted.push((name, key.transpose()?));
    }
    let Some((_, row)) = table.needed(database, record).await? else { return Ok(Outcome::Done) };
    let mut object = Map::new();
    for (name, key) in wanted {
        let value = row.get(name).cloned().unwrap_or(Value::empty());
        let (value, shown) = match key {
            None => {
                let shown = table.text(name, &value);
                (value, shown)
            }
            Some(key) => match value.as_map().and_then(|map| map.get(&key)) {
                Some(found) => (Value::Atom(found.clone()), found.to_string()),
                None if database.how.if_exists => continue,
                None => {
                    return Err(usage(format!("column {name} of '{record}' has no key {key}")));
                }
            },
        };
        if database.how.json {
            object.insert(name.to_owned(), json_of(&value));
        } else {
            output.line(shown)?;
        }
    }
    if database.how.json {
        output.line(Json::Object(object)).map(|()| Outcome::Done)
    } else {
        Ok(Outcome::Done)
    }
}

/// What a setting does to its row.
enum Change {
    Whole(String, Value),
    /// One key of a map.
    Key(String, Atom, Atom),
}

fn setting(table: &Table, text: &str) -> Result<Change, CliError> {
    let wrong = || usage(format!("'{text}' is not COLUMN=VALUE or COLUMN:KEY=VALUE"));
    let split = text.find([':', '=']).ok_or_else(wrong)?;
    let (name, kind) = table.column(&text[..split])?;
    let named = |error| usage(format!("{text}: {error}"));
    let rest = &text[split + 1..];
    if text.as_bytes()[split] == b'=' {
        return Ok(Change::Whole(name.to_owned(), kind.parse(rest).map_err(named)?));
    }
    let Some(value_type) = kind.value else {
        return Err(usage(format!("column {name} of table {} is no map: it has no keys", table.name)));
    };
    let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
    let key = kind.key.parse(key).map_err(named)?;
    Ok(Change::Key(name.to_owned(), key, value_type.parse(value).map_err(named)?))
}

pub(super) async fn set(
    database: &Database<'_>,
    table: &str,
    record: &str,
    settings: &[String],
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let table = Table::of(database, table)?;
    let changes = settings.iter().map(|text| setting(&table, text)).collect::<Result<Vec<_>, _>>()?;
    let Some((uuid, _)) = table.needed(database, record).await? else { return Ok(Outcome::Done) };
    let mut transaction = Transaction::new();
    let mut whole = Row::new();
    let mut keys = Vec::new();
    for change in changes {
        match change {
            Change::Whole(column, value) => whole.set(&column, value),
            Change::Key(column, key, value) => {
                // An insertion leaves a key alone that is there already.
                keys.push(Mutation::delete(&column, Value::set([key.clone()])));
                keys.push(Mutation::insert(&column, Value::map([(key, value)])));
            }
        }
    }
    if !whole.is_empty() {
        transaction.push(Operation::update(&table.name, uuid, whole));
    }
    if !keys.is_empty() {
        transaction.push(Operation::mutate(&table.name, uuid, keys));
    }
    database.carry_out(transaction, output).await?;
    Ok(Outcome::Done)
}

/// What becomes of the elements of a column that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elements {
    Added,
    Removed,
}

impl Elements {
    fn mutation(self, name: &str, kind: ColumnType, text: &str) -> Result<Mutation, CliError> {
        let wrong = |error| usage(format!("{text}: {error}"));
        match self {
            Elements::Added => Ok(Mutation::insert(name, kind.parse_part(text).map_err(wrong)?)),
            Elements::Removed => {
                // Of a map its keys, or pairs, which go only if they are the same.
                let is_pair = kind.value.is_some() && text.contains('=');
                let kind = if is_pair { kind } else { ColumnType { value: None, min: 0, max: None, ..kind } };
                Ok(Mutation::delete(name, kind.parse_part(text).map_err(wrong)?))
            }
        }
    }
}

pub(super) async fn change(
    elements: Elements,
    database: &Database<'_>,
    table: &str,
    record: &str,
    column: &str,
    values: &[String],
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let table = Table::of(database, table)?;
    let (name, kind) = table.column(column)?;
    let mutations = values.iter().map(|text| elements.mutation(name, kind, text));
    let mutations = mutations.collect::<Result<_, CliError>>()?;
    if let Some((uuid, _)) = table.needed(database, record).await? {
        let transaction = Transaction::new().with(Operation::mutate(&table.name, uuid, mutations));
        database.carry_out(transaction, output).await?;
    }
    Ok(Outcome::Done)
}

pub(super) async fn clear(
    database: &Database<'_>,
    table: &str,
    record: &str,
    columns: &[String],
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let table = Table::of(database, table)?;
    let mut row = Row::new();
    for column in columns {
        let (name, kind) = table.column(column)?;
        if kind.min > 0 {
            return Err(usage(format!("column {name} of table {} cannot be empty", table.name)));
        }
        let empty = if kind.value.is_some() { Value::Map(Default::default()) } else { Value::empty() };
        row.set(name, empty);
    }
    let Some((uuid, _)) = table.needed(database, record).await? else { return Ok(Outcome::Done) };
    database.carry_out(Transaction::new().with(Operation::update(&table.name, uuid, row)), output).await?;
    Ok(Outcome::Done)
}
