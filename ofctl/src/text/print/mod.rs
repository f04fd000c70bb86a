//! Messages for people, in the words of `ovs-ofctl ofp-print`.

mod control;
mod field_set;
mod flow;
mod frame;
mod group;
mod meter;
mod names;
mod port;
mod table;

use std::fmt::{self, Write as _};
use std::time::Duration;

pub use control::fragment_mode;
pub use flow::WithStats;
pub use frame::frame;
pub use port::port;
pub use table::tables;

use super::Hex;
use crate::wire::{
    AggregateStats, Message, MultipartBody, MultipartRequest, NiciraMessage, OfPort, OnfMessage, QueueId,
    Role, SwitchDescription, Xid,
};

/// A message and its transaction number as `ovs-ofctl ofp-print` writes them, of several lines if it writes several;
/// the last has no line feed.
///
/// ```
/// use ofctl::text::Printed;
/// use ofctl::wire::{Message, Xid};
///
/// let text = Printed(Xid(5), &Message::BarrierRequest).to_string();
/// assert_eq!(text, "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x5):");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Printed<'a>(pub Xid, pub &'a Message);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Printed(xid, message) = *self;
        let (name, body) = parts(xid, message);
        let version = if let Message::Hello(hello) = message { hello.version } else { crate::wire::VERSION };
        match version {
            1 => write!(out, "{name} (xid={:#x}):", xid.0)?,
            2..=6 => write!(out, "{name} (OF1.{}) (xid={:#x}):", version - 1, xid.0)?,
            _ => write!(out, "{name} (OF {version:#04x}) (xid={:#x}):", xid.0)?,
        }
        out.write_str(body.trim_end())
    }
}

/// A message's name, and what it says, without its number; what it encloses has this number.
pub fn parts(xid: Xid, message: &Message) -> (&'static str, String) {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let name = write_message(xid, message, &mut out).unwrap_or_default();
    (name, out)
}

