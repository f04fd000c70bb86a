//! The kernel's notifications, folded into what is known, and what they mean for member ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ofctl::MacAddr;

use super::desired::Form;
use super::observed::{
    BridgeEntry, Event, Learned, Link, LinkKind, LocalMac, Neighbour, Observed, VlanMembership,
};
use crate::model::{LinkName, VlanId, Vni};

/// One notification of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// A link is there, or is otherwise than before. Its VLANs and addresses are not in the notification.
    Link { name: LinkName, link: Link },
    /// A link is gone.
    LinkGone { name: LinkName },
    /// A bridge port carries these VLANs.
    Vlans { name: LinkName, vlans: BTreeMap<VlanId, VlanMembership> },
    /// A bridge's table has an entry.
    Entry { bridge: LinkName, mac: MacAddr, vlan: Option<VlanId>, entry: BridgeEntry },
    /// A bridge's table has an entry no more.
    EntryGone { bridge: LinkName, mac: MacAddr, vlan: Option<VlanId>, port: LinkName },
    /// A neighbour is known.
    Neighbour { link: LinkName, address: IpAddr, neighbour: Neighbour },
    /// A neighbour is known no more.
    NeighbourGone { link: LinkName, address: IpAddr },
}

/// What was observed, kept up to date; the VXLAN links' own tables are not part of it.
#[derive(Debug)]
pub(super) struct Replica {
    form: Form,
    observed: Observed,
}

type Key = (MacAddr, Option<VlanId>);

impl Replica {
    /// Begins with what was observed, and the MACs that are known already.
    pub(super) fn new(form: Form, observed: Observed) -> (Replica, Vec<Event>) {
        let learned = observed.local_macs(&form).into_iter();
        let events = learned.map(|local| Event::Learned { local, was_remote: false }).collect();
        (Replica { form, observed }, events)
    }

    /// Replaces everything, after notifications were lost.
    pub(super) fn resynchronise(&mut self, observed: Observed) -> Vec<Event> {
        let by_key = |locals: Vec<LocalMac>| -> BTreeMap<(Vni, MacAddr), LocalMac> {
            locals.into_iter().map(|local| ((local.vni, local.mac), local)).collect()
        };
        let before = by_key(self.observed.local_macs(&self.form));
        let after = by_key(observed.local_macs(&self.form));
        let mut events = vec![Event::Resynchronised];
        let names: BTreeSet<&LinkName> = self.observed.links.keys().chain(observed.links.keys()).collect();
        for name in names {
            let running = |observed: &Observed| observed.links.get(name).map(|link| link.running);
            if running(&self.observed) != running(&observed) {
                events.push(Event::Link { link: name.clone(), running: running(&observed) });
            }
        }
        for &(vni, mac) in before.keys().filter(|key| !after.contains_key(key)) {
            events.push(Event::Forgotten { vni, mac });
        }
        for (key, local) in &after {
            if before.get(key) != Some(local) {
                let was_remote = self.was_remote(local);
                events.push(Event::Learned { local: local.clone(), was_remote });
            }
        }
        self.observed = observed;
        events
    }

    /// The links that are known.
    pub(super) fn links(&self) -> &BTreeMap<LinkName, Link> {
        &self.observed.links
    }

    /// True for a bridge or a VLAN link of one.
    pub(super) fn keeps_neighbours(&self, link: &LinkName) -> bool {
        self.observed.keeps_neighbours(link)
    }

    /// Takes in a notification.
    pub(super) fn update(&mut self, notice: Notice) -> Vec<Event> {
        match notice {
            Notice::Link { name, link } => self.link(name, link),
            Notice::LinkGone { name } => self.link_gone(&name),
            Notice::Vlans { name, vlans } => {
                if let Some(link) = self.observed.links.get_mut(&name) {
                    link.vlans = vlans;
                }
                Vec::new()
            }
            Notice::Entry { bridge, mac, vlan, entry } => {
                let key = (mac, vlan);
                let was_remote = self.is_remote(&bridge, key);
                let before = self.local(&bridge, key);
                self.observed.bridge_entries.entry(bridge.clone()).or_default().insert(key, entry);
                self.moved(before, self.local(&bridge, key), was_remote)
            }
            Notice::EntryGone { bridge, mac, vlan, port } => {
                let key = (mac, vlan);
                let before = self.local(&bridge, key);
                if let Some(table) = self.observed.bridge_entries.get_mut(&bridge)
                    && table.get(&key).is_some_and(|entry| entry.port == port)
                {
                    table.remove(&key);
                }
                self.moved(before, self.local(&bridge, key), false)
            }
            Notice::Neighbour { link, address, neighbour } => {
                let before = self.observed.neighbours.get(&link).and_then(|table| table.get(&address));
                if before == Some(&neighbour) {
                    return Vec::new();
                }
                let macs =
                    BTreeSet::from_iter(before.map(|before| before.mac).into_iter().chain([neighbour.mac]));
                self.with_macs(macs, |observed| {
                    observed.neighbours.entry(link).or_default().insert(address, neighbour);
                })
            }
            Notice::NeighbourGone { link, address } => {
                let before = self.observed.neighbours.get(&link).and_then(|table| table.get(&address));
                let Some(before) = before else { return Vec::new() };
                self.with_macs([before.mac].into(), |observed| {
                    if let Some(table) = observed.neighbours.get_mut(&link) {
                        table.remove(&address);
                    }
                })
            }
        }
    }

