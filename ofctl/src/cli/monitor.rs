//! `monitor`.

use ofctl::client::openflow::{CloseReason, Notification};
use ofctl::wire::{ErrorMessage, Message, Xid};

use super::args::Connect;
use super::error::CliError;
use super::output::Output;
use super::switch::Switch;
use super::{Outcome, json, print};

/// Prints until the switch ends the connection, which is a failure, or the process is stopped.
pub(crate) async fn run(
    connect: &Connect,
    name: &str,
    miss_len: Option<u16>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let mut switch = Switch::connect(connect, name).await?;
    if let Some(miss_len) = miss_len {
        // Fragments stay as they are; packets come once their length is not zero.
        let config = switch.connection.config().await.map_err(|error| switch.failed(error))?;
        let set = switch.connection.set_config(config.fragments, miss_len).await;
        set.map_err(|error| switch.failed(error))?;
    }
    loop {
        let message = match switch.events.next().await {
            Some(Notification::PacketIn(packet)) => Message::PacketIn(*packet),
            Some(Notification::PortStatus(status)) => Message::PortStatus(*status),
            Some(Notification::FlowRemoved(removed)) => Message::FlowRemoved(*removed),
            Some(Notification::Error(error)) => Message::Error(ErrorMessage { error, data: Vec::new() }),
            Some(Notification::Closed(reason)) => return Err(closed(name, &reason)),
            None => return Err(closed(name, &CloseReason::Peer)),
        };
        if as_json {
            output.line(json::message(Xid(0), &message))?;
        } else {
            output.line(print::lines(Xid(0), &message))?;
        }
        output.flush()?;
    }
}

fn closed(name: &str, reason: &CloseReason) -> CliError {
    CliError::Closed { target: name.to_owned(), reason: format!("the connection has ended: {reason}") }
}
