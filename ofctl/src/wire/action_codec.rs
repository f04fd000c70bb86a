//! Actions and instructions as bytes: OpenFlow 1.3.5 §7.2.4 and §7.2.5, ovs-actions(7).

use super::action::{Action, Instructions};
use super::ct::{Ct, Nat};
use super::cursor::{Nested, Padding, Put, Reader};
use super::error::{DecodeError, EncodeError};
use super::field::{Field, SubField};
use super::ids::{GroupId, OfPort, TableId};
use super::learn::Learn;
use super::nicira::{BundleOutput, ControllerAction, Encap, MaskedField, Multipath, PacketType, Sample};
use super::oxm;

/// `OFPAT_*`.
pub(super) mod action_type {
    pub(in crate::wire) const OUTPUT: u16 = 0;
    pub(in crate::wire) const SET_MPLS_TTL: u16 = 15;
    pub(in crate::wire) const DEC_MPLS_TTL: u16 = 16;
    pub(in crate::wire) const PUSH_VLAN: u16 = 17;
    pub(in crate::wire) const POP_VLAN: u16 = 18;
    pub(in crate::wire) const PUSH_MPLS: u16 = 19;
    pub(in crate::wire) const POP_MPLS: u16 = 20;
    pub(in crate::wire) const SET_QUEUE: u16 = 21;
    pub(in crate::wire) const GROUP: u16 = 22;
    pub(in crate::wire) const SET_NW_TTL: u16 = 23;
    pub(in crate::wire) const DEC_NW_TTL: u16 = 24;
    pub(in crate::wire) const SET_FIELD: u16 = 25;
    pub(in crate::wire) const EXPERIMENTER: u16 = 0xffff;
}

/// `NXAST_*`.
pub(super) mod subtype {
    pub(in crate::wire) const RESUBMIT: u16 = 1;
    pub(in crate::wire) const POP_QUEUE: u16 = 5;
    pub(in crate::wire) const REG_MOVE: u16 = 6;
    pub(in crate::wire) const REG_LOAD: u16 = 7;
    pub(in crate::wire) const NOTE: u16 = 8;
    pub(in crate::wire) const MULTIPATH: u16 = 10;
    pub(in crate::wire) const BUNDLE: u16 = 12;
    pub(in crate::wire) const BUNDLE_LOAD: u16 = 13;
    pub(in crate::wire) const RESUBMIT_TABLE: u16 = 14;
    pub(in crate::wire) const OUTPUT_REG: u16 = 15;
    pub(in crate::wire) const LEARN: u16 = 16;
    pub(in crate::wire) const EXIT: u16 = 17;
    pub(in crate::wire) const FIN_TIMEOUT: u16 = 19;
    pub(in crate::wire) const CONTROLLER: u16 = 20;
    pub(in crate::wire) const DEC_TTL_CNT_IDS: u16 = 21;
    pub(in crate::wire) const STACK_PUSH: u16 = 27;
    pub(in crate::wire) const STACK_POP: u16 = 28;
    pub(in crate::wire) const SAMPLE: u16 = 29;
    pub(in crate::wire) const OUTPUT_REG2: u16 = 32;
    pub(in crate::wire) const REG_LOAD2: u16 = 33;
    pub(in crate::wire) const CONJUNCTION: u16 = 34;
    pub(in crate::wire) const CT: u16 = 35;
    pub(in crate::wire) const NAT: u16 = 36;
    pub(in crate::wire) const CONTROLLER2: u16 = 37;
    pub(in crate::wire) const SAMPLE2: u16 = 38;
    pub(in crate::wire) const OUTPUT_TRUNC: u16 = 39;
    pub(in crate::wire) const SAMPLE3: u16 = 41;
    pub(in crate::wire) const CLONE: u16 = 42;
    pub(in crate::wire) const CT_CLEAR: u16 = 43;
    pub(in crate::wire) const RESUBMIT_TABLE_CT: u16 = 44;
    pub(in crate::wire) const LEARN2: u16 = 45;
    pub(in crate::wire) const ENCAP: u16 = 46;
    pub(in crate::wire) const DECAP: u16 = 47;
    pub(in crate::wire) const DEC_NSH_TTL: u16 = 48;
    pub(in crate::wire) const CHECK_PKT_LARGER: u16 = 49;
    pub(in crate::wire) const DELETE_FIELD: u16 = 50;
}

