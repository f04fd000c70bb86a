//! The checks for what nearly every flow consists of. Each says "right" only of what the owned decoder takes; of all
//! else it says nothing, and the owned decoder is asked.

use super::super::NICIRA_EXPERIMENTER;
use super::super::action::Action;
use super::super::action_codec::{action_type, instruction_type, subtype};
use super::super::field::{WireSpec, wire_of_header};
use super::super::ids::TableId;

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// True if these entries are of known fields, none twice, each of its length and with no value outside its mask.
#[inline]
pub(super) fn entries(whole: &[u8]) -> bool {
    let mut entries = whole;
    let mut highest = None;
    while let Some((header, rest)) = entries.split_first_chunk::<4>() {
        let header = u32::from_be_bytes(*header);
        let Some((payload, rest)) = rest.split_at_checked((header & 0xff) as usize) else { return false };
        let Some((row, wire)) = wire_of_header(header) else { return false };
        let has_mask = header & 0x100 != 0;
        // Half the length, and without the bit that says so: the header of the same field without a mask.
        let bare = if has_mask { header - 0x100 - (header & 0xff) / 2 } else { header };
        if (bare != wire.header && bare != wire.nxm) || !wire.is_canonical {
            return false;
        }
        if has_mask && (header & 1 != 0 || !mask_is_right(wire, payload)) {
            return false;
        }
        // Fields of all bits of their bytes hold any value.
        if !has_mask && usize::from(wire.bits) != 8 * payload.len() && !value_is_right(wire, payload) {
            return false;
        }
        // In the order of most switches and controllers none can be there twice.
        if highest >= Some(row) {
            if is_there(row, &whole[..whole.len() - entries.len()]) {
                return false;
            }
        } else {
            highest = Some(row);
        }
        entries = rest;
    }
    entries.is_empty()
}

/// True if one of these entries is of the field of this row. There are never more entries than fields.
#[cold]
fn is_there(row: u8, mut entries: &[u8]) -> bool {
    while let Some((header, rest)) = entries.split_first_chunk::<4>() {
        let header = u32::from_be_bytes(*header);
        if wire_of_header(header).is_some_and(|(known, _)| known == row) {
            return true;
        }
        entries = rest.get((header & 0xff) as usize..).unwrap_or_default();
    }
    false
}

/// True if a value has no bits outside of the field.
#[inline]
fn value_is_right(wire: &WireSpec, payload: &[u8]) -> bool {
    let value = match *payload {
        [a] => a.into(),
        [a, b] => u16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        // Longer ones have no bits to spare, and of others the owned decoder knows.
        _ => return false,
    };
    value & !(wire.value_mask.to_u128() as u32) == 0
}

/// True if a value has no bits outside of the mask after it, nor the mask outside of the field, and there is a mask.
#[inline]
fn mask_is_right(wire: &WireSpec, payload: &[u8]) -> bool {
    macro_rules! right {
        ($number:ty, $n:literal) => {{
            let (Some(value), Some(mask)) = (payload.first_chunk::<$n>(), payload.last_chunk::<$n>()) else {
                return false;
            };
            let (value, mask) = (<$number>::from_be_bytes(*value), <$number>::from_be_bytes(*mask));
            let exact = wire.exact_mask.to_u128() as $number;
            let some = wire.maskable && value & !(wire.value_mask.to_u128() as $number) == 0;
            mask != 0 && mask & !exact == 0 && value & !mask == 0 && (some || mask == exact)
        }};
    }
    match payload.len() {
        8 => right!(u32, 4),
        4 => right!(u16, 2),
        2 => right!(u8, 1),
        16 => right!(u64, 8),
        32 => right!(u128, 16),
        12 => {
            let halves = payload.split_at(6);
            let number = |half: &[u8]| half.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
            let (value, mask) = (number(halves.0), number(halves.1));
            mask != 0 && value & !mask == 0 && wire.maskable
        }
        _ => false,
    }
}

