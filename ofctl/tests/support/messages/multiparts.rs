//! Multipart requests and replies.

use ofctl::flow::FlowStats;
use ofctl::wire::{
    AggregateStats, GroupFeatures, GroupId, GroupStats, Message, MeterFeatures, MeterStats, MultipartBody,
    MultipartReply, MultipartRequest, PortStats, QueueId, QueueStats, SwitchDescription, TableStats,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::Kind;
use super::bodies::*;
use super::parts::*;
use super::tables::*;

pub(super) fn request_kinds() -> Vec<Kind> {
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

pub(super) fn reply_kinds() -> Vec<Kind> {
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