/// `OFPIT_*`.
pub(super) mod instruction_type {
    pub(in crate::wire) const GOTO_TABLE: u16 = 1;
    pub(in crate::wire) const WRITE_METADATA: u16 = 2;
    pub(in crate::wire) const WRITE_ACTIONS: u16 = 3;
    pub(in crate::wire) const APPLY_ACTIONS: u16 = 4;
    pub(in crate::wire) const CLEAR_ACTIONS: u16 = 5;
    pub(in crate::wire) const METER: u16 = 6;
    pub(in crate::wire) const EXPERIMENTER: u16 = 0xffff;
}

/// `OFPP_IN_PORT` as 16 bits: in a resubmit, the ingress port stays what it is.
const IN_PORT_16: u16 = 0xfff8;
/// The `max_len` of an `OUTPUT_REG`, for a register that may hold `OFPP_CONTROLLER`.
const WHOLE_PACKET: u16 = 0xffff;

/// Bytes of the shortest header, below which no packet is cut.
const ETHERNET_HEADER: u32 = 14;

pub(super) fn put_nicira<'a>(out: &'a mut Vec<u8>, subtype: u16) -> Nested<'a> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    out.put(&nicira_header(0, subtype));
    out
}

/// What each Nicira action begins with.
pub(super) fn nicira_header(length: u16, subtype: u16) -> [u8; 10] {
    let ([a, b], [c, d]) = (length.to_be_bytes(), subtype.to_be_bytes());
    [0xff, 0xff, a, b, 0, 0, 0x23, 0x20, c, d]
}

/// Offset, width and header of bits in an action that has two bytes for the one and four for the other.
fn packed(bits: SubField, action: &'static str) -> Result<[u8; 6], EncodeError> {
    let field = bits.field;
    if bits.n_bits > 64 {
        return Err(EncodeError::TooWide { field: field.name(), action });
    }
    let header = field.wire().nxm;
    if header == 0 {
        return Err(EncodeError::FieldInAction { field: field.name(), action });
    }
    let ([a, b], [c, d, e, f]) = (pack_bits(bits).to_be_bytes(), header.to_be_bytes());
    Ok([a, b, c, d, e, f])
}

/// Offset and width in 16 bits, the width less one in the lower six.
pub(super) fn pack_bits(bits: SubField) -> u16 {
    bits.start << 6 | (bits.n_bits.saturating_sub(1) & 0x3f)
}

/// The bits of a field that is known; `None` if it is not.
pub(super) fn unpack_bits(field: Option<Field>, packed: u16) -> Result<Option<SubField>, DecodeError> {
    sub_field(field, packed >> 6, (packed & 0x3f) + 1)
}

/// The bits of a field that is known; `None` if it is not.
pub(super) fn sub_field(
    field: Option<Field>,
    start: u16,
    n_bits: u16,
) -> Result<Option<SubField>, DecodeError> {
    let Some(field) = field else { return Ok(None) };
    let fits = n_bits > 0 && start.checked_add(n_bits).is_some_and(|end| end <= field.bits_wide());
    if fits {
        Ok(Some(SubField { field, start, n_bits }))
    } else {
        Err(DecodeError::Refused { what: field.name(), error: "OFPBAC_BAD_SET_LEN" })
    }
}

