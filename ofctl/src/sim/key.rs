//! The fields of one packet, as the tables see and the actions change them.

use crate::wire::{Field, FieldValue, OfPort, Prerequisite, SubField};

/// VLAN tags that are looked into; Open vSwitch keeps two in its flow key.
pub(super) const MAX_TAGS: usize = 2;
/// The bit of the tag control word that says in a flow key that the tag is there.
pub(super) const TAG_PRESENT: u16 = 0x1000;
/// What `ActsetOutput` says while the action set has no output, `OFPP_UNSET` of OpenFlow 1.5.1 §7.2.1.
pub(super) const PORT_UNSET: OfPort = OfPort(0xffff_fff7);

pub(super) const ETH_ARP: u16 = 0x0806;
pub(super) const ETH_RARP: u16 = 0x8035;
pub(super) const ETH_IPV4: u16 = 0x0800;
pub(super) const ETH_IPV6: u16 = 0x86dd;
pub(super) const FRAGMENT_ANY: u128 = 1;
pub(super) const FRAGMENT_LATER: u128 = 2;

/// MPLS labels that are looked into, as in Open vSwitch.
pub(super) const MAX_LABELS: usize = 3;
/// The bit of a label stack entry that says that it is the last, RFC 3032 §2.1.
pub(super) const BOTTOM: u32 = 0x100;

/// True for the Ethernet types of MPLS.
pub(super) fn is_mpls(eth_type: u16) -> bool {
    matches!(eth_type, 0x8847 | 0x8848)
}

/// A VLAN tag: Ethernet type and control word, the latter with [`TAG_PRESENT`] for a tag that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tag {
    pub(super) tpid: u16,
    pub(super) tci: u16,
}

/// The value of every field, zero where the packet has none.
///
/// It is read from the frame once. Actions change it here alone, and an output writes the difference into the
/// frame: a changed ICMP type, say, does not bring other fields into being. Open vSwitch works the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// By the field's number; the fields that are another name for others stay zero.
    values: Vec<u128>,
    pub(super) tags: [Tag; MAX_TAGS],
    /// Label stack entries, the outermost first.
    pub(super) labels: [u32; MAX_LABELS],
}

/// Where a field's bits are kept: field, shift, and number of bits, for those that are names for parts of others.
fn registers(field: Field) -> Option<(Field, u8)> {
    use Field::*;
    Some(match field {
        XReg0 => (Reg0, 2),
        XReg1 => (Reg2, 2),
        XReg2 => (Reg4, 2),
        XReg3 => (Reg6, 2),
        XReg4 => (Reg8, 2),
        XReg5 => (Reg10, 2),
        XReg6 => (Reg12, 2),
        XReg7 => (Reg14, 2),
        XxReg0 => (Reg0, 4),
        XxReg1 => (Reg4, 4),
        XxReg2 => (Reg8, 4),
        XxReg3 => (Reg12, 4),
        _ => return None,
    })
}

/// An OpenFlow 1.0 port number as it is written with 32 bits.
pub(super) fn port_from_16(port: u16) -> OfPort {
    if port >= 0xff00 { OfPort(u32::from(port) | 0xffff_0000) } else { OfPort(port.into()) }
}

impl Key {
    /// No packet at all: everything zero.
    pub(super) fn new() -> Self {
        let mut key =
            Key { values: vec![0; Field::all().len()], tags: Default::default(), labels: [0; MAX_LABELS] };
        key.put(Field::ActsetOutput, PORT_UNSET.0);
        key
    }

    /// Writes a field that is no other name.
    pub(super) fn put(&mut self, field: Field, value: impl Into<FieldValue>) {
        self.values[field as usize] = value.into().to_u128();
    }

    fn slot(&self, field: Field) -> u128 {
        self.values[field as usize]
    }

