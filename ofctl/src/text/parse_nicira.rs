//! The larger Nicira actions from text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nicira::{ALGS, REASONS};
use super::parse_actions::{
    Context, argument, arrow, key_value, parse_bytes, parse_list, parse_port16, parse_sub_field, split,
};
use super::value::{parse_number, parse_sized, parse_value};
use super::{ParseError, ParseProblem, Span};
use crate::wire::{
    Action, BundleAlgorithm, BundleOutput, ControllerAction, Cookie, Ct, CtFlags, CtZone, Encap,
    EncapProperty, FieldValue, HashFields, Learn, LearnFlags, LearnSpec, Multipath, MultipathAlgorithm, Nat,
    NatFlags, NatRange, PacketType, Sample, SampleDirection, SubField, TableId,
};

fn unknown(key: Span<'_>) -> ParseError {
    key.error(ParseProblem::UnknownArgument(key.text.to_owned()))
}

/// Calls `take` with each argument's name, and with its value or an empty one.
fn each<'a>(
    arguments: Span<'a>,
    mut take: impl FnMut(Span<'a>, Span<'a>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    split(arguments).try_for_each(|piece| {
        let (key, value) = key_value(piece)?;
        take(key, value.unwrap_or(piece.from(piece.text.len())))
    })
}

/// `CONTROLLER`, `CONTROLLER:128` or `controller(reason=no_match,...)`.
pub(super) fn parse_controller(given: Option<Span<'_>>) -> Result<Action, ParseError> {
    let mut action = ControllerAction::default();
    match given {
        None => {}
        Some(number) if number.text.bytes().all(|byte| byte.is_ascii_digit()) && !number.text.is_empty() => {
            action.max_len = parse_sized(number, "the bytes to send to the controller")?;
        }
        Some(arguments) => each(arguments, |key, value| {
            match key.text {
                "max_len" => action.max_len = parse_sized(value, "the bytes to send to the controller")?,
                "id" => action.id = parse_sized(value, "a controller's number")?,
                "userdata" => action.userdata = parse_bytes(value, ".")?.into(),
                "pause" => action.pause = true,
                "meter_id" => action.meter = Some(parse_sized(value, "a meter")?).filter(|&meter| meter != 0),
                "reason" => {
                    let named = REASONS.iter().position(|name| *name == value.text);
                    action.reason = match named.and_then(|place| u8::try_from(place).ok()) {
                        Some(number) => number,
                        None => parse_sized(value, "a reason")?,
                    };
                }
                _ => return Err(unknown(key)),
            }
            Ok(())
        })?,
    }
    if action.is_plain() {
        return Ok(Action::Controller { max_len: action.max_len });
    }
    Ok(Action::ControllerWith(Box::new(action)))
}

pub(super) fn parse_ct(given: Option<Span<'_>>, context: &Context) -> Result<Action, ParseError> {
    let mut ct = Ct::default();
    let Some(arguments) = given else { return Ok(Action::Ct(Box::new(ct))) };
    for piece in split(arguments) {
        let (key, value) = key_value(piece)?;
        let needed = || argument(piece, value);
        match key.text {
            "commit" => ct.flags.0 |= CtFlags::COMMIT.0,
            "force" => ct.flags.0 |= CtFlags::FORCE.0,
            "table" => {
                let table: u8 = parse_sized(needed()?, "a table")?;
                if table == TableId::ALL.0 {
                    return Err(needed()?.bad_value("a table to go on in"));
                }
                ct.table = Some(TableId(table));
            }
            "zone" => {
                let zone = needed()?;
                let number = parse_number(zone.text).and_then(|number| u16::try_from(number).ok());
                ct.zone = match number {
                    Some(number) => CtZone::Number(number),
                    None => {
                        let bits = parse_sub_field(zone)?;
                        if bits.n_bits != 16 {
                            return Err(zone.bad_value("a zone, which has 16 bits"));
                        }
                        CtZone::Field(bits)
                    }
                };
            }
            "alg" => {
                let alg = needed()?;
                let known = ALGS.iter().find(|(name, _)| *name == alg.text);
                ct.alg = match known {
                    Some((_, port)) => *port,
                    None => parse_sized(alg, "an application's protocol, ftp or tftp")?,
                };
            }
            "nat" => ct.actions.push(parse_nat(value)?),
            "exec" => ct.actions.extend(parse_list(needed()?, &mut context.inside(key)?)?),
            _ => return Err(unknown(key)),
        }
    }
    if ct.flags == CtFlags::FORCE {
        return Err(arguments.error(ParseProblem::Missing("commit, which force needs,")));
    }
    Ok(Action::Ct(Box::new(ct)))
}

