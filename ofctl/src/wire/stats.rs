//! Statistics and features of groups, ports and queues: OpenFlow 1.3.5 §7.3.5.6 to §7.3.5.10; and Nicira's of IPFIX.

use std::time::Duration;

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::flow_mod::{Bucket, GroupType, put_duration, take_duration};
use super::ids::{GroupId, OfPort};
use super::meter::Counters;
use super::multipart::take_each;

/// A queue of a port, or with requests all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

impl QueueId {
    /// `OFPQ_ALL`: every queue.
    pub const ALL: QueueId = QueueId(0xffff_ffff);
}

/// Reads what its own length bounds; the length stands first and counts itself.
pub(super) fn take_bounded<'a>(
    what: &'static str,
    input: &mut Reader<'a>,
) -> Result<Reader<'a>, DecodeError> {
    let length = usize::from(input.u16()?);
    let rest = length.checked_sub(2).ok_or(DecodeError::BadLength { what, length })?;
    input.sub(what, rest)
}

/// A duration, or all ones.
fn put_known_duration(duration: Option<Duration>, out: &mut Vec<u8>) {
    match duration {
        Some(duration) => put_duration(duration, out),
        None => out.put_u64(u64::MAX),
    }
}

fn take_known_duration(input: &mut Reader<'_>) -> Result<Option<Duration>, DecodeError> {
    let duration = take_duration(input)?;
    // The seconds alone say that it is not known.
    Ok((duration.as_secs() < u32::MAX.into()).then_some(duration))
}

/// `ofp_group_stats`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupStats {
    /// The group.
    pub group: GroupId,
    /// Flow entries and groups that use it.
    pub references: u32,
    /// What came.
    pub counters: Counters,
    /// How long it has been there.
    pub duration: Duration,
    /// What each bucket took.
    pub buckets: Vec<Counters>,
}

impl GroupStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 0, Padding::None);
        out.put_u32(0);
        out.put_u32(self.group.0);
        out.put_u32(self.references);
        out.put_u32(0);
        self.counters.encode(&mut out);
        put_duration(self.duration, &mut out);
        self.buckets.iter().for_each(|bucket| bucket.encode(&mut out));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<GroupStats, DecodeError> {
        let mut input = take_bounded("group statistics", input)?;
        input.skip(2)?;
        let (group, references) = (GroupId(input.u32()?), input.u32()?);
        input.skip(4)?;
        let counters = Counters::take(&mut input)?;
        let duration = take_duration(&mut input)?;
        let buckets = take_each(&mut input, Counters::take)?;
        Ok(GroupStats { group, references, counters, duration, buckets })
    }
}

/// `ofp_group_desc`: a group as the switch holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupDescription {
    /// Its type.
    pub kind: GroupType,
    /// The group.
    pub group: GroupId,
    /// Buckets.
    pub buckets: Vec<Bucket>,
}

impl GroupDescription {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut out = Nested::begin(out, 0, Padding::None);
        out.put(&[0, 0, self.kind as u8, 0]);
        out.put_u32(self.group.0);
        self.buckets.iter().try_for_each(|bucket| bucket.encode(&mut out))
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<GroupDescription, DecodeError> {
        let mut input = take_bounded("group description", input)?;
        let kind = GroupType::take(&mut input)?;
        input.skip(1)?;
        let group = GroupId(input.u32()?);
        Ok(GroupDescription { kind, group, buckets: take_each(&mut input, Bucket::take)? })
    }
}

/// `ofp_group_features`; each array is by group type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupFeatures {
    /// Bit `n` is set if group type `n` is there.
    pub types: u32,
    /// `OFPGFC_*`.
    pub capabilities: u32,
    /// Groups at most.
    pub max_groups: [u32; 4],
    /// Bit `n` is set if `OFPAT_*` number `n` is there.
    pub actions: [u32; 4],
}

