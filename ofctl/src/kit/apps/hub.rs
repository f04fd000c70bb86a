//! A repeater hub.

use std::time::Duration;

use crate::kit::{Application, Effects, Event, table_miss};
use crate::wire::{Action, OfPort};

/// Sends every packet out of all ports but the one that it came in by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hub;

impl Application for Hub {
    type Notice = ();

    fn handle(&mut self, _now: Duration, event: &Event) -> Effects {
        match event {
            Event::SwitchUp(switch, _) => Effects::send(*switch, table_miss()),
            Event::PacketIn(switch, packet) => {
                Effects::send(*switch, packet.resend([Action::Output(OfPort::FLOOD)]))
            }
            _ => Effects::none(),
        }
    }
}
