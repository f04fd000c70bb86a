//! Flow-mods: OpenFlow 1.0 §5.3.3, Nicira's `NXT_FLOW_MOD`, and OpenFlow 1.4.1 §7.3.4.2 with its importance.

use super::super::action::Instructions;
use super::super::cursor::{Put, Reader};
use super::super::error::DecodeError;
use super::super::field::Field;
use super::super::flow_mod as v13;
use super::super::flow_mod::FlowModCommand;
use super::super::ids::{Cookie, GroupId, OfPort, TableId, Xid};
use super::super::message::{kind, put_message};
use super::actions::{Context, put_actions, put_instructions, take_actions_10, take_instructions};
use super::{Version, VersionError, Warning, matching, put_nicira_message};
use crate::flow::FlowFlags;

/// A flow-mod with what versions after 1.3 add to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMod {
    /// What 1.3 says too.
    pub flow: v13::FlowMod,
    /// A full table gives up the least important entries first, OpenFlow 1.4.1 §7.3.4.2; without meaning for
    /// anything but an addition.
    pub importance: u16,
}

impl From<v13::FlowMod> for FlowMod {
    fn from(flow: v13::FlowMod) -> Self {
        FlowMod { flow, importance: 0 }
    }
}

/// How a flow-mod is said in OpenFlow 1.0, as ovs-ofctl(8) has it under `--flow-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowFormat10 {
    /// `OpenFlow10-table`: an `OFPT_FLOW_MOD`. With `table_id` the table stands in the command, for a switch that
    /// was sent `NXT_FLOW_MOD_TABLE_ID`.
    Standard {
        /// Whether the table stands in the command.
        table_id: bool,
    },
    /// `NXM-table_id` and `NXM`: an `NXT_FLOW_MOD`, for a switch that has the Nicira extensions.
    Nxm {
        /// Whether the table stands in the command.
        table_id: bool,
    },
}

impl FlowFormat10 {
    /// All, in the order in which they are tried: what asks the least of the switch first.
    pub const ALL: [FlowFormat10; 4] = [
        FlowFormat10::Standard { table_id: false },
        FlowFormat10::Standard { table_id: true },
        FlowFormat10::Nxm { table_id: false },
        FlowFormat10::Nxm { table_id: true },
    ];

    /// True if the table stands in the command.
    pub const fn table_id(self) -> bool {
        match self {
            FlowFormat10::Standard { table_id } | FlowFormat10::Nxm { table_id } => table_id,
        }
    }

    /// The first that can say this, if any can.
    pub fn least(flow: &v13::FlowMod) -> Option<FlowFormat10> {
        Self::ALL.into_iter().find(|format| format.can_say(flow))
    }

    /// True if the match, the cookie's mask and the table go into it; nothing is said of flags and actions.
    pub fn can_say(self, flow: &v13::FlowMod) -> bool {
        let table = self.table_id() || flow.table == plain_table(flow.command);
        table
            && match self {
                FlowFormat10::Standard { .. } => {
                    flow.cookie_mask == 0 && matching::to_ofp10(&flow.matching).is_some()
                }
                FlowFormat10::Nxm { .. } => {
                    let port = flow.matching.get(Field::InPort);
                    port.is_none_or(|port| OfPort(port.value.to_u64() as u32).to_16().is_some())
                }
            }
    }
}

/// The table that a command without one is about.
fn plain_table(command: FlowModCommand) -> TableId {
    match command {
        FlowModCommand::Delete | FlowModCommand::DeleteStrict => TableId::ALL,
        _ => TableId(0),
    }
}

/// The new cookie of a command that selects by the old one: it leaves that as it is.
fn kept_cookie(command: FlowModCommand) -> u64 {
    match command {
        FlowModCommand::Modify | FlowModCommand::ModifyStrict => u64::MAX,
        _ => 0,
    }
}

/// `NX_EXPERIMENTER` and `NXT_FLOW_MOD`, before its body.
pub(super) const NXT_FLOW_MOD: [u8; 8] = [0, 0, 0x23, 0x20, 0, 0, 0, 13];
const NXT_FLOW_MOD_SUBTYPE: u32 = 13;

/// Flags that 1.0 has.
const FLAGS_10: u16 = FlowFlags::SEND_FLOW_REM.0 | FlowFlags::CHECK_OVERLAP.0;

impl FlowMod {
    pub(super) fn put(
        &self,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        if version == Version::OpenFlow10 {
            let format = FlowFormat10::least(&self.flow).unwrap_or(FlowFormat10::Nxm { table_id: true });
            return self.put_10(format, xid, out, warnings);
        }
        let knows_importance = version >= Version::OpenFlow14;
        self.warn_of_importance(knows_importance, warnings);
        put_message(version.number(), kind::FLOW_MOD, xid, out, |out| {
            let start = out.len();
            self.flow.encode_fixed(out);
            if knows_importance && self.flow.command == FlowModCommand::Add {
                out[start + 38..start + 40].copy_from_slice(&self.importance.to_be_bytes());
            }
            matching::put_oxm(version, &self.flow.matching, out);
            let context = Context::new(version, &self.flow.matching);
            put_instructions(&context, &self.flow.instructions, out, warnings)
        })
    }