    fn link(&mut self, name: LinkName, mut link: Link) -> Vec<Event> {
        let before = self.observed.links.get(&name);
        let running = before.map(|before| before.running);
        if let Some(before) = before.filter(|before| before.index == link.index) {
            link.addresses.clone_from(&before.addresses);
            if before.master == link.master {
                link.vlans.clone_from(&before.vlans);
            }
        }
        let event = (running != Some(link.running))
            .then(|| Event::Link { link: name.clone(), running: Some(link.running) });
        self.observed.links.insert(name, link);
        event.into_iter().collect()
    }

    fn link_gone(&mut self, name: &LinkName) -> Vec<Event> {
        let before: Vec<LocalMac> = self
            .all_locals()
            .filter(|(bridge, entry, _)| *bridge == name || entry.port == *name)
            .filter_map(|(_, _, local)| local)
            .collect();
        let known = self.observed.links.remove(name).is_some();
        self.observed.bridge_entries.remove(name);
        for table in self.observed.bridge_entries.values_mut() {
            table.retain(|_, entry| entry.port != *name);
        }
        self.observed.neighbours.remove(name);
        let forgotten = before.into_iter().map(|local| Event::Forgotten { vni: local.vni, mac: local.mac });
        let gone = known.then(|| Event::Link { link: name.clone(), running: None });
        forgotten.chain(gone).collect()
    }

    fn all_locals(&self) -> impl Iterator<Item = (&LinkName, &BridgeEntry, Option<LocalMac>)> {
        self.observed.bridge_entries.iter().flat_map(move |(bridge, table)| {
            table.iter().map(move |(&key, entry)| (bridge, entry, self.local(bridge, key)))
        })
    }

    fn local(&self, bridge: &LinkName, (mac, vlan): Key) -> Option<LocalMac> {
        let entry = self.observed.bridge_entries.get(bridge)?.get(&(mac, vlan))?;
        self.observed.local_mac(&self.form, bridge, mac, vlan, entry)
    }

    /// True if a bridge's entry is one of ours for a remote VTEP.
    fn is_remote(&self, bridge: &LinkName, key: Key) -> bool {
        let entry = self.observed.bridge_entries.get(bridge).and_then(|table| table.get(&key));
        entry.is_some_and(|entry| {
            entry.learned == Learned::Externally
                && self
                    .observed
                    .links
                    .get(&entry.port)
                    .is_some_and(|port| matches!(port.kind, LinkKind::Vxlan(_)))
        })
    }

    fn was_remote(&self, local: &LocalMac) -> bool {
        let bridge = self.form.bridge(local.vni);
        let table = self.observed.bridge_entries.get(&bridge).into_iter().flatten();
        table.into_iter().any(|(key, _)| {
            key.0 == local.mac
                && self.observed.network_of(&self.form, &bridge, key.1) == Some(local.vni)
                && self.is_remote(&bridge, *key)
        })
    }

    fn moved(&self, before: Option<LocalMac>, after: Option<LocalMac>, was_remote: bool) -> Vec<Event> {
        match (before, after) {
            (before, Some(local)) if before.as_ref() != Some(&local) => {
                vec![Event::Learned { local, was_remote }]
            }
            (Some(local), None) => vec![Event::Forgotten { vni: local.vni, mac: local.mac }],
            _ => Vec::new(),
        }
    }

