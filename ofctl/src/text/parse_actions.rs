//! Actions and instructions from text.

use std::str::FromStr;

use super::value::{parse_masked, parse_number, parse_port, parse_sized, parse_value};
use super::{ParseError, ParseProblem, Span, parse_nicira as nicira};
use crate::wire::{
    Action, Field, FieldValue, GroupId, Instructions, MaskedField, Match, OfPort, SubField, TableId,
};

/// What the flow says of its packets, by which some actions are written differently.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context {
    /// There is a VLAN tag.
    tagged: bool,
    /// There is an IP header, with this protocol.
    ip_proto: Option<u8>,
    /// How many actions this stands in.
    depth: u8,
}

impl Context {
    /// As deep as the wire takes actions inside of actions.
    const MAX_DEPTH: u8 = 32;

    /// The same, for the actions inside of an action.
    pub(super) fn inside(mut self, span: Span<'_>) -> Result<Context, ParseError> {
        self.depth += 1;
        if self.depth > Self::MAX_DEPTH {
            return Err(span.error(ParseProblem::TooDeep(Self::MAX_DEPTH)));
        }
        Ok(self)
    }

    /// What a match says.
    pub(super) fn of(matching: &Match) -> Context {
        let exact = |field| matching.exact(field).map(FieldValue::to_u64);
        let is_ip = matches!(exact(Field::EthType), Some(0x0800 | 0x86dd));
        Context {
            tagged: matching.get(Field::VlanVid).is_some_and(|vid| vid.value.to_u64() & 0x1000 != 0),
            ip_proto: exact(Field::IpProto).filter(|_| is_ip).map(|proto| proto as u8),
            depth: 0,
        }
    }
}

/// Splits at commas and blanks that stand outside parentheses.
pub(super) fn split(span: Span<'_>) -> impl Iterator<Item = Span<'_>> {
    let mut rest = Some(span);
    std::iter::from_fn(move || {
        loop {
            let left = rest?;
            let mut depth = 0usize;
            let end = left.text.bytes().position(|byte| {
                match byte {
                    b'(' => depth += 1,
                    b')' => depth = depth.saturating_sub(1),
                    b',' | b' ' | b'\t' | b'\r' | b'\n' => return depth == 0,
                    _ => {}
                }
                false
            });
            rest = end.map(|end| left.from(end + 1));
            let piece = end.map_or(left, |end| left.to(end));
            if !piece.text.is_empty() {
                return Some(piece);
            }
        }
    })
}

/// A name and its value, by `=`, `:` or parentheses.
pub(super) fn key_value(span: Span<'_>) -> Result<(Span<'_>, Option<Span<'_>>), ParseError> {
    let Some(place) = span.text.find(['=', ':', '(']) else { return Ok((span, None)) };
    let value = span.from(place + 1);
    if span.text.as_bytes()[place] != b'(' {
        return Ok((span.to(place), Some(value)));
    }
    match value.text.strip_suffix(')') {
        Some(inside) => Ok((span.to(place), Some(value.to(inside.len())))),
        None => Err(span.error(ParseProblem::Missing("a closing parenthesis"))),
    }
}

/// An action's name, and what stands after the colon or between the parentheses.
fn name_and_argument(span: Span<'_>) -> Result<(&str, Option<Span<'_>>), ParseError> {
    let Some(place) = span.text.find([':', '(']) else { return Ok((span.text, None)) };
    let argument = span.from(place + 1);
    if span.text.as_bytes()[place] == b':' {
        return Ok((&span.text[..place], Some(argument)));
    }
    match argument.text.strip_suffix(')') {
        Some(inside) => Ok((&span.text[..place], Some(argument.to(inside.len())))),
        None => Err(span.error(ParseProblem::Missing("a closing parenthesis"))),
    }
}

pub(super) fn argument<'a>(span: Span<'a>, argument: Option<Span<'a>>) -> Result<Span<'a>, ParseError> {
    argument.ok_or_else(|| span.error(ParseProblem::Missing("the action's argument")))
}

/// `NXM_NX_REG0[0..3]`; without brackets it is the whole field.
pub(super) fn parse_sub_field(span: Span<'_>) -> Result<SubField, ParseError> {
    let bad = || span.bad_value("bits of a field, as in NXM_NX_REG0[0..3]");
    let (name, inside) = match span.split_once("[") {
        Some((name, rest)) => (name, rest.text.strip_suffix(']').ok_or_else(bad)?),
        None => (span, ""),
    };
    let field = Field::from_header_name(name.text).or_else(|| Field::from_name(name.text)).ok_or_else(bad)?;
    if inside.is_empty() {
        return Ok(field.whole());
    }
    let (first, last) = inside.split_once("..").unwrap_or((inside, inside));
    let number = |text: &str| parse_number(text).and_then(|number| u16::try_from(number).ok());
    let (first, last) = number(first).zip(number(last)).ok_or_else(bad)?;
    if first > last || last >= field.bits_wide() {
        return Err(bad());
    }
    Ok(field.bits(first..last + 1))
}

/// Both sides of an arrow.
pub(super) fn arrow<'a>(span: Span<'a>) -> Result<(Span<'a>, Span<'a>), ParseError> {
    span.split_once("->").ok_or_else(|| span.error(ParseProblem::Missing("'->'")))
}

