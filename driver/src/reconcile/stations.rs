//! Which of the MACs that a switch has learned on its ports the store is told of, and when.
//!
//! [`Book`] compares what the switch (its kernel, or its `hardware_vtep` database) has seen with what the store says. Each learns of the other late, so that their
//! order matters and not their content: whichever of the two was heard last about a MAC counts.
//!
//! - Seen here, and the store has nothing: it is published.
//! - Seen here after the store said that it is at another switch: it has moved here. It is written over, with the next
//!   sequence number.
//! - Seen here before that: it has moved away; the plan takes it from the port.
//! - Not seen any more: it is taken out, after [`HOLD`]. A link that flaps, or a server that moves to the next port,
//!   costs no removal.
//!
//! What keeps the store from being flooded: a MAC that moved to and fro [`MOVES`] times in [`WINDOW`] is left where it
//! is until that is over, as RFC 7432 §15.1 wants for duplicates; a port has [`MOST_ON_A_PORT`] stations at most, the
//! rest is reached without the store's help; and the caller asks for one batch at a time, as often as it sees fit, in
//! which everything that happened to a MAC meanwhile is one write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ofctl::MacAddr;

use crate::model::{NetworkName, NodeName, PortTag, Station};

/// How long a station that is not seen any more stays in the store.
pub const HOLD: Duration = Duration::from_secs(5);
/// A MAC that this switch takes over so often within [`WINDOW`] is a duplicate, or in a loop.
pub const MOVES: usize = 5;
/// See [`MOVES`].
pub const WINDOW: Duration = Duration::from_secs(180);
/// How long it is told that something behind a port has sent from an endpoint's MAC.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many stations of one port are published.
pub const MOST_ON_A_PORT: usize = 1024;

/// A MAC in a network.
pub type Key = (NetworkName, MacAddr);

/// A place on this switch, as narrow as the switch tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// This port.
    Port(PortTag),
    /// One of the ports that this network has here.
    PortsOf(NetworkName),
}

impl fmt::Display for Spot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spot::Port(at) => write!(out, "port {at}"),
            Spot::PortsOf(network) => write!(out, "ports of network {network}"),
        }
    }
}

fn spot(key: &Key, at: Option<&PortTag>) -> Spot {
    at.map_or_else(|| Spot::PortsOf(key.0.clone()), |at| Spot::Port(at.clone()))
}

/// Where the kernel has seen a MAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The network and the MAC.
    pub key: Key,
    /// The port; none: one of the network's ports here, and the switch does not tell which.
    pub at: Option<PortTag>,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// Whether it was at another switch until now, as far as the kernel knew.
    pub was_remote: bool,
}

/// A write that the store needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The station is here.
    Put {
        /// What to write.
        station: Station,
        /// What the store has, as far as is known.
        before: Option<Station>,
    },
    /// The station is nowhere.
    Delete {
        /// What the store has.
        before: Station,
    },
}

impl Entry {
    /// The network and the MAC.
    pub fn key(&self) -> Key {
        let (Entry::Put { station, .. } | Entry::Delete { before: station }) = self;
        (station.network.clone(), station.mac)
    }

