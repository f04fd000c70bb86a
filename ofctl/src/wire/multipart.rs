//! Multipart requests and replies, OpenFlow 1.3.5 §7.3.5.

use super::action::Instructions;
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::flow_mod::{put_duration, take_duration};
use super::ids::{Cookie, GroupId, OfPort, TableId};
use super::matching::Match;
use super::meter::{MeterConfig, MeterFeatures, MeterId, MeterStats};
use super::monitor::{FlowMonitor, FlowUpdate};
use super::port::{PortDescription, put_text, take_text};
use super::stats::{GroupDescription, GroupFeatures, GroupStats, IpfixStats, PortStats, QueueId, QueueStats};
use super::table_features::TableFeatures;
use crate::flow::{FlowEntry, FlowFlags, FlowStats};

/// `OFPMP_*`.
pub(super) mod kind {
    pub(in crate::wire) const DESC: u16 = 0;
    pub(in crate::wire) const FLOW: u16 = 1;
    pub(in crate::wire) const AGGREGATE: u16 = 2;
    pub(in crate::wire) const TABLE: u16 = 3;
    pub(in crate::wire) const PORT_STATS: u16 = 4;
    pub(in crate::wire) const QUEUE: u16 = 5;
    pub(in crate::wire) const GROUP: u16 = 6;
    pub(in crate::wire) const GROUP_DESC: u16 = 7;
    pub(in crate::wire) const GROUP_FEATURES: u16 = 8;
    pub(in crate::wire) const METER: u16 = 9;
    pub(in crate::wire) const METER_CONFIG: u16 = 10;
    pub(in crate::wire) const METER_FEATURES: u16 = 11;
    pub(in crate::wire) const TABLE_FEATURES: u16 = 12;
    pub(in crate::wire) const PORT_DESC: u16 = 13;
    pub(in crate::wire) const EXPERIMENTER: u16 = 0xffff;
}

/// Whose multipart message it is and its own type, of those that are known here.
mod experimenter {
    use crate::wire::{NICIRA_EXPERIMENTER, ONF_EXPERIMENTER};

    pub(super) const FLOW_MONITOR: (u32, u32) = (ONF_EXPERIMENTER, 1870);
    pub(super) const IPFIX_BRIDGE: (u32, u32) = (NICIRA_EXPERIMENTER, 3);
    pub(super) const IPFIX_FLOW: (u32, u32) = (NICIRA_EXPERIMENTER, 4);
}

fn put_experimenter((experimenter, kind): (u32, u32), out: &mut Vec<u8>) {
    out.put_u32(experimenter);
    out.put_u32(kind);
}

/// `OFPMPF_REQ_MORE` and `OFPMPF_REPLY_MORE`.
const MORE: u16 = 1;

/// Which flows to report or to add up, `ofp_flow_stats_request`, OpenFlow 1.3.5 §7.3.5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// Table, or [`TableId::ALL`].
    pub table: TableId,
    /// Only entries that output here, or [`OfPort::ANY`].
    pub out_port: OfPort,
    /// Only entries that output to this group, or [`GroupId::ANY`].
    pub out_group: GroupId,
    /// Wanted cookie, in the bits of `cookie_mask`.
    pub cookie: Cookie,
    /// Bits of the cookie that count; 0 for any cookie.
    pub cookie_mask: u64,
    /// Only entries whose match is as narrow as this or narrower.
    pub matching: Match,
}

impl Default for FlowStatsRequest {
    /// Every entry of every table.
    fn default() -> Self {
        FlowStatsRequest {
            table: TableId::ALL,
            out_port: OfPort::ANY,
            out_group: GroupId::ANY,
            cookie: Cookie(0),
            cookie_mask: 0,
            matching: Match::new(),
        }
    }
}

