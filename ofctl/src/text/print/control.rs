//! Everything else that is said between controllers and switches.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::{Hex, Printed, bits, dump, flow};
use crate::wire::{
    AsyncConfig, AsyncMessage, AsyncProperty, BundleAdd, BundleControl, BundleControlType, BundleFlags,
    CtFlush, CtTuple, ErrorMessage, Features, ForwardedRequest, FragmentMode, Hello, Message, MessageHeader,
    PacketInFormat, Role, RoleReason, RoleStatus, SwitchConfig, TlvMap, TlvTable, TlvTableCommand,
    TlvTableMod,
};

const CAPABILITIES: [(u32, &str); 7] = [
    (1 << 0, "FLOW_STATS"),
    (1 << 1, "TABLE_STATS"),
    (1 << 2, "PORT_STATS"),
    (1 << 3, "GROUP_STATS"),
    (1 << 5, "IP_REASM"),
    (1 << 6, "QUEUE_STATS"),
    (1 << 8, "PORT_BLOCKED"),
];

pub(super) fn hello(hello: &Hello, out: &mut String) -> fmt::Result {
    // Without a bitmap all up to the version are spoken; there is no version 0.
    let bitmap =
        hello.bitmap.unwrap_or_else(|| (2u32.checked_shl(hello.version.into()).unwrap_or(0)).wrapping_sub(2));
    let versions: Vec<String> =
        (0..32).filter(|bit| bitmap & 1 << bit != 0).map(|bit| format!("0x{bit:02x}")).collect();
    write!(out, "\n version bitmap: {}", versions.join(", "))
}

pub(super) fn error(error: &ErrorMessage, out: &mut String) -> fmt::Result {
    writeln!(out, " {}", error.error)?;
    if matches!(error.error.name(), Some("OFPHFC_INCOMPATIBLE" | "OFPHFC_EPERM")) {
        for &byte in &error.data {
            match byte {
                b' '..=b'~' if byte != b'\\' => out.push(byte.into()),
                b'\n' => out.push_str("\\n"),
                b'\t' => out.push_str("\\t"),
                b'\\' => out.push_str("\\\\"),
                byte => write!(out, "\\{byte:03o}")?,
            }
        }
        return Ok(());
    }
    refused(&error.data, out)
}

/// The message that was refused, or as much of it as there is.
fn refused(data: &[u8], out: &mut String) -> fmt::Result {
    if let Ok((xid, message)) = Message::decode(data) {
        return write!(out, "{}", Printed(xid, &message));
    }
    if data.is_empty() {
        out.push_str("OpenFlow message is empty\n");
        return Ok(());
    }
    match MessageHeader::peek(data) {
        Ok(Some(header)) if usize::from(header.length) > data.len() => {
            if let Some(name) = super::names::of(data) {
                writeln!(out, "{name} (OF1.3) (xid={:#x}):", header.xid.0)?;
            }
            writeln!(out, "(***truncated to {} bytes from {}***)", data.len(), header.length)?;
        }
        Ok(Some(header)) if usize::from(header.length) < data.len() => {
            writeln!(out, "(***only uses {} bytes out of {}***)", header.length, data.len())?;
        }
        Ok(None) => writeln!(out, "OpenFlow packet too short (only {} bytes):", data.len())?,
        _ => {}
    }
    dump(data, out)
}

pub(super) fn echo(data: &[u8], out: &mut String) -> fmt::Result {
    writeln!(out, " {} bytes of payload", data.len())?;
    dump(data, out)
}

pub(super) fn features(features: &Features, out: &mut String) -> fmt::Result {
    let Features { datapath_id, n_tables, n_buffers, auxiliary_id, capabilities, .. } = features;
    write!(out, " dpid:{datapath_id:016x}\nn_tables:{n_tables}, n_buffers:{n_buffers}")?;
    if *auxiliary_id != 0 {
        write!(out, ", auxiliary_id:{auxiliary_id}")?;
    }
    let known = CAPABILITIES.iter().fold(0, |all, (bit, _)| all | bit);
    write!(out, "\ncapabilities: {}\n", bits(capabilities & known, &CAPABILITIES, " "))
}

/// The name of a treatment of fragments.
pub fn fragment_mode(mode: FragmentMode) -> &'static str {
    match mode {
        FragmentMode::Normal => "normal",
        FragmentMode::Drop => "drop",
        FragmentMode::Reassemble => "reassemble",
        FragmentMode::NxMatch => "nx-match",
    }
}

