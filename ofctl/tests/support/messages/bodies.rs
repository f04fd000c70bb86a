//! Bodies that more than one kind of message has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ofctl::flow::FlowKey;
use ofctl::wire::{
    AsyncConfig, AsyncMessage, AsyncProperty, Cookie, CtFlush, CtTuple, FlowChange, FlowEvent, FlowMonitor,
    FlowRemoved, FlowRemovedReason, FlowStatsRequest, FlowUpdate, GroupId, IpfixStats, MonitorFlags,
    MonitorId, NO_BUFFER, PacketIn, PacketIn2, QueueId, Role, TableId, TlvMap, Xid,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::parts::*;

pub(super) fn async_config() -> impl Strategy<Value = AsyncConfig> {
    any::<[u32; 6]>().prop_map(|n| AsyncConfig {
        packet_in: [n[0] & 7, n[1] & 7],
        port_status: [n[2] & 7, n[3] & 7],
        flow_removed: [n[4] & 0x3f, n[5] & 0x3f],
    })
}

pub(super) fn async_properties() -> impl Strategy<Value = Vec<AsyncProperty>> {
    let all: Vec<(usize, bool)> = (0..6).flat_map(|n| [(n, false), (n, true)]).collect();
    (subsequence(all, 0..12), any::<u32>()).prop_map(|(all, mask)| {
        const REASONS: [u32; 6] = [7, 7, 0x3f, 7, 0x18, 3];
        let property = |(n, primary): (usize, bool)| AsyncProperty {
            message: AsyncMessage::ALL[n],
            primary,
            mask: mask >> n & REASONS[n],
        };
        all.into_iter().map(property).collect()
    })
}

pub(super) fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::NoChange, Role::Equal, Role::Primary, Role::Secondary])
}

pub(super) fn tlv_maps() -> impl Strategy<Value = Vec<TlvMap>> {
    vec((any::<(u16, u8)>(), 1u8..32, 0u16..64), 0..4).prop_map(|maps| {
        let map = |((class, kind), words, index)| TlvMap { class, kind, length: words * 4, index };
        maps.into_iter().map(map).collect()
    })
}

pub(super) fn packet_in2() -> impl Strategy<Value = PacketIn2> {
    (frame(), option::of(200u32..2000), table(), cookie(), 0u8..6, matches(), vec(any::<u8>(), 0..20))
        .prop_map(|(packet, full_length, table, cookie, reason, metadata, userdata)| PacketIn2 {
            packet,
            full_length,
            buffer_id: NO_BUFFER,
            table: Some(table),
            cookie: Some(cookie),
            reason: Some(reason),
            metadata,
            userdata,
            continuation: None,
        })
}

pub(super) fn packet_in() -> impl Strategy<Value = PacketIn> {
    let buffer = prop_oneof![Just(NO_BUFFER), any::<u32>()];
    (frame(), any::<u16>(), buffer, table(), cookie(), 0u8..3, matches()).prop_map(
        |(data, total_len, buffer_id, table, cookie, reason, matching)| PacketIn {
            buffer_id,
            total_len,
            reason,
            table,
            cookie,
            matching,
            data,
        },
    )
}

pub(super) fn flow_removed() -> impl Strategy<Value = FlowRemoved> {
    use FlowRemovedReason::*;
    let reason = select(vec![IdleTimeout, HardTimeout, Delete, GroupDelete, Other(4), Other(5)]);
    (entry(), reason, duration(), counters()).prop_map(|(entry, reason, duration, counters)| FlowRemoved {
        cookie: entry.cookie,
        key: FlowKey { table: entry.table, priority: entry.priority, matching: entry.matching },
        reason,
        duration,
        idle_timeout: entry.idle_timeout,
        hard_timeout: entry.hard_timeout,
        packets: counters.packets,
        bytes: counters.bytes,
    })
}

