//! What is plugged in where.

use std::collections::BTreeMap;

use crate::kit::DatapathId;
use crate::wire::OfPort;

/// A port of a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// The switch.
    pub switch: DatapathId,
    /// Its port.
    pub port: OfPort,
}

/// A host of a testbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(super) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Port(End),
    Host(HostId),
}

#[derive(Debug, Default)]
pub(super) struct Wiring {
    peers: BTreeMap<End, Peer>,
    places: Vec<End>,
}

impl Wiring {
    pub(super) fn link(&mut self, a: End, b: End) {
        self.plug(a, Peer::Port(b));
        self.plug(b, Peer::Port(a));
    }

    /// Hosts are attached in the order of their numbers.
    pub(super) fn attach(&mut self, end: End, host: HostId) {
        self.plug(end, Peer::Host(host));
        self.places.push(end);
    }

    fn plug(&mut self, end: End, peer: Peer) {
        let before = self.peers.insert(end, peer);
        assert!(before.is_none(), "port {} of switch {} is taken", end.port, end.switch);
    }

    pub(super) fn at(&self, end: End) -> Option<Peer> {
        self.peers.get(&end).copied()
    }

    /// The other end of a link between switches.
    pub(super) fn peer(&self, end: End) -> Option<End> {
        match self.at(end)? {
            Peer::Port(end) => Some(end),
            Peer::Host(_) => None,
        }
    }

    pub(super) fn place(&self, host: HostId) -> End {
        self.places[host.0]
    }
}