impl Action {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Action::Output(port) => put_output(*port, 0, out),
            Action::OutputWith { port, max_len } => put_output(*port, *max_len, out),
            Action::Controller { max_len } => put_output(OfPort::CONTROLLER, *max_len, out),
            Action::SetField(field, value) => {
                let mut out = Nested::begin(out, 2, Padding::Counted);
                out.put_u16(action_type::SET_FIELD);
                out.put_u16(0);
                oxm::put_exact(*field, *value, &mut out);
            }
            Action::PushVlan(ethertype) => put_ethertype(action_type::PUSH_VLAN, *ethertype, out),
            Action::PopVlan => put_bare(action_type::POP_VLAN, out),
            Action::DecTtl => put_bare(action_type::DEC_NW_TTL, out),
            Action::Group(group) => put_short(action_type::GROUP, group.0.to_be_bytes(), out),
            Action::RegLoad { dst, value } => {
                let mut action = [0; 24];
                action[..10].copy_from_slice(&nicira_header(24, subtype::REG_LOAD));
                action[10..16].copy_from_slice(&packed(*dst, "load")?);
                action[16..].copy_from_slice(&value.to_be_bytes());
                out.put(&action);
            }
            Action::RegMove { src, dst } => {
                let mut out = put_nicira(out, subtype::REG_MOVE);
                out.put_u16(src.n_bits);
                out.put_u16(src.start);
                out.put_u16(dst.start);
                oxm::put_action_header(src.field, &mut out);
                oxm::put_action_header(dst.field, &mut out);
            }
            Action::ResubmitTable { table } => {
                put_resubmit(subtype::RESUBMIT_TABLE, IN_PORT_16, *table, out);
            }
            Action::ResubmitPort { port, table } => {
                put_resubmit(subtype::RESUBMIT_TABLE, *port, *table, out);
            }
            Action::ResubmitCt { port, table } => {
                put_resubmit(subtype::RESUBMIT_TABLE_CT, *port, *table, out);
            }
            // Only the second form has room for an experimenter's header.
            Action::OutputReg(src) if src.field.is_experimenter() => {
                let mut out = put_nicira(out, subtype::OUTPUT_REG2);
                out.put_u16(pack_bits(*src));
                out.put_u16(WHOLE_PACKET);
                oxm::put_action_header(src.field, &mut out);
            }
            Action::OutputReg(src) => {
                let mut out = put_nicira(out, subtype::OUTPUT_REG);
                out.put(&packed(*src, "output")?);
                out.put_u16(WHOLE_PACKET);
                out.put_zeros(6);
            }
            Action::StackPush(bits) => put_stack(subtype::STACK_PUSH, *bits, out),
            Action::StackPop(bits) => put_stack(subtype::STACK_POP, *bits, out),
            Action::Note(bytes) => put_nicira(out, subtype::NOTE).put(bytes),
            Action::Ct(ct) => ct.encode(out)?,
            Action::OutputTrunc { port, max_len } => {
                let mut out = put_nicira(out, subtype::OUTPUT_TRUNC);
                out.put_u16(*port);
                out.put_u32(*max_len);
            }
            Action::ControllerWith(controller) => controller.encode(out),
            Action::SetMasked(masked) => masked.encode(out),
            Action::SetQueue(queue) => put_short(action_type::SET_QUEUE, queue.to_be_bytes(), out),
            Action::PopQueue => drop(put_nicira(out, subtype::POP_QUEUE)),
            Action::PushMpls(ethertype) => put_ethertype(action_type::PUSH_MPLS, *ethertype, out),
            Action::PopMpls(ethertype) => put_ethertype(action_type::POP_MPLS, *ethertype, out),
            Action::SetMplsTtl(ttl) => put_short(action_type::SET_MPLS_TTL, [*ttl, 0, 0, 0], out),
            Action::DecMplsTtl => put_bare(action_type::DEC_MPLS_TTL, out),
            Action::SetNwTtl(ttl) => put_short(action_type::SET_NW_TTL, [*ttl, 0, 0, 0], out),
            Action::DecTtlIds(ids) => {
                let mut out = put_nicira(out, subtype::DEC_TTL_CNT_IDS);
                out.put_u16(u16::try_from(ids.len()).map_err(|_| EncodeError::TooLong(ids.len()))?);
                out.put_u32(0);
                ids.iter().for_each(|id| out.put_u16(*id));
            }
            Action::DecNshTtl => drop(put_nicira(out, subtype::DEC_NSH_TTL)),
            Action::CtClear => drop(put_nicira(out, subtype::CT_CLEAR)),
            Action::Nat(nat) => nat.encode(out),
            Action::Learn(learn) => learn.encode(out)?,
            Action::Conjunction { id, clause, n_clauses } => {
                let mut out = put_nicira(out, subtype::CONJUNCTION);
                out.put_u8(*clause);
                out.put_u8(*n_clauses);
                out.put_u32(*id);
            }
            Action::Multipath(multipath) => multipath.encode(out)?,
            Action::Bundle(bundle) => bundle.encode(out)?,
            Action::Sample(sample) => sample.encode(out),
            Action::FinTimeout { idle, hard } => {
                let mut out = put_nicira(out, subtype::FIN_TIMEOUT);
                out.put_u16(*idle);
                out.put_u16(*hard);
            }
            Action::Exit => drop(put_nicira(out, subtype::EXIT)),
            Action::Encap(encap) => encap.encode(out)?,
            Action::Decap(packet_type) => packet_type.encode_decap(out),
            Action::CheckPktLarger { length, dst } => {
                let mut out = put_nicira(out, subtype::CHECK_PKT_LARGER);
                let start = out.len();
                out.put_u16(*length);
                out.put_u16(dst.start);
                oxm::put_action_header(dst.field, &mut out);
                out.resize(start + 14, 0);
            }
            Action::DeleteField(field) => {
                let mut out = put_nicira(out, subtype::DELETE_FIELD);
                let start = out.len();
                oxm::put_action_header(*field, &mut out);
                out.resize(start + 14, 0);
            }
            Action::Clone(actions) => {
                let mut out = put_nicira(out, subtype::CLONE);
                out.put_zeros(6);
                actions.iter().try_for_each(|action| action.encode(&mut out))?;
            }
            Action::Unknown(bytes) => out.put(bytes),
        }
        Ok(())
    }

    /// Decodes exactly one action, header included.
    ///
    /// # Errors
    /// If the bytes are not one action.
    pub fn from_bytes(bytes: &[u8]) -> Result<Action, DecodeError> {
        let mut input = Reader::new("action", bytes);
        let action = Action::take(&mut input)?;
        input.finish()?;
        Ok(action)
    }

    /// Takes one action.
    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Action, DecodeError> {
        Self::take_at(input, Depth::TOP)
            .map_err(|error| error.in_part("OFPBAC_BAD_LEN", "OFPBAC_BAD_ARGUMENT"))
    }

    #[inline]
    fn take_at(input: &mut Reader<'_>, depth: Depth) -> Result<Action, DecodeError> {
        let whole = input.peek();
        let kind = input.u16()?;
        let length = usize::from(input.u16()?);
        if length < 8 || !length.is_multiple_of(8) {
            return Err(DecodeError::BadLength { what: "action", length });
        }
        let mut body = input.sub("action", length - 4)?;
        let known = take_known(kind, &mut body, depth)?;
        // What was taken from the input is the beginning of what was there.
        let whole = &whole[..length];
        match known {
            Some(action) => {
                body.finish()?;
                Ok(if action.reproduces(whole) { action } else { Action::Unknown(whole.into()) })
            }
            None => Ok(Action::Unknown(whole.into())),
        }
    }

    /// True if this action is written as these bytes, from which it was read. What is not, because something
    /// stands where Open vSwitch does not look, is carried as it came. Not asked of what names tunnel options, whose
    /// headers have the lengths that the bridge's TLV map gives them.
    fn reproduces(&self, whole: &[u8]) -> bool {
        match self {
            Action::Nat(_)
            | Action::Learn(_)
            | Action::Multipath(_)
            | Action::Bundle(_)
            | Action::Sample(_)
            | Action::ControllerWith(_)
            | Action::Encap(_)
            | Action::Decap(_)
            | Action::CheckPktLarger { .. }
            | Action::DecTtlIds(_) => {
                let mut again = Vec::with_capacity(whole.len());
                self.encode(&mut again).is_ok() && again == whole
            }
            _ => true,
        }
    }

    pub(crate) fn take_all(input: Reader<'_>) -> Result<Vec<Action>, DecodeError> {
        Self::take_nested(input, Depth::TOP)
            .map_err(|error| error.in_part("OFPBAC_BAD_LEN", "OFPBAC_BAD_ARGUMENT"))
    }

    pub(super) fn take_nested(mut input: Reader<'_>, depth: Depth) -> Result<Vec<Action>, DecodeError> {
        let mut actions = Vec::with_capacity(input.peek().len() / 16);
        while !input.is_empty() {
            actions.push(Action::take_at(&mut input, depth)?);
        }
        Ok(actions)
    }
}

