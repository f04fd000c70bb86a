//! `packet-out`.

use ofctl::client::openflow::Notification;
use ofctl::wire::{Instructions, Message, OfPort, PacketOut};

use super::args::{Connect, Dry};
use super::error::{CliError, Place, SyntaxError};
use super::output::Output;
use super::switch::{Names, Switch, TextReader, print_messages};
use super::{Outcome, json};

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

pub(crate) async fn out(
    connect: &Connect,
    name: &str,
    text: &str,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let place = Place::Argument("the packet-out");
    if dry.dry_run {
        let packet = TextReader::new(Names::IfThere(connect, name)).read(text, &place, parse).await?;
        print_messages(vec![Message::PacketOut(packet)], false, dry, output)?;
        return Ok(Outcome::Done);
    }
    let mut switch = Switch::connect(connect, name).await?;
    let packet = TextReader::new(Names::Of(&switch)).read(text, &place, parse).await?;
    let connection = switch.connection.clone();
    connection.packet_out(packet).await.map_err(|error| switch.failed(error))?;
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
