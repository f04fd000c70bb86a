//! Messages of any version as JSON: the form of 1.3, and `openflow` with the version, where that is another.
//!
//! A flow-mod may have an `importance`; a group-mod the commands `insert_bucket` and `remove_bucket`, a
//! `command_bucket_id`, a `selection_method` with its `parameter` and `fields`, `properties` that are not known, and in
//! its buckets `bucket_id` and `properties`.

use ofctl::wire::versions::{
    Bucket, BucketId, FlowMod, GroupMod, GroupModCommand, Message, Property, SelectionMethod, Version,
};
use ofctl::wire::{
    BundleFlags, BundleId, Field, FieldValue, GroupMod as GroupMod13, GroupModCommand as GroupModCommand13,
    Message as Message13, Xid,
};
use serde_json::{Value, json};

use super::super::print::hex;
use super::super::versions::of_13;
use super::read::{JsonError, JsonOrSyntax, Object, Result, parse_object};
use super::write::message_object;

/// The commands that 1.3 has not.
const BUCKET_COMMANDS: [(GroupModCommand, &str); 2] =
    [(GroupModCommand::InsertBucket, "insert_bucket"), (GroupModCommand::RemoveBucket, "remove_bucket")];

/// A whole message with its number, and its version if that is not 1.3.
pub(crate) fn message(version: Version, xid: Xid, message: &Message) -> Value {
    let mut whole = object(message);
    if version != Version::OpenFlow13 {
        whole["openflow"] = json!(version.name());
    }
    whole["xid"] = json!(xid.0);
    whole
}

fn object(message: &Message) -> Value {
    match message {
        Message::FlowMod(FlowMod { flow, importance }) => {
            let mut whole = message_object(&Message13::FlowMod(flow.clone()));
            if *importance != 0 {
                whole["importance"] = json!(importance);
            }
            whole
        }
        Message::GroupMod(change) => group_mod(change),
        Message::MeterMod(change) => message_object(&Message13::MeterMod(change.clone())),
        Message::BundleControl(control) => message_object(&Message13::BundleControl(*control)),
        Message::BundleAdd { bundle, flags, message } => json!({
            "type": "bundle_add", "bundle_id": bundle.0, "flags": flags.0, "message": object(message),
        }),
        Message::BarrierRequest => message_object(&Message13::BarrierRequest),
        Message::BarrierReply => message_object(&Message13::BarrierReply),
        Message::Same(same) => message_object(same),
    }
}

fn properties(properties: &[Property]) -> Value {
    properties.iter().map(|one| json!({"kind": one.kind, "data": hex(&one.data)})).collect()
}

fn group_mod(change: &GroupMod) -> Value {
    let command = match change.command {
        GroupModCommand::Modify => GroupModCommand13::Modify,
        GroupModCommand::Delete => GroupModCommand13::Delete,
        GroupModCommand::AddOrModify => GroupModCommand13::AddOrModify,
        GroupModCommand::Add | GroupModCommand::InsertBucket | GroupModCommand::RemoveBucket => {
            GroupModCommand13::Add
        }
    };
    let buckets = change.buckets.iter().map(|bucket| bucket.bucket.clone()).collect();
    let plain = GroupMod13 { command, kind: change.kind, group: change.group, buckets };
    let mut whole = message_object(&Message13::GroupMod(plain));
    if let Some((_, name)) = BUCKET_COMMANDS.iter().find(|(command, _)| *command == change.command) {
        whole["command"] = json!(name);
    }
    if change.command_bucket != BucketId::ALL {
        whole["command_bucket_id"] = json!(change.command_bucket.0);
    }
    for (place, bucket) in change.buckets.iter().enumerate() {
        let shown = &mut whole["buckets"][place];
        // Buckets are numbered by their place unless it is said otherwise.
        if bucket.id.0 as usize != place {
            shown["bucket_id"] = json!(bucket.id.0);
        }
        if !bucket.properties.is_empty() {
            shown["properties"] = properties(&bucket.properties);
        }
    }
    if let Some(SelectionMethod { method, parameter, fields }) = &change.selection {
        let fields: Value = fields
            .iter()
            .map(|(field, mask)| json!({"field": field.name(), "mask": format!("{:#x}", mask.to_u128())}))
            .collect();
        whole["selection_method"] = json!({
            "method": method, "parameter": format!("{parameter:#x}"), "fields": fields,
        });
    }
    if !change.properties.is_empty() {
        whole["properties"] = properties(&change.properties);
    }
    whole
}

