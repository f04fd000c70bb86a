//! `trace`: a packet through the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ofctl::client::openflow::ClientError;
use ofctl::session::Failure;
use ofctl::sim::{self, Event, Packet, Step, Tunnel, Verdict};
use ofctl::text::{GroupCommand, GroupText};
use ofctl::wire::{
    Field, FieldValue, FragmentMode, GroupDescription, Match, Message, MeterConfig, MeterId, MeterMod,
    MeterModCommand, MultipartBody, MultipartReply, MultipartRequest, OfPort, PortDescription,
};
use serde_json::json;

use super::args::{Beside, Connect};
use super::error::{CliError, Place, SyntaxError};
use super::flows::Texts;
use super::output::{Kind, Output};
use super::switch::{Names, Switch, TextReader, is_file};
use super::{Outcome, flows, json, print};

/// What is to be traced.
pub(crate) struct Wanted<'a> {
    pub(crate) source: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) packet: Option<&'a str>,
    pub(crate) beside: Beside,
}

/// A simulated switch with what a file or a live switch holds, and the names of its ports.
async fn simulated(
    connect: &Connect,
    source: &str,
    beside: &Beside,
) -> Result<(sim::Switch, BTreeMap<OfPort, String>, Option<Switch>), CliError> {
    let observed = flows::observed(connect, source).await?;
    let entries = observed.into_iter().map(|stats| stats.entry);
    let switch = sim::Switch::new().with_flows(entries)?;
    if is_file(source) {
        return Ok((described(switch, beside)?, BTreeMap::new(), None));
    }
    if *beside != Beside::default() {
        let problem =
            format!("--groups, --meters and --ports describe a file's switch; {source} is asked itself");
        return Err(CliError::Usage(problem));
    }
    let live = Switch::connect(connect, source).await?;
    let ports = live.connection.port_desc().await.map_err(|error| live.failed(error))?;
    let config = live.connection.config().await.map_err(|error| live.failed(error))?;
    let fragments = match config.fragments {
        FragmentMode::Normal | FragmentMode::Reassemble => sim::FragmentMode::Normal,
        FragmentMode::Drop => sim::FragmentMode::Drop,
        FragmentMode::NxMatch => sim::FragmentMode::NxMatch,
    };
    let mut switch = switch.with_ports(ports.iter().map(|port| port.port)).with_fragments(fragments);
    let mut watched = BTreeSet::new();
    for GroupDescription { group, kind, buckets } in groups(&live).await? {
        watched.extend(buckets.iter().map(|bucket| bucket.watch_port));
        switch = switch.with_group(group, kind, buckets)?;
    }
    for MeterConfig { meter, flags, bands } in meters(&live).await? {
        switch = switch.with_meter(meter, flags, bands)?;
    }
    for port in &ports {
        let is_down = port.config & PortDescription::CONFIG_DOWN != 0
            || port.state & PortDescription::STATE_LINK_DOWN != 0;
        // Open vSwitch sends to a port that is down, whatever becomes of it; only groups look.
        if is_down && watched.contains(&port.port) {
            switch.set_link(port.port, false);
        }
    }
    let names = ports.into_iter().map(|port| (port.port, port.name)).collect();
    Ok((switch, names, Some(live)))
}

/// The switch with groups, meters and ports as the options have them.
fn described(mut switch: sim::Switch, beside: &Beside) -> Result<sim::Switch, CliError> {
    for range in &beside.ports {
        let bounds = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (bounds.0.trim().parse::<u32>(), bounds.1.trim().parse::<u32>()) else {
            return Err(CliError::Usage(format!(
                "--ports: '{range}' is neither a port nor a range, as in 1-4"
            )));
        };
        if first == 0 || first > last || last - first > 0xffff {
            return Err(CliError::Usage(format!("--ports: '{range}' is not a range of 1 to 65536 ports")));
        }
        switch = switch.with_ports((first..=last).map(OfPort));
    }
    let syntax = |place: &Place, text: &str, source: SyntaxError| CliError::Syntax {
        place: place.clone(),
        text: text.to_owned(),
        source,
    };
    for (place, text) in lines(beside.groups.as_deref())? {
        let group = GroupText::parse(&text, Some(GroupCommand::Add));
        let group = group.map_err(|error| syntax(&place, &text, error.into()))?;
        for answer in switch.change_group(&group.into()) {
            refused(&place, &text, &answer)?;
        }
    }
    for (place, text) in lines(beside.meters.as_deref())? {
        let meter = MeterMod::parse(&text, MeterModCommand::Add);
        let meter = meter.map_err(|error| syntax(&place, &text, error.into()))?;
        for answer in switch.handle(Message::MeterMod(meter)) {
            refused(&place, &text, &answer)?;
        }
    }
    Ok(switch)
}

