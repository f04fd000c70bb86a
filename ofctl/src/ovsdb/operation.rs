//! Transactions: operations with their conditions and mutations (RFC 7047 §4.1.3, §5.2).
//!
//! ```
//! use ofctl::ovsdb::{Condition, Operation};
//!
//! let select = Operation::select("Bridge", Condition::equal("name", "br-int"), &["datapath_id"]);
//! assert_eq!(
//!     serde_json::to_string(&select).unwrap(),
//!     r#"{"op":"select","table":"Bridge","where":[["name","==","br-int"]],"columns":["datapath_id"]}"#
//! );
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{Atom, Uuid, Value};

/// Columns and their values (`<row>`, RFC 7047 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row(pub BTreeMap<String, Value>);

impl Row {
    /// A row without columns.
    pub const fn new() -> Row {
        Row(BTreeMap::new())
    }

    /// The row with one more column.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Row {
        self.set(column, value);
        self
    }

    /// Sets a column.
    pub fn set(&mut self, column: &str, value: impl Into<Value>) {
        self.0.insert(column.to_owned(), value.into());
    }

    /// What a column holds, if the row has it.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.0.get(column)
    }

    /// True when the row has no column.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A column's text.
    pub fn str(&self, column: &str) -> Option<&str> {
        self.get(column)?.as_str()
    }

    /// A column's number.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.get(column)?.as_integer()
    }

    /// A column's string pairs; none when the row does not have it.
    pub fn string_map(&self, column: &str) -> BTreeMap<String, String> {
        self.get(column).map(Value::string_map).unwrap_or_default()
    }

    /// The value of one key of a column of string pairs.
    pub fn map_str(&self, column: &str, key: &str) -> Option<&str> {
        self.get(column)?.as_map()?.get(&Atom::from(key))?.as_str()
    }

    /// The rows that a column refers to.
    pub fn uuids(&self, column: &str) -> impl Iterator<Item = Uuid> + '_ {
        self.get(column).into_iter().flat_map(Value::uuids)
    }
}

/// How a condition compares (`<function>`, RFC 7047 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Equal.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// Every element of the operand is in the column.
    #[serde(rename = "includes")]
    Includes,
    /// No element of the operand is in the column.
    #[serde(rename = "excludes")]
    Excludes,
}

/// A test that a row must pass (`<condition>`): column, function, operand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition(pub String, pub Function, pub Value);

impl Condition {
    /// The column equals the value.
    pub fn equal(column: &str, value: impl Into<Value>) -> Condition {
        Condition(column.to_owned(), Function::Equal, value.into())
    }

    /// This row and no other.
    pub fn row(uuid: Uuid) -> Condition {
        Condition::equal("_uuid", uuid)
    }
}

/// How a mutation changes a column (`<mutator>`, RFC 7047 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutator {
    /// Adds a number.
    #[serde(rename = "+=")]
    Add,
    /// Subtracts a number.
    #[serde(rename = "-=")]
    Subtract,
    /// Multiplies by a number.
    #[serde(rename = "*=")]
    Multiply,
    /// Divides by a number.
    #[serde(rename = "/=")]
    Divide,
    /// Takes the remainder.
    #[serde(rename = "%=")]
    Remainder,
    /// Adds elements to a set, or pairs whose keys are not there yet to a map.
    #[serde(rename = "insert")]
    Insert,
    /// Takes elements out of a set, or keys or pairs out of a map.
    #[serde(rename = "delete")]
    Delete,
}

/// One change of one column (`<mutation>`): column, mutator, operand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation(pub String, pub Mutator, pub Value);

impl Mutation {
    /// Adds elements to a set or new pairs to a map.
    pub fn insert(column: &str, value: impl Into<Value>) -> Mutation {
        Mutation(column.to_owned(), Mutator::Insert, value.into())
    }

    /// Takes elements out of a set, or keys or pairs out of a map.
    pub fn delete(column: &str, value: impl Into<Value>) -> Mutation {
        Mutation(column.to_owned(), Mutator::Delete, value.into())
    }

    /// Adds to a number.
    pub fn add(column: &str, number: i64) -> Mutation {
        Mutation(column.to_owned(), Mutator::Add, number.into())
    }
}

/// What `wait` waits for (RFC 7047 §5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// The selected rows are exactly the given ones.
    #[serde(rename = "==")]
    Equal,
    /// They are not.
    #[serde(rename = "!=")]
    NotEqual,
}

