//! A switch of the testbed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::MacAddr;
use crate::flow::FlowEntry;
use crate::kit::DatapathId;
use crate::sim::{PacketInReason, Switch, Verdict};
use crate::wire::{
    Action, Cookie, ErrorCode, ErrorMessage, Features, Field, FlowMod, FlowModCommand, Match, Message,
    NO_BUFFER, OfPort, PacketIn, PacketOut, PortDescription, TableId,
};

/// What came of a frame or a message.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frames: Vec<(OfPort, Vec<u8>)>,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug)]
pub(super) struct Node {
    id: DatapathId,
    ports: BTreeMap<OfPort, PortDescription>,
    flows: Vec<FlowEntry>,
    switch: Switch,
}

impl Node {
    pub(super) fn new(id: DatapathId, ports: u32) -> Self {
        let describe = |port| PortDescription {
            port: OfPort(port),
            address: MacAddr([6, id.0 as u8, 0, 0, (port >> 8) as u8, port as u8]),
            name: format!("p{port}"),
            config: 0,
            state: 0,
            current: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed: 10_000_000,
            max_speed: 10_000_000,
        };
        let ports: BTreeMap<_, _> = (1..=ports).map(|port| (OfPort(port), describe(port))).collect();
        let switch = Switch::new().with_ports(ports.keys().copied());
        Node { id, ports, flows: Vec::new(), switch }
    }

    pub(super) fn features(&self) -> Features {
        Features {
            datapath_id: self.id.0,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0x4f,
            reserved: 0,
        }
    }

    pub(super) fn ports(&self) -> Vec<PortDescription> {
        self.ports.values().cloned().collect()
    }

    pub(super) fn port(&self, port: OfPort) -> Option<&PortDescription> {
        self.ports.get(&port)
    }

    /// Gives the port's new description, if it changes.
    pub(super) fn set_link(&mut self, port: OfPort, up: bool) -> Option<PortDescription> {
        let port = self.ports.get_mut(&port)?;
        let state = if up { 0 } else { PortDescription::STATE_LINK_DOWN };
        (std::mem::replace(&mut port.state, state) != state).then(|| port.clone())
    }

    fn is_up(&self, port: OfPort) -> bool {
        self.ports.get(&port).is_some_and(|port| port.state & PortDescription::STATE_LINK_DOWN == 0)
    }

    pub(super) fn flows(&self) -> Vec<FlowEntry> {
        let mut flows = self.flows.clone();
        flows.sort_by_key(|flow| (flow.table, u16::MAX - flow.priority));
        flows
    }

    pub(super) fn receive(&mut self, port: OfPort, frame: &[u8], _now: Duration) -> Outcome {
        if !self.is_up(port) {
            return Outcome::default();
        }
        self.outcome(port, self.switch.run(port, None, frame))
    }

    pub(super) fn expire(&mut self, _now: Duration) -> Outcome {
        Outcome::default()
    }

    pub(super) fn handle(&mut self, message: Message, _now: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        match message {
            Message::FlowMod(flow) => self.change(flow),
            Message::PacketOut(packet) => return self.packet_out(packet),
            Message::BarrierRequest => outcome.messages.push(Message::BarrierReply),
            Message::FeaturesRequest => outcome.messages.push(Message::FeaturesReply(self.features())),
            Message::EchoRequest(data) => outcome.messages.push(Message::EchoReply(data)),
            _ => {
                let error = ErrorCode { experimenter: None, kind: 1, code: 1 };
                outcome.messages.push(Message::Error(ErrorMessage { error, data: Vec::new() }));
            }
        }
        outcome
    }

    fn change(&mut self, flow: FlowMod) {
        let strict = flow.key();
        match flow.command {
            FlowModCommand::Add => {
                self.flows.retain(|known| known.key() != strict);
                self.flows.push(flow.into_entry());
            }
            FlowModCommand::DeleteStrict => self.flows.retain(|known| known.key() != strict),
            FlowModCommand::Delete => self.flows.retain(|known| {
                let table = flow.table == TableId::ALL || flow.table == known.table;
                !(table && flow.matching.iter().all(|field| known.matching.get(field.field) == Some(field)))
            }),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {}
        }
        let switch = Switch::new().with_ports(self.ports.keys().copied());
        self.switch = switch.with_flows(self.flows.iter().cloned()).unwrap_or_default();
    }

    fn packet_out(&mut self, packet: PacketOut) -> Outcome {
        let flow = FlowEntry::new(TableId(0), 1).apply(packet.actions.iter().cloned());
        if packet.actions == [Action::Output(OfPort::TABLE)] {
            return self.outcome(packet.in_port, self.switch.run(packet.in_port, None, &packet.data));
        }
        let once = Switch::new().with_ports(self.ports.keys().copied()).with_flows([flow]);
        match once {
            Ok(once) => self.outcome(packet.in_port, once.run(packet.in_port, None, &packet.data)),
            Err(_) => Outcome::default(),
        }
    }

    fn outcome(&self, in_port: OfPort, verdict: Verdict) -> Outcome {
        let frames = verdict.outputs.into_iter().filter(|output| self.is_up(output.port));
        let packet_in = |packet: crate::sim::ToController| {
            Message::PacketIn(PacketIn {
                buffer_id: NO_BUFFER,
                total_len: packet.frame.len() as u16,
                reason: match packet.reason {
                    PacketInReason::Action => 1,
                    PacketInReason::InvalidTtl => 2,
                },
                table: packet.table,
                cookie: Cookie(0),
                matching: Match::new().with(Field::InPort, in_port),
                data: packet.frame,
            })
        };
        Outcome {
            frames: frames.map(|output| (output.port, output.frame)).collect(),
            messages: verdict.to_controller.into_iter().map(packet_in).collect(),
        }
    }
}
