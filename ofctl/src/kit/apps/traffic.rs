//! A traffic monitor: how much each host sends and receives, by the counters of the flows that carry it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::MacAddr;
use crate::flow::{FlowKey, FlowStats};
use crate::kit::{Application, DatapathId, Effects, Event, Timer};
use crate::wire::{
    Field, FlowRemoved, FlowStatsRequest, Match, Message, MultipartBody, MultipartRequest, TableId,
};

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

impl std::ops::AddAssign for Volume {
    fn add_assign(&mut self, other: Volume) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What a host sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HostTraffic {
    /// From its address.
    pub sent: Volume,
    /// To its address.
    pub received: Volume,
}

/// A flow entry's counters when they were last seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    volume: Volume,
    age: Duration,
}

/// Counts what hosts send and receive, beside another application, whose flows it reads: those that match an Ethernet
/// source or destination. It asks for their counters at an interval, and takes the last of them from the news that a
/// flow is gone, where the other application asks for these.
///
/// A packet is counted by each switch that it passes, and its host's traffic is what the switch counted that counted
/// most: that is its own, as far as nothing is lost on the way. What comes to the controller is carried by no flow and not
/// counted.
///
/// ```
/// use std::time::Duration;
/// use ofctl::kit::apps::{LearningSwitch, TrafficMonitor};
/// use ofctl::kit::testbed::{Host, Testbed};
///
/// let mut bed = Testbed::new(TrafficMonitor::new(LearningSwitch::default(), Duration::from_secs(1)));
/// let switch = bed.switch(1, 2);
/// let a = bed.host(switch, 1, Host::new([10, 0, 0, 1]));
/// let b = bed.host(switch, 2, Host::new([10, 0, 0, 2]));
/// for _ in 0..4 {
///     assert!(bed.ping(a, b).is_some());
/// }
/// bed.run_for(Duration::from_secs(2));
/// let traffic = bed.application().traffic("02:00:0a:00:00:01".parse()?);
/// // The first request came to the controller, which then added the flow for it; its answer found one.
/// assert_eq!((traffic.sent.packets, traffic.received.packets), (3, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrafficMonitor<A> {
    inner: A,
    interval: Duration,
    switches: BTreeSet<DatapathId>,
    seen: BTreeMap<(DatapathId, FlowKey), Seen>,
    counted: BTreeMap<MacAddr, BTreeMap<DatapathId, HostTraffic>>,
}

const ASK: Timer = Timer::new("traffic: ask");

impl<A> TrafficMonitor<A> {
    /// Asks at this interval.
    pub fn new(inner: A, interval: Duration) -> Self {
        TrafficMonitor {
            inner,
            interval,
            switches: BTreeSet::new(),
            seen: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// The application whose flows these are.
    pub fn inner(&self) -> &A {
        &self.inner
    }

    /// The same, to be commanded.
    pub fn inner_mut(&mut self) -> &mut A {
        &mut self.inner
    }

    /// What a host sent and received since this began, as of the last answer.
    pub fn traffic(&self, host: MacAddr) -> HostTraffic {
        let mut most = HostTraffic::default();
        for traffic in self.counted.get(&host).into_iter().flat_map(BTreeMap::values) {
            most.sent = most.sent.max(traffic.sent);
            most.received = most.received.max(traffic.received);
        }
        most
    }

    /// The hosts that were heard of.
    pub fn hosts(&self) -> impl Iterator<Item = MacAddr> {
        self.counted.keys().copied()
    }

    fn count(&mut self, switch: DatapathId, matching: &Match, volume: Volume) {
        for (field, is_source) in [(Field::EthSrc, true), (Field::EthDst, false)] {
            if let Some(host) = matching.exact(field) {
                let counted = self.counted.entry(host.to_mac()).or_default().entry(switch).or_default();
                *(if is_source { &mut counted.sent } else { &mut counted.received }) += volume;
            }
        }
    }

    /// Counts what a flow has carried since it was last seen.
    fn flow(&mut self, switch: DatapathId, key: FlowKey, now: Seen) {
        let id = (switch, key);
        let before = match self.seen.get(&id) {
            // One that is younger, or has counted less, is another that took its place.
            Some(before) if before.age <= now.age && before.volume.packets <= now.volume.packets => {
                before.volume
            }
            _ => Volume::default(),
        };
        let more = Volume {
            packets: now.volume.packets - before.packets,
            bytes: now.volume.bytes.saturating_sub(before.bytes),
        };
        self.count(switch, &id.1.matching, more);
        self.seen.insert(id, now);
    }

    fn statistics(&mut self, switch: DatapathId, flows: &[FlowStats]) {
        let names_a_host = |flow: &&FlowStats| {
            [Field::EthSrc, Field::EthDst].iter().any(|field| flow.entry.matching.exact(*field).is_some())
        };
        let mut there = BTreeSet::new();
        for FlowStats { entry, duration, packets, bytes } in flows.iter().filter(names_a_host) {
            let volume = Volume { packets: *packets, bytes: *bytes };
            self.flow(switch, entry.key(), Seen { volume, age: *duration });
            there.insert(entry.key());
        }
        self.seen.retain(|(known, key), _| *known != switch || there.contains(key));
    }

    fn removed(&mut self, switch: DatapathId, removed: &FlowRemoved) {
        let volume = Volume { packets: removed.packets, bytes: removed.bytes };
        self.flow(switch, removed.key.clone(), Seen { volume, age: removed.duration });
        self.seen.remove(&(switch, removed.key.clone()));
    }
}

impl<A: Application> Application for TrafficMonitor<A> {
    type Notice = A::Notice;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<A::Notice> {
        let mut effects = self.inner.handle(now, event);
        match event {
            Event::Start => effects.set_timer(ASK, self.interval),
            Event::Timer(ASK) => {
                let all = FlowStatsRequest { table: TableId::ALL, ..FlowStatsRequest::default() };
                for switch in &self.switches {
                    effects.push(*switch, MultipartRequest::Flow(all.clone()));
                }
                effects.set_timer(ASK, self.interval);
            }
            Event::SwitchUp(switch, _) => {
                self.switches.insert(*switch);
            }
            Event::SwitchGone(switch) => {
                self.switches.remove(switch);
            }
            Event::FlowRemoved(switch, flow) => self.removed(*switch, flow),
            Event::Message(switch, message) => {
                if let Message::MultipartReply(reply) = &**message
                    && let MultipartBody::Flow(flows) = &reply.body
                {
                    self.statistics(*switch, flows);
                }
            }
            _ => {}
        }
        effects
    }
}
