//! Actions and instructions.

use super::field::{Field, SubField};
use super::ids::{GroupId, OfPort, TableId};
use super::value::FieldValue;

/// An action, OpenFlow 1.3.5 §7.2.5 or a Nicira extension of ovs-actions(7).
///
/// An action that this crate does not know is [`Action::Unknown`], and is carried through unharmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `OFPAT_OUTPUT`: out of a port. To the controller it is [`Action::Controller`].
    Output(OfPort),
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
