//! Messages as JSON: fields by the names of their OXM headers, numbers of 64 bits as text, actions as flow text.
//!
//! What is written here is read here, and gives the same bytes. What has no form of its own is carried as
//! hexadecimal: a whole message's `body`, an action's `raw`, the entries of unknown match fields.

mod control;
mod read;
pub(crate) mod stats;
pub(crate) mod versions;
mod write;

use ofctl::wire::{BundleControlType, FlowModCommand, FragmentMode, GroupModCommand, GroupType};

pub(crate) use write::{aggregate, config, description, entry_object, features, flow, message, port, table};

/// Bytes from hexadecimal digits; blanks and separators between them do not matter.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && !b":.-_".contains(byte))
        .map(|byte| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

pub(super) const FLOW_COMMANDS: [(FlowModCommand, &str); 5] = [
    (FlowModCommand::Add, "add"),
    (FlowModCommand::Modify, "modify"),
    (FlowModCommand::ModifyStrict, "modify_strict"),
    (FlowModCommand::Delete, "delete"),
    (FlowModCommand::DeleteStrict, "delete_strict"),
];

pub(super) const GROUP_COMMANDS: [(GroupModCommand, &str); 4] = [
    (GroupModCommand::Add, "add"),
    (GroupModCommand::Modify, "modify"),
    (GroupModCommand::Delete, "delete"),
    (GroupModCommand::AddOrModify, "add_or_modify"),
];

pub(super) const GROUP_TYPES: [GroupType; 4] =
    [GroupType::All, GroupType::Select, GroupType::Indirect, GroupType::FastFailover];

pub(super) const FRAGMENT_MODES: [FragmentMode; 4] =
    [FragmentMode::Normal, FragmentMode::Drop, FragmentMode::Reassemble, FragmentMode::NxMatch];

pub(super) const BUNDLE_CONTROLS: [(BundleControlType, &str); 8] = [
    (BundleControlType::OpenRequest, "open_request"),
    (BundleControlType::OpenReply, "open_reply"),
    (BundleControlType::CloseRequest, "close_request"),
    (BundleControlType::CloseReply, "close_reply"),
    (BundleControlType::CommitRequest, "commit_request"),
    (BundleControlType::CommitReply, "commit_reply"),
    (BundleControlType::DiscardRequest, "discard_request"),
    (BundleControlType::DiscardReply, "discard_reply"),
];

#[cfg(test)]
mod tests;