pub(super) fn parse_nat(given: Option<Span<'_>>) -> Result<Action, ParseError> {
    let mut nat = Nat::default();
    if let Some(arguments) = given {
        each(arguments, |key, value| {
            nat.flags.0 |= match key.text {
                "src" => NatFlags::SRC.0,
                "dst" => NatFlags::DST.0,
                "persistent" => NatFlags::PERSISTENT.0,
                "hash" => NatFlags::PROTO_HASH.0,
                "random" => NatFlags::PROTO_RANDOM.0,
                _ => return Err(unknown(key)),
            };
            if matches!(key.text, "src" | "dst") && !value.text.is_empty() {
                nat.range = Some(parse_range(value)?);
            }
            Ok(())
        })?;
        let both = |a: NatFlags, b: NatFlags| nat.flags.contains(a) && nat.flags.contains(b);
        let sides = nat.flags.0 & (NatFlags::SRC.0 | NatFlags::DST.0);
        if both(NatFlags::SRC, NatFlags::DST) || both(NatFlags::PROTO_HASH, NatFlags::PROTO_RANDOM) {
            return Err(arguments.bad_value("nat: src or dst, and hash or random, and not both"));
        }
        if sides == 0 && nat.flags.0 != 0 {
            return Err(arguments.error(ParseProblem::Missing("src or dst")));
        }
    }
    Ok(Action::Nat(Box::new(nat)))
}

/// `10.0.0.1-10.0.0.9:1-100` or `[fe80::1]-[fe80::9]:1-100`.
fn parse_range(span: Span<'_>) -> Result<NatRange, ParseError> {
    let bad = || span.bad_value("a range of addresses and ports");
    let (addresses, ports) = if span.text.contains(']') {
        let end = span.text.rfind(']').ok_or_else(bad)? + 1;
        (&span.text[..end], span.text[end..].strip_prefix(':'))
    } else if span.text.matches(':').count() > 1 {
        (span.text, None)
    } else {
        span.text.split_once(':').map_or((span.text, None), |(addresses, ports)| (addresses, Some(ports)))
    };
    let address = |text: &str| -> Option<IpAddr> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().ok().map(Into::into),
            None => text
                .parse::<Ipv4Addr>()
                .map(Into::into)
                .or_else(|_| text.parse::<Ipv6Addr>().map(Into::into))
                .ok(),
        }
    };
    let (first, last) = match addresses.split_once('-') {
        Some((first, last)) => (first, Some(address(last).ok_or_else(bad)?)),
        None => (addresses, None),
    };
    let first = address(first).ok_or_else(bad)?;
    let port = |text: &str| parse_number(text).and_then(|number| u16::try_from(number).ok());
    let ports = match ports {
        None => None,
        Some(ports) => Some(match ports.split_once('-') {
            Some((first, last)) => (port(first).ok_or_else(bad)?, Some(port(last).ok_or_else(bad)?)),
            None => (port(ports).ok_or_else(bad)?, None),
        }),
    };
    let mixed = last.is_some_and(|last| last.is_ipv4() != first.is_ipv4() || last < first);
    let backwards = ports.is_some_and(|(first, last)| last.is_some_and(|last| last < first));
    if mixed || backwards || first.is_unspecified() {
        return Err(bad());
    }
    // A port of 0 says nothing, as in Open vSwitch.
    Ok(NatRange { first, last, ports: ports.filter(|(first, _)| *first != 0) })
}

