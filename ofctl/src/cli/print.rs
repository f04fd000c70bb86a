//! Messages for people, in the words of `ovs-ofctl ofp-print`.

use ofctl::flow::FlowFlags;
use ofctl::wire::{Message, Xid};

pub(crate) use ofctl::text::{WithStats, aggregate, description, fragment_mode, hex, port, tables};

/// Flags by their names in flow text.
pub(crate) fn flag_names() -> [(FlowFlags, &'static str); 5] {
    ofctl::text::FLAGS
}

/// A message as ovs-ofctl prints it, of several lines if it prints several.
pub(crate) fn lines(xid: Xid, message: &Message) -> String {
    ofctl::text::Printed(xid, message).to_string()
}

/// The same in one line.
pub(crate) fn one(xid: Xid, message: &Message) -> String {
    join(&lines(xid, message))
}

/// What a message is, in one line without its number.
pub(crate) fn one_line(message: &Message) -> String {
    let (name, body) = ofctl::text::parts(Xid(0), message);
    join(&format!("{name}{body}"))
}

fn join(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
