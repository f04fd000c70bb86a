//! Connection tracking, as Open vSwitch's userspace datapath does it.

use std::time::Duration;

/// Every connection that a switch knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {}

impl Connections {
    /// When the next connection goes.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        None
    }

    /// Forgets the connections whose time is over.
    pub(super) fn expire(&mut self, _now: Duration) {}

    /// Forgets the connections of a zone.
    pub(super) fn flush(&mut self, _zone: u16) {}
}
