//! Flow text as commands take it: with a command word before it, or with properties that select entries.
//!
//! The library reads flow entries and matches. What else a command's text may hold is taken out of it first and
//! left as blanks, so that the columns in the library's errors stay right.

use std::collections::HashMap;

use ofctl::flow::FlowEntry;
use ofctl::wire::{Cookie, FlowMod, FlowModCommand, FlowStatsRequest, GroupId, Match, OfPort, TableId};

use super::error::SyntaxError;

/// A `name=value` of a text that was taken out of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken<'a> {
    name_at: usize,
    value: &'a str,
    value_at: usize,
}

/// Takes the named properties out of the text before its actions; a later one counts.
pub(crate) fn take<'a>(text: &'a str, names: &[&str]) -> (String, HashMap<String, Taken<'a>>) {
    let end = text.find("actions=").unwrap_or(text.len());
    let mut rest = text.to_owned();
    let mut taken = HashMap::new();
    let mut start = 0;
    for (place, character) in text[..end].char_indices().chain([(end, ',')]) {
        if character != ',' && !character.is_whitespace() {
            continue;
        }
        let word = &text[start..place];
        if let Some((name, value)) = word.split_once('=')
            && names.contains(&name)
        {
            let value_at = start + name.len() + 1;
            taken.insert(name.to_owned(), Taken { name_at: start, value, value_at });
            rest.replace_range(start..place, &" ".repeat(word.len()));
        }
        start = place + character.len_utf8();
    }
    (rest, taken)
}

fn number(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(u64::MAX);
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn port(taken: &Taken<'_>) -> Result<OfPort, SyntaxError> {
    let known = OfPort::from_reserved_name(taken.value)
        .or_else(|| number(taken.value).and_then(|number| u32::try_from(number).ok()).map(OfPort));
    known.ok_or_else(|| SyntaxError {
        column: taken.value_at + 1,
        problem: format!("'{}' is neither a port's number nor a port's name on this switch", taken.value),
        word: Some(taken.value.to_owned()),
    })
}

pub(crate) fn sized<T: TryFrom<u64>>(taken: &Taken<'_>, what: &str) -> Result<T, SyntaxError> {
    number(taken.value).and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        SyntaxError::new(taken.value_at, format!("'{}' is not a value for {what}", taken.value))
    })
}

fn cookie_and_mask(taken: &Taken<'_>) -> Result<(Cookie, Option<u64>), SyntaxError> {
    let bad = || {
        SyntaxError::new(
            taken.value_at,
            format!(
                "'{}' is not a cookie, as in 0x7, or a cookie and its mask, as in 0x700/0xff00",
                taken.value
            ),
        )
    };
    match taken.value.split_once('/') {
        Some((value, mask)) => {
            Ok((Cookie(number(value).ok_or_else(bad)?), Some(number(mask).ok_or_else(bad)?)))
        }
        None => Ok((Cookie(number(taken.value).ok_or_else(bad)?), None)),
    }
}

/// Properties by which a text selects entries.
struct Selection {
    table: Option<TableId>,
    cookie: Option<(Cookie, Option<u64>)>,
    cookie_at: usize,
    out_port: OfPort,
    out_group: GroupId,
}

const SELECTION: [&str; 4] = ["table", "cookie", "out_port", "out_group"];

impl Selection {
    fn of(taken: &HashMap<String, Taken<'_>>) -> Result<Self, SyntaxError> {
        let table = match taken.get("table") {
            Some(given) if given.value.eq_ignore_ascii_case("all") => Some(TableId::ALL),
            Some(given) => Some(TableId(sized(given, "a table")?)),
            None => None,
        };
        Ok(Selection {
            table,
            cookie: taken.get("cookie").map(cookie_and_mask).transpose()?,
            cookie_at: taken.get("cookie").map_or(0, |given| given.name_at),
            out_port: taken.get("out_port").map_or(Ok(OfPort::ANY), port)?,
            out_group: match taken.get("out_group") {
                Some(given) => GroupId(sized(given, "a group")?),
                None => GroupId::ANY,
            },
        })
    }

    /// The wanted cookie and the bits of it that count.
    fn wanted_cookie(&self) -> Result<(Cookie, u64), SyntaxError> {
        match self.cookie {
            None => Ok((Cookie(0), 0)),
            Some((cookie, Some(mask))) => Ok((cookie, mask)),
            Some((cookie, None)) => Err(SyntaxError::new(
                self.cookie_at,
                format!("a cookie selects entries only with a mask: write cookie={cookie}/-1"),
            )),
        }
    }
}