/// How many actions an action stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depth(u8);

impl Depth {
    const TOP: Depth = Depth(0);
    /// More than any flow has; without an end a message could nest until the stack runs out.
    const MAX: u8 = 32;

    pub(super) fn deeper(self, what: &'static str) -> Result<Depth, DecodeError> {
        if self.0 == Self::MAX {
            return Err(DecodeError::Refused { what, error: "OFPBAC_TOO_MANY" });
        }
        Ok(Depth(self.0 + 1))
    }
}

fn put_output(port: OfPort, max_len: u16, out: &mut Vec<u8>) {
    let mut action = [0; 16];
    action[..2].copy_from_slice(&action_type::OUTPUT.to_be_bytes());
    action[3] = 16;
    action[4..8].copy_from_slice(&port.0.to_be_bytes());
    action[8..10].copy_from_slice(&max_len.to_be_bytes());
    out.put(&action);
}

fn put_short(kind: u16, argument: [u8; 4], out: &mut Vec<u8>) {
    let ([high, low], [a, b, c, d]) = (kind.to_be_bytes(), argument);
    out.put(&[high, low, 0, 8, a, b, c, d]);
}

fn put_bare(kind: u16, out: &mut Vec<u8>) {
    put_short(kind, [0; 4], out);
}

fn put_ethertype(kind: u16, ethertype: u16, out: &mut Vec<u8>) {
    let [high, low] = ethertype.to_be_bytes();
    put_short(kind, [high, low, 0, 0], out);
}

