//! What this crate carries through and a switch does not know: fields, actions, messages, and ports that cannot be.

use super::Violation;
use crate::wire::{
    Action, Field, Instructions, Match, Message, MultipartRequest, NICIRA_EXPERIMENTER, ONF_EXPERIMENTER,
    OfPort, TableId,
};

/// Last of Nicira's actions in Open vSwitch 3.1, `NXAST_DELETE_FIELD`, and those before it that are no more.
const LAST_NICIRA_ACTION: u16 = 50;
const GONE_NICIRA_ACTIONS: [u16; 3] = [0, 3, 11];
/// `NXAST_REG_MOVE`, `_REG_LOAD`, `_OUTPUT_REG`, `_STACK_PUSH`, `_STACK_POP` and `_REG_LOAD2`, which are carried if
/// their fields are not known.
const OF_FIELDS: [u16; 6] = [6, 7, 15, 27, 28, 33];
/// Last action of OpenFlow 1.3, `OFPAT_POP_PBB`.
const LAST_ACTION: u16 = 27;

/// `OFPAT_SET_FIELD`, which is carried if its field is not known.
const SET_FIELD: u16 = 25;

/// Ports are numbered to here, or are reserved ones from the other end; Open vSwitch knows 16 bits of each.
const FIRST_RESERVED: u32 = 0xffff_ff00;
const END_OF_PORTS: u32 = 0xff00;

pub(super) fn check(message: &Message) -> Result<(), Violation> {
    match message {
        Message::FlowMod(flow) => {
            port("out_port", flow.out_port, BAD_OUT_PORT)?;
            matching(&flow.matching)?;
            instructions(&flow.instructions)
        }
        Message::GroupMod(change) => change.buckets.iter().try_for_each(|bucket| {
            port("watch_port", bucket.watch_port, BAD_OUT_PORT)?;
            actions(&bucket.actions)
        }),
        Message::PacketOut(packet) => {
            port("in_port", packet.in_port, BAD_PORT)?;
            actions(&packet.actions)
        }
        Message::PortMod(change) => port("port_mod", change.port, BAD_OUT_PORT),
        Message::MultipartRequest(request) => multipart(request),
        Message::QueueGetConfigRequest(wanted) => port("queue_get_config", *wanted, BAD_OUT_PORT),
        Message::BundleAdd(add) => match &*add.message {
            Message::FlowMod(_) | Message::GroupMod(_) | Message::PortMod(_) | Message::PacketOut(_) => {
                check(&add.message)
            }
            _ => Err(unknown("such a message in a bundle".to_owned(), "OFPBFC_MSG_UNSUP")),
        },
        Message::Experimenter { experimenter, kind, .. } => {
            let known = matches!(*experimenter, NICIRA_EXPERIMENTER | ONF_EXPERIMENTER);
            let error = if known { "OFPBRC_BAD_SUBTYPE" } else { "OFPBRC_BAD_VENDOR" };
            Err(unknown(format!("message {kind} of experimenter {experimenter:#x}"), error))
        }
        Message::Unknown { kind, .. } => Err(unknown(format!("message type {kind}"), "OFPBRC_BAD_TYPE")),
        _ => Ok(()),
    }
}

const BAD_FIELD: &str = "OFPBMC_BAD_FIELD";
const BAD_OUT_PORT: &str = "OFPBAC_BAD_OUT_PORT";
const BAD_PORT: &str = "OFPBRC_BAD_PORT";

fn unknown(what: String, error: &'static str) -> Violation {
    Violation::Unknown { what, error }
}

fn port(what: &'static str, port: OfPort, error: &'static str) -> Result<(), Violation> {
    if (END_OF_PORTS..FIRST_RESERVED).contains(&port.0) {
        return Err(Violation::Port { what, port: port.0, error });
    }
    Ok(())
}

/// A port that packets can leave by.
fn output(port: OfPort) -> Result<(), Violation> {
    let reserved = matches!(
        port,
        OfPort::IN_PORT
            | OfPort::TABLE
            | OfPort::NORMAL
            | OfPort::FLOOD
            | OfPort::ALL
            | OfPort::CONTROLLER
            | OfPort::LOCAL
    );
    if port.0 >= END_OF_PORTS && !reserved {
        return Err(Violation::Port { what: "output", port: port.0, error: BAD_OUT_PORT });
    }
    Ok(())
}

