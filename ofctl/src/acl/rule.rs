//! Rules: which packets, and what becomes of them.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::prefix::Prefix;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It is dropped. Of two rules with one priority that take the same packet, the one that denies counts.
    Deny,
}

/// IP protocols that a rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// All of them.
    Any,
    /// One, by its number.
    Number(u8),
}

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Protocol = Protocol::Number(1);
    /// TCP.
    pub const TCP: Protocol = Protocol::Number(6);
    /// UDP.
    pub const UDP: Protocol = Protocol::Number(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Protocol = Protocol::Number(58);
    /// SCTP.
    pub const SCTP: Protocol = Protocol::Number(132);

    pub(super) const NAMES: [(Protocol, &'static str); 6] = [
        (Protocol::Any, "ip"),
        (Protocol::ICMP, "icmp"),
        (Protocol::TCP, "tcp"),
        (Protocol::UDP, "udp"),
        (Protocol::ICMPV6, "icmpv6"),
        (Protocol::SCTP, "sctp"),
    ];

    /// True if its packets have ports.
    pub const fn has_ports(self) -> bool {
        matches!(self, Protocol::TCP | Protocol::UDP | Protocol::SCTP)
    }
}

/// One side of the packets that a rule takes: any of these addresses, and any of these ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Side {
    /// Addresses; none stands for all.
    pub prefixes: Vec<Prefix>,
    /// Ports; none stands for all.
    pub ports: Vec<PortRange>,
}

impl Side {
    fn takes(&self, address: IpAddr, port: Option<u16>) -> bool {
        (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| prefix.contains(address)))
            && (self.ports.is_empty()
                || port.is_some_and(|port| self.ports.iter().any(|range| range.contains(port))))
    }
}

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last; not below the first, or the range holds nothing.
    pub last: u16,
}

impl PortRange {
    /// True if the port is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        PortRange { first: port, last: port }
    }
}

impl From<RangeInclusive<u16>> for PortRange {
    fn from(range: RangeInclusive<u16>) -> Self {
        PortRange { first: *range.start(), last: *range.end() }
    }
}

impl From<PortRange> for RangeInclusive<u16> {
    fn from(range: PortRange) -> Self {
        range.first..=range.last
    }
}

/// A rule about IP packets.
///
/// Its text form reads and prints as `PRIORITY VERDICT PROTOCOL from SIDE to SIDE`:
///
/// ```
/// use ofctl::acl::{Rule, Verdict};
///
/// let rule: Rule = "100 allow tcp from any to 10.0.0.0/8,192.0.2.7 port 22,8000-8080".parse()?;
/// assert_eq!((rule.priority, rule.verdict), (100, Verdict::Allow));
/// assert_eq!(rule.destination.ports[1].last, 8080);
/// assert_eq!(rule.to_string(), "100 allow tcp from any to 10.0.0.0/8,192.0.2.7 port 22,8000-8080");
///
/// let error = "100 allow tcp from any port 80-79".parse::<Rule>().unwrap_err();
/// assert_eq!(error.to_string(), "column 29: the range 80-79 is empty; write the smaller port first");
/// # Ok::<(), ofctl::acl::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// The highest counts; at most [`Rule::MAX_PRIORITY`].
    pub priority: u16,
    /// What becomes of the packets.
    pub verdict: Verdict,
    /// Their protocol.
    pub protocol: Protocol,
    /// Where they come from.
    pub source: Side,
    /// Where they go.
    pub destination: Side,
}

impl Rule {
    /// The highest priority of a rule: each needs two priorities of flows.
    pub const MAX_PRIORITY: u16 = 0x7ffe;

    /// A rule about all IP packets.
    pub fn new(priority: u16, verdict: Verdict) -> Rule {
        Rule {
            priority,
            verdict,
            protocol: Protocol::Any,
            source: Side::default(),
            destination: Side::default(),
        }
    }

    /// Takes packets of this protocol only.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Takes packets from these addresses also.
    #[must_use]
    pub fn from(mut self, prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        self.source.prefixes.extend(prefixes);
        self
    }

    /// Takes packets to these addresses also.
    #[must_use]
    pub fn to(mut self, prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        self.destination.prefixes.extend(prefixes);
        self
    }

    /// Takes packets from these ports also.
    #[must_use]
    pub fn from_ports(mut self, ports: impl IntoIterator<Item = impl Into<PortRange>>) -> Self {
        self.source.ports.extend(ports.into_iter().map(Into::into));
        self
    }

    /// Takes packets to these ports also.
    #[must_use]
    pub fn to_ports(mut self, ports: impl IntoIterator<Item = impl Into<PortRange>>) -> Self {
        self.destination.ports.extend(ports.into_iter().map(Into::into));
        self
    }

    /// True if the rule takes a packet with these headers.
    pub fn takes(&self, headers: &Headers) -> bool {
        let protocol = match self.protocol {
            Protocol::Any => true,
            // ICMP is the name of one protocol in IPv4 and of another in IPv6.
            Protocol::ICMP => headers.protocol == 1 && headers.source.is_ipv4(),
            Protocol::ICMPV6 => headers.protocol == 58 && headers.source.is_ipv6(),
            Protocol::Number(number) => headers.protocol == number,
        };
        let (source_port, destination_port) = match headers.ports {
            Some((source, destination)) => (Some(source), Some(destination)),
            None => (None, None),
        };
        protocol
            && self.source.takes(headers.source, source_port)
            && self.destination.takes(headers.destination, destination_port)
    }

    /// Looks for what no packet, or no switch, could make sense of.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<(), InvalidRule> {
        if self.priority > Rule::MAX_PRIORITY {
            return Err(InvalidRule::Priority(self.priority));
        }
        for side in [&self.source, &self.destination] {
            if let Some(&range) = side.ports.iter().find(|range| range.first > range.last) {
                return Err(InvalidRule::EmptyRange(range));
            }
            if !side.ports.is_empty() && !self.protocol.has_ports() {
                return Err(InvalidRule::NoPorts(self.protocol));
            }
        }
        if !self.families().any(|_| true) {
            return Err(InvalidRule::NoFamily);
        }
        Ok(())
    }

    /// The versions of IP whose packets the rule can take.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        let has = |side: &Side, family: Family| {
            side.prefixes.is_empty() || side.prefixes.iter().any(|prefix| family.has(*prefix))
        };
        let possible = move |family: &Family| {
            has(&self.source, *family)
                && has(&self.destination, *family)
                && match self.protocol {
                    Protocol::ICMP => *family == Family::V4,
                    Protocol::ICMPV6 => *family == Family::V6,
                    _ => true,
                }
        };
        [Family::V4, Family::V6].into_iter().filter(possible)
    }
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn has(self, prefix: Prefix) -> bool {
        prefix.is_ipv6() == (self == Family::V6)
    }
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The priority is too high.
    #[error("priority {0} is above {max}", max = Rule::MAX_PRIORITY)]
    Priority(u16),
    /// A range that ends before it begins.
    #[error("the range {}-{} is empty; write the smaller port first", .0.first, .0.last)]
    EmptyRange(PortRange),
    /// Ports of a protocol that has none.
    #[error("{0} has no ports; name tcp, udp or sctp")]
    NoPorts(Protocol),
    /// Addresses of both IP versions in a way that no packet has.
    #[error(
        "no packet can match: source, destination and protocol have no version of IP in common; \
         write one rule for IPv4 and one for IPv6"
    )]
    NoFamily,
}

/// What rules look at in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Headers {
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port, if the protocol has ports.
    pub ports: Option<(u16, u16)>,
}
