//! What applications read out of packets, and how they send them on.

use crate::MacAddr;
use crate::wire::{Action, Field, NO_BUFFER, OfPort, PacketIn, PacketOut};

impl PacketIn {
    /// The port that the packet came in by; [`OfPort::CONTROLLER`] if the switch does not say.
    pub fn in_port(&self) -> OfPort {
        let port = self.matching.exact(Field::InPort);
        port.map_or(OfPort::CONTROLLER, |port| OfPort(port.to_u64() as u32))
    }

    /// The packet's Ethernet header; `None` if it is too short for one.
    pub fn ethernet(&self) -> Option<Ethernet<'_>> {
        Ethernet::parse(&self.data)
    }

    /// The message that sends this packet on: out of the switch's buffer, or as it came.
    pub fn resend(&self, actions: impl IntoIterator<Item = Action>) -> PacketOut {
        let buffered = self.buffer_id != NO_BUFFER;
        PacketOut {
            buffer_id: self.buffer_id,
            in_port: self.in_port(),
            actions: actions.into_iter().collect(),
            data: if buffered { Vec::new() } else { self.data.clone() },
        }
    }
}

/// An Ethernet header, IEEE 802.3 §3.1.1, and what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet<'a> {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
    /// VLAN identifier of the outermost tag, if there is a tag.
    pub vlan: Option<u16>,
    /// Type of the payload; a length if below 0x600.
    pub eth_type: u16,
    /// What follows the header and its tag.
    pub payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    /// Reads a frame; `None` if it is too short.
    pub fn parse(frame: &'a [u8]) -> Option<Ethernet<'a>> {
        let (dst, rest) = frame.split_first_chunk()?;
        let (src, rest) = rest.split_first_chunk()?;
        let (&kind, rest) = rest.split_first_chunk()?;
        let (vlan, eth_type, payload) = match u16::from_be_bytes(kind) {
            0x8100 | 0x88a8 => {
                let (&tag, rest) = rest.split_first_chunk()?;
                let (&kind, rest) = rest.split_first_chunk()?;
                (Some(u16::from_be_bytes(tag) & 0xfff), u16::from_be_bytes(kind), rest)
            }
            eth_type => (None, eth_type, rest),
        };
        Some(Ethernet { dst: MacAddr(*dst), src: MacAddr(*src), vlan, eth_type, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Cookie, Match, TableId};

    fn packet(buffer_id: u32) -> PacketIn {
        PacketIn {
            buffer_id,
            total_len: 60,
            reason: 0,
            table: TableId(0),
            cookie: Cookie(0),
            matching: Match::new().with(Field::InPort, OfPort(3)),
            data: vec![7; 60],
        }
    }

    #[test]
    fn a_packet_that_the_switch_kept_is_not_sent_again() {
        let actions = || [Action::Output(OfPort(9))];
        let kept = packet(5).resend(actions());
        assert_eq!((kept.buffer_id, kept.in_port, kept.data.len()), (5, OfPort(3), 0));
        let sent = packet(NO_BUFFER).resend(actions());
        assert_eq!((sent.buffer_id, sent.in_port, sent.data.len()), (NO_BUFFER, OfPort(3), 60));
    }

    #[test]
    fn headers_are_read_and_short_ones_refused() {
        let mut frame = vec![0; 12];
        frame[..6].copy_from_slice(&[0xff; 6]);
        frame.extend([0x81, 0x00, 0x60, 0x07, 0x08, 0x06, 0xab]);
        let header = Ethernet::parse(&frame).unwrap();
        assert_eq!((header.dst, header.vlan, header.eth_type), (MacAddr::BROADCAST, Some(7), 0x0806));
        assert_eq!(header.payload, [0xab]);
        for n in 0..18 {
            assert_eq!(Ethernet::parse(&frame[..n]), None, "{n} bytes");
        }
        frame[12] = 0x08;
        assert_eq!(Ethernet::parse(&frame).unwrap().vlan, None);
        assert_eq!(Ethernet::parse(&frame).unwrap().payload.len(), 5);
    }
}
