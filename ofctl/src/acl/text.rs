//! The text form of rules.

use std::fmt;
use std::str::FromStr;

use super::prefix::{Prefix, PrefixTooLong};
use super::rule::{InvalidRule, PortRange, Protocol, Rule, Side, Verdict};

/// A text that is not a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: ParseProblem,
}

/// What is wrong with a rule's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// The text ends too early, or another word stands there.
    #[error("{wanted} is wanted here, not {found}")]
    Wanted {
        /// What should stand there.
        wanted: &'static str,
        /// What does.
        found: Found,
    },
    /// A number that does not fit.
    #[error("'{text}' is not a {what} of 0 to {max}")]
    Number {
        /// The text.
        text: String,
        /// What it should be.
        what: &'static str,
        /// The largest.
        max: u16,
    },
    /// No address.
    #[error("'{0}' is not an IP address; names are not looked up")]
    Address(String),
    /// A prefix is longer than its address.
    #[error(transparent)]
    Prefix(PrefixTooLong),
    /// The words are right, but the rule cannot be.
    #[error(transparent)]
    Invalid(InvalidRule),
}

/// A word, or the end of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A word.
    Word(String),
    /// The end.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Word(word) => write!(out, "'{word}'"),
            Found::End => out.write_str("the end"),
        }
    }
}

/// A line of a file of rules that is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {error}")]
pub struct FileError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong in it.
    pub error: ParseError,
}

/// Reads rules, one a line. A `#` begins a comment; empty lines do not matter.
///
/// ```
/// let rules = ofctl::acl::parse_rules("
///     ## The web, but not from the guests' network.
///     200 deny  tcp from 10.9.0.0/16 to any port 80,443
///     100 allow tcp from any         to any port 80,443   # both of it
/// ")?;
/// assert_eq!(rules.len(), 2);
/// let error = ofctl::acl::parse_rules("\n100 allow tcp from any to 10.0.0.0/33").unwrap_err();
/// assert_eq!(error.to_string(), "line 2, column 27: /33 is longer than the 32 bits of 10.0.0.0");
/// # Ok::<(), ofctl::acl::FileError>(())
/// ```
///
/// # Errors
/// At the first line that is not a rule.
pub fn parse_rules(text: &str) -> Result<Vec<Rule>, FileError> {
    let mut rules = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let rule = line.split('#').next().unwrap_or_default();
        if !rule.trim().is_empty() {
            rules.push(rule.parse().map_err(|error| FileError { line: index + 1, error })?);
        }
    }
    Ok(rules)
}

/// A piece of the text and the byte at which it begins.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Word<'a> {
    /// The parts between separators, each with its place.
    fn split(self, separator: char) -> impl Iterator<Item = Word<'a>> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let word = Word { text, at };
            at += text.len() + separator.len_utf8();
            word
        })
    }

    fn split_once(self, separator: char) -> Option<(Word<'a>, Word<'a>)> {
        let (before, after) = self.text.split_once(separator)?;
        let at = self.at + before.len() + separator.len_utf8();
        Some((Word { text: before, at: self.at }, Word { text: after, at }))
    }
}

struct Parser<'a> {
    whole: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, problem: ParseProblem) -> ParseError {
        ParseError { column: self.whole[..at].chars().count() + 1, problem }
    }

    /// The next word, which stays.
    fn peek(&self) -> Word<'a> {
        let rest = &self.whole[self.at..];
        let trimmed = rest.trim_start();
        let text = trimmed.split(char::is_whitespace).next().unwrap_or_default();
        Word { text, at: self.at + rest.len() - trimmed.len() }
    }

    /// The next word; empty at the end.
    fn take(&mut self) -> Word<'a> {
        let word = self.peek();
        self.at = word.at + word.text.len();
        word
    }

    fn wanted(&self, wanted: &'static str, word: Word<'_>) -> ParseError {
        let (at, found) = match word.text {
            "" => (self.whole.trim_end().len(), Found::End),
            text => (word.at, Found::Word(text.to_owned())),
        };
        self.error(at, ParseProblem::Wanted { wanted, found })
    }

    fn keyword(&mut self, keyword: &'static str) -> Result<(), ParseError> {
        match self.take() {
            word if word.text == keyword => Ok(()),
            word => Err(self.wanted(keyword, word)),
        }
    }

    fn number(&self, word: Word<'_>, what: &'static str, max: u16) -> Result<u16, ParseError> {
        let digits = !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = word.text.parse().ok().filter(|number| digits && *number <= max);
        let problem = || ParseProblem::Number { text: word.text.to_owned(), what, max };
        number.ok_or_else(|| self.error(word.at, problem()))
    }

    fn rule(&mut self) -> Result<Rule, ParseError> {
        let word = self.take();
        if word.text.is_empty() {
            return Err(self.wanted("a priority", word));
        }
        let priority = self.number(word, "priority", Rule::MAX_PRIORITY)?;
        let word = self.take();
        let verdict = match word.text {
            "allow" => Verdict::Allow,
            "deny" => Verdict::Deny,
            _ => return Err(self.wanted("allow or deny", word)),
        };
        let protocol_word = self.take();
        let protocol = self.protocol(protocol_word)?;
        self.keyword("from")?;
        let source = self.side(protocol)?;
        self.keyword("to")?;
        let destination = self.side(protocol)?;
        let rest = self.take();
        if !rest.text.is_empty() {
            return Err(self.wanted("the end", rest));
        }
        let rule = Rule { priority, verdict, protocol, source, destination };
        match rule.check() {
            Ok(()) => Ok(rule),
            Err(error) => Err(self.error(protocol_word.at, ParseProblem::Invalid(error))),
        }
    }

    fn protocol(&self, word: Word<'_>) -> Result<Protocol, ParseError> {
        if let Some((protocol, _)) = Protocol::NAMES.iter().find(|(_, name)| *name == word.text) {
            return Ok(*protocol);
        }
        if !word.text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(self.wanted("ip, tcp, udp, sctp, icmp, icmpv6 or a protocol's number", word));
        }
        Ok(Protocol::Number(self.number(word, "protocol", 255)? as u8))
    }

    fn side(&mut self, protocol: Protocol) -> Result<Side, ParseError> {
        let mut side = Side::default();
        let addresses = self.take();
        match addresses.text {
            "any" => {}
            "" => return Err(self.wanted("any or addresses", addresses)),
            _ => {
                for word in addresses.split(',') {
                    side.prefixes.push(self.prefix(word)?);
                }
            }
        }
        let keyword = self.peek();
        if keyword.text == "port" {
            self.take();
            if !protocol.has_ports() {
                let problem = ParseProblem::Invalid(InvalidRule::NoPorts(protocol));
                return Err(self.error(keyword.at, problem));
            }
            let ports = self.take();
            if ports.text.is_empty() {
                return Err(self.wanted("ports", ports));
            }
            for word in ports.split(',') {
                side.ports.push(self.ports(word)?);
            }
        }
        Ok(side)
    }

    fn prefix(&self, word: Word<'_>) -> Result<Prefix, ParseError> {
        let (address, length) = match word.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (word, None),
        };
        let parsed = address.text.parse();
        let parsed =
            parsed.map_err(|_| self.error(address.at, ParseProblem::Address(address.text.to_owned())))?;
        match length {
            None => Ok(Prefix::host(parsed)),
            Some(length) => {
                let length = self.number(length, "prefix length", 255)? as u8;
                Prefix::new(parsed, length).map_err(|error| self.error(word.at, ParseProblem::Prefix(error)))
            }
        }
    }

    fn ports(&self, word: Word<'_>) -> Result<PortRange, ParseError> {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let range = PortRange {
            first: self.number(first, "port", u16::MAX)?,
            last: self.number(last, "port", u16::MAX)?,
        };
        if range.first > range.last {
            return Err(self.error(word.at, ParseProblem::Invalid(InvalidRule::EmptyRange(range))));
        }
        Ok(range)
    }
}

