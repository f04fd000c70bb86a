//! `NORMAL`: a learning bridge with VLANs, as `xlate_normal` of Open vSwitch has it without bonds, mirrors, spanning
//! trees and multicast snooping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::key::{MAX_TAGS, TAG_PRESENT, Tag};
use super::pipeline::Pipeline;
use super::ports::NO_FLOOD;
use super::trace::RunError;
use crate::MacAddr;
use crate::wire::{Field, FieldValue, OfPort};

/// How long an address is kept without a packet from it, `other_config:mac-aging-time` unless somebody changed it.
const AGEING: Duration = Duration::from_secs(300);
/// Addresses that are kept, `other_config:mac-table-size` unless somebody changed it.
const ADDRESSES: usize = 8192;

/// Which VLANs a port carries for `NORMAL`: `vlan_mode`, `tag` and `trunks` of ovs-vswitchd.conf.db(5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PortVlan {
    /// All of them, tagged, and packets without a tag as they are; what a port does that nobody configured.
    #[default]
    All,
    /// This one, without a tag.
    Access(u16),
    /// These, tagged; packets without a tag are of VLAN 0.
    Trunk(BTreeSet<u16>),
    /// These, tagged, and this one as well, without a tag on the wire.
    NativeUntagged(u16, BTreeSet<u16>),
    /// These, tagged, and this one as well, to which packets without a tag belong.
    NativeTagged(u16, BTreeSet<u16>),
}

impl PortVlan {
    fn carries(&self, vlan: u16) -> bool {
        match self {
            PortVlan::All => true,
            PortVlan::Access(own) => *own == vlan,
            PortVlan::Trunk(vlans) => vlans.contains(&vlan),
            PortVlan::NativeUntagged(own, vlans) | PortVlan::NativeTagged(own, vlans) => {
                // Without a list a native port carries all of them.
                *own == vlan || vlans.is_empty() || vlans.contains(&vlan)
            }
        }
    }

    /// The tags that a packet has within the bridge; `None` if it may not come in by this port.
    fn admit(&self, tags: Tags) -> Option<Tags> {
        let vlan = tags.vlan();
        match self {
            PortVlan::All => Some(tags),
            PortVlan::Access(own) => (vlan == 0).then(|| Tags::only(*own, tags.0[0])),
            PortVlan::NativeUntagged(own, _) | PortVlan::NativeTagged(own, _) if vlan == 0 => {
                let mut inside = tags;
                inside.0[0] = Tags::only(*own, tags.0[0]).0[0];
                Some(inside)
            }
            _ => self.carries(vlan).then_some(tags),
        }
    }

    /// The tags with which a packet leaves by this port.
    fn emit(&self, tags: Tags) -> Tags {
        match self {
            PortVlan::Access(_) => Tags::only(0, tags.0[0]),
            PortVlan::NativeUntagged(own, _) if tags.vlan() == *own => {
                let mut outside = tags;
                outside.0[0].vid = 0;
                outside
            }
            _ => tags,
        }
    }
}

/// A tag taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Parts {
    tpid: u16,
    vid: u16,
    /// In its place in the control word.
    priority: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tags([Parts; MAX_TAGS]);

impl Tags {
    fn of(tags: &[Tag; MAX_TAGS]) -> Tags {
        let mut parts = [Parts::default(); MAX_TAGS];
        for (part, tag) in parts.iter_mut().zip(tags) {
            if !matches!(tag.tpid, 0x8100 | 0x88a8) || tag.tci & TAG_PRESENT == 0 {
                break;
            }
            *part = Parts { tpid: tag.tpid, vid: tag.tci & 0x0fff, priority: tag.tci & 0xe000 };
        }
        Tags(parts)
    }

    /// One tag, with type and priority of what was there.
    fn only(vid: u16, from: Parts) -> Tags {
        let mut parts = [Parts::default(); MAX_TAGS];
        parts[0] = Parts { vid, tpid: if from.tpid == 0 { 0x8100 } else { from.tpid }, ..from };
        Tags(parts)
    }

    fn vlan(&self) -> u16 {
        self.0[0].vid
    }

    /// As they are written: one of VLAN 0 is none, whatever its priority, unless `other_config:priority-tags` of the port
    /// wants it.
    fn written(&self, onto: &[Tag; MAX_TAGS]) -> [Tag; MAX_TAGS] {
        let mut tags = *onto;
        for (tag, part) in tags.iter_mut().zip(&self.0) {
            tag.tci = 0;
            if part.vid != 0 {
                tag.tci = part.vid | part.priority | TAG_PRESENT;
                tag.tpid = if part.tpid == 0 { 0x8100 } else { part.tpid };
            }
        }
        tags
    }
}

