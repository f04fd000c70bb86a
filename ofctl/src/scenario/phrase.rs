//! A step's words, read from the left.

use std::time::Duration;

use super::parse::ParseError;
use super::step::{Amount, Count, End, Ends, PacketText, Volume};
use crate::flow::{FlowEntry, FlowKey};
use crate::text::{GroupCommand, GroupText};
use crate::wire::versions::GroupMod;
use crate::wire::{GroupId, Match, MeterId, MeterMod, MeterModCommand, OfPort};

/// The rest of a line. Columns are in bytes from 1, of the line as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrase<'a> {
    line: usize,
    whole: &'a str,
    at: usize,
}

/// Numbers that are written as words.
const NUMBERS: [(&str, u64); 6] = [("no", 0), ("a", 1), ("an", 1), ("one", 1), ("two", 2), ("three", 3)];

impl<'a> Phrase<'a> {
    pub(super) fn new(line: usize, whole: &'a str) -> Self {
        Phrase { line, whole, at: 0 }.trimmed()
    }

    fn trimmed(mut self) -> Self {
        let rest = &self.whole[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a str {
        self.whole[self.at..].trim_end()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> ParseError {
        ParseError {
            line: self.line,
            column: self.at + 1,
            problem: problem.into(),
            text: self.whole.to_owned(),
        }
    }

    /// An error of a text that begins here, `offset` bytes in.
    pub(super) fn error_at(&self, offset: usize, problem: impl Into<String>) -> ParseError {
        Phrase { at: self.at + offset, ..*self }.error(problem)
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        *self = self.trimmed();
    }

    /// Takes these words if they come next.
    pub(super) fn eat(&mut self, words: &str) -> bool {
        let mut probe = *self;
        for word in words.split(' ') {
            match probe.peek() {
                Some(next) if next.eq_ignore_ascii_case(word) => probe.advance(next.len()),
                _ => return false,
            }
        }
        *self = probe;
        true
    }

    /// The next word; `:` and `,` stand for themselves.
    pub(super) fn peek(&self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || c == ',' || c == ':').unwrap_or(rest.len());
        (!rest.is_empty()).then(|| &rest[..end.max(1)])
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        let word = self.peek().ok_or_else(|| self.error(format!("{what} is missing")))?;
        self.advance(word.len());
        Ok(word)
    }

    /// The next word up to a blank, whatever is in it.
    pub(super) fn whole_word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        let word =
            self.rest().split_whitespace().next().ok_or_else(|| self.error(format!("{what} is missing")))?;
        self.advance(word.len());
        Ok(word)
    }

    pub(super) fn expect(&mut self, words: &str) -> Result<(), ParseError> {
        if self.eat(words) { Ok(()) } else { Err(self.error(format!("'{words}' is expected here"))) }
    }

    pub(super) fn end(&self) -> Result<(), ParseError> {
        if self.is_at_end() { Ok(()) } else { Err(self.error("the step ends before this")) }
    }

    /// A name: letters, digits, `-` and `_`.
    pub(super) fn name(&mut self, what: &str) -> Result<String, ParseError> {
        let before = *self;
        let word = self.word(what)?;
        let good = word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
        if good { Ok(word.to_owned()) } else { Err(before.error(format!("'{word}' is not {what}"))) }
    }

    /// The content of `"…"`, and a phrase that stands at its beginning.
    pub(super) fn quoted(&mut self, what: &str) -> Result<(Phrase<'a>, &'a str), ParseError> {
        let body = self
            .rest()
            .strip_prefix('"')
            .ok_or_else(|| self.error(format!("{what} is expected here, in double quotes")))?;
        let end = body.find('"').ok_or_else(|| self.error("the closing double quote is missing"))?;
        let inner = Phrase { at: self.at + 1, ..*self };
        self.advance(end + 2);
        Ok((inner, &body[..end]))
    }

    pub(super) fn skip_quoted(&mut self, what: &str) -> Result<(), ParseError> {
        self.quoted(what).map(|_| ())
    }

    pub(super) fn count(&mut self) -> Option<Count> {
        let word = self.peek()?;
        let named = NUMBERS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, n)| *n);
        let count = named.or_else(|| word.parse().ok())?;
        self.advance(word.len());
        Some(Count(count))
    }

    pub(super) fn number(&mut self, what: &str) -> Result<u32, ParseError> {
        let before = *self;
        let word = self.word(what)?;
        word.parse().map_err(|_| before.error(format!("'{word}' is not {what}")))
    }

    pub(super) fn group_number(&mut self) -> Result<GroupId, ParseError> {
        self.number("a group's number").map(GroupId)
    }

    pub(super) fn meter_number(&mut self) -> Result<MeterId, ParseError> {
        self.number("a meter's number").map(MeterId)
    }

    /// `at least 3`.
    fn amount(&mut self) -> Result<Amount, ParseError> {
        let bound = if self.eat("at least") {
            Amount::AtLeast
        } else if self.eat("at most") {
            Amount::AtMost
        } else {
            Amount::Exactly
        };
        self.count().map(|count| bound(count.0)).ok_or_else(|| self.error("a number is expected here"))
    }

    /// `3 packets and 180 bytes`, or either.
    pub(super) fn volume(&mut self) -> Result<Volume, ParseError> {
        let mut volume = Volume::default();
        loop {
            let amount = self.amount()?;
            let place = if self.eat("packets") || self.eat("packet") {
                &mut volume.packets
            } else if self.eat("bytes") || self.eat("byte") {
                &mut volume.bytes
            } else {
                return Err(self.error("'packets' or 'bytes' is expected here"));
            };
            if place.replace(amount).is_some() {
                return Err(self.error("these have been counted before in this step"));
            }
            if !self.eat("and") {
                return Ok(volume);
            }
        }
    }

    pub(super) fn port(&mut self) -> Result<OfPort, ParseError> {
        let before = *self;
        let word = self.word("a port's number")?;
        match word.parse() {
            Ok(number) if (1..=OfPort::MAX.0).contains(&number) => Ok(OfPort(number)),
            _ if word.eq_ignore_ascii_case("local") => Ok(OfPort::LOCAL),
            _ => Err(before.error(format!("'{word}' is not a port's number, of 1 to 0xffffff00"))),
        }
    }

    /// `1-3, 5 and 7`.
    pub(super) fn ports(&mut self) -> Result<Vec<OfPort>, ParseError> {
        let mut ports = Vec::new();
        loop {
            let before = *self;
            match self.peek().and_then(|word| word.split_once('-').map(|(a, b)| (word, a, b))) {
                Some((word, first, last)) => {
                    let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
                        return Err(before.error(format!("'{word}' is not a range of ports, as in 1-3")));
                    };
                    if first == 0 || first > last || last - first > 0xff {
                        return Err(before.error(format!("'{word}' is not a range of 1 to 256 ports")));
                    }
                    self.advance(word.len());
                    ports.extend((first..=last).map(OfPort));
                }
                None => ports.push(self.port()?),
            }
            if !self.eat("and") && !self.eat(",") {
                return Ok(ports);
            }
        }
    }

    /// `of NAME`, `on NAME`, `from NAME`.
    pub(super) fn switch(&mut self, preposition: &str) -> Result<Option<String>, ParseError> {
        if self.eat(preposition) { self.name("a switch's name").map(Some) } else { Ok(None) }
    }

    /// `port 2 of s1`.
    pub(super) fn a_port(&mut self) -> Result<End, ParseError> {
        self.expect("port")?;
        Ok(End { port: self.port()?, switch: self.switch("of")? })
    }

    /// `ports 2 and 3`.
    pub(super) fn ports_alone(&mut self) -> Result<Vec<OfPort>, ParseError> {
        if !self.eat("ports") && !self.eat("port") {
            return Err(self.error("'port' or 'ports' is expected here"));
        }
        self.ports()
    }

    /// `ports 2 and 3 of s1`.
    pub(super) fn some_ports(&mut self) -> Result<Ends, ParseError> {
        Ok(Ends { ports: self.ports_alone()?, switch: self.switch("of")? })
    }

    pub(super) fn packet(&mut self) -> Result<PacketText, ParseError> {
        if self.eat("it") {
            return Ok(PacketText::It);
        }
        if self.eat("a packet") {
            return Ok(PacketText::Any);
        }
        self.eat("packet");
        if self.rest().starts_with('"') {
            return self.fields().map(PacketText::Fields);
        }
        if self.eat("hex") {
            self.expect(":")?;
            let before = *self;
            let digits = self.word("the packet's bytes")?;
            return bytes(digits).map(PacketText::Bytes).ok_or_else(|| {
                before.error("this is not a packet's bytes: pairs of hexadecimal digits, 14 at least")
            });
        }
        let name = self.name("a packet's name")?;
        let changed = if self.eat("with") { self.fields()? } else { Match::new() };
        Ok(PacketText::Named(name, changed))
    }

    /// `"FIELDS"`.
    pub(super) fn fields(&mut self) -> Result<Match, ParseError> {
        let (inner, text) = self.quoted("a packet's fields")?;
        inner.matching(text)
    }

    /// A match that begins here.
    pub(super) fn matching(&self, text: &str) -> Result<Match, ParseError> {
        text.parse().map_err(|error: crate::text::ParseError| {
            self.error_at(error.column - 1, error.problem.to_string())
        })
    }

    /// A flow that begins here.
    pub(super) fn flow(&self, text: &str) -> Result<FlowEntry, ParseError> {
        text.parse().map_err(|error: crate::text::ParseError| {
            self.error_at(error.column - 1, error.problem.to_string())
        })
    }

    /// A group that begins here, for this command; of a deletion the number is enough.
    pub(super) fn group(&self, text: &str, command: GroupCommand) -> Result<GroupMod, ParseError> {
        let group = GroupText::parse(text, Some(command));
        group.map(GroupMod::from).map_err(|error| self.error_at(error.column - 1, error.problem.to_string()))
    }

    /// A meter that begins here.
    pub(super) fn meter(&self, text: &str, command: MeterModCommand) -> Result<MeterMod, ParseError> {
        MeterMod::parse(text, command)
            .map_err(|error| self.error_at(error.column - 1, error.problem.to_string()))
    }

    /// `"FLOW"`.
    pub(super) fn quoted_flow(&mut self) -> Result<FlowEntry, ParseError> {
        let (inner, text) = self.quoted("a flow")?;
        inner.flow(text)
    }

    /// `"MATCH"`, as a deletion takes it.
    pub(super) fn quoted_match(&mut self) -> Result<Match, ParseError> {
        let (inner, text) = self.quoted("a match")?;
        inner.matching(text)
    }

    /// `"FLOW"` of which table, priority and match count; it needs no actions.
    pub(super) fn quoted_key(&mut self) -> Result<FlowKey, ParseError> {
        let (inner, text) = self.quoted("a flow")?;
        if text.contains("actions=") {
            return inner.flow(text).map(|flow| flow.key());
        }
        let flow = inner.flow(&format!("{text} actions=drop"));
        // A column beyond the text is of what was put after it.
        flow.map(|flow| flow.key())
            .map_err(|error| ParseError { column: error.column.min(inner.at + text.len() + 1), ..error })
    }

    pub(super) fn duration(&mut self) -> Result<Duration, ParseError> {
        let before = *self;
        let word = self.word("a number of seconds")?;
        let amount: f64 =
            word.parse().ok().filter(|amount| (0.0..=1e6).contains(amount)).ok_or_else(|| {
                before.error(format!("'{word}' is not an amount of time of at most 1000000"))
            })?;
        let unit = *self;
        match self.word("s or ms")? {
            "s" | "second" | "seconds" => Ok(Duration::from_secs_f64(amount)),
            "ms" | "milliseconds" => Ok(Duration::from_secs_f64(amount / 1e3)),
            other => Err(unit.error(format!("'{other}' is not a unit of time: s or ms"))),
        }
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| {
            let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect();
    bytes.filter(|bytes| bytes.len() >= 14)
}
