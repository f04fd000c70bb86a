use proptest::prelude::*;

use super::*;

const fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn node(index: u8) -> NodeName {
    format!("sw{index}").parse().unwrap()
}

fn key(last: u8) -> Key {
    ("blue".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, last]))
}

fn swp(number: u8) -> PortTag {
    PortTag { port: format!("swp{number}").parse().unwrap(), vlan: None }
}

fn sighting(last: u8, port: u8) -> Sighting {
    Sighting { key: key(last), at: Some(swp(port)), addresses: Vec::new(), was_remote: false }
}

/// As [`sighting`], of a MAC that was elsewhere until now.
fn arrival(last: u8, port: u8) -> Sighting {
    Sighting { was_remote: true, ..sighting(last, port) }
}

/// A book, and what its mirror of the store has told it.
struct Switch {
    book: Book,
    heard: Store,
}

impl std::ops::Deref for Switch {
    type Target = Book;

    fn deref(&self) -> &Book {
        &self.book
    }
}

impl std::ops::DerefMut for Switch {
    fn deref_mut(&mut self) -> &mut Book {
        &mut self.book
    }
}

impl Switch {
    fn words(&mut self, store: &Store, now: Duration) {
        // A removal is told even of what came and went between two words.
        let known = self.heard.keys().chain(self.book.keys());
        let gone: BTreeSet<Key> = known.filter(|key| !store.contains_key(*key)).cloned().collect();
        for key in gone {
            self.book.word(&key, None, now);
        }
        for (key, station) in store.iter().filter(|(key, station)| self.heard.get(*key) != Some(*station)) {
            self.book.word(key, Some(station.clone()), now);
        }
        self.heard = store.clone();
    }
}

fn book(index: u8) -> Switch {
    let mut book = Book::new(node(index));
    book.attached((1..4).map(|port| ("blue".parse().unwrap(), swp(port))).collect());
    Switch { book, heard: Store::new() }
}

type Store = BTreeMap<Key, Station>;

/// Writes what the book wants, as a store does that nobody else writes to meanwhile.
fn write(book: &mut Switch, store: &mut Store, now: Duration) -> usize {
    let batch = book.batch(now, 1, 100);
    for entry in &batch {
        assert_eq!(store.get(&entry.key()), entry.before());
        match entry {
            Entry::Put { station, .. } => store.insert(entry.key(), station.clone()),
            Entry::Delete { .. } => store.remove(&entry.key()),
        };
    }
    book.written(&batch, now);
    batch.len()
}

#[test]
fn what_is_seen_is_published_once_and_a_change_of_port_is_one_write() {
    let (mut book, mut store) = (book(1), Store::new());
    book.learned(sighting(1, 1));
    assert_eq!(write(&mut book, &mut store, at(0)), 1);
    assert_eq!(write(&mut book, &mut store, at(1)), 0);
    book.words(&store, at(2));
    book.learned(sighting(1, 1));
    assert_eq!(write(&mut book, &mut store, at(3)), 0, "seen again where it was");
    book.forgotten(&key(1), at(4));
    book.learned(sighting(1, 2));
    book.learned(sighting(1, 3));
    assert_eq!(write(&mut book, &mut store, at(5)), 1, "to and fro is one write");
    assert_eq!((store[&key(1)].at.clone(), store[&key(1)].sequence), (Some(swp(3)), 0));
}

#[test]
fn a_switch_that_does_not_tell_the_port_has_its_stations_in_the_network() {
    let (mut book, mut store) = (book(1), Store::new());
    let somewhere = |last| Sighting { at: None, ..sighting(last, 1) };
    book.learned(somewhere(1));
    assert_eq!(write(&mut book, &mut store, at(0)), 1);
    assert_eq!(store[&key(1)].at, None);
    // Once only one port is left, that is the one.
    book.attached(BTreeSet::from([("blue".parse().unwrap(), swp(2))]));
    book.listed(vec![sighting(1, 2)], at(1));
    assert_eq!(write(&mut book, &mut store, at(1)), 1);
    assert_eq!((store[&key(1)].at.clone(), store[&key(1)].sequence), (Some(swp(2)), 0));
    // Without a port of the network nothing is behind one.
    book.listed(vec![somewhere(1)], at(2));
    book.attached(BTreeSet::from([("red".parse().unwrap(), swp(2))]));
    assert_eq!(write(&mut book, &mut store, at(2)), 1);
    assert!(store.is_empty());
    // What is bounded for a port is bounded for all of them together.
    book.attached(BTreeSet::from([("blue".parse().unwrap(), swp(1))]));
    for number in 0..=MOST_ON_A_PORT {
        let mac = MacAddr([2, 1, 0, 0, (number >> 8) as u8, number as u8]);
        book.learned(Sighting { key: ("blue".parse().unwrap(), mac), ..somewhere(1) });
    }
    assert_eq!(book.crowded(), [Spot::PortsOf("blue".parse().unwrap())]);
}

