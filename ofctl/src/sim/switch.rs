//! A switch: its ports, flow tables and groups.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::check::{self, Refused};
use super::classifier::{Classifier, View};
use super::packet::{Packet, Tunnel};
use super::pipeline::Pipeline;
use super::trace::Verdict;
use crate::flow::FlowEntry;
use crate::wire::{Bucket, GroupId, GroupType, OfPort, TableId};

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

/// A tunnel port; what it leaves open, the packet's tunnel fields say (`=flow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TunnelPort {
    /// `options:local_ip`.
    pub local: Option<IpAddr>,
    /// `options:remote_ip`.
    pub remote: Option<IpAddr>,
    /// `options:key`.
    pub key: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Plain,
    Tunnel(TunnelPort),
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) kind: GroupType,
    pub(super) buckets: Vec<Bucket>,
}

/// Flow tables, groups and ports, ready to take packets.
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
#[derive(Debug, Clone, Default)]
pub struct Switch {
    tables: BTreeMap<TableId, Classifier>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) ports: BTreeMap<OfPort, Port>,
    pub(super) fragments: FragmentMode,
}

impl Switch {
    /// A switch without flows, which drops everything.
    pub fn new() -> Self {
        Switch::default()
    }

    /// Adds flows, each in place of one of the same table, match and priority.
    ///
    /// # Errors
    /// At the first flow that a switch would refuse.
    pub fn with_flows(mut self, flows: impl IntoIterator<Item = FlowEntry>) -> Result<Self, Refused> {
        for entry in flows {
            if let Err(reason) = check::flow(&entry) {
                return Err(Refused { object: super::trace::flow_text(&entry), reason });
            }
            self.tables.entry(entry.table).or_default().insert(Arc::new(entry));
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
        let buckets: Vec<Bucket> = buckets.into_iter().collect();
        if let Err(reason) = check::group(kind == GroupType::Indirect, &buckets) {
            return Err(Refused { object: format!("group {id}"), reason });
        }
        self.groups.insert(id, Group { kind, buckets });
        Ok(self)
    }

    /// Declares ports.
    #[must_use]
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = OfPort>) -> Self {
        self.ports.extend(ports.into_iter().map(|port| (port, Port::Plain)));
        self
    }

    /// Declares a tunnel port.
    #[must_use]
    pub fn with_tunnel_port(mut self, port: OfPort, tunnel: TunnelPort) -> Self {
        self.ports.insert(port, Port::Tunnel(tunnel));
        self
    }

    /// Sets what becomes of fragments.
    #[must_use]
    pub fn with_fragments(mut self, mode: FragmentMode) -> Self {
        self.fragments = mode;
        self
    }

    /// Takes a frame in by a port, out of a tunnel if there is one, and says what becomes of it.
    pub fn run(&self, in_port: OfPort, tunnel: Option<Tunnel>, frame: &[u8]) -> Verdict {
        let packet = Packet::new(in_port, frame);
        self.run_packet(match tunnel {
            Some(tunnel) => packet.with_tunnel(tunnel),
            None => packet,
        })
    }

    /// Takes a packet in as it is, registers and all.
    pub fn run_packet(&self, packet: Packet) -> Verdict {
        Pipeline::new(self, packet).run()
    }

    pub(super) fn lookup(&self, table: TableId, packet: &Packet, in_port: OfPort) -> Option<&Arc<FlowEntry>> {
        let view = View {
            key: &packet.key,
            in_port,
            hide_ports: self.fragments == FragmentMode::Normal && packet.key.is_fragment(),
        };
        self.tables.get(&table)?.lookup(&view)
    }
}