pub(super) fn parse_learn(arguments: Span<'_>) -> Result<Action, ParseError> {
    let mut learn = Learn::new(TableId(1));
    each(arguments, |key, value| {
        match key.text {
            "table" => {
                let table: u8 = parse_sized(value, "a table")?;
                if table == TableId::ALL.0 {
                    return Err(value.bad_value("a table to learn into"));
                }
                learn.table = TableId(table);
            }
            "priority" => learn.priority = parse_sized(value, "a priority")?,
            "idle_timeout" => learn.idle_timeout = parse_sized(value, "seconds")?,
            "hard_timeout" => learn.hard_timeout = parse_sized(value, "seconds")?,
            "fin_idle_timeout" => learn.fin_idle_timeout = parse_sized(value, "seconds")?,
            "fin_hard_timeout" => learn.fin_hard_timeout = parse_sized(value, "seconds")?,
            "cookie" => learn.cookie = Cookie(parse_sized(value, "a cookie")?),
            "send_flow_rem" => learn.flags.0 |= LearnFlags::SEND_FLOW_REM.0,
            "delete_learned" => learn.flags.0 |= LearnFlags::DELETE_LEARNED.0,
            "limit" => learn.limit = parse_sized(value, "a number of flows")?,
            "result_dst" => {
                let bit = parse_sub_field(value)?;
                if bit.n_bits != 1 || !bit.field.spec().writable {
                    return Err(value.bad_value("a single bit that actions can write"));
                }
                learn.result_dst = Some(bit);
            }
            _ => learn.specs.push(parse_spec(key, value)?),
        }
        Ok(())
    })?;
    Ok(Action::Learn(Box::new(learn)))
}

/// A number that fits into some bits of a field; all of them take the field's own notation.
fn parse_immediate(span: Span<'_>, dst: SubField) -> Result<FieldValue, ParseError> {
    let value = parse_value(dst.field, span)?;
    let fits = dst.n_bits >= 128 || value.to_u128() >> dst.n_bits == 0;
    if fits { Ok(value) } else { Err(span.bad_value(&dst.to_string())) }
}

fn same_width(span: Span<'_>, src: SubField, dst: SubField) -> Result<(), ParseError> {
    let wanted = || span.bad_value(&format!("as many bits as {dst} has"));
    if src.n_bits == dst.n_bits { Ok(()) } else { Err(wanted()) }
}

fn parse_spec(key: Span<'_>, value: Span<'_>) -> Result<LearnSpec, ParseError> {
    match key.text {
        "load" => {
            let (from, to) = arrow(value)?;
            let dst = parse_sub_field(to)?;
            if from.text.starts_with(|c: char| c.is_ascii_digit()) {
                return Ok(LearnSpec::LoadValue { value: parse_immediate(from, dst)?, dst });
            }
            let src = parse_sub_field(from)?;
            same_width(from, src, dst)?;
            Ok(LearnSpec::LoadField { src, dst })
        }
        "output" => Ok(LearnSpec::Output(parse_sub_field(value)?)),
        _ => {
            let dst = parse_sub_field(key).map_err(|_| unknown(key))?;
            if value.text.is_empty() {
                return Ok(LearnSpec::MatchField { src: dst, dst });
            }
            match parse_sub_field(value) {
                Ok(src) => {
                    same_width(value, src, dst)?;
                    Ok(LearnSpec::MatchField { src, dst })
                }
                Err(_) => Ok(LearnSpec::MatchValue { value: parse_immediate(value, dst)?, dst }),
            }
        }
    }
}

/// `ID,K/N`.
pub(super) fn parse_conjunction(arguments: Span<'_>) -> Result<Action, ParseError> {
    let bad = || arguments.bad_value("a conjunction, as in 1234,1/2");
    let (id, clauses) = arguments.split_once(",").ok_or_else(bad)?;
    let (clause, n_clauses) = clauses.split_once("/").ok_or_else(bad)?;
    let id = parse_sized(id.trim(), "the number of a conjunction")?;
    let n_clauses: u8 = parse_sized(n_clauses.trim(), "the clauses of a conjunction")?;
    let clause: u8 = parse_sized(clause.trim(), "a clause of a conjunction")?;
    if !(2..=64).contains(&n_clauses) || !(1..=n_clauses).contains(&clause) {
        return Err(clauses.bad_value("a clause, from 1 to their number, which is 2 to 64"));
    }
    Ok(Action::Conjunction { id, clause: clause - 1, n_clauses })
}

