//! Any message of every kind, by the name under which Open vSwitch knows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowFlags, FlowKey, FlowStats};
use ofctl::wire::{
    Action, ActionId, AggregateStats, AsyncConfig, AsyncMessage, AsyncProperty, BandKind, Bucket, BundleAdd,
    BundleControl, BundleControlType, BundleFlags, BundleId, Cookie, Counters, CtFlush, CtTuple, ErrorCode,
    ErrorMessage, Features, Field, FieldId, FlowChange, FlowEvent, FlowMod, FlowModCommand, FlowMonitor,
    FlowRemoved, FlowRemovedReason, FlowStatsRequest, FlowUpdate, ForwardedRequest, FragmentMode,
    GroupDescription, GroupFeatures, GroupId, GroupMod, GroupModCommand, GroupStats, GroupType, Hello,
    InstructionId, Instructions, IpfixStats, Match, Message, MeterBand, MeterConfig, MeterFeatures,
    MeterFlags, MeterId, MeterMod, MeterModCommand, MeterStats, MonitorFlags, MonitorId, MultipartBody,
    MultipartReply, MultipartRequest, NO_BUFFER, NiciraMessage, OfPort, OnfMessage, PacketIn, PacketIn2,
    PacketInFormat, PacketOut, PortDescription, PortMod, PortReason, PortStats, PortStatus, QueueConfig,
    QueueId, QueueStats, Role, RoleReason, RoleRequest, RoleStatus, SwitchConfig, SwitchDescription,
    TableFeatures, TableId, TableMod, TableProperty, TableStats, TlvMap, TlvTable, TlvTableCommand,
    TlvTableMod, When, Xid,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Matches of many protocols; each field by itself is compared elsewhere.
fn matches() -> impl Strategy<Value = Match> {
    const TEXTS: [&str; 12] = [
        "",
        "in_port=1",
        "in_port=LOCAL,dl_vlan=7",
        "tcp,nw_src=10.0.0.0/8,tp_dst=80",
        "udp6,ipv6_dst=fe80::/10,tp_src=53",
        "arp,arp_tpa=10.0.0.1",
        "icmp6,icmp_type=135,nd_target=fe80::1",
        "ct_state=+trk+est,ip",
        "reg0=0x1,reg3=0x20/0xf0,metadata=0x7",
        "dl_src=02:00:00:00:00:01,dl_type=0x88cc",
        "mpls,mpls_label=100",
        "tun_id=0x2a,in_port=9",
    ];
    select(&TEXTS[..]).prop_map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
}

fn instructions() -> impl Strategy<Value = Instructions> {
    const TEXTS: [&str; 10] = [
        "drop",
        "output:2",
        "load:0x1->NXM_NX_REG0[],output:2",
        "resubmit(,5),CONTROLLER:128",
        "set_field:02:00:00:00:00:09->eth_dst,IN_PORT",
        "multipath(symmetric_l4,1024,modulo_n,5,0,NXM_NX_REG2[]),goto_table:254",
        "learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
        "push_vlan:0x8100,set_field:4103->vlan_vid,group:7",
        "clear_actions,write_actions(output:3)",
        "move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31],note:01.02.03.00.00.00",
    ];
    select(&TEXTS[..]).prop_map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// What buckets and packet-outs can hold.
fn actions() -> impl Strategy<Value = Vec<Action>> {
    instructions().prop_filter_map("more than actions", |all| {
        (all == Instructions { apply: all.apply.clone(), ..Instructions::default() }).then_some(all.apply)
    })
}

fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![
        3 => (1u32..0xff00).prop_map(OfPort),
        1 => select(vec![OfPort::LOCAL, OfPort::ANY, OfPort::CONTROLLER]),
    ]
}

fn real_port() -> impl Strategy<Value = OfPort> {
    (1u32..0xff00).prop_map(OfPort)
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn duration() -> impl Strategy<Value = Duration> {
    (0u32..u32::MAX, prop_oneof![Just(0), (0u32..1000).prop_map(|ms| ms * 1_000_000), 0u32..1_000_000_000])
        .prop_map(|(seconds, nanoseconds)| Duration::new(seconds.into(), nanoseconds))
}

fn counters() -> impl Strategy<Value = Counters> {
    any::<(u64, u64)>().prop_map(|(packets, bytes)| Counters { packets, bytes })
}

fn table() -> impl Strategy<Value = TableId> {
    (0u8..255).prop_map(TableId)
}

fn word(max: usize) -> impl Strategy<Value = String> {
    vec(select(b"abcxyz019_-.".to_vec()), 0..max)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

/// Frames of many protocols, and some that end too early.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    use ofctl::packet::Frame;
    let (a, b) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let v4 = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
    let v6 = |n: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n));
    let frames = vec![
        Frame::between(a, b).build(),
        Frame::between(a, b).ip(v4(1), v4(2)).tcp(40000, 80).payload(b"GET /").build(),
        Frame::between(a, b).vlan(7).ip(v4(1), v4(2)).ttl(3).tos(0x2e).udp(53, 5353).build(),
        Frame::between(a, b).tag(0x88a8, 5).vlan(7).ip(v6(1), v6(2)).label(77).tcp(1, 2).build(),
        Frame::between(a, b).ip(v6(1), v6(2)).udp(1, 2).build(),
        Frame::arp_request(a, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)),
    ];
    (select(frames), option::weighted(0.2, any::<prop::sample::Index>())).prop_map(|(mut frame, cut)| {
        if let Some(cut) = cut {
            frame.truncate(14 + cut.index(frame.len() - 13));
        }
        frame
    })
}