    /// Changes what is known of some MACs' addresses, and says which of them are local.
    fn with_macs(&mut self, macs: BTreeSet<MacAddr>, change: impl FnOnce(&mut Observed)) -> Vec<Event> {
        let mut places: Vec<(LinkName, Key)> = Vec::new();
        for (bridge, table) in &self.observed.bridge_entries {
            for &mac in &macs {
                let entries = table.range((mac, None)..).take_while(|((entry, _), _)| *entry == mac);
                places.extend(entries.map(|(key, _)| (bridge.clone(), *key)));
            }
        }
        let before: Vec<Option<LocalMac>> =
            places.iter().map(|(bridge, key)| self.local(bridge, *key)).collect();
        change(&mut self.observed);
        let after = places.iter().map(|(bridge, key)| self.local(bridge, *key));
        before.into_iter().zip(after).flat_map(|(before, after)| self.moved(before, after, false)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::{ALIAS_PREFIX, Change, Member, Remote, Segment, difference};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn name(text: &str) -> LinkName {
        text.parse().unwrap()
    }

    /// A switch with network 77 on swp1 and on VLAN 20 of swp2, which knows MAC behind a VTEP.
    fn replica() -> Replica {
        let mut observed = Observed::default();
        for (index, port) in ["swp1", "swp2"].into_iter().enumerate() {
            let link = Link { up: true, running: true, ..Link::new(index as u32 + 1, LinkKind::Other(None)) };
            observed.links.insert(name(port), link);
        }
        let segment = Segment {
            mtu: 1450,
            members: [Member::untagged(name("swp1")), Member::tagged(name("swp2"), "20".parse().unwrap())]
                .into(),
            remotes: [(MAC, Remote::new("192.0.2.2".parse().unwrap()))].into(),
            ..Segment::default()
        };
        let desired = crate::linux::Desired {
            form: Form::Traditional,
            vtep: "192.0.2.1".parse().unwrap(),
            networks: [("77".parse().unwrap(), segment)].into(),
        };
        for change in difference(&desired, &observed).changes {
            observed.apply(&change).unwrap();
        }
        let (replica, events) = Replica::new(Form::Traditional, observed);
        assert_eq!(events, []);
        replica
    }

    fn seen(port: &str) -> Notice {
        let entry = BridgeEntry { port: name(port), learned: Learned::FromPackets, offloaded: false };
        Notice::Entry { bridge: name("slbr77"), mac: MAC, vlan: None, entry }
    }

    fn gone(port: &str) -> Notice {
        Notice::EntryGone { bridge: name("slbr77"), mac: MAC, vlan: None, port: name(port) }
    }

    fn learned(member: &str, was_remote: bool) -> Event {
        let member = match member.split_once('.') {
            None => Member::untagged(name(member)),
            Some((port, vlan)) => Member::tagged(name(port), vlan.parse().unwrap()),
        };
        let vni = "77".parse().unwrap();
        Event::Learned { local: LocalMac { vni, mac: MAC, member, addresses: BTreeSet::new() }, was_remote }
    }

    fn forgotten() -> Event {
        Event::Forgotten { vni: "77".parse().unwrap(), mac: MAC }
    }

    #[test]
    fn a_mac_comes_moves_and_goes() {
        let mut replica = replica();
        assert_eq!(replica.update(seen("swp1")), [learned("swp1", true)]);
        assert_eq!(replica.update(seen("swp1")), []);
        assert_eq!(replica.update(seen("swp2.20")), [learned("swp2.20", false)]);
        // The old port's entry ages out in the notifications after the move: the MAC stays.
        assert_eq!(replica.update(gone("swp1")), []);
        assert_eq!(replica.update(gone("swp2.20")), [forgotten()]);
        assert_eq!(replica.update(gone("swp2.20")), []);
    }

    #[test]
    fn a_mac_that_becomes_remote_is_forgotten_here() {
        let mut replica = replica();
        replica.update(seen("swp1"));
        let entry = BridgeEntry { port: name("slvx77"), learned: Learned::Externally, offloaded: false };
        let notice = Notice::Entry { bridge: name("slbr77"), mac: MAC, vlan: None, entry };
        assert_eq!(replica.update(notice), [forgotten()]);
    }

    #[test]
    fn addresses_are_known_where_the_kernel_knows_them() {
        let mut replica = replica();
        replica.update(seen("swp1"));
        let (link, address): (_, IpAddr) = (name("slbr77"), "10.77.0.100".parse().unwrap());
        let neighbour = Neighbour { mac: MAC, permanent: false, external: false };
        let events = replica.update(Notice::Neighbour { link: link.clone(), address, neighbour });
        let [Event::Learned { local, was_remote: false }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(local.addresses, [address].into());
        assert_eq!(replica.update(Notice::NeighbourGone { link, address }), [learned("swp1", false)]);
    }

    #[test]
    fn links_and_what_is_behind_them_go_together() {
        let mut replica = replica();
        replica.update(seen("swp1"));
        let mut link = replica.observed.links[&name("swp1")].clone();
        link.running = false;
        let down = Event::Link { link: name("swp1"), running: Some(false) };
        assert_eq!(replica.update(Notice::Link { name: name("swp1"), link: link.clone() }), [down]);
        assert_eq!(replica.update(Notice::Link { name: name("swp1"), link }), []);
        let gone = Event::Link { link: name("swp1"), running: None };
        assert_eq!(replica.update(Notice::LinkGone { name: name("swp1") }), [forgotten(), gone]);
    }

    #[test]
    fn what_was_lost_is_made_up_for() {
        let mut replica = replica();
        let mut now = replica.observed.clone();
        let entry = BridgeEntry { port: name("swp1"), learned: Learned::FromPackets, offloaded: false };
        now.bridge_entries.get_mut(&name("slbr77")).unwrap().insert((MAC, None), entry);
        let alias = format!("{ALIAS_PREFIX}78");
        now.apply(&Change::CreateBridge { link: name("slbr78"), alias, vlan_filtering: false }).unwrap();
        let before = replica.observed.clone();
        let appeared = Event::Link { link: name("slbr78"), running: Some(false) };
        assert_eq!(replica.resynchronise(now), [Event::Resynchronised, appeared, learned("swp1", true)]);
        let disappeared = Event::Link { link: name("slbr78"), running: None };
        assert_eq!(replica.resynchronise(before), [Event::Resynchronised, disappeared, forgotten()]);
    }
}