impl FlowStatsRequest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table.0);
        out.put_zeros(3);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group.0);
        out.put_u32(0);
        out.put_u64(self.cookie.0);
        out.put_u64(self.cookie_mask);
        self.matching.encode(out);
    }

    fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let table = TableId(input.u8()?);
        input.skip(3)?;
        let out_port = OfPort(input.u32()?);
        let out_group = GroupId(input.u32()?);
        input.skip(4)?;
        let cookie = Cookie(input.u64()?);
        let cookie_mask = input.u64()?;
        Ok(FlowStatsRequest {
            table,
            out_port,
            out_group,
            cookie,
            cookie_mask,
            matching: Match::take(input)?,
        })
    }
}

/// `OFPT_MULTIPART_REQUEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartRequest {
    /// `OFPMP_DESC`.
    Description,
    /// `OFPMP_FLOW`.
    Flow(FlowStatsRequest),
    /// `OFPMP_AGGREGATE`.
    Aggregate(FlowStatsRequest),
    /// `OFPMP_TABLE`.
    Table,
    /// `OFPMP_PORT_DESC`.
    PortDescription,
    /// `OFPMP_PORT_STATS` of a port, or of [`OfPort::ANY`].
    PortStats(OfPort),
    /// `OFPMP_QUEUE` of a port, or of [`OfPort::ANY`], and a queue, or [`QueueId::ALL`].
    Queue(OfPort, QueueId),
    /// `OFPMP_GROUP` of a group, or of [`GroupId::ALL`].
    GroupStats(GroupId),
    /// `OFPMP_GROUP_DESC`.
    GroupDescription,
    /// `OFPMP_GROUP_FEATURES`.
    GroupFeatures,
    /// `OFPMP_METER` of a meter, or of [`MeterId::ALL`].
    MeterStats(MeterId),
    /// `OFPMP_METER_CONFIG` of a meter, or of [`MeterId::ALL`].
    MeterConfig(MeterId),
    /// `OFPMP_METER_FEATURES`.
    MeterFeatures,
    /// `OFPMP_TABLE_FEATURES`; without any it only asks.
    TableFeatures(Vec<TableFeatures>),
    /// `ONFST_FLOW_MONITOR`: begins to watch flows.
    FlowMonitor(Vec<FlowMonitor>),
    /// `NXST_IPFIX_BRIDGE`.
    IpfixBridge,
    /// `NXST_IPFIX_FLOW`.
    IpfixFlow,
    /// Any other `OFPMP_EXPERIMENTER`.
    Experimenter {
        /// Whose it is.
        experimenter: u32,
        /// Its own type.
        kind: u32,
        /// What follows.
        data: Vec<u8>,
    },
    /// Any other.
    Unknown {
        /// `OFPMP_*`.
        kind: u16,
        /// Its body.
        body: Vec<u8>,
    },
}

