//! `vsctl show`: the switch as a tree, or an object a bridge.

use std::fmt::Display;

use ofctl::ovsdb::vswitch::{BRIDGE, INTERFACE, Interface, PORT, ROOT, Vswitch};
use ofctl::ovsdb::{Row, Schema, Value};
use serde_json::{Map, Value as Json, json};

use super::super::Outcome;
use super::super::error::CliError;
use super::super::output::Output;
use super::{Database, records};

/// Writes lines indented by levels of four blanks.
struct Tree<'a> {
    schema: &'a Schema,
    output: &'a mut Output,
}

impl Tree<'_> {
    fn line(&mut self, level: usize, text: impl Display) -> Result<(), CliError> {
        self.output.line(format_args!("{:width$}{text}", "", width = 4 * level))
    }

    /// A column that holds something.
    fn column(&mut self, level: usize, table: &str, row: &Row, name: &str) -> Result<(), CliError> {
        match row.get(name) {
            Some(value) if !is_empty(value) => {
                let text = records::text_of(self.schema, table, name, value);
                self.line(level, format_args!("{name}: {text}"))
            }
            _ => Ok(()),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Map(map) => map.is_empty(),
        value => value.atoms().is_empty() || value.as_str() == Some(""),
    }
}

/// A name as a value is written.
fn name(text: &str) -> Value {
    Value::from(text)
}

pub(super) fn run(database: &Database<'_>, output: &mut Output) -> Result<Outcome, CliError> {
    let as_json = database.how.json;
    database.client.read(|replica| {
        let vswitch = replica.vswitch();
        if as_json { objects(&vswitch, output) } else { tree(&vswitch, output) }
    })?;
    Ok(Outcome::Done)
}

/// The bridges, and the ports of each, by their names.
fn sorted<'a, T>(items: impl Iterator<Item = T>, name: impl Fn(&T) -> &'a str) -> Vec<T> {
    let mut all: Vec<T> = items.collect();
    all.sort_by(|a, b| name(a).cmp(name(b)));
    all
}

fn tree(vswitch: &Vswitch<'_>, output: &mut Output) -> Result<(), CliError> {
    let mut tree = Tree { schema: vswitch.replica().schema(), output };
    let Some((root, row)) = vswitch.root() else { return Ok(()) };
    tree.line(0, root)?;
    for bridge in sorted(vswitch.bridges(), |bridge| bridge.name()) {
        tree.line(1, format_args!("Bridge {}", name(bridge.name())))?;
        tree.column(2, BRIDGE, bridge.row, "fail_mode")?;
        tree.column(2, BRIDGE, bridge.row, "datapath_type")?;
        for port in sorted(vswitch.ports(&bridge), |port| port.name()) {
            tree.line(2, format_args!("Port {}", name(port.name())))?;
            tree.column(3, PORT, port.row, "tag")?;
            tree.column(3, PORT, port.row, "trunks")?;
            for row in sorted(vswitch.interface_rows(&port), |row| row.str("name").unwrap_or_default()) {
                tree.line(3, format_args!("Interface {}", name(row.str("name").unwrap_or_default())))?;
                for column in ["type", "options", "error"] {
                    tree.column(4, INTERFACE, row, column)?;
                }
            }
        }
    }
    tree.column(1, ROOT, row, "ovs_version")
}

fn interface(interface: &Interface) -> Json {
    let mut out = json!({
        "name": interface.name, "type": interface.interface_type, "options": interface.options,
        "ofport": interface.ofport,
    });
    if let Some(error) = &interface.error {
        out["error"] = json!(error);
    }
    out
}

fn objects(vswitch: &Vswitch<'_>, output: &mut Output) -> Result<(), CliError> {
    for bridge in sorted(vswitch.bridges(), |bridge| bridge.name()) {
        let ports = sorted(vswitch.ports(&bridge), |port| port.name());
        let ports = ports.iter().map(|port| {
            let mut out = Map::new();
            out.insert("name".into(), json!(port.name()));
            for column in ["tag", "trunks", "external_ids"] {
                if let Some(value) = port.row.get(column).filter(|value| !is_empty(value)) {
                    out.insert(column.into(), records::json_of(value));
                }
            }
            let interfaces: Vec<Json> = vswitch.interfaces(port).map(|one| interface(&one)).collect();
            out.insert("interfaces".into(), json!(interfaces));
            Json::Object(out)
        });
        output.line(json!({
            "bridge": bridge.name(),
            "datapath_type": bridge.datapath_type(),
            "datapath_id": bridge.datapath_id(),
            "fail_mode": bridge.fail_mode().map(|mode| mode.as_str()),
            "external_ids": bridge.external_ids(),
            "ports": ports.collect::<Vec<_>>(),
        }))?;
    }
    Ok(())
}
