//! Commands on groups.

use ofctl::text::GroupCommand;
use ofctl::wire::{GroupMod, Message};

use super::args::{Connect, Write};
use super::error::{CliError, SyntaxError};
use super::flows::{Texts, carry_out};
use super::output::Output;
use super::{Outcome, group};

/// What a group without a command word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Modify,
    /// Whether it is there or not.
    ModifyOrAdd,
    Delete,
    InsertBuckets,
    RemoveBuckets,
}

impl Verb {
    /// Reads a group's text. Only an addition may say otherwise, by a command word in front.
    pub(crate) fn read(self, text: &str) -> Result<GroupMod, SyntaxError> {
        let command = match self {
            Verb::Add => None,
            Verb::Modify => Some(GroupCommand::Modify),
            Verb::ModifyOrAdd => Some(GroupCommand::AddOrModify),
            Verb::Delete => Some(GroupCommand::Delete),
            Verb::InsertBuckets => Some(GroupCommand::InsertBucket),
            Verb::RemoveBuckets => Some(GroupCommand::RemoveBucket),
        };
        group::group_mod(text, command)
    }
}

/// `add-group`, `add-groups`, `mod-group`, `del-groups`, `insert-buckets` and `remove-buckets`.
pub(crate) async fn change(
    connect: &Connect,
    name: &str,
    texts: Texts,
    verb: Verb,
    write: Write,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let parse = |text: &str| verb.read(text).map(Message::GroupMod);
    carry_out(connect, name, texts, write, output, parse).await
}
