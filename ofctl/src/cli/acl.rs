//! `port-range` and `acl compile`.

use std::ops::RangeInclusive;
use std::path::Path;

use ofctl::acl::{Acl, Layout, Verdict, merge_ranges, parse_rules, port_range};
use ofctl::wire::{Cookie, TableId};
use serde_json::json;

use super::Outcome;
use super::args::AclCommand;
use super::error::{CliError, Place, SyntaxError};
use super::flows::read_all;
use super::json;
use super::output::Output;

/// `A-B` or one port.
fn range(text: &str) -> Result<RangeInclusive<u16>, CliError> {
    let wrong = || CliError::Usage(format!("'{text}' is no range of ports, as 8080-8090, nor a port"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first > last {
        return Err(CliError::Usage(format!("the range {text} is empty: its first port is the larger one")));
    }
    Ok(first..=last)
}

/// Prints the least values with masks that hold exactly these ports.
pub(crate) fn ports(texts: &[String], as_json: bool, output: &mut Output) -> Result<Outcome, CliError> {
    let ranges = texts.iter().flat_map(|text| text.split(',')).map(range).collect::<Result<Vec<_>, _>>()?;
    for mask in merge_ranges(&ranges).into_iter().flat_map(port_range) {
        if as_json {
            output.line(json!({"value": mask.value, "mask": mask.mask}))?;
        } else {
            output.line(mask)?;
        }
    }
    Ok(Outcome::Done)
}

/// Prints the flows of a file of rules, as add-flows takes them.
pub(crate) fn run(command: &AclCommand, output: &mut Output) -> Result<Outcome, CliError> {
    let AclCommand::Compile { file, table, cookie, allow, default_allow, json: as_json } = command;
    let (name, text) = read_all(Path::new(file))?;
    let rules = parse_rules(&text).map_err(|error| CliError::Usage(format!("{name}, {error}")))?;
    let allow = allow.parse().map_err(|error| CliError::Syntax {
        place: Place::Argument("--allow"),
        text: allow.clone(),
        source: SyntaxError::from(error),
    })?;
    let default = if *default_allow { Verdict::Allow } else { Verdict::Deny };
    let layout = Layout { table: TableId(*table), cookie: Cookie(*cookie), allow, default };
    let mut acl = Acl::new(layout);
    for rule in rules {
        let shown = rule.to_string();
        acl.add(rule).map_err(|error| CliError::Usage(format!("{name}, rule '{shown}': {error}")))?;
    }
    for flow in acl.flows() {
        if *as_json { output.line(json::entry_object(&flow)) } else { output.line(flow) }?;
    }
    Ok(Outcome::Done)
}
