//! Group text, as ovs-ofctl(8) has it under "Group Syntax", both ways.

use std::fmt::Write as _;

use ofctl::wire::{Action, Bucket, GroupId, GroupMod, GroupModCommand, GroupType, Instructions, OfPort};

use super::error::SyntaxError;

const TYPES: [(&str, GroupType); 5] = [
    ("all", GroupType::All),
    ("select", GroupType::Select),
    ("indirect", GroupType::Indirect),
    ("ff", GroupType::FastFailover),
    ("fast_failover", GroupType::FastFailover),
];

/// A piece of the text and where it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn error(self, problem: impl Into<String>) -> SyntaxError {
        SyntaxError::new(self.at, problem)
    }

    fn bad(self, what: &str) -> SyntaxError {
        SyntaxError {
            word: Some(self.text.to_owned()),
            ..self.error(format!("'{}' is not {what}", self.text))
        }
    }

    fn number<T: std::str::FromStr + TryFrom<u64>>(self, what: &str) -> Result<T, SyntaxError> {
        let number = match self.text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => self.text.parse().ok(),
        };
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.bad(what))
    }

    /// Splits at commas and blanks outside parentheses.
    fn words(self) -> Vec<Piece<'a>> {
        let mut all = Vec::new();
        let (mut start, mut depth) = (0, 0usize);
        for (place, byte) in self.text.bytes().enumerate().chain([(self.text.len(), b',')]) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ if (byte == b',' || byte.is_ascii_whitespace())
                    && (depth == 0 || place == self.text.len()) =>
                {
                    if place > start {
                        all.push(Piece { text: &self.text[start..place], at: self.at + start });
                    }
                    start = place + 1;
                }
                _ => {}
            }
        }
        all
    }

    /// Both sides of the first `=` or `:`, if the first is a plain name.
    fn pair(self) -> Option<(&'a str, Piece<'a>)> {
        let place = self.text.find(['=', ':'])?;
        let (name, value) = (&self.text[..place], &self.text[place + 1..]);
        Some((name, Piece { text: value, at: self.at + place + 1 }))
    }
}

fn group_id(value: Piece<'_>, all: bool) -> Result<GroupId, SyntaxError> {
    if all && value.text == "all" {
        return Ok(GroupId::ALL);
    }
    let id: u32 = value.number("a group's number")?;
    if id > 0xffff_ff00 {
        return Err(value.error("the largest group is 0xffffff00 (OFPG_MAX)"));
    }
    Ok(GroupId(id))
}

fn bucket(piece: Piece<'_>, kind: GroupType) -> Result<Bucket, SyntaxError> {
    let weight = u16::from(kind == GroupType::Select);
    let mut bucket = Bucket::new(weight, Vec::new());
    let words = piece.words();
    for (place, word) in words.iter().enumerate() {
        match word.pair() {
            Some(("weight", value)) => bucket.weight = value.number("a weight")?,
            Some(("watch_port", value)) => {
                let port = OfPort::from_reserved_name(value.text);
                bucket.watch_port = port.map_or_else(|| value.number("a port").map(OfPort), Ok)?;
            }
            Some(("watch_group", value)) => bucket.watch_group = group_id(value, false)?,
            Some(("bucket_id", _)) => {
                return Err(word.error("buckets have numbers since OpenFlow 1.5; 1.3 cannot carry bucket_id"));
            }
            given => {
                // The rest are actions, whether `actions=` says so or not.
                let from = match given {
                    Some(("actions" | "action", value)) => value.at,
                    _ => words[place].at,
                } - piece.at;
                let text = piece.text[from..].trim_end_matches([',', ' ', '\t']);
                bucket.actions = actions(Piece { text, at: piece.at + from })?;
                return Ok(bucket);
            }
        }
    }
    Ok(bucket)
}

fn actions(piece: Piece<'_>) -> Result<Vec<Action>, SyntaxError> {
    let instructions: Instructions =
        piece.text.parse().map_err(|error| SyntaxError::from(error).shifted(piece.at))?;
    if instructions != (Instructions { apply: instructions.apply.clone(), ..Instructions::default() }) {
        return Err(piece.error("a bucket holds actions only: no meter, goto_table or the like"));
    }
    Ok(instructions.apply)
}

