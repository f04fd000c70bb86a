//! Lists of actions and of instructions in the words of a version.
//!
//! Reading goes by way of 1.3: what a version says in its own way is written as 1.3 says it, what is the same is left
//! as it stands, and the decoder of 1.3 judges the whole.

use super::super::NICIRA_EXPERIMENTER;
use super::super::action::{Action, Instructions};
use super::super::action_codec::{action_type, instruction_type, subtype};
use super::super::cursor::{Nested, Padding, Put, Reader};
use super::super::error::DecodeError;
use super::super::field::Field;
use super::super::matching::Match;
use super::{Version, VersionError, Warning, action10, action15, matching};

/// What the meaning of some actions hangs on.
pub(super) struct Context {
    pub(super) version: Version,
    /// The match takes only packets with a tag, or only such without one.
    pub(super) tagged: Option<bool>,
    /// The IP protocol that the match takes.
    pub(super) ip_proto: Option<u8>,
}

impl Context {
    pub(super) fn new(version: Version, matching: &Match) -> Context {
        let present = u64::from(matching::VLAN_PRESENT);
        let tag = matching.get(Field::VlanVid).filter(|entry| entry.mask.to_u64() & present != 0);
        Context {
            version,
            tagged: tag.map(|entry| entry.value.to_u64() & present != 0),
            ip_proto: matching.exact(Field::IpProto).map(|value| value.to_u64() as u8),
        }
    }

    /// Of actions without a match, as a group has them.
    pub(super) fn without_match(version: Version) -> Context {
        Context::new(version, &Match::new())
    }
}