/// True if these instructions of an entry in `table` are known, none twice, and all that they hold is right.
#[inline]
pub(super) fn instructions(mut bytes: &[u8], table: TableId) -> bool {
    let mut seen = 0u32;
    while bytes.len() >= 8 {
        let (kind, length) = (u16_at(bytes, 0), usize::from(u16_at(bytes, 2)));
        let Some((instruction, rest)) = bytes.split_at_checked(length) else { return false };
        bytes = rest;
        let right = match kind {
            instruction_type::APPLY_ACTIONS | instruction_type::WRITE_ACTIONS => {
                length >= 8 && actions(&instruction[8..])
            }
            // Going back is for the owned decoder to judge.
            instruction_type::GOTO_TABLE => length == 8 && TableId(instruction[4]) > table,
            instruction_type::METER | instruction_type::CLEAR_ACTIONS => length == 8,
            instruction_type::WRITE_METADATA => length == 24,
            _ => return false,
        };
        if !right || seen & 1 << kind != 0 {
            return false;
        }
        seen |= 1 << kind;
    }
    bytes.is_empty()
}

/// True if these are actions, all of them right.
#[inline]
fn actions(mut bytes: &[u8]) -> bool {
    while bytes.len() >= 8 {
        let length = usize::from(u16_at(bytes, 2));
        if length < 8 {
            return false;
        }
        let Some((action, rest)) = bytes.split_at_checked(length) else { return false };
        bytes = rest;
        if !is_common(action) && !is_right(action) {
            return false;
        }
    }
    bytes.is_empty()
}

/// What the owned decoder says of a rarer action.
#[cold]
fn is_right(action: &[u8]) -> bool {
    Action::from_bytes(action).is_ok()
}

/// True if this is an action that is checked here, and it is right.
#[inline]
fn is_common(action: &[u8]) -> bool {
    match (u16_at(action, 0), action.len()) {
        (action_type::OUTPUT, 16) => true,
        (action_type::EXPERIMENTER, 16 | 24..) if u32_at(action, 4) == NICIRA_EXPERIMENTER => {
            is_common_nicira(action)
        }
        (
            action_type::GROUP
            | action_type::SET_QUEUE
            | action_type::POP_VLAN
            | action_type::DEC_NW_TTL
            | action_type::SET_NW_TTL,
            8,
        ) => true,
        (action_type::PUSH_VLAN, 8) => matches!(u16_at(action, 4), 0x8100 | 0x88a8),
        (action_type::SET_FIELD, 16 | 24) => {
            let header = u32_at(action, 4);
            let padding = (action.len() - 8).checked_sub((header & 0xff) as usize);
            let known = wire_of_header(header).is_some_and(|(_, wire)| header == wire.header);
            known && padding.is_some_and(|padding| padding < 8)
        }
        _ => false,
    }
}

#[inline]
fn is_common_nicira(action: &[u8]) -> bool {
    match (u16_at(action, 8), action.len()) {
        (subtype::REG_LOAD, 24) => {
            let packed = u16_at(action, 10);
            let (start, n_bits) = (packed >> 6, (packed & 0x3f) + 1);
            let header = u32_at(action, 12);
            let Some((_, wire)) = wire_of_header(header) else { return false };
            let value = u64::from(u32_at(action, 16)) << 32 | u64::from(u32_at(action, 20));
            (header == wire.header || header == wire.nxm)
                && start + n_bits <= wire.bits
                && (n_bits == 64 || value >> n_bits == 0)
        }
        (subtype::RESUBMIT_TABLE, 16) => action[13..16] == [0; 3],
        (subtype::CT, 24) => {
            // In a zone by its number, and with nothing nested in it.
            let flags = u16_at(action, 10);
            (flags & 3 != 2) && action[12..16] == [0; 4]
        }
        _ => false,
    }
}