#[test]
fn a_silent_station_goes_after_a_while_and_one_that_returns_stays() {
    let (mut book, mut store) = (book(1), Store::new());
    for last in [1, 2] {
        book.learned(sighting(last, 1));
    }
    write(&mut book, &mut store, at(0));
    for last in [1, 2] {
        book.forgotten(&key(last), at(100));
    }
    assert_eq!(write(&mut book, &mut store, at(4_000)), 0);
    book.learned(sighting(2, 1));
    assert_eq!(book.due(), Some(at(5_100)));
    assert_eq!(write(&mut book, &mut store, at(5_100)), 1);
    assert_eq!(store.keys().collect::<Vec<_>>(), [&key(2)]);
}

#[test]
fn a_move_between_switches_ends_where_it_was_seen_last() {
    let (mut one, mut two, mut store) = (book(1), book(2), Store::new());
    one.learned(sighting(1, 1));
    write(&mut one, &mut store, at(0));
    two.learned(sighting(1, 2));
    two.words(&store, at(1));
    // The word came later than the sighting: what was seen may be old.
    assert_eq!(write(&mut two, &mut store, at(2)), 0);
    two.learned(sighting(1, 2));
    assert_eq!(write(&mut two, &mut store, at(2)), 0, "nor is it news when it is said again");
    two.learned(arrival(1, 2));
    assert_eq!(two.claims(), BTreeSet::from([key(1)]));
    assert_eq!(write(&mut two, &mut store, at(3)), 1);
    assert_eq!((store[&key(1)].node.clone(), store[&key(1)].sequence), (node(2), 1));
    assert_eq!(two.claims(), BTreeSet::new());
    one.words(&store, at(4));
    assert_eq!(write(&mut one, &mut store, at(5)), 0, "the first has lost it");
    assert_eq!(one.claims(), BTreeSet::new());
    // The plan takes it from the port, and nothing is removed that is the other's.
    one.forgotten(&key(1), at(6));
    assert_eq!(write(&mut one, &mut store, at(60_000)), 0);
    // The other switch, or its port, goes: it is nobody's, and the first that still sees it has it.
    one.learned(sighting(1, 1));
    store.clear();
    one.words(&store, at(60_001));
    assert_eq!(write(&mut one, &mut store, at(60_002)), 1);
}

#[test]
fn two_hosts_with_one_mac_do_not_write_for_ever() {
    let (mut one, mut two, mut store) = (book(1), book(2), Store::new());
    let mut writes = 0;
    for round in 0..100 {
        let now = at(round * 100);
        for book in [&mut one, &mut two] {
            book.words(&store, now);
            book.learned(arrival(1, 1));
            writes += write(book, &mut store, now);
        }
    }
    assert!(writes <= 2 * MOVES + 1, "{writes} writes in 10 s");
    let loser = if one.fought_over().is_empty() { &two } else { &one };
    assert_eq!(loser.fought_over().len(), 1);
    assert!(loser.claims().is_empty());
    // Later it may move again.
    let later = WINDOW + at(20_000);
    let (winner, loser) =
        if store[&key(1)].node == node(1) { (&mut one, &mut two) } else { (&mut two, &mut one) };
    loser.words(&store, later);
    loser.learned(arrival(1, 1));
    assert_eq!(write(loser, &mut store, later), 1);
    winner.words(&store, later);
    assert_eq!(write(winner, &mut store, later), 0);
}

#[test]
fn what_an_agent_finds_when_it_starts_is_older_than_the_stores_word() {
    let (mut book, mut store) = (book(1), Store::new());
    for (last, on) in [(1, 1), (2, 2), (3, 1)] {
        let station = Station {
            network: key(last).0,
            mac: key(last).1,
            node: node(on),
            at: Some(swp(1)),
            addresses: Vec::new(),
            sequence: 4,
            since: 0,
        };
        store.insert(key(last), station);
    }
    book.words(&store, at(0));
    book.listed(vec![sighting(1, 1), sighting(2, 1)], at(1));
    assert_eq!(write(&mut book, &mut store, at(2)), 0, "1 is as it was, 2 has moved away");
    assert_eq!(write(&mut book, &mut store, at(5_001)), 1, "3 has gone while nobody looked");
    assert_eq!(store.keys().collect::<Vec<_>>(), [&key(1), &key(2)]);
    // A list again, after lost notifications, does not make what was seen since then old.
    book.learned(arrival(2, 1));
    book.listed(vec![sighting(2, 1)], at(5_002));
    assert_eq!(write(&mut book, &mut store, at(5_003)), 1);
    assert_eq!((store[&key(2)].node.clone(), store[&key(2)].sequence), (node(1), 5));
}