/// A group's text for this command.
pub(crate) fn group_mod(text: &str, command: GroupModCommand) -> Result<GroupMod, SyntaxError> {
    let deletes = command == GroupModCommand::Delete;
    let whole = Piece { text, at: 0 };
    // Each bucket reaches to the next one.
    let starts: Vec<usize> = text.match_indices("bucket=").map(|(place, _)| place).collect();
    let properties = Piece { text: &text[..starts.first().copied().unwrap_or(text.len())], at: 0 };
    let (mut id, mut kind) = (None, None);
    for word in properties.words() {
        match word.pair() {
            Some(("group_id", value)) => id = Some(group_id(value, deletes)?),
            Some(("type", value)) if !deletes => {
                let known = TYPES.iter().find(|(name, _)| *name == value.text).map(|(_, kind)| *kind);
                kind = Some(known.ok_or_else(|| {
                    value.error(format!(
                        "'{}' is no type of group; there are all, select, indirect and ff",
                        value.text
                    ))
                })?);
            }
            Some((
                name @ ("selection_method" | "selection_method_param" | "fields" | "command_bucket_id"),
                _,
            )) => {
                return Err(word.error(format!("OpenFlow 1.3 cannot carry {name}; it came with 1.5")));
            }
            _ if word.text == "all" && deletes => id = Some(GroupId::ALL),
            _ => return Err(word.error(format!("'{}' is no property of a group here", word.text))),
        }
    }
    if deletes {
        if let Some(place) = starts.first() {
            return Err(SyntaxError::new(*place, "a delete names no buckets"));
        }
        return Ok(GroupMod {
            command,
            kind: GroupType::All,
            group: id.unwrap_or(GroupId::ALL),
            buckets: Vec::new(),
        });
    }
    let group = id.ok_or_else(|| whole.error("group_id is missing"))?;
    let kind = kind.ok_or_else(|| whole.error("type is missing: all, select, indirect or ff"))?;
    let mut buckets = Vec::with_capacity(starts.len());
    for (place, &start) in starts.iter().enumerate() {
        let from = start + "bucket=".len();
        let to = starts.get(place + 1).copied().unwrap_or(text.len());
        buckets.push(bucket(Piece { text: &text[from..to], at: from }, kind)?);
    }
    if kind == GroupType::Indirect && buckets.len() != 1 {
        return Err(whole.error(format!("an indirect group has one bucket, not {}", buckets.len())));
    }
    Ok(GroupMod { command, kind, group, buckets })
}

/// A group as ovs-ofctl writes it.
pub(crate) fn text(group: GroupId, kind: GroupType, buckets: &[Bucket]) -> String {
    let mut out = format!("group_id={group},type={}", type_name(kind));
    for bucket in buckets {
        let Bucket { weight, watch_port, watch_group, actions } = bucket;
        // Writing to a String cannot fail.
        let _ = write!(out, ",bucket=");
        if *weight != u16::from(kind == GroupType::Select) {
            let _ = write!(out, "weight:{weight},");
        }
        if *watch_port != OfPort::ANY {
            let _ = write!(out, "watch_port:{watch_port},");
        }
        if *watch_group != GroupId::ANY {
            let _ = write!(out, "watch_group:{watch_group},");
        }
        let _ = write!(out, "actions={}", Instructions { apply: actions.clone(), ..Instructions::default() });
    }
    out
}

/// The name of a group's type.
pub(crate) fn type_name(kind: GroupType) -> &'static str {
    match kind {
        GroupType::All => "all",
        GroupType::Select => "select",
        GroupType::Indirect => "indirect",
        GroupType::FastFailover => "ff",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_and_written() {
        let given = "group_id=7,type=ff,bucket=watch_port:2,actions=output:1,resubmit(,5),bucket=watch_group:3,output:2";
        let group = group_mod(given, GroupModCommand::Add).unwrap();
        assert_eq!((group.group, group.kind, group.buckets.len()), (GroupId(7), GroupType::FastFailover, 2));
        assert_eq!(group.buckets[0].actions.len(), 2);
        let written = text(group.group, group.kind, &group.buckets);
        assert_eq!(
            written,
            "group_id=7,type=ff,bucket=watch_port:2,actions=output:1,resubmit(,5),bucket=watch_group:3,actions=output:2"
        );
        assert_eq!(group_mod(&written, GroupModCommand::Add).unwrap(), group);
    }

    #[test]
    fn errors_show_the_column() {
        for (text, column) in [
            ("group_id=7,type=some", 17),
            ("type=all", 1),
            ("group_id=7,type=all,bucket=actions=nonsense", 36),
            ("group_id=7,type=all,bucket=weight:x,actions=drop", 35),
            ("group_id=7,type=all,bucket=actions=output:1,goto_table:3", 36),
            ("group_id=7,type=select,selection_method=hash", 24),
        ] {
            assert_eq!(group_mod(text, GroupModCommand::Add).unwrap_err().column, column, "{text}");
        }
    }

    #[test]
    fn a_delete_names_one_or_all() {
        let delete = |text| group_mod(text, GroupModCommand::Delete).unwrap().group;
        assert_eq!(delete(""), GroupId::ALL);
        assert_eq!(delete("group_id=all"), GroupId::ALL);
        assert_eq!(delete("group_id=5"), GroupId(5));
    }
}
