//! A frame on its way through the tables, with what the switch knows about it besides its bytes.

use std::fmt;
use std::net::IpAddr;

use super::key::Key;
use super::layout::Layout;
use super::rewrite::Rewriter;
use crate::wire::{Field, FieldValue, OfPort, SubField};

/// The outer header of a tunnelled packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Tunnel key: the VNI of VXLAN and Geneve, the key of GRE.
    pub id: u64,
    /// Outer source; unspecified where the switch's routing chooses it.
    pub src: IpAddr,
    /// Outer destination.
    pub dst: IpAddr,
}

/// The field cannot be written: the packet has no such header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be written: the packet has no header with this field", field.name())]
pub struct NoSuchField {
    /// The field.
    pub field: Field,
}

/// A real frame and its metadata: ingress port, tunnel, registers and the like.
///
/// ```
/// use ofctl::packet::Frame;
/// use ofctl::sim::Packet;
/// use ofctl::wire::{Field, OfPort};
///
/// let frame = Frame::arp_request("02:00:00:00:00:01".parse()?, "10.0.0.1".parse()?, "10.0.0.2".parse()?);
/// let mut packet = Packet::new(OfPort(1), frame);
/// assert_eq!(packet.get(Field::ArpOp).to_u64(), 1);
/// packet.set(Field::ArpOp, 2u16)?;
/// assert_eq!(packet.frame()[21], 2);
/// assert!(packet.set(Field::TcpDst, 80u16).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub(super) key: Key,
    pub(super) rewriter: Rewriter,
}

impl Packet {
    /// Reads a frame's fields. Any bytes will do: what is malformed has no fields.
    pub fn new(in_port: OfPort, frame: impl Into<Vec<u8>>) -> Self {
        let frame = frame.into();
        let (layout, mut key) = Layout::parse(&frame);
        key.put(Field::InPort, in_port);
        Packet { rewriter: Rewriter { frame, layout, written: key.clone() }, key }
    }

    /// The same packet, out of a tunnel.
    #[must_use]
    pub fn with_tunnel(mut self, tunnel: Tunnel) -> Self {
        self.key.set_tunnel(tunnel);
        self
    }

    /// The frame, with all that was set.
    pub fn frame(&self) -> &[u8] {
        &self.rewriter.frame
    }

    /// Ingress port.
    pub fn in_port(&self) -> OfPort {
        self.key.in_port()
    }

    /// The outer header: that of the tunnel it came by, changed by what actions wrote.
    pub fn tunnel(&self) -> Option<Tunnel> {
        self.key.tunnel()
    }

    /// True if the packet has the header that the field stands in.
    pub fn has(&self, field: Field) -> bool {
        self.key.meets(field.spec().prerequisite)
    }

    /// A field's value; zero if the packet does not have it.
    pub fn get(&self, field: Field) -> FieldValue {
        if self.has(field) { FieldValue::from(self.key.value(field)) } else { FieldValue::default() }
    }

    /// Some bits of a field.
    pub fn get_bits(&self, part: SubField) -> u128 {
        if self.has(part.field) { self.key.bits(part) } else { 0 }
    }

    /// Writes a field into the frame, its checksums too, or into the metadata.
    ///
    /// # Errors
    /// If the packet does not have the field.
    pub fn set(&mut self, field: Field, value: impl Into<FieldValue>) -> Result<(), NoSuchField> {
        if !self.has(field) {
            return Err(NoSuchField { field });
        }
        self.key.set(field, value.into().to_u128());
        self.commit();
        Ok(())
    }

    /// Writes some bits of a field.
    ///
    /// # Errors
    /// If the packet does not have the field.
    pub fn set_bits(&mut self, part: SubField, value: u128) -> Result<(), NoSuchField> {
        let field = part.field;
        if !self.has(field) {
            return Err(NoSuchField { field });
        }
        self.key.set_bits(part, value);
        self.commit();
        Ok(())
    }

    /// Puts an empty VLAN tag of this Ethernet type outside the others.
    pub fn push_vlan(&mut self, tpid: u16) {
        self.key.push_tag(tpid);
        self.commit();
    }

    /// Takes the outermost VLAN tag off, if there is one.
    pub fn pop_vlan(&mut self) {
        self.key.pop_tag();
        self.commit();
    }

    /// Reads the frame's fields anew, as a datapath does with a packet that goes round: what is not in the frame
    /// stays as it is.
    pub(super) fn read_anew(&mut self) {
        self.commit();
        let (layout, mut key) = Layout::parse(&self.rewriter.frame);
        key.keep_metadata(&self.key);
        self.rewriter.layout = layout;
        self.rewriter.written = key.clone();
        self.key = key;
    }

    /// Brings the frame up to the fields. Actions do this at outputs only, as Open vSwitch does.
    pub(super) fn commit(&mut self) {
        if self.rewriter.frame.len() >= 14 {
            self.rewriter.commit(&self.key);
        }
    }
}

