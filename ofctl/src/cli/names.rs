//! Ports and tables by their names in what is printed, as with `ovs-ofctl --names`.

use std::collections::BTreeMap;

use ofctl::wire::{Message, MultipartBody, MultipartReply, MultipartRequest};

use super::error::CliError;
use super::switch::Switch;

/// What stands before a port's number in a flow, a group, or one of their actions.
const BEFORE_PORTS: [&str; 8] = [
    "in_port=",
    "output:",
    "enqueue:",
    "resubmit:",
    "resubmit(",
    "output(port=",
    "watch_port:",
    "actset_output=",
];

/// The names of a switch's ports and tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    ports: BTreeMap<u32, String>,
    tables: BTreeMap<u32, String>,
}

/// A name as it stands in a flow: in quotation marks if it would be read as something else without.
fn quoted(name: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        return name.to_owned();
    }
    format!("{name:?}")
}

/// True if a text ends in the first argument of a resubmit.
fn after_resubmit(text: &str) -> bool {
    let argument = text.rfind("resubmit(").map(|at| &text[at + "resubmit(".len()..]);
    argument.is_some_and(|argument| !argument.contains([',', ')']))
}

impl Shown {
    /// Asks a switch for them. Tables that were given no name of their own go by their numbers.
    pub(crate) async fn of(switch: &Switch) -> Result<Shown, CliError> {
        let failed = |error| switch.failed(error);
        let ports = switch.connection.port_desc().await.map_err(failed)?;
        let request = Message::MultipartRequest(MultipartRequest::TableFeatures(Vec::new()));
        let reply = switch.connection.transact(request).await.map_err(failed)?;
        let tables = match reply {
            Message::MultipartReply(MultipartReply {
                body: MultipartBody::TableFeatures(tables), ..
            }) => tables,
            _ => Vec::new(),
        };
        let own = |table: u8, name: &str| {
            !name.is_empty() && name != "classifier" && name != format!("table{table}")
        };
        Ok(Shown {
            ports: ports.into_iter().map(|port| (port.port.0, port.name)).collect(),
            tables: tables
                .into_iter()
                .filter(|table| own(table.table.0, &table.name))
                .map(|table| (table.table.0.into(), table.name))
                .collect(),
        })
    }

    /// The text of a flow or a group with names instead of numbers.
    pub(crate) fn put(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let before = out.bytes().last();
            let begins = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
            let ports = BEFORE_PORTS.iter().map(|word| (*word, &self.ports));
            let tables = ["table=", "goto_table:"].map(|word| (word, &self.tables));
            // What follows the port of a resubmit is a table.
            let second = after_resubmit(&out).then_some((",", &self.tables));
            let begins = begins || second.is_some();
            let known = ports.chain(tables).chain(second);
            let found = known.filter(|_| begins).find_map(|(word, names)| {
                let after = rest.strip_prefix(word)?;
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                // What goes on is another number, as in a mask or of a field.
                let ends = !after[digits..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
                let name = names.get(&after[..digits].parse().ok().filter(|_| ends)?)?;
                Some((format!("{word}{}", quoted(name)), &after[digits..]))
            });
            match found {
                Some((shown, after)) => {
                    out += &shown;
                    rest = after;
                }
                None => {
                    let end = rest.chars().next().map_or(0, char::len_utf8);
                    out += &rest[..end];
                    rest = &rest[end..];
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_ports_and_tables_become_names() {
        let ports = [(1, "west"), (2, "br-0.7"), (3, "9 lives")];
        let shown = Shown {
            ports: ports.map(|(port, name)| (port, name.to_owned())).into(),
            tables: [(4, "acl".to_owned())].into(),
        };
        for (text, wanted) in [
            ("in_port=1,tcp,tp_dst=1 actions=output:2", "in_port=west,tcp,tp_dst=1 actions=output:br-0.7"),
            (
                "table=4, in_port=3 actions=output:7,output:12",
                "table=acl, in_port=\"9 lives\" actions=output:7,output:12",
            ),
            (
                "actions=resubmit(1,4),resubmit(,4),goto_table:4",
                "actions=resubmit(west,acl),resubmit(,acl),goto_table:acl",
            ),
            (
                "actions=output:NXM_NX_REG1[],load:1->NXM_OF_IN_PORT[]",
                "actions=output:NXM_NX_REG1[],load:1->NXM_OF_IN_PORT[]",
            ),
            (
                "group_id=1,type=ff,bucket=watch_port:1,actions=output:1",
                "group_id=1,type=ff,bucket=watch_port:west,actions=output:west",
            ),
        ] {
            assert_eq!(shown.put(text), wanted);
        }
    }
}