impl MultipartRequest {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self {
            MultipartRequest::Description => kind::DESC,
            MultipartRequest::Flow(_) => kind::FLOW,
            MultipartRequest::Aggregate(_) => kind::AGGREGATE,
            MultipartRequest::Table => kind::TABLE,
            MultipartRequest::PortDescription => kind::PORT_DESC,
            MultipartRequest::PortStats(_) => kind::PORT_STATS,
            MultipartRequest::Queue(..) => kind::QUEUE,
            MultipartRequest::GroupStats(_) => kind::GROUP,
            MultipartRequest::GroupDescription => kind::GROUP_DESC,
            MultipartRequest::GroupFeatures => kind::GROUP_FEATURES,
            MultipartRequest::MeterStats(_) => kind::METER,
            MultipartRequest::MeterConfig(_) => kind::METER_CONFIG,
            MultipartRequest::MeterFeatures => kind::METER_FEATURES,
            MultipartRequest::TableFeatures(_) => kind::TABLE_FEATURES,
            MultipartRequest::FlowMonitor(_)
            | MultipartRequest::IpfixBridge
            | MultipartRequest::IpfixFlow
            | MultipartRequest::Experimenter { .. } => kind::EXPERIMENTER,
            MultipartRequest::Unknown { kind, .. } => *kind,
        };
        out.put_u16(kind);
        out.put_u16(0);
        out.put_u32(0);
        match self {
            MultipartRequest::Flow(request) | MultipartRequest::Aggregate(request) => request.encode(out),
            MultipartRequest::Unknown { body, .. } => out.put(body),
            MultipartRequest::PortStats(OfPort(number))
            | MultipartRequest::GroupStats(GroupId(number))
            | MultipartRequest::MeterStats(MeterId(number))
            | MultipartRequest::MeterConfig(MeterId(number)) => {
                out.put_u32(*number);
                out.put_u32(0);
            }
            MultipartRequest::Queue(port, queue) => {
                out.put_u32(port.0);
                out.put_u32(queue.0);
            }
            MultipartRequest::TableFeatures(tables) => tables.iter().for_each(|table| table.encode(out)),
            MultipartRequest::FlowMonitor(monitors) => {
                put_experimenter(experimenter::FLOW_MONITOR, out);
                monitors.iter().for_each(|monitor| monitor.encode(out));
            }
            MultipartRequest::IpfixBridge => put_experimenter(experimenter::IPFIX_BRIDGE, out),
            MultipartRequest::IpfixFlow => put_experimenter(experimenter::IPFIX_FLOW, out),
            MultipartRequest::Experimenter { experimenter, kind, data } => {
                put_experimenter((*experimenter, *kind), out);
                out.put(data);
            }
            MultipartRequest::Description
            | MultipartRequest::Table
            | MultipartRequest::PortDescription
            | MultipartRequest::GroupDescription
            | MultipartRequest::GroupFeatures
            | MultipartRequest::MeterFeatures => {}
        }
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = input.u16()?;
        let flags = input.u16()?;
        if flags & MORE != 0 {
            // Only table features are ever asked for in several parts.
            let error = "OFPBRC_MULTIPART_BUFFER_OVERFLOW";
            return Err(DecodeError::Refused { what: "a multipart request in several parts", error });
        }
        input.skip(4)?;
        Ok(match kind {
            kind::DESC => MultipartRequest::Description,
            kind::FLOW => MultipartRequest::Flow(FlowStatsRequest::take(input)?),
            kind::AGGREGATE => MultipartRequest::Aggregate(FlowStatsRequest::take(input)?),
            kind::TABLE => MultipartRequest::Table,
            kind::PORT_DESC => MultipartRequest::PortDescription,
            kind::PORT_STATS => MultipartRequest::PortStats(OfPort(take_padded(input)?)),
            kind::QUEUE => MultipartRequest::Queue(OfPort(input.u32()?), QueueId(input.u32()?)),
            kind::GROUP => MultipartRequest::GroupStats(GroupId(take_padded(input)?)),
            kind::GROUP_DESC => MultipartRequest::GroupDescription,
            kind::GROUP_FEATURES => MultipartRequest::GroupFeatures,
            kind::METER => MultipartRequest::MeterStats(MeterId(take_padded(input)?)),
            kind::METER_CONFIG => MultipartRequest::MeterConfig(MeterId(take_padded(input)?)),
            kind::METER_FEATURES => MultipartRequest::MeterFeatures,
            kind::TABLE_FEATURES => MultipartRequest::TableFeatures(take_each(input, TableFeatures::take)?),
            kind::EXPERIMENTER => match (input.u32()?, input.u32()?) {
                experimenter::FLOW_MONITOR => {
                    MultipartRequest::FlowMonitor(take_each(input, FlowMonitor::take)?)
                }
                experimenter::IPFIX_BRIDGE => MultipartRequest::IpfixBridge,
                experimenter::IPFIX_FLOW => MultipartRequest::IpfixFlow,
                (experimenter, kind) => {
                    MultipartRequest::Experimenter { experimenter, kind, data: input.rest().to_vec() }
                }
            },
            kind => MultipartRequest::Unknown { kind, body: input.rest().to_vec() },
        })
    }
}

/// `ofp_desc`: what the switch says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SwitchDescription {
    /// Manufacturer.
    pub manufacturer: String,
    /// Hardware.
    pub hardware: String,
    /// Software.
    pub software: String,
    /// Serial number.
    pub serial: String,
    /// The datapath, for humans.
    pub datapath: String,
}