/// Which entries to report: a match, and table, cookie, out_port and out_group.
pub(crate) fn flow_stats_request(text: &str) -> Result<FlowStatsRequest, SyntaxError> {
    if let Some(place) = text.find("actions=") {
        return Err(SyntaxError::new(place, "actions select no entries; use out_port or out_group"));
    }
    let (rest, taken) = take(text, &SELECTION);
    let selection = Selection::of(&taken)?;
    let (cookie, cookie_mask) = selection.wanted_cookie()?;
    Ok(FlowStatsRequest {
        table: selection.table.unwrap_or(TableId::ALL),
        out_port: selection.out_port,
        out_group: selection.out_group,
        cookie,
        cookie_mask,
        matching: rest.parse::<Match>()?,
    })
}

/// The command words that a flow's line may begin with.
const COMMANDS: [(&str, FlowModCommand); 5] = [
    ("add", FlowModCommand::Add),
    ("modify_strict", FlowModCommand::ModifyStrict),
    ("modify", FlowModCommand::Modify),
    ("delete_strict", FlowModCommand::DeleteStrict),
    ("delete", FlowModCommand::Delete),
];

/// A flow line: perhaps a command word, and a flow.
pub(crate) fn flow_mod(text: &str, otherwise: FlowModCommand) -> Result<FlowMod, SyntaxError> {
    let start = text.len() - text.trim_start().len();
    for (word, command) in COMMANDS {
        if let Some(rest) = text[start..].strip_prefix(word)
            && (rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == ','))
        {
            let offset = start + word.len();
            return flow_mod_of(command, &text[offset..]).map_err(|error| error.shifted(offset));
        }
    }
    flow_mod_of(otherwise, text)
}

/// What selects entries, and so has no place in an addition, if that is what is wrong with it.
fn of_addition(text: &str) -> Option<SyntaxError> {
    let (_, taken) = take(text, &SELECTION);
    if let Some(given) = ["out_port", "out_group"].iter().find_map(|name| taken.get(*name)) {
        return Some(SyntaxError::new(
            given.name_at,
            "out_port and out_group select entries to delete, not to add",
        ));
    }
    let cookie = taken.get("cookie")?;
    let mask_at = cookie.value_at + cookie.value.find('/')?;
    Some(SyntaxError::new(mask_at, "an entry that is added has a whole cookie, without a mask"))
}

fn flow_mod_of(command: FlowModCommand, text: &str) -> Result<FlowMod, SyntaxError> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let deletes = matches!(command, Delete | DeleteStrict);
    if command == Add {
        return text
            .parse::<FlowEntry>()
            .map(FlowMod::add)
            .map_err(|error| of_addition(text).unwrap_or(error.into()));
    }
    if let Some(place) = text.find("actions=").filter(|_| deletes) {
        return Err(SyntaxError::new(place, "a delete takes no actions; out_port selects by output"));
    }
    let (mut rest, taken) = take(text, &SELECTION);
    if let Some(priority) = take(text, &["priority"]).1.get("priority")
        && matches!(command, Delete | Modify)
    {
        let problem = "a priority selects entries only with --strict (or delete_strict, modify_strict)";
        return Err(SyntaxError::new(priority.name_at, problem));
    }
    if deletes {
        rest.push_str(" actions=drop");
    }
    let selection = Selection::of(&taken)?;
    let entry = rest.parse::<FlowEntry>()?;
    if let (Some((cookie, None)), Modify | ModifyStrict) = (selection.cookie, command) {
        // ovs-ofctl leaves it out without a word.
        let problem = format!(
            "OpenFlow 1.3 cannot change a cookie by modifying: add the flow again, or write cookie={cookie}/-1 to select"
        );
        return Err(SyntaxError::new(selection.cookie_at, problem));
    }
    let (cookie, cookie_mask) = selection.wanted_cookie()?;
    let table = selection.table.unwrap_or(if deletes { TableId::ALL } else { TableId(0) });
    Ok(FlowMod {
        command,
        cookie,
        cookie_mask,
        table,
        out_port: selection.out_port,
        out_group: selection.out_group,
        ..FlowMod::add(entry)
    })
}

/// Ports by name, as a switch describes them; never a name that is also a number or a reserved port's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PortNames(HashMap<String, OfPort>);

impl FromIterator<(String, OfPort)> for PortNames {
    fn from_iter<T: IntoIterator<Item = (String, OfPort)>>(all: T) -> Self {
        // With such a name, text would mean another port here than to everybody else.
        let is_name = |name: &str| number(name).is_none() && OfPort::from_reserved_name(name).is_none();
        PortNames(all.into_iter().filter(|(name, _)| is_name(name)).collect())
    }
}

