//! Groups as text, as ovs-ofctl(8) has it under "Group Syntax", both ways.

use std::fmt::{self, Write};

use super::parse_actions::{Context, parse_instructions};
use super::value::{parse_port, parse_sized, parse_value};
use super::{ParseError, ParseProblem, Span};
use crate::wire::{
    Bucket, Field, FieldValue, GroupDescription, GroupId, GroupMod, GroupModCommand, GroupType, Instructions,
    OfPort,
};

const TYPES: [(&str, GroupType); 5] = [
    ("all", GroupType::All),
    ("select", GroupType::Select),
    ("indirect", GroupType::Indirect),
    ("ff", GroupType::FastFailover),
    ("fast_failover", GroupType::FastFailover),
];

impl GroupType {
    /// The name that group text gives it.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// What a group's text asks for, in whatever version of OpenFlow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupCommand {
    /// A new group.
    Add,
    /// Other buckets for a group.
    Modify,
    /// Either, whether the group is there or not.
    AddOrModify,
    /// Removes one group, or all.
    Delete,
    /// More buckets for a group, since OpenFlow 1.5.
    InsertBucket,
    /// Fewer buckets for a group, since OpenFlow 1.5.
    RemoveBucket,
}

impl GroupCommand {
    const WORDS: [(&'static str, GroupCommand); 6] = [
        ("add_or_mod", GroupCommand::AddOrModify),
        ("add", GroupCommand::Add),
        ("modify", GroupCommand::Modify),
        ("delete", GroupCommand::Delete),
        ("insert_bucket", GroupCommand::InsertBucket),
        ("remove_bucket", GroupCommand::RemoveBucket),
    ];

    fn is_about_buckets(self) -> bool {
        matches!(self, GroupCommand::InsertBucket | GroupCommand::RemoveBucket)
    }
}

/// How a select group chooses a bucket: the group property `NTRT_SELECTION_METHOD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selection {
    /// The method's name: `hash`, `dp_hash`, or a vendor's.
    pub method: String,
    /// A number for the method.
    pub parameter: u64,
    /// Fields that the method looks at, and which bits of them.
    pub fields: Vec<(Field, FieldValue)>,
}

/// Which bucket a command is about, since OpenFlow 1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketPlace {
    /// `OFPG_BUCKET_FIRST`: before or at the first.
    First,
    /// `OFPG_BUCKET_LAST`: after or at the last.
    Last,
    /// `OFPG_BUCKET_ALL`.
    All,
    /// After or at the bucket of this number.
    Id(u32),
}

/// What a group's text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupText {
    /// What to do.
    pub command: GroupCommand,
    /// The group; [`GroupId::ALL`] with a delete.
    pub group: GroupId,
    /// Type; without meaning for deletes and commands about buckets.
    pub kind: GroupType,
    /// How to choose a bucket, if the text says it.
    pub selection: Option<Selection>,
    /// Where to insert or what to remove.
    pub place: Option<BucketPlace>,
    /// Buckets, and the numbers that the text gives them.
    pub buckets: Vec<(Option<u32>, Bucket)>,
    /// The first thing that OpenFlow 1.3 cannot carry, and its column.
    since_15: Option<(usize, &'static str)>,
}

/// Largest number of a bucket, `OFPG_BUCKET_MAX`.
const BUCKET_MAX: u32 = 0xffff_ff00;
/// `OFPG_MAX`.
const GROUP_MAX: u32 = 0xffff_ff00;
/// Longest name of a selection method.
const METHOD_MAX: usize = 15;

/// Splits at commas and blanks outside parentheses.
fn words<'a>(span: Span<'a>) -> Vec<Span<'a>> {
    let mut all = Vec::new();
    let (mut start, mut depth) = (0, 0usize);
    for (place, byte) in span.text.bytes().enumerate().chain([(span.text.len(), b',')]) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ if (byte == b',' || byte.is_ascii_whitespace()) && (depth == 0 || place == span.text.len()) => {
                if place > start {
                    all.push(span.to(place).from(start));
                }
                start = place + 1;
            }
            _ => {}
        }
    }
    all
}