fn lines(file: Option<&Path>) -> Result<Vec<(Place, String)>, CliError> {
    file.map_or(Ok(Vec::new()), |file| Ok(Texts::read(file)?.0))
}

/// The error that a switch answers.
fn refused(place: &Place, text: &str, answer: &Message) -> Result<(), CliError> {
    match answer {
        Message::Error(error) => {
            let problem = SyntaxError::new(0, format!("a switch would refuse this: {}", error.error));
            Err(CliError::Syntax { place: place.clone(), text: text.to_owned(), source: problem })
        }
        _ => Ok(()),
    }
}

async fn groups(live: &Switch) -> Result<Vec<GroupDescription>, CliError> {
    let request = Message::MultipartRequest(MultipartRequest::GroupDescription);
    let answer = live.connection.transact(request).await.map_err(|error| live.failed(error))?;
    Ok(match answer {
        Message::MultipartReply(MultipartReply { body: MultipartBody::GroupDescription(groups), .. }) => {
            groups
        }
        _ => Vec::new(),
    })
}

async fn meters(live: &Switch) -> Result<Vec<MeterConfig>, CliError> {
    let request = Message::MultipartRequest(MultipartRequest::MeterConfig(MeterId::ALL));
    Ok(match live.connection.transact(request).await {
        Ok(Message::MultipartReply(MultipartReply { body: MultipartBody::MeterConfig(meters), .. })) => {
            meters
        }
        // A datapath without meters refuses to be asked for them.
        Ok(_) | Err(ClientError::Failed { failure: Failure::Refused(_), .. }) => Vec::new(),
        Err(error) => return Err(live.failed(error)),
    })
}

/// The packet that the text names, or that has these bytes and the metadata that the text names.
pub(super) fn packet(text: &str, bytes: Option<&[u8]>) -> Result<Packet, SyntaxError> {
    let fields: Match = text.parse()?;
    let in_port = fields.exact(Field::InPort).unwrap_or_default().to_u64() as u32;
    let packet = match bytes {
        Some(bytes) => Packet::with_metadata(OfPort(in_port), bytes, &fields),
        None => Packet::compose(&fields),
    };
    packet.map_err(|error| SyntaxError::new(text.find(error.field.name()).unwrap_or(0), error.to_string()))
}

pub(crate) async fn run(
    connect: &Connect,
    wanted: Wanted<'_>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let bytes = match wanted.packet {
        Some(hex) => Some(json::unhex(hex).ok_or_else(|| {
            CliError::Usage(format!("the packet '{hex}' is not hexadecimal: pairs of digits"))
        })?),
        None => None,
    };
    if wanted.source == "-" {
        return Err(CliError::Usage(
            "trace reads flows from a file or a switch, not from standard input".to_owned(),
        ));
    }
    let (switch, names, live) = simulated(connect, wanted.source, &wanted.beside).await?;
    let place = Place::Argument("the packet");
    let packet = TextReader::new(live.as_ref().map_or(Names::Unknown, Names::Of))
        .read(wanted.flow, &place, |text| packet(text, bytes.as_deref()))
        .await?;
    let begun = packet.fields();
    let verdict = switch.run_packet(packet);
    if as_json {
        output.line(verdict_json(&verdict, &names))?;
    } else {
        print_verdict(&begun, &verdict, &names, output)?;
    }
    Ok(Outcome::Done)
}

/// ` (eth0)`, where the port has such a name.
fn in_brackets(port: OfPort, names: &BTreeMap<OfPort, String>) -> String {
    names.get(&port).map_or(String::new(), |name| format!(" ({name})"))
}

