//! The actions `ct` and `ct_clear`, and resubmits that exchange the packet's tuple for its connection's.

use std::net::IpAddr;
use std::sync::Arc;

use super::conntrack::{Request, Tracked};
use super::hash;
use super::key::{ETH_IPV4, Key, ones, port_from_16};
use super::nat::NatSpec;
use super::packet::Packet;
use super::pipeline::{Pipeline, resubmit_port};
use super::trace::RunError;
use crate::wire::{Action, Ct, CtFlags, CtZone, Field, OfPort, TableId};

/// What a resubmit's port says that leaves it as it is, `OFPP_IN_PORT` in 16 bits.
const SAME_PORT: OfPort = OfPort::IN_PORT;

impl Key {
    /// Writes what tracking said into the fields.
    pub(super) fn set_tracked(&mut self, seen: &Tracked) {
        self.clear_tracked();
        self.put(Field::CtState, seen.state);
        self.put(Field::CtZone, seen.zone);
        self.put(Field::CtMark, seen.mark);
        self.put(Field::CtLabel, seen.label);
        let Some((protocol, src, dst, src_port, dst_port)) = seen.original else { return };
        self.put(Field::CtNwProto, protocol);
        for (address, v4, v6) in
            [(src, Field::CtNwSrc, Field::CtIpv6Src), (dst, Field::CtNwDst, Field::CtIpv6Dst)]
        {
            match address {
                IpAddr::V4(address) => self.put(v4, address),
                IpAddr::V6(address) => self.put(v6, address),
            }
        }
        self.put(Field::CtTpSrc, src_port);
        self.put(Field::CtTpDst, dst_port);
    }

    pub(super) fn clear_tracked(&mut self) {
        for field in Field::all() {
            if (Field::CtState as usize..=Field::CtTpDst as usize).contains(&(field as usize)) {
                self.put(field, 0u8);
            }
        }
    }

    /// Exchanges addresses, protocol and ports for those of the connection's first packet.
    fn exchange_tuple(&mut self) {
        let addresses = match self.eth_type() {
            ETH_IPV4 => [(Field::Ipv4Src, Field::CtNwSrc), (Field::Ipv4Dst, Field::CtNwDst)],
            _ => [(Field::Ipv6Src, Field::CtIpv6Src), (Field::Ipv6Dst, Field::CtIpv6Dst)],
        };
        let was = hash::ports(self);
        for (a, b) in addresses.into_iter().chain([(Field::IpProto, Field::CtNwProto)]) {
            let (x, y) = (self.value(a), self.value(b));
            self.put(a, y);
            self.put(b, x);
        }
        // The ports are those of the protocol that the connection's first packet has.
        let fields = match (self.eth_type(), self.value(Field::IpProto)) {
            (_, 6) => Some((Field::TcpSrc, Field::TcpDst)),
            (_, 17) => Some((Field::UdpSrc, Field::UdpDst)),
            (_, 132) => Some((Field::SctpSrc, Field::SctpDst)),
            (ETH_IPV4, 1) => Some((Field::Icmpv4Type, Field::Icmpv4Code)),
            (_, 58) => Some((Field::Icmpv6Type, Field::Icmpv6Code)),
            _ => None,
        };
        if let Some((src, dst)) = fields {
            self.set(src, self.value(Field::CtTpSrc));
            self.set(dst, self.value(Field::CtTpDst));
        }
        self.put(Field::CtTpSrc, was.0);
        self.put(Field::CtTpDst, was.1);
    }
}