pub(super) fn ct_tuple(v6: bool, icmp: bool) -> impl Strategy<Value = CtTuple> {
    let address = move |bits: u32| -> IpAddr {
        if v6 {
            Ipv6Addr::from_bits((0xfd << 120) + u128::from(bits)).into()
        } else {
            Ipv4Addr::from_bits(bits).into()
        }
    };
    (option::of(1u32..), option::of(1u32..), any::<[u16; 2]>(), any::<(u16, u8, u8)>()).prop_map(
        move |(src, dst, ports, (id, kind, code))| {
            let mut tuple = CtTuple { src: src.map(address), dst: dst.map(address), ..CtTuple::default() };
            if icmp {
                (tuple.icmp_id, tuple.icmp_type, tuple.icmp_code) = (Some(id), Some(kind), Some(code));
            } else {
                (tuple.src_port, tuple.dst_port) = (Some(ports[0]), Some(ports[1]));
            }
            tuple
        },
    )
}

pub(super) fn ct_flush() -> impl Strategy<Value = CtFlush> {
    any::<(bool, bool)>().prop_flat_map(|(v6, icmp)| {
        let proto = if icmp { select(vec![1u8, 58]) } else { select(vec![0u8, 6, 17]) };
        (proto, ct_tuple(v6, icmp), ct_tuple(v6, icmp), option::of(any::<u16>()))
            .prop_map(|(ip_proto, original, reply, zone)| CtFlush { ip_proto, original, reply, zone })
    })
}

pub(super) fn monitor() -> impl Strategy<Value = FlowMonitor> {
    (any::<u32>(), 1u16..8, any::<u16>(), port(), any::<u8>(), matches()).prop_map(
        |(id, what, other, out_port, table, matching)| FlowMonitor {
            id: MonitorId(id),
            flags: MonitorFlags(what << 1 | other & 0x31),
            out_port,
            table: TableId(table),
            matching,
        },
    )
}

pub(super) fn flow_update() -> impl Strategy<Value = FlowUpdate> {
    let event = select(vec![FlowEvent::Added, FlowEvent::Deleted, FlowEvent::Modified]);
    prop_oneof![
        1 => any::<u32>().prop_map(|xid| FlowUpdate::Abbreviated(Xid(xid))),
        3 => (event, 0u16..6, entry()).prop_map(|(event, reason, entry)| {
            FlowUpdate::Full(Box::new(FlowChange {
                event,
                reason,
                priority: entry.priority,
                idle_timeout: entry.idle_timeout,
                hard_timeout: entry.hard_timeout,
                table: entry.table,
                cookie: entry.cookie,
                matching: entry.matching,
                instructions: entry.instructions,
            }))
        }),
    ]
}

pub(super) fn ipfix() -> impl Strategy<Value = IpfixStats> {
    any::<([u64; 10], u32)>().prop_map(|(n, collector_set)| IpfixStats {
        total_flows: n[0],
        current_flows: n[1],
        packets: n[2],
        ipv4_packets: n[3],
        ipv6_packets: n[4],
        error_packets: n[5],
        ipv4_error_packets: n[6],
        ipv6_error_packets: n[7],
        tx_packets: n[8],
        tx_errors: n[9],
        collector_set,
    })
}

pub(super) fn queue_id() -> impl Strategy<Value = QueueId> {
    prop_oneof![any::<u32>().prop_map(QueueId), Just(QueueId::ALL)]
}

pub(super) fn group_request() -> impl Strategy<Value = GroupId> {
    prop_oneof![(0u32..0xffff_ff00).prop_map(GroupId), Just(GroupId::ALL)]
}

/// All ones mean that a counter is not known.
pub(super) fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![3 => any::<u64>(), 1 => Just(u64::MAX)]
}

pub(super) fn flow_request() -> impl Strategy<Value = FlowStatsRequest> {
    (any::<u8>(), port(), any::<(u64, u64)>(), matches()).prop_map(
        |(table, out_port, (cookie, cookie_mask), matching)| FlowStatsRequest {
            table: TableId(table),
            out_port,
            out_group: GroupId::ANY,
            cookie: Cookie(cookie),
            cookie_mask,
            matching,
        },
    )
}
