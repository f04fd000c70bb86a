//! Actions and instructions as text.

use std::fmt;

use super::Hex;
use super::nicira::Actions;
use super::value::Value;
use crate::wire::{Action, Instructions, OfPort, PacketType, SubField, TableId};

pub(super) fn write_hex(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Bytes as `01.02.03`.
pub(super) fn write_dotted(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().enumerate().try_for_each(|(place, byte)| {
        let separator = if place == 0 { "" } else { "." };
        write!(out, "{separator}{byte:02x}")
    })
}

/// One after the other, with something in between.
pub(super) fn separated<T: fmt::Display>(
    separator: &str,
    all: impl IntoIterator<Item = T>,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    all.into_iter().enumerate().try_for_each(|(place, item)| {
        if place > 0 {
            out.write_str(separator)?;
        }
        item.fmt(out)
    })
}

/// `OFPP_IN_PORT` as 16 bits: in a resubmit, the ingress port stays what it is.
const IN_PORT_16: u16 = 0xfff8;

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
pub(super) struct Port16(pub(super) u16);

impl fmt::Display for Port16 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        OfPort::from_16(self.0).fmt(out)
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
            Action::OutputWith { port, .. } => Action::Output(*port).fmt(out),
            Action::Controller { max_len } => write!(out, "CONTROLLER:{max_len}"),
            Action::SetField(field, value) => {
                write!(out, "set_field:{}->{}", Value(*field, *value), field.name())
            }
            Action::RegLoad { dst, value } => write!(out, "load:{}->{dst}", Hex((*value).into())),
            Action::RegMove { src, dst } => write!(out, "move:{src}->{dst}"),
            Action::Ct(ct) => ct.fmt(out),
            Action::OutputTrunc { port, max_len } => {
                write!(out, "output(port={},max_len={max_len})", Port16(*port))
            }
            Action::ControllerWith(controller) => controller.fmt(out),
            Action::SetMasked(masked) => masked.fmt(out),
            Action::SetQueue(queue) => write!(out, "set_queue:{queue}"),
            Action::PopQueue => out.write_str("pop_queue"),
            Action::PushMpls(ethertype) => write!(out, "push_mpls:{ethertype:#06x}"),
            Action::PopMpls(ethertype) => write!(out, "pop_mpls:{ethertype:#06x}"),
            Action::SetMplsTtl(ttl) => write!(out, "set_mpls_ttl({ttl})"),
            Action::DecMplsTtl => out.write_str("dec_mpls_ttl"),
            Action::SetNwTtl(ttl) => write!(out, "mod_nw_ttl:{ttl}"),
            Action::DecTtlIds(ids) => {
                out.write_str("dec_ttl(")?;
                separated(",", ids.iter(), out)?;
                out.write_str(")")
            }
            Action::DecNshTtl => out.write_str("dec_nsh_ttl"),
            // Open vSwitch does not say that it is one with conntrack fields where it says no table.
            // Open vSwitch prints what the same without `ct` would be.
            Action::ResubmitCt { port, table: TableId::ALL } => {
                write!(out, "resubmit({},,ct)", Port16(*port))
            }
            Action::ResubmitCt { port: IN_PORT_16, table } => write!(out, "resubmit(,{table},ct)"),
            Action::ResubmitCt { port, table } => write!(out, "resubmit({},{table},ct)", Port16(*port)),
            Action::CtClear => out.write_str("ct_clear"),
            Action::Nat(nat) => nat.fmt(out),
            Action::Learn(learn) => learn.fmt(out),
            Action::Conjunction { id, clause, n_clauses } => {
                write!(out, "conjunction({id},{}/{n_clauses})", u16::from(*clause) + 1)
            }
            Action::Multipath(multipath) => multipath.fmt(out),
            Action::Bundle(bundle) => bundle.fmt(out),
            Action::Sample(sample) => sample.fmt(out),
            Action::FinTimeout { idle, hard } => {
                let given = [("idle_timeout", *idle), ("hard_timeout", *hard)];
                let given = given.iter().filter(|(_, seconds)| *seconds != 0);
                out.write_str("fin_timeout(")?;
                separated(
                    ",",
                    given.map(|(name, seconds)| format_args!("{name}={seconds}").to_string()),
                    out,
                )?;
                out.write_str(")")
            }
            Action::Exit => out.write_str("exit"),
            Action::Encap(encap) => encap.fmt(out),
            Action::Decap(PacketType::USE_NEXT) => out.write_str("decap()"),
            Action::Decap(PacketType { namespace, kind }) => {
                write!(out, "decap(packet_type(ns={namespace},type={}))", Hex((*kind).into()))
            }
            Action::CheckPktLarger { length, dst } => write!(out, "check_pkt_larger({length})->{dst}"),
            Action::DeleteField(field) => write!(out, "delete_field:{}", field.name()),
            Action::Clone(actions) => write!(out, "clone({})", Actions(actions)),
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
                write_dotted(bytes, out)
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
            separated(",", self.write.iter(), out)?;
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
