//! Instructions and actions over their bytes, OpenFlow 1.3.5 §7.2.4 and §7.2.5.

use super::super::action::Action;
use super::super::action_codec::{action_type, instruction_type, subtype};
use super::super::ct::CtFlags;
use super::super::cursor::Reader;
use super::super::field::{Field, SubField};
use super::super::ids::{GroupId, OfPort, TableId};
use super::super::value::FieldValue;
use super::super::{NICIRA_EXPERIMENTER, oxm};
use super::CHECKED;

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// `OFPIT_METER`.
    Meter(u32),
    /// `OFPIT_APPLY_ACTIONS`.
    Apply(Actions<'a>),
    /// `OFPIT_CLEAR_ACTIONS`.
    Clear,
    /// `OFPIT_WRITE_ACTIONS`.
    Write(Actions<'a>),
    /// `OFPIT_WRITE_METADATA`.
    WriteMetadata {
        /// The bits.
        value: u64,
        /// Which are written.
        mask: u64,
    },
    /// `OFPIT_GOTO_TABLE`.
    Goto(TableId),
}

/// Instructions, in the order in which they stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstructionsRef<'a>(Reader<'a>);

impl<'a> InstructionsRef<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        InstructionsRef(Reader::new("instructions", bytes))
    }
}

impl<'a> Iterator for InstructionsRef<'a> {
    type Item = Instruction<'a>;

    #[inline]
    fn next(&mut self) -> Option<Instruction<'a>> {
        let kind = self.0.u16().ok()?;
        let length = usize::from(self.0.u16().ok()?);
        let mut body = self.0.sub("instruction", length.checked_sub(4)?).ok()?;
        Some(match kind {
            instruction_type::METER => Instruction::Meter(body.u32().ok()?),
            instruction_type::APPLY_ACTIONS => Instruction::Apply(Actions(body.rest().get(4..)?)),
            instruction_type::CLEAR_ACTIONS => Instruction::Clear,
            instruction_type::WRITE_ACTIONS => Instruction::Write(Actions(body.rest().get(4..)?)),
            instruction_type::WRITE_METADATA => {
                body.skip(4).ok()?;
                Instruction::WriteMetadata { value: body.u64().ok()?, mask: body.u64().ok()? }
            }
            instruction_type::GOTO_TABLE => Instruction::Goto(TableId(body.u8().ok()?)),
            _ => return None,
        })
    }
}

/// Actions, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions<'a>(&'a [u8]);

impl<'a> Iterator for Actions<'a> {
    type Item = ActionRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ActionRef<'a>> {
        let [_, _, high, low, ..] = *self.0 else { return None };
        let (action, rest) = self.0.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        self.0 = rest;
        Some(ActionRef(action))
    }
}

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionRef<'a>(&'a [u8]);

/// What an action says, for those that most flows consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActionView<'a> {
    /// `OFPAT_OUTPUT`.
    Output {
        /// The port.
        port: OfPort,
        /// Bytes at most, to the controller.
        max_len: u16,
    },
    /// `OFPAT_GROUP`.
    Group(GroupId),
    /// `OFPAT_SET_FIELD`.
    SetField(Field, FieldValue),
    /// `NXAST_REG_LOAD`.
    RegLoad {
        /// Where to.
        dst: SubField,
        /// What.
        value: u64,
    },
    /// `NXAST_RESUBMIT_TABLE`.
    Resubmit {
        /// Ingress port for the look-up as 16 bits; `0xfff8` leaves it as it is.
        port: u16,
        /// The table; [`TableId::ALL`] is the current one.
        table: TableId,
    },
    /// `NXAST_CT` in a zone by its number.
    Ct {
        /// Whether to remember.
        flags: CtFlags,
        /// Zone.
        zone: u16,
        /// Where a copy of the packet goes on.
        table: Option<TableId>,
        /// Well-known port of the protocol whose related connections are followed, or 0.
        alg: u16,
        /// What is done with the connection.
        actions: Actions<'a>,
    },
    /// Any other; [`ActionRef::to_action`] knows it.
    Other(&'a [u8]),
}

impl<'a> ActionRef<'a> {
    /// Its bytes, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// What it says.
    #[inline]
    pub fn view(&self) -> ActionView<'a> {
        self.common().unwrap_or(ActionView::Other(self.0))
    }

    #[inline]
    fn common(&self) -> Option<ActionView<'a>> {
        let mut body = Reader::new("action", self.0);
        let kind = body.u16().ok()?;
        body.skip(2).ok()?;
        Some(match kind {
            action_type::OUTPUT => {
                ActionView::Output { port: OfPort(body.u32().ok()?), max_len: body.u16().ok()? }
            }
            action_type::GROUP => ActionView::Group(GroupId(body.u32().ok()?)),
            action_type::SET_FIELD => {
                let (field, value) = oxm::take_exact(&mut body).ok()??;
                if body.peek().len() >= 8 {
                    return None;
                }
                ActionView::SetField(field, value)
            }
            action_type::EXPERIMENTER if body.u32().ok()? == NICIRA_EXPERIMENTER => {
                let subtype = body.u16().ok()?;
                match subtype {
                    subtype::REG_LOAD if self.0.len() == 24 => {
                        let packed = body.u16().ok()?;
                        let field = oxm::take_action_header(&mut body).ok()??;
                        let dst = SubField { field, start: packed >> 6, n_bits: (packed & 0x3f) + 1 };
                        ActionView::RegLoad { dst, value: body.u64().ok()? }
                    }
                    subtype::RESUBMIT_TABLE => {
                        ActionView::Resubmit { port: body.u16().ok()?, table: TableId(body.u8().ok()?) }
                    }
                    subtype::CT => {
                        let flags = CtFlags(body.u16().ok()?);
                        let (field, zone) = (body.u32().ok()?, body.u16().ok()?);
                        if field != 0 {
                            return None;
                        }
                        let table = Some(body.u8().ok()?).filter(|&table| table != 0xff).map(TableId);
                        body.skip(3).ok()?;
                        let alg = body.u16().ok()?;
                        ActionView::Ct { flags, zone, table, alg, actions: Actions(body.rest()) }
                    }
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// The action as a value.
    pub fn to_action(&self) -> Action {
        Action::from_bytes(self.0).expect(CHECKED)
    }
}
