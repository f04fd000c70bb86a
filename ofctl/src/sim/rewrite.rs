//! Writing changed fields back into a frame, with its checksums.
//!
//! The order, and the cases in which nothing is written, are those of Open vSwitch's `commit_odp_actions`, so
//! that a frame leaves the simulator as it leaves a switch.

use super::key::{Key, TAG_PRESENT};
use super::layout::{Layer3, Layout};
use crate::packet::checksum::{crc32c, updated, upper_layer};
use crate::wire::{Field, FieldValue};

/// A frame, where its headers are, and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rewriter {
    pub(super) frame: Vec<u8>,
    pub(super) layout: Layout,
    /// The fields as they stand in the frame.
    pub(super) written: Key,
}

/// Replaces bytes, and says what stood there; `None` if they were the same.
fn replace<const N: usize>(place: &mut [u8], new: [u8; N]) -> Option<[u8; N]> {
    let old: [u8; N] = place.try_into().expect("the place is as long as the value");
    place.copy_from_slice(&new);
    (old != new).then_some(old)
}

fn bytes<const N: usize>(value: u128) -> [u8; N] {
    FieldValue::from(value).low_bytes(N).try_into().expect("N is at most 16")
}

impl Rewriter {
    /// Writes whatever differs between `key` and the frame into the frame.
    pub(super) fn commit(&mut self, key: &Key) {
        if *key == self.written {
            return;
        }
        let changed =
            |fields: &[Field]| fields.iter().any(|&field| key.value(field) != self.written.value(field));
        if changed(&[Field::EthSrc, Field::EthDst]) {
            self.frame[..6].copy_from_slice(&bytes::<6>(key.value(Field::EthDst)));
            self.frame[6..12].copy_from_slice(&bytes::<6>(key.value(Field::EthSrc)));
        }
        // What is under labels is out of reach, and what is not any more is in reach only then.
        let is_labelled = key.label_count() > 0;
        if !is_labelled {
            self.labels(key);
        }
        let has_network = key.value(Field::IpProto) != 0;
        if let Some(l3) = self.layout.l3 {
            match self.layout.layer3 {
                Layer3::Arp if key.value(Field::ArpOp) != 0 => self.arp(l3, key),
                Layer3::Ipv4 { .. } if has_network && self.layout.protocol != 0 => self.ipv4(l3, key),
                Layer3::Ipv6 if has_network && self.layout.protocol != 0 => self.ipv6(l3, key),
                _ => {}
            }
        }
        if let (Some(l4), true) = (self.layout.l4, has_network && self.layout.end <= self.frame.len()) {
            self.ports(l4, key);
            self.icmp(l4, key);
        }
        if is_labelled {
            self.labels(key);
        }
        self.tags(key);
        self.written = key.clone();
    }

    /// Only what differs from what stood there is written: address translation changes the frame alone.
    fn changed(&self, key: &Key, field: Field) -> bool {
        key.value(field) != self.written.value(field)
    }

    fn arp(&mut self, l3: usize, key: &Key) {
        self.frame[l3 + 6..l3 + 8].copy_from_slice(&bytes::<2>(key.value(Field::ArpOp)));
        self.frame[l3 + 8..l3 + 14].copy_from_slice(&bytes::<6>(key.value(Field::ArpSha)));
        self.frame[l3 + 14..l3 + 18].copy_from_slice(&bytes::<4>(key.value(Field::ArpSpa)));
        self.frame[l3 + 18..l3 + 24].copy_from_slice(&bytes::<6>(key.value(Field::ArpTha)));
        self.frame[l3 + 24..l3 + 28].copy_from_slice(&bytes::<4>(key.value(Field::ArpTpa)));
    }

    /// Place of the upper layer's checksum that covers the addresses, unless it carries none.
    fn address_checksum(&self) -> Option<usize> {
        let l4 = self.layout.l4?;
        match self.layout.protocol {
            6 => Some(l4 + 16),
            17 => Some(l4 + 6).filter(|&at| self.frame[at..at + 2] != [0, 0]),
            58 if self.layout.layer3 == Layer3::Ipv6 => Some(l4 + 2),
            _ => None,
        }
    }

