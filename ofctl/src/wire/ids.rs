//! Numbers that name things on a switch.

use std::fmt;

/// A flow table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u8);

impl TableId {
    /// `OFPTT_ALL`: every table, in deletes and in statistics requests.
    pub const ALL: TableId = TableId(0xff);
}

impl fmt::Display for TableId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A port number of OpenFlow 1.1 and later, 32 bits; reserved ones by OpenFlow 1.3.5 §7.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfPort(pub u32);

impl OfPort {
    /// Largest number of an ordinary port, `OFPP_MAX`.
    pub const MAX: OfPort = OfPort(0xffff_ff00);
    /// `OFPP_IN_PORT`: back out where it came in, which a plain output refuses.
    pub const IN_PORT: OfPort = OfPort(0xffff_fff8);
    /// `OFPP_TABLE`, in packet-out only: through the flow tables.
    pub const TABLE: OfPort = OfPort(0xffff_fff9);
    /// `OFPP_NORMAL`: as an ordinary learning switch.
    pub const NORMAL: OfPort = OfPort(0xffff_fffa);
    /// `OFPP_FLOOD`.
    pub const FLOOD: OfPort = OfPort(0xffff_fffb);
    /// `OFPP_ALL`: all ports but the ingress port.
    pub const ALL: OfPort = OfPort(0xffff_fffc);
    /// `OFPP_CONTROLLER`.
    pub const CONTROLLER: OfPort = OfPort(0xffff_fffd);
    /// `OFPP_LOCAL`: the bridge's own interface.
    pub const LOCAL: OfPort = OfPort(0xffff_fffe);
    /// `OFPP_ANY`: no restriction, in deletes and requests.
    pub const ANY: OfPort = OfPort(0xffff_ffff);

    const NAMES: [(OfPort, &'static str); 8] = [
        (Self::IN_PORT, "IN_PORT"),
        (Self::TABLE, "TABLE"),
        (Self::NORMAL, "NORMAL"),
        (Self::FLOOD, "FLOOD"),
        (Self::ALL, "ALL"),
        (Self::CONTROLLER, "CONTROLLER"),
        (Self::LOCAL, "LOCAL"),
        (Self::ANY, "ANY"),
    ];

    /// The port of that number as OpenFlow 1.0 and the Nicira actions have it, in 16 bits.
    pub const fn from_16(number: u16) -> OfPort {
        OfPort(if number >= 0xff00 { 0xffff_0000 | number as u32 } else { number as u32 })
    }

    /// The number in 16 bits, if it has one.
    pub const fn to_16(self) -> Option<u16> {
        match self.0 {
            0..0xff00 | 0xffff_ff00.. => Some(self.0 as u16),
            _ => None,
        }
    }

    /// The name of a reserved port.
    pub fn reserved_name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(port, _)| *port == self).map(|(_, name)| *name)
    }

    /// The reserved port of that name, in either case.
    pub fn from_reserved_name(name: &str) -> Option<OfPort> {
        Self::NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(port, _)| *port)
    }
}

impl fmt::Display for OfPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reserved_name() {
            Some(name) => out.write_str(name),
            None => self.0.fmt(out),
        }
    }
}

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// `OFPG_ALL`: every group, in deletes.
    pub const ALL: GroupId = GroupId(0xffff_fffc);
    /// `OFPG_ANY`: no restriction, in deletes and requests.
    pub const ANY: GroupId = GroupId(0xffff_ffff);
}

impl fmt::Display for GroupId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A flow's opaque number, given by the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cookie(pub u64);

impl fmt::Display for Cookie {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

/// Transaction number: an answer carries that of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub u32);

impl fmt::Display for Xid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

/// A bundle that is open on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId(pub u32);

impl fmt::Display for BundleId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}
