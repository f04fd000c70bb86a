//! Values and messages to JSON.

use std::time::Duration;

use ofctl::flow::{FlowEntry, FlowFlags, FlowStats};
use ofctl::wire::*;
use serde_json::{Map, Value, json};

use super::super::group;
use super::super::print::{flag_names, fragment_mode, hex};
use super::{BUNDLE_CONTROLS, FLOW_COMMANDS, GROUP_COMMANDS, control};

fn name_of<T: PartialEq + Copy>(table: &[(T, &'static str)], wanted: T) -> &'static str {
    table.iter().find(|(value, _)| *value == wanted).map_or("", |(_, name)| name)
}

/// A value of a field in the form that the field's values have.
fn value_text(field: Field, value: FieldValue) -> Value {
    match field.spec().format {
        Format::Ethernet => json!(value.to_mac().to_string()),
        Format::Ipv4 => json!(value.to_ipv4().to_string()),
        Format::Ipv6 => json!(value.to_ipv6().to_string()),
        Format::Decimal | Format::Port if value.to_u128() <= u32::MAX.into() => json!(value.to_u64()),
        _ => json!(format!("{:#x}", value.to_u128())),
    }
}

/// A value's text without quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn matching(matching: &Match) -> Value {
    let mut out = Map::new();
    for condition in matching {
        let value = value_text(condition.field, condition.value);
        let value = if condition.is_exact() {
            value
        } else {
            let mask = value_text(condition.field, condition.mask);
            json!(format!("{}/{}", plain(&value), plain(&mask)))
        };
        out.insert(condition.field.spec().oxm.name.to_owned(), value);
    }
    if !matching.unknown().is_empty() {
        out.insert("unknown".to_owned(), json!(hex(matching.unknown())));
    }
    Value::Object(out)
}

/// The message of one action is the shortest way to its bytes.
fn action_bytes(action: &Action) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let out = PacketOut::new(OfPort::ANY, vec![action.clone()], Vec::new());
    Message::PacketOut(out).encode(Xid(0), &mut bytes).ok()?;
    bytes.get(24..).map(<[u8]>::to_vec)
}

fn actions(actions: &[Action]) -> Value {
    let one = |action: &Action| {
        let text = action.to_string();
        match text.parse::<Action>() {
            Ok(same) if same == *action => json!(text),
            _ => action_bytes(action).map_or(json!(text), |bytes| json!({"raw": hex(&bytes)})),
        }
    };
    Value::Array(actions.iter().map(one).collect())
}

fn flags(flags: FlowFlags) -> Value {
    let known = flag_names().into_iter().filter(|(flag, _)| flags.contains(*flag));
    let mut all: Vec<Value> = known.map(|(_, name)| json!(name)).collect();
    let rest = flag_names().iter().fold(flags.0, |rest, (flag, _)| rest & !flag.0);
    if rest != 0 {
        all.push(json!(rest));
    }
    Value::Array(all)
}

/// A number of 64 bits, which few readers of JSON can hold.
pub(super) fn wide(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

pub(super) fn instructions(out: &mut Map<String, Value>, instructions: &Instructions) {
    if let Some(meter) = instructions.meter {
        out.insert("meter".into(), json!(meter));
    }
    out.insert("apply_actions".into(), actions(&instructions.apply));
    if instructions.clear {
        out.insert("clear_actions".into(), json!(true));
    }
    if !instructions.write.is_empty() {
        out.insert("write_actions".into(), actions(&instructions.write));
    }
    if let Some((value, mask)) = instructions.write_metadata {
        out.insert("write_metadata".into(), json!({"value": wide(value), "mask": wide(mask)}));
    }
    if let Some(table) = instructions.goto {
        out.insert("goto_table".into(), json!(table.0));
    }
}

fn entry(entry: &FlowEntry) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("table".into(), json!(entry.table.0));
    out.insert("priority".into(), json!(entry.priority));
    out.insert("cookie".into(), wide(entry.cookie.0));
    for (name, value) in [("idle_timeout", entry.idle_timeout), ("hard_timeout", entry.hard_timeout)] {
        if value != 0 {
            out.insert(name.into(), json!(value));
        }
    }
    if entry.flags != FlowFlags::default() {
        out.insert("flags".into(), flags(entry.flags));
    }
    out.insert("match".into(), matching(&entry.matching));
    instructions(&mut out, &entry.instructions);
    out
}

/// A flow without counters.
pub(crate) fn entry_object(flow: &FlowEntry) -> Value {
    Value::Object(entry(flow))
}

/// A flow as a dump shows it, with its counters or without.
pub(crate) fn flow(stats: &FlowStats, counters: bool) -> Value {
    let mut out = entry(&stats.entry);
    if counters {
        out.insert("duration".into(), duration(stats.duration));
        out.insert("packets".into(), json!(stats.packets));
        out.insert("bytes".into(), json!(stats.bytes));
    }
    Value::Object(out)
}

/// Seconds and nanoseconds in one decimal number, as text since a float cannot hold them all.
pub(super) fn duration(duration: Duration) -> Value {
    json!(format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos()))
}