/// Appends what the message says, and tells its name.
fn write_message(xid: Xid, message: &Message, out: &mut String) -> Result<&'static str, fmt::Error> {
    Ok(match message {
        Message::Hello(hello) => {
            control::hello(hello, out)?;
            "OFPT_HELLO"
        }
        Message::Error(error) => {
            control::error(error, out)?;
            "OFPT_ERROR"
        }
        Message::EchoRequest(data) => {
            control::echo(data, out)?;
            "OFPT_ECHO_REQUEST"
        }
        Message::EchoReply(data) => {
            control::echo(data, out)?;
            "OFPT_ECHO_REPLY"
        }
        Message::FeaturesRequest => "OFPT_FEATURES_REQUEST",
        Message::FeaturesReply(features) => {
            control::features(features, out)?;
            "OFPT_FEATURES_REPLY"
        }
        Message::GetConfigRequest => "OFPT_GET_CONFIG_REQUEST",
        Message::GetConfigReply(config) => {
            control::config(config, out)?;
            "OFPT_GET_CONFIG_REPLY"
        }
        Message::SetConfig(config) => {
            control::config(config, out)?;
            "OFPT_SET_CONFIG"
        }
        Message::PacketIn(packet) => {
            frame::packet_in(packet, out)?;
            "OFPT_PACKET_IN"
        }
        Message::FlowRemoved(removed) => {
            flow::removed(removed, out)?;
            "OFPT_FLOW_REMOVED"
        }
        Message::PortStatus(status) => {
            port::status(status, out)?;
            "OFPT_PORT_STATUS"
        }
        Message::PacketOut(packet) => {
            frame::packet_out(packet, out)?;
            "OFPT_PACKET_OUT"
        }
        Message::FlowMod(change) => {
            flow::change(change, out)?;
            "OFPT_FLOW_MOD"
        }
        Message::GroupMod(change) => {
            group::change(change, out)?;
            "OFPT_GROUP_MOD"
        }
        Message::PortMod(change) => {
            port::change(change, out)?;
            "OFPT_PORT_MOD"
        }
        Message::TableMod(change) => {
            table::change(change, out)?;
            "OFPT_TABLE_MOD"
        }
        Message::MeterMod(change) => {
            meter::change(change, out)?;
            "OFPT_METER_MOD"
        }
        Message::MultipartRequest(request) => write_request(request, out)?,
        Message::MultipartReply(reply) => {
            if reply.more {
                out.push_str(" flags=[more]");
            }
            write_reply(&reply.body, out)?
        }
        Message::BarrierRequest => "OFPT_BARRIER_REQUEST",
        Message::BarrierReply => "OFPT_BARRIER_REPLY",
        Message::QueueGetConfigRequest(port) => {
            write!(out, " port={port}")?;
            "OFPT_QUEUE_GET_CONFIG_REQUEST"
        }
        Message::QueueGetConfigReply { port, queues } => {
            port::queue_configs(*port, queues, out)?;
            "OFPT_QUEUE_GET_CONFIG_REPLY"
        }
        Message::RoleRequest(request) => {
            // One that only asks is of no election.
            let generation = (request.role != Role::NoChange).then_some(request.generation);
            control::role(request.role, generation, out)?;
            "OFPT_ROLE_REQUEST"
        }
        Message::RoleReply(reply) => {
            control::role(reply.role, Some(reply.generation), out)?;
            "OFPT_ROLE_REPLY"
        }
        Message::GetAsyncRequest => "OFPT_GET_ASYNC_REQUEST",
        Message::GetAsyncReply(config) => {
            control::async_config(&control::AsyncMasks::of(config), out)?;
            "OFPT_GET_ASYNC_REPLY"
        }
        Message::SetAsync(config) => {
            control::async_config(&control::AsyncMasks::of(config), out)?;
            "OFPT_SET_ASYNC"
        }
        Message::Nicira(message) => write_nicira(message, out)?,
        Message::Onf(message) => write_onf(message, out)?,
        Message::BundleControl(message) => {
            control::bundle_control(message, out)?;
            "ONFT_BUNDLE_CONTROL"
        }
        Message::BundleAdd(add) => {
            control::bundle_add(xid, add, out)?;
            "ONFT_BUNDLE_ADD_MESSAGE"
        }
        Message::Experimenter { experimenter, kind, data } => {
            write!(out, " experimenter={experimenter:#x} type={kind}")?;
            bytes(data, out)?;
            "OFPT_EXPERIMENTER"
        }
        Message::Unknown { kind, body } => {
            write!(out, " type={kind}")?;
            bytes(body, out)?;
            "OFPT_UNKNOWN"
        }
    })
}

