//! Actions and instructions.

use super::ct::{Ct, Nat};
use super::field::{Field, SubField};
use super::ids::{GroupId, OfPort, TableId};
use super::learn::Learn;
use super::nicira::{BundleOutput, ControllerAction, Encap, MaskedField, Multipath, PacketType, Sample};
use super::value::FieldValue;

/// An action, OpenFlow 1.3.5 §7.2.5 or a Nicira extension of ovs-actions(7).
///
/// An action that this crate does not know is [`Action::Unknown`], and is carried through unharmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `OFPAT_OUTPUT`: out of a port. To the controller it is [`Action::Controller`].
    Output(OfPort),
    /// `OFPAT_OUTPUT` of a port with a `max_len`, which means nothing there but is kept.
    OutputWith {
        /// The port, not the controller.
        port: OfPort,
        /// Not 0.
        max_len: u16,
    },
    /// `OFPAT_OUTPUT` to `OFPP_CONTROLLER`: the packet's first `max_len` bytes in a packet-in.
    Controller {
        /// Bytes at most; `0xffff` (`OFPCML_NO_BUFFER`) is the whole packet.
        max_len: u16,
    },
    /// `OFPAT_SET_FIELD`: write a whole field.
    SetField(Field, FieldValue),
    /// `NXAST_REG_LOAD`: write some bits of a field.
    RegLoad {
        /// Where to; at most 64 bits.
        dst: SubField,
        /// What; only its low bits, as many as `dst` has, may be set.
        value: u64,
    },
    /// `NXAST_REG_MOVE`: copy bits from field to field.
    RegMove {
        /// Where from.
        src: SubField,
        /// Where to; as wide as `src`.
        dst: SubField,
    },
    /// `OFPAT_PUSH_VLAN`: an empty tag of this Ethernet type.
    PushVlan(u16),
    /// `OFPAT_POP_VLAN`.
    PopVlan,
    /// `NXAST_RESUBMIT_TABLE`: look the packet up in a table, then go on after this action.
    ResubmitTable {
        /// The table; it may come before the current one.
        table: TableId,
    },
    /// `NXAST_RESUBMIT_TABLE` or `NXAST_RESUBMIT` as if the packet came in by another port.
    ResubmitPort {
        /// Ingress port for the look-up, an ordinary port or a reserved one, as 16 bits.
        port: u16,
        /// The table; `TableId::ALL` is the current one.
        table: TableId,
    },
    /// `NXAST_OUTPUT_REG`: out of the port whose number stands in a field.
    OutputReg(SubField),
    /// `OFPAT_GROUP`.
    Group(GroupId),
    /// `OFPAT_DEC_NW_TTL`: a packet whose TTL runs out goes to the controller, and processing stops.
    DecTtl,
    /// `NXAST_STACK_PUSH`.
    StackPush(SubField),
    /// `NXAST_STACK_POP`.
    StackPop(SubField),
    /// `NXAST_NOTE`: bytes without effect; six, or six and a multiple of eight. See [`Action::note`].
    Note(Box<[u8]>),
    /// `NXAST_OUTPUT_TRUNC`: the packet's first `max_len` bytes out of a port.
    OutputTrunc {
        /// The port as 16 bits.
        port: u16,
        /// Bytes at most; at least 14.
        max_len: u32,
    },
    /// `NXAST_CONTROLLER` and `NXAST_CONTROLLER2`: a packet-in to a certain controller, for a certain reason.
    ControllerWith(Box<ControllerAction>),
    /// `NXAST_REG_LOAD2`: write some bits of a field, of any width and of an experimenter too.
    SetMasked(Box<MaskedField>),
    /// `OFPAT_SET_QUEUE`.
    SetQueue(u32),
    /// `NXAST_POP_QUEUE`: back to the queue that the packet began with.
    PopQueue,
    /// `OFPAT_PUSH_MPLS`: a label of this Ethernet type.
    PushMpls(u16),
    /// `OFPAT_POP_MPLS`: what is below has this Ethernet type.
    PopMpls(u16),
    /// `OFPAT_SET_MPLS_TTL`.
    SetMplsTtl(u8),
    /// `OFPAT_DEC_MPLS_TTL`.
    DecMplsTtl,
    /// `OFPAT_SET_NW_TTL`.
    SetNwTtl(u8),
    /// `NXAST_DEC_TTL_CNT_IDS`: as [`Action::DecTtl`], and the packet goes to the controllers of these numbers.
    DecTtlIds(Box<[u16]>),
    /// `NXAST_DEC_NSH_TTL`.
    DecNshTtl,
    /// `NXAST_RESUBMIT_TABLE_CT`: a resubmit in which the conntrack fields are exchanged for those of the
    /// opposite direction.
    ResubmitCt {
        /// Ingress port for the look-up as 16 bits; `0xfff8` leaves it as it is.
        port: u16,
        /// The table; `TableId::ALL` is the current one.
        table: TableId,
    },
    /// `NXAST_CT`: through connection tracking.
    Ct(Box<Ct>),
    /// `NXAST_CT_CLEAR`: forget what connection tracking said.
    CtClear,
    /// `NXAST_NAT`, inside of a [`Ct`] only.
    Nat(Box<Nat>),
    /// `NXAST_LEARN` and `NXAST_LEARN2`: make a flow out of this packet.
    Learn(Box<Learn>),
    /// `NXAST_CONJUNCTION`: this flow is clause `clause`, counted from 0, of `n_clauses` of a conjunctive match.
    Conjunction {
        /// `conj_id` of the flow that all clauses together match.
        id: u32,
        /// Which clause this is.
        clause: u8,
        /// How many there are, 2 to 64.
        n_clauses: u8,
    },
    /// `NXAST_MULTIPATH`: a hash of the packet into a field.
    Multipath(Box<Multipath>),
    /// `NXAST_BUNDLE` and `NXAST_BUNDLE_LOAD`: one of several ports, by a hash of the packet.
    Bundle(Box<BundleOutput>),
    /// `NXAST_SAMPLE`, `NXAST_SAMPLE2` and `NXAST_SAMPLE3`: IPFIX.
    Sample(Box<Sample>),
    /// `NXAST_FIN_TIMEOUT`: other timeouts for the flow once TCP finishes.
    FinTimeout {
        /// New idle timeout; 0 leaves it.
        idle: u16,
        /// New hard timeout; 0 leaves it.
        hard: u16,
    },
    /// `NXAST_EXIT`: no further actions, here or in tables that were resubmitted from.
    Exit,
    /// `NXAST_ENCAP`.
    Encap(Box<Encap>),
    /// `NXAST_DECAP`; [`PacketType::USE_NEXT`] takes the new packet type from the header that is removed.
    Decap(PacketType),
    /// `NXAST_CHECK_PKT_LARGER`: whether the packet is longer, into one bit.
    CheckPktLarger {
        /// Bytes.
        length: u16,
        /// The bit.
        dst: SubField,
    },
    /// `NXAST_DELETE_FIELD`: remove a tunnel option.
    DeleteField(Field),
    /// `NXAST_CLONE`: do these with a copy of the packet.
    Clone(Vec<Action>),
    /// Any other action: its bytes, header included, a multiple of eight.
    Unknown(Box<[u8]>),
}