/// True if loads have no header for the field, so that the form with a mask is used.
fn needs_masked_form(field: Field) -> bool {
    let spec = field.spec();
    field.is_experimenter() || usize::from(spec.wire_bytes) > FieldValue::MAX_BYTES
}

/// Bits `start..start + n` set.
fn ones(start: u16, n: u16) -> u128 {
    let low = if n >= 128 { u128::MAX } else { (1 << n) - 1 };
    low.checked_shl(start.into()).unwrap_or(0)
}

fn parse_load(span: Span<'_>, out: &mut Vec<Action>) -> Result<(), ParseError> {
    let (value, dst) = arrow(span)?;
    let dst = parse_sub_field(dst)?;
    let number = parse_value(dst.field, value)?.to_u128();
    if number & !ones(0, dst.n_bits) != 0 {
        return Err(value.bad_value(&dst.to_string()));
    }
    if needs_masked_form(dst.field) {
        let shifted = number.checked_shl(dst.start.into()).unwrap_or(0);
        out.push(masked(dst.field, shifted.into(), ones(dst.start, dst.n_bits).into()));
    } else {
        put_loads(dst, number, out);
    }
    Ok(())
}

fn masked(field: Field, value: FieldValue, mask: FieldValue) -> Action {
    Action::SetMasked(Box::new(MaskedField { field, value: value & mask, mask }))
}

/// Loads of at most 64 bits each, the lowest first.
fn put_loads(dst: SubField, number: u128, out: &mut Vec<Action>) {
    for first in (0..dst.n_bits).step_by(64) {
        let n_bits = (dst.n_bits - first).min(64);
        let part = SubField { field: dst.field, start: dst.start + first, n_bits };
        out.push(Action::RegLoad { dst: part, value: (number >> first & ones(0, n_bits)) as u64 });
    }
}

fn parse_move(span: Span<'_>) -> Result<Action, ParseError> {
    let (src, dst_text) = arrow(span)?;
    let (src, dst) = (parse_sub_field(src)?, parse_sub_field(dst_text)?);
    if src.n_bits != dst.n_bits {
        return Err(dst_text.bad_value(&format!("a move of {} bits", src.n_bits)));
    }
    Ok(Action::RegMove { src, dst })
}

/// A field's value, or with a mask the loads that OpenFlow 1.3 has for it.
fn parse_set_field(span: Span<'_>, out: &mut Vec<Action>) -> Result<(), ParseError> {
    let (value, field) = arrow(span)?;
    let known = Field::from_name(field.text).filter(|field| field.spec().writable);
    let known = known.ok_or_else(|| field.bad_value("a field that actions can write"))?;
    // Flags with signs have a mask too: those that are named.
    if !value.text.contains('/') && !value.text.starts_with(['+', '-']) {
        out.push(Action::SetField(known, parse_value(known, value)?));
        return Ok(());
    }
    let (number, mask) = parse_masked(known, value)?;
    let (number, mask) = (number & mask, mask & known.exact_mask());
    if mask == known.exact_mask() {
        out.push(Action::SetField(known, number));
    } else if needs_masked_form(known) {
        out.push(masked(known, number, mask));
    } else {
        let (number, mut left) = (number.to_u128(), mask.to_u128());
        while left != 0 {
            let start = left.trailing_zeros();
            let n_bits = (left >> start).trailing_ones().min(64);
            let run = ones(start as u16, n_bits as u16);
            let dst = SubField { field: known, start: start as u16, n_bits: n_bits as u16 };
            put_loads(dst, (number & run) >> start, out);
            left &= !run;
        }
    }
    Ok(())
}

/// `OFPP_IN_PORT` as 16 bits: in a resubmit, the ingress port stays what it is.
const IN_PORT_16: u16 = 0xfff8;

/// A port that must fit into 16 bits.
pub(super) fn parse_port16(port: Span<'_>) -> Result<u16, ParseError> {
    let number = parse_port(port.text).ok_or_else(|| port.bad_value("a port"))?;
    number.to_16().ok_or_else(|| port.bad_value("a port of 16 bits"))
}