impl GroupFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.types);
        out.put_u32(self.capabilities);
        self.max_groups.iter().chain(&self.actions).for_each(|number| out.put_u32(*number));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (types, capabilities) = (input.u32()?, input.u32()?);
        let mut four = || Ok([input.u32()?, input.u32()?, input.u32()?, input.u32()?]);
        Ok(GroupFeatures { types, capabilities, max_groups: four()?, actions: four()? })
    }
}

/// `ofp_port_stats`; a counter that the port does not have is all ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the specification's own names say it")]
pub struct PortStats {
    /// The port.
    pub port: OfPort,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_err: u64,
    pub rx_over_err: u64,
    pub rx_crc_err: u64,
    pub collisions: u64,
    /// How long it has been there, if the switch knows.
    pub duration: Option<Duration>,
}

impl PortStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u32(0);
        for counter in [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
            self.rx_frame_err,
            self.rx_over_err,
            self.rx_crc_err,
            self.collisions,
        ] {
            out.put_u64(counter);
        }
        put_known_duration(self.duration, out);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = OfPort(input.u32()?);
        input.skip(4)?;
        Ok(PortStats {
            port,
            rx_packets: input.u64()?,
            tx_packets: input.u64()?,
            rx_bytes: input.u64()?,
            tx_bytes: input.u64()?,
            rx_dropped: input.u64()?,
            tx_dropped: input.u64()?,
            rx_errors: input.u64()?,
            tx_errors: input.u64()?,
            rx_frame_err: input.u64()?,
            rx_over_err: input.u64()?,
            rx_crc_err: input.u64()?,
            collisions: input.u64()?,
            duration: take_known_duration(input)?,
        })
    }
}

/// `ofp_queue_stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueStats {
    /// The port.
    pub port: OfPort,
    /// The queue.
    pub queue: QueueId,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets lost because the queue was full.
    pub tx_errors: u64,
    /// How long it has been there, if the switch knows.
    pub duration: Option<Duration>,
}

impl QueueStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u32(self.queue.0);
        out.put_u64(self.tx_bytes);
        out.put_u64(self.tx_packets);
        out.put_u64(self.tx_errors);
        put_known_duration(self.duration, out);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(QueueStats {
            port: OfPort(input.u32()?),
            queue: QueueId(input.u32()?),
            tx_bytes: input.u64()?,
            tx_packets: input.u64()?,
            tx_errors: input.u64()?,
            duration: take_known_duration(input)?,
        })
    }
}

/// `nx_ipfix_stats_reply`: what an IPFIX exporter of the bridge did. A counter that is not known is all ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "nicira-ext.h's own names say it")]
pub struct IpfixStats {
    pub total_flows: u64,
    pub current_flows: u64,
    pub packets: u64,
    pub ipv4_packets: u64,
    pub ipv6_packets: u64,
    pub error_packets: u64,
    pub ipv4_error_packets: u64,
    pub ipv6_error_packets: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    /// The set of collectors that sample actions name; without meaning for the bridge's own exporter.
    pub collector_set: u32,
}

impl IpfixStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for counter in [
            self.total_flows,
            self.current_flows,
            self.packets,
            self.ipv4_packets,
            self.ipv6_packets,
            self.error_packets,
            self.ipv4_error_packets,
            self.ipv6_error_packets,
            self.tx_packets,
            self.tx_errors,
        ] {
            out.put_u64(counter);
        }
        out.put_u32(self.collector_set);
        out.put_u32(0);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stats = IpfixStats {
            total_flows: input.u64()?,
            current_flows: input.u64()?,
            packets: input.u64()?,
            ipv4_packets: input.u64()?,
            ipv6_packets: input.u64()?,
            error_packets: input.u64()?,
            ipv4_error_packets: input.u64()?,
            ipv6_error_packets: input.u64()?,
            tx_packets: input.u64()?,
            tx_errors: input.u64()?,
            collector_set: input.u32()?,
        };
        input.skip(4)?;
        Ok(stats)
    }
}
