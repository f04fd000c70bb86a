//! What a switch must be told after a change of the plan.

use std::sync::Arc;

use ofctl::flow::{FlowEntry, FlowKey};

/// Flows to set (added, or replaced under their key) and to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowChanges {
    /// Entries that are new or differ.
    pub set: Vec<Arc<FlowEntry>>,
    /// Keys that nobody wants any more.
    pub delete: Vec<FlowKey>,
}

impl FlowChanges {
    /// True if there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }
}
