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
            if field != Field::InPort && !is_of_headers(field) {
                packet.write(field, condition.value)?;
            }
        }
        Ok(packet)
    }

    /// The fields of the packet's headers and its port of arrival, all exactly: what [`Packet::compose`] takes.
    pub fn header_fields(&self) -> Match {
        let mut fields = Match::new().with(Field::InPort, self.in_port());
        for field in Field::all().filter(|field| is_of_headers(*field) && self.has(*field)) {
            let value = self.get(field);
            // Zero is what a packet has where nothing is said, and untagged is how it begins.
            if !value.is_zero() || field == Field::EthType {
                fields = fields.with(field, value);
            }
        }
        fields
    }

    /// All fields that are not zero, exactly: those of its headers, and what the switch notes of it besides.
    ///
    /// ```
    /// use ofctl::sim::Packet;
    /// let packet = Packet::compose(&"in_port=1,reg3=7,udp,tp_dst=53".parse()?)?;
    /// assert_eq!(packet.fields().to_string(), "udp,reg3=0x7,in_port=1,nw_ttl=64,tp_dst=53");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fields(&self) -> Match {
        let ranges = [
            Field::TunnelId as usize..=Field::TunGtpuMsgtype as usize,
            Field::Reg0 as usize..=Field::Reg15 as usize,
            Field::PktMark as usize..=Field::Metadata as usize,
        ];
        let is_noted = |field: &Field| ranges.iter().any(|range| range.contains(&(*field as usize)));
        let noted = Field::all().filter(is_noted).map(|field| (field, self.get(field)));
        let noted = noted.filter(|(_, value)| !value.is_zero());
        noted.fold(self.header_fields(), |fields, (field, value)| fields.with(field, value))
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

/// True for a field of the packet itself; others are the switch's notes on it.
fn is_of_headers(field: Field) -> bool {
    let is_tracked = field.name().starts_with("ct_");
    let has_layer = field.spec().prerequisite != Prerequisite::None && !is_tracked;
    has_layer || matches!(field, Field::EthSrc | Field::EthDst | Field::EthType | Field::VlanVid)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_made_again_of_its_fields() {
        for text in [
            "in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02",
            "in_port=2,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=3,nw_tos=4,tp_src=1,tp_dst=65535",
            "in_port=3,dl_vlan=5,dl_vlan_pcp=6,udp6,ipv6_src=fd00::1,ipv6_dst=fd00::2,tp_dst=53",
            "in_port=4,arp,arp_op=2,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_sha=02:00:00:00:00:01",
            "in_port=5,icmp6,icmp_type=135,nd_target=fd00::9",
        ] {
            let packet = Packet::compose(&text.parse().unwrap()).unwrap();
            let again = Packet::compose(&packet.header_fields()).unwrap();
            assert_eq!(again.frame(), packet.frame(), "{text} as {}", packet.header_fields());
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        for text in ["ip,nw_frag=first", "tcp,reg0=1,dl_vlan=3", "dl_type=0x1234"] {
            let fields: Match = text.parse().unwrap();
            let outcome = Packet::compose(&fields);
            assert_eq!(outcome.is_err(), text.contains("frag"), "{text}: {outcome:?}");
        }
        let mut packet = Packet::compose(&"udp,tp_dst=53".parse().unwrap()).unwrap();
        let error = packet.change(&"tcp,tp_dst=80".parse().unwrap()).unwrap_err();
        assert_eq!(error.field, Field::IpProto);
    }
}