/// Appends actions.
pub(super) fn put_actions(
    context: &Context,
    mut actions: &[Action],
    out: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<(), VersionError> {
    while let Some((first, rest)) = actions.split_first() {
        let done = match context.version {
            Version::OpenFlow10 => action10::put(context, actions, out, warnings)?,
            Version::OpenFlow15 => action15::put(actions, out)?,
            Version::OpenFlow13 | Version::OpenFlow14 => 0,
        };
        if done > 0 {
            actions = &actions[done..];
            continue;
        }
        match first {
            Action::Ct(ct) => {
                let bare =
                    Action::Ct(Box::new(super::super::ct::Ct { actions: Vec::new(), ..(**ct).clone() }));
                put_nesting(context, &bare, &ct.actions, out, warnings)?;
            }
            Action::Clone(nested) => {
                put_nesting(context, &Action::Clone(Vec::new()), nested, out, warnings)?;
            }
            Action::Unknown(bytes) if !is_carried(context.version, bytes) => {
                let kind = bytes.get(..2).map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
                return Err(context.version.lacks(
                    format!("an action of type {kind}"),
                    "its number belongs to the version that it was read from",
                ));
            }
            plain => plain.encode(out)?,
        }
        actions = rest;
    }
    Ok(())
}

/// True if an action that is not known means the same in this version as where it was read.
fn is_carried(version: Version, bytes: &[u8]) -> bool {
    match *bytes {
        [0xff, 0xff, ..] => true,
        [0, kind @ (action15::COPY_FIELD | action15::METER), ..] => {
            version == Version::OpenFlow15 && kind != 0
        }
        _ => version != Version::OpenFlow10,
    }
}

/// Appends an action that others stand in.
fn put_nesting(
    context: &Context,
    bare: &Action,
    nested: &[Action],
    out: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<(), VersionError> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    bare.encode(&mut out)?;
    put_actions(context, nested, &mut out, warnings)
}

/// Appends instructions of 1.3 or later.
pub(super) fn put_instructions(
    context: &Context,
    instructions: &Instructions,
    out: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<(), VersionError> {
    let Instructions { meter, apply, clear, write, write_metadata, goto } = instructions;
    // In 1.5 the meter is an action, OpenFlow 1.5 §7.2.6.12.
    let meter_action = meter.filter(|_| context.version == Version::OpenFlow15);
    let meter = if meter_action.is_some() { None } else { *meter };
    Instructions { meter, ..Instructions::default() }.encode(out)?;
    if !apply.is_empty() || meter_action.is_some() {
        let mut out = begin(instruction_type::APPLY_ACTIONS, out);
        if let Some(meter) = meter_action {
            action15::put_meter(meter, &mut out);
        }
        put_actions(context, apply, &mut out, warnings)?;
    }
    Instructions { clear: *clear, ..Instructions::default() }.encode(out)?;
    if !write.is_empty() {
        let mut out = begin(instruction_type::WRITE_ACTIONS, out);
        put_actions(context, write, &mut out, warnings)?;
    }
    let rest = Instructions { write_metadata: *write_metadata, goto: *goto, ..Instructions::default() };
    Ok(rest.encode(out)?)
}

fn begin(kind: u16, out: &mut Vec<u8>) -> Nested<'_> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    out.put_u16(kind);
    out.put_zeros(6);
    out
}

/// Takes instructions of 1.3 or later to the end of `input`.
pub(super) fn take_instructions(
    version: Version,
    matching: &Match,
    input: &mut Reader<'_>,
) -> Result<Instructions, DecodeError> {
    if version < Version::OpenFlow15 {
        return Instructions::take(input);
    }
    let context = Context::new(version, matching);
    let mut as_13 = Vec::with_capacity(input.peek().len());
    let mut meter = None;
    while let [k0, k1, high, low, ..] = *input.peek() {
        let kind = u16::from_be_bytes([k0, k1]);
        let length = usize::from(u16::from_be_bytes([high, low]));
        let lists = [instruction_type::APPLY_ACTIONS, instruction_type::WRITE_ACTIONS];
        if !lists.contains(&kind) || length < 8 || length > input.peek().len() {
            // The decoder of 1.3 judges lengths too.
            let taken = input.take(length.max(4).min(input.peek().len()))?;
            as_13.put(taken);
            continue;
        }
        let mut actions = Reader::new("actions", &input.take(length)?[8..]);
        if kind == instruction_type::APPLY_ACTIONS && meter.is_none() {
            meter = action15::take_meter(&mut actions);
        }
        if meter.is_some() && actions.is_empty() && kind == instruction_type::APPLY_ACTIONS {
            continue;
        }
        let mut out = begin(kind, &mut as_13);
        translate(&context, actions, &mut out, MAX_DEPTH)?;
    }
    as_13.put(input.rest());
    let mut taken = Instructions::take(&mut Reader::new("instructions", &as_13))?;
    if meter.is_some() {
        if taken.meter.is_some() {
            return Err(DecodeError::DuplicateInstruction { what: "meter" });
        }
        taken.meter = meter;
    }
    Ok(taken)
}

/// Takes actions of 1.0 to the end of `input`; the last that write metadata are an instruction later.
pub(super) fn take_actions_10(matching: &Match, input: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
    let mut result = Instructions::default();
    let mut list = input.rest();
    if let Some((before, metadata)) = list.split_last_chunk::<32>()
        && ends_at_action(list, before.len())
    {
        result.write_metadata = action10::take_write_metadata(metadata);
        if result.write_metadata.is_some() {
            list = before;
        }
    }
    result.apply = take_actions(&Context::new(Version::OpenFlow10, matching), Reader::new("actions", list))?;
    Ok(result)
}

/// True if an action begins at `place`.
fn ends_at_action(list: &[u8], place: usize) -> bool {
    let mut at = 0;
    while at < place {
        let Some(&[high, low]) = list.get(at + 2..at + 4) else { return false };
        match usize::from(u16::from_be_bytes([high, low])) {
            0 => return false,
            length => at += length,
        }
    }
    at == place
}

/// Takes actions to the end of `input`.
pub(super) fn take_actions(context: &Context, input: Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    if matches!(context.version, Version::OpenFlow13 | Version::OpenFlow14) {
        return Action::take_all(input);
    }
    let mut as_13 = Vec::with_capacity(input.peek().len() * 2);
    translate(context, input, &mut as_13, MAX_DEPTH)?;
    Action::take_all(Reader::new("actions", &as_13))
}

/// As deep as the decoder of 1.3 goes, and one more, so that it refuses what is too deep.
const MAX_DEPTH: u8 = 33;

/// Appends the actions of another version as 1.3 has them.
fn translate(
    context: &Context,
    mut input: Reader<'_>,
    out: &mut Vec<u8>,
    depth: u8,
) -> Result<(), DecodeError> {
    let mut tagged = context.tagged == Some(true);
    while !input.is_empty() {
        let whole = input.peek();
        let bad_length = |length: usize| {
            DecodeError::BadLength { what: "action", length }.in_part("OFPBAC_BAD_LEN", "OFPBAC_BAD_ARGUMENT")
        };
        let [k0, k1, high, low, ..] = *whole else { return Err(bad_length(whole.len())) };
        let kind = u16::from_be_bytes([k0, k1]);
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 8 || !length.is_multiple_of(8) || length > whole.len() {
            return Err(bad_length(length));
        }
        let action = input.take(length)?;
        let body = Reader::new("action", &action[4..]);
        let named = |error: DecodeError| error.in_part("OFPBAC_BAD_LEN", "OFPBAC_BAD_ARGUMENT");
        let done = match context.version {
            Version::OpenFlow10 => {
                action10::translate(context, &mut tagged, kind, body, out).map_err(named)?
            }
            _ => action15::translate(kind, body, out).map_err(named)?,
        };
        if done {
            continue;
        }
        let nested_at = match nicira_subtype(kind, action) {
            Some(subtype::CT) => 24,
            Some(subtype::CLONE) => 16,
            _ => action.len(),
        };
        if nested_at >= action.len() || depth == 0 {
            out.put(action);
            continue;
        }
        let start = out.len();
        {
            let mut out = Nested::begin(out, 2, Padding::Counted);
            out.put(&action[..nested_at]);
            translate(context, Reader::new("actions", &action[nested_at..]), &mut out, depth - 1)?;
        }
        if matches!(Action::from_bytes(&out[start..]), Ok(Action::Unknown(_))) {
            // It is carried as bytes, so in the words in which it came.
            out.truncate(start);
            out.put(action);
        }
    }
    Ok(())
}

/// Which of Nicira's actions this is, if it is one.
pub(super) fn nicira_subtype(kind: u16, action: &[u8]) -> Option<u16> {
    let mut body = Reader::new("action", action.get(4..)?);
    let is_nicira = kind == action_type::EXPERIMENTER && body.u32().ok()? == NICIRA_EXPERIMENTER;
    if is_nicira { body.u16().ok() } else { None }
}
