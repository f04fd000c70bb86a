//! `packet-out`.

use ofctl::client::openflow::Notification;
use ofctl::wire::{Instructions, Message, OfPort, PacketOut};

use super::args::{Connect, Dry};
use super::error::{CliError, Place, SyntaxError};
use super::output::Output;
use super::switch::{Names, Switch, TextReader, print_messages};
use super::{Outcome, json, print, trace};

/// `in_port=PORT packet=HEX actions=ACTIONS`.
pub(crate) fn parse(text: &str) -> Result<PacketOut, SyntaxError> {
    let missing = |what: &str| SyntaxError::new(text.len(), format!("{what} is missing"));
    let actions_at = text.find("actions=").ok_or_else(|| missing("actions="))?;
    let (mut in_port, mut data) = (None, None);
    let mut start = 0;
    for (place, character) in text[..actions_at].char_indices().chain([(actions_at, ',')]) {
        if character != ',' && !character.is_whitespace() {
            continue;
        }
        let word = &text[start..place];
        let value_at = start + word.find('=').map_or(word.len(), |place| place + 1);
        let value = &text[value_at..place];
        match word.split_once('=').map(|(name, _)| name) {
            None if word.is_empty() => {}
            Some("in_port") => {
                let port = OfPort::from_reserved_name(value).or_else(|| value.parse().ok().map(OfPort));
                in_port = Some(port.ok_or_else(|| SyntaxError {
                    word: Some(value.to_owned()),
                    ..SyntaxError::new(value_at, format!("'{value}' is not a port"))
                })?);
            }
            Some("packet") => {
                let bytes = json::unhex(value)
                    .ok_or_else(|| SyntaxError::new(value_at, format!("'{value}' is not hexadecimal")))?;
                if bytes.len() < 14 {
                    return Err(SyntaxError::new(
                        value_at,
                        "a frame has an Ethernet header of 14 bytes at least",
                    ));
                }
                data = Some(bytes);
            }
            _ => {
                return Err(SyntaxError::new(
                    start,
                    format!("'{word}' is not in_port=, packet= or actions="),
                ));
            }
        }
        start = place + character.len_utf8();
    }
    let offset = actions_at + "actions=".len();
    let instructions: Instructions =
        text[offset..].parse().map_err(|error| SyntaxError::from(error).shifted(offset))?;
    if instructions != (Instructions { apply: instructions.apply.clone(), ..Instructions::default() }) {
        return Err(SyntaxError::new(
            offset,
            "a packet-out holds actions only: no meter, goto_table or the like",
        ));
    }
    Ok(PacketOut::new(
        in_port.ok_or_else(|| missing("in_port= (CONTROLLER or LOCAL for no ordinary port)"))?,
        instructions.apply,
        data.ok_or_else(|| missing("packet="))?,
    ))
}

/// The texts of a command line: one that says all, or a port, actions and packets as ovs-ofctl takes them too.
fn texts(words: &[String]) -> Result<Vec<String>, CliError> {
    match words {
        [one] => Ok(vec![one.clone()]),
        [port, actions, packets @ ..] if !packets.is_empty() => {
            let port = if port.eq_ignore_ascii_case("none") { "ANY" } else { port };
            Ok(packets
                .iter()
                .map(|packet| format!("in_port={port},packet={packet},actions={actions}"))
                .collect())
        }
        _ => Err(CliError::Usage(
            "a packet-out is \"in_port=PORT packet=HEX actions=ACTIONS\", or PORT ACTIONS PACKET..."
                .to_owned(),
        )),
    }
}

pub(crate) async fn out(
    connect: &Connect,
    name: &str,
    words: &[String],
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let place = Place::Argument("the packet-out");
    let texts = texts(words)?;
    let switch = if dry.dry_run { None } else { Some(Switch::connect(connect, name).await?) };
    let mut reader = TextReader::new(switch.as_ref().map_or(Names::IfThere(connect, name), Names::Of));
    let mut packets = Vec::with_capacity(texts.len());
    for text in &texts {
        packets.push(reader.read(text, &place, parse).await?);
    }
    let Some(mut switch) = switch else {
        print_messages(packets.into_iter().map(Message::PacketOut).collect(), false, dry, output)?;
        return Ok(Outcome::Done);
    };
    let connection = switch.connection.clone();
    for packet in packets {
        connection.packet_out(packet).await.map_err(|error| switch.failed(error))?;
    }
    // No answer comes; what was refused is told before the barrier's answer.
    connection.barrier().await.map_err(|error| switch.failed(error))?;
    loop {
        tokio::select! {
            biased;
            event = switch.events.next() => match event {
                Some(Notification::Error(error)) => {
                    return Err(CliError::PacketRefused { target: name.to_owned(), error });
                }
                Some(_) => {}
                None => return Ok(Outcome::Done),
            },
            () = std::future::ready(()) => return Ok(Outcome::Done),
        }
    }
}

/// `compose-packet`: a packet that has these fields.
pub(crate) fn compose(flow: &str, output: &mut Output) -> Result<Outcome, CliError> {
    let packet = trace::packet(flow, None).map_err(|source| CliError::Syntax {
        place: Place::Argument("the packet"),
        text: flow.to_owned(),
        source,
    })?;
    output.line(print::hex(packet.frame()))?;
    Ok(Outcome::Done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_packet_out_is_read() {
        let packet = parse("in_port=5 packet=0102030405060708090a0b0c0800 actions=output:1,IN_PORT").unwrap();
        assert_eq!((packet.in_port, packet.data.len(), packet.actions.len()), (OfPort(5), 14, 2));
        for (text, column) in [
            ("in_port=5,packet=01,actions=drop", 18),
            ("in_port=x,packet=0102030405060708090a0b0c0800,actions=drop", 9),
            ("in_port=5,packet=0102030405060708090a0b0c0800,actions=nonsense", 55),
            ("in_port=5,actions=drop", 23),
            ("table=5,actions=drop", 1),
        ] {
            assert_eq!(parse(text).unwrap_err().column, column, "{text}");
        }
    }
}
