//! What the kernel reports.

use std::collections::BTreeMap;
use std::time::Duration;

use ofctl::MacAddr;
use sluice::linux::{Event, Form, LocalMac, Member, Watch};

use crate::switch::*;

/// Events as they come, with a runtime to wait for them.
struct Events {
    watch: Watch,
}

impl Events {
    fn of(switch: &Switch) -> Events {
        Events { watch: run(switch.kernel.watch(Form::Traditional)).unwrap() }
    }

    fn next(&mut self) -> Event {
        run(async { tokio::time::timeout(PATIENCE, self.watch.next()).await })
            .expect("an event comes")
            .expect("the watch goes on")
    }

    /// Skips events until one is of a MAC.
    #[track_caller]
    fn of_mac(&mut self, wanted: MacAddr) -> Event {
        loop {
            let event = self.next();
            match &event {
                Event::Learned { local: LocalMac { mac, .. }, .. } | Event::Forgotten { mac, .. }
                    if *mac == wanted =>
                {
                    return event;
                }
                _ => {}
            }
        }
    }

    #[track_caller]
    fn learned(&mut self, wanted: MacAddr) -> (Member, bool) {
        match self.of_mac(wanted) {
            Event::Learned { local, was_remote } => {
                assert_eq!(local.vni, vni(77));
                (local.member, was_remote)
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn link(&mut self, wanted: &str) -> Option<bool> {
        loop {
            match self.next() {
                Event::Link { link, running } if link.as_str() == wanted => return running,
                _ => {}
            }
        }
    }
}

#[test]
fn a_mac_is_learned_moves_and_ages_out() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let server = Server::at(&switch, "swp1", 11);
    let other = Server::at(&switch, "swp2", 12);
    let desired = switch.desired([(77, segment(&[port("swp1"), port("swp2")]))]);
    switch.settle(&desired);
    let mut events = Events::of(&switch);
    server.speak();
    assert_eq!(events.learned(server.mac), (port("swp1"), false));

    // A second watch begins with what is known.
    assert_eq!(Events::of(&switch).learned(server.mac), (port("swp1"), false));

    // The cable moves: the MAC is forgotten with the port, and comes again on the other.
    other.unplug();
    server.unplug();
    assert_eq!(events.of_mac(server.mac), Event::Forgotten { vni: vni(77), mac: server.mac });
    server.plug_in(&switch, "swp2");
    switch.settle(&switch.desired([(77, segment(&[port("swp2")]))]));
    server.speak();
    assert_eq!(events.learned(server.mac), (port("swp2"), false));

    // It falls silent.
    server.silence();
    switch.ip("link set slbr77 type bridge ageing_time 100");
    assert_eq!(events.of_mac(server.mac), Event::Forgotten { vni: vni(77), mac: server.mac });

    // The link goes down and up.
    server.ns.exec(["ip", "link", "set", "eth0", "down"]);
    assert_eq!(events.link("swp2"), Some(false));
    server.ns.exec(["ip", "link", "set", "eth0", "up"]);
    assert_eq!(events.link("swp2"), Some(true));
    switch.ip("link del swp2");
    while events.link("swp2").is_some() {}
}

#[test]
fn a_host_that_moved_here_is_told_from_a_new_one() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let server = Server::at(&switch, "swp1", 11);
    let member = if has_vlan_links() { tagged("swp1", 20) } else { port("swp1") };
    if member.vlan.is_some() {
        server.tag(20);
    }
    server.speak_only_when_asked();
    let part = with_remotes(segment(std::slice::from_ref(&member)), &[(server.mac, ip("192.0.2.7"))]);
    let mut desired = switch.desired([(77, part)]);
    switch.settle(&desired);
    let mut events = Events::of(&switch);
    server.speak();
    assert_eq!(events.learned(server.mac), (member, true));
    // The store overrules: it is not here any more.
    server.silence();
    desired.networks.get_mut(&vni(77)).unwrap().remotes.get_mut(&server.mac).unwrap().overrule = true;
    switch.settle(&desired);
    assert_eq!(events.of_mac(server.mac), Event::Forgotten { vni: vni(77), mac: server.mac });
}

#[test]
fn addresses_come_with_the_mac_once_the_switch_has_spoken_with_the_host() {
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    let server = Server::at(&switch, "swp1", 11);
    switch.settle(&switch.desired([(77, segment(&[port("swp1")]))]));
    let mut events = Events::of(&switch);
    server.speak();
    events.learned(server.mac);
    switch.ip("address add 10.77.0.254/24 dev slbr77");
    switch.ns.exec(["ping", "-c", "1", "-W", "3", "10.77.0.11"]).expect("the switch reaches the server");
    loop {
        if let Event::Learned { local, .. } = events.of_mac(server.mac)
            && local.addresses.contains(&ip("10.77.0.11"))
        {
            break;
        }
    }
}

#[test]
fn ten_thousand_macs_at_once_are_all_known_in_the_end() {
    const COUNT: u16 = 10_000;
    if !is_live() {
        return;
    }
    let switch = Switch::alone();
    switch.ip("link add swp1 type veth peer name other1");
    switch.ip("link set other1 up");
    switch.settle(&switch.desired([(77, segment(&[port("swp1")]))]));
    let mut events = Events::of(&switch);
    let batch: String = (0..COUNT)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            format!("fdb add 02:00:00:01:{high:02x}:{low:02x} dev swp1 master dynamic\n")
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    switch.ns.exec(["bridge", "-batch", &path]).expect("the entries are made");
    let mut known = BTreeMap::new();
    let mut lost = 0;
    while known.len() < usize::from(COUNT) {
        match events.next() {
            Event::Learned { local, .. } => {
                known.insert(local.mac, local.member);
            }
            Event::Resynchronised => lost += 1,
            _ => {}
        }
    }
    println!("{COUNT} MACs known; notifications were lost, and made up for, {lost} times");
    switch.ip("link set swp1 nomaster");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !known.is_empty() && std::time::Instant::now() < deadline {
        if let Event::Forgotten { mac, .. } = events.next() {
            known.remove(&mac);
        }
    }
    assert!(known.is_empty(), "{} are still known", known.len());
}
