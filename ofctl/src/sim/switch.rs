//! A switch: its ports, flow tables, groups, meters and connections, and the clock by which they change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{self, Refusal, Refused};
use super::conntrack::Connections;
use super::controller::Controller;
use super::flows::Tables;
use super::groups::{Group, Groups};
use super::meters::{self, Meter};
use super::normal::{Addresses, PortVlan};
use super::packet::{Packet, Tunnel};
use super::pipeline::Pipeline;
pub use super::ports::TunnelPort;
use super::ports::{NO_RECV, Port};
use super::trace::{Output, Verdict};
use crate::MacAddr;
use crate::flow::{FlowEntry, FlowStats};
use crate::wire::versions;
use crate::wire::{
    Action, Bucket, FlowRemoved, FlowStatsRequest, GroupId, GroupType, Message, MeterBand, MeterFlags,
    MeterId, OfPort, PortDescription, PortReason, PortStatus, TlvMap,
};

/// Tables of a switch, as in Open vSwitch; the last is kept for itself.
pub(super) const N_TABLES: u8 = 254;

/// What a switch does with IP fragments, OpenFlow 1.3.5 §7.3.2 and Open vSwitch's `nx-match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FragmentMode {
    /// `OFPC_FRAG_NORMAL`: they pass, and their transport ports count as zero.
    #[default]
    Normal,
    /// `OFPC_FRAG_DROP`.
    Drop,
    /// `OFPC_FRAG_NX_MATCH`: the ports of first fragments count.
    NxMatch,
}

/// What a switch does about one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception {
    /// What became of the packet, and the way that it took.
    pub verdict: Verdict,
    /// What the controller hears: packet-ins, and of flows that went.
    pub messages: Vec<Message>,
}

/// A switch in memory: flow tables, groups, meters, connections and ports.
///
/// [`Switch::run`] only evaluates: it changes nothing, and counts nothing. As a switch that lives, it hears its
/// controller by [`Switch::handle`] and its hosts by [`Switch::receive`], and its time passes by
/// [`Switch::advance`]; then it counts, learns, tracks connections, and forgets what has timed out.
///
/// Without declared ports every port exists, and an output shows a tunnel if actions wrote the tunnel fields.
/// With declared ports an output to any other goes nowhere, and [`OfPort::FLOOD`] and [`OfPort::ALL`] work.
///
/// ```
/// use ofctl::flow::FlowEntry;
/// use ofctl::packet::Frame;
/// use ofctl::sim::Switch;
/// use ofctl::wire::{Action, Field, Match, OfPort, TableId};
///
/// let switch = Switch::new().with_flows([
///     FlowEntry::new(TableId(0), 10)
///         .matching(Match::new().with(Field::InPort, OfPort(1)))
///         .apply([Action::Output(OfPort(2))]),
/// ])?;
/// let frame = Frame::arp_request("02:00:00:00:00:01".parse()?, "10.0.0.1".parse()?, "10.0.0.2".parse()?);
/// assert_eq!(switch.run(OfPort(1), None, &frame).ports(), [OfPort(2)]);
/// assert_eq!(switch.run(OfPort(2), None, &frame).ports(), []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// As a switch that a controller talks to:
///
/// ```
/// use std::time::Duration;
/// use ofctl::flow::FlowEntry;
/// use ofctl::packet::Frame;
/// use ofctl::sim::Switch;
/// use ofctl::wire::{Action, FlowMod, Message, OfPort, TableId};
///
/// let mut switch = Switch::new().with_ports([OfPort(1), OfPort(2)]);
/// let miss = FlowEntry::new(TableId(0), 0).apply([Action::Controller { max_len: 0xffff }]);
/// assert_eq!(switch.handle(Message::FlowMod(FlowMod::add(miss))), []);
/// let frame = Frame::arp_request("02:00:00:00:00:01".parse()?, "10.0.0.1".parse()?, "10.0.0.2".parse()?);
/// let (outputs, messages) = switch.receive(OfPort(1), &frame, Duration::from_secs(1));
/// assert!(outputs.is_empty());
/// assert!(matches!(&messages[..], [Message::PacketIn(packet)] if packet.data == frame));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Switch {
    pub(super) tables: Tables,
    pub(super) groups: Arc<Groups>,
    pub(super) meters: Arc<BTreeMap<MeterId, Meter>>,
    pub(super) connections: Arc<Connections>,
    pub(super) ports: Arc<BTreeMap<OfPort, Port>>,
    /// Where `NORMAL` has heard whom.
    pub(super) addresses: Arc<Addresses>,
    pub(super) fragments: FragmentMode,
    pub(super) now: Duration,
    pub(super) datapath_id: u64,
    pub(super) tlv_maps: Vec<TlvMap>,
    /// What the controller has set for itself.
    pub(super) controller: Controller,
    /// What became of packets that the controller sent.
    pub(super) sent: Vec<Verdict>,
}

fn numbered((id, bucket): (u32, Bucket)) -> versions::Bucket {
    versions::Bucket { id: versions::BucketId(id), bucket, properties: Vec::new() }
}