pub(super) fn config(config: &SwitchConfig, out: &mut String) -> fmt::Result {
    write!(out, " frags={} miss_send_len={}", fragment_mode(config.fragments), config.miss_send_len)
}

pub(super) fn role(role: Role, generation: Option<u64>, out: &mut String) -> fmt::Result {
    out.push_str(match role {
        Role::NoChange => " role=nochange",
        Role::Equal => " role=equal",
        Role::Primary => " role=primary",
        Role::Secondary => " role=secondary",
    });
    // All ones say that there was no election; only with some roles there is one.
    match generation {
        Some(generation) if generation != u64::MAX => write!(out, " generation_id={generation}"),
        _ => Ok(()),
    }
}

pub(super) fn role_status(status: &RoleStatus, out: &mut String) -> fmt::Result {
    role(status.role, Some(status.generation), out)?;
    out.push_str(match status.reason {
        RoleReason::PrimaryRequest => " reason=primary_request",
        RoleReason::Config => " reason=configuration_changed",
        RoleReason::Experimenter => " reason=experimenter_data_changed",
        RoleReason::Other(_) => " reason=(unknown)",
    });
    Ok(())
}

/// Reasons for each kind of message, for a primary or equal controller and for a secondary.
pub(super) struct AsyncMasks([[u32; 6]; 2]);

impl AsyncMasks {
    /// As Open vSwitch understands the three kinds of OpenFlow 1.3.
    pub(super) fn of(config: &AsyncConfig) -> Self {
        let side = |n: usize| {
            [config.packet_in[n] & 7, config.port_status[n] & 7, config.flow_removed[n] & 0x3f, 0, 0, 0]
        };
        AsyncMasks([side(0), side(1)])
    }

    pub(super) fn of_properties(properties: &[AsyncProperty]) -> Self {
        let mut masks = [[0; 6]; 2];
        for property in properties {
            masks[usize::from(!property.primary)][property.message as usize] = property.mask;
        }
        AsyncMasks(masks)
    }
}

pub(super) fn async_config(masks: &AsyncMasks, out: &mut String) -> fmt::Result {
    const NAMES: [(AsyncMessage, &str, &[&str]); 6] = [
        (AsyncMessage::PacketIn, "PACKET_IN", &["no_match", "action", "invalid_ttl"]),
        (AsyncMessage::PortStatus, "PORT_STATUS", &["add", "delete", "modify"]),
        (AsyncMessage::FlowRemoved, "FLOW_REMOVED", &[]),
        (
            AsyncMessage::RoleStatus,
            "ROLE_STATUS",
            &["primary_request", "configuration_changed", "experimenter_data_changed"],
        ),
        (AsyncMessage::TableStatus, "TABLE_STATUS", &["", "", "", "vacancy_down", "vacancy_up"]),
        (AsyncMessage::RequestForward, "REQUESTFORWARD", &["group_mod_request", "meter_mod_request"]),
    ];
    for (title, masks) in ["primary", "secondary"].into_iter().zip(masks.0) {
        writeln!(out, "\n {title}:")?;
        for (message, name, reasons) in NAMES {
            let mask = masks[message as usize];
            write!(out, "{name:>16}:")?;
            for bit in (0..32u16).filter(|bit| mask & 1 << bit != 0) {
                match reasons.get(usize::from(bit)) {
                    Some(reason) => write!(out, " {reason}")?,
                    None => write!(out, " {}", flow::removed_reason(bit))?,
                }
            }
            out.push_str(if mask == 0 { " (off)\n" } else { "\n" });
        }
    }
    Ok(())
}

pub(super) fn packet_in_format(format: PacketInFormat, out: &mut String) -> fmt::Result {
    out.push_str(match format {
        PacketInFormat::Standard => " format=standard",
        PacketInFormat::Nxt => " format=nxt_packet_in",
        PacketInFormat::Nxt2 => " format=nxt_packet_in2",
    });
    Ok(())
}

fn flags(flags: BundleFlags) -> String {
    bits(flags.0.into(), &[(1, "atomic"), (2, "ordered")], " ")
}