    /// The value of a field; zero where the packet has none.
    pub(super) fn value(&self, field: Field) -> u128 {
        match field {
            Field::VlanVid => (self.tags[0].tci & 0x1fff).into(),
            Field::VlanPcp => (self.tags[0].tci >> 13).into(),
            Field::VlanTci => self.tags[0].tci.into(),
            Field::MplsLabel => (self.labels[0] >> 12).into(),
            Field::MplsTc => (self.labels[0] >> 9 & 7).into(),
            Field::MplsBos => (self.labels[0] >> 8 & 1).into(),
            Field::MplsTtl => (self.labels[0] & 0xff).into(),
            Field::IpTos => self.slot(Field::IpDscp) << 2,
            Field::InPort16 => self.slot(Field::InPort) & 0xffff,
            _ => match registers(field) {
                None => self.slot(field),
                Some((first, count)) => {
                    let first = first as usize;
                    self.values[first..first + usize::from(count)].iter().fold(0, |all, reg| all << 32 | reg)
                }
            },
        }
    }

    /// Writes a field, whether or not the packet has it.
    pub(super) fn set(&mut self, field: Field, value: u128) {
        match field {
            Field::VlanVid => self.set_tci(self.tags[0].tci & !0x1fff | (value as u16 & 0x1fff)),
            Field::VlanPcp => {
                self.set_tci(self.tags[0].tci & 0x0fff | TAG_PRESENT | (value as u16 & 7) << 13);
            }
            Field::VlanTci => self.set_tci(value as u16),
            Field::MplsLabel => self.set_label(12, 0xf_ffff, value),
            Field::MplsTc => self.set_label(9, 7, value),
            Field::MplsBos => self.set_label(8, 1, value),
            Field::MplsTtl => self.set_label(0, 0xff, value),
            Field::IpTos => self.put(Field::IpDscp, value >> 2 & 0x3f),
            Field::InPort16 => self.put(Field::InPort, port_from_16(value as u16)),
            _ => match registers(field) {
                None => self.put(field, value & field.exact_mask().to_u128()),
                Some((first, count)) => {
                    let first = first as usize;
                    for (i, reg) in
                        self.values[first..first + usize::from(count)].iter_mut().rev().enumerate()
                    {
                        *reg = value >> (32 * i) & 0xffff_ffff;
                    }
                }
            },
        }
    }

    fn set_tci(&mut self, tci: u16) {
        let tag = &mut self.tags[0];
        tag.tci = tci;
        if tag.tpid == 0 && tci != 0 {
            tag.tpid = 0x8100;
        }
    }

    fn set_label(&mut self, shift: u32, mask: u32, value: u128) {
        self.labels[0] = self.labels[0] & !(mask << shift) | (value as u32 & mask) << shift;
    }

    /// Label stack entries that are there.
    pub(super) fn label_count(&self) -> usize {
        if !is_mpls(self.eth_type()) {
            return 0;
        }
        match self.labels.iter().position(|label| label & BOTTOM != 0) {
            Some(last) => last + 1,
            None => self.labels.iter().filter(|label| **label != 0).count(),
        }
    }

    /// Puts a label outside the others. The first takes class and TTL of what it is put on, which cannot be looked
    /// into any more.
    pub(super) fn push_label(&mut self, eth_type: u16) {
        let count = self.label_count();
        if count > 0 {
            self.labels = [self.labels[0] & !BOTTOM, self.labels[0], self.labels[1]];
        } else {
            let (mut label, mut class, mut ttl) = (0, 0, 64);
            if self.is_ip() {
                class = self.slot(Field::IpDscp) as u32 & 7;
                ttl = match self.slot(Field::IpTtl) as u32 {
                    0 => ttl,
                    known => known,
                };
            }
            if self.eth_type() == ETH_IPV6 {
                label = 2;
            }
            self.labels = [label << 12 | class << 9 | BOTTOM | ttl, 0, 0];
            self.forget_network();
        }
        self.put(Field::EthType, eth_type);
    }

    /// Takes the outermost label off; false if what is below is not known.
    pub(super) fn pop_label(&mut self, eth_type: u16) -> bool {
        let count = self.label_count();
        if count == MAX_LABELS && self.labels[count - 1] & BOTTOM == 0 {
            return false;
        }
        if count > 0 {
            self.labels = [self.labels[1], self.labels[2], 0];
            self.put(Field::EthType, eth_type);
        }
        true
    }

    /// Clears what stands behind the Ethernet header.
    fn forget_network(&mut self) {
        for field in Field::all() {
            if (Field::Ipv4Src as usize..=Field::ArpTha as usize).contains(&(field as usize)) {
                self.put(field, 0u8);
            }
        }
    }

