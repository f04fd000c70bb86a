//! Messages from JSON.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ofctl::MacAddr;
use ofctl::flow::{FlowEntry, FlowFlags, FlowKey, FlowStats};
use ofctl::wire::*;
use serde_json::{Map, Value};

use super::super::group;
use super::super::print::{flag_names, fragment_mode};
use super::write::plain;
use super::{BUNDLE_CONTROLS, FLOW_COMMANDS, FRAGMENT_MODES, GROUP_COMMANDS, GROUP_TYPES, control, unhex};

/// Where in the object something is wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct JsonError {
    path: String,
    problem: String,
}

impl JsonError {
    pub(super) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        JsonError { path: path.into(), problem: problem.into() }
    }
}

pub(super) type Result<T> = std::result::Result<T, JsonError>;

fn parse_value(field: Field, text: &str) -> Option<FieldValue> {
    match field.spec().format {
        Format::Ethernet => text.parse::<MacAddr>().ok().map(FieldValue::from),
        Format::Ipv4 => text.parse::<Ipv4Addr>().ok().map(FieldValue::from),
        Format::Ipv6 => text.parse::<Ipv6Addr>().ok().map(FieldValue::from),
        _ => None,
    }
    .or_else(|| {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16).ok()?,
            None => text.parse().ok()?,
        };
        Some(FieldValue::from(number))
    })
}

/// A prefix length as a mask.
fn parse_mask(field: Field, text: &str) -> Option<FieldValue> {
    let bits = match field.spec().format {
        Format::Ipv4 => 32,
        Format::Ipv6 => 128,
        _ => return parse_value(field, text),
    };
    match text.parse::<u32>() {
        Ok(length) if length <= bits && length > 0 => {
            let all = u128::MAX >> (128 - bits);
            Some(FieldValue::from(all << (bits - length) & all))
        }
        _ => parse_value(field, text),
    }
}

/// The same match with these OXM entries, which the field table does not know.
///
/// They have no form but their bytes, so they are read in the shortest message that holds a match.
fn with_unknown(matching: Match, entries: &[u8]) -> std::result::Result<Match, DecodeError> {
    /// Where the match begins: after both headers and the request's other members, OpenFlow 1.3.5 §7.3.5.3.
    const MATCH_AT: usize = 48;
    if entries.is_empty() {
        return Ok(matching);
    }
    let request = FlowStatsRequest { matching, ..FlowStatsRequest::default() };
    let mut bytes = Vec::new();
    let message = Message::MultipartRequest(MultipartRequest::Aggregate(request));
    message.encode(Xid(0), &mut bytes).expect("a match of known fields is shorter than a message");
    let length = usize::from(u16::from_be_bytes([bytes[MATCH_AT + 2], bytes[MATCH_AT + 3]])) + entries.len();
    let total = MATCH_AT + length.next_multiple_of(8);
    bytes.truncate(MATCH_AT + length - entries.len());
    bytes.extend_from_slice(entries);
    bytes.resize(total, 0);
    for (place, number) in [(2, total), (MATCH_AT + 2, length)] {
        let number = u16::try_from(number).map_err(|_| DecodeError::BadLength { what: "match", length })?;
        bytes[place..place + 2].copy_from_slice(&number.to_be_bytes());
    }
    match Message::decode(&bytes)?.1 {
        Message::MultipartRequest(MultipartRequest::Aggregate(request)) => Ok(request.matching),
        _ => unreachable!("the message was made as an aggregate request"),
    }
}

/// An object of which members are taken, so that those that are left over are seen.
pub(super) struct Object {
    path: String,
    members: Map<String, Value>,
}

