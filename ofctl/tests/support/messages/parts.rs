//! What messages are made of: matches, instructions, ports, groups, meters.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowFlags};
use ofctl::wire::{
    Action, BandKind, Bucket, Cookie, Counters, FlowMod, FlowModCommand, GroupDescription, GroupId, GroupMod,
    GroupModCommand, GroupType, Instructions, Match, MeterBand, MeterConfig, MeterFlags, MeterId, MeterMod,
    MeterModCommand, OfPort, PortDescription, TableId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Matches of many protocols; each field by itself is compared elsewhere.
pub(super) fn matches() -> impl Strategy<Value = Match> {
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

pub(super) fn instructions() -> impl Strategy<Value = Instructions> {
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
pub(super) fn actions() -> impl Strategy<Value = Vec<Action>> {
    instructions().prop_filter_map("more than actions", |all| {
        (all == Instructions { apply: all.apply.clone(), ..Instructions::default() }).then_some(all.apply)
    })
}

pub(super) fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![
        3 => (1u32..0xff00).prop_map(OfPort),
        1 => select(vec![OfPort::LOCAL, OfPort::ANY, OfPort::CONTROLLER]),
    ]
}

pub(super) fn real_port() -> impl Strategy<Value = OfPort> {
    (1u32..0xff00).prop_map(OfPort)
}

pub(super) fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

pub(super) fn duration() -> impl Strategy<Value = Duration> {
    (0u32..u32::MAX, prop_oneof![Just(0), (0u32..1000).prop_map(|ms| ms * 1_000_000), 0u32..1_000_000_000])
        .prop_map(|(seconds, nanoseconds)| Duration::new(seconds.into(), nanoseconds))
}

pub(super) fn counters() -> impl Strategy<Value = Counters> {
    any::<(u64, u64)>().prop_map(|(packets, bytes)| Counters { packets, bytes })
}

pub(super) fn table() -> impl Strategy<Value = TableId> {
    (0u8..255).prop_map(TableId)
}

pub(super) fn word(max: usize) -> impl Strategy<Value = String> {
    vec(select(b"abcxyz019_-.".to_vec()), 0..max)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect())
}

/// Frames of many protocols, and some that end too early.
pub(super) fn frame() -> impl Strategy<Value = Vec<u8>> {
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

pub(super) fn cookie() -> impl Strategy<Value = Cookie> {
    any::<u64>().prop_map(Cookie)
}

pub(super) fn port_description() -> impl Strategy<Value = PortDescription> {
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

pub(super) fn entry() -> impl Strategy<Value = FlowEntry> {
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

pub(super) fn flow_mod() -> impl Strategy<Value = FlowMod> {
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

pub(super) fn bucket(kind: GroupType) -> impl Strategy<Value = Bucket> {
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

pub(super) fn group() -> impl Strategy<Value = GroupDescription> {
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

pub(super) fn meter_id() -> impl Strategy<Value = MeterId> {
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

pub(super) fn meter_mod() -> impl Strategy<Value = MeterMod> {
    use MeterModCommand::*;
    (meter(), select(vec![Add, Modify, Delete])).prop_map(|(MeterConfig { flags, meter, bands }, command)| {
        match command {
            Delete => MeterMod { command, flags: MeterFlags::default(), meter, bands: Vec::new() },
            _ => MeterMod { command, flags, meter, bands },
        }
    })
}
