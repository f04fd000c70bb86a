//! Actions and instructions as text.

use std::fmt;

use super::Hex;
use super::value::Value;
use crate::wire::{Action, Instructions, OfPort, SubField, TableId};

pub(super) fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

impl fmt::Display for SubField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.spec().nxm.name;
        match self.n_bits {
            _ if self.is_whole() => write!(out, "{name}[]"),
            1 => write!(out, "{name}[{}]", self.start),
            n_bits => {
                write!(out, "{name}[{}..{}]", self.start, u32::from(self.start) + u32::from(n_bits) - 1)
            }
        }
    }
}

/// A port of 16 bits, as resubmits have it.
struct Port16(u16);

impl fmt::Display for Port16 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = if self.0 >= 0xff00 { 0xffff_0000 | u32::from(self.0) } else { self.0.into() };
        OfPort(wide).fmt(out)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Output(OfPort::CONTROLLER) => out.write_str("CONTROLLER:0"),
            Action::Output(port) => match port.reserved_name() {
                Some(name) => out.write_str(name),
                None => write!(out, "output:{port}"),
            },
            Action::Controller { max_len } => write!(out, "CONTROLLER:{max_len}"),
            Action::SetField(field, value) => {
                write!(out, "set_field:{}->{}", Value(*field, *value), field.name())
            }
            Action::RegLoad { dst, value } => write!(out, "load:{}->{dst}", Hex((*value).into())),
            Action::RegMove { src, dst } => write!(out, "move:{src}->{dst}"),
            Action::PushVlan(ethertype) => write!(out, "push_vlan:{ethertype:#06x}"),
            Action::PopVlan => out.write_str("pop_vlan"),
            Action::ResubmitTable { table } => write!(out, "resubmit(,{table})"),
            Action::ResubmitPort { port, table: TableId::ALL } => write!(out, "resubmit:{}", Port16(*port)),
            Action::ResubmitPort { port, table } => write!(out, "resubmit({},{table})", Port16(*port)),
            Action::OutputReg(src) => write!(out, "output:{src}"),
            Action::Group(group) => write!(out, "group:{group}"),
            Action::DecTtl => out.write_str("dec_ttl"),
            Action::StackPush(bits) => write!(out, "push:{bits}"),
            Action::StackPop(bits) => write!(out, "pop:{bits}"),
            Action::Note(bytes) => {
                out.write_str("note:")?;
                bytes.iter().enumerate().try_for_each(|(place, byte)| {
                    let separator = if place == 0 { "" } else { "." };
                    write!(out, "{separator}{byte:02x}")
                })
            }
            Action::Unknown(bytes) => {
                out.write_str("raw:")?;
                write_hex(bytes, out)
            }
        }
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_drop() {
            return out.write_str("drop");
        }
        let mut separator = "";
        let mut comma = |out: &mut fmt::Formatter<'_>| {
            let written = out.write_str(separator);
            separator = ",";
            written
        };
        if let Some(meter) = self.meter {
            comma(out)?;
            write!(out, "meter:{meter}")?;
        }
        for action in &self.apply {
            comma(out)?;
            action.fmt(out)?;
        }
        if self.clear {
            comma(out)?;
            out.write_str("clear_actions")?;
        }
        if !self.write.is_empty() {
            comma(out)?;
            out.write_str("write_actions(")?;
            for (place, action) in self.write.iter().enumerate() {
                write!(out, "{}{action}", if place == 0 { "" } else { "," })?;
            }
            out.write_str(")")?;
        }
        if let Some((value, mask)) = self.write_metadata {
            comma(out)?;
            write!(out, "write_metadata:{}", Hex(value.into()))?;
            if mask != u64::MAX {
                write!(out, "/{}", Hex(mask.into()))?;
            }
        }
        if let Some(table) = self.goto {
            comma(out)?;
            write!(out, "goto_table:{table}")?;
        }
        Ok(())
    }
}
