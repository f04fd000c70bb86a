//! One packet's way through the tables of a switch.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::classifier::{Classifier, Rule, View};
use super::conntrack::Tracked;
use super::key::{PORT_UNSET, port_from_16};
use super::packet::{Packet, Tunnel};
use super::ports::{NO_FLOOD, NO_FWD, NO_PACKET_IN, TunnelPort};
use super::switch::{FragmentMode, Switch};
use super::trace::{Event, Output, PacketInReason, RunError, Step, ToController, Verdict};
use crate::wire::{
    Action, ControllerAction, Cookie, Field, FlowRemoved, GroupId, GroupType, Instructions, Match, MeterId,
    OfPort, TableId,
};

/// Resubmits to earlier tables, and buckets, that may be nested, as in Open vSwitch.
pub const MAX_DEPTH: usize = 64;
/// Lookups for one packet, as in Open vSwitch.
pub const MAX_RESUBMITS: usize = MAX_DEPTH * MAX_DEPTH;
/// Bytes on the stack, as in Open vSwitch.
const MAX_STACK: usize = 65536;
/// Times that a packet may go round, as in Open vSwitch's userspace datapath.
pub(super) const MAX_ROUNDS: usize = 6;

const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Whether a list of actions goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Continues,
    Ends,
}

/// A part of an entry's instructions, in the order in which they are carried out, OpenFlow 1.3.5 §5.9.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op<'a> {
    Meter(u32),
    Apply(&'a Action),
    Clear,
    Write(&'a [Action]),
    Metadata(u64, u64),
    Goto(TableId),
}

fn ops(instructions: &Instructions) -> Vec<Op<'_>> {
    let mut ops = Vec::with_capacity(instructions.apply.len() + 2);
    ops.extend(instructions.meter.map(Op::Meter));
    ops.extend(instructions.apply.iter().map(Op::Apply));
    if instructions.clear {
        ops.push(Op::Clear);
    }
    if !instructions.write.is_empty() {
        ops.push(Op::Write(&instructions.write));
    }
    ops.extend(instructions.write_metadata.map(|(value, mask)| Op::Metadata(value, mask)));
    ops.extend(instructions.goto.map(Op::Goto));
    ops
}

/// What is done with a packet once its fields are known.
enum Start<'a> {
    Table(TableId),
    Actions(&'a [Action]),
}

/// What came of a packet, besides what the switch itself has become.
pub(super) struct Finished {
    pub(super) verdict: Verdict,
    pub(super) removed: Vec<FlowRemoved>,
}