/// `ofp_aggregate_stats_reply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// Flow entries.
    pub flows: u32,
}

/// `ofp_table_stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableStats {
    /// The table.
    pub table: TableId,
    /// Entries in it.
    pub active: u32,
    /// Packets looked up.
    pub lookups: u64,
    /// Packets that matched.
    pub matched: u64,
}

/// The body of one part of a multipart reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartBody {
    /// `OFPMP_DESC`.
    Description(Box<SwitchDescription>),
    /// `OFPMP_FLOW`.
    Flow(Vec<FlowStats>),
    /// `OFPMP_AGGREGATE`.
    Aggregate(AggregateStats),
    /// `OFPMP_TABLE`.
    Table(Vec<TableStats>),
    /// `OFPMP_PORT_DESC`.
    PortDescription(Vec<PortDescription>),
    /// `OFPMP_PORT_STATS`.
    PortStats(Vec<PortStats>),
    /// `OFPMP_QUEUE`.
    Queue(Vec<QueueStats>),
    /// `OFPMP_GROUP`.
    GroupStats(Vec<GroupStats>),
    /// `OFPMP_GROUP_DESC`.
    GroupDescription(Vec<GroupDescription>),
    /// `OFPMP_GROUP_FEATURES`.
    GroupFeatures(GroupFeatures),
    /// `OFPMP_METER`.
    MeterStats(Vec<MeterStats>),
    /// `OFPMP_METER_CONFIG`.
    MeterConfig(Vec<MeterConfig>),
    /// `OFPMP_METER_FEATURES`.
    MeterFeatures(MeterFeatures),
    /// `OFPMP_TABLE_FEATURES`.
    TableFeatures(Vec<TableFeatures>),
    /// `ONFST_FLOW_MONITOR`: what happened to flows; also unasked, under transaction number 0.
    FlowMonitor(Vec<FlowUpdate>),
    /// `NXST_IPFIX_BRIDGE`.
    IpfixBridge(Box<IpfixStats>),
    /// `NXST_IPFIX_FLOW`.
    IpfixFlow(Vec<IpfixStats>),
    /// Any other `OFPMP_EXPERIMENTER`.
    Experimenter {
        /// Whose it is.
        experimenter: u32,
        /// Its own type.
        kind: u32,
        /// What follows.
        data: Vec<u8>,
    },
    /// Any other.
    Unknown {
        /// `OFPMP_*`.
        kind: u16,
        /// Its body.
        body: Vec<u8>,
    },
}

/// `OFPT_MULTIPART_REPLY`: one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipartReply {
    /// More parts follow.
    pub more: bool,
    /// What it holds.
    pub body: MultipartBody,
}