/// `(PORT,TABLE)` or `(PORT,TABLE,ct)`, either of the first two empty.
fn parse_resubmit(span: Span<'_>) -> Result<Action, ParseError> {
    let (port, rest) = span.split_once(",").unwrap_or((span, span.from(span.text.len())));
    let (table, ct) = rest.split_once(",").unwrap_or((rest, rest.from(rest.text.len())));
    let is_ct = match ct.trim().text {
        "" => false,
        "ct" => true,
        _ => return Err(ct.bad_value("the third argument of resubmit, which is 'ct' or nothing")),
    };
    let (port, table) = (port.trim(), table.trim());
    let table = if table.text.is_empty() { None } else { Some(TableId(parse_sized(table, "a table")?)) };
    let port = if port.text.is_empty() { None } else { Some(parse_port16(port)?) };
    match (port, table) {
        (None, None) => Err(span.error(ParseProblem::Missing("a port or a table"))),
        (port, table) if is_ct => {
            Ok(Action::ResubmitCt { port: port.unwrap_or(IN_PORT_16), table: table.unwrap_or(TableId::ALL) })
        }
        (None, Some(table)) => Ok(Action::ResubmitTable { table }),
        (Some(port), table) => Ok(Action::ResubmitPort { port, table: table.unwrap_or(TableId::ALL) }),
    }
}

/// A port, bits of a field that hold one, or `port=1,max_len=100`.
fn parse_output(span: Span<'_>) -> Result<Action, ParseError> {
    if span.text.contains('[') {
        return parse_sub_field(span).map(Action::OutputReg);
    }
    if span.text.contains('=') {
        let (mut port, mut max_len) = (None, None);
        for piece in split(span) {
            let (key, value) = key_value(piece)?;
            let value = argument(piece, value)?;
            match key.text {
                "port" => port = Some(parse_port16(value)?),
                "max_len" => max_len = Some(parse_sized(value, "bytes to output")?),
                other => return Err(key.error(ParseProblem::UnknownArgument(other.to_owned()))),
            }
        }
        let both = port.zip(max_len).ok_or_else(|| span.error(ParseProblem::Missing("port or max_len")))?;
        return Ok(Action::OutputTrunc { port: both.0, max_len: both.1 });
    }
    match parse_port(span.text) {
        Some(OfPort::CONTROLLER) => Ok(Action::Controller { max_len: u16::MAX }),
        Some(port) => Ok(Action::Output(port)),
        None => parse_sub_field(span).map(Action::OutputReg).map_err(|_| span.bad_value("a port")),
    }
}

pub(super) fn parse_bytes(span: Span<'_>, separator: &str) -> Result<Vec<u8>, ParseError> {
    let digits = span.text.replace(separator, "");
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| span.bad_value("bytes in hexadecimal"))
}

/// Actions with commas in between.
pub(super) fn parse_list(span: Span<'_>, context: &mut Context) -> Result<Vec<Action>, ParseError> {
    let mut actions = Vec::new();
    if span.trim().text == "drop" {
        return Ok(actions);
    }
    split(span).try_for_each(|piece| parse_action(piece, context, &mut actions))?;
    Ok(actions)
}

/// A tag where there was none, for the actions of OpenFlow 1.0 that write into one.
fn need_tag(context: &mut Context, out: &mut Vec<Action>) {
    if !std::mem::replace(&mut context.tagged, true) {
        out.push(Action::PushVlan(0x8100));
    }
}