fn cookie() -> impl Strategy<Value = Cookie> {
    any::<u64>().prop_map(Cookie)
}

fn port_description() -> impl Strategy<Value = PortDescription> {
    (real_port(), mac(), word(16), any::<[u32; 8]>()).prop_map(|(port, address, name, n)| PortDescription {
        port,
        address,
        name,
        config: n[0] & 0x65,
        state: n[1] & 7,
        current: n[2] & 0xffff,
        advertised: n[3] & 0xffff,
        supported: n[4] & 0xffff,
        peer: n[5] & 0xffff,
        current_speed: n[6],
        max_speed: n[7],
    })
}

fn entry() -> impl Strategy<Value = FlowEntry> {
    // A flow can go only to later tables.
    (
        (0u8..254).prop_map(TableId),
        any::<u16>(),
        cookie(),
        matches(),
        instructions(),
        any::<(u16, u16)>(),
        0u16..4,
    )
        .prop_map(
            |(table, priority, cookie, matching, instructions, (idle_timeout, hard_timeout), flags)| {
                FlowEntry {
                    table,
                    priority,
                    cookie,
                    matching,
                    instructions,
                    idle_timeout,
                    hard_timeout,
                    // Of the flags, send_flow_rem can be seen in statistics as in changes.
                    flags: FlowFlags(flags & 1),
                }
            },
        )
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    use FlowModCommand::*;
    let command = select(vec![Add, Modify, ModifyStrict, Delete, DeleteStrict]);
    (entry(), command, any::<u64>(), port(), 0u32..0xffff_ff00).prop_map(
        |(entry, command, cookie_mask, out_port, group)| {
            let deletes = matches!(command, Delete | DeleteStrict);
            let instructions = if deletes { Instructions::default() } else { entry.instructions.clone() };
            FlowMod {
                command,
                cookie_mask: if command == Add { 0 } else { cookie_mask },
                out_port: if deletes { out_port } else { OfPort::ANY },
                out_group: if deletes { GroupId(group) } else { GroupId::ANY },
                instructions,
                ..FlowMod::add(entry)
            }
        },
    )
}

fn bucket(kind: GroupType) -> impl Strategy<Value = Bucket> {
    (any::<u16>(), real_port(), 0u32..0xffff_ff00, 0u8..4, actions()).prop_map(
        move |(weight, port, group, watch, actions)| {
            let mut bucket = Bucket::new(if kind == GroupType::Select { weight } else { 0 }, actions);
            let may_watch = matches!(kind, GroupType::Select | GroupType::FastFailover);
            if may_watch && (watch & 1 != 0 || kind == GroupType::FastFailover) {
                bucket.watch_port = port;
            }
            if may_watch && watch & 2 != 0 {
                bucket.watch_group = GroupId(group);
            }
            bucket
        },
    )
}

fn group() -> impl Strategy<Value = GroupDescription> {
    let kind = select(vec![GroupType::All, GroupType::Select, GroupType::Indirect, GroupType::FastFailover]);
    (kind, 0u32..0xffff_ff00).prop_flat_map(|(kind, id)| {
        let n = if kind == GroupType::Indirect { 1..2 } else { 0..4 };
        vec(bucket(kind), n).prop_map(move |buckets| GroupDescription { kind, group: GroupId(id), buckets })
    })
}