pub(crate) fn port(port: &PortDescription) -> Value {
    json!({
        "port": port_number(port.port),
        "name": port.name,
        "address": port.address.to_string(),
        "config": port.config,
        "state": port.state,
        "current": port.current,
        "advertised": port.advertised,
        "supported": port.supported,
        "peer": port.peer,
        "current_speed": port.current_speed,
        "max_speed": port.max_speed,
    })
}

pub(super) fn port_number(port: OfPort) -> Value {
    port.reserved_name().map_or(json!(port.0), |name| json!(name))
}

pub(crate) fn description(desc: &SwitchDescription) -> Value {
    json!({
        "manufacturer": desc.manufacturer,
        "hardware": desc.hardware,
        "software": desc.software,
        "serial": desc.serial,
        "datapath": desc.datapath,
    })
}

pub(crate) fn table(stats: &TableStats) -> Value {
    json!({
        "table": stats.table.0, "active": stats.active, "lookups": stats.lookups, "matched": stats.matched,
    })
}

pub(crate) fn aggregate(stats: &AggregateStats) -> Value {
    json!({"packets": stats.packets, "bytes": stats.bytes, "flows": stats.flows})
}

pub(crate) fn features(features: &Features) -> Value {
    json!({
        "datapath_id": format!("{:016x}", features.datapath_id),
        "n_buffers": features.n_buffers,
        "n_tables": features.n_tables,
        "auxiliary_id": features.auxiliary_id,
        "capabilities": features.capabilities,
        "reserved": features.reserved,
    })
}

pub(crate) fn config(config: SwitchConfig) -> Value {
    json!({"fragments": fragment_mode(config.fragments), "miss_send_len": config.miss_send_len})
}

fn request(request: &FlowStatsRequest) -> Value {
    json!({
        "table": request.table.0,
        "out_port": port_number(request.out_port),
        "out_group": request.out_group.0,
        "cookie": wide(request.cookie.0),
        "cookie_mask": wide(request.cookie_mask),
        "match": matching(&request.matching),
    })
}

fn flow_mod(flow: &FlowMod) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("command".into(), json!(name_of(&FLOW_COMMANDS, flow.command)));
    if flow.cookie_mask != 0 {
        out.insert("cookie_mask".into(), wide(flow.cookie_mask));
    }
    if flow.buffer_id != NO_BUFFER {
        out.insert("buffer_id".into(), json!(flow.buffer_id));
    }
    if flow.out_port != OfPort::ANY {
        out.insert("out_port".into(), port_number(flow.out_port));
    }
    if flow.out_group != GroupId::ANY {
        out.insert("out_group".into(), json!(flow.out_group.0));
    }
    out.extend(entry(&flow.entry()));
    out
}

pub(super) fn bucket(bucket: &Bucket) -> Value {
    json!({
        "weight": bucket.weight,
        "watch_port": port_number(bucket.watch_port),
        "watch_group": bucket.watch_group.0,
        "actions": actions(&bucket.actions),
    })
}