/// Reads one action of the text, which may be several of OpenFlow 1.3, or none.
fn parse_action(span: Span<'_>, context: &mut Context, out: &mut Vec<Action>) -> Result<(), ParseError> {
    if let Some(arguments) = span.text.strip_prefix("check_pkt_larger(") {
        out.push(parse_check_pkt_larger(span.from(span.text.len() - arguments.len()))?);
        return Ok(());
    }
    let (name, given) = name_and_argument(span)?;
    let needed = || argument(span, given);
    let lower;
    let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        lower = name.to_ascii_lowercase();
        lower.as_str()
    } else {
        name
    };
    let action = match name {
        "output" => parse_output(needed()?)?,
        "controller" => nicira::parse_controller(given)?,
        "set_field" => return parse_set_field(needed()?, out),
        "load" => return parse_load(needed()?, out),
        "move" => parse_move(needed()?)?,
        "push_vlan" => {
            context.tagged = true;
            Action::PushVlan(parse_sized(needed()?, "an Ethernet type")?)
        }
        "pop_vlan" | "strip_vlan" => {
            context.tagged = false;
            Action::PopVlan
        }
        "resubmit" => parse_resubmit(needed()?)?,
        "group" => Action::Group(GroupId(parse_sized(needed()?, "a group")?)),
        "dec_ttl" => match given {
            None => Action::DecTtl,
            Some(ids) => Action::DecTtlIds(
                split(ids).map(|id| parse_sized(id, "a controller's number")).collect::<Result<_, _>>()?,
            ),
        },
        "push" => Action::StackPush(parse_sub_field(needed()?)?),
        "pop" => Action::StackPop(parse_sub_field(needed()?)?),
        "note" => Action::note(&parse_bytes(needed()?, ".")?),
        "ct" => nicira::parse_ct(given, context)?,
        "ct_clear" => Action::CtClear,
        "nat" => nicira::parse_nat(given)?,
        "learn" => nicira::parse_learn(needed()?)?,
        "conjunction" => nicira::parse_conjunction(needed()?)?,
        "multipath" => nicira::parse_multipath(needed()?)?,
        "bundle" => nicira::parse_bundle(needed()?, false)?,
        "bundle_load" => nicira::parse_bundle(needed()?, true)?,
        "sample" => nicira::parse_sample(needed()?)?,
        "fin_timeout" => nicira::parse_fin_timeout(needed()?)?,
        "exit" => Action::Exit,
        "encap" => nicira::parse_encap(needed()?)?,
        "decap" => nicira::parse_decap(given)?,
        "clone" => Action::Clone(parse_list(needed()?, &mut context.inside(span)?)?),
        "delete_field" => {
            let name = needed()?;
            let field = Field::from_name(name.text).or_else(|| Field::from_header_name(name.text));
            Action::DeleteField(field.ok_or_else(|| name.bad_value("a field"))?)
        }
        "set_queue" => Action::SetQueue(parse_sized(needed()?, "a queue")?),
        "pop_queue" => Action::PopQueue,
        "enqueue" => {
            let both = needed()?;
            let split = both.split_once(":").or_else(|| both.split_once(","));
            let (port, queue) = split.ok_or_else(|| both.error(ParseProblem::Missing("the queue")))?;
            let queue = parse_sized(queue.trim(), "a queue")?;
            let port = parse_port(port.text).ok_or_else(|| port.bad_value("a port"))?;
            let output = Action::OutputWith { port, max_len: u16::MAX };
            out.extend([Action::SetQueue(queue), output, Action::PopQueue]);
            return Ok(());
        }
        "push_mpls" => Action::PushMpls(parse_sized(needed()?, "an Ethernet type")?),
        "pop_mpls" => Action::PopMpls(parse_sized(needed()?, "an Ethernet type")?),
        "set_mpls_ttl" => Action::SetMplsTtl(parse_sized(needed()?, "a time to live")?),
        "dec_mpls_ttl" => Action::DecMplsTtl,
        "dec_nsh_ttl" => Action::DecNshTtl,
        "raw" => {
            let bytes = parse_bytes(needed()?, "")?;
            Action::from_bytes(&bytes).map_err(|_| span.bad_value("one action's bytes"))?
        }
        _ if given.is_none() && parse_port(name).is_some() => parse_output(span)?,
        _ => return parse_legacy(name, span, given, context, out),
    };
    out.push(action);
    Ok(())
}

