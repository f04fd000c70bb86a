//! Tests on recorded traffic: `recorded/conversation.txt` is what ovs-vsctl 3.1 and three monitors said to
//! ovsdb-server 3.1, each line a connection, a direction and a message; `recorded/schema.json` is the part of
//! the Open_vSwitch schema that an agent reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::operation::{FailedAt, Operation, OperationError, Results, read_results};
use super::replica::{Replica, TableUpdates};
use super::schema::{AtomicType, ColumnType, Schema};
use super::value::Uuid;

const CONVERSATION: &str = include_str!("recorded/conversation.txt");

pub(super) fn schema() -> Arc<Schema> {
    Arc::new(serde_json::from_str(include_str!("recorded/schema.json")).unwrap())
}

/// Connection, whether from the server, message.
fn messages() -> impl Iterator<Item = (u32, bool, Json)> {
    CONVERSATION.lines().map(|line| {
        let (tag, message) = line.split_once(' ').unwrap();
        let (connection, direction) = tag.split_at(tag.len() - 1);
        (connection.parse().unwrap(), direction == "<", serde_json::from_str(message).unwrap())
    })
}

/// The message with sets and maps in one order, and a set of one as its atom: ovs-vsctl writes them in several.
fn sorted(json: &Json) -> Json {
    match json {
        Json::Array(elements) => match &elements[..] {
            [Json::String(tag), Json::Array(content)] if tag == "set" && content.len() == 1 => {
                sorted(&content[0])
            }
            [Json::String(tag), Json::Array(content)] if tag == "set" || tag == "map" => {
                let mut content = content.clone();
                content.sort_by_key(Json::to_string);
                Json::Array(vec![tag.as_str().into(), content.into()])
            }
            _ => elements.iter().map(sorted).collect(),
        },
        Json::Object(members) => members.iter().map(|(name, json)| (name.clone(), sorted(json))).collect(),
        scalar => scalar.clone(),
    }
}

/// Each recorded transaction's operations and what the server answered.
fn transactions() -> Vec<(Vec<Operation>, Result<Results, OperationError>)> {
    let mut asked = BTreeMap::new();
    let mut found = Vec::new();
    for (connection, from_server, message) in messages() {
        if message["method"] == "transact" {
            let operations = message["params"].as_array().unwrap().iter().skip(1);
            let operations: Vec<Operation> = operations
                .map(|json| {
                    let operation: Operation = serde_json::from_value(json.clone()).unwrap();
                    assert_eq!(sorted(&serde_json::to_value(&operation).unwrap()), sorted(json));
                    operation
                })
                .collect();
            asked.insert(connection, operations);
        } else if from_server
            && message["result"].is_array()
            && let Some(operations) = asked.remove(&connection)
        {
            let described: Vec<_> = operations
                .iter()
                .map(|operation| {
                    let (name, table) = operation.describe();
                    (name, table.map(str::to_owned))
                })
                .collect();
            found.push((operations, read_results(&message["result"].to_string(), &described).unwrap()));
        }
    }
    found
}

#[test]
fn the_transactions_of_ovs_vsctl_are_understood() {
    let transactions = transactions();
    let done = transactions.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    assert_eq!((transactions.len(), done), (14, 11));
    for (operations, outcome) in &transactions {
        if let Ok(results) = outcome {
            for (operation, result) in operations.iter().zip(results) {
                assert_eq!(matches!(operation, Operation::Insert { .. }), result.uuid().is_some());
            }
        }
    }
}

#[test]
fn refusals_say_where_and_why() {
    let errors: Vec<OperationError> =
        transactions().into_iter().filter_map(|(_, outcome)| outcome.err()).collect();
    let [syntax, wait, index] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(syntax.at, FailedAt::Operation { index: 0, operation: "insert on Nope".into() });
    assert!(!syntax.is_conflict());
    assert_eq!(
        wait.to_string(),
        "ovsdb-server refused the transaction at operation 0 (wait on Bridge): timed out: \"where\" clause test failed"
    );
    assert!(wait.is_conflict());
    assert_eq!((&index.at, index.error.as_str()), (&FailedAt::Commit, "constraint violation"));
    assert!(index.is_conflict());
}

/// The three monitor methods tell one story: after each transaction all replicas are equal.
#[test]
fn monitors_of_every_version_agree() {
    let mut replicas: BTreeMap<u32, (Replica, Vec<BTreeMap<String, Json>>)> =
        (3..=5).map(|connection| (connection, (Replica::new(schema()), Vec::new()))).collect();
    for (connection, from_server, message) in messages() {
        let Some((replica, states)) = replicas.get_mut(&connection).filter(|_| from_server) else { continue };
        let (initial, updates) = match message["method"].as_str() {
            Some("update") | Some("update2") => (false, &message["params"][1]),
            Some("update3") => (false, &message["params"][2]),
            None if connection == 5 => (true, &message["result"][2]),
            None if message["id"] == u64::from(connection - 3) => (true, &message["result"]),
            _ => continue,
        };
        let updates: TableUpdates = serde_json::from_value(updates.clone()).unwrap();
        let changes = if initial {
            replica.apply_initial(false, Uuid::ZERO, updates).unwrap()
        } else {
            replica.apply(Uuid::ZERO, updates).unwrap()
        };
        assert!(!changes.is_empty());
        for change in changes {
            assert_ne!(change.old, change.new);
        }
        let rows = ["Bridge", "Interface", "Open_vSwitch", "Port"].iter().flat_map(|table| {
            let row =
                |(uuid, row): (Uuid, &_)| (format!("{table} {uuid}"), serde_json::to_value(row).unwrap());
            replica.rows(table).map(row).collect::<Vec<_>>()
        });
        states.push(rows.collect());
    }
    let [(_, one), (_, two), (_, three)] = &replicas.into_values().collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(one.len(), 9);
    assert_eq!(one, two);
    assert_eq!(two, three);
    let vlan_port = |state: &BTreeMap<String, Json>| {
        state.values().find(|row| row["name"] == "p1" && !row["interfaces"].is_null()).cloned()
    };
    let trunks: Vec<Option<Json>> =
        one.iter().map(|state| vlan_port(state).map(|row| row["trunks"].clone())).collect();
    let set = |vlans: [u16; 2]| Some(serde_json::json!(["set", vlans]));
    let (before, after) = (set([1, 2]), set([2, 3]));
    assert_eq!(trunks, [None, None, None, before, after.clone(), after.clone(), after, None, None]);
}

#[test]
fn column_types_are_read() {
    let schema = schema();
    let column = |table, column| *schema.column(table, column).unwrap();
    let string = AtomicType::String;
    assert_eq!(column("Bridge", "name"), ColumnType { key: string, value: None, min: 1, max: Some(1) });
    assert_eq!(column("Bridge", "fail_mode"), ColumnType { key: string, value: None, min: 0, max: Some(1) });
    assert_eq!(
        column("Port", "trunks"),
        ColumnType { key: AtomicType::Integer, value: None, min: 0, max: Some(4096) }
    );
    assert_eq!(
        column("Bridge", "ports"),
        ColumnType { key: AtomicType::Uuid, value: None, min: 0, max: None }
    );
    assert_eq!(
        column("Interface", "options"),
        ColumnType { key: string, value: Some(string), min: 0, max: None }
    );
    assert_eq!(schema.column("Bridge", "nope"), None);
    assert_eq!(schema.column("Nope", "name"), None);
}