    /// What the store has, as far as is known.
    pub fn before(&self) -> Option<&Station> {
        match self {
            Entry::Put { before, .. } => before.as_ref(),
            Entry::Delete { before } => Some(before),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    at: Option<PortTag>,
    addresses: Vec<IpAddr>,
    /// When, among sightings and words; 0 for what was there before this agent looked.
    turn: u64,
}

#[derive(Debug, Default)]
struct Place {
    seen: Option<Seen>,
    /// Since when it is not seen any more.
    gone: Option<Duration>,
    /// Where it was seen last, if it was ever.
    left: Option<Spot>,
    word: Option<(Station, u64)>,
    /// When it was taken over from another switch.
    moves: VecDeque<Duration>,
    /// An endpoint of the network has this MAC.
    is_endpoints: bool,
}

/// What a switch has learned, and what the store has of it.
#[derive(Debug)]
pub struct Book {
    node: NodeName,
    turn: u64,
    places: BTreeMap<Key, Place>,
    on_ports: BTreeMap<Spot, usize>,
    /// MACs that were not taken in since their port has too many.
    left_out: BTreeMap<Spot, u64>,
    attached: BTreeSet<(NetworkName, PortTag)>,
}

impl Book {
    /// The book of a switch that has seen nothing.
    pub fn new(node: NodeName) -> Book {
        Book {
            node,
            turn: 0,
            places: BTreeMap::new(),
            on_ports: BTreeMap::new(),
            left_out: BTreeMap::new(),
            attached: BTreeSet::new(),
        }
    }

    /// The kernel has seen a MAC on a port just now, unless it says again what is known.
    pub fn learned(&mut self, sighting: Sighting) {
        self.turn += 1;
        let again = self.seen_at(&sighting).filter(|_| !sighting.was_remote);
        let turn = again.unwrap_or(self.turn);
        self.see(sighting, turn);
    }

    /// When a MAC was seen at the place where it is.
    fn seen_at(&self, sighting: &Sighting) -> Option<u64> {
        let seen = self.places.get(&sighting.key)?.seen.as_ref()?;
        (seen.at == sighting.at).then_some(seen.turn)
    }

    /// The kernel has these MACs on ports, and no others, and nobody knows since when.
    pub fn listed(&mut self, sightings: Vec<Sighting>, now: Duration) {
        let listed: BTreeSet<Key> = sightings.iter().map(|sighting| sighting.key.clone()).collect();
        let seen = self.places.iter().filter(|(_, place)| place.seen.is_some());
        let gone: Vec<Key> = seen.map(|(key, _)| key).filter(|key| !listed.contains(*key)).cloned().collect();
        for key in gone {
            self.forgotten(&key, now);
        }
        for sighting in sightings {
            let turn = self.seen_at(&sighting).unwrap_or(0);
            self.see(sighting, turn);
        }
    }

    fn see(&mut self, sighting: Sighting, turn: u64) {
        let Sighting { key, at, addresses, .. } = sighting;
        let here = spot(&key, at.as_ref());
        let seen = self.places.get(&key).and_then(|place| place.seen.as_ref());
        let before = seen.map(|seen| spot(&key, seen.at.as_ref()));
        if before.as_ref() != Some(&here) {
            let on_port = self.on_ports.entry(here.clone()).or_default();
            if *on_port >= MOST_ON_A_PORT {
                *self.left_out.entry(here).or_default() += 1;
                return;
            }
            *on_port += 1;
            if let Some(before) = before {
                self.one_less(&before);
            }
        }
        let place = self.places.entry(key).or_default();
        (place.gone, place.left) = (None, None);
        place.seen = Some(Seen { at, addresses, turn });
    }

    fn one_less(&mut self, spot: &Spot) {
        if let Some(on_port) = self.on_ports.get_mut(spot) {
            *on_port -= 1;
            if *on_port < MOST_ON_A_PORT {
                self.left_out.remove(spot);
            }
            if *on_port == 0 {
                self.on_ports.remove(spot);
            }
        }
    }

    /// The kernel has a MAC on no port any more.
    pub fn forgotten(&mut self, key: &Key, now: Duration) {
        let Some(place) = self.places.get_mut(key) else { return };
        if let Some(seen) = place.seen.take() {
            let left = spot(key, seen.at.as_ref());
            (place.gone, place.left) = (Some(now), Some(left.clone()));
            self.one_less(&left);
        }
        self.sweep(key);
    }

    /// The store says this of a MAC now, be it seen here or not.
    pub fn word(&mut self, key: &Key, word: Option<Station>, now: Duration) {
        self.turn += 1;
        let (turn, node) = (self.turn, self.node.clone());
        let place = self.places.entry(key.clone()).or_default();
        let known = place.word.as_ref().map(|(station, _)| station);
        // What was heard may be older than what was written.
        let is_old = known.zip(word.as_ref()).is_some_and(|(known, word)| word.sequence < known.sequence);
        if known != word.as_ref() && !is_old {
            place.word = word.map(|station| (station, turn));
        }
        // Left over from before this agent, or this port, was there.
        let is_own = place.word.as_ref().is_some_and(|(station, _)| station.node == node);
        if is_own && place.seen.is_none() && place.gone.is_none() {
            place.gone = Some(now);
        }
        self.sweep(key);
    }

    /// Which of the MACs are an endpoint's: those are never published.
    pub fn endpoints(&mut self, macs: &BTreeSet<Key>) {
        for (key, place) in &mut self.places {
            place.is_endpoints = macs.contains(key);
        }
    }

    /// Which ports are attached, and to what.
    pub fn attached(&mut self, attached: BTreeSet<(NetworkName, PortTag)>) {
        self.attached = attached;
    }

    /// The store took a batch.
    pub fn written(&mut self, batch: &[Entry], now: Duration) {
        for entry in batch {
            let key = entry.key();
            match entry {
                Entry::Put { station, before } => {
                    let is_moved = before.as_ref().is_some_and(|before| before.node != self.node);
                    if let Some(place) = self.places.get_mut(&key).filter(|_| is_moved) {
                        place.moves.push_back(now);
                    }
                    self.word(&key, Some(station.clone()), now);
                }
                Entry::Delete { .. } => self.word(&key, None, now),
            }
        }
    }

    /// Forgets a place that says nothing. What has just gone, or was fought over, is remembered while that counts.
    fn sweep(&mut self, key: &Key) {
        if self.places.get(key).is_some_and(|place| place.is_silent() && place.gone.is_none()) {
            self.places.remove(key);
        }
    }

    /// What to write next, at most so much: what has waited longest comes first.
    pub fn batch(&mut self, now: Duration, since: u64, most: usize) -> Vec<Entry> {
        self.places.retain(|_, place| {
            while place.moves.front().is_some_and(|at| now.saturating_sub(*at) >= WINDOW) {
                place.moves.pop_front();
            }
            let is_remembered = place.gone.is_some_and(|gone| now.saturating_sub(gone) < REMEMBERED);
            !place.is_silent() || is_remembered
        });
        let mut wanted: Vec<(u64, Entry)> = Vec::new();
        for (key, place) in &self.places {
            if let Some(entry) = self.entry(key, place, now, since) {
                wanted.push((place.seen.as_ref().map_or(0, |seen| seen.turn), entry));
            }
        }
        wanted.sort_by_key(|(turn, _)| *turn);
        wanted.into_iter().take(most).map(|(_, entry)| entry).collect()
    }

    fn visible<'a>(&self, key: &Key, place: &'a Place) -> Option<&'a Seen> {
        let is_attached = |seen: &&Seen| match &seen.at {
            Some(at) => self.attached.contains(&(key.0.clone(), at.clone())),
            None => self.attached.iter().any(|(network, _)| *network == key.0),
        };
        place.seen.as_ref().filter(is_attached).filter(|_| !place.is_endpoints)
    }

