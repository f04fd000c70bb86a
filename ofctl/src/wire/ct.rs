//! Connection tracking as actions: `NXAST_CT` and `NXAST_NAT`, ovs-actions(7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::action::Action;
use super::action_codec::{Depth, nicira_header, pack_bits, put_nicira, subtype, unpack_bits};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::{Field, SubField};
use super::ids::TableId;
use super::oxm;

/// `NX_CT_F_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CtFlags(pub u16);

impl CtFlags {
    /// `NX_CT_F_COMMIT`: remember the connection.
    pub const COMMIT: CtFlags = CtFlags(1);
    /// `NX_CT_F_FORCE`: forget one that began in the other direction.
    pub const FORCE: CtFlags = CtFlags(2);

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: CtFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which connections a `ct` knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtZone {
    /// This zone.
    Number(u16),
    /// The zone whose number stands in a field, 16 bits of it.
    Field(SubField),
}

/// `NXAST_CT`: through connection tracking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ct {
    /// Whether to remember.
    pub flags: CtFlags,
    /// Zone.
    pub zone: CtZone,
    /// Where a copy of the packet goes on, with its connection's state known; `None` for nowhere.
    pub table: Option<TableId>,
    /// Well-known port of the protocol whose related connections are followed; 21 for FTP, 69 for TFTP, 0 for none.
    pub alg: u16,
    /// [`Action::Nat`] first, if any, and then writes to the connection's mark and label.
    pub actions: Vec<Action>,
}

impl Default for Ct {
    /// `ct()`: zone 0, nothing committed, nowhere to go on.
    fn default() -> Self {
        Ct { flags: CtFlags(0), zone: CtZone::Number(0), table: None, alg: 0, actions: Vec::new() }
    }
}

impl Ct {
    /// `NX_CT_RECIRC_NONE`.
    const NO_TABLE: u8 = 0xff;

    /// True for the fields of the connection itself, the only ones that actions in here may write.
    fn is_written(field: Field) -> bool {
        matches!(field, Field::CtMark | Field::CtLabel)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (header, zone) = match self.zone {
            CtZone::Number(number) => (0, number),
            CtZone::Field(bits) => match bits.field.wire().nxm {
                0 => return Err(EncodeError::FieldInAction { field: bits.field.name(), action: "ct" }),
                header => (header, pack_bits(bits)),
            },
        };
        let mut fixed = [0; 24];
        fixed[..10].copy_from_slice(&nicira_header(24, subtype::CT));
        fixed[10..12].copy_from_slice(&self.flags.0.to_be_bytes());
        fixed[12..16].copy_from_slice(&header.to_be_bytes());
        fixed[16..18].copy_from_slice(&zone.to_be_bytes());
        fixed[18] = self.table.map_or(Self::NO_TABLE, |table| table.0);
        fixed[22..].copy_from_slice(&self.alg.to_be_bytes());
        let mut out = Nested::begin(out, 2, Padding::Counted);
        out.put(&fixed);
        self.actions.iter().try_for_each(|action| action.encode(&mut out))
    }

    pub(super) fn take(body: &mut Reader<'_>, depth: Depth) -> Result<Option<Ct>, DecodeError> {
        let flags = CtFlags(body.u16()?);
        let bad = || DecodeError::Refused { what: "ct", error: "OFPBAC_BAD_ARGUMENT" };
        if flags.contains(CtFlags::FORCE) && !flags.contains(CtFlags::COMMIT) {
            return Err(bad());
        }
        let by_number = body.peek().starts_with(&[0; 4]);
        let zone = if by_number {
            body.skip(4)?;
            CtZone::Number(body.u16()?)
        } else {
            let field = oxm::take_action_header(body)?;
            let Some(bits) = unpack_bits(field, body.u16()?)? else { return Ok(None) };
            if bits.n_bits != 16 {
                return Err(DecodeError::Refused { what: "ct zone", error: "OFPBAC_BAD_SET_LEN" });
            }
            CtZone::Field(bits)
        };
        let table = Some(body.u8()?).filter(|&table| table != Self::NO_TABLE).map(TableId);
        body.skip(3)?;
        let alg = body.u16()?;
        let nested = body.peek().len();
        let actions = Action::take_nested(body.sub("ct", nested)?, depth.deeper("ct")?)?;
        let allowed = |action: &Action| match action {
            Action::Nat(_) | Action::Unknown(_) => true,
            Action::SetField(field, _) => Self::is_written(*field),
            Action::RegLoad { dst, .. } | Action::RegMove { dst, .. } => Self::is_written(dst.field),
            Action::SetMasked(masked) => Self::is_written(masked.field),
            _ => false,
        };
        if !actions.iter().all(allowed) {
            return Err(bad());
        }
        if !flags.contains(CtFlags::COMMIT) {
            let plain = |action: &Action| matches!(action, Action::Nat(nat) if nat.is_plain());
            let unknown = |action: &Action| matches!(action, Action::Unknown(_));
            if !actions.iter().all(|action| plain(action) || unknown(action)) {
                return Err(bad());
            }
        }
        Ok(Some(Ct { flags, zone, table, alg, actions }))
    }
}

/// `NX_NAT_F_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NatFlags(pub u16);