fn multipart(request: &MultipartRequest) -> Result<(), Violation> {
    match request {
        MultipartRequest::Flow(flows) | MultipartRequest::Aggregate(flows) => {
            port("out_port", flows.out_port, BAD_OUT_PORT)?;
            matching(&flows.matching)
        }
        MultipartRequest::PortStats(wanted) => port("port_stats", *wanted, BAD_OUT_PORT),
        MultipartRequest::Queue(wanted, _) => port("queue_stats", *wanted, BAD_OUT_PORT),
        MultipartRequest::FlowMonitor(monitors) => monitors.iter().try_for_each(|monitor| {
            port("out_port", monitor.out_port, BAD_OUT_PORT)?;
            matching(&monitor.matching)
        }),
        MultipartRequest::Experimenter { experimenter, .. } => {
            let known = matches!(*experimenter, NICIRA_EXPERIMENTER | ONF_EXPERIMENTER);
            let error = if known { "OFPBRC_BAD_SUBTYPE" } else { "OFPBRC_BAD_VENDOR" };
            Err(unknown(format!("multipart of experimenter {experimenter:#x}"), error))
        }
        MultipartRequest::Unknown { kind, .. } => {
            Err(unknown(format!("multipart {kind}"), "OFPBRC_BAD_STAT"))
        }
        _ => Ok(()),
    }
}

/// Checks that the fields are known, and can have such values. Open vSwitch keeps 8 bits of an ARP operation.
fn matching(matching: &Match) -> Result<(), Violation> {
    let known = matching.exact(Field::InPort).is_none_or(|port| {
        let port = port.to_u64();
        port < END_OF_PORTS.into() || port >= FIRST_RESERVED.into()
    });
    if !known {
        return Err(unknown("in_port of such a number".to_owned(), "OFPBMC_BAD_VALUE"));
    }
    if matching.get(Field::ArpOp).is_some_and(|condition| condition.value.to_u64() > 0xff) {
        return Err(unknown("an ARP operation above 255".to_owned(), "OFPBMC_BAD_VALUE"));
    }
    match matching.unknown() {
        [] => Ok(()),
        [high, low, ..] => Err(unknown(format!("match field of class 0x{high:02x}{low:02x}"), BAD_FIELD)),
        [_] => Err(unknown("match field".to_owned(), BAD_FIELD)),
    }
}

/// Checks the instructions. No table has the number that means all of them.
fn instructions(instructions: &Instructions) -> Result<(), Violation> {
    actions(&instructions.apply)?;
    actions(&instructions.write)?;
    match instructions.goto {
        Some(TableId::ALL) => Err(unknown("table 255 to go to".to_owned(), "OFPBIC_BAD_TABLE_ID")),
        _ => Ok(()),
    }
}

fn actions(all: &[Action]) -> Result<(), Violation> {
    all.iter().try_for_each(|action| match action {
        Action::Output(port) | Action::OutputWith { port, .. } => output(*port),
        Action::OutputTrunc { port, .. } => output(OfPort::from_16(*port)),
        Action::Clone(inner) => actions(inner),
        Action::Ct(ct) => actions(&ct.actions),
        Action::Unknown(bytes) => unknown_action(bytes),
        _ => Ok(()),
    })
}

/// What is known by its number is carried because something stands where Open vSwitch does not look.
fn unknown_action(bytes: &[u8]) -> Result<(), Violation> {
    let number = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    };
    let experimenter = u32::from(number(4)) << 16 | u32::from(number(6));
    match number(0) {
        0xffff if experimenter == NICIRA_EXPERIMENTER && OF_FIELDS.contains(&number(8)) => {
            Err(unknown(format!("the field of Nicira's action {}", number(8)), "OFPBAC_BAD_SET_TYPE"))
        }
        0xffff
            if experimenter == NICIRA_EXPERIMENTER
                && number(8) <= LAST_NICIRA_ACTION
                && !GONE_NICIRA_ACTIONS.contains(&number(8)) =>
        {
            Ok(())
        }
        0xffff if experimenter == NICIRA_EXPERIMENTER => {
            Err(unknown(format!("Nicira's action {}", number(8)), "OFPBAC_BAD_VENDOR_TYPE"))
        }
        0xffff => Err(unknown(format!("an action of experimenter {experimenter:#x}"), "OFPBAC_BAD_VENDOR")),
        SET_FIELD => Err(unknown("the field of a set_field".to_owned(), "OFPBAC_BAD_SET_TYPE")),
        kind if kind <= LAST_ACTION => Ok(()),
        kind => Err(unknown(format!("action type {kind:#06x}"), "OFPBAC_BAD_TYPE")),
    }
}