/// Reads what [`message`] writes; the version if it is said.
pub(crate) fn parse(text: &str) -> std::result::Result<(Option<Version>, Xid, Message), JsonOrSyntax> {
    let value: Value = serde_json::from_str(text).map_err(JsonOrSyntax::Syntax)?;
    let mut whole = Object::of("", value)?;
    let version = match whole.peek("openflow") {
        None => None,
        Some(_) => {
            let name = whole.text("openflow")?;
            Some(name.parse().map_err(|error| JsonError::new("openflow", format!("{error}")))?)
        }
    };
    let (xid, message) = parse_any(whole)?;
    Ok((version, xid, message))
}

fn parse_any(mut whole: Object) -> Result<(Xid, Message)> {
    let kind = whole.peek("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "flow_mod" => {
            let importance = whole.number_or("importance", 0)?;
            let (xid, message) = parse_object(whole)?;
            Ok((xid, of_13(message, importance)))
        }
        "group_mod" => parse_group_mod(whole),
        "bundle_add" => {
            whole.text("type")?;
            let xid = Xid(whole.number_or("xid", 0)?);
            let (bundle, flags) = (BundleId(whole.number("bundle_id")?), BundleFlags(whole.number("flags")?));
            let inner = whole.needed("message")?;
            let (_, message) = parse_any(Object::of(whole.at("message"), inner)?)?;
            whole.done()?;
            Ok((xid, Message::BundleAdd { bundle, flags, message: Box::new(message) }))
        }
        _ => {
            let (xid, message) = parse_object(whole)?;
            Ok((xid, of_13(message, 0)))
        }
    }
}

fn parse_properties(whole: &mut Object) -> Result<Vec<Property>> {
    let one = |mut property: Object| {
        let parsed = Property { kind: property.number("kind")?, data: property.bytes("data")?.into() };
        property.done()?;
        Ok(parsed)
    };
    whole.objects("properties")?.into_iter().map(one).collect()
}

fn parse_selection(value: Value, path: String) -> Result<SelectionMethod> {
    let mut selection = Object::of(path, value)?;
    let (method, parameter) = (selection.text("method")?, selection.number_or("parameter", 0)?);
    let mut fields = Vec::new();
    for mut field in selection.objects("fields")? {
        let (name, mask) = (field.text("field")?, field.text("mask")?);
        let known = Field::from_name(&name)
            .ok_or_else(|| JsonError::new(field.at("field"), format!("no field is called '{name}'")))?;
        let number = mask.strip_prefix("0x").and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let number =
            number.ok_or_else(|| JsonError::new(field.at("mask"), format!("'{mask}' is not 0x…")))?;
        field.done()?;
        fields.push((known, FieldValue::from(number)));
    }
    selection.done()?;
    Ok(SelectionMethod { method, parameter, fields })
}

fn parse_group_mod(mut whole: Object) -> Result<(Xid, Message)> {
    let wanted = whole.peek("command").and_then(Value::as_str).unwrap_or_default();
    let command = BUCKET_COMMANDS.iter().find(|(_, name)| *name == wanted).map(|(command, _)| *command);
    if command.is_some() {
        whole.set("command", json!("add"));
    }
    let command_bucket = BucketId(whole.number_or("command_bucket_id", BucketId::ALL.0)?);
    let at = whole.at("selection_method");
    let selection = whole.optional("selection_method").map(|value| parse_selection(value, at)).transpose()?;
    let unknown = parse_properties(&mut whole)?;
    // What 1.3 does not know of the buckets, which are read as its own afterwards.
    let mut extras = Vec::new();
    let mut plain = Vec::new();
    for (place, mut bucket) in whole.objects("buckets")?.into_iter().enumerate() {
        let id = BucketId(bucket.number_or("bucket_id", place as u32)?);
        extras.push((id, parse_properties(&mut bucket)?));
        plain.push(bucket.into_value());
    }
    whole.set("buckets", Value::Array(plain));
    let (xid, message) = parse_object(whole)?;
    let Message13::GroupMod(change) = message else { return Ok((xid, of_13(message, 0))) };
    let mut change = GroupMod::from(change);
    change.command = command.unwrap_or(change.command);
    (change.command_bucket, change.selection, change.properties) = (command_bucket, selection, unknown);
    for (bucket, (id, properties)) in change.buckets.iter_mut().zip(extras) {
        *bucket = Bucket { id, properties, ..bucket.clone() };
    }
    Ok((xid, Message::GroupMod(change)))
}