/// The arguments that `multipath` and `bundle` have by their places.
struct Places<'a, I> {
    whole: Span<'a>,
    left: I,
}

impl<'a, I: Iterator<Item = Span<'a>>> Places<'a, I> {
    fn next(&mut self, what: &'static str) -> Result<Span<'a>, ParseError> {
        self.left.next().ok_or_else(|| self.whole.error(ParseProblem::Missing(what)))
    }

    fn named<T: Copy>(
        &mut self,
        what: &'static str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T, ParseError> {
        let given = self.next(what)?;
        let known = all.iter().find(|known| name(**known).eq_ignore_ascii_case(given.text));
        known.copied().ok_or_else(|| given.bad_value(what))
    }
}

pub(super) fn parse_multipath(arguments: Span<'_>) -> Result<Action, ParseError> {
    let mut places = Places { whole: arguments, left: split(arguments) };
    let fields = places.named("what to hash", &HashFields::ALL, HashFields::name)?;
    let basis = parse_sized(places.next("the basis of the hash")?, "the basis of the hash")?;
    let algorithm = places.named("an algorithm", &MultipathAlgorithm::ALL, MultipathAlgorithm::name)?;
    let links = places.next("the number of links")?;
    let n_links: u32 = parse_sized(links, "the number of links")?;
    let max_link = n_links.checked_sub(1).and_then(|max| u16::try_from(max).ok());
    let max_link = max_link.ok_or_else(|| links.bad_value("a number of links, 1 to 65536"))?;
    let argument = parse_sized(places.next("the algorithm's argument")?, "the algorithm's argument")?;
    let bits = places.next("where to write")?;
    let dst = parse_sub_field(bits)?;
    if dst.n_bits < 16 && u32::from(max_link) >= 1 << dst.n_bits {
        return Err(bits.bad_value(&format!("bits for {n_links} links")));
    }
    Ok(Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, argument, dst })))
}

pub(super) fn parse_bundle(arguments: Span<'_>, load: bool) -> Result<Action, ParseError> {
    let mut places = Places { whole: arguments, left: split(arguments) };
    let fields = places.named("what to hash", &HashFields::ALL, HashFields::name)?;
    let basis = parse_sized(places.next("the basis of the hash")?, "the basis of the hash")?;
    let algorithm = places.named("an algorithm", &BundleAlgorithm::ALL, BundleAlgorithm::name)?;
    places.named("the members' type, ofport,", &["ofport"], |name| name)?;
    let dst = if load { Some(parse_sub_field(places.next("where to write")?)?) } else { None };
    if let Some(narrow) = dst.filter(|dst| dst.n_bits < 16) {
        return Err(
            arguments.bad_value(&format!("a bundle_load into {narrow}, which has fewer than 16 bits"))
        );
    }
    let mut members = Vec::new();
    let mut named = false;
    for piece in places.left.by_ref() {
        let member = match piece.split_once(":") {
            Some((name, first)) if matches!(name.text, "members" | "slaves") => {
                named = true;
                first
            }
            _ => piece,
        };
        if !member.text.is_empty() {
            members.push(parse_port16(member)?);
        }
    }
    if !named {
        return Err(arguments.error(ParseProblem::Missing("members:")));
    }
    Ok(Action::Bundle(Box::new(BundleOutput { fields, basis, algorithm, dst, members })))
}

pub(super) fn parse_sample(arguments: Span<'_>) -> Result<Action, ParseError> {
    let mut sample = Sample {
        probability: 0,
        collector_set_id: 0,
        obs_domain_id: 0,
        obs_point_id: 0,
        sampling_port: None,
        direction: SampleDirection::Default,
    };
    each(arguments, |key, value| {
        match key.text {
            "probability" => sample.probability = parse_sized(value, "a probability of 65535")?,
            "collector_set_id" => sample.collector_set_id = parse_sized(value, "a set of collectors")?,
            "obs_domain_id" => sample.obs_domain_id = parse_sized(value, "an observation domain")?,
            "obs_point_id" => sample.obs_point_id = parse_sized(value, "an observation point")?,
            "sampling_port" => {
                sample.sampling_port = Some(parse_port16(value)?).filter(|&port| port != u16::MAX)
            }
            "ingress" => sample.direction = SampleDirection::Ingress,
            "egress" => sample.direction = SampleDirection::Egress,
            _ => return Err(unknown(key)),
        }
        Ok(())
    })?;
    if sample.probability == 0 {
        return Err(arguments.error(ParseProblem::Missing("a probability that is not 0")));
    }
    Ok(Action::Sample(Box::new(sample)))
}