#[test]
fn endpoints_macs_and_detached_ports_are_not_published() {
    let (mut book, mut store) = (book(1), Store::new());
    book.learned(sighting(1, 1));
    book.learned(sighting(2, 9));
    book.endpoints(&BTreeSet::from([key(1)]));
    assert_eq!(write(&mut book, &mut store, at(0)), 0);
    assert_eq!(book.of_endpoints(at(0)), [(key(1), Spot::Port(swp(1)))]);
    book.endpoints(&BTreeSet::new());
    assert_eq!(write(&mut book, &mut store, at(1)), 1, "the endpoint is gone: it is the server's now");
    book.endpoints(&BTreeSet::from([key(1)]));
    assert_eq!(write(&mut book, &mut store, at(2)), 1, "and taken back at once");
    book.forgotten(&key(1), at(3));
    book.endpoints(&BTreeSet::from([key(1)]));
    assert_eq!(book.of_endpoints(at(4)), [(key(1), Spot::Port(swp(1)))], "told for a while");
    assert_eq!(book.of_endpoints(at(60_003)), []);
    assert_eq!(store, Store::new());
}

#[test]
fn a_port_with_too_many_macs_leaves_the_rest_out() {
    let (mut book, mut store) = (book(1), Store::new());
    let mac = |index: u16| {
        let [high, low] = index.to_be_bytes();
        Sighting {
            key: (key(0).0, MacAddr([2, 0, 0, 1, high, low])),
            at: Some(swp(1)),
            addresses: Vec::new(),
            was_remote: false,
        }
    };
    for index in 0..5000 {
        book.learned(mac(index));
    }
    book.learned(sighting(7, 2));
    let mut batches = Vec::new();
    while let size @ 1.. = write(&mut book, &mut store, at(0)) {
        batches.push(size);
    }
    assert_eq!(batches.iter().sum::<usize>(), MOST_ON_A_PORT + 1);
    assert!(batches.iter().all(|size| *size <= 100));
    assert_eq!(book.crowded(), [Spot::Port(swp(1))]);
    book.forgotten(&mac(3).key, at(1));
    book.learned(mac(4999));
    assert_eq!(write(&mut book, &mut store, at(2)), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Learn(usize, u8, u8),
    Forget(usize, u8),
    Hear(usize),
    Write(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..2, 1u8..3, 1u8..3).prop_map(|(book, mac, port)| Step::Learn(book, mac, port)),
        (0usize..2, 1u8..3).prop_map(|(book, mac)| Step::Forget(book, mac)),
        (0usize..2).prop_map(Step::Hear),
        (0usize..2).prop_map(Step::Write),
    ]
}

proptest! {
    /// Whatever happened: once each MAC was seen last on one switch alone, and all has been heard, the store says so.
    #[test]
    fn the_store_ends_with_what_is_seen(steps in proptest::collection::vec(step(), 0..60)) {
        let mut books = [book(1), book(2)];
        let mut store = Store::new();
        let mut now = at(0);
        let mut step_one = |books: &mut [Switch; 2], store: &mut Store, step: &Step| {
            now += at(60_000);
            match *step {
                Step::Learn(book, mac, port) => books[book].learned(arrival(mac, port)),
                Step::Forget(book, mac) => books[book].forgotten(&key(mac), now),
                Step::Hear(book) => books[book].words(store, now),
                Step::Write(book) => {
                    // Guards: what the store does not have as it was thought to be is not written.
                    let batch = books[book].batch(now, 1, 100);
                    let fits = |entry: &Entry| store.get(&entry.key()) == entry.before();
                    let (good, bad): (Vec<_>, Vec<_>) = batch.into_iter().partition(|entry| fits(entry));
                    for entry in &good {
                        match entry {
                            Entry::Put { station, .. } => store.insert(entry.key(), station.clone()),
                            Entry::Delete { .. } => store.remove(&entry.key()),
                        };
                    }
                    books[book].written(&good, now);
                    for entry in bad {
                        books[book].word(&entry.key(), store.get(&entry.key()).cloned(), now);
                    }
                }
            }
        };
        for step in &steps {
            step_one(&mut books, &mut store, step);
        }
        let mut last = vec![Step::Hear(0), Step::Hear(1)];
        last.extend([Step::Forget(1, 1), Step::Forget(0, 2), Step::Learn(0, 1, 1), Step::Learn(1, 2, 2)]);
        last.extend([Step::Write(0), Step::Write(1), Step::Hear(0), Step::Hear(1), Step::Write(0), Step::Write(1)]);
        for step in &last {
            step_one(&mut books, &mut store, step);
        }
        let said: Vec<_> =
            store.values().map(|station| (station.mac, station.node.clone(), station.at.clone())).collect();
        prop_assert_eq!(said, [(key(1).1, node(1), Some(swp(1))), (key(2).1, node(2), Some(swp(2)))]);
    }
}