/// One step of a transaction (RFC 7047 §5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Makes a row (§5.2.1).
    Insert {
        /// The table.
        table: String,
        /// Its columns; what is left out gets the type's default.
        row: Row,
        /// A name for the row, for [`Atom::NamedUuid`] in the same transaction.
        #[serde(rename = "uuid-name", skip_serializing_if = "Option::is_none", default)]
        uuid_name: Option<String>,
    },
    /// Reads rows (§5.2.2).
    Select {
        /// The table.
        table: String,
        /// Tests that a row must pass, all of them.
        r#where: Vec<Condition>,
        /// The columns wanted; none for all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        columns: Option<Vec<String>>,
    },
    /// Sets columns (§5.2.3).
    Update {
        /// The table.
        table: String,
        /// Tests that a row must pass, all of them.
        r#where: Vec<Condition>,
        /// The new values.
        row: Row,
    },
    /// Changes columns relative to what they hold (§5.2.4).
    Mutate {
        /// The table.
        table: String,
        /// Tests that a row must pass, all of them.
        r#where: Vec<Condition>,
        /// The changes, done in order.
        mutations: Vec<Mutation>,
    },
    /// Deletes rows (§5.2.5).
    Delete {
        /// The table.
        table: String,
        /// Tests that a row must pass, all of them.
        r#where: Vec<Condition>,
    },
    /// Holds the transaction until rows are, or are not, as given; with timeout 0, fails it if not (§5.2.6).
    Wait {
        /// How long, in milliseconds; none for ever.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        timeout: Option<u64>,
        /// The table.
        table: String,
        /// Tests that a row must pass, all of them.
        r#where: Vec<Condition>,
        /// The columns compared; none for all.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        columns: Option<Vec<String>>,
        /// Whether they must be equal or different.
        until: Until,
        /// What they are compared with.
        rows: Vec<Row>,
    },
    /// Commits, on disk before the answer if `durable` (§5.2.7).
    Commit {
        /// True to wait for the disk.
        durable: bool,
    },
    /// Gives the transaction up (§5.2.8).
    Abort {},
    /// A line for the database's log (§5.2.9).
    Comment {
        /// The line.
        comment: String,
    },
    /// Fails unless this client owns the lock (§5.2.10).
    Assert {
        /// The lock's name.
        lock: String,
    },
}

impl Operation {
    /// Makes a row.
    pub fn insert(table: &str, row: Row) -> Operation {
        Operation::Insert { table: table.to_owned(), row, uuid_name: None }
    }

    /// Makes a row that the transaction's other operations can name with [`Atom::NamedUuid`].
    pub fn insert_named(table: &str, name: &str, row: Row) -> Operation {
        Operation::Insert { table: table.to_owned(), row, uuid_name: Some(name.to_owned()) }
    }

    /// Reads columns of the rows that pass the condition.
    pub fn select(table: &str, condition: Condition, columns: &[&str]) -> Operation {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Operation::Select { table: table.to_owned(), r#where: vec![condition], columns: Some(columns) }
    }

    /// Sets columns of one row.
    pub fn update(table: &str, uuid: Uuid, row: Row) -> Operation {
        Operation::Update { table: table.to_owned(), r#where: vec![Condition::row(uuid)], row }
    }

    /// Changes columns of one row relative to what they hold.
    pub fn mutate(table: &str, uuid: Uuid, mutations: Vec<Mutation>) -> Operation {
        Operation::Mutate { table: table.to_owned(), r#where: vec![Condition::row(uuid)], mutations }
    }

    /// Deletes one row.
    pub fn delete(table: &str, uuid: Uuid) -> Operation {
        Operation::Delete { table: table.to_owned(), r#where: vec![Condition::row(uuid)] }
    }

    /// Fails the transaction unless the row that passes the condition has exactly these columns.
    pub fn require(table: &str, condition: Condition, row: Row) -> Operation {
        Operation::Wait {
            timeout: Some(0),
            table: table.to_owned(),
            r#where: vec![condition],
            columns: Some(row.0.keys().cloned().collect()),
            until: Until::Equal,
            rows: vec![row],
        }
    }

    /// Fails the transaction if a row passes the condition.
    pub fn require_none(table: &str, condition: Condition) -> Operation {
        let columns = Some(vec![condition.0.clone()]);
        Operation::Wait {
            timeout: Some(0),
            table: table.to_owned(),
            r#where: vec![condition],
            columns,
            until: Until::Equal,
            rows: Vec::new(),
        }
    }

    /// A line for the database's log.
    pub fn comment(comment: impl Into<String>) -> Operation {
        Operation::Comment { comment: comment.into() }
    }

    /// The operation's name on the wire, and its table.
    pub fn describe(&self) -> (&'static str, Option<&str>) {
        match self {
            Operation::Insert { table, .. } => ("insert", Some(table)),
            Operation::Select { table, .. } => ("select", Some(table)),
            Operation::Update { table, .. } => ("update", Some(table)),
            Operation::Mutate { table, .. } => ("mutate", Some(table)),
            Operation::Delete { table, .. } => ("delete", Some(table)),
            Operation::Wait { table, .. } => ("wait", Some(table)),
            Operation::Commit { .. } => ("commit", None),
            Operation::Abort {} => ("abort", None),
            Operation::Comment { .. } => ("comment", None),
            Operation::Assert { .. } => ("assert", None),
        }
    }
}

/// Operations that take effect together or not at all (RFC 7047 §4.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    operations: Vec<Operation>,
}

impl Transaction {
    /// A transaction without operations.
    pub const fn new() -> Transaction {
        Transaction { operations: Vec::new() }
    }

    /// The transaction with one more operation.
    #[must_use]
    pub fn with(mut self, operation: Operation) -> Transaction {
        self.push(operation);
        self
    }

    /// Appends an operation; the result is its index, which is also its result's.
    pub fn push(&mut self, operation: Operation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

impl FromIterator<Operation> for Transaction {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Transaction { operations: operations.into_iter().collect() }
    }
}

/// What one operation answered (RFC 7047 §5.2). Members that its kind does not have are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct OperationResult {
    #[serde(default)]
    uuid: Option<Value>,
    /// Rows that an update, mutate or delete matched.
    #[serde(default)]
    pub count: Option<u64>,
    /// Rows that a select found.
    #[serde(default)]
    pub rows: Vec<Row>,
}

impl OperationResult {
    /// The row that an insert made.
    pub fn uuid(&self) -> Option<Uuid> {
        self.uuid.as_ref()?.as_uuid()
    }
}

/// Where a transaction failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailedAt {
    /// The request as a whole was refused.
    Request,
    /// In one operation.
    Operation {
        /// Its index.
        index: usize,
        /// What it was, as in `insert into Port`.
        operation: String,
    },
    /// Each operation passed and the result was refused: an index or a reference did not hold.
    Commit,
}

impl std::fmt::Display for FailedAt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FailedAt::Request => out.write_str("the request"),
            FailedAt::Operation { index, operation } => write!(out, "operation {index} ({operation})"),
            FailedAt::Commit => out.write_str("the commit"),
        }
    }
}