/// A message's type, and its members; `None` if it has no form of its own.
fn members(message: &Message) -> Option<(&'static str, Value)> {
    Some(match message {
        Message::Hello(hello) => ("hello", json!({"version": hello.version, "bitmap": hello.bitmap})),
        Message::Error(error) => {
            let code = match error.error.name() {
                Some(name) => json!(name),
                None => {
                    let ErrorCode { experimenter, kind, code } = error.error;
                    json!({"experimenter": experimenter, "type": kind, "code": code})
                }
            };
            ("error", json!({"error": code, "data": hex(&error.data)}))
        }
        Message::EchoRequest(data) => ("echo_request", json!({"data": hex(data)})),
        Message::EchoReply(data) => ("echo_reply", json!({"data": hex(data)})),
        Message::FeaturesRequest => ("features_request", json!({})),
        Message::FeaturesReply(reply) => ("features_reply", features(reply)),
        Message::GetConfigRequest => ("get_config_request", json!({})),
        Message::GetConfigReply(reply) => ("get_config_reply", config(*reply)),
        Message::SetConfig(set) => ("set_config", config(*set)),
        Message::PacketIn(packet) => (
            "packet_in",
            json!({
                "buffer_id": packet.buffer_id,
                "total_len": packet.total_len,
                "reason": packet.reason,
                "table": packet.table.0,
                "cookie": wide(packet.cookie.0),
                "match": matching(&packet.matching),
                "data": hex(&packet.data),
            }),
        ),
        Message::FlowRemoved(removed) => (
            "flow_removed",
            json!({
                "table": removed.key.table.0,
                "priority": removed.key.priority,
                "cookie": wide(removed.cookie.0),
                "match": matching(&removed.key.matching),
                "reason": match removed.reason {
                    FlowRemovedReason::IdleTimeout => 0,
                    FlowRemovedReason::HardTimeout => 1,
                    FlowRemovedReason::Delete => 2,
                    FlowRemovedReason::GroupDelete => 3,
                    FlowRemovedReason::Other(other) => other,
                },
                "duration": duration(removed.duration),
                "idle_timeout": removed.idle_timeout,
                "hard_timeout": removed.hard_timeout,
                "packets": removed.packets,
                "bytes": removed.bytes,
            }),
        ),
        Message::PortStatus(status) => (
            "port_status",
            json!({
                "reason": match status.reason {
                    PortReason::Add => "add",
                    PortReason::Delete => "delete",
                    PortReason::Modify => "modify",
                },
                "port": port(&status.port),
            }),
        ),
        Message::PacketOut(packet) => (
            "packet_out",
            json!({
                "buffer_id": packet.buffer_id,
                "in_port": port_number(packet.in_port),
                "actions": actions(&packet.actions),
                "data": hex(&packet.data),
            }),
        ),
        Message::FlowMod(flow) => ("flow_mod", Value::Object(flow_mod(flow))),
        Message::GroupMod(change) => (
            "group_mod",
            json!({
                "command": name_of(&GROUP_COMMANDS, change.command),
                "group_type": group::type_name(change.kind),
                "group_id": change.group.0,
                "buckets": change.buckets.iter().map(bucket).collect::<Vec<_>>(),
            }),
        ),
        Message::BarrierRequest => ("barrier_request", json!({})),
        Message::BarrierReply => ("barrier_reply", json!({})),
        Message::MultipartRequest(asked) => match asked {
            MultipartRequest::Description => ("desc_request", json!({})),
            MultipartRequest::Flow(flows) => ("flow_request", request(flows)),
            MultipartRequest::Aggregate(flows) => ("aggregate_request", request(flows)),
            MultipartRequest::Table => ("table_request", json!({})),
            MultipartRequest::PortDescription => ("port_desc_request", json!({})),
            _ => return control::members(message),
        },
        Message::MultipartReply(MultipartReply { more, body }) => {
            let (name, mut members) = match body {
                MultipartBody::Description(desc) => ("desc_reply", description(desc)),
                MultipartBody::Flow(flows) => (
                    "flow_reply",
                    json!({"flows": flows.iter().map(|stats| flow(stats, true)).collect::<Vec<_>>()}),
                ),
                MultipartBody::Aggregate(stats) => ("aggregate_reply", aggregate(stats)),
                MultipartBody::Table(tables) => {
                    ("table_reply", json!({"tables": tables.iter().map(table).collect::<Vec<_>>()}))
                }
                MultipartBody::PortDescription(ports) => {
                    ("port_desc_reply", json!({"ports": ports.iter().map(port).collect::<Vec<_>>()}))
                }
                _ => return control::members(message),
            };
            if *more {
                members["more"] = json!(true);
            }
            (name, members)
        }
        Message::BundleControl(control) => (
            "bundle_control",
            json!({
                "bundle_id": control.bundle.0,
                "control": name_of(&BUNDLE_CONTROLS, control.kind),
                "flags": control.flags.0,
            }),
        ),
        Message::BundleAdd(add) => (
            "bundle_add",
            json!({"bundle_id": add.bundle.0, "flags": add.flags.0, "message": message_object(&add.message)}),
        ),
        Message::Experimenter { experimenter, kind, data } => (
            "experimenter",
            json!({"experimenter": experimenter, "experimenter_type": kind, "data": hex(data)}),
        ),
        other => return control::members(other),
    })
}

pub(super) fn message_object(message: &Message) -> Value {
    let (name, body) = members(message).unwrap_or_else(|| {
        let mut bytes = Vec::new();
        let written = message.encode(Xid(0), &mut bytes);
        let (kind, body) = match written {
            Ok(()) => (bytes[1], &bytes[HEADER_LENGTH..]),
            Err(_) => (0, &[][..]),
        };
        ("other", json!({"message_type": kind, "body": hex(body)}))
    });
    let mut out = Map::new();
    out.insert("type".into(), json!(name));
    if let Value::Object(members) = body {
        out.extend(members);
    }
    Value::Object(out)
}

/// A whole message with its number.
pub(crate) fn message(xid: Xid, message: &Message) -> Value {
    let mut object = message_object(message);
    object["xid"] = json!(xid.0);
    object
}
