//! The filters `encode` and `decode`: an item a line in, a line out, also for what is refused.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::Path;

use ofctl::sim;
use ofctl::wire::versions::Version;
use ofctl::wire::{DecodeError, FlowMod, FlowModCommand, Message, MessageHeader, Prerequisite, Xid};

use super::capture::{self, Capture, Streams};
use super::error::CliError;
use super::output::{Kind, Output};
use super::{Outcome, flows, groups, json, packet, print, versions};

/// Why a line was refused: where in it if that is known, what, and the error by which switches know it.
struct Refusal {
    column: Option<usize>,
    problem: String,
    code: Option<&'static str>,
}

impl Refusal {
    fn plain(problem: impl ToString) -> Self {
        Refusal { column: None, problem: problem.to_string(), code: None }
    }
}

fn open(input: &Path) -> Result<Box<dyn BufRead>, CliError> {
    if input == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let file = std::fs::File::open(input);
    let file = file.map_err(|source| CliError::Read { path: input.to_owned(), source })?;
    Ok(Box::new(BufReader::new(file)))
}

fn each_line(
    input: &Path,
    output: &mut Output,
    convert: impl Fn(&str) -> Result<String, Refusal>,
) -> Result<Outcome, CliError> {
    let failed = |source| CliError::Read { path: input.to_owned(), source };
    let reader = open(input)?;
    let (mut lines, mut refused) = (0, 0);
    for (place, line) in reader.split(b'\n').enumerate() {
        let line = line.map_err(failed)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        lines += 1;
        match convert(text) {
            Ok(converted) => output.line(converted)?,
            Err(Refusal { column, problem, code }) => {
                refused += 1;
                let column = column.map(|column| format!(" column {column}")).unwrap_or_default();
                // The library names the error of a part itself.
                let code = code.filter(|code| !problem.contains(code));
                let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
                output.coloured(
                    Kind::Error,
                    format_args!("error: line {}{column}: {problem}{code}", place + 1),
                )?;
            }
        }
    }
    if refused > 0 { Err(CliError::LinesRefused(refused, lines)) } else { Ok(Outcome::Done) }
}

/// Flow text, or a line of a bundle's file.
fn parse_text(text: &str) -> Result<Message, super::error::SyntaxError> {
    let start = text.len() - text.trim_start().len();
    let word = text[start..].split_whitespace().next().unwrap_or_default();
    let rest = || &text[start + word.len()..];
    let shift = |error: super::error::SyntaxError| error.shifted(start + word.len());
    match word {
        "flow" => flows::bundle_line(text),
        "group" => groups::Verb::Add.read(rest()).map(Message::GroupMod).map_err(shift),
        "packet-out" => packet::parse(rest()).map(Message::PacketOut).map_err(shift),
        _ => super::syntax::flow_mod(text, ofctl::wire::FlowModCommand::Add).map(Message::FlowMod),
    }
}

/// Refuses what can be written and makes no sense together, as ovs-ofctl does: an action without the match that it
/// needs, a goto that leads back. What else the simulator does not take, a switch may take.
fn makes_sense(flow: &FlowMod) -> Result<(), Refusal> {
    if matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict) {
        return Ok(());
    }
    let Err(sim::Refused { reason, .. }) = sim::Switch::new().with_flows([flow.entry()]) else {
        return Ok(());
    };
    match reason {
        // Open vSwitch takes such matches; they never come true.
        sim::Refusal::MatchPrerequisite { needs: Prerequisite::Ct, .. } => Ok(()),
        sim::Refusal::MatchPrerequisite { .. }
        | sim::Refusal::ActionPrerequisite { .. }
        | sim::Refusal::ReadOnly { .. }
        | sim::Refusal::TagType(_)
        | sim::Refusal::GotoBackwards(_)
        | sim::Refusal::NotInActionSet(_) => {
            Err(Refusal { column: None, problem: reason.to_string(), code: Some(reason.name()) })
        }
        _ => Ok(()),
    }
}

pub(crate) fn encode(
    version: Version,
    input: &Path,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    each_line(input, output, |text| {
        let (said, xid, message) = if as_json {
            json::versions::parse(text).map_err(Refusal::plain)?
        } else {
            let message = versions::parse(text, parse_text).map_err(|error| Refusal {
                column: Some(error.column),
                problem: error.problem,
                code: None,
            })?;
            if let ofctl::wire::versions::Message::FlowMod(change) = &message {
                makes_sense(&change.flow)?;
            }
            (None, Xid(0), message)
        };
        // What was decoded goes back in its own version, unless another is asked for.
        let version = said.filter(|_| version == Version::OpenFlow13).unwrap_or(version);
        let mut bytes = Vec::new();
        let warnings = message.encode(version, xid, &mut bytes).map_err(Refusal::plain)?;
        for warning in warnings {
            // Standard output holds a line for each line and no other.
            let _ = writeln!(std::io::stderr(), "warning: {warning}: {text}");
        }
        Ok(print::hex(&bytes))
    })
}

