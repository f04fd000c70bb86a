//! Kinds of Nicira and of the Open Networking Foundation.

use ofctl::wire::{
    FlowRemoved, ForwardedRequest, Message, MonitorId, NiciraMessage, OnfMessage, PacketInFormat, Role,
    RoleReason, RoleStatus, TlvTable, TlvTableCommand, TlvTableMod, Xid,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::Kind;
use super::bodies::*;
use super::parts::*;

/// Nicira's and the Open Networking Foundation's.
pub(super) fn kinds() -> Vec<Kind> {
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