fn put_resubmit(subtype: u16, port: u16, table: TableId, out: &mut Vec<u8>) {
    let mut out = put_nicira(out, subtype);
    out.put_u16(port);
    out.put_u8(table.0);
}

fn put_stack(subtype: u16, bits: SubField, out: &mut Vec<u8>) {
    let mut out = put_nicira(out, subtype);
    out.put_u16(bits.start);
    oxm::put_action_header(bits.field, &mut out);
    out.put_u16(bits.n_bits);
}

/// Takes the body of an action; `None` if it is none that has a variant of its own.
#[inline]
fn take_known(kind: u16, body: &mut Reader<'_>, depth: Depth) -> Result<Option<Action>, DecodeError> {
    Ok(Some(match kind {
        action_type::OUTPUT => {
            let port = OfPort(body.u32()?);
            let max_len = body.u16()?;
            body.skip(6)?;
            match (port, max_len) {
                (OfPort::CONTROLLER, max_len) => Action::Controller { max_len },
                (port, 0) => Action::Output(port),
                (port, max_len) => Action::OutputWith { port, max_len },
            }
        }
        action_type::SET_FIELD => match oxm::take_exact(body)? {
            Some((field, value)) => {
                let padding = body.rest();
                if padding.len() >= 8 {
                    return Ok(None);
                }
                Action::SetField(field, value)
            }
            None => return Ok(None),
        },
        action_type::PUSH_VLAN => Action::PushVlan(take_tag(body, &[0x8100, 0x88a8])?),
        action_type::POP_VLAN => {
            body.skip(4)?;
            Action::PopVlan
        }
        action_type::DEC_NW_TTL => {
            body.skip(4)?;
            Action::DecTtl
        }
        action_type::SET_QUEUE => Action::SetQueue(body.u32()?),
        action_type::PUSH_MPLS => Action::PushMpls(take_tag(body, &[0x8847, 0x8848])?),
        action_type::POP_MPLS => Action::PopMpls(take_ethertype(body)?),
        action_type::SET_MPLS_TTL => Action::SetMplsTtl(take_ttl(body)?),
        action_type::SET_NW_TTL => Action::SetNwTtl(take_ttl(body)?),
        action_type::DEC_MPLS_TTL => {
            body.skip(4)?;
            Action::DecMplsTtl
        }
        action_type::GROUP => Action::Group(GroupId(body.u32()?)),
        action_type::EXPERIMENTER => {
            if body.u32()? != super::NICIRA_EXPERIMENTER || body.is_empty() {
                return Ok(None);
            }
            return take_nicira(body, depth);
        }
        _ => return Ok(None),
    }))
}