/// Where an address was heard last.
#[derive(Debug, Clone, Copy)]
struct Place {
    port: OfPort,
    heard: Duration,
}

/// The bridge's table of addresses, each in its VLAN.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(BTreeMap<(u16, MacAddr), Place>);

impl Addresses {
    fn learn(&mut self, vlan: u16, address: MacAddr, place: Place) {
        if self.0.len() >= ADDRESSES && !self.0.contains_key(&(vlan, address)) {
            let oldest = self.0.iter().min_by_key(|(_, place)| place.heard).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        self.0.insert((vlan, address), place);
    }

    fn find(&self, vlan: u16, address: MacAddr, now: Duration) -> Option<OfPort> {
        let place = self.0.get(&(vlan, address)).filter(|place| now < place.heard + AGEING)?;
        Some(place.port)
    }

    /// VLAN, address and port of each that is known at a time.
    pub(super) fn known(&self, now: Duration) -> impl Iterator<Item = (u16, MacAddr, OfPort)> {
        let known = self.0.iter().filter(move |(_, place)| now < place.heard + AGEING);
        known.map(|((vlan, address), place)| (*vlan, *address, place.port))
    }
}

/// True for addresses that bridges keep to themselves: those of IEEE 802.1D, and of protocols of Extreme and Cisco.
fn is_reserved(address: MacAddr) -> bool {
    let number = FieldValue::from(address).to_u64();
    number & !0xf == 0x0180_c200_0000
        || number & !0x7 == 0x0100_0ccc_ccc0
        || matches!(
            number,
            0x00e0_2b00_0000
                | 0x00e0_2b00_0004
                | 0x00e0_2b00_0006
                | 0x0100_0c00_0000
                | 0x0100_0ccc_cccc
                | 0x0100_0ccc_cccd
                | 0x0100_0ccd_cdcd
        )
}

impl Pipeline<'_> {
    pub(super) fn normal(&mut self) -> Result<(), RunError> {
        if self.switch.ports.is_empty() {
            return Err(self.unsupported("NORMAL without knowing the ports".to_owned()));
        }
        let in_port = self.packet.in_port();
        // What the controller sends comes by no port, and from nobody.
        let is_sent = matches!(in_port, OfPort::ANY | OfPort::CONTROLLER);
        let known = self.switch.ports.get(&in_port).map(|port| port.vlan.clone());
        let Some(vlans) = known.or(is_sent.then_some(PortVlan::All)) else {
            self.note(format!("port {in_port} does not exist, and nothing comes from it"));
            return Ok(());
        };
        if matches!(self.packet.key.eth_type(), 0x8100 | 0x88a8) && self.packet.key.tag_count() == 0 {
            self.note("half a VLAN tag: dropped");
            return Ok(());
        }
        let outside = Tags::of(&self.packet.key.tags);
        let Some(tags) = vlans.admit(outside) else {
            self.note(format!("port {in_port} does not take in VLAN {}", outside.vlan()));
            return Ok(());
        };
        let address = |field| FieldValue::from(self.packet.key.value(field)).to_mac();
        let (source, destination) = (address(Field::EthSrc), address(Field::EthDst));
        if !is_sent && is_reserved(destination) {
            self.note(format!("{destination} is reserved for bridges: dropped"));
            return Ok(());
        }
        let (vlan, now) = (tags.vlan(), self.switch.now);
        if !is_sent && !source.is_multicast() {
            let before = self.switch.addresses.find(vlan, source, now);
            let place = Place { port: in_port, heard: now };
            Arc::make_mut(&mut self.switch.addresses).learn(vlan, source, place);
            if before != Some(in_port) {
                self.note(format!("{source} in VLAN {vlan} is at port {in_port}"));
            }
        }
        let learned = if destination.is_multicast() {
            None
        } else {
            self.switch.addresses.find(vlan, destination, now)
        };
        match learned {
            Some(port) if port == in_port => {
                self.note(format!("{destination} is where it came from: dropped"))
            }
            Some(port) if !self.switch.ports.contains_key(&port) => {
                self.note(format!("{destination} was at port {port}, which is gone: dropped"));
            }
            Some(port) => {
                self.note(format!("{destination} in VLAN {vlan} is known to be at port {port}"));
                self.emit_tagged(port, tags);
            }
            None => {
                self.note(format!("nobody knows where {destination} is in VLAN {vlan}: flooding"));
                let others =
                    self.switch.ports.iter().filter(|(id, port)| {
                        **id != in_port && port.vlan.carries(vlan) && !port.has(NO_FLOOD)
                    });
                // An access port has room for one tag, its own.
                let others = others.filter(|(_, port)| {
                    !matches!(port.vlan, PortVlan::Access(_)) || tags.0[1] == Parts::default()
                });
                let mut others: Vec<OfPort> = others.map(|(id, _)| *id).collect();
                // As they were made, of which the bridge's own was the first; a later output_trunc cuts what is left of
                // the tags of the last.
                others.sort_by_key(|port| (*port != OfPort::LOCAL, *port));
                for port in others {
                    self.emit_tagged(port, tags);
                }
            }
        }
        Ok(())
    }