    fn update(&mut self, at: usize, old: &[u8], new: &[u8]) {
        let before = u16::from_be_bytes([self.frame[at], self.frame[at + 1]]);
        let mut after = updated(before, old, new);
        // Zero would say that there is no checksum, RFC 768.
        let udp = self.layout.protocol == 17 && self.layout.l4.is_some_and(|l4| at == l4 + 6);
        if udp && after == 0 {
            after = 0xffff;
        }
        self.frame[at..at + 2].copy_from_slice(&after.to_be_bytes());
    }

    fn ipv4(&mut self, l3: usize, key: &Key) {
        for (at, field) in [(12, Field::Ipv4Src), (16, Field::Ipv4Dst)] {
            if !self.changed(key, field) {
                continue;
            }
            let new = bytes::<4>(key.value(field));
            if let Some(old) = replace(&mut self.frame[l3 + at..l3 + at + 4], new) {
                if let Some(place) = self.address_checksum() {
                    self.update(place, &old, &new);
                }
                self.update(l3 + 10, &old, &new);
            }
        }
        let tos = (key.value(Field::IpDscp) << 2 | key.value(Field::IpEcn)) as u8;
        let version = self.frame[l3];
        if let Some(old) = replace(&mut self.frame[l3..l3 + 2], [version, tos]) {
            self.update(l3 + 10, &old, &[version, tos]);
        }
        let protocol = self.frame[l3 + 9];
        let new = [key.value(Field::IpTtl) as u8, protocol];
        if let Some(old) = replace(&mut self.frame[l3 + 8..l3 + 10], new) {
            self.update(l3 + 10, &old, &new);
        }
    }

    fn ipv6(&mut self, l3: usize, key: &Key) {
        for (at, field) in [(8, Field::Ipv6Src), (24, Field::Ipv6Dst)] {
            if !self.changed(key, field) {
                continue;
            }
            let new = bytes::<16>(key.value(field));
            if let Some(old) = replace(&mut self.frame[l3 + at..l3 + at + 16], new) {
                let covered = field == Field::Ipv6Src || !self.layout.routing_header;
                if let (Some(place), true) = (self.address_checksum(), covered) {
                    self.update(place, &old, &new);
                }
            }
        }
        let class = key.value(Field::IpDscp) << 2 | key.value(Field::IpEcn);
        let first = 6 << 28 | class << 20 | key.value(Field::Ipv6Label);
        self.frame[l3..l3 + 4].copy_from_slice(&bytes::<4>(first));
        self.frame[l3 + 7] = key.value(Field::IpTtl) as u8;
        // Even if the type was changed to another since: the fields were there when they were written.
        if let (58, Some(l4)) = (self.layout.protocol, self.layout.l4) {
            self.discovery_extensions(l3, l4, key);
            self.discovery(l4, key);
        }
    }

