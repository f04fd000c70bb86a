//! `trace`: a packet through the simulator.

use ofctl::client::openflow::ClientError;
use ofctl::session::Failure;
use ofctl::sim::{self, Packet, Verdict};
use ofctl::wire::{
    Field, FragmentMode, GroupDescription, Match, Message, MeterConfig, MeterId, MultipartBody,
    MultipartReply, MultipartRequest, OfPort,
};
use serde_json::json;

use super::args::Connect;
use super::error::{CliError, Place, SyntaxError};
use super::output::{Kind, Output};
use super::switch::{Names, Switch, TextReader, is_file};
use super::{Outcome, flows, json, print};

/// A simulated switch with what a file or a live switch holds.
async fn simulated(connect: &Connect, source: &str) -> Result<(sim::Switch, Option<Switch>), CliError> {
    let observed = flows::observed(connect, source).await?;
    let entries = observed.into_iter().map(|stats| stats.entry);
    let switch = sim::Switch::new().with_flows(entries)?;
    if is_file(source) {
        return Ok((switch, None));
    }
    let live = Switch::connect(connect, source).await?;
    let ports = live.connection.port_desc().await.map_err(|error| live.failed(error))?;
    let config = live.connection.config().await.map_err(|error| live.failed(error))?;
    let fragments = match config.fragments {
        FragmentMode::Normal | FragmentMode::Reassemble => sim::FragmentMode::Normal,
        FragmentMode::Drop => sim::FragmentMode::Drop,
        FragmentMode::NxMatch => sim::FragmentMode::NxMatch,
    };
    let mut switch = switch.with_ports(ports.into_iter().map(|port| port.port)).with_fragments(fragments);
    for GroupDescription { group, kind, buckets } in groups(&live).await? {
        switch = switch.with_group(group, kind, buckets)?;
    }
    for MeterConfig { meter, flags, bands } in meters(&live).await? {
        switch = switch.with_meter(meter, flags, bands)?;
    }
    Ok((switch, Some(live)))
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
    source: &str,
    flow: &str,
    hex: Option<&str>,
    as_json: bool,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let bytes = match hex {
        Some(hex) => Some(json::unhex(hex).ok_or_else(|| {
            CliError::Usage(format!("the packet '{hex}' is not hexadecimal: pairs of digits"))
        })?),
        None => None,
    };
    if source == "-" {
        return Err(CliError::Usage(
            "trace reads flows from a file or a switch, not from standard input".to_owned(),
        ));
    }
    let (switch, live) = simulated(connect, source).await?;
    let place = Place::Argument("the packet");
    let packet = TextReader::new(live.as_ref().map_or(Names::Unknown, Names::Of))
        .read(flow, &place, |text| packet(text, bytes.as_deref()))
        .await?;
    let verdict = switch.run_packet(packet);
    if as_json {
        output.line(verdict_json(&verdict))?;
    } else {
        let text = verdict.to_string();
        let (way, verdict) = text.rsplit_once('\n').unwrap_or(("", &text));
        output.line(way)?;
        output.coloured(Kind::Verdict, verdict)?;
    }
    Ok(Outcome::Done)
}

fn verdict_json(verdict: &Verdict) -> serde_json::Value {
    json!({
        "outputs": verdict.outputs.iter().map(|output| json!({
            "port": output.port.reserved_name().map_or(json!(output.port.0), |name| json!(name)),
            "tunnel": output.tunnel.map(|tunnel| json!({
                "id": tunnel.id, "src": tunnel.src.to_string(), "dst": tunnel.dst.to_string(),
            })),
            "frame": print::hex(&output.frame),
        })).collect::<Vec<_>>(),
        "to_controller": verdict.to_controller.iter().map(|packet| json!({
            "table": packet.table.0, "cookie": packet.cookie.to_string(), "reason": packet.reason.number(),
            "controller": packet.controller, "max_len": packet.max_len, "frame": print::hex(&packet.frame),
        })).collect::<Vec<_>>(),
        "error": verdict.error.as_ref().map(ToString::to_string),
        "steps": verdict.trace.iter().map(|step| step.to_string()).collect::<Vec<_>>(),
    })
}