    /// Sends the frame out with the tags that the port wants; the packet keeps its own.
    fn emit_tagged(&mut self, port: OfPort, tags: Tags) {
        let own = self.packet.key.tags;
        let outside = self.switch.ports.get(&port).map_or(tags, |port| port.vlan.emit(tags));
        self.packet.key.tags = outside.written(&own);
        self.emit(port, None);
        self.packet.key.tags = own;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::flow::FlowEntry;
    use crate::packet::Frame;
    use crate::sim::Switch;
    use crate::wire::{Action, TableId};

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn bridge(ports: u32) -> Switch {
        let normal = FlowEntry::new(TableId(0), 0).apply([Action::Output(OfPort::NORMAL)]);
        Switch::new().with_ports((1..=ports).map(OfPort)).with_flows([normal]).unwrap()
    }

    fn frame(from: MacAddr, to: MacAddr) -> Frame {
        Frame::between(from, to).payload(&[0; 46])
    }

    fn sent(switch: &mut Switch, port: u32, frame: &Frame, at: u64) -> Vec<(u32, Vec<u8>)> {
        let (outputs, _) = switch.receive(OfPort(port), &frame.build(), Duration::from_secs(at));
        outputs.into_iter().map(|output| (output.port.0, output.frame)).collect()
    }

    #[test]
    fn an_address_is_flooded_learned_and_forgotten() {
        let mut switch = bridge(3);
        let to = |sent: Vec<(u32, Vec<u8>)>| sent.into_iter().map(|(port, _)| port).collect::<Vec<_>>();
        assert_eq!(to(sent(&mut switch, 1, &frame(A, B), 0)), [2, 3]);
        assert_eq!(to(sent(&mut switch, 2, &frame(B, A), 1)), [1]);
        assert_eq!(to(sent(&mut switch, 1, &frame(B, A), 1)), [0; 0], "back to where it came from");
        assert_eq!(to(sent(&mut switch, 3, &frame(A, B), 2)), [1], "who moves is found where he spoke last");
        assert_eq!(to(sent(&mut switch, 3, &frame(A, B), 302)), [1, 2]);
        assert_eq!(switch.learned().collect::<Vec<_>>(), [(0, A, OfPort(3))]);
    }

    #[test]
    fn vlans_are_kept_apart_and_tagged_as_each_port_wants() {
        let vlans = |list: &[u16]| list.iter().copied().collect::<BTreeSet<u16>>();
        let mut switch = bridge(5)
            .with_port_vlan(OfPort(1), PortVlan::Access(5))
            .with_port_vlan(OfPort(2), PortVlan::Access(6))
            .with_port_vlan(OfPort(3), PortVlan::Trunk(vlans(&[5, 6])))
            .with_port_vlan(OfPort(4), PortVlan::NativeUntagged(5, vlans(&[])))
            .with_port_vlan(OfPort(5), PortVlan::NativeTagged(5, vlans(&[7])));
        let plain = frame(A, B);
        let five = frame(A, B).vlan(5);
        let left = sent(&mut switch, 1, &plain, 0);
        assert_eq!(left, [(3, five.build()), (4, plain.build()), (5, five.build())]);
        assert_eq!(sent(&mut switch, 1, &five, 0), [], "an access port takes no tags");
        assert_eq!(sent(&mut switch, 3, &frame(A, B).vlan(9), 0), [], "a trunk takes its own");
        let answered = sent(&mut switch, 3, &frame(B, A).vlan(5), 1);
        assert_eq!(answered, [(1, frame(B, A).build())]);
        let other = sent(&mut switch, 3, &frame(B, A).vlan(6), 1);
        assert_eq!(other, [(2, frame(B, A).build()), (4, frame(B, A).vlan(6).build())]);
    }

    #[test]
    fn bridges_keep_their_addresses_to_themselves() {
        let mut switch = bridge(2);
        for (address, is_kept) in [
            ([0x01, 0x80, 0xc2, 0, 0, 0x0e], true),
            ([0x01, 0x80, 0xc2, 0, 0, 0x10], false),
            ([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcd], true),
            ([0xff; 6], false),
        ] {
            let left = sent(&mut switch, 1, &frame(A, MacAddr(address)), 0);
            assert_eq!(left.is_empty(), is_kept, "{address:02x?}");
        }
        assert_eq!(switch.learned().count(), 1);
    }
}
