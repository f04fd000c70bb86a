//! The text of groups, as commands take it.

use ofctl::text::{GroupCommand, GroupText};
use ofctl::wire::{GroupMod, GroupType};

use super::error::SyntaxError;

/// A group's text for this command; without one the text may begin with it.
pub(crate) fn group_mod(text: &str, command: Option<GroupCommand>) -> Result<GroupMod, SyntaxError> {
    Ok(GroupText::parse(text, command).and_then(GroupMod::try_from)?)
}

/// The name of a group's type.
pub(crate) fn type_name(kind: GroupType) -> &'static str {
    kind.name()
}
