//! Names of messages by the beginning of their bytes.

use crate::wire::{NICIRA_EXPERIMENTER, ONF_EXPERIMENTER, VERSION};

/// By `OFPT_*`; multiparts and experimenters have names of their own.
const TYPES: [&str; 30] = [
    "OFPT_HELLO",
    "OFPT_ERROR",
    "OFPT_ECHO_REQUEST",
    "OFPT_ECHO_REPLY",
    "",
    "OFPT_FEATURES_REQUEST",
    "OFPT_FEATURES_REPLY",
    "OFPT_GET_CONFIG_REQUEST",
    "OFPT_GET_CONFIG_REPLY",
    "OFPT_SET_CONFIG",
    "OFPT_PACKET_IN",
    "OFPT_FLOW_REMOVED",
    "OFPT_PORT_STATUS",
    "OFPT_PACKET_OUT",
    "OFPT_FLOW_MOD",
    "OFPT_GROUP_MOD",
    "OFPT_PORT_MOD",
    "OFPT_TABLE_MOD",
    "",
    "",
    "OFPT_BARRIER_REQUEST",
    "OFPT_BARRIER_REPLY",
    "OFPT_QUEUE_GET_CONFIG_REQUEST",
    "OFPT_QUEUE_GET_CONFIG_REPLY",
    "OFPT_ROLE_REQUEST",
    "OFPT_ROLE_REPLY",
    "OFPT_GET_ASYNC_REQUEST",
    "OFPT_GET_ASYNC_REPLY",
    "OFPT_SET_ASYNC",
    "OFPT_METER_MOD",
];

/// By `OFPMP_*`.
const MULTIPARTS: [&str; 14] = [
    "DESC",
    "FLOW",
    "AGGREGATE",
    "TABLE",
    "PORT",
    "QUEUE",
    "GROUP",
    "GROUP_DESC",
    "GROUP_FEATURES",
    "METER",
    "METER_CONFIG",
    "METER_FEATURES",
    "TABLE_FEATURES",
    "PORT_DESC",
];

/// By experimenter and its own type.
const EXPERIMENTERS: [(u32, u32, &str); 20] = [
    (NICIRA_EXPERIMENTER, 10, "NXT_ROLE_REQUEST"),
    (NICIRA_EXPERIMENTER, 11, "NXT_ROLE_REPLY"),
    (NICIRA_EXPERIMENTER, 14, "NXT_FLOW_REMOVED"),
    (NICIRA_EXPERIMENTER, 15, "NXT_FLOW_MOD_TABLE_ID"),
    (NICIRA_EXPERIMENTER, 16, "NXT_SET_PACKET_IN_FORMAT"),
    (NICIRA_EXPERIMENTER, 17, "NXT_PACKET_IN"),
    (NICIRA_EXPERIMENTER, 19, "NXT_SET_ASYNC_CONFIG"),
    (NICIRA_EXPERIMENTER, 20, "NXT_SET_CONTROLLER_ID"),
    (NICIRA_EXPERIMENTER, 24, "NXT_TLV_TABLE_MOD"),
    (NICIRA_EXPERIMENTER, 26, "NXT_TLV_TABLE_REPLY"),
    (NICIRA_EXPERIMENTER, 27, "NXT_SET_ASYNC_CONFIG2"),
    (NICIRA_EXPERIMENTER, 28, "NXT_RESUME"),
    (NICIRA_EXPERIMENTER, 29, "NXT_CT_FLUSH_ZONE"),
    (NICIRA_EXPERIMENTER, 30, "NXT_PACKET_IN2"),
    (NICIRA_EXPERIMENTER, 32, "NXT_CT_FLUSH"),
    (ONF_EXPERIMENTER, 1870, "ONFT_FLOW_MONITOR_CANCEL"),
    (ONF_EXPERIMENTER, 1911, "ONFT_ROLE_STATUS"),
    (ONF_EXPERIMENTER, 2300, "ONFT_BUNDLE_CONTROL"),
    (ONF_EXPERIMENTER, 2301, "ONFT_BUNDLE_ADD_MESSAGE"),
    (ONF_EXPERIMENTER, 2350, "ONFT_REQUESTFORWARD"),
];

/// The name of a message of OpenFlow 1.3 of which there is perhaps no more than the beginning.
pub(super) fn of(bytes: &[u8]) -> Option<String> {
    let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let [VERSION, kind, ..] = *bytes else { return None };
    let side = if kind == 18 { "request" } else { "reply" };
    match kind {
        4 => {
            let (experimenter, subtype) = (word(8)?, word(12)?);
            let known = EXPERIMENTERS.iter().find(|row| (row.0, row.1) == (experimenter, subtype));
            known.map(|(_, _, name)| (*name).to_owned())
        }
        18 | 19 => match half(8)? {
            0xffff => match (word(16)?, word(20)?) {
                (ONF_EXPERIMENTER, 1870) => Some(format!("ONFST_FLOW_MONITOR {side}")),
                _ => None,
            },
            number => MULTIPARTS.get(usize::from(number)).map(|name| format!("OFPST_{name} {side}")),
        },
        _ => TYPES.get(usize::from(kind)).map(|name| (*name).to_owned()),
    }
}
