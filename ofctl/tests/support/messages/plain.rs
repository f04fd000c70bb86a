//! OpenFlow's own kinds, but for multiparts.

use ofctl::wire::{
    BundleAdd, BundleControl, BundleControlType, BundleFlags, BundleId, ErrorCode, ErrorMessage, Features,
    FragmentMode, Hello, Message, NO_BUFFER, OfPort, PacketOut, PortMod, PortReason, PortStatus, QueueConfig,
    QueueId, RoleRequest, SwitchConfig, TableId, TableMod, Xid,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::Kind;
use super::bodies::*;
use super::parts::*;

/// The kinds of message and how to make any of each, but for multiparts.
pub(super) fn kinds() -> Vec<Kind> {
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