fn write_nicira(message: &NiciraMessage, out: &mut String) -> Result<&'static str, fmt::Error> {
    Ok(match message {
        NiciraMessage::RoleRequest(role) => {
            control::role(*role, None, out)?;
            "NXT_ROLE_REQUEST"
        }
        NiciraMessage::RoleReply(role) => {
            control::role(*role, None, out)?;
            "NXT_ROLE_REPLY"
        }
        NiciraMessage::FlowRemoved(removed) => {
            flow::removed(removed, out)?;
            "NXT_FLOW_REMOVED"
        }
        NiciraMessage::FlowModTableId(set) => {
            out.push_str(if *set { " enable" } else { " disable" });
            "NXT_FLOW_MOD_TABLE_ID"
        }
        NiciraMessage::PacketIn(packet) => {
            frame::packet_in(packet, out)?;
            "NXT_PACKET_IN"
        }
        NiciraMessage::FlowAge => "NXT_FLOW_AGE",
        NiciraMessage::SetAsyncConfig(config) => {
            control::async_config(&control::AsyncMasks::of(config), out)?;
            "NXT_SET_ASYNC_CONFIG"
        }
        NiciraMessage::SetAsyncConfig2(properties) => {
            control::async_config(&control::AsyncMasks::of_properties(properties), out)?;
            "NXT_SET_ASYNC_CONFIG2"
        }
        NiciraMessage::SetPacketInFormat(format) => {
            control::packet_in_format(*format, out)?;
            "NXT_SET_PACKET_IN_FORMAT"
        }
        NiciraMessage::SetControllerId(id) => {
            write!(out, " id={id}")?;
            "NXT_SET_CONTROLLER_ID"
        }
        NiciraMessage::TlvTableMod(change) => {
            control::tlv_change(change, out)?;
            "NXT_TLV_TABLE_MOD"
        }
        NiciraMessage::TlvTableRequest => "NXT_TLV_TABLE_REQUEST",
        NiciraMessage::TlvTableReply(table) => {
            control::tlv_table(table, out)?;
            "NXT_TLV_TABLE_REPLY"
        }
        NiciraMessage::CtFlushZone(zone) => {
            write!(out, " zone_id={zone}")?;
            "NXT_CT_FLUSH_ZONE"
        }
        NiciraMessage::CtFlush(flush) => {
            control::ct_flush(flush, out)?;
            "NXT_CT_FLUSH"
        }
        NiciraMessage::PacketIn2(packet) => {
            frame::packet_in2(packet, out)?;
            "NXT_PACKET_IN2"
        }
        NiciraMessage::Resume(packet) => {
            frame::packet_in2(packet, out)?;
            "NXT_RESUME"
        }
    })
}

fn write_onf(message: &OnfMessage, out: &mut String) -> Result<&'static str, fmt::Error> {
    Ok(match message {
        OnfMessage::FlowMonitorCancel(id) => {
            write!(out, " id={id}")?;
            "ONFT_FLOW_MONITOR_CANCEL"
        }
        OnfMessage::FlowMonitorPaused => "ONFT_FLOW_MONITOR_PAUSED",
        OnfMessage::FlowMonitorResumed => "ONFT_FLOW_MONITOR_RESUMED",
        OnfMessage::RoleStatus(status) => {
            control::role_status(status, out)?;
            "ONFT_ROLE_STATUS"
        }
        OnfMessage::RequestForward(_, request) => {
            control::request_forward(request, out)?;
            "ONFT_REQUESTFORWARD"
        }
    })
}

fn write_request(request: &MultipartRequest, out: &mut String) -> Result<&'static str, fmt::Error> {
    Ok(match request {
        MultipartRequest::Description => "OFPST_DESC request",
        MultipartRequest::Flow(flows) => {
            flow::request(flows, out)?;
            "OFPST_FLOW request"
        }
        MultipartRequest::Aggregate(flows) => {
            flow::request(flows, out)?;
            "OFPST_AGGREGATE request"
        }
        MultipartRequest::Table => "OFPST_TABLE request",
        MultipartRequest::PortDescription => {
            // The version that can ask for one port came later, and all are printed as it.
            write!(out, " port={}", OfPort::ANY)?;
            "OFPST_PORT_DESC request"
        }
        MultipartRequest::PortStats(port) => {
            write!(out, " port_no={port}")?;
            "OFPST_PORT request"
        }
        MultipartRequest::Queue(port, queue) => {
            write!(out, " port={port} queue={}", Queue(*queue))?;
            "OFPST_QUEUE request"
        }
        MultipartRequest::GroupStats(id) => {
            write!(out, " group_id={}", group::Id(*id))?;
            "OFPST_GROUP request"
        }
        MultipartRequest::GroupDescription => {
            out.push_str(" group_id=ALL");
            "OFPST_GROUP_DESC request"
        }
        MultipartRequest::GroupFeatures => "OFPST_GROUP_FEATURES request",
        MultipartRequest::MeterStats(id) => {
            write!(out, " meter={}", meter::Id(*id))?;
            "OFPST_METER request"
        }
        MultipartRequest::MeterConfig(id) => {
            write!(out, " meter={}", meter::Id(*id))?;
            "OFPST_METER_CONFIG request"
        }
        MultipartRequest::MeterFeatures => "OFPST_METER_FEATURES request",
        MultipartRequest::TableFeatures(tables) => {
            table::features(tables, out)?;
            "OFPST_TABLE_FEATURES request"
        }
        MultipartRequest::FlowMonitor(monitors) => {
            monitors.iter().try_for_each(|monitor| flow::monitor(monitor, out))?;
            "ONFST_FLOW_MONITOR request"
        }
        MultipartRequest::IpfixBridge => "NXST_IPFIX_BRIDGE request",
        MultipartRequest::IpfixFlow => "NXST_IPFIX_FLOW request",
        MultipartRequest::Experimenter { experimenter, kind, data } => {
            write!(out, " experimenter={experimenter:#x} type={kind}")?;
            bytes(data, out)?;
            "OFPST_EXPERIMENTER request"
        }
        MultipartRequest::Unknown { kind, body } => {
            write!(out, " type={kind}")?;
            bytes(body, out)?;
            "OFPST_UNKNOWN request"
        }
    })
}