fn take_nicira(body: &mut Reader<'_>, depth: Depth) -> Result<Option<Action>, DecodeError> {
    let subtype = body.u16()?;
    let action = match subtype {
        subtype::REG_LOAD => {
            let packed = body.u16()?;
            let field = oxm::take_action_header(body)?;
            // An experimenter's header makes it longer than the form of this action.
            if body.peek().len() != 8 && field.is_none_or(|field| !field.is_experimenter()) {
                return Err(body.bad_length(body.peek().len()));
            }
            match unpack_bits(field, packed)? {
                Some(dst) if body.peek().len() == 8 => {
                    let value = body.u64()?;
                    if dst.n_bits < 64 && value >> dst.n_bits != 0 {
                        return Err(DecodeError::Refused { what: "load", error: "OFPBAC_BAD_ARGUMENT" });
                    }
                    Some(Action::RegLoad { dst, value })
                }
                _ => None,
            }
        }
        subtype::REG_MOVE => {
            let n_bits = body.u16()?;
            let (src_start, dst_start) = (body.u16()?, body.u16()?);
            let (src, dst) = (oxm::take_action_header(body)?, oxm::take_action_header(body)?);
            let (src, dst) = (sub_field(src, src_start, n_bits)?, sub_field(dst, dst_start, n_bits)?);
            let both = src.zip(dst);
            if both.is_some() {
                take_zeros(body)?;
            }
            both.map(|(src, dst)| Action::RegMove { src, dst })
        }
        subtype::RESUBMIT => {
            let port = body.u16()?;
            body.skip(4)?;
            Some(Action::ResubmitPort { port, table: TableId::ALL })
        }
        subtype::RESUBMIT_TABLE => {
            let port = body.u16()?;
            let table = take_table(body)?;
            Some(match port {
                IN_PORT_16 if table != TableId::ALL => Action::ResubmitTable { table },
                _ => Action::ResubmitPort { port, table },
            })
        }
        subtype::OUTPUT_REG => {
            let packed = body.u16()?;
            let src = unpack_bits(oxm::take_action_header(body)?, packed)?;
            let max_len = body.u16()?;
            if body.array::<6>()? != [0; 6] {
                return Err(DecodeError::Refused { what: "output", error: "OFPBAC_BAD_ARGUMENT" });
            }
            src.filter(|_| max_len == WHOLE_PACKET).map(Action::OutputReg)
        }
        subtype::STACK_PUSH | subtype::STACK_POP => {
            // The whole action has 24 bytes, whichever header it has.
            let mut body = body.sub("stack", 14)?;
            let body = &mut body;
            let start = body.u16()?;
            let field = oxm::take_action_header(body)?;
            let n_bits = body.u16()?;
            let bits = sub_field(field, start, n_bits)?;
            if bits.is_some() {
                take_zeros(body)?;
            }
            let wrap = if subtype == subtype::STACK_PUSH { Action::StackPush } else { Action::StackPop };
            bits.map(wrap)
        }
        subtype::NOTE => Some(Action::Note(body.rest().into())),
        subtype::CT => Ct::take(body, depth)?.map(|ct| Action::Ct(Box::new(ct))),
        subtype::NAT => Nat::take(body)?.map(|nat| Action::Nat(Box::new(nat))),
        subtype::LEARN | subtype::LEARN2 => {
            Learn::take(body, subtype == subtype::LEARN2)?.map(|learn| Action::Learn(Box::new(learn)))
        }
        subtype::POP_QUEUE => take_bare(Action::PopQueue, body)?,
        subtype::EXIT => take_bare(Action::Exit, body)?,
        subtype::CT_CLEAR => take_bare(Action::CtClear, body)?,
        subtype::DEC_NSH_TTL => take_bare(Action::DecNshTtl, body)?,
        subtype::MULTIPATH => Multipath::take(body)?.map(|m| Action::Multipath(Box::new(m))),
        subtype::BUNDLE | subtype::BUNDLE_LOAD => {
            BundleOutput::take(body, subtype == subtype::BUNDLE_LOAD)?.map(|b| Action::Bundle(Box::new(b)))
        }
        subtype::SAMPLE | subtype::SAMPLE2 | subtype::SAMPLE3 => {
            Sample::take(body, subtype)?.map(|sample| Action::Sample(Box::new(sample)))
        }
        subtype::CONTROLLER => ControllerAction::take(body)?.map(|c| Action::ControllerWith(Box::new(c))),
        subtype::CONTROLLER2 => {
            ControllerAction::take_second(body)?.map(|c| Action::ControllerWith(Box::new(c)))
        }
        subtype::REG_LOAD2 => MaskedField::take(body)?.map(|masked| Action::SetMasked(Box::new(masked))),
        subtype::OUTPUT_TRUNC => {
            let (port, max_len) = (body.u16()?, body.u32()?);
            if max_len < ETHERNET_HEADER {
                return Err(DecodeError::Refused { what: "output", error: "OFPBAC_BAD_ARGUMENT" });
            }
            Some(Action::OutputTrunc { port, max_len })
        }
        subtype::OUTPUT_REG2 => {
            let (packed, max_len) = (body.u16()?, body.u16()?);
            let src = unpack_bits(oxm::take_action_header(body)?, packed)?;
            let padding = body.rest();
            // Only a field that the first form cannot name is written in this form.
            let second = |src: &SubField| src.field.is_experimenter();
            src.filter(|src| max_len == WHOLE_PACKET && is_padding(padding) && second(src))
                .map(Action::OutputReg)
        }
        subtype::CONJUNCTION => {
            let (clause, n_clauses, id) = (body.u8()?, body.u8()?, body.u32()?);
            if !(2..=64).contains(&n_clauses) || clause >= n_clauses {
                return Err(DecodeError::Refused { what: "conjunction", error: "NXBAC_BAD_CONJUNCTION" });
            }
            Some(Action::Conjunction { id, clause, n_clauses })
        }
        subtype::FIN_TIMEOUT => {
            let (idle, hard) = (body.u16()?, body.u16()?);
            (body.u16()? == 0).then_some(Action::FinTimeout { idle, hard })
        }
        subtype::DEC_TTL_CNT_IDS => {
            let n = body.u16()?;
            body.skip(4)?;
            let ids = (0..n).map(|_| body.u16()).collect::<Result<_, _>>()?;
            body.rest();
            Some(Action::DecTtlIds(ids))
        }
        subtype::RESUBMIT_TABLE_CT => {
            let (port, table) = (body.u16()?, take_table(body)?);
            Some(Action::ResubmitCt { port, table })
        }
        subtype::ENCAP => Encap::take(body)?.map(|encap| Action::Encap(Box::new(encap))),
        subtype::DECAP => {
            let packet_type = PacketType::take_decap(body)?;
            body.rest();
            Some(Action::Decap(packet_type))
        }
        subtype::CHECK_PKT_LARGER => {
            let (length, start) = (body.u16()?, body.u16()?);
            let field = oxm::take_action_header(body)?;
            take_zeros(body)?;
            sub_field(field, start, 1)?.map(|dst| Action::CheckPktLarger { length, dst })
        }
        subtype::DELETE_FIELD => {
            // The whole action has 24 bytes, whichever header it has.
            let field = oxm::take_action_header(&mut body.sub("delete_field", 14)?)?;
            field.map(Action::DeleteField)
        }
        subtype::CLONE if body.array::<6>()? == [0; 6] => {
            let nested = body.peek().len();
            Some(Action::Clone(Action::take_nested(body.sub("clone", nested)?, depth.deeper("clone")?)?))
        }
        _ => None,
    };
    Ok(action)
}