pub(super) fn parse_fin_timeout(arguments: Span<'_>) -> Result<Action, ParseError> {
    let (mut idle, mut hard) = (0, 0);
    each(arguments, |key, value| {
        match key.text {
            "idle_timeout" => idle = parse_sized(value, "seconds")?,
            "hard_timeout" => hard = parse_sized(value, "seconds")?,
            _ => return Err(unknown(key)),
        }
        Ok(())
    })?;
    Ok(Action::FinTimeout { idle, hard })
}

/// `ethernet` or `nsh(md_type=2,tlv(0x1000,10,0x12345678))`.
pub(super) fn parse_encap(arguments: Span<'_>) -> Result<Action, ParseError> {
    let (name, given) = key_value(arguments)?;
    let known = PacketType::NAMES.iter().find(|(_, known)| *known == name.text);
    let (packet_type, _) =
        *known.ok_or_else(|| name.bad_value("a header: ethernet, nsh, mpls or mpls_mc"))?;
    let mut properties = Vec::new();
    if let Some(given) = given {
        each(given, |key, value| {
            properties.push(match key.text {
                "md_type" if packet_type == PacketType::NSH => {
                    EncapProperty::NshMdType(parse_sized(value, "a type of metadata")?)
                }
                "tlv" if packet_type == PacketType::NSH => parse_tlv(value)?,
                _ => return Err(unknown(key)),
            });
            Ok(())
        })?;
    }
    Ok(Action::Encap(Box::new(Encap { packet_type, properties })))
}

fn parse_tlv(span: Span<'_>) -> Result<EncapProperty, ParseError> {
    let bad = || span.bad_value("a piece of metadata, as in 0x1000,10,0x12345678");
    let (class, rest) = span.split_once(",").ok_or_else(bad)?;
    let (kind, value) = rest.split_once(",").ok_or_else(bad)?;
    let hex = value.trim();
    if !hex.text.starts_with("0x") {
        return Err(bad());
    }
    let value: Box<[u8]> = parse_hex(hex.from(2))?.into();
    if value.len() > 124 {
        return Err(hex.bad_value("a value of at most 124 bytes"));
    }
    let (class, kind) = (parse_sized(class.trim(), "a class")?, parse_sized(kind.trim(), "a type")?);
    Ok(EncapProperty::NshTlv { class, kind, value })
}

/// Digits, of which the first may stand alone.
fn parse_hex(digits: Span<'_>) -> Result<Vec<u8>, ParseError> {
    let n = digits.text.len() % 2;
    let odd = digits.text.get(..n).filter(|first| !first.is_empty());
    let mut bytes = Vec::new();
    if let Some(first) = odd {
        bytes.push(u8::from_str_radix(first, 16).map_err(|_| digits.bad_value("bytes in hexadecimal"))?);
    }
    let rest = if odd.is_some() { digits.from(1) } else { digits };
    bytes.extend(parse_bytes(rest, "")?);
    Ok(bytes)
}

/// Nothing, or `packet_type(ns=0,type=0)`.
pub(super) fn parse_decap(given: Option<Span<'_>>) -> Result<Action, ParseError> {
    let mut result = PacketType::USE_NEXT;
    if let Some(given) = given.filter(|given| !given.text.is_empty()) {
        let (key, inside) = key_value(given)?;
        if key.text != "packet_type" {
            return Err(unknown(key));
        }
        result = PacketType { namespace: 0, kind: 0 };
        each(argument(given, inside)?, |key, value| {
            match key.text {
                "ns" => result.namespace = parse_sized(value, "a name space")?,
                "type" => result.kind = parse_sized(value, "a type")?,
                _ => return Err(unknown(key)),
            }
            Ok(())
        })?;
    }
    Ok(Action::Decap(result))
}