impl MultipartReply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let kind = match &self.body {
            MultipartBody::Description(_) => kind::DESC,
            MultipartBody::Flow(_) => kind::FLOW,
            MultipartBody::Aggregate(_) => kind::AGGREGATE,
            MultipartBody::Table(_) => kind::TABLE,
            MultipartBody::PortDescription(_) => kind::PORT_DESC,
            MultipartBody::PortStats(_) => kind::PORT_STATS,
            MultipartBody::Queue(_) => kind::QUEUE,
            MultipartBody::GroupStats(_) => kind::GROUP,
            MultipartBody::GroupDescription(_) => kind::GROUP_DESC,
            MultipartBody::GroupFeatures(_) => kind::GROUP_FEATURES,
            MultipartBody::MeterStats(_) => kind::METER,
            MultipartBody::MeterConfig(_) => kind::METER_CONFIG,
            MultipartBody::MeterFeatures(_) => kind::METER_FEATURES,
            MultipartBody::TableFeatures(_) => kind::TABLE_FEATURES,
            MultipartBody::FlowMonitor(_)
            | MultipartBody::IpfixBridge(_)
            | MultipartBody::IpfixFlow(_)
            | MultipartBody::Experimenter { .. } => kind::EXPERIMENTER,
            MultipartBody::Unknown { kind, .. } => *kind,
        };
        out.put_u16(kind);
        out.put_u16(if self.more { MORE } else { 0 });
        out.put_u32(0);
        match &self.body {
            MultipartBody::Description(desc) => {
                put_text(&desc.manufacturer, 256, out);
                put_text(&desc.hardware, 256, out);
                put_text(&desc.software, 256, out);
                put_text(&desc.serial, 32, out);
                put_text(&desc.datapath, 256, out);
            }
            MultipartBody::Flow(flows) => flows.iter().try_for_each(|flow| put_flow_stats(flow, out))?,
            MultipartBody::Aggregate(stats) => {
                out.put_u64(stats.packets);
                out.put_u64(stats.bytes);
                out.put_u32(stats.flows);
                out.put_u32(0);
            }
            MultipartBody::Table(tables) => {
                for stats in tables {
                    out.put_u8(stats.table.0);
                    out.put_zeros(3);
                    out.put_u32(stats.active);
                    out.put_u64(stats.lookups);
                    out.put_u64(stats.matched);
                }
            }
            MultipartBody::PortDescription(ports) => ports.iter().for_each(|port| port.encode(out)),
            MultipartBody::PortStats(ports) => ports.iter().for_each(|port| port.encode(out)),
            MultipartBody::Queue(queues) => queues.iter().for_each(|queue| queue.encode(out)),
            MultipartBody::GroupStats(groups) => groups.iter().for_each(|group| group.encode(out)),
            MultipartBody::GroupDescription(groups) => {
                groups.iter().try_for_each(|group| group.encode(out))?;
            }
            MultipartBody::GroupFeatures(features) => features.encode(out),
            MultipartBody::MeterStats(meters) => meters.iter().for_each(|meter| meter.encode(out)),
            MultipartBody::MeterConfig(meters) => meters.iter().for_each(|meter| meter.encode(out)),
            MultipartBody::MeterFeatures(features) => features.encode(out),
            MultipartBody::TableFeatures(tables) => tables.iter().for_each(|table| table.encode(out)),
            MultipartBody::FlowMonitor(updates) => {
                put_experimenter(experimenter::FLOW_MONITOR, out);
                updates.iter().try_for_each(|update| update.encode(out))?;
            }
            MultipartBody::IpfixBridge(stats) => {
                put_experimenter(experimenter::IPFIX_BRIDGE, out);
                stats.encode(out);
            }
            MultipartBody::IpfixFlow(all) => {
                put_experimenter(experimenter::IPFIX_FLOW, out);
                all.iter().for_each(|stats| stats.encode(out));
            }
            MultipartBody::Experimenter { experimenter, kind, data } => {
                put_experimenter((*experimenter, *kind), out);
                out.put(data);
            }
            MultipartBody::Unknown { body, .. } => out.put(body),
        }
        Ok(())
    }

    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = input.u16()?;
        let more = input.u16()? & MORE != 0;
        input.skip(4)?;
        let body = match kind {
            kind::DESC => MultipartBody::Description(Box::new(SwitchDescription {
                manufacturer: take_text::<256>(input)?,
                hardware: take_text::<256>(input)?,
                software: take_text::<256>(input)?,
                serial: take_text::<32>(input)?,
                datapath: take_text::<256>(input)?,
            })),
            kind::FLOW => MultipartBody::Flow(take_each(input, take_flow_stats)?),
            kind::AGGREGATE => {
                let stats =
                    AggregateStats { packets: input.u64()?, bytes: input.u64()?, flows: input.u32()? };
                input.skip(4)?;
                MultipartBody::Aggregate(stats)
            }
            kind::TABLE => MultipartBody::Table(take_each(input, |input| {
                let table = TableId(input.u8()?);
                input.skip(3)?;
                Ok(TableStats { table, active: input.u32()?, lookups: input.u64()?, matched: input.u64()? })
            })?),
            kind::PORT_DESC => MultipartBody::PortDescription(take_each(input, PortDescription::take)?),
            kind::PORT_STATS => MultipartBody::PortStats(take_each(input, PortStats::take)?),
            kind::QUEUE => MultipartBody::Queue(take_each(input, QueueStats::take)?),
            kind::GROUP => MultipartBody::GroupStats(take_each(input, GroupStats::take)?),
            kind::GROUP_DESC => MultipartBody::GroupDescription(take_each(input, GroupDescription::take)?),
            kind::GROUP_FEATURES => MultipartBody::GroupFeatures(GroupFeatures::take(input)?),
            kind::METER => MultipartBody::MeterStats(take_each(input, MeterStats::take)?),
            kind::METER_CONFIG => MultipartBody::MeterConfig(take_each(input, MeterConfig::take)?),
            kind::METER_FEATURES => MultipartBody::MeterFeatures(MeterFeatures::take(input)?),
            // A reply has at least one, where a request may have none.
            kind::TABLE_FEATURES if input.is_empty() => return Err(input.bad_length(0)),
            kind::TABLE_FEATURES => MultipartBody::TableFeatures(take_each(input, TableFeatures::take)?),
            kind::EXPERIMENTER => match (input.u32()?, input.u32()?) {
                experimenter::FLOW_MONITOR => MultipartBody::FlowMonitor(take_each(input, FlowUpdate::take)?),
                experimenter::IPFIX_BRIDGE => MultipartBody::IpfixBridge(Box::new(IpfixStats::take(input)?)),
                experimenter::IPFIX_FLOW => MultipartBody::IpfixFlow(take_each(input, IpfixStats::take)?),
                (experimenter, kind) => {
                    MultipartBody::Experimenter { experimenter, kind, data: input.rest().to_vec() }
                }
            },
            kind => MultipartBody::Unknown { kind, body: input.rest().to_vec() },
        };
        Ok(MultipartReply { more, body })
    }
}