    fn entry(&self, key: &Key, place: &Place, now: Duration, since: u64) -> Option<Entry> {
        let station = |seen: &Seen, sequence| Station {
            network: key.0.clone(),
            mac: key.1,
            node: self.node.clone(),
            at: seen.at.clone(),
            addresses: seen.addresses.clone(),
            sequence,
            since,
        };
        let word = place.word.as_ref().map(|(word, turn)| (word, *turn));
        match (self.visible(key, place), word) {
            (Some(seen), None) => Some(Entry::Put { station: station(seen, 0), before: None }),
            (Some(seen), Some((word, _))) if word.node == self.node => {
                let is_same = word.at == seen.at && word.addresses == seen.addresses;
                (!is_same)
                    .then(|| Entry::Put { station: station(seen, word.sequence), before: Some(word.clone()) })
            }
            (Some(seen), Some((word, turn))) => (seen.turn > turn && !is_fought_over(place)).then(|| {
                Entry::Put { station: station(seen, word.sequence + 1), before: Some(word.clone()) }
            }),
            (None, Some((word, _))) if word.node == self.node => {
                let is_over =
                    place.seen.is_some() || place.gone.is_some_and(|gone| now.saturating_sub(gone) >= HOLD);
                is_over.then(|| Entry::Delete { before: word.clone() })
            }
            (None, _) => None,
        }
    }

    /// When something is due that waits for the time alone.
    pub fn due(&self) -> Option<Duration> {
        let own = |place: &&Place| place.word.as_ref().is_some_and(|(word, _)| word.node == self.node);
        let gone = self.places.values().filter(own).filter_map(|place| place.gone.map(|gone| gone + HOLD));
        let fought = self.places.values().filter(|place| is_fought_over(place));
        gone.chain(fought.filter_map(|place| place.moves.front().map(|at| *at + WINDOW))).min()
    }

    /// MACs that have moved here as far as this switch knows, while the store has them elsewhere.
    pub fn claims(&self) -> BTreeSet<Key> {
        let is_claimed = |(key, place): &(&Key, &Place)| {
            let Some((word, turn)) = &place.word else { return false };
            word.node != self.node
                && self.visible(key, place).is_some_and(|seen| seen.turn > *turn)
                && !is_fought_over(place)
        };
        self.places.iter().filter(is_claimed).map(|(key, _)| key.clone()).collect()
    }

    /// The MACs that it has to do with.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.places.keys()
    }

    /// MACs that move to and fro, with the other switch.
    pub fn fought_over(&self) -> Vec<(Key, NodeName)> {
        let fought = self.places.iter().filter(|(_, place)| is_fought_over(place));
        fought
            .filter_map(|(key, place)| Some((key.clone(), place.word.as_ref()?.0.node.clone())))
            .filter(|(_, node)| *node != self.node)
            .collect()
    }

    /// Endpoints' MACs that were seen on a port lately. The plan takes them from there at once.
    pub fn of_endpoints(&self, now: Duration) -> Vec<(Key, Spot)> {
        let at = |key: &Key, place: &Place| match (&place.seen, place.gone) {
            (Some(seen), _) => Some(spot(key, seen.at.as_ref())),
            (None, Some(gone)) if now.saturating_sub(gone) < REMEMBERED => place.left.clone(),
            (None, _) => None,
        };
        let places = self.places.iter().filter(|(_, place)| place.is_endpoints);
        places.filter_map(|(key, place)| Some((key.clone(), at(key, place)?))).collect()
    }

    /// Ports with more stations than are published.
    pub fn crowded(&self) -> Vec<Spot> {
        self.left_out.keys().cloned().collect()
    }
}

impl Place {
    fn is_silent(&self) -> bool {
        self.seen.is_none() && self.word.is_none() && self.moves.is_empty()
    }
}

fn is_fought_over(place: &Place) -> bool {
    place.moves.len() >= MOVES
}

#[cfg(test)]
mod tests;