    fn warn_of_importance(&self, is_known: bool, warnings: &mut Vec<Warning>) {
        if self.importance != 0 && !is_known {
            warnings.push(Warning::Importance(self.importance));
        }
    }

    /// Appends the message in this format of OpenFlow 1.0.
    ///
    /// # Errors
    /// If the format cannot say it; then nothing is appended.
    pub fn encode_openflow10(
        &self,
        format: FlowFormat10,
        xid: Xid,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Warning>, VersionError> {
        let mut warnings = Vec::new();
        self.put_10(format, xid, out, &mut warnings)?;
        Ok(warnings)
    }

    fn put_10(
        &self,
        format: FlowFormat10,
        xid: Xid,
        out: &mut Vec<u8>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), VersionError> {
        let version = Version::OpenFlow10;
        let flow = &self.flow;
        self.warn_of_importance(false, warnings);
        if flow.flags.0 & !FLAGS_10 != 0 {
            let what = format!("flow flags {:#x}", flow.flags.0 & !FLAGS_10);
            return Err(version.lacks(what, "reset_counts and the no_…_counts need OpenFlow 1.3 or later"));
        }
        if flow.out_group != GroupId::ANY {
            return Err(version.lacks("out_group", "use OpenFlow 1.3 or later, or select by out_port"));
        }
        let table = if format.table_id() {
            if flow.table.0 != 0 {
                warnings.push(Warning::TableInCommand(flow.table.0));
            }
            flow.table.0
        } else if flow.table == plain_table(flow.command) {
            0
        } else {
            let what = format!("table={}", flow.table);
            return Err(version.lacks(what, "use a format with table_id"));
        };
        let numbers = |out: &mut Vec<u8>| {
            out.put_u16(u16::from(table) << 8 | flow.command as u16);
            out.put_u16(flow.idle_timeout);
            out.put_u16(flow.hard_timeout);
            out.put_u16(flow.priority);
            out.put_u32(flow.buffer_id);
        };
        let Some(out_port) = flow.out_port.to_16() else {
            let what = format!("out_port={}", flow.out_port);
            return Err(version.lacks(what, "its port numbers have 16 bits"));
        };
        let context = Context::new(version, &flow.matching);
        match format {
            FlowFormat10::Standard { .. } => {
                let Some(matching) = matching::to_ofp10(&flow.matching).filter(|_| flow.cookie_mask == 0)
                else {
                    return Err(version.lacks("this match", "use the NXM format or OpenFlow 1.3"));
                };
                put_message(version.number(), kind::FLOW_MOD, xid, out, |out| {
                    out.put(&matching);
                    out.put_u64(flow.cookie.0);
                    numbers(out);
                    out.put_u16(out_port);
                    out.put_u16(flow.flags.0);
                    put_actions_of(&context, &flow.instructions, out, warnings)
                })
            }
            FlowFormat10::Nxm { .. } => {
                put_message(version.number(), kind::EXPERIMENTER, xid, out, |out| {
                    put_nicira_message(NXT_FLOW_MOD_SUBTYPE, out);
                    // The cookie that is wanted stands in the match, the new one here.
                    let selects = flow.cookie_mask != 0;
                    out.put_u64(if selects { kept_cookie(flow.command) } else { flow.cookie.0 });
                    numbers(out);
                    out.put_u16(out_port);
                    out.put_u16(flow.flags.0);
                    let length_at = out.len();
                    out.put_zeros(8);
                    let start = out.len();
                    matching::put_nxm(
                        &flow.matching,
                        selects.then_some((flow.cookie, flow.cookie_mask)),
                        out,
                    )?;
                    let length = out.len() - start;
                    let short = u16::try_from(length).map_err(|_| super::EncodeError::TooLong(length))?;
                    out[length_at..length_at + 2].copy_from_slice(&short.to_be_bytes());
                    out.put_zeros(length.next_multiple_of(8) - length);
                    put_actions_of(&context, &flow.instructions, out, warnings)
                })
            }
        }
    }

    /// Takes the body of 1.3, 1.4 or 1.5.
    pub(super) fn take(version: Version, input: &mut Reader<'_>) -> Result<FlowMod, DecodeError> {
        let (flow, last) = v13::FlowMod::take_as(
            input,
            |input| matching::take_oxm(version, input),
            |matching, input| take_instructions(version, matching, input),
        )?;
        let importance = if version >= Version::OpenFlow14 { last } else { 0 };
        Ok(FlowMod { flow, importance })
    }

    /// Takes the body of an `OFPT_FLOW_MOD` of 1.0.
    pub(super) fn take_10(input: &mut Reader<'_>) -> Result<FlowMod, DecodeError> {
        let matching = matching::from_ofp10(&input.array::<40>()?);
        let cookie = Cookie(input.u64()?);
        let mut flow = take_numbers(input)?;
        (flow.cookie, flow.matching) = (cookie, matching);
        flow.instructions = take_actions_10(&flow.matching, input)?;
        Ok(flow.into())
    }

    /// Takes an `NXT_FLOW_MOD`, its Nicira header included.
    pub(super) fn take_nxm(input: &mut Reader<'_>) -> Result<FlowMod, DecodeError> {
        input.skip(NXT_FLOW_MOD.len())?;
        let cookie = Cookie(input.u64()?);
        let mut flow = take_numbers(input)?;
        let length = usize::from(input.u16()?);
        input.skip(6)?;
        let entries = input.sub("match", length)?;
        input.skip(length.next_multiple_of(8) - length)?;
        let (matching, wanted) = matching::take_nxm(entries)?;
        flow.matching = matching;
        (flow.cookie, flow.cookie_mask) = match wanted {
            Some((_, _)) if flow.command == FlowModCommand::Add => {
                return Err(DecodeError::Refused { what: "cookie in a match", error: "NXBRC_NXM_INVALID" });
            }
            // Later versions cannot select by a cookie and give another at once.
            Some(_) if ![0, kept_cookie(flow.command)].contains(&cookie.0) => {
                return Err(DecodeError::BadValue {
                    what: "new cookie beside a wanted one",
                    value: cookie.0,
                });
            }
            Some(wanted) => wanted,
            None => (cookie, 0),
        };
        flow.instructions = take_actions_10(&flow.matching, input)?;
        Ok(flow.into())
    }
}

/// What stands in both of 1.0's forms after the cookie.
fn take_numbers(input: &mut Reader<'_>) -> Result<v13::FlowMod, DecodeError> {
    let [table, command] = input.array::<2>()?;
    let command = FlowModCommand::take(&mut Reader::new("flow_mod", &[command]))?;
    let (idle_timeout, hard_timeout) = (input.u16()?, input.u16()?);
    let (priority, buffer_id) = (input.u16()?, input.u32()?);
    let out_port = OfPort::from_16(input.u16()?);
    let flags = input.u16()?;
    if flags & !FLAGS_10 != 0 {
        // OFPFF_EMERG among them: no switch keeps emergency entries any more.
        return Err(DecodeError::Refused { what: "flow_mod flags", error: "OFPFMFC_BAD_FLAGS" });
    }
    // Without the extension, and with it for table 0, the upper half is 0.
    let table = if table == 0 { plain_table(command) } else { TableId(table) };
    Ok(v13::FlowMod {
        idle_timeout,
        hard_timeout,
        priority,
        buffer_id,
        out_port,
        flags: FlowFlags(flags),
        ..v13::FlowMod::new(command, table)
    })
}

/// Appends instructions as the actions that 1.0 has for them.
fn put_actions_of(
    context: &Context,
    instructions: &Instructions,
    out: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<(), VersionError> {
    let Instructions { meter, apply, clear, write, write_metadata, goto } = instructions;
    let remedy = "use OpenFlow 1.3 or later, or apply the actions at once";
    if meter.is_some() {
        return Err(context.version.lacks("a meter", "use OpenFlow 1.3 or later"));
    }
    if *clear || !write.is_empty() {
        return Err(context.version.lacks("an action set (write_actions, clear_actions)", remedy));
    }
    put_actions(context, apply, out, warnings)?;
    if let Some((value, mask)) = write_metadata {
        super::action10::put_write_metadata(*value, *mask, out);
    }
    if let Some(table) = goto {
        warnings.push(Warning::GotoTable(table.0));
        super::super::action::Action::ResubmitTable { table: *table }.encode(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Field, Match};

    #[test]
    fn least_format_is_the_first_that_can_say_it() {
        let mut flow = v13::FlowMod::new(FlowModCommand::Add, TableId(0));
        assert_eq!(FlowFormat10::least(&flow), Some(FlowFormat10::Standard { table_id: false }));
        flow.table = TableId(3);
        assert_eq!(FlowFormat10::least(&flow), Some(FlowFormat10::Standard { table_id: true }));
        flow.matching = Match::new().with(Field::Reg0, 1u32);
        assert_eq!(FlowFormat10::least(&flow), Some(FlowFormat10::Nxm { table_id: true }));
        flow.table = TableId(0);
        assert_eq!(FlowFormat10::least(&flow), Some(FlowFormat10::Nxm { table_id: false }));
    }
}
