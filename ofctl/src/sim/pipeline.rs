//! One packet's way through the tables of a switch.

use std::net::{IpAddr, Ipv4Addr};

use super::key::{PORT_UNSET, port_from_16};
use super::packet::{Packet, Tunnel};
use super::switch::{FragmentMode, Port, Switch, TunnelPort};
use super::trace::{Event, Output, PacketInReason, RunError, Step, ToController, Verdict};
use crate::flow::FlowEntry;
use crate::wire::{Action, Field, FieldValue, GroupId, GroupType, OfPort, SubField, TableId};

/// Resubmits to earlier tables, and buckets, that may be nested, as in Open vSwitch.
pub const MAX_DEPTH: usize = 64;
/// Lookups for one packet, as in Open vSwitch.
pub const MAX_RESUBMITS: usize = MAX_DEPTH * MAX_DEPTH;
/// Bytes on the stack, as in Open vSwitch.
const MAX_STACK: usize = 65536;

const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whether a list of actions goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Continues,
    Ends,
}

/// A packet under way.
pub(super) struct Pipeline<'a> {
    switch: &'a Switch,
    packet: Packet,
    /// Tunnel fields as they were received.
    received: Option<Tunnel>,
    table: TableId,
    /// Nesting that counts against [`MAX_DEPTH`].
    depth: usize,
    /// Nesting that the trace shows.
    shown_depth: usize,
    lookups: usize,
    stack: Vec<(u128, u16)>,
    action_set: Vec<Action>,
    outputs: Vec<Output>,
    to_controller: Vec<ToController>,
    trace: Vec<Step>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(switch: &'a Switch, packet: Packet) -> Self {
        let received = packet.tunnel();
        Pipeline {
            switch,
            packet,
            received,
            table: TableId(0),
            depth: 0,
            shown_depth: 0,
            lookups: 0,
            stack: Vec::new(),
            action_set: Vec::new(),
            outputs: Vec::new(),
            to_controller: Vec::new(),
            trace: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Verdict {
        self.record(Event::Received(self.packet.to_string()));
        let error = self.translate().err();
        if error.is_some() {
            // Whatever was output before is taken back: Open vSwitch forwards only what it translated whole.
            self.outputs.clear();
            self.to_controller.clear();
        }
        let Pipeline { outputs, to_controller, trace, packet, .. } = self;
        Verdict { outputs, to_controller, error, trace, packet }
    }

    fn translate(&mut self) -> Result<(), RunError> {
        if self.switch.fragments == FragmentMode::Drop && self.packet.key.is_fragment() {
            self.note("fragments are dropped");
            return Ok(());
        }
        self.lookup(TableId(0), self.packet.in_port(), false)?;
        self.run_action_set()
    }

    fn record(&mut self, event: Event) {
        self.trace.push(Step { depth: self.shown_depth, event });
    }

    fn note(&mut self, text: impl Into<String>) {
        self.record(Event::Note(text.into()));
    }

    fn check_limits(&self) -> Result<(), RunError> {
        if self.depth >= MAX_DEPTH {
            return Err(RunError::TooDeep(self.table));
        }
        if self.lookups >= MAX_RESUBMITS {
            return Err(RunError::TooManyResubmits(self.table));
        }
        let bytes: usize = self.stack.iter().map(|(_, bits)| usize::from(bits.div_ceil(8)) + 1).sum();
        if bytes >= MAX_STACK {
            return Err(RunError::StackOverflow(self.table));
        }
        Ok(())
    }

    /// Looks the packet up, and does what the entry says.
    fn lookup(&mut self, table: TableId, in_port: OfPort, deepens: bool) -> Result<(), RunError> {
        self.check_limits()?;
        let entry = self.switch.lookup(table, &self.packet, in_port).cloned();
        self.record(Event::Lookup { table, entry: entry.clone() });
        let Some(entry) = entry else { return Ok(()) };
        let came_from = std::mem::replace(&mut self.table, table);
        self.lookups += 1;
        self.depth += usize::from(deepens);
        self.entry(&entry)?;
        self.depth -= usize::from(deepens);
        self.table = came_from;
        Ok(())
    }

    fn entry(&mut self, entry: &FlowEntry) -> Result<(), RunError> {
        let instructions = &entry.instructions;
        if let Some(meter) = instructions.meter {
            self.note(format!("meter {meter} lets it pass: rates are not simulated"));
        }
        if self.actions(&instructions.apply)? == List::Ends {
            return Ok(());
        }
        if instructions.clear {
            self.action_set.clear();
        }
        self.action_set.extend(instructions.write.iter().cloned());
        if instructions.clear || !instructions.write.is_empty() {
            let output = self.action_set.iter().rev().find_map(|action| match action {
                Action::Output(port) => Some(*port),
                _ => None,
            });
            let grouped = self.action_set.iter().any(|action| matches!(action, Action::Group(_)));
            let port = output.filter(|_| !grouped).unwrap_or(PORT_UNSET);
            self.packet.key.put(Field::ActsetOutput, port);
        }
        if let Some((value, mask)) = instructions.write_metadata {
            let old = self.packet.key.value(Field::Metadata) as u64;
            self.packet.key.put(Field::Metadata, old & !mask | value & mask);
            self.record(Event::WriteMetadata(value, mask));
        }
        match instructions.goto {
            Some(table) => self.lookup(table, self.packet.in_port(), false),
            None => Ok(()),
        }
    }

    fn run_action_set(&mut self) -> Result<(), RunError> {
        let set = std::mem::take(&mut self.action_set);
        if set.is_empty() {
            return Ok(());
        }
        self.record(Event::ActionSet);
        self.actions(&in_set_order(&set)).map(|_| ())
    }

    fn actions(&mut self, list: &[Action]) -> Result<List, RunError> {
        for action in list {
            self.record(Event::Action(action.clone()));
            if self.action(action)? == List::Ends {
                return Ok(List::Ends);
            }
        }
        Ok(List::Continues)
    }

    fn action(&mut self, action: &Action) -> Result<List, RunError> {
        match action {
            Action::Output(port) => self.output(*port)?,
            Action::Controller { max_len } => self.punt(PacketInReason::Action, *max_len),
            Action::OutputReg(part) => match u16::try_from(self.packet.key.bits(*part)) {
                Ok(port) => self.output(port_from_16(port))?,
                Err(_) => self.note("the port number is out of range"),
            },
            Action::SetField(field, value) => self.write(field.whole(), value.to_u128()),
            Action::RegLoad { dst, value } => self.write(*dst, (*value).into()),
            Action::RegMove { src, dst } => {
                if self.packet.has(src.field) {
                    self.write(*dst, self.packet.key.bits(*src));
                } else {
                    self.note(format!("the packet has no {}", src.field.name()));
                }
            }
            Action::StackPush(part) => self.stack.push((self.packet.key.bits(*part), part.n_bits)),
            Action::StackPop(part) => match self.stack.pop() {
                Some((value, _)) => self.packet.key.set_bits(*part, value),
                None => self.note("the stack is empty"),
            },
            Action::PushVlan(tpid) => self.packet.key.push_tag(*tpid),
            Action::PopVlan => self.packet.key.pop_tag(),
            Action::DecTtl => return Ok(self.dec_ttl()),
            Action::ResubmitTable { table } => self.resubmit(self.packet.in_port(), *table)?,
            Action::ResubmitPort { port, table } => {
                let port = match port_from_16(*port) {
                    OfPort::IN_PORT => self.packet.in_port(),
                    port => port,
                };
                self.resubmit(port, *table)?;
            }
            Action::Group(group) => return self.group(*group),
            Action::Note(_) => {}
            unsupported => {
                return Err(RunError::Unsupported {
                    table: self.table,
                    action: super::trace::action_text(unsupported),
                });
            }
        }
        Ok(List::Continues)
    }

    /// Writes bits of a field, if the packet has it; otherwise nothing happens, as in Open vSwitch.
    fn write(&mut self, part: SubField, value: u128) {
        if self.packet.has(part.field) {
            self.packet.key.set_bits(part, value);
        } else {
            self.note(format!("the packet has no {}", part.field.name()));
        }
    }

    fn resubmit(&mut self, in_port: OfPort, table: TableId) -> Result<(), RunError> {
        let table = if table == TableId::ALL { self.table } else { table };
        self.shown_depth += 1;
        self.lookup(table, in_port, table <= self.table)?;
        self.shown_depth -= 1;
        Ok(())
    }

    /// A TTL that runs out ends this list of actions, not those that resubmitted to it.
    fn dec_ttl(&mut self) -> List {
        if !self.packet.key.is_ip() {
            return List::Continues;
        }
        match self.packet.key.value(Field::IpTtl) {
            0 | 1 => {
                self.note("the TTL runs out");
                self.punt(PacketInReason::InvalidTtl, u16::MAX);
                List::Ends
            }
            ttl => {
                self.packet.key.put(Field::IpTtl, ttl - 1);
                List::Continues
            }
        }
    }

    fn punt(&mut self, reason: PacketInReason, max_len: u16) {
        self.packet.commit();
        let frame = self.packet.frame().to_vec();
        self.to_controller.push(ToController { reason, max_len, table: self.table, frame });
    }

    fn output(&mut self, port: OfPort) -> Result<(), RunError> {
        let in_port = self.packet.in_port();
        match port {
            OfPort::IN_PORT => self.emit(in_port),
            OfPort::CONTROLLER => self.punt(PacketInReason::Action, u16::MAX),
            OfPort::ALL | OfPort::FLOOD if !self.switch.ports.is_empty() => {
                let others = self.switch.ports.keys().filter(|&&port| port != in_port);
                for port in others.copied().collect::<Vec<_>>() {
                    self.emit(port);
                }
            }
            OfPort::TABLE => self.resubmit(in_port, TableId(0))?,
            OfPort::ALL | OfPort::FLOOD | OfPort::NORMAL => {
                let action = super::trace::action_text(&Action::Output(port));
                return Err(RunError::Unsupported { table: self.table, action });
            }
            OfPort::ANY => {}
            _ if port == in_port => self.note("not back out of the ingress port"),
            _ => self.emit(port),
        }
        Ok(())
    }

    /// Sends the frame out as it is now.
    fn emit(&mut self, port: OfPort) {
        let current = self.packet.tunnel();
        let tunnel = match self.switch.ports.get(&port) {
            None if self.switch.ports.is_empty() => current.filter(|_| current != self.received),
            None => return self.note(format!("port {port} does not exist")),
            Some(Port::Plain) => None,
            Some(Port::Tunnel(options)) => {
                let tunnel = encapsulated(current, options);
                let own = self.received.map_or(UNSPECIFIED, |received| received.dst);
                if tunnel.dst == own {
                    // Open vSwitch leaves the port's options in the packet's tunnel fields when it finds this.
                    self.packet.key.set_tunnel(tunnel);
                    return self.note("the tunnel leads to our own address, or nowhere");
                }
                if tunnel.dst.is_unspecified() {
                    return self.note("the tunnel leads nowhere");
                }
                Some(tunnel)
            }
        };
        self.packet.commit();
        self.record(Event::Output(port, tunnel));
        let frame = self.packet.frame().to_vec();
        self.outputs.push(Output { port, tunnel, frame });
    }

    fn group(&mut self, id: GroupId) -> Result<List, RunError> {
        self.check_limits()?;
        let switch = self.switch;
        let Some(group) = switch.groups.get(&id) else {
            self.note(format!("group {id} does not exist: the rest of these actions is skipped"));
            return Ok(List::Ends);
        };
        let chosen = match group.kind {
            GroupType::All => 0..group.buckets.len(),
            GroupType::Indirect => 0..group.buckets.len().min(1),
            GroupType::Select => match self.select(group.buckets.iter().map(|bucket| bucket.weight)) {
                Some(place) => place..place + 1,
                None => 0..0,
            },
            GroupType::FastFailover => {
                let action = format!("group:{id} (fast failover)");
                return Err(RunError::Unsupported { table: self.table, action });
            }
        };
        for place in chosen {
            self.record(Event::Bucket(id, place));
            let before = self.packet.key.clone();
            self.depth += 1;
            self.shown_depth += 1;
            self.actions(&in_set_order(&group.buckets[place].actions))?;
            self.shown_depth -= 1;
            self.depth -= 1;
            // Each bucket has a copy of the packet.
            self.packet.key = before;
        }
        Ok(List::Continues)
    }

    /// Chooses a bucket of a select group: FNV-1a over the Ethernet addresses and type, IP addresses, protocol and
    /// ports, spread over the weights. The same connection always gets the same bucket; which one it is differs
    /// from Open vSwitch, where it depends on the datapath.
    fn select(&self, weights: impl Iterator<Item = u16> + Clone) -> Option<usize> {
        use Field::*;
        let total: u64 = weights.clone().map(u64::from).sum();
        let fields = [
            EthSrc, EthDst, EthType, Ipv4Src, Ipv4Dst, Ipv6Src, Ipv6Dst, IpProto, TcpSrc, TcpDst, UdpSrc,
            UdpDst, SctpSrc, SctpDst,
        ];
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for field in fields {
            for byte in FieldValue::from(self.packet.key.value(field)).low_bytes(16) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        let mut left = hash.checked_rem(total)?;
        for (place, weight) in weights.enumerate() {
            if left < weight.into() {
                return Some(place);
            }
            left -= u64::from(weight);
        }
        None
    }
}

/// The outer header of a packet that leaves by this tunnel port.
fn encapsulated(current: Option<Tunnel>, port: &TunnelPort) -> Tunnel {
    let current = current.unwrap_or(Tunnel { id: 0, src: UNSPECIFIED, dst: UNSPECIFIED });
    Tunnel {
        id: port.key.unwrap_or(current.id),
        src: port.local.unwrap_or(current.src),
        dst: port.remote.unwrap_or(current.dst),
    }
}

/// The actions of a set in the order in which they are done, OpenFlow 1.3.5 §5.10 and Open vSwitch's
/// ovs-actions(7): the last of each kind, all the writes in their order, and one that ends the set. A set with
/// no such end does nothing.
fn in_set_order(set: &[Action]) -> Vec<Action> {
    use Action::*;
    let last = |is: fn(&Action) -> bool| set.iter().rev().find(|action| is(action)).cloned();
    let end = last(|action| matches!(action, ResubmitTable { .. } | ResubmitPort { .. }))
        .or_else(|| last(|action| matches!(action, Group(_))))
        .or_else(|| last(|action| matches!(action, Output(_) | Controller { .. })));
    // What is not known must not go unnoticed.
    let unknown = set.iter().filter(|action| matches!(action, Unknown(_))).cloned();
    let writes = set.iter().filter(|action| matches!(action, SetField(..) | RegLoad { .. } | RegMove { .. }));
    let mut list: Vec<Action> = unknown.collect();
    let Some(end) = end else { return list };
    list.extend(last(|action| matches!(action, PopVlan)));
    list.extend(last(|action| matches!(action, PushVlan(_))));
    list.extend(last(|action| matches!(action, DecTtl)));
    list.extend(writes.cloned());
    list.push(end);
    list
}