impl Key {
    /// Takes over whatever is not in the frame.
    fn keep_metadata(&mut self, other: &Key) {
        let tunnel = Field::TunnelId as usize..Field::NshFlags as usize;
        for field in Field::all() {
            let number = field as usize;
            let outside =
                matches!(field, Field::InPort | Field::ActsetOutput | Field::PktMark | Field::Metadata)
                    || tunnel.contains(&number)
                    || (Field::Reg0 as usize..=Field::Reg15 as usize).contains(&number)
                    || (Field::CtState as usize..=Field::CtTpDst as usize).contains(&number);
            if outside {
                self.put(field, other.value(field));
            }
        }
    }

    pub(super) fn set_tunnel(&mut self, tunnel: Tunnel) {
        self.put(Field::TunnelId, tunnel.id);
        for (address, v4, v6) in
            [(tunnel.src, Field::TunSrc, Field::TunIpv6Src), (tunnel.dst, Field::TunDst, Field::TunIpv6Dst)]
        {
            match address {
                IpAddr::V4(address) => self.put(v4, address),
                IpAddr::V6(address) => self.put(v6, address),
            }
        }
    }

    /// The outer header, if anything of it is set.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        let address = |v4: Field, v6: Field| {
            let (v4, v6) = (FieldValue::from(self.value(v4)), FieldValue::from(self.value(v6)));
            if v4.is_zero() && !v6.is_zero() { IpAddr::V6(v6.to_ipv6()) } else { IpAddr::V4(v4.to_ipv4()) }
        };
        let tunnel = Tunnel {
            id: self.value(Field::TunnelId) as u64,
            src: address(Field::TunSrc, Field::TunIpv6Src),
            dst: address(Field::TunDst, Field::TunIpv6Dst),
        };
        (tunnel.id != 0 || !tunnel.src.is_unspecified() || !tunnel.dst.is_unspecified()).then_some(tunnel)
    }
}

/// One line as Open vSwitch would head a trace: the port, then the headers from the outside in.
impl fmt::Display for Packet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "in_port={}", self.in_port())?;
        if let Some(tunnel) = self.tunnel() {
            write!(out, ",tun_id={:#x},tun_src={},tun_dst={}", tunnel.id, tunnel.src, tunnel.dst)?;
        }
        let value = |field| FieldValue::from(self.key.value(field));
        write!(out, ",{}>{}", value(Field::EthSrc).to_mac(), value(Field::EthDst).to_mac())?;
        for tag in &self.key.tags[..self.key.tag_count()] {
            write!(out, ",vlan={}", tag.tci & 0x0fff)?;
        }
        let eth_type = self.key.eth_type();
        let number = |field| value(field).to_u64();
        if self.key.is_arp() {
            let (op, spa, tpa) = (number(Field::ArpOp), value(Field::ArpSpa), value(Field::ArpTpa));
            return write!(out, ",arp op={op} {}>{}", spa.to_ipv4(), tpa.to_ipv4());
        }
        match eth_type {
            super::key::ETH_IPV4 => {
                let (src, dst) = (value(Field::Ipv4Src).to_ipv4(), value(Field::Ipv4Dst).to_ipv4());
                write!(out, ",ip {src}>{dst}")?;
            }
            super::key::ETH_IPV6 => {
                let (src, dst) = (value(Field::Ipv6Src).to_ipv6(), value(Field::Ipv6Dst).to_ipv6());
                write!(out, ",ipv6 {src}>{dst}")?;
            }
            _ => return write!(out, ",eth_type={eth_type:#06x}"),
        }
        write!(out, " ttl={}", number(Field::IpTtl))?;
        let ports = |src, dst| format!("{}>{}", number(src), number(dst));
        match (eth_type, number(Field::IpProto)) {
            (_, 6) => write!(out, ",tcp {}", ports(Field::TcpSrc, Field::TcpDst)),
            (_, 17) => write!(out, ",udp {}", ports(Field::UdpSrc, Field::UdpDst)),
            (_, 132) => write!(out, ",sctp {}", ports(Field::SctpSrc, Field::SctpDst)),
            (super::key::ETH_IPV4, 1) => write!(out, ",icmp type={}", number(Field::Icmpv4Type)),
            (super::key::ETH_IPV6, 58) => {
                let kind = number(Field::Icmpv6Type);
                write!(out, ",icmp6 type={kind}")?;
                if matches!(kind, 135 | 136) {
                    write!(out, " target={}", value(Field::NdTarget).to_ipv6())?;
                }
                Ok(())
            }
            (_, protocol) => write!(out, ",proto={protocol}"),
        }
    }
}

/// Source and destination address of a packet's IP header.
pub(super) fn addresses(key: &Key) -> Option<(IpAddr, IpAddr)> {
    let value = |field| FieldValue::from(key.value(field));
    match key.eth_type() {
        super::key::ETH_IPV4 => {
            Some((value(Field::Ipv4Src).to_ipv4().into(), value(Field::Ipv4Dst).to_ipv4().into()))
        }
        super::key::ETH_IPV6 => {
            Some((value(Field::Ipv6Src).to_ipv6().into(), value(Field::Ipv6Dst).to_ipv6().into()))
        }
        _ => None,
    }
}
