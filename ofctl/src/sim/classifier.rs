//! Flow lookup: one hash table for each set of fields and masks in use, searched from the highest priority down.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::Key;
use crate::flow::FlowEntry;
use crate::wire::{Field, OfPort};

/// A packet's fields as one lookup sees them.
pub(super) struct View<'a> {
    pub(super) key: &'a Key,
    /// A resubmit may look up as if the packet came in elsewhere.
    pub(super) in_port: OfPort,
    /// Fragments have no transport ports, so that all of a datagram matches alike.
    pub(super) hide_ports: bool,
}

impl View<'_> {
    fn value(&self, field: Field) -> u128 {
        use Field::*;
        match field {
            InPort => self.in_port.0.into(),
            TcpSrc | TcpDst | UdpSrc | UdpDst | SctpSrc | SctpDst | Icmpv4Type | Icmpv4Code | Icmpv6Type
            | Icmpv6Code
                if self.hide_ports =>
            {
                0
            }
            _ => self.key.value(field),
        }
    }
}

/// The entries with one set of fields and masks.
#[derive(Debug, Clone)]
struct Subtable {
    fields: Vec<(Field, u128)>,
    /// Highest priority in here; it may be too high after a removal, which costs time only.
    max_priority: u16,
    /// By the masked values, in the order of `fields`; highest priority first.
    entries: HashMap<Box<[u128]>, Vec<Arc<FlowEntry>>>,
}

/// One flow table.
#[derive(Debug, Clone, Default)]
pub(super) struct Classifier {
    /// Highest `max_priority` first.
    subtables: Vec<Subtable>,
}

impl Classifier {
    /// Adds an entry; one of the same match and priority is replaced.
    pub(super) fn insert(&mut self, entry: Arc<FlowEntry>) {
        let fields: Vec<_> =
            entry.matching.iter().map(|condition| (condition.field, condition.mask.to_u128())).collect();
        let values = entry.matching.iter().map(|condition| condition.value.to_u128()).collect();
        let priority = entry.priority;
        let place = match self.subtables.iter().position(|subtable| subtable.fields == fields) {
            Some(place) => place,
            None => {
                self.subtables.push(Subtable { fields, max_priority: priority, entries: HashMap::new() });
                self.subtables.len() - 1
            }
        };
        let subtable = &mut self.subtables[place];
        let same = subtable.entries.entry(values).or_default();
        // The highest priority stands first.
        let place = same.partition_point(|known| known.priority > priority);
        match same.get_mut(place) {
            Some(known) if known.priority == priority => *known = entry,
            _ => same.insert(place, entry),
        }
        subtable.max_priority = subtable.max_priority.max(priority);
        self.subtables.sort_by_key(|subtable| std::cmp::Reverse(subtable.max_priority));
    }

    /// The matching entry of the highest priority. Which of several it is has no meaning, OpenFlow 1.3.5 §5.3.
    pub(super) fn lookup(&self, view: &View<'_>) -> Option<&Arc<FlowEntry>> {
        let mut best: Option<&Arc<FlowEntry>> = None;
        let mut values = Vec::with_capacity(16);
        for subtable in &self.subtables {
            if best.is_some_and(|entry| entry.priority >= subtable.max_priority) {
                break;
            }
            values.clear();
            values.extend(subtable.fields.iter().map(|&(field, mask)| view.value(field) & mask));
            let found = subtable.entries.get(values.as_slice()).and_then(|same| same.first());
            if let Some(entry) = found
                && best.is_none_or(|known| entry.priority > known.priority)
            {
                best = Some(entry);
            }
        }
        best
    }
}
