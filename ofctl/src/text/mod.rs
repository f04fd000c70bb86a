//! The flow, group and meter syntax of ovs-ofctl(8), both ways, and messages in the words of `ovs-ofctl ofp-print`.
//!
//! ```
//! use ofctl::flow::FlowEntry;
//!
//! let flow: FlowEntry = "table=10,priority=100,tcp,tp_dst=80,actions=load:1->NXM_NX_REG0[8],goto_table:14".parse()?;
//! assert_eq!(
//!     flow.to_string(),
//!     "table=10, priority=100,tcp,tp_dst=80 actions=load:0x1->NXM_NX_REG0[8],goto_table:14"
//! );
//! # Ok::<(), ofctl::text::ParseError>(())
//! ```

mod actions;
mod group;
mod matching;
mod meter;
mod nicira;
mod parse_actions;
mod parse_flow;
mod parse_nicira;
mod print;
mod value;
mod versions;

use std::fmt;

pub use group::{BucketPlace, GroupCommand, GroupText, Selection};
pub use print::{Printed, WithStats, aggregate, description, fragment_mode, frame, hex, parts, port, tables};

use crate::flow::{FlowEntry, FlowFlags, FlowKey};

/// The priority of an entry that names none, `OFP_DEFAULT_PRIORITY`; it is not printed.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// Flags by the names that flow text gives them.
pub const FLAGS: [(FlowFlags, &str); 5] = [
    (FlowFlags::SEND_FLOW_REM, "send_flow_rem"),
    (FlowFlags::CHECK_OVERLAP, "check_overlap"),
    (FlowFlags::RESET_COUNTS, "reset_counts"),
    (FlowFlags::NO_PKT_COUNTS, "no_packet_counts"),
    (FlowFlags::NO_BYT_COUNTS, "no_byte_counts"),
];

/// A text that is not a flow, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: ParseProblem,
}

/// What is wrong with a flow's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// No field, flag or property of that name.
    #[error("'{0}' is neither a field nor a property of a flow; ovs-fields(7) lists the fields")]
    UnknownField(String),
    /// No action of that name, or one that this crate does not read.
    #[error("action '{0}' is not known here")]
    UnknownAction(String),
    /// An action's argument of no known name.
    #[error("'{0}' is not an argument of this action; ovs-actions(7) lists them")]
    UnknownArgument(String),
    /// Actions inside of actions, and so on.
    #[error("actions stand inside of actions more than {0} deep")]
    TooDeep(u8),
    /// A value that does not fit.
    #[error("'{value}' is not a value for {what}")]
    Value {
        /// What it should be a value of.
        what: String,
        /// The text.
        value: String,
    },
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The name depends on a protocol that the flow does not name.
    #[error("'{name}' needs {needs} in the same flow")]
    NeedsProtocol {
        /// The name.
        name: String,
        /// What it needs.
        needs: &'static str,
    },
    /// No such property.
    #[error("'{name}' is no {what}; ovs-ofctl(8) lists them")]
    Unknown {
        /// What it should be.
        what: &'static str,
        /// The text.
        name: String,
    },
    /// Something that must not be there.
    #[error("{0} has no place here")]
    Superfluous(&'static str),
    /// Something that this version of OpenFlow cannot carry.
    #[error("{what} needs OpenFlow {version}; 1.3 cannot carry it")]
    NeedsVersion {
        /// What.
        what: &'static str,
        /// The first version that has it.
        version: &'static str,
    },
    /// A field, property or instruction stands twice.
    #[error("'{0}' stands there twice")]
    Twice(String),
    /// Instructions in another order than they are carried out in.
    #[error("{0} must come earlier: actions, clear_actions, write_actions, write_metadata, goto_table")]
    Order(&'static str),
}

/// A piece of the text and where it begins.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Span<'a> {
    fn error(self, problem: ParseProblem) -> ParseError {
        ParseError { column: self.at + 1, problem }
    }

    fn bad_value(self, what: &str) -> ParseError {
        self.error(ParseProblem::Value { what: what.to_owned(), value: self.text.to_owned() })
    }

    fn from(self, offset: usize) -> Span<'a> {
        Span { text: &self.text[offset..], at: self.at + offset }
    }

    fn to(self, end: usize) -> Span<'a> {
        Span { text: &self.text[..end], at: self.at }
    }

    /// Both sides of the first occurrence of `separator`.
    fn split_once(self, separator: &str) -> Option<(Span<'a>, Span<'a>)> {
        let place = self.text.find(separator)?;
        Some((self.to(place), self.from(place + separator.len())))
    }

    fn trim(self) -> Span<'a> {
        let offset = self.text.len() - self.text.trim_start().len();
        Span { text: self.text.trim(), at: self.at + offset }
    }
}

/// `{:#x}` as C prints it: zero has no prefix.
struct Hex(u128);

impl fmt::Display for Hex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { out.write_str("0") } else { write!(out, "{:#x}", self.0) }
    }
}

impl fmt::Display for FlowEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cookie.0 != 0 {
            write!(out, "cookie={}, ", self.cookie)?;
        }
        if self.table.0 != 0 {
            write!(out, "table={}, ", self.table)?;
        }
        if self.idle_timeout != 0 {
            write!(out, "idle_timeout={}, ", self.idle_timeout)?;
        }
        if self.hard_timeout != 0 {
            write!(out, "hard_timeout={}, ", self.hard_timeout)?;
        }
        for (flag, name) in FLAGS {
            if self.flags.contains(flag) {
                write!(out, "{name} ")?;
            }
        }
        write_priority_and_match(self.priority, &self.matching, out)?;
        write!(out, "actions={}", self.instructions)
    }
}

/// The priority unless it is the default, the match unless it is empty, and a space after either.
fn write_priority_and_match(
    priority: u16,
    matching: &crate::wire::Match,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let has_priority = priority != DEFAULT_PRIORITY;
    if has_priority {
        write!(out, "priority={priority}")?;
    }
    if has_priority && !matching.is_empty() {
        out.write_str(",")?;
    }
    write!(out, "{matching}")?;
    if has_priority || !matching.is_empty() {
        out.write_str(" ")?;
    }
    Ok(())
}

impl fmt::Display for FlowKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "table={}, priority={}", self.table, self.priority)?;
        if !self.matching.is_empty() {
            write!(out, ",{}", self.matching)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