fn print_verdict(
    begun: &Match,
    verdict: &Verdict,
    names: &BTreeMap<OfPort, String>,
    output: &mut Output,
) -> Result<(), CliError> {
    for step in &verdict.trace {
        match &step.event {
            Event::Lookup { entry: None, .. } => output.coloured(Kind::Removed, step)?,
            Event::Lookup { .. } | Event::ActionSet | Event::Resumed(..) => {
                output.coloured(Kind::Verdict, step)?
            }
            Event::Output(port, _) => {
                output.coloured(Kind::Added, format_args!("{step}{}", in_brackets(*port, names)))?;
            }
            Event::Note(_) => output.coloured(Kind::Remark, step)?,
            Event::Received(_) | Event::Action(_) | Event::WriteMetadata(..) | Event::Bucket(..) => {
                output.line(step)?;
            }
        }
    }
    let changed = changes(begun, &verdict.packet.fields());
    if !changed.is_empty() {
        output.line(format_args!("Changed: {}", changed.join(",")))?;
    }
    let kind = if verdict.outputs.is_empty() && verdict.to_controller.is_empty() {
        Kind::Removed
    } else {
        Kind::Verdict
    };
    let conclusion = verdict.conclusion();
    let named = match verdict.outputs.iter().any(|output| names.contains_key(&output.port)) {
        // The last line is for programs and people alike: numbers first, then whose they are.
        true => {
            let each = verdict.outputs.iter().filter_map(|output| names.get(&output.port));
            format!("{conclusion} ({})", each.cloned().collect::<Vec<_>>().join(", "))
        }
        false => conclusion,
    };
    output.coloured(kind, named)
}

/// The fields that are not any more as they were, as they are now; what is gone is zero.
fn changes(before: &Match, after: &Match) -> Vec<String> {
    let one = |field: Field, value: FieldValue| Match::new().with(field, value).to_string();
    let new = after.iter().filter(|now| before.exact(now.field) != Some(now.value));
    let gone = before.iter().filter(|was| after.get(was.field).is_none());
    new.map(|now| one(now.field, now.value))
        .chain(gone.map(|was| one(was.field, FieldValue::default())))
        .collect()
}

fn verdict_json(verdict: &Verdict, names: &BTreeMap<OfPort, String>) -> serde_json::Value {
    let number = |port: OfPort| port.reserved_name().map_or(json!(port.0), |name| json!(name));
    let tunnel = |tunnel: &Option<Tunnel>| {
        tunnel.map(
            |tunnel| json!({ "id": tunnel.id, "src": tunnel.src.to_string(), "dst": tunnel.dst.to_string() }),
        )
    };
    let step = |step: &Step| {
        let mut shown = match &step.event {
            Event::Received(packet) => json!({"event": "received", "packet": packet}),
            Event::Resumed(table, packet) => {
                json!({"event": "resumed", "table": table.0, "packet": packet})
            }
            Event::Lookup { table, entry } => json!({
                "event": "lookup", "table": table.0,
                "flow": entry.as_ref().map(|entry| entry.to_string()),
                "priority": entry.as_ref().map(|entry| entry.priority),
                "cookie": entry.as_ref().map(|entry| entry.cookie.to_string()),
            }),
            Event::Action(action) => json!({"event": "action", "action": action.to_string()}),
            Event::WriteMetadata(value, mask) => {
                json!({"event": "write_metadata", "value": value, "mask": mask})
            }
            Event::ActionSet => json!({"event": "action_set"}),
            Event::Bucket(group, place) => json!({"event": "bucket", "group": group.0, "bucket": place}),
            Event::Output(port, through) => json!({
                "event": "output", "port": number(*port), "name": names.get(port), "tunnel": tunnel(through),
            }),
            Event::Note(text) => json!({"event": "note", "text": text}),
        };
        shown["depth"] = json!(step.depth);
        shown
    };
    json!({
        "verdict": verdict.conclusion(),
        "outputs": verdict.outputs.iter().map(|output| json!({
            "port": number(output.port),
            "name": names.get(&output.port),
            "tunnel": tunnel(&output.tunnel),
            "frame": print::hex(&output.frame),
        })).collect::<Vec<_>>(),
        "to_controller": verdict.to_controller.iter().map(|packet| json!({
            "table": packet.table.0, "cookie": packet.cookie.to_string(), "reason": packet.reason.number(),
            "controller": packet.controller, "max_len": packet.max_len, "frame": print::hex(&packet.frame),
        })).collect::<Vec<_>>(),
        "error": verdict.error.as_ref().map(ToString::to_string),
        "final": verdict.packet.fields().to_string(),
        "steps": verdict.trace.iter().map(step).collect::<Vec<_>>(),
    })
}