/// A name, and what follows it after `=` or `:` or in parentheses.
fn pair(word: Span<'_>) -> Option<(&str, Span<'_>)> {
    let place = word.text.find(['=', ':', '('])?;
    let (name, mut value) = (&word.text[..place], word.from(place + 1));
    if word.text[place..].starts_with('(') {
        value = value.to(value.text.len() - usize::from(value.text.ends_with(')')));
    }
    Some((name, value))
}

fn group_id(value: Span<'_>) -> Result<GroupId, ParseError> {
    let id = parse_sized(value, "a group")?;
    if id > GROUP_MAX { Err(value.bad_value("a group, which ends at 0xffffff00")) } else { Ok(GroupId(id)) }
}

fn bucket_id(value: Span<'_>) -> Result<u32, ParseError> {
    let id = parse_sized(value, "a bucket")?;
    if id > BUCKET_MAX { Err(value.bad_value("a bucket, which ends at 0xffffff00")) } else { Ok(id) }
}

fn selection_fields(value: Span<'_>) -> Result<Vec<(Field, FieldValue)>, ParseError> {
    let mut fields: Vec<(Field, FieldValue)> = Vec::new();
    for word in words(value) {
        let (name, mask) = word.split_once("=").map_or((word, None), |(name, mask)| (name, Some(mask)));
        let field = Field::from_name(name.text)
            .ok_or_else(|| name.error(ParseProblem::UnknownField(name.text.to_owned())))?;
        if fields.iter().any(|(known, _)| *known == field) {
            return Err(name.error(ParseProblem::Twice(name.text.to_owned())));
        }
        let mask = match mask {
            Some(mask) => parse_value(field, mask).and_then(|bits| {
                if bits.is_zero() { Err(mask.bad_value("the bits of a field that count")) } else { Ok(bits) }
            })?,
            None => field.exact_mask(),
        };
        fields.push((field, mask));
    }
    Ok(fields)
}

impl GroupText {
    /// Reads a group as `ovs-ofctl add-group`, `mod-group`, `del-groups`, `insert-buckets` and `remove-buckets` take
    /// it; without a command, the text may begin with one, as in the files of `add-groups`.
    ///
    /// ```
    /// use ofctl::text::{GroupCommand, GroupText};
    /// use ofctl::wire::{GroupId, GroupMod};
    ///
    /// let text = "group_id=7,type=select,bucket=weight:2,output:1,bucket=output:2";
    /// let group = GroupMod::try_from(GroupText::parse(text, Some(GroupCommand::Add))?)?;
    /// assert_eq!((group.group, group.buckets.len()), (GroupId(7), 2));
    ///
    /// let error = GroupText::parse("group_id=7,type=some", None).unwrap_err();
    /// assert_eq!(error.column, 17);
    /// # Ok::<(), ofctl::text::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// Which part of the text is wrong, and what with it.
    pub fn parse(text: &str, command: Option<GroupCommand>) -> Result<GroupText, ParseError> {
        let whole = Span { text, at: 0 };
        let (command, rest) = match command {
            Some(command) => (command, whole),
            None => command_word(whole),
        };
        // Each bucket reaches to the next one.
        let starts: Vec<usize> = rest.text.match_indices("bucket=").map(|(place, _)| place).collect();
        let properties = rest.to(starts.first().copied().unwrap_or(rest.text.len()));
        let mut group = GroupText::of_properties(properties, command)?;
        if let Some(&first) = starts.first()
            && matches!(command, GroupCommand::Delete | GroupCommand::RemoveBucket)
        {
            return Err(rest.from(first).error(ParseProblem::Superfluous("a bucket in a removal")));
        }
        for (place, &start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(rest.text.len());
            let bucket = group.parse_bucket(rest.to(end).from(start + "bucket=".len()))?;
            group.buckets.push(bucket);
        }
        if group.kind == GroupType::Indirect
            && group.buckets.len() > 1
            && let Some(&second) = starts.get(1)
        {
            return Err(rest
                .from(second)
                .error(ParseProblem::Superfluous("more than an indirect group's one bucket")));
        }
        Ok(group)
    }