impl NatFlags {
    /// `NX_NAT_F_SRC`: the source is rewritten.
    pub const SRC: NatFlags = NatFlags(1);
    /// `NX_NAT_F_DST`: the destination is rewritten.
    pub const DST: NatFlags = NatFlags(2);
    /// `NX_NAT_F_PERSISTENT`.
    pub const PERSISTENT: NatFlags = NatFlags(4);
    /// `NX_NAT_F_PROTO_HASH`: ports by a hash.
    pub const PROTO_HASH: NatFlags = NatFlags(8);
    /// `NX_NAT_F_PROTO_RANDOM`: ports at random.
    pub const PROTO_RANDOM: NatFlags = NatFlags(16);

    const ALL: u16 = 31;

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: NatFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Addresses and ports that connections are rewritten to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatRange {
    /// First or only address; not all zeros.
    pub first: IpAddr,
    /// Last address, of the same version.
    pub last: Option<IpAddr>,
    /// First or only port, and the last; not 0.
    pub ports: Option<(u16, Option<u16>)>,
}

/// `NXAST_NAT`: address translation of the connection that the enclosing [`Ct`] commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nat {
    /// What is rewritten, and how.
    pub flags: NatFlags,
    /// To what; `None` as the connection has it.
    pub range: Option<NatRange>,
}

/// `NX_NAT_RANGE_*`.
mod range {
    pub(super) const IPV4_MIN: u16 = 1;
    pub(super) const IPV4_MAX: u16 = 2;
    pub(super) const IPV6_MIN: u16 = 4;
    pub(super) const IPV6_MAX: u16 = 8;
    pub(super) const PROTO_MIN: u16 = 16;
    pub(super) const PROTO_MAX: u16 = 32;
}

fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.put(&address.octets()),
        IpAddr::V6(address) => out.put(&address.octets()),
    }
}

impl Nat {
    /// `nat` without flags and range: what the connection's commit said.
    pub fn is_plain(&self) -> bool {
        *self == Nat::default()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = put_nicira(out, subtype::NAT);
        out.put_u16(0);
        out.put_u16(self.flags.0);
        let Some(NatRange { first, last, ports }) = self.range else { return out.put_u16(0) };
        let (min, max) = if first.is_ipv4() {
            (range::IPV4_MIN, range::IPV4_MAX)
        } else {
            (range::IPV6_MIN, range::IPV6_MAX)
        };
        let ports_present = match ports {
            None => 0,
            Some((_, None)) => range::PROTO_MIN,
            Some((_, Some(_))) => range::PROTO_MIN | range::PROTO_MAX,
        };
        out.put_u16(min | last.map_or(0, |_| max) | ports_present);
        put_address(first, &mut out);
        if let Some(last) = last {
            put_address(last, &mut out);
        }
        if let Some((first, last)) = ports {
            out.put_u16(first);
            if let Some(last) = last {
                out.put_u16(last);
            }
        }
    }

    pub(super) fn take(body: &mut Reader<'_>) -> Result<Option<Nat>, DecodeError> {
        body.skip(2)?;
        let flags = NatFlags(body.u16()?);
        let present = body.u16()?;
        let both = |a: NatFlags, b: NatFlags| flags.contains(a) && flags.contains(b);
        let unknown = flags.0 & !NatFlags::ALL != 0;
        if unknown || both(NatFlags::SRC, NatFlags::DST) || both(NatFlags::PROTO_HASH, NatFlags::PROTO_RANDOM)
        {
            return Err(Self::bad());
        }
        // Too short for what it says it holds is a bad argument too, and not a bad length.
        let range = Self::take_range(present, body).map_err(|_| Self::bad())?;
        // What Open vSwitch does not look at is not looked at here; it is kept by carrying the whole.
        body.rest();
        Ok(Some(Nat { flags, range }))
    }

    fn bad() -> DecodeError {
        DecodeError::Refused { what: "nat", error: "OFPBAC_BAD_ARGUMENT" }
    }

    fn take_range(present: u16, body: &mut Reader<'_>) -> Result<Option<NatRange>, DecodeError> {
        use range::*;
        let has = |bits: u16| present & bits != 0;
        let (first, last): (IpAddr, Option<IpAddr>) = if has(IPV4_MIN) && !has(IPV6_MIN | IPV6_MAX) {
            let first = Ipv4Addr::from(body.array::<4>()?);
            let last = if has(IPV4_MAX) { Some(Ipv4Addr::from(body.array::<4>()?)) } else { None };
            (first.into(), last.map(Into::into))
        } else if has(IPV6_MIN) && !has(IPV4_MIN | IPV4_MAX) {
            let first = Ipv6Addr::from(body.array::<16>()?);
            let last = if has(IPV6_MAX) { Some(Ipv6Addr::from(body.array::<16>()?)) } else { None };
            (first.into(), last.map(Into::into))
        } else if has(IPV4_MIN | IPV4_MAX | IPV6_MIN | IPV6_MAX | PROTO_MIN | PROTO_MAX) {
            return Err(Self::bad());
        } else {
            return Ok(None);
        };
        let ports = if has(PROTO_MIN) {
            let first = body.u16()?;
            Some((first, if has(PROTO_MAX) { Some(body.u16()?) } else { None }))
        } else if has(PROTO_MAX) {
            return Err(Self::bad());
        } else {
            None
        };
        let backwards =
            |(first, last): (u16, Option<u16>)| first == 0 || last.is_some_and(|last| last < first);
        if first.is_unspecified() || last.is_some_and(|last| last < first) || ports.is_some_and(backwards) {
            return Err(Self::bad());
        }
        Ok(Some(NatRange { first, last, ports }))
    }
}