pub(crate) fn group_mod() -> impl Strategy<Value = GroupMod> {
    use GroupModCommand::*;
    (group(), select(vec![Add, Modify, Delete, AddOrModify])).prop_map(|(group, command)| {
        let GroupDescription { kind, group, buckets } = group;
        GroupMod { command, kind, group, buckets: if command == Delete { Vec::new() } else { buckets } }
    })
}

fn meter_id() -> impl Strategy<Value = MeterId> {
    prop_oneof![
        3 => (1u32..=0xffff_0000).prop_map(MeterId),
        1 => select(vec![MeterId::ALL, MeterId::CONTROLLER, MeterId::SLOWPATH]),
    ]
}

pub(crate) fn meter() -> impl Strategy<Value = MeterConfig> {
    let band = (any::<bool>(), 1u32.., 1u32.., 1u8..).prop_map(|(drop, rate, burst_size, levels)| {
        let kind = if drop { BandKind::Drop } else { BandKind::DscpRemark { levels } };
        MeterBand { kind, rate, burst_size }
    });
    (meter_id(), any::<[bool; 3]>(), vec(band, 1..4)).prop_map(
        |(meter, [packets, burst, stats], mut bands)| {
            let rate = if packets { MeterFlags::PKTPS } else { MeterFlags::KBPS };
            let flags = rate | MeterFlags((u16::from(burst) * 4) | (u16::from(stats) * 8));
            if !burst {
                bands.iter_mut().for_each(|band| band.burst_size = 0);
            }
            MeterConfig { flags, meter, bands }
        },
    )
}

pub(crate) fn meter_mod() -> impl Strategy<Value = MeterMod> {
    use MeterModCommand::*;
    (meter(), select(vec![Add, Modify, Delete])).prop_map(|(MeterConfig { flags, meter, bands }, command)| {
        match command {
            Delete => MeterMod { command, flags: MeterFlags::default(), meter, bands: Vec::new() },
            _ => MeterMod { command, flags, meter, bands },
        }
    })
}

fn field_ids(masked: bool) -> impl Strategy<Value = Vec<FieldId>> {
    let fields: Vec<Field> = Field::all().collect();
    let n = fields.len();
    (subsequence(fields, 0..n), any::<u64>()).prop_map(move |(fields, masks)| {
        let id = |(place, field): (usize, Field)| {
            let has_mask = masked && field.spec().maskable && masks >> (place % 64) & 1 == 1;
            FieldId::new(field, has_mask)
        };
        fields.into_iter().enumerate().map(id).collect()
    })
}

fn properties() -> impl Strategy<Value = Vec<TableProperty>> {
    let sides = (
        subsequence((1..7).map(InstructionId).collect::<Vec<_>>(), 0..6),
        subsequence((0..255).map(TableId).collect::<Vec<_>>(), 0..255),
        subsequence((0..28).map(ActionId::new).collect::<Vec<_>>(), 0..28),
        subsequence((0..28).map(ActionId::new).collect::<Vec<_>>(), 0..28),
        field_ids(false),
        field_ids(false),
    )
        .boxed();
    let side = |miss: bool| {
        sides.clone().prop_map(move |(instructions, next, write, apply, write_fields, apply_fields)| {
            vec![
                TableProperty::Instructions { miss, list: instructions },
                TableProperty::NextTables { miss, list: next },
                TableProperty::Actions { when: When::Write, miss, list: write },
                TableProperty::Actions { when: When::Apply, miss, list: apply },
                TableProperty::SetField { when: When::Write, miss, list: write_fields },
                TableProperty::SetField { when: When::Apply, miss, list: apply_fields },
            ]
        })
    };
    (side(false), option::of(side(true)), field_ids(true), field_ids(false)).prop_map(
        |(mut all, miss, matched, wildcards)| {
            all.extend(miss.unwrap_or_default());
            all.push(TableProperty::Match(matched));
            all.push(TableProperty::Wildcards(wildcards));
            all
        },
    )
}

fn table_features() -> impl Strategy<Value = Vec<TableFeatures>> {
    let one = (0u8..250, word(32), any::<(u64, u64, u32)>(), properties());
    // Some tables are like the one before, which is what there is most of.
    (vec(one, 0..3), 0u8..3).prop_map(|(all, repeated)| {
        let mut tables = Vec::new();
        for (table, name, (metadata_match, metadata_write, max_entries), properties) in all {
            for n in 0..=repeated {
                tables.push(TableFeatures {
                    table: TableId(table + n),
                    name: if n == 0 { name.clone() } else { String::new() },
                    metadata_match,
                    metadata_write,
                    config: 0,
                    max_entries,
                    properties: properties.clone(),
                });
            }
        }
        tables
    })
}

