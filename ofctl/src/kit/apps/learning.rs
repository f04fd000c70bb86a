//! A learning switch by packet-in.

use std::collections::HashMap;
use std::time::Duration;

use crate::MacAddr;
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event, table_miss};
use crate::wire::{
    Action, Field, FlowMod, FlowModCommand, Match, NO_BUFFER, OfPort, PacketIn, PortDescription, PortReason,
    PortStatus, TableId,
};

/// Learns where each address lives from the packets that it is shown, and sends the others there by flows.
///
/// A flow matches ingress port, source and destination, so that an address that moves to another port is noticed:
/// its packets then match no flow.
#[derive(Debug, Clone)]
pub struct LearningSwitch {
    ports: HashMap<(DatapathId, MacAddr), OfPort>,
    idle_timeout: u16,
}

impl Default for LearningSwitch {
    fn default() -> Self {
        LearningSwitch { ports: HashMap::new(), idle_timeout: 60 }
    }
}

impl LearningSwitch {
    /// Sets how many seconds without a packet a flow lives; 60 if not set.
    #[must_use]
    pub fn idle_timeout(mut self, seconds: u16) -> Self {
        self.idle_timeout = seconds;
        self
    }

    /// Where an address lives, if that is known.
    pub fn port_of(&self, switch: DatapathId, address: MacAddr) -> Option<OfPort> {
        self.ports.get(&(switch, address)).copied()
    }

    fn packet(&mut self, switch: DatapathId, packet: &PacketIn) -> Effects {
        let Some(ethernet) = packet.ethernet() else { return Effects::none() };
        let in_port = packet.in_port();
        let mut effects = Effects::none();
        if !ethernet.src.is_multicast() {
            let before = self.ports.insert((switch, ethernet.src), in_port);
            if before.is_some_and(|port| port != in_port) {
                // What others send to it must not go to its old port until their flows idle out.
                let to_it = Match::new().with(Field::EthDst, ethernet.src);
                let delete = FlowMod::new(FlowModCommand::Delete, TableId(0));
                effects.push(switch, FlowMod { matching: to_it, ..delete });
            }
        }
        let Some(port) = self.port_of(switch, ethernet.dst) else {
            effects.push(switch, packet.resend([Action::Output(OfPort::FLOOD)]));
            return effects;
        };
        if port == in_port {
            // Both are on one side; whoever sent it has heard it there.
            return effects;
        }
        let conversation = Match::new()
            .with(Field::InPort, in_port)
            .with(Field::EthDst, ethernet.dst)
            .with(Field::EthSrc, ethernet.src);
        let flow = FlowEntry::new(TableId(0), 10)
            .matching(conversation)
            .apply([Action::Output(port)])
            .idle_timeout(self.idle_timeout);
        // A packet that the switch kept goes through the new flow; any other goes by itself.
        effects.push(switch, FlowMod { buffer_id: packet.buffer_id, ..FlowMod::add(flow) });
        if packet.buffer_id == NO_BUFFER {
            effects.push(switch, packet.resend([Action::Output(port)]));
        }
        effects
    }

    /// Nothing lives any more at a port that is gone or without a link.
    fn port(&mut self, switch: DatapathId, status: &PortStatus) -> Effects {
        let port = &status.port;
        if status.reason != PortReason::Delete && port.state & PortDescription::STATE_LINK_DOWN == 0 {
            return Effects::none();
        }
        self.ports.retain(|(known, _), place| (*known, *place) != (switch, port.port));
        let delete = FlowMod::new(FlowModCommand::Delete, TableId(0));
        Effects::send(switch, FlowMod { out_port: port.port, ..delete })
    }
}

impl Application for LearningSwitch {
    type Notice = ();

    fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
        match event {
            Event::SwitchUp(switch, _) => {
                // Flows of an earlier life may know better than we do where an address was.
                let forget = FlowMod::new(FlowModCommand::Delete, TableId::ALL);
                Effects::send_all(*switch, [forget, table_miss()])
            }
            Event::PacketIn(switch, packet) => self.packet(*switch, packet),
            Event::PortStatus(switch, status) => self.port(*switch, status),
            Event::SwitchGone(switch) => {
                self.ports.retain(|(known, _), _| known != switch);
                Effects::none()
            }
            _ => Effects::none(),
        }
    }
}