fn write_reply(body: &MultipartBody, out: &mut String) -> Result<&'static str, fmt::Error> {
    Ok(match body {
        MultipartBody::Description(desc) => {
            write!(out, "\n{}", description(desc))?;
            "OFPST_DESC reply"
        }
        MultipartBody::Flow(flows) => {
            flows.iter().try_for_each(|stats| write!(out, "\n {}", WithStats(stats)))?;
            "OFPST_FLOW reply"
        }
        MultipartBody::Aggregate(stats) => {
            write!(out, " {}", aggregate(stats))?;
            "OFPST_AGGREGATE reply"
        }
        MultipartBody::Table(all) => {
            write!(out, "\n{}", tables(all))?;
            "OFPST_TABLE reply"
        }
        MultipartBody::PortDescription(ports) => {
            out.push('\n');
            let mut sorted: Vec<_> = ports.iter().collect();
            sorted.sort_by_key(|description| description.port.0 as u16);
            sorted.into_iter().for_each(|description| out.push_str(&port(description)));
            "OFPST_PORT_DESC reply"
        }
        MultipartBody::PortStats(ports) => {
            port::stats(ports, out)?;
            "OFPST_PORT reply"
        }
        MultipartBody::Queue(queues) => {
            port::queue_stats(queues, out)?;
            "OFPST_QUEUE reply"
        }
        MultipartBody::GroupStats(groups) => {
            groups.iter().try_for_each(|stats| group::stats(stats, out))?;
            "OFPST_GROUP reply"
        }
        MultipartBody::GroupDescription(groups) => {
            groups.iter().try_for_each(|description| write!(out, "\n {description}"))?;
            "OFPST_GROUP_DESC reply"
        }
        MultipartBody::GroupFeatures(features) => {
            group::features(features, out)?;
            "OFPST_GROUP_FEATURES reply"
        }
        MultipartBody::MeterStats(meters) => {
            meters.iter().try_for_each(|stats| meter::stats(stats, out))?;
            "OFPST_METER reply"
        }
        MultipartBody::MeterConfig(meters) => {
            meters.iter().try_for_each(|config| meter::config(config, out))?;
            "OFPST_METER_CONFIG reply"
        }
        MultipartBody::MeterFeatures(features) => {
            meter::features(features, out)?;
            "OFPST_METER_FEATURES reply"
        }
        MultipartBody::TableFeatures(tables) => {
            table::features(tables, out)?;
            "OFPST_TABLE_FEATURES reply"
        }
        MultipartBody::FlowMonitor(updates) => {
            updates.iter().try_for_each(|update| flow::update(update, out))?;
            "ONFST_FLOW_MONITOR reply"
        }
        MultipartBody::IpfixBridge(stats) => {
            out.push_str("\n  bridge ipfix: ");
            port::ipfix(stats, 16, out)?;
            "NXST_IPFIX_BRIDGE reply"
        }
        MultipartBody::IpfixFlow(all) => {
            writeln!(out, " {} ids", all.len())?;
            for stats in all {
                write!(out, "  id {:3}: ", stats.collector_set)?;
                port::ipfix(stats, 10, out)?;
            }
            "NXST_IPFIX_FLOW reply"
        }
        MultipartBody::Experimenter { experimenter, kind, data } => {
            write!(out, " experimenter={experimenter:#x} type={kind}")?;
            bytes(data, out)?;
            "OFPST_EXPERIMENTER reply"
        }
        MultipartBody::Unknown { kind, body } => {
            write!(out, " type={kind}")?;
            bytes(body, out)?;
            "OFPST_UNKNOWN reply"
        }
    })
}