/// A packet under way.
pub(super) struct Pipeline<'a> {
    pub(super) switch: &'a mut Switch,
    /// Whether flows, groups and tables count it.
    counts: bool,
    pub(super) packet: Packet,
    /// Its length and TCP flags as it came in.
    bytes: u64,
    pub(super) tcp_flags: u16,
    /// Tunnel fields as they were received.
    received: Option<Tunnel>,
    pub(super) table: TableId,
    /// The entry whose actions are carried out.
    pub(super) rule: Option<Arc<Rule>>,
    /// Nesting that counts against [`MAX_DEPTH`].
    pub(super) depth: usize,
    /// Nesting that the trace shows.
    pub(super) shown_depth: usize,
    lookups: usize,
    /// Times that the packet went round.
    pub(super) rounds: usize,
    pub(super) exited: bool,
    /// Whether the conntrack fields say something.
    pub(super) tracked: bool,
    /// What the datapath knows of its connection, whether or not the fields say it.
    pub(super) seen: Tracked,
    /// Why nothing leaves: it goes on through the tables, as in Open vSwitch, whose datapath drops it.
    pub(super) dropped: Option<&'static str>,
    /// Whether the trace leaves out what happens.
    pub(super) muted: bool,
    /// Whether the last MPLS label was popped, and what is below not looked into yet.
    pub(super) unread: bool,
    pub(super) stack: Vec<(u128, u16)>,
    pub(super) action_set: Vec<Action>,
    pub(super) outputs: Vec<Output>,
    pub(super) to_controller: Vec<ToController>,
    /// Outputs and packet-ins that an error does not take back any more.
    pub(super) kept: (usize, usize),
    pub(super) removed: Vec<FlowRemoved>,
    /// The tables before the packet learned in this round.
    pub(super) tables_before: Option<BTreeMap<TableId, Arc<Classifier>>>,
    pub(super) error: Option<RunError>,
    trace: Vec<Step>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(switch: &'a mut Switch, packet: Packet, counts: bool) -> Self {
        let received = packet.tunnel();
        Pipeline {
            switch,
            counts,
            bytes: packet.frame().len() as u64,
            tcp_flags: packet.key.value(Field::TcpFlags) as u16,
            packet,
            received,
            table: TableId(0),
            rule: None,
            depth: 0,
            shown_depth: 0,
            lookups: 0,
            rounds: 0,
            exited: false,
            tracked: false,
            seen: Tracked::default(),
            dropped: None,
            muted: false,
            unread: false,
            stack: Vec::new(),
            action_set: Vec::new(),
            outputs: Vec::new(),
            to_controller: Vec::new(),
            kept: (0, 0),
            removed: Vec::new(),
            tables_before: None,
            error: None,
            trace: Vec::new(),
        }
    }

    pub(super) fn run(self) -> Finished {
        self.start(Start::Table(TableId(0)))
    }

    /// Carries out a packet-out's actions.
    pub(super) fn packet_out(self, actions: &[Action]) -> Finished {
        self.start(Start::Actions(actions))
    }

    fn start(mut self, start: Start<'_>) -> Finished {
        self.record(Event::Received(self.packet.to_string()));
        let done = self.translate(start);
        self.end_round(done);
        let Pipeline { outputs, to_controller, trace, packet, removed, error, .. } = self;
        Finished { verdict: Verdict { outputs, to_controller, error, trace, packet }, removed }
    }

    fn translate(&mut self, start: Start<'_>) -> Result<(), RunError> {
        if self.switch.fragments == FragmentMode::Drop && self.packet.key.is_fragment() {
            self.note("fragments are dropped");
            return Ok(());
        }
        match start {
            Start::Table(table) => self.lookup(table, self.packet.in_port(), false)?,
            Start::Actions(actions) => {
                self.actions(actions)?;
            }
        }
        self.run_action_set()
    }

    /// Whatever a round output is taken back if it could not be followed to its end: Open vSwitch forwards only
    /// what it translated whole.
    fn end_round(&mut self, done: Result<(), RunError>) {
        if let Err(error) = done {
            self.outputs.truncate(self.kept.0);
            self.to_controller.truncate(self.kept.1);
            self.error.get_or_insert(error);
        }
        self.kept = (self.outputs.len(), self.to_controller.len());
    }

    /// Lets the packet go round: it is looked into anew, as a datapath does that must hash or track it, and goes on
    /// where it was. False if it did so too often.
    pub(super) fn go_round(&mut self) -> bool {
        if self.dropped.is_some() {
            self.exited = true;
            self.action_set.clear();
            return false;
        }
        if self.rounds >= MAX_ROUNDS {
            self.note(format!("the packet has gone round {MAX_ROUNDS} times, and is dropped"));
            self.exited = true;
            self.action_set.clear();
            return false;
        }
        self.rounds += 1;
        self.packet.read_anew();
        if self.tracked {
            self.packet.key.set_tracked(&self.seen);
        }
        self.unread = false;
        self.tables_before = None;
        self.lookups = 0;
        self.kept = (self.outputs.len(), self.to_controller.len());
        true
    }

    /// Follows a copy of the packet from a table on, with stack, metadata and action set as they are.
    pub(super) fn fork(&mut self, table: TableId, packet: Packet, tracked: bool) {
        if self.rounds >= MAX_ROUNDS {
            return self.note(format!("the packet has gone round {MAX_ROUNDS} times, and is dropped"));
        }
        let mine = std::mem::replace(&mut self.packet, packet);
        let stack = self.stack.clone();
        let action_set = self.action_set.clone();
        let saved = (self.table, self.depth, self.lookups, self.exited, self.dropped);
        let rule = self.rule.take();
        let tables_before = self.tables_before.take();
        self.kept = (self.outputs.len(), self.to_controller.len());
        (self.depth, self.lookups, self.exited) = (0, 0, false);
        (self.tracked, self.unread) = (tracked, false);
        self.rounds += 1;
        self.shown_depth += 1;
        self.record(Event::Resumed(table, self.packet.to_string()));
        let done = self.translate(Start::Table(table));
        self.end_round(done);
        self.shown_depth -= 1;
        self.rounds -= 1;
        self.rule = rule;
        self.tables_before = tables_before;
        (self.table, self.depth, self.lookups, self.exited, self.dropped) = saved;
        self.tracked = false;
        self.stack = stack;
        self.action_set = action_set;
        self.packet = mine;
    }

    pub(super) fn record(&mut self, event: Event) {
        if self.muted {
            return;
        }
        self.trace.push(Step { depth: self.shown_depth, event });
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.record(Event::Note(text.into()));
    }

    pub(super) fn unsupported(&self, what: String) -> RunError {
        RunError::Unsupported { table: self.table, action: what }
    }

    pub(super) fn check_limits(&self) -> Result<(), RunError> {
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
    pub(super) fn lookup(&mut self, table: TableId, in_port: OfPort, deepens: bool) -> Result<(), RunError> {
        self.check_limits()?;
        let rule = self.find(table, in_port);
        self.carry_out(table, rule, deepens)
    }

    /// The entry that the packet matches, of the tables as they were when its round began: what it learns is there
    /// for later rounds and packets.
    pub(super) fn find(&self, table: TableId, in_port: OfPort) -> Option<Arc<Rule>> {
        let view = View {
            key: &self.packet.key,
            in_port,
            hide_ports: self.switch.fragments == FragmentMode::Normal && self.packet.key.is_fragment(),
            conjunction: None,
        };
        match &self.tables_before {
            Some(tables) => tables.get(&table)?.lookup(&view).cloned(),
            None => self.switch.tables.lookup(table, &view).cloned(),
        }
    }

    /// Does what an entry that was found says.
    pub(super) fn carry_out(
        &mut self,
        table: TableId,
        rule: Option<Arc<Rule>>,
        deepens: bool,
    ) -> Result<(), RunError> {
        self.record(Event::Lookup { table, entry: rule.as_ref().map(|rule| Arc::clone(&rule.entry)) });
        if self.counts {
            self.switch.tables.count_lookup(table, rule.is_some());
        }
        let Some(rule) = rule else { return Ok(()) };
        self.count_rule(&rule);
        let entry = Arc::clone(&rule.entry);
        let came_from = std::mem::replace(&mut self.table, table);
        let came_by = self.rule.replace(rule);
        self.lookups += 1;
        self.depth += usize::from(deepens);
        self.ops(&ops(&entry.instructions))?;
        self.depth -= usize::from(deepens);
        self.rule = came_by;
        self.table = came_from;
        Ok(())
    }

    fn count_rule(&mut self, rule: &Rule) {
        let (now, bytes) = (self.switch.now, self.bytes);
        if !self.counts {
            return;
        }
        // An entry that the packet itself has replaced counts for the new one.
        if let Some(state) = self.switch.tables.current_state_mut(rule) {
            state.used = now;
            state.counters.packets += 1;
            state.counters.bytes += bytes;
        }
    }

    pub(super) fn ops(&mut self, list: &[Op<'_>]) -> Result<List, RunError> {
        for (place, op) in list.iter().enumerate() {
            if self.exited {
                break;
            }
            let reads = !matches!(*op, Op::Apply(action) if !Self::needs_reading(action));
            if self.unread && reads && !self.go_round() {
                break;
            }
            match *op {
                Op::Apply(action) => {
                    self.record(Event::Action(action.clone()));
                    if let Action::CheckPktLarger { length, dst } = action {
                        self.check_length(*length, *dst, &list[place + 1..])?;
                        return Ok(List::Continues);
                    }
                    if self.action(action)? == List::Ends {
                        return Ok(List::Ends);
                    }
                }
                Op::Meter(id) => self.meter(MeterId(id)),
                Op::Clear => {
                    self.action_set.clear();
                    self.packet.key.put(Field::ActsetOutput, PORT_UNSET);
                }
                Op::Write(actions) => self.write_actions(actions),
                Op::Metadata(value, mask) => {
                    let old = self.packet.key.value(Field::Metadata) as u64;
                    self.packet.key.put(Field::Metadata, old & !mask | value & mask);
                    self.record(Event::WriteMetadata(value, mask));
                }
                Op::Goto(table) => self.lookup(table, self.packet.in_port(), false)?,
            }
        }
        Ok(List::Continues)
    }

    pub(super) fn actions(&mut self, list: &[Action]) -> Result<List, RunError> {
        self.ops(&list.iter().map(Op::Apply).collect::<Vec<_>>())
    }

    fn write_actions(&mut self, actions: &[Action]) {
        self.action_set.extend(actions.iter().cloned());
        let output = self.action_set.iter().rev().find_map(|action| match action {
            Action::Output(port) | Action::OutputWith { port, .. } => Some(*port),
            Action::Controller { .. } => Some(OfPort::CONTROLLER),
            _ => None,
        });
        let grouped = self.action_set.iter().any(|action| matches!(action, Action::Group(_)));
        self.packet.key.put(Field::ActsetOutput, output.filter(|_| !grouped).unwrap_or(PORT_UNSET));
    }

    pub(super) fn run_action_set(&mut self) -> Result<(), RunError> {
        let list = in_set_order(&std::mem::take(&mut self.action_set));
        if list.is_empty() || self.exited {
            return Ok(());
        }
        self.record(Event::ActionSet);
        self.actions(&list).map(|_| ())
    }

    /// A packet above a meter's rate goes on through the tables, as in Open vSwitch, but nothing of it leaves.
    fn meter(&mut self, id: MeterId) {
        if self.dropped.is_some() {
            return;
        }
        let now = self.switch.now;
        self.packet.commit();
        let bytes = self.packet.frame().len();
        let meters = Arc::make_mut(&mut self.switch.meters);
        let Some(meter) = meters.get_mut(&id) else {
            return self.note(format!("meter {id} does not exist"));
        };
        self.dropped = (!meter.pass(bytes, now)).then_some("a meter dropped it");
        self.note(match self.dropped {
            None => format!("meter {id} lets it pass"),
            Some(_) => format!("meter {id} drops it: above its rate"),
        });
    }

    pub(super) fn resubmit(&mut self, in_port: OfPort, table: TableId) -> Result<(), RunError> {
        let table = if table == TableId::ALL { self.table } else { table };
        self.shown_depth += 1;
        self.lookup(table, in_port, table <= self.table)?;
        self.shown_depth -= 1;
        Ok(())
    }

    pub(super) fn punt(&mut self, action: &ControllerAction) {
        let in_port = self.packet.in_port();
        if self.switch.ports.get(&in_port).is_some_and(|port| port.has(NO_PACKET_IN)) {
            return self.note(format!("port {in_port} lets no packet to the controller"));
        }
        if let Some(why) = self.dropped {
            return self.note(why);
        }
        self.packet.commit();
        let reason = PacketInReason::from_number(action.reason);
        let entry = self.rule.as_ref().map(|rule| &rule.entry);
        let is_miss = entry.is_some_and(|entry| entry.priority == 0 && entry.matching.is_empty());
        self.to_controller.push(ToController {
            reason: if is_miss && reason == PacketInReason::Action {
                PacketInReason::NoMatch
            } else {
                reason
            },
            max_len: action.max_len,
            table: self.table,
            cookie: entry.map_or(Cookie(u64::MAX), |entry| entry.cookie),
            metadata: metadata(&self.packet),
            controller: action.id,
            userdata: action.userdata.clone(),
            frame: self.packet.frame().to_vec(),
        });
    }

    pub(super) fn output(&mut self, port: OfPort, limit: Option<u32>) -> Result<(), RunError> {
        let in_port = self.packet.in_port();
        match port {
            OfPort::IN_PORT => self.emit(in_port, limit),
            OfPort::CONTROLLER => self.punt(&ControllerAction::default()),
            OfPort::ALL | OfPort::FLOOD if !self.switch.ports.is_empty() => {
                let kept = if port == OfPort::FLOOD { NO_FLOOD | NO_FWD } else { NO_FWD };
                let others = self.switch.ports.iter().filter(|(id, port)| **id != in_port && !port.has(kept));
                for port in others.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.emit(port, limit);
                }
            }
            OfPort::TABLE => self.resubmit(in_port, TableId(0))?,
            OfPort::ALL | OfPort::FLOOD => {
                return Err(self.unsupported(format!("{port} without knowing the ports")));
            }
            OfPort::NORMAL => self.normal()?,
            OfPort::ANY => {}
            _ if port == in_port => self.note("not back out of the ingress port"),
            _ => self.emit(port, limit),
        }
        Ok(())
    }

    /// Sends the frame out as it is now.
    pub(super) fn emit(&mut self, port: OfPort, limit: Option<u32>) {
        let current = self.packet.tunnel();
        let tunnel = match self.switch.ports.get(&port) {
            None if self.switch.ports.is_empty() => current.filter(|_| current != self.received),
            None => return self.note(format!("port {port} does not exist")),
            Some(known) if known.has(NO_FWD) => return self.note(format!("port {port} lets nothing out")),
            Some(known) if !known.is_alive() => return self.note(format!("port {port} is down")),
            Some(known) => match &known.tunnel {
                None => None,
                Some(options) => {
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
            },
        };
        if let Some(why) = self.dropped {
            return self.note(why);
        }
        // What is cut off is counted before tags come on or off.
        let cut = limit.map_or(0, |limit| self.packet.frame().len().saturating_sub(limit as usize));
        self.packet.commit();
        self.record(Event::Output(port, tunnel));
        let mut frame = self.packet.frame().to_vec();
        frame.truncate(frame.len().saturating_sub(cut));
        self.outputs.push(Output { port, tunnel, frame });
    }

    pub(super) fn group(&mut self, id: GroupId) -> Result<List, RunError> {
        self.check_limits()?;
        let groups = Arc::clone(&self.switch.groups);
        let Some(group) = groups.get(&id) else {
            self.note(format!("group {id} does not exist: the rest of these actions is skipped"));
            return Ok(List::Ends);
        };
        let chosen = match group.kind {
            GroupType::All | GroupType::Indirect => 0..group.buckets.len(),
            GroupType::Select => {
                // The hash is the datapath's, which looks into the packet as it is by then.
                if (group.hashes_in_datapath() || self.unread) && !self.go_round() {
                    return Ok(List::Ends);
                }
                one(group.select(&self.packet.key, &groups, &self.switch.ports))
            }
            GroupType::FastFailover => one(group.first_alive(&groups, &self.switch.ports)),
        };
        if chosen.is_empty() {
            self.note("no bucket is alive");
        } else if self.counts {
            self.count_group(id, chosen.clone());
        }
        for place in chosen {
            self.record(Event::Bucket(id, place));
            let (before, unread) = (self.packet.key.clone(), self.unread);
            self.depth += 1;
            self.shown_depth += 1;
            let place_before = (self.table, self.rule.clone(), self.depth, self.shown_depth);
            match self.actions(&in_set_order(&group.buckets[place].actions)) {
                // Too many labels end the bucket, and nothing else; as in Open vSwitch.
                Err(error @ RunError::TooManyLabels(_)) => self.note(error.to_string()),
                done => {
                    done?;
                }
            }
            (self.table, self.rule, self.depth, self.shown_depth) = place_before;
            self.shown_depth -= 1;
            self.depth -= 1;
            self.exited = false;
            // Each bucket has a copy of the packet.
            self.packet.key = before;
            self.unread = unread;
        }
        Ok(List::Continues)
    }

    fn count_group(&mut self, id: GroupId, buckets: std::ops::Range<usize>) {
        let bytes = self.bytes;
        let Some(group) = Arc::make_mut(&mut self.switch.groups).get_mut(&id) else { return };
        let taken = group.bucket_counters.get_mut(buckets).unwrap_or_default();
        for counters in taken.iter_mut().chain([&mut group.counters]) {
            counters.packets += 1;
            counters.bytes += bytes;
        }
    }
}

fn one(place: Option<usize>) -> std::ops::Range<usize> {
    place.map_or(0..0, |place| place..place + 1)
}

/// What a packet-in says of a packet besides its bytes: ingress port, tunnel, metadata, registers and conntrack.
fn metadata(packet: &Packet) -> Match {
    let mut matching = Match::new().with(Field::InPort, packet.in_port());
    let registers = Field::Reg0 as usize..=Field::Reg15 as usize;
    for field in Field::all() {
        let told = matches!(
            field,
            Field::TunnelId
                | Field::TunSrc
                | Field::TunDst
                | Field::TunIpv6Src
                | Field::TunIpv6Dst
                | Field::Metadata
                | Field::PktMark
                | Field::CtState
                | Field::CtZone
                | Field::CtMark
                | Field::CtLabel
        ) || registers.contains(&(field as usize));
        if told && packet.key.value(field) != 0 {
            matching = matching.with(field, packet.key.value(field));
        }
    }
    matching
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

/// A port as the actions with 16 bits for it name it.
pub(super) fn resubmit_port(port: u16, packet: &Packet) -> OfPort {
    match port_from_16(port) {
        OfPort::IN_PORT => packet.in_port(),
        port => port,
    }
}

/// The actions of a set in the order in which they are done, OpenFlow 1.3.5 §5.10 and Open vSwitch's
/// ovs-actions(7): the last of each kind, all the writes in their order, and one that ends the set. A set with
/// no such end does nothing.
fn in_set_order(set: &[Action]) -> Vec<Action> {
    use Action::*;
    let last = |is: fn(&Action) -> bool| set.iter().rev().find(|action| is(action)).cloned();
    let end = last(|action| matches!(action, Group(_)))
        .or_else(|| last(|action| matches!(action, Output(_) | OutputWith { .. } | Controller { .. })))
        .or_else(|| {
            last(|action| matches!(action, ResubmitTable { .. } | ResubmitPort { .. } | ResubmitCt { .. }))
        })
        .or_else(|| last(|action| matches!(action, CtClear)))
        .or_else(|| last(|action| matches!(action, Ct(_))));
    // What is not known must not go unnoticed.
    let mut list: Vec<Action> = set.iter().filter(|action| matches!(action, Unknown(_))).cloned().collect();
    let Some(end) = end else { return list };
    let once: [fn(&Action) -> bool; 9] = [
        |action| matches!(action, PopVlan),
        |action| matches!(action, PopMpls(_)),
        |action| matches!(action, Decap(_)),
        |action| matches!(action, Encap(_)),
        |action| matches!(action, PushMpls(_)),
        |action| matches!(action, PushVlan(_)),
        |action| matches!(action, DecTtl | DecTtlIds(_)),
        |action| matches!(action, DecMplsTtl),
        |action| matches!(action, DecNshTtl),
    ];
    list.extend(once.into_iter().filter_map(last));
    let writes = set.iter().filter(|action| {
        matches!(
            action,
            SetField(..)
                | SetMasked(_)
                | RegLoad { .. }
                | RegMove { .. }
                | SetQueue(_)
                | SetNwTtl(_)
                | SetMplsTtl(_)
        )
    });
    list.extend(writes.cloned());
    list.push(end);
    list
}
