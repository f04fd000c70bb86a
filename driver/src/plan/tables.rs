//! Tables, registers, metadata and cookies: what the stages agree on.

use ofctl::wire::{Cookie, Field, Match, SubField, TableId};

use crate::model::NetworkId;

/// Where the packet came from.
pub const CLASSIFY: TableId = TableId(0);
/// Tunnel packets are taken from known nodes only.
pub const TUN_SRC: TableId = TableId(4);
/// The network of a tunnel packet.
pub const TUN_NET: TableId = TableId(5);
/// The network of a tagged packet from the uplink.
pub const UPLINK: TableId = TableId(6);
/// Source addresses of local endpoints.
pub const SPOOF: TableId = TableId(10);
/// ARP and neighbour discovery are answered here.
pub const NEIGHBOUR: TableId = TableId(14);
/// Second half of the answer to a neighbour solicitation.
pub const ADVERTISE: TableId = TableId(15);
/// Forwarding by destination MAC.
pub const L2: TableId = TableId(40);
/// To the switches that have ports of the network.
pub const TO_PORTS: TableId = TableId(43);
/// Copies to local members, by chunks.
pub const FLOOD_LOCAL: TableId = TableId(44);
/// Copies to other nodes, by chunks.
pub const FLOOD_REMOTE: TableId = TableId(45);
/// Out of the port in [`OUT_PORT`].
pub const OUTPUT: TableId = TableId(60);

/// Metadata bits that hold the [`NetworkId`]. Bits 32 to 47 are kept for the router.
pub const METADATA_NETWORK: u64 = 0xff_ffff;

/// Where a packet came from, in the low four bits of register 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// An endpoint of this node.
    Local = 1,
    /// Another node's tunnel.
    Tunnel = 2,
    /// The trunk of VLAN networks.
    Uplink = 4,
}

impl Source {
    /// The register's bits that hold it.
    pub fn register() -> SubField {
        Field::Reg0.bits(0..4)
    }

    /// Adds the condition that the packet came from here.
    pub fn restrict(self, matching: Match) -> Match {
        matching.masked(Field::Reg0, self as u32, 0xfu32)
    }
}

/// The port that [`OUTPUT`] sends to.
pub const OUT_PORT: Field = Field::Reg5;
/// The chunk of a flood that is looked up.
pub const FLOOD_CHUNK: Field = Field::Reg9;

/// All packets of a network.
pub fn in_network(network: NetworkId) -> Match {
    Match::new().masked(Field::Metadata, u64::from(network.get()), METADATA_NETWORK)
}

/// What a flow is for; the second byte of its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CookieKind {
    /// The switch itself.
    Switch = 0,
    /// A local or remote endpoint.
    Endpoint = 1,
    /// Another node.
    Node = 2,
    /// A network.
    Network = 3,
    /// A network's floods.
    Flood = 4,
    /// A station behind a switch port.
    Station = 5,
}

/// The first byte of every cookie of ours. A flow without it is somebody else's and is left alone.
pub const COOKIE_MARK: u64 = 0x5c << 56;
/// The bits of [`COOKIE_MARK`].
pub const COOKIE_MARK_MASK: u64 = 0xff << 56;
/// The bits that hold the [`Generation`].
pub const COOKIE_GENERATION_MASK: u64 = 0xffff << 32;

/// A flow's cookie, generation 0: mark (8 bits), kind (8), kept zero (0), generation (16), object (32).
pub fn cookie(kind: CookieKind, object: u32) -> Cookie {
    Cookie(COOKIE_MARK | (kind as u64) << 48 | u64::from(object))
}

/// Thirty-two bits that stand for a name in a cookie: FNV-1a.
pub fn object_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The round of programming in which a flow was sent. Flows of earlier rounds are deleted by mask when a round is
/// complete, in the same atomic bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u16);

impl Generation {
    /// The generation in a cookie, if the cookie is ours.
    pub fn of(cookie: Cookie) -> Option<Generation> {
        (cookie.0 & COOKIE_MARK_MASK == COOKIE_MARK).then_some(Generation((cookie.0 >> 32) as u16))
    }

    /// The same cookie in this generation.
    pub fn stamp(self, cookie: Cookie) -> Cookie {
        Cookie(cookie.0 & !COOKIE_GENERATION_MASK | u64::from(self.0) << 32)
    }

    /// The next one; never 0, which is that of plans.
    pub fn next(self) -> Generation {
        Generation(self.0.checked_add(1).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_carry_mark_kind_generation_and_object() {
        let planned = cookie(CookieKind::Network, 7);
        assert_eq!(planned, Cookie(0x5c03_0000_0000_0007));
        let sent = Generation(0x1234).stamp(planned);
        assert_eq!(sent, Cookie(0x5c03_1234_0000_0007));
        assert_eq!(Generation::of(sent), Some(Generation(0x1234)));
        assert_eq!(Generation(0).stamp(sent), planned);
        assert_eq!(Generation::of(Cookie(0x1234)), None);
        assert_eq!(Generation(u16::MAX).next(), Generation(1));
    }
}