impl Switch {
    /// A switch without flows, which drops everything.
    pub fn new() -> Self {
        Switch { datapath_id: 1, ..Switch::default() }
    }

    /// Sets its number, as it says it in a features reply.
    #[must_use]
    pub fn with_datapath_id(mut self, id: u64) -> Self {
        self.datapath_id = id;
        self
    }

    /// Adds flows, each in place of one of the same table, match and priority. Groups and meters that they name
    /// may be added later.
    ///
    /// # Errors
    /// At the first flow that a switch would refuse.
    pub fn with_flows(mut self, flows: impl IntoIterator<Item = FlowEntry>) -> Result<Self, Refused> {
        for entry in flows {
            if let Err(reason) = check::flow(&entry) {
                return Err(Refused { object: super::trace::flow_text(&entry), reason });
            }
            self.tables.add(entry, self.now);
        }
        Ok(self)
    }

    /// Adds or replaces a group.
    ///
    /// # Errors
    /// If a switch would refuse it.
    pub fn with_group(
        mut self,
        id: GroupId,
        kind: GroupType,
        buckets: impl IntoIterator<Item = Bucket>,
    ) -> Result<Self, Refused> {
        let buckets: Vec<_> = (0..).zip(buckets).map(numbered).collect();
        if let Err(reason) = check::group(id, kind, &buckets) {
            return Err(Refused { object: format!("group {id}"), reason });
        }
        Arc::make_mut(&mut self.groups).insert(id, Group::new(kind, &buckets, None, self.now));
        Ok(self)
    }

    /// Adds or replaces a meter.
    ///
    /// # Errors
    /// If a switch would refuse it.
    pub fn with_meter(
        mut self,
        id: MeterId,
        flags: MeterFlags,
        bands: impl IntoIterator<Item = MeterBand>,
    ) -> Result<Self, Refused> {
        let bands: Vec<MeterBand> = bands.into_iter().collect();
        if let Err(reason) = meters::check(id, &bands) {
            return Err(Refused { object: format!("meter {id}"), reason });
        }
        Arc::make_mut(&mut self.meters).insert(id, Meter::new(flags, bands, self.now));
        Ok(self)
    }

