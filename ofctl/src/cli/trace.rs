//! `trace`: a packet through the simulator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::MacAddr;
use ofctl::client::openflow::ClientError;
use ofctl::packet::Frame;
use ofctl::session::Failure;
use ofctl::sim::{self, Packet, Verdict};
use ofctl::wire::{
    Field, FieldValue, FragmentMode, GroupDescription, Match, Message, MeterConfig, MeterId, MultipartBody,
    MultipartReply, MultipartRequest, OfPort, Prerequisite,
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

fn value(matching: &Match, field: Field) -> Option<FieldValue> {
    matching.get(field).map(|condition| condition.value)
}

fn number<T: TryFrom<u64> + Default>(matching: &Match, field: Field) -> T {
    value(matching, field).and_then(|value| T::try_from(value.to_u64()).ok()).unwrap_or_default()
}

fn mac(matching: &Match, field: Field) -> MacAddr {
    value(matching, field).unwrap_or_default().to_mac()
}

/// A frame that has every header that the fields stand in.
fn frame(matching: &Match) -> Vec<u8> {
    let eth_type: u16 = number(matching, Field::EthType);
    let (src, dst) = (mac(matching, Field::EthSrc), mac(matching, Field::EthDst));
    if eth_type == 0x0806 {
        let v4 = |field| value(matching, field).map_or(Ipv4Addr::UNSPECIFIED, FieldValue::to_ipv4);
        let mut bytes = Frame::arp_request(src, v4(Field::ArpSpa), v4(Field::ArpTpa));
        // The request's own addresses are replaced: a trace begins with what its text says, and zeros.
        bytes[..6].copy_from_slice(&dst.0);
        bytes[20..22].copy_from_slice(&number::<u16>(matching, Field::ArpOp).to_be_bytes());
        bytes[22..28].copy_from_slice(&mac(matching, Field::ArpSha).0);
        return bytes;
    }
    let mut frame = Frame::between(src, dst);
    let vid: u16 = number(matching, Field::VlanVid);
    if vid & 0x1000 != 0 {
        let pcp: u16 = number(matching, Field::VlanPcp);
        frame = frame.tag(0x8100, pcp << 13 | vid & 0x0fff);
    }
    let ip = match eth_type {
        0x0800 => {
            let v4 =
                |field| IpAddr::V4(value(matching, field).map_or(Ipv4Addr::UNSPECIFIED, FieldValue::to_ipv4));
            Some((v4(Field::Ipv4Src), v4(Field::Ipv4Dst)))
        }
        0x86dd => {
            let v6 = |field| {
                IpAddr::V6(value(matching, field).map_or(Ipv6Addr::UNSPECIFIED, |value| value.to_ipv6()))
            };
            Some((v6(Field::Ipv6Src), v6(Field::Ipv6Dst)))
        }
        0 => None,
        other => return frame.eth_type(other).payload(&[0; 46]).build(),
    };
    let Some((src, dst)) = ip else { return frame.payload(&[0; 46]).build() };
    frame = frame.ip(src, dst).ttl(if matching.get(Field::IpTtl).is_some() {
        number(matching, Field::IpTtl)
    } else {
        64
    });
    let port = |field| number::<u16>(matching, field);
    let protocol: u8 = number(matching, Field::IpProto);
    frame = match protocol {
        6 => frame.tcp_flags(port(Field::TcpSrc), port(Field::TcpDst), number(matching, Field::TcpFlags)),
        17 => frame.udp(port(Field::UdpSrc), port(Field::UdpDst)),
        132 => frame.sctp(port(Field::SctpSrc), port(Field::SctpDst)),
        1 if src.is_ipv4() => {
            frame.icmp(number(matching, Field::Icmpv4Type), number(matching, Field::Icmpv4Code), [0; 4])
        }
        58 if src.is_ipv6() => {
            let kind = number(matching, Field::Icmpv6Type);
            let frame = frame.icmp(kind, number(matching, Field::Icmpv6Code), [0; 4]);
            if matches!(kind, 135 | 136) { frame.payload(&[0; 16]) } else { frame }
        }
        other => frame.protocol(other),
    };
    frame.build()
}

/// The packet that the text names, or that has these bytes and the metadata that the text names.
pub(super) fn packet(text: &str, bytes: Option<&[u8]>) -> Result<Packet, SyntaxError> {
    let matching: Match = text.parse::<Match>()?;
    let in_port = OfPort(value(&matching, Field::InPort).unwrap_or_default().to_u64() as u32);
    let built = match bytes {
        Some(bytes) => bytes.to_vec(),
        None => frame(&matching),
    };
    let mut packet = Packet::new(in_port, built);
    for condition in &matching {
        let field = condition.field;
        let of_packet = field.spec().prerequisite != Prerequisite::None
            || matches!(field, Field::EthSrc | Field::EthDst | Field::EthType | Field::VlanVid);
        if field == Field::InPort || packet.get(field) == condition.value || (bytes.is_some() && of_packet) {
            continue;
        }
        let name = field.name();
        let refused = |why: &str| SyntaxError::new(text.find(name).unwrap_or(0), format!("{name}: {why}"));
        match field {
            Field::EthType | Field::VlanVid | Field::IpProto | Field::IpFrag => {
                return Err(refused("such a packet cannot be made here; give its bytes as PACKET"));
            }
            _ => packet.set(field, condition.value).map_err(|error| refused(&error.to_string()))?,
        }
    }
    Ok(packet)
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