/// Seconds, with as many digits as they need and at least three if any.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanoseconds == 0 {
            write!(out, "{seconds}s")
        } else if nanoseconds.is_multiple_of(1_000_000) {
            write!(out, "{seconds}.{:03}s", nanoseconds / 1_000_000)
        } else {
            let digits = format!("{nanoseconds:09}");
            write!(out, "{seconds}.{}s", digits.trim_end_matches('0'))
        }
    }
}

/// A counter, or a question mark where the switch does not know it.
struct Known(u64);

impl fmt::Display for Known {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { out.write_str("?") } else { self.0.fmt(out) }
    }
}

struct Queue(QueueId);

impl fmt::Display for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == QueueId::ALL { out.write_str("ALL") } else { self.0.0.fmt(out) }
    }
}

/// The names of the bits that are set, and a number for those without a name; `0` for none.
fn bits(value: u32, names: &[(u32, &str)], separator: &str) -> String {
    let mut words: Vec<String> =
        names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let known = names.iter().fold(0, |all, (bit, _)| all | bit);
    if value & !known != 0 {
        words.push(format!("{:#x}", value & !known));
    }
    if words.is_empty() { "0".to_owned() } else { words.join(separator) }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes that mean nothing here, in a line of their own.
fn bytes(data: &[u8], out: &mut String) -> fmt::Result {
    if data.is_empty() { Ok(()) } else { write!(out, "\n{}", hex(data)) }
}

/// Bytes as a debugger shows them, 16 a line.
fn dump(data: &[u8], out: &mut String) -> fmt::Result {
    for (place, line) in data.chunks(16).enumerate() {
        write!(out, "{:08x} ", place * 16)?;
        for column in 0..16 {
            // The halves of a full line are joined by a hyphen.
            let separator = if column == 8 && line.len() >= 8 { '-' } else { ' ' };
            match line.get(column) {
                Some(byte) => write!(out, "{separator}{byte:02x}")?,
                None => write!(out, "{separator}  ")?,
            }
        }
        out.push_str(" |");
        for column in 0..16 {
            let byte = line.get(column).copied().unwrap_or(b' ');
            out.push(if byte == b' ' || byte.is_ascii_graphic() { byte.into() } else { '.' });
        }
        out.push_str("|\n");
    }
    Ok(())
}

/// What a switch says of itself, in lines that each end with a line feed.
pub fn description(desc: &SwitchDescription) -> String {
    let SwitchDescription { manufacturer, hardware, software, serial, datapath } = desc;
    format!(
        "Manufacturer: {manufacturer}\nHardware: {hardware}\nSoftware: {software}\nSerial Num: {serial}\n\
         DP Description: {datapath}\n"
    )
}

/// The sum of some flows.
pub fn aggregate(stats: &AggregateStats) -> String {
    format!("packet_count={} byte_count={} flow_count={}", stats.packets, stats.bytes, stats.flows)
}