impl Action {
    /// A note of these bytes, filled up with zeros to a length that the wire can carry.
    pub fn note(bytes: &[u8]) -> Action {
        let mut padded = bytes.to_vec();
        padded.resize(6 + bytes.len().saturating_sub(6).next_multiple_of(8), 0);
        Action::Note(padded.into_boxed_slice())
    }

    /// [`Action::SetField`] of anything that a field can hold.
    pub fn set_field(field: Field, value: impl Into<FieldValue>) -> Action {
        Action::SetField(field, value.into())
    }

    /// [`Action::RegLoad`].
    pub fn load(dst: SubField, value: u64) -> Action {
        Action::RegLoad { dst, value }
    }

    /// [`Action::RegMove`] between whole fields.
    pub fn move_field(src: Field, dst: Field) -> Action {
        Action::RegMove { src: src.whole(), dst: dst.whole() }
    }
}

/// What a flow entry does with its packets, OpenFlow 1.3.5 §7.2.4, at most one of each instruction.
///
/// The default drops them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instructions {
    /// `OFPIT_METER`: send through this meter first.
    pub meter: Option<u32>,
    /// `OFPIT_APPLY_ACTIONS`: do these at once, in order.
    pub apply: Vec<Action>,
    /// `OFPIT_CLEAR_ACTIONS`: empty the action set.
    pub clear: bool,
    /// `OFPIT_WRITE_ACTIONS`: put these into the action set.
    pub write: Vec<Action>,
    /// `OFPIT_WRITE_METADATA`: value and mask.
    pub write_metadata: Option<(u64, u64)>,
    /// `OFPIT_GOTO_TABLE`: go on in this table, which must come after the current one.
    pub goto: Option<TableId>,
}

impl Instructions {
    /// True if there is no instruction: the packet is dropped.
    pub fn is_drop(&self) -> bool {
        *self == Instructions::default()
    }
}
