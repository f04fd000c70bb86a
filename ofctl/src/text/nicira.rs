//! The larger Nicira actions as text.

use std::fmt;
use std::net::IpAddr;

use super::Hex;
use super::actions::{Port16, separated, write_dotted, write_hex};
use super::value::{Masked, Value};
use crate::wire::{
    Action, BundleOutput, ControllerAction, Ct, CtFlags, CtZone, Encap, EncapProperty, Format, Learn,
    LearnFlags, LearnSpec, MaskedField, Multipath, Nat, NatFlags, NatRange, PacketType, Sample,
    SampleDirection,
};

/// Arguments in parentheses, with commas between those that are there.
struct Arguments<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    first: bool,
}

impl<'a, 'f> Arguments<'a, 'f> {
    fn begin(name: &str, out: &'a mut fmt::Formatter<'f>) -> Result<Self, fmt::Error> {
        out.write_str(name)?;
        out.write_str("(")?;
        Ok(Arguments { out, first: true })
    }

    fn put(&mut self, argument: fmt::Arguments<'_>) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.out.write_str(",")?;
        }
        self.out.write_fmt(argument)
    }

    fn put_if(&mut self, given: bool, argument: fmt::Arguments<'_>) -> fmt::Result {
        if given { self.put(argument) } else { Ok(()) }
    }

    fn end(self) -> fmt::Result {
        self.out.write_str(")")
    }
}

/// Actions with commas in between, or `drop`.
pub(super) struct Actions<'a>(pub(super) &'a [Action]);

impl fmt::Display for Actions<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { out.write_str("drop") } else { separated(",", self.0, out) }
    }
}

/// `OFPR_*` by the names of ovs-ofctl's text; their places are their numbers.
pub(super) const REASONS: [&str; 6] =
    ["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];

/// Protocols whose related connections can be followed, and their ports.
pub(super) const ALGS: [(&str, u16); 2] = [("ftp", 21), ("tftp", 69)];

impl fmt::Display for Ct {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Arguments::begin("ct", out)?;
        out.put_if(self.flags.contains(CtFlags::COMMIT), format_args!("commit"))?;
        out.put_if(self.flags.contains(CtFlags::FORCE), format_args!("force"))?;
        if let Some(table) = self.table {
            out.put(format_args!("table={table}"))?;
        }
        match self.zone {
            CtZone::Number(0) => {}
            CtZone::Number(number) => out.put(format_args!("zone={number}"))?,
            CtZone::Field(bits) => out.put(format_args!("zone={bits}"))?,
        }
        let rest = match self.actions.split_first() {
            Some((Action::Nat(nat), rest)) => {
                out.put(format_args!("{nat}"))?;
                rest
            }
            _ => &self.actions,
        };
        out.put_if(!rest.is_empty(), format_args!("exec({})", Actions(rest)))?;
        match ALGS.iter().find(|(_, port)| *port == self.alg) {
            Some((name, _)) => out.put(format_args!("alg={name}"))?,
            None => out.put_if(self.alg != 0, format_args!("alg={}", self.alg))?,
        }
        out.end()
    }
}

/// An address as a range has it: one of IPv6 in brackets if ports follow.
struct Bracketed(IpAddr, bool);

impl fmt::Display for Bracketed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(address) if self.1 => write!(out, "[{address}]"),
            address => address.fmt(out),
        }
    }
}

impl fmt::Display for NatRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.ports.is_some();
        Bracketed(self.first, brackets).fmt(out)?;
        if let Some(last) = self.last.filter(|last| *last != self.first) {
            write!(out, "-{}", Bracketed(last, brackets))?;
        }
        if let Some((first, last)) = self.ports {
            write!(out, ":{first}")?;
            if let Some(last) = last.filter(|last| *last != first) {
                write!(out, "-{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.flags {
            flags if flags.contains(NatFlags::SRC) => "src",
            flags if flags.contains(NatFlags::DST) => "dst",
            _ => return out.write_str("nat"),
        };
        let mut out = Arguments::begin("nat", out)?;
        let Some(range) = self.range else {
            out.put(format_args!("{side}"))?;
            return out.end();
        };
        out.put(format_args!("{side}={range}"))?;
        out.put_if(self.flags.contains(NatFlags::PERSISTENT), format_args!("persistent"))?;
        out.put_if(self.flags.contains(NatFlags::PROTO_HASH), format_args!("hash"))?;
        out.put_if(self.flags.contains(NatFlags::PROTO_RANDOM), format_args!("random"))?;
        out.end()
    }
}

impl fmt::Display for LearnSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LearnSpec::MatchValue { value, dst } if dst.is_whole() => {
                write!(out, "{}={}", dst.field.name(), Value(dst.field, value))
            }
            LearnSpec::MatchValue { value, dst } => write!(out, "{dst}={}", Hex(value.to_u128())),
            LearnSpec::MatchField { src, dst } if src.field == dst.field && src.start == dst.start => {
                dst.fmt(out)
            }
            LearnSpec::MatchField { src, dst } => write!(out, "{dst}={src}"),
            LearnSpec::LoadValue { value, dst } => write!(out, "load:{}->{dst}", Hex(value.to_u128())),
            LearnSpec::LoadField { src, dst } => write!(out, "load:{src}->{dst}"),
            LearnSpec::Output(src) => write!(out, "output:{src}"),
        }
    }
}