fn refused(error: DecodeError) -> Refusal {
    Refusal { column: None, problem: error.to_string(), code: Some(error.name()) }
}

/// A message of any version as JSON.
fn object(bytes: &[u8]) -> Result<serde_json::Value, DecodeError> {
    if versions::other_version(bytes).is_some() {
        let (version, xid, message) = ofctl::wire::versions::Message::decode(bytes)?;
        return Ok(json::versions::message(version, xid, &message));
    }
    let (xid, message) = Message::decode(bytes)?;
    Ok(json::message(xid, &message))
}

/// A message of any version as JSON, or as text of one line or of several.
fn shown(bytes: &[u8], as_json: bool, in_one_line: bool) -> Result<String, DecodeError> {
    if as_json {
        return object(bytes).map(|object| object.to_string());
    }
    if versions::other_version(bytes).is_some() {
        return versions::decode(bytes);
    }
    let (xid, message) = Message::decode(bytes)?;
    Ok(if in_one_line { print::one(xid, &message) } else { print::lines(xid, &message) })
}

pub(crate) fn decode(input: &Path, as_json: bool, output: &mut Output) -> Result<Outcome, CliError> {
    each_line(input, output, |text| {
        let bytes = json::unhex(text).ok_or_else(|| Refusal {
            column: text.find(|c: char| !c.is_ascii_hexdigit() && !c.is_whitespace()).map(|place| place + 1),
            problem: "not a message in hexadecimal: pairs of digits".to_owned(),
            code: None,
        })?;
        shown(&bytes, as_json, true).map_err(refused)
    })
}

fn whole(input: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = open(input)?.read_to_end(&mut bytes);
    read.map_err(|source| CliError::Read { path: input.to_owned(), source })?;
    Ok(bytes)
}

/// Prints a stream of messages, as `ovs-ofctl ofp-parse` does.
pub(crate) fn stream(input: &Path, as_json: bool, output: &mut Output) -> Result<Outcome, CliError> {
    let bytes = whole(input)?;
    let (mut rest, mut messages, mut wrong) = (bytes.as_slice(), 0, 0);
    while !rest.is_empty() {
        messages += 1;
        let header = MessageHeader::peek(rest);
        let Some((message, after)) =
            header.ok().flatten().and_then(|header| rest.split_at_checked(header.length.into()))
        else {
            let at = bytes.len() - rest.len();
            let line = format_args!("error: byte {at}: the stream ends within a message, or is none");
            output.coloured(Kind::Error, line)?;
            wrong += 1;
            break;
        };
        match shown(message, as_json, false) {
            Ok(text) => output.line(text.trim_end())?,
            Err(error) => {
                wrong += 1;
                let at = bytes.len() - rest.len();
                output.coloured(Kind::Error, format_args!("error: byte {at}: {error} ({})", error.name()))?;
            }
        }
        rest = after;
    }
    if wrong > 0 { Err(CliError::LinesRefused(wrong, messages)) } else { Ok(Outcome::Done) }
}

/// Prints the messages in the TCP connections of a capture, as `ovs-ofctl ofp-parse-pcap` does.
pub(crate) fn captured(
    input: &Path,
    ports: &[u16],
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let ports = if ports.is_empty() { &capture::PORTS } else { ports };
    let bytes = whole(input)?;
    let failed = |source| CliError::Capture { path: input.to_owned(), source };
    let mut capture = Capture::new(&bytes).map_err(failed)?;
    let (mut streams, mut between, mut wrong) = (Streams::default(), "", false);
    while let Some(segment) = capture.segment() {
        let segment = segment.map_err(failed)?;
        let direction = segment.direction;
        if ![direction.src.1, direction.dst.1].iter().any(|port| ports.contains(port)) {
            continue;
        }
        for message in streams.take(segment) {
            let text = if as_json {
                object(&message).map(|mut object| {
                    object["from"] = format!("{}.{}", direction.src.0, direction.src.1).into();
                    object["to"] = format!("{}.{}", direction.dst.0, direction.dst.1).into();
                    object.to_string()
                })
            } else {
                let text = shown(&message, false, false);
                text.map(|text| format!("{between}{direction}:\n{}", text.trim_end()))
            };
            between = "\n";
            match text {
                Ok(text) => output.line(text)?,
                Err(error) => {
                    wrong = true;
                    let line = format_args!("error: {direction}: {error} ({})", error.name());
                    output.coloured(Kind::Error, line)?;
                }
            }
        }
    }
    for (direction, why) in streams.unread() {
        wrong = true;
        output.coloured(Kind::Error, format_args!("error: {direction}: {why}"))?;
    }
    if wrong { Err(CliError::CaptureUnread) } else { Ok(Outcome::Done) }
}