fn take_ethertype(body: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let ethertype = body.u16()?;
    body.skip(2)?;
    Ok(ethertype)
}

/// Takes the Ethernet type of a tag, one of these.
fn take_tag(body: &mut Reader<'_>, known: &[u16]) -> Result<u16, DecodeError> {
    let ethertype = take_ethertype(body)?;
    if !known.contains(&ethertype) {
        return Err(DecodeError::Refused { what: "tag", error: "OFPBAC_BAD_ARGUMENT" });
    }
    Ok(ethertype)
}

fn take_ttl(body: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let ttl = body.u8()?;
    body.skip(3)?;
    Ok(ttl)
}

/// Takes the six bytes that fill up an action without an argument; `None` if they say something after all.
fn take_bare(action: Action, body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    Ok((body.array::<6>()? == [0; 6]).then_some(action))
}

/// Takes the padding at the end, which must be zeros.
fn take_zeros(body: &mut Reader<'_>) -> Result<(), DecodeError> {
    if body.rest().iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    Err(DecodeError::Refused { what: "action", error: "NXBRC_MUST_BE_ZERO" })
}

/// Takes a resubmit's table and the zeros after it.
fn take_table(body: &mut Reader<'_>) -> Result<TableId, DecodeError> {
    let [table, padding @ ..] = body.array::<4>()?;
    if padding != [0; 3] {
        return Err(DecodeError::Refused { what: "resubmit", error: "OFPBAC_BAD_ARGUMENT" });
    }
    Ok(TableId(table))
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.len() < 8 && bytes.iter().all(|&byte| byte == 0)
}