/// ovsdb-server refused a transaction; nothing of it took effect (RFC 7047 §4.1.3, `<error>` of §3.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ovsdb-server refused the transaction at {at}: {error}{}", details.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct OperationError {
    /// Where.
    pub at: FailedAt,
    /// The error's name, as in `constraint violation`.
    pub error: String,
    /// What the server says of it.
    pub details: Option<String>,
}

impl OperationError {
    /// True when somebody else changed the rows first: built anew from the replica, the transaction may pass.
    ///
    /// A `wait` with timeout 0 reports a changed row as `timed out`; two inserts of one name that pass their
    /// waits at once end as `constraint violation` in the commit.
    pub fn is_conflict(&self) -> bool {
        match self.error.as_str() {
            "timed out" => true,
            "constraint violation" | "referential integrity violation" => self.at == FailedAt::Commit,
            _ => false,
        }
    }
}

/// `<error>` of RFC 7047 §3.1, or the bare string that ovsdb-server sends for an unknown method.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum WireError {
    Object {
        error: String,
        #[serde(default)]
        details: Option<String>,
    },
    Text(String),
}

impl WireError {
    pub(super) fn at(self, at: FailedAt) -> OperationError {
        let (error, details) = match self {
            WireError::Object { error, details } => (error, details),
            WireError::Text(error) => (error, None),
        };
        OperationError { at, error, details }
    }

    pub(super) fn is_unknown_method(&self) -> bool {
        let (WireError::Object { error, .. } | WireError::Text(error)) = self;
        error == "unknown method"
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireResult {
    Error(WireError),
    Done(OperationResult),
    NotTried(()),
}

/// What a transaction's operations answered, one result each.
pub type Results = Vec<OperationResult>;

/// Reads the `result` of a transact reply; `operations` describes what was sent.
pub(super) fn read_results(
    json: &str,
    operations: &[(&'static str, Option<String>)],
) -> Result<Result<Results, OperationError>, serde_json::Error> {
    let answers: Vec<WireResult> = serde_json::from_str(json)?;
    let mut results = Vec::with_capacity(operations.len());
    for (index, answer) in answers.into_iter().enumerate() {
        match answer {
            WireResult::Done(result) => results.push(result),
            WireResult::Error(error) => {
                let at = match operations.get(index) {
                    Some((name, table)) => FailedAt::Operation {
                        index,
                        operation: table
                            .as_ref()
                            .map_or((*name).to_owned(), |table| format!("{name} on {table}")),
                    },
                    None => FailedAt::Commit,
                };
                return Ok(Err(error.at(at)));
            }
            WireResult::NotTried(()) => break,
        }
    }
    if results.len() != operations.len() {
        return Err(serde::de::Error::custom(format_args!(
            "{} results for {} operations",
            results.len(),
            operations.len()
        )));
    }
    Ok(Ok(results))
}
