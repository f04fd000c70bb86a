//! The filters in other versions than 1.3: flow text to their bytes, and their bytes to text.

use ofctl::text::GroupText;
use ofctl::wire::versions::{FlowMod, GroupMod, GroupModCommand, Message, Version};
use ofctl::wire::{
    DecodeError, FlowMod as FlowMod13, GroupDescription, GroupId, Instructions, Message as Message13,
    NO_BUFFER, OfPort, Xid,
};

use super::error::SyntaxError;
use super::{print, syntax};

/// A message of 1.3 as one of any version; `importance` is that of a flow.
pub(crate) fn of_13(message: Message13, importance: u16) -> Message {
    match message {
        Message13::FlowMod(flow) => Message::FlowMod(FlowMod { flow, importance }),
        Message13::GroupMod(change) => Message::GroupMod(change.into()),
        Message13::MeterMod(meter) => Message::MeterMod(meter),
        Message13::BundleControl(control) => Message::BundleControl(control),
        Message13::BundleAdd(add) => Message::BundleAdd {
            bundle: add.bundle,
            flags: add.flags,
            message: Box::new(of_13(*add.message, 0)),
        },
        Message13::BarrierRequest => Message::BarrierRequest,
        Message13::BarrierReply => Message::BarrierReply,
        other => Message::Same(other),
    }
}

/// A message of any version from its text: of a flow with perhaps an importance, or of a group with perhaps buckets and
/// a selection method as 1.5 has them. Anything else is read by `otherwise`, as 1.3.
pub(crate) fn parse(
    text: &str,
    otherwise: impl FnOnce(&str) -> Result<Message13, SyntaxError>,
) -> Result<Message, SyntaxError> {
    let start = text.len() - text.trim_start().len();
    if let Some(group) = text[start..].strip_prefix("group ") {
        let parsed = GroupText::parse(group, None).map_err(SyntaxError::from);
        let offset = text.len() - group.len();
        return parsed.map(|group| Message::GroupMod(group.into())).map_err(|error| error.shifted(offset));
    }
    let (rest, taken) = syntax::take(text, &["importance"]);
    let importance = taken.get("importance").map_or(Ok(0), |given| syntax::sized(given, "an importance"))?;
    otherwise(&rest).map(|message| of_13(message, importance))
}

/// The version of a message, if it is another than 1.3 and no hello.
pub(crate) fn other_version(bytes: &[u8]) -> Option<Version> {
    let version = Version::from_number(*bytes.first()?)?;
    let is_hello = bytes.get(1) == Some(&0);
    (version != Version::OpenFlow13 && !is_hello).then_some(version)
}

/// A message of another version in ovs-ofctl's words, in one line.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, DecodeError> {
    let (version, xid, message) = Message::decode(bytes)?;
    let is_nicira = bytes.get(1) == Some(&4);
    let name = match &message {
        Message::FlowMod(_) if is_nicira => "NXT_FLOW_MOD",
        Message::GroupMod(_) if is_nicira => "NXT_GROUP_MOD",
        Message::BundleControl(_) => "OFPT_BUNDLE_CONTROL",
        Message::BundleAdd { .. } => "OFPT_BUNDLE_ADD_MESSAGE",
        _ => "",
    };
    let text = body(&message);
    // The words of 1.3 begin with the name there, which is the same but for these.
    let (plain, rest) = text.split_once(" (OF1.3)").unwrap_or((&text, ""));
    let name = if name.is_empty() { plain } else { name };
    let in_version = match version {
        Version::OpenFlow10 => "",
        Version::OpenFlow13 => " (OF1.3)",
        Version::OpenFlow14 => " (OF1.4)",
        Version::OpenFlow15 => " (OF1.5)",
    };
    let rest = rest.replacen("(xid=0x0)", &format!("(xid={xid})"), 1);
    Ok(format!("{name}{in_version}{rest}"))
}

/// A message as 1.3 prints it, with what that does not have.
fn body(message: &Message) -> String {
    let print = |message: &Message13| print::one(Xid(0), message);
    match message {
        Message::FlowMod(FlowMod { flow, importance }) => {
            let whole = print(&Message13::FlowMod(flow.clone()));
            if *importance == 0 {
                return whole;
            }
            // It stands after the timeouts: after what is printed of a flow that has nothing behind them.
            let before = print(&Message13::FlowMod(FlowMod13 {
                buffer_id: NO_BUFFER,
                out_port: OfPort::ANY,
                out_group: GroupId::ANY,
                flags: Default::default(),
                instructions: Instructions::default(),
                ..flow.clone()
            }));
            let before = before.strip_suffix("actions=drop").unwrap_or(&before);
            match whole.strip_prefix(before) {
                Some(after) => format!("{before}importance:{importance} {after}"),
                None => whole,
            }
        }
        Message::GroupMod(change) => format!("OFPT_GROUP_MOD (OF1.3) (xid=0x0): {}", group_mod(change)),
        Message::MeterMod(meter) => print(&Message13::MeterMod(meter.clone())),
        Message::BundleControl(control) => print(&Message13::BundleControl(*control)),
        Message::BundleAdd { bundle, flags, message } => {
            let inner = body(message);
            format!(
                "ONFT_BUNDLE_ADD_MESSAGE (OF1.3) (xid=0x0): bundle_id={bundle} flags={:#x} {inner}",
                flags.0
            )
        }
        Message::BarrierRequest => print(&Message13::BarrierRequest),
        Message::BarrierReply => print(&Message13::BarrierReply),
        Message::Same(same) => print(same),
    }
}

fn group_mod(change: &GroupMod) -> String {
    let command = match change.command {
        GroupModCommand::Add => "ADD",
        GroupModCommand::Modify => "MOD",
        GroupModCommand::Delete => "DEL",
        GroupModCommand::AddOrModify => "ADD_OR_MOD",
        GroupModCommand::InsertBucket => "INSERT_BUCKET",
        GroupModCommand::RemoveBucket => "REMOVE_BUCKET",
    };
    let mut out = format!("{command} ");
    if matches!(change.command, GroupModCommand::InsertBucket | GroupModCommand::RemoveBucket) {
        out += &format!("command_bucket_id:{},", change.command_bucket);
    }
    out += &format!("group_id={},type={}", change.group, change.kind.name());
    if let Some(selection) = &change.selection {
        out += &format!(",selection_method={}", selection.method);
        if selection.parameter != 0 {
            out += &format!(",selection_method_param={}", selection.parameter);
        }
        let fields: Vec<String> = selection
            .fields
            .iter()
            .map(|(field, value)| {
                let whole = *value == field.exact_mask();
                if whole {
                    field.name().to_owned()
                } else {
                    format!("{}={:#x}", field.name(), value.to_u128())
                }
            })
            .collect();
        if !fields.is_empty() {
            out += &format!(",fields({})", fields.join(","));
        }
    }
    for bucket in &change.buckets {
        // The words of 1.3 for one bucket, with its number.
        let (group, kind, buckets) = (change.group, change.kind, vec![bucket.bucket.clone()]);
        let one = GroupDescription { kind, group, buckets }.to_string();
        let words = one.split_once(",bucket=").map_or("", |(_, words)| words);
        out += &format!(",bucket=bucket_id:{},{words}", bucket.id);
    }
    out
}