impl Pipeline<'_> {
    /// `ct`, ovs-actions(7).
    pub(super) fn ct(&mut self, ct: &Ct) -> Result<(), RunError> {
        if self.packet.key.is_fragment() && waits(self.packet.frame()) {
            let what = "ct of a fragment that waits for the others: nothing is put together here";
            return Err(self.unsupported(what.to_owned()));
        }
        let zone = match ct.zone {
            CtZone::Number(number) => number,
            CtZone::Field(part) => self.packet.key.bits(part) as u16,
        };
        if self.dropped.is_some() {
            // The datapath does not come here.
            self.packet.key.clear_tracked();
            self.tracked = false;
            return Ok(());
        }
        // The actions within write the connection's fields, not the packet's.
        let before = self.packet.key.clone();
        let (mut mark, mut label) = (0, 0);
        let mut nat = None;
        for action in &ct.actions {
            let written = match action {
                Action::Nat(spec) => {
                    nat = Some(NatSpec::new(spec));
                    continue;
                }
                Action::SetField(field, _) => (*field, field.exact_mask().to_u128()),
                Action::SetMasked(masked) => (masked.field, masked.mask.to_u128()),
                Action::RegLoad { dst, .. } | Action::RegMove { dst, .. } => {
                    (dst.field, ones(dst.n_bits) << dst.start)
                }
                other => return Err(self.unsupported(super::trace::action_text(other))),
            };
            match written {
                (Field::CtMark, mask) => mark |= mask,
                (_, mask) => label |= mask,
            }
            self.action(action)?;
        }
        let value = |field: Field, mask: u128| self.packet.key.value(field) & mask;
        let (mark_value, label_value) = (value(Field::CtMark, mark), value(Field::CtLabel, label));
        self.packet.key = before;
        self.packet.commit();
        let request = Request {
            zone,
            commit: ct.flags.contains(CtFlags::COMMIT),
            force: ct.flags.contains(CtFlags::FORCE),
            mark: (mark != 0).then_some((mark_value as u32, mark as u32)),
            label: (label != 0).then_some((label_value, label)),
            nat,
        };
        let now = self.switch.now;
        let before = self.packet.frame().to_vec();
        let connections = Arc::make_mut(&mut self.switch.connections);
        // What is translated changes in the frame only: the fields stay as they are until it goes round.
        connections.track(&mut self.packet.rewriter.frame, &mut self.seen, &request, now);
        let state = self.seen.state;
        self.note(format!("zone {zone}: {}", state_text(state)));
        if ct.alg != 0 {
            let name = algorithm(ct.alg);
            self.note(format!("alg={name}: connections that the payload announces are not expected here"));
        }
        if self.packet.frame() != before {
            let translated = Packet::new(self.packet.in_port(), self.packet.frame());
            self.note(format!("translated to {translated}"));
        }
        if let Some(table) = ct.table {
            let mut copy: Packet = self.packet.clone();
            copy.read_anew();
            copy.key.set_tracked(&self.seen);
            let seen = self.seen;
            self.fork(table, copy, true);
            self.seen = seen;
        }
        self.packet.key.clear_tracked();
        self.tracked = false;
        Ok(())
    }

    /// `ct_clear`.
    pub(super) fn ct_clear(&mut self) {
        if self.tracked {
            self.tracked = false;
            self.seen = Tracked::default();
            self.packet.key.clear_tracked();
        }
    }

    /// `resubmit(PORT,TABLE,ct)`: the look-up sees the connection's first packet; what is found does not.
    pub(super) fn resubmit_ct(&mut self, port: u16, table: TableId) -> Result<(), RunError> {
        let in_port = match port_from_16(port) {
            SAME_PORT => self.packet.in_port(),
            _ => resubmit_port(port, &self.packet),
        };
        if !self.packet.key.is_ip() || self.packet.key.value(Field::CtNwProto) == 0 {
            self.note("the packet has no connection whose first packet could be looked up");
            return Ok(());
        }
        let table = if table == TableId::ALL { self.table } else { table };
        self.check_limits()?;
        let own = self.packet.key.clone();
        self.packet.key.exchange_tuple();
        let rule = self.find(table, in_port);
        self.packet.key = own;
        self.shown_depth += 1;
        self.carry_out(table, rule, table <= self.table)?;
        self.shown_depth -= 1;
        Ok(())
    }
}

/// The sizes of IPv4 and IPv6 packets below which a fragment that is not the last is none to Open vSwitch's userspace
/// datapath (`ipf-set-min-frag`, ovs-vswitchd(8)): tracking it finds it invalid.
const LEAST_FRAGMENT: [usize; 2] = [1200, 1280];

/// True if tracking would keep this fragment until it has the datagram's others.
fn waits(frame: &[u8]) -> bool {
    let mut l3 = frame.get(12..).unwrap_or_default();
    while let [0x81, 0x00, ..] | [0x88, 0xa8, ..] = l3 {
        l3 = l3.get(4..).unwrap_or_default();
    }
    let word = |at: usize| l3.get(at..at + 2).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]));
    // Behind the Ethernet type. In IPv6, the fragment header comes first, or it is taken as the last.
    let (length, is_last, least) = match word(0) {
        0x0800 => (usize::from(word(4)), word(8) & 0x2000 == 0, LEAST_FRAGMENT[0]),
        _ => (40 + usize::from(word(6)), l3.get(8) != Some(&44) || word(44) & 1 == 0, LEAST_FRAGMENT[1]),
    };
    is_last || length >= least
}

/// The name of a number of `ct`'s `alg`, which is the protocol's well-known port.
fn algorithm(number: u16) -> String {
    match number {
        21 => "ftp".to_owned(),
        69 => "tftp".to_owned(),
        other => other.to_string(),
    }
}

/// The state's bits by their names, ovs-fields(7).
fn state_text(state: u8) -> String {
    const NAMES: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| state & 1 << bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}
