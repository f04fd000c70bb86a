//! `controller`: an application of the library over switches that are dialled or that connect by themselves.

use std::time::Duration;

use ofctl::client::Listen;
use ofctl::client::controller::{Controller, Options};
use ofctl::kit::apps::{Everyone, Hub, LearningSwitch, RoutingSwitch, SelfLearningSwitch};
use ofctl::kit::{Application, DatapathId, Effects, Event};
use ofctl::wire::{Message, Xid};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::args::{App, Connect};
use super::error::CliError;
use super::output::Output;
use super::switch::{target, tls};
use super::{Outcome, json, print};

/// Does nothing: what switches say is told all the same.
struct Silence;

impl Application for Silence {
    type Notice = ();

    fn handle(&mut self, _: Duration, _: &Event) -> Effects {
        Effects::none()
    }
}

/// Something that is told of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Up(DatapathId, usize),
    Gone(DatapathId),
    Message(DatapathId, Box<Message>),
}

impl Told {
    /// What to tell of an event; of packets and answers only if all is to be told.
    fn of(event: &Event, all: bool) -> Option<Told> {
        let message = |switch: &DatapathId, message| Some(Told::Message(*switch, Box::new(message)));
        match event {
            Event::SwitchUp(switch, connected) => Some(Told::Up(*switch, connected.ports.len())),
            Event::SwitchGone(switch) => Some(Told::Gone(*switch)),
            Event::PortStatus(switch, status) => message(switch, Message::PortStatus(status.clone())),
            Event::Error(switch, error) => message(switch, Message::Error(error.clone())),
            Event::PacketIn(switch, packet) if all => message(switch, Message::PacketIn(packet.clone())),
            Event::FlowRemoved(switch, removed) if all => {
                message(switch, Message::FlowRemoved(removed.clone()))
            }
            Event::Message(switch, other) if all => message(switch, (**other).clone()),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Told::Up(switch, ports) => format!("{switch} connected, {ports} ports"),
            Told::Gone(switch) => format!("{switch} gone"),
            Told::Message(switch, message) => format!("{switch} {}", print::one_line(message)),
        }
    }

    fn json(&self) -> Value {
        match self {
            Told::Up(switch, ports) => json!({"switch": switch.to_string(), "event": "up", "ports": ports}),
            Told::Gone(switch) => json!({"switch": switch.to_string(), "event": "gone"}),
            Told::Message(switch, message) => {
                let mut out = json::message(Xid(0), message);
                out["switch"] = json!(switch.to_string());
                out
            }
        }
    }
}

/// An application, and what is told of the events that it gets. What it notices itself is its own affair.
struct Telling<A> {
    application: A,
    all: bool,
}

impl<A: Application> Application for Telling<A> {
    type Notice = Told;

    fn handle(&mut self, now: Duration, event: &Event) -> Effects<Told> {
        let Effects { messages, timers, notices: _ } = self.application.handle(now, event);
        Effects { messages, timers, notices: Told::of(event, self.all).into_iter().collect() }
    }
}

/// Runs until the process is stopped.
pub(crate) async fn run(
    connect: &Connect,
    app: App,
    places: &[String],
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    match app {
        App::Hub => serve(connect, Hub, false, places, as_json, output).await,
        App::Learn => serve(connect, LearningSwitch::default(), false, places, as_json, output).await,
        App::SelfLearn => serve(connect, SelfLearningSwitch, false, places, as_json, output).await,
        App::Route => serve(connect, RoutingSwitch::new(Everyone), false, places, as_json, output).await,
        App::Monitor => serve(connect, Silence, true, places, as_json, output).await,
    }
}

async fn serve<A: Application + Send + 'static>(
    connect: &Connect,
    application: A,
    all: bool,
    places: &[String],
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Usage(error.to_string());
    let (tell, mut told) = mpsc::unbounded_channel();
    let controller = Controller::observed(Telling { application, all }, Options::default(), move |one| {
        // Nobody is told after the command has ended.
        let _ = tell.send(one);
    });
    for place in places {
        if ["punix:", "ptcp:", "pssl:"].iter().any(|method| place.starts_with(method)) {
            let tls = if place.starts_with("pssl:") { tls(connect)? } else { None };
            let place = Listen::parse(place, tls.as_ref()).map_err(|error| failed(&error))?;
            let address = controller.listen(place).await.map_err(|error| failed(&error))?;
            if let Some(address) = address {
                output.line(if as_json {
                    json!({"event": "listening", "address": address.to_string()}).to_string()
                } else {
                    format!("listening on {address}")
                })?;
            }
        } else {
            controller.connect(target(connect, place)?).await.map_err(|error| failed(&error))?;
        }
    }
    output.flush()?;
    while let Some(one) = told.recv().await {
        if as_json { output.line(one.json()) } else { output.line(one.text()) }?;
        output.flush()?;
    }
    Err(failed(&ofctl::client::controller::Ended))
}
