//! Messages besides flows and groups: ports, tables, meters, queues, roles, Nicira's. Both ways.

use ofctl::wire::*;
use serde_json::{Map, Value, json};

use super::super::print::hex;
use super::read::{JsonError, Object, Result};
use super::stats::{self, METER_FLAGS};
use super::write::{instructions, matching, port_number, wide};

const METER_COMMANDS: [(MeterModCommand, &str); 3] =
    [(MeterModCommand::Add, "add"), (MeterModCommand::Modify, "modify"), (MeterModCommand::Delete, "delete")];

const ROLES: [(Role, &str); 4] = [
    (Role::NoChange, "nochange"),
    (Role::Equal, "equal"),
    (Role::Primary, "primary"),
    (Role::Secondary, "secondary"),
];

const PACKET_FORMATS: [(PacketInFormat, &str); 3] = [
    (PacketInFormat::Standard, "standard"),
    (PacketInFormat::Nxt, "nxt_packet_in"),
    (PacketInFormat::Nxt2, "nxt_packet_in2"),
];

const TLV_COMMANDS: [(TlvTableCommand, &str); 3] =
    [(TlvTableCommand::Add, "add"), (TlvTableCommand::Delete, "delete"), (TlvTableCommand::Clear, "clear")];

fn name_of<T: PartialEq + Copy>(table: &[(T, &'static str)], wanted: T) -> &'static str {
    table.iter().find(|(value, _)| *value == wanted).map_or("", |(_, name)| name)
}

fn role(request: &RoleRequest) -> Value {
    json!({"role": name_of(&ROLES, request.role), "generation": wide(request.generation)})
}

fn masks(config: &AsyncConfig) -> Value {
    json!({
        "packet_in": config.packet_in, "port_status": config.port_status, "flow_removed": config.flow_removed,
    })
}

fn packet_in2(packet: &PacketIn2) -> Value {
    let mut out = Map::new();
    out.insert("data".into(), json!(hex(&packet.packet)));
    if let Some(length) = packet.full_length {
        out.insert("total_len".into(), json!(length));
    }
    if packet.buffer_id != NO_BUFFER {
        out.insert("buffer_id".into(), json!(packet.buffer_id));
    }
    if let Some(table) = packet.table {
        out.insert("table".into(), json!(table.0));
    }
    if let Some(cookie) = packet.cookie {
        out.insert("cookie".into(), wide(cookie.0));
    }
    if let Some(reason) = packet.reason {
        out.insert("reason".into(), json!(reason));
    }
    out.insert("match".into(), matching(&packet.metadata));
    if !packet.userdata.is_empty() {
        out.insert("userdata".into(), json!(hex(&packet.userdata)));
    }
    if let Some(continuation) = &packet.continuation {
        out.insert("continuation".into(), json!(hex(continuation)));
    }
    Value::Object(out)
}

const FLOW_EVENTS: [(FlowEvent, &str); 3] =
    [(FlowEvent::Added, "added"), (FlowEvent::Deleted, "deleted"), (FlowEvent::Modified, "modified")];

fn flow_update(update: &FlowUpdate) -> Value {
    let change = match update {
        FlowUpdate::Abbreviated(xid) => return json!({"event": "abbreviated", "of": xid.0}),
        FlowUpdate::Full(change) => change,
    };
    let mut out = Map::new();
    out.insert("event".into(), json!(name_of(&FLOW_EVENTS, change.event)));
    if change.event == FlowEvent::Deleted {
        out.insert("reason".into(), json!(change.reason));
    }
    out.insert("table".into(), json!(change.table.0));
    out.insert("priority".into(), json!(change.priority));
    out.insert("cookie".into(), wide(change.cookie.0));
    for (name, value) in [("idle_timeout", change.idle_timeout), ("hard_timeout", change.hard_timeout)] {
        if value != 0 {
            out.insert(name.into(), json!(value));
        }
    }
    out.insert("match".into(), matching(&change.matching));
    instructions(&mut out, &change.instructions);
    Value::Object(out)
}

/// A message's type, and its members; `None` if it has no form here.
pub(super) fn members(message: &Message) -> Option<(&'static str, Value)> {
    Some(match message {
        Message::PortMod(change) => (
            "port_mod",
            json!({
                "port": port_number(change.port), "address": change.address.to_string(),
                "config": change.config, "mask": change.mask, "advertise": change.advertise,
            }),
        ),
        Message::TableMod(change) => ("table_mod", json!({"table": change.table.0, "config": change.config})),
        // Flags that have no name would be lost.
        Message::MeterMod(change) if stats::all_flags_named(change.flags) => {
            let mut out = stats::meter(change.meter, change.flags, &change.bands);
            out["command"] = json!(name_of(&METER_COMMANDS, change.command));
            ("meter_mod", out)
        }
        Message::QueueGetConfigRequest(port) => {
            ("queue_get_config_request", json!({"port": port_number(*port)}))
        }
        Message::RoleRequest(request) => ("role_request", role(request)),
        Message::RoleReply(reply) => ("role_reply", role(reply)),
        Message::GetAsyncRequest => ("get_async_request", json!({})),
        Message::GetAsyncReply(config) => ("get_async_reply", masks(config)),
        Message::SetAsync(config) => ("set_async", masks(config)),
        Message::Nicira(message) => match message {
            NiciraMessage::SetPacketInFormat(format) => {
                ("nxt_set_packet_in_format", json!({"format": name_of(&PACKET_FORMATS, *format)}))
            }
            NiciraMessage::SetControllerId(id) => ("nxt_set_controller_id", json!({"controller_id": id})),
            NiciraMessage::TlvTableMod(change) => (
                "nxt_tlv_table_mod",
                json!({
                    "command": name_of(&TLV_COMMANDS, change.command),
                    "maps": change.maps.iter().map(stats::tlv_map).collect::<Vec<_>>(),
                }),
            ),
            NiciraMessage::TlvTableRequest => ("nxt_tlv_table_request", json!({})),
            NiciraMessage::TlvTableReply(table) => (
                "nxt_tlv_table_reply",
                json!({
                    "max_option_space": table.max_option_space,
                    "max_fields": table.max_fields,
                    "maps": table.maps.iter().map(stats::tlv_map).collect::<Vec<_>>(),
                }),
            ),
            NiciraMessage::CtFlushZone(zone) => ("nxt_ct_flush_zone", json!({"zone": zone})),
            NiciraMessage::PacketIn2(packet) => ("nxt_packet_in2", packet_in2(packet)),
            NiciraMessage::Resume(packet) => ("nxt_resume", packet_in2(packet)),
            _ => return None,
        },
        Message::MultipartRequest(request) => match request {
            MultipartRequest::PortStats(port) => ("port_stats_request", json!({"port": port_number(*port)})),
            MultipartRequest::Queue(port, queue) => {
                ("queue_request", json!({"port": port_number(*port), "queue": queue.0}))
            }
            MultipartRequest::GroupStats(group) => ("group_request", json!({"group_id": group.0})),
            MultipartRequest::GroupDescription => ("group_desc_request", json!({})),
            MultipartRequest::GroupFeatures => ("group_features_request", json!({})),
            MultipartRequest::MeterStats(meter) => ("meter_request", json!({"meter": meter.0})),
            MultipartRequest::MeterConfig(meter) => ("meter_config_request", json!({"meter": meter.0})),
            MultipartRequest::MeterFeatures => ("meter_features_request", json!({})),
            _ => return None,
        },
        Message::MultipartReply(MultipartReply { more, body: MultipartBody::FlowMonitor(updates) }) => {
            let mut out = json!({"updates": updates.iter().map(flow_update).collect::<Vec<_>>()});
            if *more {
                out["more"] = json!(true);
            }
            ("flow_monitor_reply", out)
        }
        _ => return None,
    })
}

impl Object {
    fn masks(&mut self) -> Result<AsyncConfig> {
        let mut pair = |name: &str| -> Result<[u32; 2]> {
            let path = self.at(name);
            serde_json::from_value(self.needed(name)?)
                .map_err(|error| JsonError::new(path, format!("not two masks: {error}")))
        };
        Ok(AsyncConfig {
            packet_in: pair("packet_in")?,
            port_status: pair("port_status")?,
            flow_removed: pair("flow_removed")?,
        })
    }

    fn role(&mut self) -> Result<RoleRequest> {
        Ok(RoleRequest { role: self.named("role", &ROLES)?, generation: self.number("generation")? })
    }

    fn tlv_maps(&mut self) -> Result<Vec<TlvMap>> {
        let one = |mut map: Object| {
            let path = map.at("field");
            let field = map.text("field")?;
            let index = field.strip_prefix("tun_metadata").and_then(|index| index.parse().ok());
            let map_of = TlvMap {
                class: map.number("class")?,
                kind: map.number("type")?,
                length: map.number("length")?,
                index: index.ok_or_else(|| JsonError::new(path, format!("'{field}' is no tun_metadata")))?,
            };
            map.done()?;
            Ok(map_of)
        };
        self.objects("maps")?.into_iter().map(one).collect()
    }

    fn meter_number(&mut self) -> Result<MeterId> {
        if self.peek("meter") == Some(&json!("all")) {
            self.needed("meter")?;
            return Ok(MeterId::ALL);
        }
        self.number("meter").map(MeterId)
    }

    fn meter_flags(&mut self) -> Result<MeterFlags> {
        let path = self.at("flags");
        self.list("flags")?.iter().try_fold(MeterFlags(0), |all, value| {
            let name = value.as_str().unwrap_or_default();
            let known = METER_FLAGS.iter().find(|(_, known)| *known == name);
            known
                .map(|(flag, _)| all | *flag)
                .ok_or_else(|| JsonError::new(&*path, format!("{value} is no flag of a meter")))
        })
    }

    fn bands(&mut self) -> Result<Vec<MeterBand>> {
        let one = |mut band: Object| {
            let path = band.at("type");
            let kind = match band.text("type")?.as_str() {
                "drop" => BandKind::Drop,
                "dscp_remark" => BandKind::DscpRemark { levels: band.number("prec_level")? },
                other => return Err(JsonError::new(path, format!("'{other}' is no type of band"))),
            };
            let result =
                MeterBand { kind, rate: band.number("rate")?, burst_size: band.number_or("burst_size", 0)? };
            band.done()?;
            Ok(result)
        };
        self.objects("bands")?.into_iter().map(one).collect()
    }

    fn packet_in2(&mut self) -> Result<Box<PacketIn2>> {
        let optional = |object: &mut Self, name: &str| -> Result<Option<u64>> {
            if object.peek(name).is_some() { object.number(name).map(Some) } else { Ok(None) }
        };
        let narrow = |name: &str, value: Option<u64>, most: u64| match value {
            Some(value) if value > most => Err(JsonError::new(name, format!("{value} is more than {most}"))),
            value => Ok(value),
        };
        let bytes = |object: &mut Self, name: &str| -> Result<Option<Vec<u8>>> {
            if object.peek(name).is_some() { object.bytes(name).map(Some) } else { Ok(None) }
        };
        let full_length = optional(self, "total_len")?;
        let table = optional(self, "table")?;
        let cookie = optional(self, "cookie")?;
        let reason = optional(self, "reason")?;
        Ok(Box::new(PacketIn2 {
            packet: self.bytes("data")?,
            full_length: narrow("total_len", full_length, u32::MAX.into())?.map(|length| length as u32),
            buffer_id: self.number_or("buffer_id", NO_BUFFER)?,
            table: narrow("table", table, 255)?.map(|table| TableId(table as u8)),
            cookie: cookie.map(Cookie),
            reason: narrow("reason", reason, 255)?.map(|reason| reason as u8),
            metadata: self.matching()?,
            userdata: bytes(self, "userdata")?.unwrap_or_default(),
            continuation: bytes(self, "continuation")?,
        }))
    }
}

impl Object {
    fn flow_update(mut self) -> Result<FlowUpdate> {
        if self.peek("event") == Some(&json!("abbreviated")) {
            self.needed("event")?;
            let update = FlowUpdate::Abbreviated(Xid(self.number("of")?));
            return self.done().map(|()| update);
        }
        let event = self.named("event", &FLOW_EVENTS)?;
        let change = FlowChange {
            event,
            reason: self.number_or("reason", 0)?,
            table: TableId(self.number("table")?),
            priority: self.number("priority")?,
            cookie: Cookie(self.number("cookie")?),
            idle_timeout: self.number_or("idle_timeout", 0)?,
            hard_timeout: self.number_or("hard_timeout", 0)?,
            matching: self.matching()?,
            instructions: self.instructions()?,
        };
        self.done()?;
        Ok(FlowUpdate::Full(Box::new(change)))
    }
}

/// Reads a message of this type; `None` if it is not one of those here.
pub(super) fn parse(kind: &str, more: bool, object: &mut Object) -> Result<Option<Message>> {
    let nicira = |message| Message::Nicira(message);
    let asked = |request| Message::MultipartRequest(request);
    Ok(Some(match kind {
        "port_mod" => {
            let path = object.at("address");
            let address = object.text("address")?;
            let address = address
                .parse()
                .map_err(|_| JsonError::new(path, format!("'{address}' is no Ethernet address")))?;
            Message::PortMod(PortMod {
                port: object.port_or("port", OfPort::ANY)?,
                address,
                config: object.number("config")?,
                mask: object.number("mask")?,
                advertise: object.number_or("advertise", 0)?,
            })
        }
        "table_mod" => Message::TableMod(TableMod {
            table: TableId(object.number("table")?),
            config: object.number("config")?,
        }),
        "meter_mod" => Message::MeterMod(MeterMod {
            command: object.named("command", &METER_COMMANDS)?,
            flags: object.meter_flags()?,
            meter: object.meter_number()?,
            bands: object.bands()?,
        }),
        "queue_get_config_request" => Message::QueueGetConfigRequest(object.port_or("port", OfPort::ANY)?),
        "role_request" => Message::RoleRequest(object.role()?),
        "role_reply" => Message::RoleReply(object.role()?),
        "get_async_request" => Message::GetAsyncRequest,
        "get_async_reply" => Message::GetAsyncReply(object.masks()?),
        "set_async" => Message::SetAsync(object.masks()?),
        "nxt_set_packet_in_format" => {
            nicira(NiciraMessage::SetPacketInFormat(object.named("format", &PACKET_FORMATS)?))
        }
        "nxt_set_controller_id" => nicira(NiciraMessage::SetControllerId(object.number("controller_id")?)),
        "nxt_tlv_table_mod" => nicira(NiciraMessage::TlvTableMod(TlvTableMod {
            command: object.named("command", &TLV_COMMANDS)?,
            maps: object.tlv_maps()?,
        })),
        "nxt_tlv_table_request" => nicira(NiciraMessage::TlvTableRequest),
        "nxt_tlv_table_reply" => nicira(NiciraMessage::TlvTableReply(TlvTable {
            max_option_space: object.number("max_option_space")?,
            max_fields: object.number("max_fields")?,
            maps: object.tlv_maps()?,
        })),
        "nxt_ct_flush_zone" => nicira(NiciraMessage::CtFlushZone(object.number("zone")?)),
        "nxt_packet_in2" => nicira(NiciraMessage::PacketIn2(object.packet_in2()?)),
        "nxt_resume" => nicira(NiciraMessage::Resume(object.packet_in2()?)),
        "port_stats_request" => asked(MultipartRequest::PortStats(object.port_or("port", OfPort::ANY)?)),
        "queue_request" => asked(MultipartRequest::Queue(
            object.port_or("port", OfPort::ANY)?,
            QueueId(object.number_or("queue", QueueId::ALL.0)?),
        )),
        "group_request" => asked(MultipartRequest::GroupStats(GroupId(object.number("group_id")?))),
        "group_desc_request" => asked(MultipartRequest::GroupDescription),
        "group_features_request" => asked(MultipartRequest::GroupFeatures),
        "meter_request" => asked(MultipartRequest::MeterStats(MeterId(object.number("meter")?))),
        "meter_config_request" => asked(MultipartRequest::MeterConfig(MeterId(object.number("meter")?))),
        "meter_features_request" => asked(MultipartRequest::MeterFeatures),
        "flow_monitor_reply" => {
            let updates = object.objects("updates")?.into_iter().map(Object::flow_update);
            let body = MultipartBody::FlowMonitor(updates.collect::<Result<_>>()?);
            Message::MultipartReply(MultipartReply { more, body })
        }
        _ => return Ok(None),
    }))
}