    /// Reads some bits of a field.
    pub(super) fn bits(&self, part: SubField) -> u128 {
        self.value(part.field).checked_shr(part.start.into()).unwrap_or(0) & ones(part.n_bits)
    }

    /// Writes some bits of a field.
    pub(super) fn set_bits(&mut self, part: SubField, value: u128) {
        let mask = ones(part.n_bits).checked_shl(part.start.into()).unwrap_or(0);
        let moved = value.checked_shl(part.start.into()).unwrap_or(0);
        self.set(part.field, self.value(part.field) & !mask | moved & mask);
    }

    pub(super) fn in_port(&self) -> OfPort {
        OfPort(self.slot(Field::InPort) as u32)
    }

    pub(super) fn eth_type(&self) -> u16 {
        self.slot(Field::EthType) as u16
    }

    pub(super) fn is_ip(&self) -> bool {
        matches!(self.eth_type(), ETH_IPV4 | ETH_IPV6)
    }

    pub(super) fn is_arp(&self) -> bool {
        matches!(self.eth_type(), ETH_ARP | ETH_RARP)
    }

    pub(super) fn is_fragment(&self) -> bool {
        self.slot(Field::IpFrag) & FRAGMENT_ANY != 0
    }

    pub(super) fn is_later_fragment(&self) -> bool {
        self.slot(Field::IpFrag) & FRAGMENT_LATER != 0
    }

    /// Tags that are there.
    pub(super) fn tag_count(&self) -> usize {
        self.tags.iter().take_while(|tag| tag.tci & TAG_PRESENT != 0).count()
    }

    /// Puts an empty tag outside the others. Beyond [`MAX_TAGS`] the innermost is lost, as in Open vSwitch.
    pub(super) fn push_tag(&mut self, tpid: u16) {
        self.tags = [Tag { tpid, tci: TAG_PRESENT }, self.tags[0]];
    }

    /// Takes the outermost tag away, if there is one.
    pub(super) fn pop_tag(&mut self) {
        if self.tag_count() > 0 {
            self.tags =
                if self.tag_count() > 1 { [self.tags[1], Tag::default()] } else { Default::default() };
        }
    }

    /// True if the packet has what the field needs, OpenFlow 1.3.5 §7.2.3.6.
    pub(super) fn meets(&self, prerequisite: Prerequisite) -> bool {
        let protocol =
            |number| self.is_ip() && self.slot(Field::IpProto) == number && !self.is_later_fragment();
        let icmpv6 = || self.eth_type() == ETH_IPV6 && protocol(58);
        let discovery = |kind: u128| {
            icmpv6() && self.slot(Field::Icmpv6Type) == kind && self.slot(Field::Icmpv6Code) == 0
        };
        match prerequisite {
            Prerequisite::None => true,
            Prerequisite::VlanVid => self.tags[0].tci & TAG_PRESENT != 0,
            Prerequisite::Ipv4 => self.eth_type() == ETH_IPV4,
            Prerequisite::Ipv6 => self.eth_type() == ETH_IPV6,
            Prerequisite::Ip => self.is_ip(),
            Prerequisite::Arp => self.is_arp(),
            Prerequisite::Mpls => matches!(self.eth_type(), 0x8847 | 0x8848),
            Prerequisite::Nsh => self.eth_type() == 0x894f,
            Prerequisite::Tcp => protocol(6),
            Prerequisite::Udp => protocol(17),
            Prerequisite::Sctp => protocol(132),
            Prerequisite::Icmpv4 => self.eth_type() == ETH_IPV4 && protocol(1),
            Prerequisite::Icmpv6 => icmpv6(),
            Prerequisite::Nd => discovery(135) || discovery(136),
            Prerequisite::NdSolicit => discovery(135),
            Prerequisite::NdAdvert => discovery(136),
            // New, established, or a reply: the packet has a connection.
            Prerequisite::Ct => self.slot(Field::CtState) & 0x0b != 0,
        }
    }
}

/// That many low bits set.
pub(super) fn ones(n_bits: u16) -> u128 {
    match n_bits {
        128.. => u128::MAX,
        n => (1 << n) - 1,
    }
}
