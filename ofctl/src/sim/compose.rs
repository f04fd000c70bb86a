//! Packets from the fields that they shall have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::Packet;
use crate::MacAddr;
use crate::packet::Frame;
use crate::wire::{Field, FieldValue, Match, OfPort, Prerequisite};

/// A field that the packet cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", field.name())]
pub struct ComposeError {
    /// Which.
    pub field: Field,
    /// Why not.
    pub problem: String,
}

impl Packet {
    /// A packet with these fields, as `ofproto/trace` makes one: with every header that the fields stand in, and
    /// zeros (a TTL of 64) where nothing is said.
    ///
    /// # Errors
    /// If a field stands in a header that cannot be made, or that the packet does not have.
    ///
    /// ```
    /// use ofctl::sim::Packet;
    /// let packet = Packet::compose(&"in_port=1,tcp,nw_dst=10.0.0.2,tp_dst=80".parse()?)?;
    /// assert_eq!(packet.frame().len(), 14 + 20 + 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compose(fields: &Match) -> Result<Packet, ComposeError> {
        let in_port = OfPort(number(fields, Field::InPort));
        let mut packet = Packet::new(in_port, frame(fields));
        for condition in fields {
            if condition.field != Field::InPort && packet.get(condition.field) != condition.value {
                packet.write(condition.field, condition.value)?;
            }
        }
        Ok(packet)
    }

    /// A packet of these bytes, with the metadata, registers and tunnel that the fields name; fields of the packet's
    /// own headers are passed over.
    ///
    /// # Errors
    /// If a field cannot be written.
    pub fn with_metadata(in_port: OfPort, frame: &[u8], fields: &Match) -> Result<Packet, ComposeError> {
        let mut packet = Packet::new(in_port, frame);
        for condition in fields {
            let field = condition.field;
            let of_headers = field.spec().prerequisite != Prerequisite::None
                || matches!(field, Field::EthSrc | Field::EthDst | Field::EthType | Field::VlanVid);
            if field != Field::InPort && !of_headers {
                packet.write(field, condition.value)?;
            }
        }
        Ok(packet)
    }

    /// Changes fields that the packet has.
    ///
    /// # Errors
    /// At the first that it does not have, or that no action could write.
    pub fn change(&mut self, fields: &Match) -> Result<(), ComposeError> {
        for condition in fields {
            if self.get(condition.field) != condition.value {
                self.write(condition.field, condition.value)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, field: Field, value: FieldValue) -> Result<(), ComposeError> {
        let refused = |problem: String| ComposeError { field, problem };
        if matches!(field, Field::EthType | Field::VlanVid | Field::IpProto | Field::IpFrag) {
            return Err(refused("such a packet cannot be made of fields; give its bytes".to_owned()));
        }
        self.set(field, value).map_err(|error| refused(error.to_string()))
    }
}

fn value(fields: &Match, field: Field) -> Option<FieldValue> {
    fields.get(field).map(|condition| condition.value)
}

fn number<T: TryFrom<u64> + Default>(fields: &Match, field: Field) -> T {
    value(fields, field).and_then(|value| T::try_from(value.to_u64()).ok()).unwrap_or_default()
}

fn mac(fields: &Match, field: Field) -> MacAddr {
    value(fields, field).unwrap_or_default().to_mac()
}

/// A frame that has every header that the fields stand in.
fn frame(fields: &Match) -> Vec<u8> {
    let eth_type: u16 = number(fields, Field::EthType);
    let (src, dst) = (mac(fields, Field::EthSrc), mac(fields, Field::EthDst));
    if eth_type == 0x0806 {
        let v4 = |field| value(fields, field).map_or(Ipv4Addr::UNSPECIFIED, FieldValue::to_ipv4);
        let mut bytes = Frame::arp_request(src, v4(Field::ArpSpa), v4(Field::ArpTpa));
        // The request's own addresses are replaced: a packet has what its text says, and zeros.
        bytes[..6].copy_from_slice(&dst.0);
        bytes[20..22].copy_from_slice(&number::<u16>(fields, Field::ArpOp).to_be_bytes());
        bytes[22..28].copy_from_slice(&mac(fields, Field::ArpSha).0);
        return bytes;
    }
    let mut frame = Frame::between(src, dst);
    let vid: u16 = number(fields, Field::VlanVid);
    if vid & 0x1000 != 0 {
        let pcp: u16 = number(fields, Field::VlanPcp);
        frame = frame.tag(0x8100, pcp << 13 | vid & 0x0fff);
    }
    let ip = match eth_type {
        0x0800 => {
            let v4 =
                |field| IpAddr::V4(value(fields, field).map_or(Ipv4Addr::UNSPECIFIED, FieldValue::to_ipv4));
            Some((v4(Field::Ipv4Src), v4(Field::Ipv4Dst)))
        }
        0x86dd => {
            let v6 = |field| {
                IpAddr::V6(value(fields, field).map_or(Ipv6Addr::UNSPECIFIED, |value| value.to_ipv6()))
            };
            Some((v6(Field::Ipv6Src), v6(Field::Ipv6Dst)))
        }
        0 => None,
        other => return frame.eth_type(other).payload(&[0; 46]).build(),
    };
    let Some((src, dst)) = ip else { return frame.payload(&[0; 46]).build() };
    let ttl = fields.get(Field::IpTtl).map_or(64, |_| number(fields, Field::IpTtl));
    frame = frame.ip(src, dst).ttl(ttl);
    let port = |field| number::<u16>(fields, field);
    let protocol: u8 = number(fields, Field::IpProto);
    frame = match protocol {
        6 => frame.tcp_flags(port(Field::TcpSrc), port(Field::TcpDst), number(fields, Field::TcpFlags)),
        17 => frame.udp(port(Field::UdpSrc), port(Field::UdpDst)),
        132 => frame.sctp(port(Field::SctpSrc), port(Field::SctpDst)),
        1 if src.is_ipv4() => {
            frame.icmp(number(fields, Field::Icmpv4Type), number(fields, Field::Icmpv4Code), [0; 4])
        }
        58 if src.is_ipv6() => {
            let kind = number(fields, Field::Icmpv6Type);
            let frame = frame.icmp(kind, number(fields, Field::Icmpv6Code), [0; 4]);
            if matches!(kind, 135 | 136) { frame.payload(&[0; 16]) } else { frame }
        }
        other => frame.protocol(other),
    };
    frame.build()
}