fn async_config() -> impl Strategy<Value = AsyncConfig> {
    any::<[u32; 6]>().prop_map(|n| AsyncConfig {
        packet_in: [n[0] & 7, n[1] & 7],
        port_status: [n[2] & 7, n[3] & 7],
        flow_removed: [n[4] & 0x3f, n[5] & 0x3f],
    })
}

fn async_properties() -> impl Strategy<Value = Vec<AsyncProperty>> {
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

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::NoChange, Role::Equal, Role::Primary, Role::Secondary])
}

fn tlv_maps() -> impl Strategy<Value = Vec<TlvMap>> {
    vec((any::<(u16, u8)>(), 1u8..32, 0u16..64), 0..4).prop_map(|maps| {
        let map = |((class, kind), words, index)| TlvMap { class, kind, length: words * 4, index };
        maps.into_iter().map(map).collect()
    })
}

fn packet_in2() -> impl Strategy<Value = PacketIn2> {
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

fn packet_in() -> impl Strategy<Value = PacketIn> {
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

fn flow_removed() -> impl Strategy<Value = FlowRemoved> {
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

fn ct_tuple(v6: bool, icmp: bool) -> impl Strategy<Value = CtTuple> {
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

fn ct_flush() -> impl Strategy<Value = CtFlush> {
    any::<(bool, bool)>().prop_flat_map(|(v6, icmp)| {
        let proto = if icmp { select(vec![1u8, 58]) } else { select(vec![0u8, 6, 17]) };
        (proto, ct_tuple(v6, icmp), ct_tuple(v6, icmp), option::of(any::<u16>()))
            .prop_map(|(ip_proto, original, reply, zone)| CtFlush { ip_proto, original, reply, zone })
    })
}

fn monitor() -> impl Strategy<Value = FlowMonitor> {
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

fn flow_update() -> impl Strategy<Value = FlowUpdate> {
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

fn ipfix() -> impl Strategy<Value = IpfixStats> {
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

fn queue_id() -> impl Strategy<Value = QueueId> {
    prop_oneof![any::<u32>().prop_map(QueueId), Just(QueueId::ALL)]
}

fn group_request() -> impl Strategy<Value = GroupId> {
    prop_oneof![(0u32..0xffff_ff00).prop_map(GroupId), Just(GroupId::ALL)]
}

/// All ones mean that a counter is not known.
fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![3 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn flow_request() -> impl Strategy<Value = FlowStatsRequest> {
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

type Kind = (&'static str, BoxedStrategy<Message>);

/// The kinds of message and how to make any of each, but for multiparts.
fn plain_kinds() -> Vec<Kind> {
    let hello = (1u8..7, option::of(any::<u32>())).prop_map(|(version, bitmap)| {
        // A hello that speaks no version at all is no hello.
        Hello { version, bitmap: bitmap.map(|bits| bits & 0x7e | 1 << version) }
    });
    let error = (
        select(vec![
            "OFPBRC_BAD_LEN",
            "OFPBAC_BAD_TYPE",
            "OFPFMFC_TABLE_FULL",
            "NXBRC_MUST_BE_ZERO",
            "OFPBFC_UNKNOWN",
        ]),
        flow_mod(),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(name, flow, cut, whole)| {
            let mut data = Vec::new();
            flow.encode_message(Xid(7), &mut data).unwrap();
            if !whole {
                data.truncate(cut.index(data.len()).max(8));
            }
            ErrorMessage { error: ErrorCode::from_name(name).unwrap(), data }
        });
    let features = (any::<u64>(), any::<u32>(), any::<(u8, u8)>(), any::<u32>()).prop_map(
        |(datapath_id, n_buffers, (n_tables, auxiliary_id), bits)| {
            Message::FeaturesReply(Features {
                datapath_id,
                n_buffers,
                n_tables,
                auxiliary_id,
                capabilities: bits & 0x16f,
                reserved: 0,
            })
        },
    );
    let config = (
        select(vec![
            FragmentMode::Normal,
            FragmentMode::Drop,
            FragmentMode::Reassemble,
            FragmentMode::NxMatch,
        ]),
        any::<u16>(),
    )
        .prop_map(|(fragments, miss_send_len)| SwitchConfig { fragments, miss_send_len });
    let status = (select(vec![PortReason::Add, PortReason::Delete, PortReason::Modify]), port_description())
        .prop_map(|(reason, port)| Message::PortStatus(PortStatus { reason, port }));
    let in_port = select(vec![OfPort(1), OfPort::CONTROLLER, OfPort::LOCAL, OfPort(77)]);
    let packet_out =
        (in_port, actions(), frame(), option::of(0u32..9)).prop_map(|(in_port, actions, data, buffer)| {
            let data = if buffer.is_some() { Vec::new() } else { data };
            Message::PacketOut(PacketOut { buffer_id: buffer.unwrap_or(NO_BUFFER), in_port, actions, data })
        });
    let port_mod = (real_port(), mac(), any::<[u32; 3]>())
        .prop_map(|(port, address, n)| {
            Message::PortMod(PortMod {
                port,
                address,
                config: n[0] & 0x65,
                mask: n[1] & 0x65,
                advertise: n[2] & 0xffff,
            })
        })
        .boxed();
    let queues = vec((real_port(), any::<u32>(), option::of(0u16..1200), option::of(0u16..1200)), 0..4)
        .prop_map(|all| {
            let queue = |(port, queue, min_rate, max_rate)| QueueConfig {
                queue: QueueId(queue),
                port,
                min_rate,
                max_rate,
            };
            Message::QueueGetConfigReply { port: OfPort::ANY, queues: all.into_iter().map(queue).collect() }
        });
    let role_request =
        (role(), any::<u64>()).prop_map(|(role, generation)| RoleRequest { role, generation }).boxed();
    let bundle = any::<(u32, u16)>().prop_map(|(id, flags)| (BundleId(id), BundleFlags(flags & 3)));
    let control = {
        use BundleControlType::*;
        select(vec![
            OpenRequest,
            OpenReply,
            CloseRequest,
            CloseReply,
            CommitRequest,
            CommitReply,
            DiscardRequest,
            DiscardReply,
        ])
    };
    let bundle_control = (bundle.clone(), control)
        .prop_map(|((bundle, flags), kind)| Message::BundleControl(BundleControl { bundle, kind, flags }));
    let bundled = prop_oneof![
        flow_mod().prop_map(Message::FlowMod),
        group_mod().prop_map(Message::GroupMod),
        port_mod.clone(),
    ];
    let bundle_add = (bundle, bundled).prop_map(|((bundle, flags), message)| {
        Message::BundleAdd(BundleAdd { bundle, flags, message: Box::new(message) })
    });
    vec![
        ("OFPT_HELLO", hello.prop_map(Message::Hello).boxed()),
        ("OFPT_ERROR", error.prop_map(Message::Error).boxed()),
        ("OFPT_ECHO_REQUEST", vec(any::<u8>(), 0..40).prop_map(Message::EchoRequest).boxed()),
        ("OFPT_ECHO_REPLY", vec(any::<u8>(), 0..40).prop_map(Message::EchoReply).boxed()),
        ("OFPT_FEATURES_REQUEST", Just(Message::FeaturesRequest).boxed()),
        ("OFPT_FEATURES_REPLY", features.boxed()),
        ("OFPT_GET_CONFIG_REQUEST", Just(Message::GetConfigRequest).boxed()),
        ("OFPT_GET_CONFIG_REPLY", config.clone().prop_map(Message::GetConfigReply).boxed()),
        ("OFPT_SET_CONFIG", config.prop_map(Message::SetConfig).boxed()),
        ("OFPT_PACKET_IN", packet_in().prop_map(Message::PacketIn).boxed()),
        ("OFPT_FLOW_REMOVED", flow_removed().prop_map(Message::FlowRemoved).boxed()),
        ("OFPT_PORT_STATUS", status.boxed()),
        ("OFPT_PACKET_OUT", packet_out.boxed()),
        ("OFPT_FLOW_MOD", flow_mod().prop_map(Message::FlowMod).boxed()),
        ("OFPT_GROUP_MOD", group_mod().prop_map(Message::GroupMod).boxed()),
        ("OFPT_PORT_MOD", port_mod),
        (
            "OFPT_TABLE_MOD",
            any::<u8>()
                .prop_map(|table| Message::TableMod(TableMod { table: TableId(table), config: 0 }))
                .boxed(),
        ),
        ("OFPT_METER_MOD", meter_mod().prop_map(Message::MeterMod).boxed()),
        ("OFPT_BARRIER_REQUEST", Just(Message::BarrierRequest).boxed()),
        ("OFPT_BARRIER_REPLY", Just(Message::BarrierReply).boxed()),
        ("OFPT_QUEUE_GET_CONFIG_REQUEST", real_port().prop_map(Message::QueueGetConfigRequest).boxed()),
        ("OFPT_QUEUE_GET_CONFIG_REPLY", queues.boxed()),
        ("OFPT_ROLE_REQUEST", role_request.clone().prop_map(Message::RoleRequest).boxed()),
        ("OFPT_ROLE_REPLY", role_request.prop_map(Message::RoleReply).boxed()),
        ("OFPT_GET_ASYNC_REQUEST", Just(Message::GetAsyncRequest).boxed()),
        ("OFPT_GET_ASYNC_REPLY", async_config().prop_map(Message::GetAsyncReply).boxed()),
        ("OFPT_SET_ASYNC", async_config().prop_map(Message::SetAsync).boxed()),
        ("ONFT_BUNDLE_CONTROL", bundle_control.boxed()),
        ("ONFT_BUNDLE_ADD_MESSAGE", bundle_add.boxed()),
    ]
}

/// Nicira's and the Open Networking Foundation's.
fn experimenter_kinds() -> Vec<Kind> {
    use NiciraMessage as N;
    let nxt_role = || select(vec![Role::Equal, Role::Primary, Role::Secondary]);
    let format = select(vec![PacketInFormat::Standard, PacketInFormat::Nxt, PacketInFormat::Nxt2]);
    let change =
        (select(vec![TlvTableCommand::Add, TlvTableCommand::Delete, TlvTableCommand::Clear]), tlv_maps())
            .prop_map(|(command, maps)| TlvTableMod { command, maps });
    let tlv_table = (any::<u32>(), 64u16.., tlv_maps())
        .prop_map(|(max_option_space, max_fields, maps)| TlvTable { max_option_space, max_fields, maps });
    let removed = flow_removed().prop_map(|removed| FlowRemoved { hard_timeout: 0, ..removed });
    let reason = select(vec![
        RoleReason::PrimaryRequest,
        RoleReason::Config,
        RoleReason::Experimenter,
        RoleReason::Other(9),
    ]);
    let status = (role(), reason, any::<u64>()).prop_map(|(role, reason, generation)| {
        OnfMessage::RoleStatus(RoleStatus { role, reason, generation })
    });
    let forwarded = prop_oneof![
        group_mod().prop_map(ForwardedRequest::Group),
        meter_mod().prop_map(ForwardedRequest::Meter),
    ];
    let forwarded = forwarded.prop_map(|request| OnfMessage::RequestForward(Xid(9), Box::new(request)));
    let nicira: Vec<(&'static str, BoxedStrategy<NiciraMessage>)> = vec![
        ("NXT_ROLE_REQUEST", nxt_role().prop_map(N::RoleRequest).boxed()),
        ("NXT_ROLE_REPLY", nxt_role().prop_map(N::RoleReply).boxed()),
        ("NXT_FLOW_REMOVED", removed.prop_map(|removed| N::FlowRemoved(Box::new(removed))).boxed()),
        ("NXT_FLOW_MOD_TABLE_ID", any::<bool>().prop_map(N::FlowModTableId).boxed()),
        ("NXT_PACKET_IN", packet_in().prop_map(|packet| N::PacketIn(Box::new(packet))).boxed()),
        ("NXT_FLOW_AGE", Just(N::FlowAge).boxed()),
        ("NXT_SET_ASYNC_CONFIG", async_config().prop_map(N::SetAsyncConfig).boxed()),
        ("NXT_SET_ASYNC_CONFIG2", async_properties().prop_map(N::SetAsyncConfig2).boxed()),
        ("NXT_SET_PACKET_IN_FORMAT", format.prop_map(N::SetPacketInFormat).boxed()),
        ("NXT_SET_CONTROLLER_ID", any::<u16>().prop_map(N::SetControllerId).boxed()),
        ("NXT_TLV_TABLE_MOD", change.prop_map(N::TlvTableMod).boxed()),
        ("NXT_TLV_TABLE_REQUEST", Just(N::TlvTableRequest).boxed()),
        ("NXT_TLV_TABLE_REPLY", tlv_table.prop_map(N::TlvTableReply).boxed()),
        ("NXT_CT_FLUSH_ZONE", any::<u16>().prop_map(N::CtFlushZone).boxed()),
        ("NXT_CT_FLUSH", ct_flush().prop_map(|flush| N::CtFlush(Box::new(flush))).boxed()),
        ("NXT_PACKET_IN2", packet_in2().prop_map(|packet| N::PacketIn2(Box::new(packet))).boxed()),
        ("NXT_RESUME", packet_in2().prop_map(|packet| N::Resume(Box::new(packet))).boxed()),
    ];
    let onf: Vec<(&'static str, BoxedStrategy<OnfMessage>)> = vec![
        (
            "ONFT_FLOW_MONITOR_CANCEL",
            any::<u32>().prop_map(|id| OnfMessage::FlowMonitorCancel(MonitorId(id))).boxed(),
        ),
        ("ONFT_FLOW_MONITOR_PAUSED", Just(OnfMessage::FlowMonitorPaused).boxed()),
        ("ONFT_FLOW_MONITOR_RESUMED", Just(OnfMessage::FlowMonitorResumed).boxed()),
        ("ONFT_ROLE_STATUS", status.boxed()),
        ("ONFT_REQUESTFORWARD", forwarded.boxed()),
    ];
    let nicira = nicira.into_iter().map(|(name, some)| (name, some.prop_map(Message::Nicira).boxed()));
    let onf = onf.into_iter().map(|(name, some)| (name, some.prop_map(Message::Onf).boxed()));
    nicira.chain(onf).collect()
}

fn request_kinds() -> Vec<Kind> {
    use MultipartRequest as R;
    let all: Vec<(&'static str, BoxedStrategy<MultipartRequest>)> = vec![
        ("OFPST_DESC request", Just(R::Description).boxed()),
        ("OFPST_FLOW request", flow_request().prop_map(R::Flow).boxed()),
        ("OFPST_AGGREGATE request", flow_request().prop_map(R::Aggregate).boxed()),
        ("OFPST_TABLE request", Just(R::Table).boxed()),
        ("OFPST_PORT_DESC request", Just(R::PortDescription).boxed()),
        ("OFPST_PORT request", port().prop_map(R::PortStats).boxed()),
        ("OFPST_QUEUE request", (port(), queue_id()).prop_map(|(port, queue)| R::Queue(port, queue)).boxed()),
        ("OFPST_GROUP request", group_request().prop_map(R::GroupStats).boxed()),
        ("OFPST_GROUP_DESC request", Just(R::GroupDescription).boxed()),
        ("OFPST_GROUP_FEATURES request", Just(R::GroupFeatures).boxed()),
        ("OFPST_METER request", meter_id().prop_map(R::MeterStats).boxed()),
        ("OFPST_METER_CONFIG request", meter_id().prop_map(R::MeterConfig).boxed()),
        ("OFPST_METER_FEATURES request", Just(R::MeterFeatures).boxed()),
        ("OFPST_TABLE_FEATURES request", table_features().prop_map(R::TableFeatures).boxed()),
        ("ONFST_FLOW_MONITOR request", vec(monitor(), 0..3).prop_map(R::FlowMonitor).boxed()),
        ("NXST_IPFIX_BRIDGE request", Just(R::IpfixBridge).boxed()),
        ("NXST_IPFIX_FLOW request", Just(R::IpfixFlow).boxed()),
    ];
    all.into_iter().map(|(name, some)| (name, some.prop_map(Message::MultipartRequest).boxed())).collect()
}

fn reply_kinds() -> Vec<Kind> {
    use MultipartBody as B;
    let description = (word(256), word(256), word(256), word(32), word(256)).prop_map(
        |(manufacturer, hardware, software, serial, datapath)| {
            B::Description(Box::new(SwitchDescription { manufacturer, hardware, software, serial, datapath }))
        },
    );
    let flow = (entry(), duration(), counter(), counter())
        .prop_map(|(entry, duration, packets, bytes)| FlowStats { entry, duration, packets, bytes });
    let aggregate = (counter(), counter(), any::<u32>())
        .prop_map(|(packets, bytes, flows)| B::Aggregate(AggregateStats { packets, bytes, flows }));
    let tables = vec((table(), 0u32..2, 0u64..2, 0u64..2), 0..6).prop_map(|all| {
        let one = |(table, active, lookups, matched)| TableStats { table, active, lookups, matched };
        B::Table(all.into_iter().map(one).collect())
    });
    let ports = (port(), proptest::array::uniform12(counter()), option::of(duration())).prop_map(
        |(port, n, duration)| PortStats {
            port,
            rx_packets: n[0],
            tx_packets: n[1],
            rx_bytes: n[2],
            tx_bytes: n[3],
            rx_dropped: n[4],
            tx_dropped: n[5],
            rx_errors: n[6],
            tx_errors: n[7],
            rx_frame_err: n[8],
            rx_over_err: n[9],
            rx_crc_err: n[10],
            collisions: n[11],
            duration,
        },
    );
    let queues = (real_port(), any::<u32>(), proptest::array::uniform3(counter()), option::of(duration()))
        .prop_map(|(port, queue, n, duration)| QueueStats {
            port,
            queue: QueueId(queue),
            tx_bytes: n[0],
            tx_packets: n[1],
            tx_errors: n[2],
            duration,
        });
    let groups = (any::<(u32, u32)>(), counters(), duration(), vec(counters(), 0..4)).prop_map(
        |((group, references), counters, duration, buckets)| GroupStats {
            group: GroupId(group),
            references,
            counters,
            duration,
            buckets,
        },
    );
    let group_features =
        any::<([u32; 2], [u32; 4], [u32; 4])>().prop_map(|([types, capabilities], max_groups, actions)| {
            B::GroupFeatures(GroupFeatures { types: types & 15, capabilities, max_groups, actions })
        });
    let meters = (meter_id(), any::<u32>(), counters(), duration(), vec(counters(), 0..4)).prop_map(
        |(meter, flows, input, duration, bands)| MeterStats { meter, flows, input, duration, bands },
    );
    let meter_features = any::<([u32; 3], [u8; 2])>().prop_map(|(n, [max_bands, max_color])| {
        B::MeterFeatures(MeterFeatures {
            max_meters: n[0],
            band_types: n[1],
            capabilities: n[2],
            max_bands,
            max_color,
        })
    });
    let all: Vec<(&'static str, BoxedStrategy<MultipartBody>)> = vec![
        ("OFPST_DESC reply", description.boxed()),
        ("OFPST_FLOW reply", vec(flow, 0..4).prop_map(B::Flow).boxed()),
        ("OFPST_AGGREGATE reply", aggregate.boxed()),
        ("OFPST_TABLE reply", tables.boxed()),
        ("OFPST_PORT_DESC reply", vec(port_description(), 0..4).prop_map(B::PortDescription).boxed()),
        ("OFPST_PORT reply", vec(ports, 0..4).prop_map(B::PortStats).boxed()),
        ("OFPST_QUEUE reply", vec(queues, 0..4).prop_map(B::Queue).boxed()),
        ("OFPST_GROUP reply", vec(groups, 0..4).prop_map(B::GroupStats).boxed()),
        ("OFPST_GROUP_DESC reply", vec(group(), 0..4).prop_map(B::GroupDescription).boxed()),
        ("OFPST_GROUP_FEATURES reply", group_features.boxed()),
        ("OFPST_METER reply", vec(meters, 0..4).prop_map(B::MeterStats).boxed()),
        ("OFPST_METER_CONFIG reply", vec(meter(), 0..4).prop_map(B::MeterConfig).boxed()),
        ("OFPST_METER_FEATURES reply", meter_features.boxed()),
        (
            "OFPST_TABLE_FEATURES reply",
            table_features()
                .prop_filter("one at least", |all| !all.is_empty())
                .prop_map(B::TableFeatures)
                .boxed(),
        ),
        ("ONFST_FLOW_MONITOR reply", vec(flow_update(), 0..4).prop_map(B::FlowMonitor).boxed()),
        ("NXST_IPFIX_BRIDGE reply", ipfix().prop_map(|stats| B::IpfixBridge(Box::new(stats))).boxed()),
        ("NXST_IPFIX_FLOW reply", vec(ipfix(), 0..4).prop_map(B::IpfixFlow).boxed()),
    ];
    let reply = |(more, body)| Message::MultipartReply(MultipartReply { more, body });
    all.into_iter().map(|(name, some)| (name, (any::<bool>(), some).prop_map(reply).boxed())).collect()
}

/// Every kind of message, and how to make any of it.
pub(crate) fn kinds() -> Vec<Kind> {
    [plain_kinds(), experimenter_kinds(), request_kinds(), reply_kinds()].concat()
}