impl fmt::Display for Learn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Arguments::begin("learn", out)?;
        out.put(format_args!("table={}", self.table))?;
        for (name, seconds) in [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("fin_idle_timeout", self.fin_idle_timeout),
            ("fin_hard_timeout", self.fin_hard_timeout),
        ] {
            out.put_if(seconds != 0, format_args!("{name}={seconds}"))?;
        }
        out.put_if(self.priority != super::DEFAULT_PRIORITY, format_args!("priority={}", self.priority))?;
        out.put_if(self.flags.contains(LearnFlags::SEND_FLOW_REM), format_args!("send_flow_rem"))?;
        out.put_if(self.flags.contains(LearnFlags::DELETE_LEARNED), format_args!("delete_learned"))?;
        out.put_if(self.cookie.0 != 0, format_args!("cookie={}", self.cookie))?;
        out.put_if(self.limit != 0, format_args!("limit={}", self.limit))?;
        if let Some(bit) = self.result_dst {
            out.put(format_args!("result_dst={bit}"))?;
        }
        self.specs.iter().try_for_each(|spec| out.put(format_args!("{spec}")))?;
        out.end()
    }
}

impl fmt::Display for MaskedField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, value, mask) = (self.field, self.value, self.mask);
        // In an action, unlike in a match, only the mask of a decimal number is hexadecimal.
        if field.spec().format == Format::Decimal && !self.is_exact() {
            return write!(out, "set_field:{}/{:#x}->{}", Value(field, value), mask.to_u128(), field.name());
        }
        write!(out, "set_field:{}->{}", Masked(field, value, mask), field.name())
    }
}

impl fmt::Display for ControllerAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return write!(out, "CONTROLLER:{}", self.max_len);
        }
        let mut out = Arguments::begin("controller", out)?;
        if self.reason != Self::REASON_ACTION {
            match REASONS.get(usize::from(self.reason)) {
                Some(name) => out.put(format_args!("reason={name}"))?,
                None => out.put(format_args!("reason={}", self.reason))?,
            }
        }
        out.put_if(self.max_len != u16::MAX, format_args!("max_len={}", self.max_len))?;
        out.put_if(self.id != 0, format_args!("id={}", self.id))?;
        if !self.userdata.is_empty() {
            out.put(format_args!("userdata="))?;
            write_dotted(&self.userdata, out.out)?;
        }
        out.put_if(self.pause, format_args!("pause"))?;
        if let Some(meter) = self.meter {
            out.put(format_args!("meter_id={meter}"))?;
        }
        out.end()
    }
}

impl fmt::Display for Multipath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Multipath { basis, argument, dst, .. } = self;
        let (fields, algorithm, links) =
            (self.fields.name(), self.algorithm.name(), u32::from(self.max_link) + 1);
        write!(out, "multipath({fields},{basis},{algorithm},{links},{argument},{dst})")
    }
}

impl fmt::Display for BundleOutput {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.dst.is_some() { "bundle_load" } else { "bundle" };
        write!(out, "{name}({},{},{},ofport,", self.fields.name(), self.basis, self.algorithm.name())?;
        if let Some(dst) = self.dst {
            write!(out, "{dst},")?;
        }
        out.write_str("members:")?;
        separated(",", self.members.iter().map(|member| Port16(*member)), out)?;
        out.write_str(")")
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Arguments::begin("sample", out)?;
        out.put(format_args!("probability={}", self.probability))?;
        out.put(format_args!("collector_set_id={}", self.collector_set_id))?;
        out.put(format_args!("obs_domain_id={}", self.obs_domain_id))?;
        out.put(format_args!("obs_point_id={}", self.obs_point_id))?;
        if let Some(port) = self.sampling_port {
            out.put(format_args!("sampling_port={}", Port16(port)))?;
        }
        match self.direction {
            SampleDirection::Default => {}
            SampleDirection::Ingress => out.put(format_args!("ingress"))?,
            SampleDirection::Egress => out.put(format_args!("egress"))?,
        }
        out.end()
    }
}

impl fmt::Display for EncapProperty {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncapProperty::NshMdType(md_type) => write!(out, "md_type={md_type}"),
            EncapProperty::NshTlv { class, kind, value } => {
                write!(out, "tlv({class:#06x},{kind},0x")?;
                match value.split_first() {
                    // Without the zero, as Open vSwitch has it. It leaves away bytes of zero as well, and so the length.
                    Some((first @ 1.., rest)) => {
                        write!(out, "{first:x}")?;
                        write_hex(rest, out)?;
                    }
                    _ => write_hex(value, out)?,
                }
                out.write_str(")")
            }
        }
    }
}

impl fmt::Display for Encap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = PacketType::NAMES.iter().find(|(known, _)| *known == self.packet_type);
        write!(out, "encap({}", known.map_or("UNKNOWN", |(_, name)| name))?;
        if !self.properties.is_empty() {
            out.write_str("(")?;
            separated(",", &self.properties, out)?;
            out.write_str(")")?;
        }
        out.write_str(")")
    }
}