    /// Everything before the buckets.
    fn of_properties(span: Span<'_>, command: GroupCommand) -> Result<GroupText, ParseError> {
        let about_buckets = command.is_about_buckets();
        let has_type = !about_buckets && command != GroupCommand::Delete;
        let mut group = GroupText {
            command,
            group: GroupId::ANY,
            kind: GroupType::All,
            selection: None,
            place: None,
            buckets: Vec::new(),
            since_15: about_buckets.then_some((span.at, "a command about single buckets")),
        };
        let (mut id, mut kind) = (None, None);
        let words = words(span);
        for &word in &words {
            let unknown =
                || ParseProblem::Unknown { what: "property of a group here", name: word.text.to_owned() };
            if word.text == "all" && command == GroupCommand::Delete {
                id = Some(GroupId::ALL);
                continue;
            }
            let Some((name, value)) = pair(word) else { return Err(word.error(unknown())) };
            match name {
                "group_id" if value.text == "all" => id = Some(GroupId::ALL),
                "group_id" => id = Some(group_id(value)?),
                "type" if has_type => {
                    let known = TYPES.iter().find(|(name, _)| *name == value.text).map(|(_, kind)| *kind);
                    let what = "a type of group, which is all, select, indirect or ff";
                    kind = Some(known.ok_or_else(|| value.bad_value(what))?);
                }
                "selection_method" if has_type => {
                    if value.text.len() > METHOD_MAX {
                        return Err(value.bad_value("a selection method, which has 15 bytes at most"));
                    }
                    group.needs_15(word, "selection_method");
                    group.selection.get_or_insert_default().method = value.text.to_owned();
                }
                "selection_method_param" if has_type => {
                    group.needs_15(word, "selection_method_param");
                    let parameter = parse_sized(value, "a number for the selection method")?;
                    group.selection.get_or_insert_default().parameter = parameter;
                }
                "fields" if has_type => {
                    group.needs_15(word, "fields");
                    group.selection.get_or_insert_default().fields = selection_fields(value)?;
                }
                "command_bucket_id" if about_buckets => {
                    group.place = Some(match value.text {
                        "first" => BucketPlace::First,
                        "last" => BucketPlace::Last,
                        "all" if command == GroupCommand::RemoveBucket => BucketPlace::All,
                        _ => BucketPlace::Id(bucket_id(value)?),
                    });
                }
                _ => return Err(word.error(unknown())),
            }
        }
        let missing = |what| Err(span.error(ParseProblem::Missing(what)));
        if let Some(selection) = &group.selection {
            if !selection.fields.is_empty() && selection.method != "hash" {
                return missing("selection_method=hash, which fields belong to,");
            }
            if selection.method.is_empty() && selection.parameter != 0 {
                return missing("selection_method");
            }
        }
        match (id, kind) {
            (None, _) if command == GroupCommand::Delete && words.is_empty() => group.group = GroupId::ALL,
            (None, _) => return missing("group_id"),
            (Some(_), None) if has_type => return missing("type: all, select, indirect or ff"),
            (Some(id), kind) => {
                group.group = id;
                group.kind = kind.unwrap_or(GroupType::All);
            }
        }
        if command == GroupCommand::InsertBucket && group.place.is_none() {
            return missing("command_bucket_id");
        }
        Ok(group)
    }

    fn needs_15(&mut self, word: Span<'_>, what: &'static str) {
        self.since_15.get_or_insert((word.at, what));
    }