    /// The reserved word and the type of the first option. Open vSwitch sums the message up anew after this.
    fn discovery_extensions(&mut self, l3: usize, l4: usize, key: &Key) {
        let same = |field| key.value(field) == self.written.value(field);
        if (same(Field::NdReserved) && same(Field::NdOptionsType)) || self.layout.end < l4 + 24 {
            return;
        }
        self.frame[l4 + 4..l4 + 8].copy_from_slice(&bytes::<4>(key.value(Field::NdReserved)));
        if self.layout.end >= l4 + 32 {
            self.frame[l4 + 24] = key.value(Field::NdOptionsType) as u8;
        }
        self.frame[l4 + 2..l4 + 4].fill(0);
        let (addresses, message) = (&self.frame[l3 + 8..l3 + 40], &self.frame[l4..self.layout.end]);
        let checksum = upper_layer(addresses, 58, message);
        self.frame[l4 + 2..l4 + 4].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Target, and the address in the first link-layer address option: a message has one of them at most.
    fn discovery(&mut self, l4: usize, key: &Key) {
        let changed = |field| key.value(field) != self.written.value(field);
        if !(changed(Field::NdTarget) || changed(Field::NdSll) || changed(Field::NdTll))
            || self.layout.end < l4 + 24
        {
            return;
        }
        let new = bytes::<16>(key.value(Field::NdTarget));
        if let Some(old) = replace(&mut self.frame[l4 + 8..l4 + 24], new) {
            self.update(l4 + 2, &old, &new);
        }
        let mut at = l4 + 24;
        while at + 8 <= self.layout.end && self.frame[at + 1] != 0 {
            let field = match (self.frame[at], self.frame[at + 1]) {
                (1, 1) => Field::NdSll,
                (2, 1) => Field::NdTll,
                (_, length) => {
                    at += usize::from(length) * 8;
                    continue;
                }
            };
            let new = bytes::<6>(key.value(field));
            if let Some(old) = replace(&mut self.frame[at + 2..at + 8], new) {
                self.update(l4 + 2, &old, &new);
            }
            break;
        }
    }

    fn ports(&mut self, l4: usize, key: &Key) {
        let (source, destination, checksum) = match self.layout.protocol {
            6 => (Field::TcpSrc, Field::TcpDst, l4 + 16),
            17 => (Field::UdpSrc, Field::UdpDst, l4 + 6),
            132 => (Field::SctpSrc, Field::SctpDst, l4 + 8),
            _ => return,
        };
        let new = bytes::<4>(key.value(source) << 16 | key.value(destination));
        if !(self.changed(key, source) || self.changed(key, destination)) {
            return;
        }
        if self.layout.protocol == 132 {
            self.sctp(l4, new);
        } else if let Some(old) = replace(&mut self.frame[l4..l4 + 4], new)
            && (self.layout.protocol == 6 || self.frame[checksum..checksum + 2] != [0, 0])
        {
            self.update(checksum, &old, &new);
        }
    }

    /// A wrong checksum stays wrong by the same difference.
    fn sctp(&mut self, l4: usize, ports: [u8; 4]) {
        let right = |packet: &[u8]| crc32c(&[&packet[..8], &[0; 4], &packet[12..]]);
        let packet = &mut self.frame[l4..self.layout.end];
        let before = right(packet);
        packet[..4].copy_from_slice(&ports);
        let difference = before ^ right(packet);
        for (byte, change) in packet[8..12].iter_mut().zip(difference.to_be_bytes()) {
            *byte ^= change;
        }
    }

    fn icmp(&mut self, l4: usize, key: &Key) {
        let (kind, code) = match (self.layout.protocol, self.layout.layer3) {
            (1, Layer3::Ipv4 { .. }) => (Field::Icmpv4Type, Field::Icmpv4Code),
            (58, Layer3::Ipv6) => (Field::Icmpv6Type, Field::Icmpv6Code),
            _ => return,
        };
        let new = [key.value(kind) as u8, key.value(code) as u8];
        if let Some(old) = replace(&mut self.frame[l4..l4 + 2], new) {
            self.update(l4 + 2, &old, &new);
        }
    }

    /// Takes off the labels that are not wanted, and puts the wanted ones on. One that takes the place of one leaves
    /// the Ethernet type as it is.
    fn labels(&mut self, key: &Key) {
        let (old, new) = (self.written.label_count(), key.label_count());
        let common =
            (1..=old.min(new)).take_while(|i| self.written.labels[old - i] == key.labels[new - i]).count();
        let (off, on) = (old - common, new - common);
        let at = 14 + 4 * self.written.tag_count();
        if off + on == 0 || self.frame.len() < at + 4 * off {
            return;
        }
        if (off, on) != (1, 1) {
            self.frame[at - 2..at].copy_from_slice(&key.eth_type().to_be_bytes());
        }
        let labels = key.labels[..on].iter().flat_map(|label| label.to_be_bytes());
        self.frame.splice(at..at + 4 * off, labels.collect::<Vec<_>>());
        self.shift(4 * on, 4 * off);
    }

    /// Moves what is known of the headers behind the Ethernet header.
    fn shift(&mut self, added: usize, removed: usize) {
        let moved = |at: usize| (at + added).saturating_sub(removed);
        self.layout.l3 = self.layout.l3.map(moved);
        self.layout.l4 = self.layout.l4.map(moved);
        self.layout.end = moved(self.layout.end);
    }

    /// Takes off the tags that are not wanted, from the outside, and puts the wanted ones on.
    fn tags(&mut self, key: &Key) {
        let (old, new) = (self.written.tag_count(), key.tag_count());
        let common =
            (1..=old.min(new)).take_while(|i| self.written.tags[old - i] == key.tags[new - i]).count();
        let off = (old - common) * 4;
        self.frame.drain(12..12 + off);
        let mut on = Vec::with_capacity(8);
        for tag in &key.tags[..new - common] {
            on.extend_from_slice(&tag.tpid.to_be_bytes());
            on.extend_from_slice(&(tag.tci & !TAG_PRESENT).to_be_bytes());
        }
        let added = on.len();
        self.frame.splice(12..12, on);
        self.shift(added, off);
    }
}