impl FromStr for Rule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Parser { whole: text, at: 0 }.rule()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Protocol::NAMES.iter().find(|(protocol, _)| protocol == self), self) {
            (Some((_, name)), _) => out.write_str(name),
            (None, Protocol::Number(number)) => number.fmt(out),
            (None, Protocol::Any) => out.write_str("ip"),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => first.fmt(out),
            (first, last) => write!(out, "{first}-{last}"),
        }
    }
}

/// With commas between.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, item) in self.0.iter().enumerate() {
            write!(out, "{}{item}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefixes.is_empty() {
            true => out.write_str("any")?,
            false => List(&self.prefixes).fmt(out)?,
        }
        if !self.ports.is_empty() {
            write!(out, " port {}", List(&self.ports))?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { priority, verdict, protocol, source, destination } = self;
        write!(out, "{priority} {verdict} {protocol} from {source} to {destination}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in [
            "0 deny ip from any to any",
            "32766 allow icmp from 10.0.0.0/8 to any",
            "7 allow 47 from ::1,2001:db8::/32 to fe80::/10",
            "100 allow udp from any port 53 to 10.0.0.1,10.0.0.2 port 1024-65535,53",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_point_at_the_column() {
        for (text, error) in [
            ("", "column 1: a priority is wanted here, not the end"),
            ("40000 deny ip from any to any", "column 1: '40000' is not a priority of 0 to 32766"),
            ("+5 deny ip from any to any", "column 1: '+5' is not a priority of 0 to 32766"),
            ("5 drop ip from any to any", "column 3: allow or deny is wanted here, not 'drop'"),
            (
                "5 deny igmp from any to any",
                "column 8: ip, tcp, udp, sctp, icmp, icmpv6 or a protocol's number is wanted here, not 'igmp'",
            ),
            ("5 deny 256 from any to any", "column 8: '256' is not a protocol of 0 to 255"),
            ("5 deny tcp any to any", "column 12: from is wanted here, not 'any'"),
            ("5 deny tcp from any  ", "column 20: to is wanted here, not the end"),
            ("5 deny tcp from any to", "column 23: any or addresses is wanted here, not the end"),
            (
                "5 deny tcp from 10.0.0.1,web to any",
                "column 26: 'web' is not an IP address; names are not looked up",
            ),
            ("5 deny tcp from 10.0.0.0/ to any", "column 26: '' is not a prefix length of 0 to 255"),
            ("5 deny tcp from any to any port", "column 32: ports is wanted here, not the end"),
            ("5 deny tcp from any to any port 1,65536", "column 35: '65536' is not a port of 0 to 65535"),
            ("5 deny tcp from any to any port 1,9-", "column 37: '' is not a port of 0 to 65535"),
            ("5 deny icmp from any to any port 1", "column 29: icmp has no ports; name tcp, udp or sctp"),
            ("5 deny ip from any to any log", "column 27: the end is wanted here, not 'log'"),
            (
                "5 deny ip from ::1 to 10.0.0.1",
                "column 8: no packet can match: source, destination and protocol have no version of IP in common; \
                 write one rule for IPv4 and one for IPv6",
            ),
            ("5 deny ip from é,ü to any", "column 16: 'é' is not an IP address; names are not looked up"),
            ("5 deny ip from ::1,ü to any", "column 20: 'ü' is not an IP address; names are not looked up"),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap_err().to_string(), error, "{text}");
        }
    }
}
