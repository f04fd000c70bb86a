//! Actions and instructions from text.

use std::str::FromStr;

use super::value::{parse_number, parse_port, parse_sized, parse_value};
use super::{ParseError, ParseProblem, Span};
use crate::wire::{Action, Field, GroupId, Instructions, OfPort, SubField, TableId};

/// Splits at commas that stand outside parentheses.
fn split(span: Span<'_>) -> Vec<Span<'_>> {
    let mut pieces = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (place, byte) in span.text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                pieces.push(span.to(place).from(start).trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(span.from(start).trim());
    pieces
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

fn argument<'a>(span: Span<'a>, argument: Option<Span<'a>>) -> Result<Span<'a>, ParseError> {
    argument.ok_or_else(|| span.error(ParseProblem::Missing("the action's argument")))
}

/// `NXM_NX_REG0[0..3]`.
fn parse_sub_field(span: Span<'_>) -> Result<SubField, ParseError> {
    let bad = || span.bad_value("bits of a field, as in NXM_NX_REG0[0..3]");
    let (name, rest) = span.split_once("[").ok_or_else(bad)?;
    let inside = rest.text.strip_suffix(']').ok_or_else(bad)?;
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
fn arrow<'a>(span: Span<'a>) -> Result<(Span<'a>, Span<'a>), ParseError> {
    span.split_once("->").ok_or_else(|| span.error(ParseProblem::Missing("'->'")))
}

fn parse_load(span: Span<'_>) -> Result<Action, ParseError> {
    let (value, dst) = arrow(span)?;
    let dst = parse_sub_field(dst)?;
    let number = parse_value(dst.field, value)?.to_u128();
    let fits = dst.n_bits <= 64 && number >> dst.n_bits == 0;
    match u64::try_from(number) {
        Ok(value) if fits => Ok(Action::RegLoad { dst, value }),
        _ => Err(value.bad_value(&dst.to_string())),
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

fn parse_set_field(span: Span<'_>) -> Result<Action, ParseError> {
    let (value, field) = arrow(span)?;
    let known = Field::from_name(field.text).filter(|field| field.spec().writable);
    let known = known.ok_or_else(|| field.bad_value("a field that actions can write"))?;
    Ok(Action::SetField(known, parse_value(known, value)?))
}

/// `(PORT,TABLE)`, either of them empty.
fn parse_resubmit(span: Span<'_>) -> Result<Action, ParseError> {
    let (port, table) = span.split_once(",").unwrap_or((span, span.from(span.text.len())));
    let table = if table.text.is_empty() { None } else { Some(TableId(parse_sized(table, "a table")?)) };
    if port.text.is_empty() {
        return match table {
            Some(table) => Ok(Action::ResubmitTable { table }),
            None => Err(span.error(ParseProblem::Missing("a port or a table"))),
        };
    }
    let number = parse_port(port.text).ok_or_else(|| port.bad_value("a port"))?;
    let narrow = match number.0 {
        wide @ 0xffff_ff00.. => Some((wide & 0xffff) as u16),
        small => u16::try_from(small).ok().filter(|&small| small < 0xff00),
    };
    let port = narrow.ok_or_else(|| port.bad_value("a port of 16 bits"))?;
    Ok(Action::ResubmitPort { port, table: table.unwrap_or(TableId::ALL) })
}

fn parse_output(span: Span<'_>) -> Result<Action, ParseError> {
    if span.text.contains('[') {
        return parse_sub_field(span).map(Action::OutputReg);
    }
    match parse_port(span.text).ok_or_else(|| span.bad_value("a port"))? {
        OfPort::CONTROLLER => Ok(Action::Controller { max_len: u16::MAX }),
        port => Ok(Action::Output(port)),
    }
}

/// `CONTROLLER`, `CONTROLLER:128` or `controller(max_len=128)`.
fn parse_controller(span: Option<Span<'_>>) -> Result<Action, ParseError> {
    let max_len = match span {
        None => u16::MAX,
        Some(span) => {
            let offset = if span.text.starts_with("max_len=") { "max_len=".len() } else { 0 };
            parse_sized(span.from(offset), "the bytes to send to the controller")?
        }
    };
    Ok(Action::Controller { max_len })
}

fn parse_bytes(span: Span<'_>, separator: &str) -> Result<Vec<u8>, ParseError> {
    let digits = span.text.replace(separator, "");
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    bytes.ok_or_else(|| span.bad_value("bytes in hexadecimal"))
}

fn parse_action(span: Span<'_>) -> Result<Action, ParseError> {
    let (name, given) = name_and_argument(span)?;
    let needed = || argument(span, given);
    Ok(match name.to_ascii_lowercase().as_str() {
        "output" => parse_output(needed()?)?,
        "controller" => parse_controller(given)?,
        "set_field" => parse_set_field(needed()?)?,
        "load" => parse_load(needed()?)?,
        "move" => parse_move(needed()?)?,
        "push_vlan" => Action::PushVlan(parse_sized(needed()?, "an Ethernet type")?),
        "pop_vlan" | "strip_vlan" => Action::PopVlan,
        "resubmit" => parse_resubmit(needed()?)?,
        "group" => Action::Group(GroupId(parse_sized(needed()?, "a group")?)),
        "dec_ttl" if given.is_none() => Action::DecTtl,
        "push" => Action::StackPush(parse_sub_field(needed()?)?),
        "pop" => Action::StackPop(parse_sub_field(needed()?)?),
        "note" => Action::note(&parse_bytes(needed()?, ".")?),
        "raw" => {
            let bytes = parse_bytes(needed()?, "")?;
            match Action::from_bytes(&bytes) {
                Ok(action) => action,
                Err(_) => return Err(span.bad_value("one action's bytes")),
            }
        }
        _ if given.is_none() && parse_port(name).is_some() => parse_output(span)?,
        _ => return Err(span.error(ParseProblem::UnknownAction(name.to_owned()))),
    })
}

pub(super) fn parse_instructions(span: Span<'_>) -> Result<Instructions, ParseError> {
    let mut result = Instructions::default();
    if matches!(span.text, "" | "drop") {
        return Ok(result);
    }
    for piece in split(span) {
        let (name, given) = name_and_argument(piece)?;
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
                result.meter = Some(parse_sized(argument(piece, given)?, "a meter")?);
            }
            "clear_actions" => {
                once(result.clear)?;
                order(after_metadata || !result.write.is_empty(), "clear_actions")?;
                result.clear = true;
            }
            "write_actions" => {
                once(!result.write.is_empty())?;
                order(after_metadata, "write_actions")?;
                let inside = argument(piece, given)?;
                result.write = split(inside).into_iter().map(parse_action).collect::<Result<_, _>>()?;
            }
            "write_metadata" => {
                once(result.write_metadata.is_some())?;
                order(result.goto.is_some(), "write_metadata")?;
                let argument = argument(piece, given)?;
                let (value, mask) = match argument.split_once("/") {
                    Some((value, mask)) => (value, parse_sized(mask, "a mask of the metadata")?),
                    None => (argument, u64::MAX),
                };
                result.write_metadata = Some((parse_sized(value, "the metadata")?, mask));
            }
            "goto_table" => {
                once(result.goto.is_some())?;
                result.goto = Some(TableId(parse_sized(argument(piece, given)?, "a table")?));
            }
            _ => {
                order(after_metadata || result.clear || !result.write.is_empty(), "an action")?;
                result.apply.push(parse_action(piece)?);
            }
        }
    }
    Ok(result)
}

impl FromStr for Action {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_action(Span { text, at: 0 }.trim())
    }
}

impl FromStr for Instructions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_instructions(Span { text, at: 0 }.trim())
    }
}