fn put_actions(kind: u16, actions: &[Action], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut out = Nested::begin(out, 2, Padding::Counted);
    let [high, low] = kind.to_be_bytes();
    out.put(&[high, low, 0, 0, 0, 0, 0, 0]);
    actions.iter().try_for_each(|action| action.encode(&mut out))
}

impl Instructions {
    /// Appends the instructions in the order in which they are carried out.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(meter) = self.meter {
            out.put_u16(instruction_type::METER);
            out.put_u16(8);
            out.put_u32(meter);
        }
        if !self.apply.is_empty() {
            put_actions(instruction_type::APPLY_ACTIONS, &self.apply, out)?;
        }
        if self.clear {
            put_bare(instruction_type::CLEAR_ACTIONS, out);
        }
        if !self.write.is_empty() {
            put_actions(instruction_type::WRITE_ACTIONS, &self.write, out)?;
        }
        if let Some((value, mask)) = self.write_metadata {
            out.put_u16(instruction_type::WRITE_METADATA);
            out.put_u16(24);
            out.put_u32(0);
            out.put_u64(value);
            out.put_u64(mask);
        }
        if let Some(table) = self.goto {
            out.put_u16(instruction_type::GOTO_TABLE);
            out.put_u16(8);
            out.put_u8(table.0);
            out.put_zeros(3);
        }
        Ok(())
    }

    /// Takes instructions to the end of `input`.
    pub(crate) fn take(input: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
        Self::take_any(input).map_err(|error| error.in_part("OFPBIC_BAD_LEN", "OFPBIC_UNKNOWN_INST"))
    }

    fn take_any(input: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
        let mut result = Instructions::default();
        let mut seen = 0u32;
        while !input.is_empty() {
            let kind = input.u16()?;
            let length = usize::from(input.u16()?);
            if length < 8 || !length.is_multiple_of(8) {
                return Err(DecodeError::BadLength { what: "instruction", length });
            }
            let mut body = input.sub("instruction", length - 4)?;
            let what = match kind {
                instruction_type::METER => {
                    result.meter = Some(body.u32()?);
                    "meter"
                }
                instruction_type::APPLY_ACTIONS => {
                    body.skip(4)?;
                    result.apply = Action::take_all(body.sub("apply_actions", length - 8)?)?;
                    "apply_actions"
                }
                instruction_type::CLEAR_ACTIONS => {
                    body.skip(4)?;
                    result.clear = true;
                    "clear_actions"
                }
                instruction_type::WRITE_ACTIONS => {
                    body.skip(4)?;
                    result.write = Action::take_all(body.sub("write_actions", length - 8)?)?;
                    "write_actions"
                }
                instruction_type::WRITE_METADATA => {
                    body.skip(4)?;
                    result.write_metadata = Some((body.u64()?, body.u64()?));
                    "write_metadata"
                }
                instruction_type::GOTO_TABLE => {
                    result.goto = Some(TableId(body.u8()?));
                    body.skip(3)?;
                    "goto_table"
                }
                instruction_type::EXPERIMENTER => {
                    let (what, error) = ("instruction", "OFPBIC_BAD_EXPERIMENTER");
                    return Err(DecodeError::Refused { what, error });
                }
                _ => return Err(DecodeError::BadValue { what: "instruction type", value: kind.into() }),
            };
            body.finish()?;
            if seen & 1 << kind != 0 {
                return Err(DecodeError::DuplicateInstruction { what });
            }
            seen |= 1 << kind;
        }
        Ok(result)
    }
}