impl Object {
    pub(super) fn of(path: impl Into<String>, value: Value) -> Result<Object> {
        let path = path.into();
        match value {
            Value::Object(members) => Ok(Object { path, members }),
            other => Err(JsonError::new(path, format!("an object is wanted, not {other}"))),
        }
    }

    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A member that stays where it is; none if it is null.
    pub(super) fn peek(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn optional(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn needed(&mut self, name: &str) -> Result<Value> {
        self.optional(name).ok_or_else(|| JsonError::new(self.at(name), "it is missing"))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String> {
        match self.needed(name)? {
            Value::String(text) => Ok(text),
            other => Err(JsonError::new(self.at(name), format!("a text is wanted, not {other}"))),
        }
    }

    pub(super) fn number_or<T: TryFrom<u64>>(&mut self, name: &str, otherwise: T) -> Result<T> {
        match self.optional(name) {
            Some(value) => number(&value).ok_or_else(|| {
                let most = (1u128 << (8 * size_of::<T>())) - 1;
                JsonError::new(self.at(name), format!("{value} is not a number from 0 to {most}"))
            }),
            None => Ok(otherwise),
        }
    }

    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, name: &str) -> Result<T> {
        if !self.members.contains_key(name) {
            return Err(JsonError::new(self.at(name), "it is missing"));
        }
        self.number_or(name, T::default())
    }

    pub(super) fn port_or(&mut self, name: &str, otherwise: OfPort) -> Result<OfPort> {
        if let Some(Value::String(text)) = self.members.get(name)
            && let Some(port) = OfPort::from_reserved_name(text)
        {
            self.members.remove(name);
            return Ok(port);
        }
        self.number_or(name, otherwise.0).map(OfPort)
    }

    pub(super) fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let text = self.text(name)?;
        unhex(&text).ok_or_else(|| JsonError::new(self.at(name), format!("'{text}' is not hexadecimal")))
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>> {
        match self.optional(name) {
            Some(Value::Array(values)) => Ok(values),
            Some(other) => Err(JsonError::new(self.at(name), format!("a list is wanted, not {other}"))),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn named<T: Copy>(&mut self, name: &str, known: &[(T, &'static str)]) -> Result<T> {
        let text = self.text(name)?;
        known.iter().find(|(_, name)| *name == text).map(|(value, _)| *value).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
            JsonError::new(self.at(name), format!("'{text}' is not one of {}", names.join(", ")))
        })
    }

    pub(super) fn matching(&mut self) -> Result<Match> {
        let path = self.at("match");
        let Some(value) = self.optional("match") else { return Ok(Match::new()) };
        let mut object = Object::of(path, value)?;
        let unknown = match object.members.contains_key("unknown") {
            true => object.bytes("unknown")?,
            false => Vec::new(),
        };
        let mut result = Match::new();
        for (name, value) in &object.members {
            let at = || object.at(name);
            let field = Field::from_header_name(name).or_else(|| Field::from_name(name));
            let field = field.ok_or_else(|| {
                JsonError::new(at(), "no such field; names are those of OXM headers, as OXM_OF_IPV4_SRC")
            })?;
            if result.get(field).is_some() {
                return Err(JsonError::new(at(), "the field stands there twice (OFPBMC_DUP_FIELD)"));
            }
            let text = plain(value);
            let bad = || JsonError::new(at(), format!("'{text}' is not a value for {}", field.name()));
            let (value, mask) = match text.split_once('/') {
                Some((value, mask)) => (value, parse_mask(field, mask).ok_or_else(bad)?),
                None => (text.as_str(), field.exact_mask()),
            };
            let value = match parse_value(field, value) {
                Some(value) => value,
                None => match OfPort::from_reserved_name(value) {
                    Some(port) if field.spec().format == Format::Port => port.into(),
                    _ => return Err(bad()),
                },
            };
            if (value & field.exact_mask()) != value {
                return Err(JsonError::new(
                    at(),
                    format!("'{text}' is wider than the field (OFPBMC_BAD_VALUE)"),
                ));
            }
            result.set(field, value, mask);
        }
        with_unknown(result, &unknown)
            .map_err(|error| JsonError::new(object.at("unknown"), error.to_string()))
    }

    fn actions(&mut self, name: &str) -> Result<Vec<Action>> {
        let values = self.list(name)?;
        let one = |(place, value): (usize, Value)| {
            let path = format!("{}[{place}]", self.at(name));
            match value {
                Value::String(text) => {
                    text.parse::<Action>().map_err(|error| JsonError::new(path, format!("'{text}': {error}")))
                }
                value => {
                    let mut object = Object::of(path.clone(), value)?;
                    let bytes = object.bytes("raw")?;
                    object.done()?;
                    Action::from_bytes(&bytes).map_err(|error| JsonError::new(path, error.to_string()))
                }
            }
        };
        values.into_iter().enumerate().map(one).collect()
    }

    fn flags(&mut self) -> Result<FlowFlags> {
        let path = self.at("flags");
        self.list("flags")?.iter().try_fold(FlowFlags::default(), |all, value| {
            let known = flag_names().into_iter().find(|(_, name)| value.as_str() == Some(name));
            let flag = known.map(|(flag, _)| flag).or_else(|| number(value).map(FlowFlags));
            flag.map(|flag| all | flag).ok_or_else(|| JsonError::new(&path, format!("{value} is no flag")))
        })
    }

    pub(super) fn instructions(&mut self) -> Result<Instructions> {
        let write_metadata = match self.optional("write_metadata") {
            Some(value) => {
                let mut object = Object::of(self.at("write_metadata"), value)?;
                let pair = (object.number("value")?, object.number_or("mask", u64::MAX)?);
                object.done()?;
                Some(pair)
            }
            None => None,
        };
        let meter = if self.members.contains_key("meter") { Some(self.number("meter")?) } else { None };
        let goto = match self.members.contains_key("goto_table") {
            true => Some(TableId(self.number("goto_table")?)),
            false => None,
        };
        Ok(Instructions {
            meter,
            apply: self.actions("apply_actions")?,
            clear: self.optional("clear_actions") == Some(Value::Bool(true)),
            write: self.actions("write_actions")?,
            write_metadata,
            goto,
        })
    }

    fn entry(&mut self) -> Result<FlowEntry> {
        Ok(FlowEntry {
            table: TableId(self.number_or("table", 0)?),
            priority: self.number_or("priority", ofctl::text::DEFAULT_PRIORITY)?,
            cookie: Cookie(self.number_or("cookie", 0)?),
            matching: self.matching()?,
            instructions: self.instructions()?,
            idle_timeout: self.number_or("idle_timeout", 0)?,
            hard_timeout: self.number_or("hard_timeout", 0)?,
            flags: self.flags()?,
        })
    }

    fn duration(&mut self) -> Result<Duration> {
        let text = plain(&self.needed("duration")?);
        let bad = || JsonError::new(self.at("duration"), format!("'{text}' is not seconds, as in 12.345"));
        let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let nanos = format!("{fraction:0<9}");
        let whole: u64 = seconds.parse().map_err(|_| bad())?;
        let nanos: u32 = nanos.get(..9).and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        Ok(Duration::new(whole, nanos))
    }

    fn flow_stats(mut self) -> Result<FlowStats> {
        let stats = FlowStats {
            entry: self.entry()?,
            duration: self.duration()?,
            packets: self.number("packets")?,
            bytes: self.number("bytes")?,
        };
        self.done()?;
        Ok(stats)
    }

    fn request(&mut self) -> Result<FlowStatsRequest> {
        Ok(FlowStatsRequest {
            table: TableId(self.number_or("table", TableId::ALL.0)?),
            out_port: self.port_or("out_port", OfPort::ANY)?,
            out_group: GroupId(self.number_or("out_group", GroupId::ANY.0)?),
            cookie: Cookie(self.number_or("cookie", 0)?),
            cookie_mask: self.number_or("cookie_mask", 0)?,
            matching: self.matching()?,
        })
    }

    fn port_description(mut self) -> Result<PortDescription> {
        let path = self.at("address");
        let address = self.text("address")?;
        let port = PortDescription {
            port: self.port_or("port", OfPort::ANY)?,
            address: address
                .parse()
                .map_err(|_| JsonError::new(path, format!("'{address}' is no MAC address")))?,
            name: self.text("name")?,
            config: self.number("config")?,
            state: self.number("state")?,
            current: self.number("current")?,
            advertised: self.number("advertised")?,
            supported: self.number("supported")?,
            peer: self.number("peer")?,
            current_speed: self.number("current_speed")?,
            max_speed: self.number("max_speed")?,
        };
        self.done()?;
        Ok(port)
    }

    fn config(&mut self) -> Result<SwitchConfig> {
        let modes = FRAGMENT_MODES.map(|mode| (mode, fragment_mode(mode)));
        Ok(SwitchConfig {
            fragments: self.named("fragments", &modes)?,
            miss_send_len: self.number("miss_send_len")?,
        })
    }

    fn bucket(mut self) -> Result<Bucket> {
        let bucket = Bucket {
            weight: self.number_or("weight", 0)?,
            watch_port: self.port_or("watch_port", OfPort::ANY)?,
            watch_group: GroupId(self.number_or("watch_group", GroupId::ANY.0)?),
            actions: self.actions("actions")?,
        };
        self.done()?;
        Ok(bucket)
    }

    pub(super) fn objects(&mut self, name: &str) -> Result<Vec<Object>> {
        let values = self.list(name)?;
        let path = self.at(name);
        values
            .into_iter()
            .enumerate()
            .map(|(place, value)| Object::of(format!("{path}[{place}]"), value))
            .collect()
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.members)
    }

    /// Refuses members that nobody took.
    pub(super) fn done(self) -> Result<()> {
        match self.members.keys().next() {
            Some(name) => Err(JsonError::new(self.at(name), "there is no such member here")),
            None => Ok(()),
        }
    }
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let number = match value {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None => text.parse().ok()?,
        },
        _ => return None,
    };
    T::try_from(number).ok()
}

/// Why a line is no message in JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonOrSyntax {
    #[error("not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// Reads an object as [`super::message`] writes it; members that have a usual value may be left out.
pub(super) fn parse_object(mut object: Object) -> Result<(Xid, Message)> {
    let xid = Xid(object.number_or("xid", 0)?);
    let kind = object.text("type")?;
    let more = object.optional("more") == Some(Value::Bool(true));
    let reply = |body| Message::MultipartReply(MultipartReply { more, body });
    let object_ref = &mut object;
    let message = match kind.as_str() {
        "hello" => Message::Hello(Hello {
            version: object_ref.number_or("version", VERSION)?,
            bitmap: if object_ref.members.get("bitmap").is_none_or(Value::is_null) {
                object_ref.optional("bitmap");
                None
            } else {
                Some(object_ref.number("bitmap")?)
            },
        }),
        "error" => {
            let path = object_ref.at("error");
            let error = match object_ref.needed("error")? {
                Value::String(name) => ErrorCode::from_name(&name)
                    .ok_or_else(|| JsonError::new(path, format!("'{name}' is no error's name")))?,
                value => {
                    let mut code = Object::of(path, value)?;
                    let experimenter =
                        match code.members.get("experimenter").is_some_and(|value| !value.is_null()) {
                            true => Some(code.number("experimenter")?),
                            false => code.optional("experimenter").and(None),
                        };
                    let error = ErrorCode {
                        experimenter,
                        kind: code.number("type")?,
                        code: code.number_or("code", 0)?,
                    };
                    code.done()?;
                    error
                }
            };
            Message::Error(ErrorMessage { error, data: object_ref.bytes("data")? })
        }
        "echo_request" => Message::EchoRequest(object_ref.bytes("data")?),
        "echo_reply" => Message::EchoReply(object_ref.bytes("data")?),
        "features_request" => Message::FeaturesRequest,
        "features_reply" => {
            let path = object_ref.at("datapath_id");
            let text = object_ref.text("datapath_id")?;
            let datapath_id = u64::from_str_radix(&text, 16)
                .map_err(|_| JsonError::new(path, format!("'{text}' is not 16 hexadecimal digits")))?;
            Message::FeaturesReply(Features {
                datapath_id,
                n_buffers: object_ref.number("n_buffers")?,
                n_tables: object_ref.number("n_tables")?,
                auxiliary_id: object_ref.number_or("auxiliary_id", 0)?,
                capabilities: object_ref.number("capabilities")?,
                reserved: object_ref.number_or("reserved", 0)?,
            })
        }
        "get_config_request" => Message::GetConfigRequest,
        "get_config_reply" => Message::GetConfigReply(object_ref.config()?),
        "set_config" => Message::SetConfig(object_ref.config()?),
        "packet_in" => Message::PacketIn(PacketIn {
            buffer_id: object_ref.number_or("buffer_id", NO_BUFFER)?,
            total_len: object_ref.number("total_len")?,
            reason: object_ref.number("reason")?,
            table: TableId(object_ref.number("table")?),
            cookie: Cookie(object_ref.number("cookie")?),
            matching: object_ref.matching()?,
            data: object_ref.bytes("data")?,
        }),
        "flow_removed" => Message::FlowRemoved(FlowRemoved {
            cookie: Cookie(object_ref.number("cookie")?),
            key: FlowKey {
                table: TableId(object_ref.number("table")?),
                priority: object_ref.number("priority")?,
                matching: object_ref.matching()?,
            },
            reason: match object_ref.number("reason")? {
                0u8 => FlowRemovedReason::IdleTimeout,
                1 => FlowRemovedReason::HardTimeout,
                2 => FlowRemovedReason::Delete,
                3 => FlowRemovedReason::GroupDelete,
                other => FlowRemovedReason::Other(other),
            },
            duration: object_ref.duration()?,
            idle_timeout: object_ref.number("idle_timeout")?,
            hard_timeout: object_ref.number("hard_timeout")?,
            packets: object_ref.number("packets")?,
            bytes: object_ref.number("bytes")?,
        }),
        "port_status" => {
            let known =
                [(PortReason::Add, "add"), (PortReason::Delete, "delete"), (PortReason::Modify, "modify")];
            let reason = object_ref.named("reason", &known)?;
            let port = object_ref.needed("port")?;
            Message::PortStatus(PortStatus {
                reason,
                port: Object::of(object_ref.at("port"), port)?.port_description()?,
            })
        }
        "packet_out" => Message::PacketOut(PacketOut {
            buffer_id: object_ref.number_or("buffer_id", NO_BUFFER)?,
            in_port: object_ref.port_or("in_port", OfPort::CONTROLLER)?,
            actions: object_ref.actions("actions")?,
            data: object_ref.bytes("data")?,
        }),
        "flow_mod" => {
            let command = object_ref.named("command", &FLOW_COMMANDS)?;
            let (cookie_mask, buffer_id) =
                (object_ref.number_or("cookie_mask", 0)?, object_ref.number_or("buffer_id", NO_BUFFER)?);
            let out_port = object_ref.port_or("out_port", OfPort::ANY)?;
            let out_group = GroupId(object_ref.number_or("out_group", GroupId::ANY.0)?);
            let entry = object_ref.entry()?;
            Message::FlowMod(FlowMod {
                command,
                cookie_mask,
                buffer_id,
                out_port,
                out_group,
                ..FlowMod::add(entry)
            })
        }
        "group_mod" => {
            let types = GROUP_TYPES.map(|kind| (kind, group::type_name(kind)));
            Message::GroupMod(GroupMod {
                command: object_ref.named("command", &GROUP_COMMANDS)?,
                kind: object_ref.named("group_type", &types)?,
                group: GroupId(object_ref.number("group_id")?),
                buckets: object_ref
                    .objects("buckets")?
                    .into_iter()
                    .map(Object::bucket)
                    .collect::<Result<_>>()?,
            })
        }
        "barrier_request" => Message::BarrierRequest,
        "barrier_reply" => Message::BarrierReply,
        "desc_request" => Message::MultipartRequest(MultipartRequest::Description),
        "flow_request" => Message::MultipartRequest(MultipartRequest::Flow(object_ref.request()?)),
        "aggregate_request" => Message::MultipartRequest(MultipartRequest::Aggregate(object_ref.request()?)),
        "table_request" => Message::MultipartRequest(MultipartRequest::Table),
        "port_desc_request" => Message::MultipartRequest(MultipartRequest::PortDescription),
        "desc_reply" => reply(MultipartBody::Description(Box::new(SwitchDescription {
            manufacturer: object_ref.text("manufacturer")?,
            hardware: object_ref.text("hardware")?,
            software: object_ref.text("software")?,
            serial: object_ref.text("serial")?,
            datapath: object_ref.text("datapath")?,
        }))),
        "flow_reply" => {
            let flows = object_ref.objects("flows")?.into_iter().map(Object::flow_stats);
            reply(MultipartBody::Flow(flows.collect::<Result<_>>()?))
        }
        "aggregate_reply" => reply(MultipartBody::Aggregate(AggregateStats {
            packets: object_ref.number("packets")?,
            bytes: object_ref.number("bytes")?,
            flows: object_ref.number("flows")?,
        })),
        "table_reply" => {
            let one = |mut table: Object| {
                let stats = TableStats {
                    table: TableId(table.number("table")?),
                    active: table.number("active")?,
                    lookups: table.number("lookups")?,
                    matched: table.number("matched")?,
                };
                table.done()?;
                Ok(stats)
            };
            let tables = object_ref.objects("tables")?.into_iter().map(one);
            reply(MultipartBody::Table(tables.collect::<Result<_>>()?))
        }
        "port_desc_reply" => {
            let ports = object_ref.objects("ports")?.into_iter().map(Object::port_description);
            reply(MultipartBody::PortDescription(ports.collect::<Result<_>>()?))
        }
        "bundle_control" => Message::BundleControl(BundleControl {
            bundle: BundleId(object_ref.number("bundle_id")?),
            kind: object_ref.named("control", &BUNDLE_CONTROLS)?,
            flags: BundleFlags(object_ref.number("flags")?),
        }),
        "bundle_add" => {
            let bundle = BundleId(object_ref.number("bundle_id")?);
            let flags = BundleFlags(object_ref.number("flags")?);
            let inner = object_ref.needed("message")?;
            let (_, message) = parse_object(Object::of(object_ref.at("message"), inner)?)?;
            Message::BundleAdd(BundleAdd { bundle, flags, message: Box::new(message) })
        }
        "experimenter" => Message::Experimenter {
            experimenter: object_ref.number("experimenter")?,
            kind: object_ref.number("experimenter_type")?,
            data: object_ref.bytes("data")?,
        },
        "other" => {
            let kind: u8 = object_ref.number("message_type")?;
            let body = object_ref.bytes("body")?;
            let length = u16::try_from(HEADER_LENGTH + body.len())
                .map_err(|_| JsonError::new("body", "the message would be longer than 65535 bytes"))?;
            let mut bytes = vec![VERSION, kind];
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(body);
            Message::decode(&bytes).map_err(|error| JsonError::new("body", error.to_string()))?.1
        }
        other => match control::parse(other, more, object_ref)? {
            Some(message) => message,
            None => return Err(JsonError::new("type", format!("'{other}' is no type of message"))),
        },
    };
    object.done()?;
    Ok((xid, message))
}