/// Reads a text in which ports may stand by their names.
///
/// What the parser does not take for a port is replaced, if a port of this switch has that name, and read again.
pub(crate) fn with_names<T>(
    text: &str,
    names: &PortNames,
    parse: impl Fn(&str) -> Result<T, SyntaxError>,
) -> Result<T, SyntaxError> {
    let mut current = text.to_owned();
    // Each replacement: where it ends, and by how much it is longer than what it replaced.
    let mut shifts: Vec<(usize, isize)> = Vec::new();
    loop {
        let error = match parse(&current) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let at = error.column - 1;
        let found = error.word.as_deref().and_then(|word| {
            let port = names.0.get(word.trim_matches('"'))?;
            current.get(at..)?.starts_with(word).then_some((word.len(), *port))
        });
        let Some((length, port)) = found else {
            let column = shifts.iter().rev().fold(error.column as isize, |column, &(end, by)| {
                if column > end as isize { column - by } else { column }
            });
            return Err(SyntaxError { column: usize::try_from(column).unwrap_or(1), ..error });
        };
        let number = port.to_string();
        current.replace_range(at..at + length, &number);
        shifts.push((at + number.len(), number.len() as isize - length as isize));
    }
}

/// The lines of a file that hold something: their number from 1, and themselves without comments.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(place, line)| {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim_end();
        (!line.trim().is_empty()).then_some((place + 1, line))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_request_selects_by_everything_that_it_names() {
        let request =
            flow_stats_request("table=3 cookie=0x10/0xf0,out_port=LOCAL,out_group=5 tcp,tp_dst=80").unwrap();
        assert_eq!((request.table, request.cookie, request.cookie_mask), (TableId(3), Cookie(0x10), 0xf0));
        assert_eq!((request.out_port, request.out_group), (OfPort::LOCAL, GroupId(5)));
        assert_eq!(request.matching.to_string(), "tcp,tp_dst=80");
        assert_eq!(flow_stats_request("").unwrap(), FlowStatsRequest::default());
    }

    #[test]
    fn errors_keep_their_columns() {
        for (text, column) in [
            ("table=300", 7),
            ("table=3,cookie=5", 9),
            ("table=3, nonsense=5", 10),
            ("in_port=1 actions=output:2", 11),
        ] {
            assert_eq!(flow_stats_request(text).unwrap_err().column, column, "{text}");
        }
        for (text, column) in [
            ("delete table=3,actions=drop", 16),
            ("add cookie=5/7,actions=drop", 13),
            ("modify_strict in_port=p1,actions=drop", 23),
            ("delete priority=5", 8),
            ("modify cookie=5,actions=drop", 8),
            ("add table=1,out_port=5,actions=drop", 13),
        ] {
            assert_eq!(flow_mod(text, FlowModCommand::Add).unwrap_err().column, column, "{text}");
        }
    }

    #[test]
    fn command_words_decide() {
        let command = |text| flow_mod(text, FlowModCommand::Add).map(|flow| (flow.command, flow.table));
        assert_eq!(command("delete"), Ok((FlowModCommand::Delete, TableId::ALL)));
        assert_eq!(command("delete table=3"), Ok((FlowModCommand::Delete, TableId(3))));
        assert_eq!(command("modify actions=drop"), Ok((FlowModCommand::Modify, TableId(0))));
        assert_eq!(command("actions=drop"), Ok((FlowModCommand::Add, TableId(0))));
        assert_eq!(command("add,actions=drop"), Ok((FlowModCommand::Add, TableId(0))));
    }

    #[test]
    fn ports_stand_by_their_names() {
        let ports = [
            ("p1", OfPort(65000)),
            ("odd name", OfPort(2)),
            ("br0", OfPort::LOCAL),
            ("7", OfPort(8)),
            ("all", OfPort(9)),
        ];
        let names: PortNames = ports.map(|(name, port)| (name.to_owned(), port)).into_iter().collect();
        let parse = |text: &str| flow_mod(text, FlowModCommand::Add);
        let flow = with_names("in_port=p1,actions=output:br0,p1", &names, parse).unwrap();
        assert_eq!(flow.entry().to_string(), "in_port=65000 actions=LOCAL,output:65000");
        let error = with_names("in_port=p1,actions=output:br0,output:p9", &names, parse).unwrap_err();
        assert_eq!((error.column, error.word.as_deref()), (38, Some("p9")));
        let flow = with_names("actions=output:7,ALL", &names, parse).unwrap();
        assert_eq!(flow.entry().to_string(), "actions=output:7,ALL");
        // Not everything that is no number is a port.
        assert_eq!(with_names("tcp,tp_dst=p1,actions=drop", &names, parse).unwrap_err().column, 12);
    }

    #[test]
    fn lines_have_no_comments() {
        let all: Vec<_> = lines("# head\nactions=drop # why\n\n  \nip,actions=drop").collect();
        assert_eq!(all, [(2, "actions=drop"), (5, "ip,actions=drop")]);
    }
}