/// The actions of OpenFlow 1.0 and 1.1 that later versions have as set-fields.
fn parse_legacy(
    name: &str,
    span: Span<'_>,
    given: Option<Span<'_>>,
    context: &mut Context,
    out: &mut Vec<Action>,
) -> Result<(), ParseError> {
    let needed = || argument(span, given);
    let field = match name {
        "set_tunnel" | "set_tunnel64" => Field::TunnelId,
        "set_mpls_label" => Field::MplsLabel,
        "set_mpls_tc" => Field::MplsTc,
        "mod_dl_src" => Field::EthSrc,
        "mod_dl_dst" => Field::EthDst,
        "mod_nw_src" => Field::Ipv4Src,
        "mod_nw_dst" => Field::Ipv4Dst,
        "mod_nw_ecn" => Field::IpEcn,
        "mod_vlan_pcp" | "set_vlan_pcp" => Field::VlanPcp,
        "mod_tp_src" | "mod_tp_dst" => {
            let (src, dst) = match context.ip_proto {
                Some(6) => (Field::TcpSrc, Field::TcpDst),
                Some(17) => (Field::UdpSrc, Field::UdpDst),
                Some(132) => (Field::SctpSrc, Field::SctpDst),
                _ => {
                    let name = name.to_owned();
                    return Err(span.error(ParseProblem::NeedsProtocol { name, needs: "tcp, udp or sctp" }));
                }
            };
            if name == "mod_tp_src" { src } else { dst }
        }
        "mod_nw_ttl" => {
            out.push(Action::SetNwTtl(parse_sized(needed()?, "a time to live")?));
            return Ok(());
        }
        "mod_nw_tos" => {
            let tos: u8 = parse_sized(needed()?, "a type of service")?;
            if tos & 3 != 0 {
                return Err(needed()?.bad_value("a type of service, whose two low bits are mod_nw_ecn"));
            }
            out.push(Action::set_field(Field::IpDscp, tos >> 2));
            return Ok(());
        }
        "mod_vlan_vid" | "set_vlan_vid" => {
            let vid: u16 = parse_sized(needed()?, "a VLAN")?;
            if vid > 0xfff {
                return Err(needed()?.bad_value("a VLAN"));
            }
            need_tag(context, out);
            out.push(Action::set_field(Field::VlanVid, vid | 0x1000));
            return Ok(());
        }
        _ => return Err(span.error(ParseProblem::UnknownAction(name.to_owned()))),
    };
    let value = parse_value(field, needed()?)?;
    if field == Field::VlanPcp {
        need_tag(context, out);
    }
    out.push(Action::SetField(field, value));
    Ok(())
}

/// `LENGTH)->BIT`.
fn parse_check_pkt_larger(span: Span<'_>) -> Result<Action, ParseError> {
    let (length, dst) = arrow(span)?;
    let Some(digits) = length.text.strip_suffix(')') else {
        return Err(length.error(ParseProblem::Missing("a closing parenthesis")));
    };
    let length = parse_sized(length.to(digits.len()), "a length")?;
    let bit = parse_sub_field(dst)?;
    if bit.n_bits != 1 {
        return Err(dst.bad_value("a single bit"));
    }
    Ok(Action::CheckPktLarger { length, dst: bit })
}

pub(super) fn parse_instructions(span: Span<'_>, context: &mut Context) -> Result<Instructions, ParseError> {
    let mut result = Instructions::default();
    if matches!(span.text, "" | "drop") {
        return Ok(result);
    }
    for piece in split(span) {
        let name = piece.text.split([':', '(']).next().unwrap_or_default();
        let argument = |piece| name_and_argument(piece).and_then(|(_, given)| argument(piece, given));
        let order = |wrong: bool, name: &'static str| {
            if wrong { Err(piece.error(ParseProblem::Order(name))) } else { Ok(()) }
        };
        let once = |again: bool| {
            if again { Err(piece.error(ParseProblem::Twice(name.to_owned()))) } else { Ok(()) }
        };
        let after_metadata = result.write_metadata.is_some() || result.goto.is_some();
        match name {
            "meter" => {
                once(result.meter.is_some())?;
                result.meter = Some(parse_sized(argument(piece)?, "a meter")?);
            }
            "clear_actions" => {
                once(result.clear)?;
                order(after_metadata || !result.write.is_empty(), "clear_actions")?;
                result.clear = true;
            }
            "write_actions" => {
                once(!result.write.is_empty())?;
                order(after_metadata, "write_actions")?;
                let inside = argument(piece)?;
                result.write = parse_list(inside, context)?;
            }
            "write_metadata" => {
                once(result.write_metadata.is_some())?;
                order(result.goto.is_some(), "write_metadata")?;
                let argument = argument(piece)?;
                let (value, mask) = match argument.split_once("/") {
                    Some((value, mask)) => (value, parse_sized(mask, "a mask of the metadata")?),
                    None => (argument, u64::MAX),
                };
                result.write_metadata = Some((parse_sized(value, "the metadata")?, mask));
            }
            "goto_table" => {
                once(result.goto.is_some())?;
                result.goto = Some(TableId(parse_sized(argument(piece)?, "a table")?));
            }
            _ => {
                order(after_metadata || result.clear || !result.write.is_empty(), "an action")?;
                parse_action(piece, context, &mut result.apply)?;
            }
        }
    }
    Ok(result)
}

impl FromStr for Action {
    type Err = ParseError;

    /// Reads a text that is exactly one action of OpenFlow 1.3.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = Span { text, at: 0 }.trim();
        let mut actions = Vec::new();
        parse_action(span, &mut Context::default(), &mut actions)?;
        match actions.pop() {
            Some(action) if actions.is_empty() => Ok(action),
            _ => Err(span.bad_value("a single action of OpenFlow 1.3")),
        }
    }
}

impl FromStr for Instructions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_instructions(Span { text, at: 0 }.trim(), &mut Context::default())
    }
}