/// Takes 32 bits and the 32 after them, which mean nothing.
fn take_padded(input: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let number = input.u32()?;
    input.skip(4)?;
    Ok(number)
}

/// Takes things to the end; each takes at least one byte or fails.
pub(super) fn take_each<T>(
    input: &mut Reader<'_>,
    mut take: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    while !input.is_empty() {
        all.push(take(input)?);
    }
    Ok(all)
}

fn put_flow_stats(stats: &FlowStats, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let entry = &stats.entry;
    let mut out = Nested::begin(out, 0, Padding::None);
    out.put_u16(0);
    out.put_u8(entry.table.0);
    out.put_u8(0);
    put_duration(stats.duration, &mut out);
    out.put_u16(entry.priority);
    out.put_u16(entry.idle_timeout);
    out.put_u16(entry.hard_timeout);
    out.put_u16(entry.flags.0);
    out.put_u32(0);
    out.put_u64(entry.cookie.0);
    out.put_u64(stats.packets);
    out.put_u64(stats.bytes);
    entry.matching.encode(&mut out);
    entry.instructions.encode(&mut out)
}

pub(super) fn take_flow_stats(input: &mut Reader<'_>) -> Result<FlowStats, DecodeError> {
    let length = usize::from(input.u16()?);
    let rest = length.checked_sub(2).ok_or(DecodeError::BadLength { what: "flow statistics", length })?;
    let mut input = input.sub("flow statistics", rest)?;
    let table = TableId(input.u8()?);
    input.skip(1)?;
    let duration = take_duration(&mut input)?;
    let priority = input.u16()?;
    let idle_timeout = input.u16()?;
    let hard_timeout = input.u16()?;
    let flags = FlowFlags(input.u16()?);
    input.skip(4)?;
    let cookie = Cookie(input.u64()?);
    let packets = input.u64()?;
    let bytes = input.u64()?;
    let matching = Match::take(&mut input)?;
    let instructions = Instructions::take(&mut input)?;
    let entry =
        FlowEntry { table, priority, cookie, matching, instructions, idle_timeout, hard_timeout, flags };
    Ok(FlowStats { entry, duration, packets, bytes })
}
