//! Commands on groups.

use ofctl::wire::{GroupMod, GroupModCommand, Message};

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
    Delete,
}

const WORDS: [(&str, GroupModCommand); 3] =
    [("add", GroupModCommand::Add), ("modify", GroupModCommand::Modify), ("delete", GroupModCommand::Delete)];

impl Verb {
    pub(crate) fn read(self, text: &str) -> Result<GroupMod, SyntaxError> {
        let start = text.len() - text.trim_start().len();
        for (word, command) in WORDS {
            if let Some(rest) = text[start..].strip_prefix(word)
                && (rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == ','))
            {
                let offset = start + word.len();
                return group::group_mod(&text[offset..], command).map_err(|error| error.shifted(offset));
            }
        }
        let command = match self {
            Verb::Add => GroupModCommand::Add,
            Verb::Modify => GroupModCommand::Modify,
            Verb::Delete => GroupModCommand::Delete,
        };
        group::group_mod(text, command)
    }
}

/// `add-group`, `add-groups`, `mod-group` and `del-groups`.
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
