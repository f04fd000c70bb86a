//! A learning switch by packet-in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::MacAddr;
use crate::flow::FlowEntry;
use crate::kit::{Application, DatapathId, Effects, Event, Timer, table_miss};
use crate::wire::{
    Action, Field, FlowMod, FlowModCommand, Match, NO_BUFFER, OfPort, PacketIn, PortDescription, PortReason,
    PortStatus, TableId,
};

/// Learns where each address lives from the packets that it is shown, and sends the others there by flows.
///
/// A flow matches ingress port, source and destination, so that an address that moves to another port is noticed:
/// its packets then match no flow. An address of which nothing was heard for five minutes is forgotten.
#[derive(Debug, Clone)]
pub struct LearningSwitch {
    places: HashMap<(DatapathId, MacAddr), Place>,
    idle_timeout: u16,
}

/// Where an address was last heard.
#[derive(Debug, Clone, Copy)]
struct Place {
    port: OfPort,
    heard: Duration,
}

/// The default of IEEE 802.1D §7.9.2.
const AGEING: Duration = Duration::from_secs(300);
/// More than this are not learned, so that whoever invents addresses fills no memory.
const ADDRESSES: usize = 1 << 20;

/// When old addresses are forgotten.
const SWEEP: Timer = Timer::new("learning switch: sweep");
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

impl Default for LearningSwitch {
    fn default() -> Self {
        LearningSwitch { places: HashMap::new(), idle_timeout: 60 }
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
        self.places.get(&(switch, address)).map(|place| place.port)
    }

    /// Remembers where an address was heard; true if it was heard elsewhere before.
    fn learn(&mut self, switch: DatapathId, address: MacAddr, place: Place) -> bool {
        let has_room = self.places.len() < ADDRESSES;
        match self.places.entry((switch, address)) {
            Entry::Occupied(mut known) => known.insert(place).port != place.port,
            Entry::Vacant(new) => {
                if has_room && !address.is_multicast() {
                    new.insert(place);
                }
                false
            }
        }
    }

    fn packet(&mut self, now: Duration, switch: DatapathId, packet: &PacketIn) -> Effects {
        let Some(ethernet) = packet.ethernet() else { return Effects::none() };
        let in_port = packet.in_port();
        let mut effects = Effects::none();
        if self.learn(switch, ethernet.src, Place { port: in_port, heard: now }) {
            // What others send to it must not go to its old port until their flows idle out.
            let to_it = Match::new().with(Field::EthDst, ethernet.src);
            let delete = FlowMod::new(FlowModCommand::Delete, TableId(0));
            effects.push(switch, FlowMod { matching: to_it, ..delete });
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
        self.places.retain(|(known, _), place| (*known, place.port) != (switch, port.port));
        let delete = FlowMod::new(FlowModCommand::Delete, TableId(0));
        Effects::send(switch, FlowMod { out_port: port.port, ..delete })
    }
}

impl Application for LearningSwitch {
    type Notice = ();

    fn handle(&mut self, now: Duration, event: &Event) -> Effects {
        match event {
            Event::Start => Effects::after(SWEEP_INTERVAL, SWEEP),
            Event::Timer(SWEEP) => {
                self.places.retain(|_, place| now.saturating_sub(place.heard) < AGEING);
                Effects::after(SWEEP_INTERVAL, SWEEP)
            }
            Event::SwitchUp(switch, _) => {
                // Flows of an earlier life may know better than we do where an address was.
                let forget = FlowMod::new(FlowModCommand::Delete, TableId::ALL);
                Effects::send_all(*switch, [forget, table_miss()])
            }
            Event::PacketIn(switch, packet) => self.packet(now, *switch, packet),
            Event::PortStatus(switch, status) => self.port(*switch, status),
            Event::SwitchGone(switch) => {
                self.places.retain(|(known, _), _| known != switch);
                Effects::none()
            }
            _ => Effects::none(),
        }
    }
}