    /// Declares ports.
    #[must_use]
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = OfPort>) -> Self {
        let new = ports.into_iter().map(|port| (port, Port::new(port, None, self.now)));
        Arc::make_mut(&mut self.ports).extend(new);
        self
    }

    /// Declares a tunnel port.
    #[must_use]
    pub fn with_tunnel_port(mut self, port: OfPort, tunnel: TunnelPort) -> Self {
        let new = Port::new(port, Some(tunnel), self.now);
        Arc::make_mut(&mut self.ports).insert(port, new);
        self
    }

    /// Sets which VLANs a port carries for `NORMAL`. A port that is not declared yet is declared by this.
    #[must_use]
    pub fn with_port_vlan(mut self, port: OfPort, vlan: PortVlan) -> Self {
        self.set_port_vlan(port, vlan);
        self
    }

    /// The same of a switch that lives.
    pub fn set_port_vlan(&mut self, port: OfPort, vlan: PortVlan) {
        let new = || Port::new(port, None, self.now);
        Arc::make_mut(&mut self.ports).entry(port).or_insert_with(new).vlan = vlan;
    }

    /// The addresses that `NORMAL` has learned and not forgotten: VLAN, address and port, as `fdb/show` has them.
    pub fn learned(&self) -> impl Iterator<Item = (u16, MacAddr, OfPort)> {
        self.addresses.known(self.now)
    }

    /// Sets what becomes of fragments.
    #[must_use]
    pub fn with_fragments(mut self, mode: FragmentMode) -> Self {
        self.fragments = mode;
        self
    }

    /// Takes a frame in by a port, out of a tunnel if there is one, and says what becomes of it. The switch stays
    /// as it is: whatever the packet would make it learn, track or count is forgotten.
    pub fn run(&self, in_port: OfPort, tunnel: Option<Tunnel>, frame: &[u8]) -> Verdict {
        let packet = Packet::new(in_port, frame);
        self.run_packet(match tunnel {
            Some(tunnel) => packet.with_tunnel(tunnel),
            None => packet,
        })
    }

    /// Takes a packet in as it is, registers and all; the switch stays as it is.
    pub fn run_packet(&self, packet: Packet) -> Verdict {
        // What is not written to is shared with the copy.
        let mut copy = Switch { sent: Vec::new(), ..self.clone() };
        Pipeline::new(&mut copy, packet, false).run().verdict
    }

    /// Takes a frame in by a port at a time, which must not lie before the last one, and changes as a switch
    /// does: says which frames leave, and what the controller hears.
    pub fn receive(&mut self, port: OfPort, frame: &[u8], now: Duration) -> (Vec<Output>, Vec<Message>) {
        let Reception { verdict, messages } = self.receive_packet(Packet::new(port, frame), now);
        (verdict.outputs, messages)
    }

    /// As [`Switch::receive`], of any packet, with the way that it took.
    pub fn receive_packet(&mut self, packet: Packet, now: Duration) -> Reception {
        let mut messages = self.advance(now);
        let (port, bytes) = (packet.in_port(), packet.frame().len() as u64);
        let mut listens = true;
        if let Some(port) = Arc::make_mut(&mut self.ports).get_mut(&port) {
            listens = port.is_alive() && !port.has(NO_RECV);
            if listens {
                port.stats.rx_packets += 1;
                port.stats.rx_bytes += bytes;
            }
        }
        if !listens {
            let verdict = Verdict::dropped(packet, format!("port {port} is down or takes nothing in"));
            return Reception { verdict, messages };
        }
        let finished = Pipeline::new(self, packet, true).run();
        self.count_outputs(&finished.verdict);
        messages.extend(self.removed(finished.removed));
        messages.extend(self.packet_ins(&finished.verdict));
        Reception { verdict: finished.verdict, messages }
    }

    /// Does these actions with a packet that the controller gave.
    pub(super) fn execute(&mut self, packet: Packet, actions: &[Action]) -> Vec<Message> {
        let finished = Pipeline::new(self, packet, true).packet_out(actions);
        self.count_outputs(&finished.verdict);
        let mut messages = self.removed(finished.removed);
        messages.extend(self.packet_ins(&finished.verdict));
        self.sent.push(finished.verdict);
        messages
    }

    fn count_outputs(&mut self, verdict: &Verdict) {
        let ports = Arc::make_mut(&mut self.ports);
        for output in &verdict.outputs {
            if let Some(port) = ports.get_mut(&output.port) {
                port.stats.tx_packets += 1;
                port.stats.tx_bytes += output.frame.len() as u64;
            }
        }
    }

    /// What became of the packets that the controller sent by packet-out since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.sent)
    }

    /// Lets time pass: flows and connections whose time is over go, and the controller hears of the flows that
    /// wanted it. A time before the last one changes nothing.
    pub fn advance(&mut self, now: Duration) -> Vec<Message> {
        self.now = self.now.max(now);
        if self.connections.next_expiry().is_some_and(|next| next <= self.now) {
            Arc::make_mut(&mut self.connections).expire(self.now);
        }
        let mut gone = Vec::new();
        self.tables.expire(self.now, &mut gone);
        self.removed(gone)
    }

    /// The switch's time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// When the next flow goes if no packet comes; `None` if none ever does.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.tables.next_expiry()
    }

    /// As [`Switch::next_expiry`], if that is not after `limit`; of many flows it then seldom looks at all.
    pub fn next_expiry_by(&mut self, limit: Duration) -> Option<Duration> {
        self.tables.next_expiry_by(limit)
    }

    /// The flows that a request is about, with their counters, sorted by table, falling priority, and match.
    pub fn flows(&self, request: &FlowStatsRequest) -> Vec<FlowStats> {
        self.tables.stats(&super::flows::Criteria::of_request(request), self.now)
    }

    /// The ports that were declared.
    pub fn ports(&self) -> impl Iterator<Item = &PortDescription> {
        self.ports.values().map(|port| &port.description)
    }

    /// Plugs a port's cable in or out, and tells the controller.
    pub fn set_link(&mut self, port: OfPort, up: bool) -> Vec<Message> {
        let Some(known) = Arc::make_mut(&mut self.ports).get_mut(&port) else { return Vec::new() };
        if !known.set_link(up) {
            return Vec::new();
        }
        let status = PortStatus { reason: PortReason::Modify, port: known.description.clone() };
        self.port_status(status).into_iter().collect()
    }

    pub(super) fn removed(&self, gone: Vec<FlowRemoved>) -> Vec<Message> {
        gone.into_iter()
            .filter(|gone| self.controller.hears_removed(gone))
            .map(Message::FlowRemoved)
            .collect()
    }

    pub(super) fn port_status(&self, status: PortStatus) -> Option<Message> {
        self.controller.hears_ports(status.reason).then_some(Message::PortStatus(status))
    }

    fn packet_ins(&self, verdict: &Verdict) -> Vec<Message> {
        let heard = verdict.to_controller.iter().filter(|packet| self.controller.hears_packet(packet));
        heard.map(|packet| self.controller.packet_in(packet)).collect()
    }

    /// Checks that what the actions name is there.
    pub(super) fn check_references(&self, entry: &FlowEntry) -> Result<(), Refusal> {
        let actions = entry.instructions.apply.iter().chain(&entry.instructions.write);
        if let Some(meter) = entry.instructions.meter
            && !self.meters.contains_key(&MeterId(meter))
        {
            return Err(Refusal::BadMeter(MeterId(meter)));
        }
        check::for_each_action(actions, &mut |action| match action {
            Action::Group(group) if !self.groups.contains_key(group) => Err(Refusal::NoSuchGroup(*group)),
            _ => Ok(()),
        })
    }
}