    fn parse_bucket(&mut self, span: Span<'_>) -> Result<(Option<u32>, Bucket), ParseError> {
        let (is_select, is_failover) = (self.kind == GroupType::Select, self.kind == GroupType::FastFailover);
        let mut bucket = Bucket::new(u16::from(is_select), Vec::new());
        let mut id = None;
        for word in words(span) {
            match pair(word) {
                Some(("weight", value)) => {
                    bucket.weight = parse_sized(value, "a weight")?;
                    if bucket.weight != 0 && !is_select && self.command != GroupCommand::InsertBucket {
                        return Err(
                            word.error(ParseProblem::Superfluous("a weight in a group that is not select"))
                        );
                    }
                }
                Some(("watch_port", value)) => {
                    let watchable = |port: &OfPort| {
                        *port < OfPort::MAX || matches!(*port, OfPort::ANY | OfPort::CONTROLLER)
                    };
                    let port = parse_port(value.text).filter(watchable);
                    bucket.watch_port = port.ok_or_else(|| value.bad_value("a port to watch"))?;
                }
                Some(("watch_group", value)) => bucket.watch_group = group_id(value)?,
                Some(("bucket_id", value)) => {
                    self.needs_15(word, "bucket_id");
                    id = Some(bucket_id(value)?);
                }
                given => {
                    // The rest are actions, whether `actions=` says so or not.
                    let at = match given {
                        Some(("actions" | "action", value)) => value.at,
                        _ => word.at,
                    };
                    let actions = span.from(at - span.at);
                    let kept = actions.text.trim_end_matches([',', ' ', '\t']).len();
                    bucket.actions = parse_bucket_actions(actions.to(kept))?;
                    if is_failover && (bucket.watch_port, bucket.watch_group) == (OfPort::ANY, GroupId::ANY) {
                        let what = "watch_port or watch_group, by which a fast failover group chooses,";
                        return Err(span.error(ParseProblem::Missing(what)));
                    }
                    return Ok((id, bucket));
                }
            }
        }
        Err(span.error(ParseProblem::Missing("the bucket's actions")))
    }
}

/// The command that the text begins with, or an addition, and the rest.
fn command_word(whole: Span<'_>) -> (GroupCommand, Span<'_>) {
    let start = whole.text.len() - whole.text.trim_start().len();
    for (word, command) in GroupCommand::WORDS {
        if let Some(rest) = whole.text[start..].strip_prefix(word)
            && (rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == ','))
        {
            return (command, whole.from(start + word.len()));
        }
    }
    (GroupCommand::Add, whole)
}

fn parse_bucket_actions(span: Span<'_>) -> Result<Vec<crate::wire::Action>, ParseError> {
    let instructions = parse_instructions(span, &mut Context::default())?;
    if instructions != (Instructions { apply: instructions.apply.clone(), ..Instructions::default() }) {
        return Err(span.bad_value("a bucket's actions: no meter, goto_table or the like"));
    }
    Ok(instructions.apply)
}

impl TryFrom<GroupText> for GroupMod {
    type Error = ParseError;

    /// The message of OpenFlow 1.3.
    fn try_from(text: GroupText) -> Result<Self, Self::Error> {
        if let Some((at, what)) = text.since_15 {
            return Err(ParseError {
                column: at + 1,
                problem: ParseProblem::NeedsVersion { what, version: "1.5" },
            });
        }
        let command = match text.command {
            GroupCommand::Add => GroupModCommand::Add,
            GroupCommand::Modify => GroupModCommand::Modify,
            GroupCommand::AddOrModify => GroupModCommand::AddOrModify,
            // Those about buckets need 1.5, as found above.
            GroupCommand::Delete | GroupCommand::InsertBucket | GroupCommand::RemoveBucket => {
                GroupModCommand::Delete
            }
        };
        let buckets = text.buckets.into_iter().map(|(_, bucket)| bucket).collect();
        Ok(GroupMod { command, kind: text.kind, group: text.group, buckets })
    }
}

/// A group as ovs-ofctl writes it, which [`GroupText::parse`] reads again.
pub(super) fn write_group(
    group: GroupId,
    kind: GroupType,
    buckets: &[Bucket],
    out: &mut dyn Write,
) -> fmt::Result {
    write!(out, "group_id={},type={}", group.0, kind.name())?;
    for bucket in buckets {
        let Bucket { weight, watch_port, watch_group, actions } = bucket;
        out.write_str(",bucket=")?;
        if *weight != u16::from(kind == GroupType::Select) {
            write!(out, "weight:{weight},")?;
        }
        if *watch_port != OfPort::ANY {
            write!(out, "watch_port:{watch_port},")?;
        }
        if *watch_group != GroupId::ANY {
            write!(out, "watch_group:{watch_group},")?;
        }
        let actions = Instructions { apply: actions.clone(), ..Instructions::default() };
        write!(out, "actions={actions}")?;
    }
    Ok(())
}