pub(super) fn bundle_control(control: &BundleControl, out: &mut String) -> fmt::Result {
    let kind = match control.kind {
        BundleControlType::OpenRequest => "OPEN_REQUEST",
        BundleControlType::OpenReply => "OPEN_REPLY",
        BundleControlType::CloseRequest => "CLOSE_REQUEST",
        BundleControlType::CloseReply => "CLOSE_REPLY",
        BundleControlType::CommitRequest => "COMMIT_REQUEST",
        BundleControlType::CommitReply => "COMMIT_REPLY",
        BundleControlType::DiscardRequest => "DISCARD_REQUEST",
        BundleControlType::DiscardReply => "DISCARD_REPLY",
    };
    write!(out, "\n bundle_id={} type={kind} flags={}", Hex(control.bundle.0.into()), flags(control.flags))
}

pub(super) fn bundle_add(xid: crate::wire::Xid, add: &BundleAdd, out: &mut String) -> fmt::Result {
    let BundleAdd { bundle, flags: promised, message } = add;
    let inside = Printed(xid, message);
    write!(out, "\n bundle_id={} flags={}\n{inside}", Hex(bundle.0.into()), flags(*promised))
}

fn tlv_maps(maps: &[TlvMap], out: &mut String) -> fmt::Result {
    out.push_str(" mapping table:\n  class  type  length  match field\n");
    out.push_str(" ------  ----  ------  --------------");
    for map in maps {
        write!(
            out,
            "\n {:>6}  {:>4}  {:>6}  tun_metadata{}",
            Hex(map.class.into()).to_string(),
            Hex(map.kind.into()).to_string(),
            map.length,
            map.index
        )?;
    }
    Ok(())
}

pub(super) fn tlv_change(change: &TlvTableMod, out: &mut String) -> fmt::Result {
    match change.command {
        TlvTableCommand::Add => out.push_str("\n ADD"),
        TlvTableCommand::Delete => out.push_str("\n DEL"),
        TlvTableCommand::Clear => {
            out.push_str("\n CLEAR");
            return Ok(());
        }
    }
    tlv_maps(&change.maps, out)
}

pub(super) fn tlv_table(table: &TlvTable, out: &mut String) -> fmt::Result {
    let used: u32 = table.maps.iter().map(|map| u32::from(map.length)).sum();
    write!(
        out,
        "\n max option space={} max fields={}\n allocated option space={used}\n\n",
        table.max_option_space, table.max_fields
    )?;
    tlv_maps(&table.maps, out)
}

fn tuple(tuple: &CtTuple, flush: &CtFlush, is_v4: bool, out: &mut String) -> fmt::Result {
    let name = if is_v4 { "ct_nw" } else { "ct_ipv6" };
    let address =
        |address: Option<IpAddr>| address.map_or_else(|| "::".to_owned(), |address| address.to_string());
    write!(out, "{name}_src={},{name}_dst={}", address(tuple.src), address(tuple.dst))?;
    if matches!(flush.ip_proto, 1 | 58) {
        write!(
            out,
            ",icmp_id={},icmp_type={},icmp_code={}",
            tuple.icmp_id.unwrap_or(0),
            tuple.icmp_type.unwrap_or(0),
            tuple.icmp_code.unwrap_or(0)
        )
    } else {
        write!(out, ",ct_tp_src={},ct_tp_dst={}", tuple.src_port.unwrap_or(0), tuple.dst_port.unwrap_or(0))
    }
}

pub(super) fn ct_flush(flush: &CtFlush, out: &mut String) -> fmt::Result {
    let CtFlush { ip_proto, original, reply, zone } = flush;
    // The last address that is given says the version.
    let last = [reply.dst, reply.src, original.dst, original.src].into_iter().flatten().next();
    let is_v4 = last.is_some_and(|address| address.is_ipv4());
    write!(out, " zone={} '", zone.unwrap_or(0))?;
    tuple(original, flush, is_v4, out)?;
    write!(out, ",ct_nw_proto={ip_proto}' '")?;
    tuple(reply, flush, is_v4, out)?;
    out.push('\'');
    Ok(())
}

pub(super) fn request_forward(request: &ForwardedRequest, out: &mut String) -> fmt::Result {
    match request {
        ForwardedRequest::Group(change) => {
            out.push_str(" reason=group_mod");
            super::group::change(change, out)
        }
        ForwardedRequest::Meter(change) => {
            out.push_str(" reason=meter_mod");
            super::meter::change(change, out)
        }
    }
}