impl fmt::Display for GroupDescription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_group(self.group, self.kind, &self.buckets, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> Result<GroupMod, ParseError> {
        GroupText::parse(text, Some(GroupCommand::Add)).and_then(GroupMod::try_from)
    }

    #[test]
    fn a_group_is_read_and_written() {
        let given = "group_id=7,type=ff,bucket=watch_port:2,actions=output:1,resubmit(,5),bucket=watch_group:3,output:2";
        let GroupMod { group, kind, buckets, .. } = added(given).unwrap();
        assert_eq!((group, kind, buckets.len()), (GroupId(7), GroupType::FastFailover, 2));
        assert_eq!(buckets[0].actions.len(), 2);
        let written = GroupDescription { kind, group, buckets: buckets.clone() }.to_string();
        assert_eq!(
            written,
            "group_id=7,type=ff,bucket=watch_port:2,actions=output:1,resubmit(,5),bucket=watch_group:3,actions=output:2"
        );
        assert_eq!(added(&written).unwrap().buckets, buckets);
    }

    #[test]
    fn errors_show_the_column() {
        for (text, column) in [
            ("group_id=7,type=some", 17),
            ("type=all", 1),
            ("group_id=7", 1),
            ("group_id=4294967295,type=all", 10),
            ("group_id=7,type=all,colour=red", 21),
            ("group_id=7,type=all,bucket=actions=nonsense", 36),
            ("group_id=7,type=all,bucket=weight:x,actions=drop", 35),
            ("group_id=7,type=all,bucket=weight:5,actions=drop", 28),
            ("group_id=7,type=all,bucket=actions=output:1,goto_table:3", 36),
            ("group_id=7,type=all,bucket=watch_port:1", 28),
            ("group_id=7,type=ff,bucket=actions=output:1", 27),
            ("group_id=7,type=indirect,bucket=output:1,bucket=output:2", 42),
            // What OpenFlow 1.3 cannot carry.
            ("group_id=7,type=select,selection_method=hash", 24),
            ("group_id=7,type=all,bucket=bucket_id:3,output:1", 28),
        ] {
            assert_eq!(added(text).unwrap_err().column, column, "{text}");
        }
    }

    #[test]
    fn a_delete_names_one_or_all() {
        let delete = |text| GroupText::parse(text, Some(GroupCommand::Delete)).unwrap().group;
        assert_eq!(delete(""), GroupId::ALL);
        assert_eq!(delete("group_id=all"), GroupId::ALL);
        assert_eq!(delete("group_id=5"), GroupId(5));
    }

    #[test]
    fn a_line_may_begin_with_its_command() {
        let command = |text| GroupText::parse(text, None).unwrap().command;
        assert_eq!(command("group_id=1,type=all"), GroupCommand::Add);
        assert_eq!(command(" add_or_mod group_id=1,type=all"), GroupCommand::AddOrModify);
        assert_eq!(command("delete group_id=1"), GroupCommand::Delete);
        assert_eq!(GroupText::parse("delete type=all", None).unwrap_err().column, 8);
    }

    #[test]
    fn what_came_with_later_versions_is_read() {
        let text = "group_id=7,type=select,selection_method=hash,selection_method_param=3,\
                    fields(ip_dst,tcp_dst=0xff),bucket=bucket_id:4,weight:2,output:1";
        let group = GroupText::parse(text, None).unwrap();
        let selection = group.selection.unwrap();
        assert_eq!((&*selection.method, selection.parameter), ("hash", 3));
        assert_eq!(selection.fields[1], (Field::TcpDst, FieldValue::from(0xffu16)));
        assert_eq!((group.buckets[0].0, group.buckets[0].1.weight), (Some(4), 2));
        let insert = "insert_bucket group_id=7,command_bucket_id=last,bucket=bucket_id=9,output:2";
        let insert = GroupText::parse(insert, None).unwrap();
        assert_eq!((insert.place, insert.buckets[0].0), (Some(BucketPlace::Last), Some(9)));
        assert!(GroupMod::try_from(insert).is_err());
        let remove = GroupText::parse("remove_bucket group_id=7,command_bucket_id=all", None).unwrap();
        assert_eq!(remove.place, Some(BucketPlace::All));
    }
}
