//! Meters as text, as ovs-ofctl(8) has it under "Meter Syntax", both ways.

use std::fmt;

use super::{ParseError, ParseProblem, Span};
use crate::text::value::parse_sized;
use crate::wire::{BandKind, MeterBand, MeterConfig, MeterFlags, MeterId, MeterMod, MeterModCommand};

/// Flags by their names.
pub(super) const FLAGS: [(MeterFlags, &str); 4] = [
    (MeterFlags::KBPS, "kbps"),
    (MeterFlags::PKTPS, "pktps"),
    (MeterFlags::BURST, "burst"),
    (MeterFlags::STATS, "stats"),
];

const RESERVED: [(MeterId, &str); 3] =
    [(MeterId::SLOWPATH, "slowpath"), (MeterId::CONTROLLER, "controller"), (MeterId::ALL, "all")];

/// A meter's number, or the name of a reserved one.
pub(super) struct Id(pub(super) MeterId);

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RESERVED.iter().find(|(id, _)| *id == self.0) {
            Some((_, name)) => out.write_str(name),
            None if self.0 > MeterId::MAX => out.write_str("unknown"),
            None => self.0.fmt(out),
        }
    }
}

/// What [`MeterMod::parse`] reads again.
impl fmt::Display for MeterConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "meter={}", Id(self.meter))?;
        for (flag, name) in FLAGS {
            if self.flags.contains(flag) {
                write!(out, ",{name}")?;
            }
        }
        out.write_str(",bands=")?;
        for (place, band) in self.bands.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match band.kind {
                BandKind::Drop => write!(out, "{comma}type=drop,rate={}", band.rate)?,
                BandKind::DscpRemark { .. } => write!(out, "{comma}type=dscp_remark,rate={}", band.rate)?,
            }
            if self.flags.contains(MeterFlags::BURST) {
                write!(out, ",burst_size={}", band.burst_size)?;
            }
            if let BandKind::DscpRemark { levels } = band.kind {
                write!(out, ",prec_level={levels}")?;
            }
        }
        Ok(())
    }
}

/// Words between commas and blanks.
fn words(span: Span<'_>) -> impl Iterator<Item = Span<'_>> {
    let is_end = |c: char| c == ',' || c.is_whitespace();
    let start = span.text.as_ptr() as usize;
    span.text.split(is_end).filter(|word| !word.is_empty()).map(move |word| {
        let offset = word.as_ptr() as usize - start;
        span.from(offset).to(word.len())
    })
}

fn unknown(word: Span<'_>) -> ParseError {
    word.error(ParseProblem::Unknown { what: "property of a meter", name: word.text.to_owned() })
}

fn meter_id(value: Span<'_>) -> Result<MeterId, ParseError> {
    if let Some((id, _)) = RESERVED.iter().find(|(_, name)| *name == value.text) {
        return Ok(*id);
    }
    let number = MeterId(parse_sized(value, "a meter")?);
    // There is no meter 0.
    if number.0 == 0 || number > MeterId::MAX { Err(value.bad_value("a meter")) } else { Ok(number) }
}

/// A band that is being read.
struct Band<'a> {
    at: Span<'a>,
    kind: &'static str,
    rate: u32,
    burst_size: Option<u32>,
    levels: Option<u8>,
}

impl<'a> Band<'a> {
    fn new(at: Span<'a>, value: Span<'a>) -> Result<Self, ParseError> {
        let kind = ["drop", "dscp_remark"].into_iter().find(|name| *name == value.text);
        let kind = kind.ok_or_else(|| value.bad_value("a band's type, which is drop or dscp_remark"))?;
        Ok(Band { at, kind, rate: 0, burst_size: None, levels: None })
    }

    fn finish(self, flags: MeterFlags) -> Result<MeterBand, ParseError> {
        let missing = |what| Err(self.at.error(ParseProblem::Missing(what)));
        let superfluous = |what| Err(self.at.error(ParseProblem::Superfluous(what)));
        let kind = match (self.kind, self.levels) {
            ("drop", None) => BandKind::Drop,
            ("drop", Some(_)) => return superfluous("prec_level, which only dscp_remark has,"),
            (_, Some(levels @ 1..)) => BandKind::DscpRemark { levels },
            (_, None | Some(0)) => return missing("a dscp_remark band's prec_level"),
        };
        let burst_size = match (flags.contains(MeterFlags::BURST), self.burst_size.unwrap_or(0)) {
            (true, 0) => return missing("burst_size, which the flag 'burst' asks for,"),
            (false, 1..) => return superfluous("burst_size without the flag 'burst'"),
            (_, size) => size,
        };
        if self.rate == 0 {
            return missing("a band's rate");
        }
        Ok(MeterBand { kind, rate: self.rate, burst_size })
    }
}

impl MeterMod {
    /// Reads a meter as `ovs-ofctl add-meter`, `mod-meter` and `del-meter` take it:
    /// `meter=1,kbps,burst,bands=type=drop,rate=100,burst_size=50`.
    ///
    /// ```
    /// use ofctl::wire::{MeterFlags, MeterId, MeterMod, MeterModCommand};
    ///
    /// let text = "meter=1,pktps,bands=type=drop,rate=100";
    /// let meter = MeterMod::parse(text, MeterModCommand::Add)?;
    /// assert_eq!((meter.meter, meter.flags, meter.bands.len()), (MeterId(1), MeterFlags::PKTPS, 1));
    /// assert_eq!(MeterMod::parse("meter=1,pktps", MeterModCommand::Add).unwrap_err().column, 14);
    /// # Ok::<(), ofctl::text::ParseError>(())
    /// ```
    ///
    /// # Errors
    /// Which part of the text is wrong, and what with it.
    pub fn parse(text: &str, command: MeterModCommand) -> Result<MeterMod, ParseError> {
        let whole = Span { text, at: 0 };
        let end = whole.from(text.len());
        let deletes = command == MeterModCommand::Delete;
        let (before, bands) = match whole.split_once("bands=").or_else(|| whole.split_once("band=")) {
            Some((before, bands)) => (before, Some(bands)),
            None => (whole, None),
        };
        let (mut meter, mut flags) = (None, MeterFlags::default());
        for word in words(before) {
            if let Some((flag, _)) = FLAGS.iter().find(|(_, name)| *name == word.text && !deletes) {
                flags = flags | *flag;
                continue;
            }
            match word.split_once("=") {
                Some((name, value)) if name.text == "meter" => meter = Some(meter_id(value)?),
                _ => return Err(unknown(word)),
            }
        }
        let meter = meter.ok_or_else(|| end.error(ParseProblem::Missing("meter=")))?;
        if deletes {
            return match bands {
                Some(bands) => Err(bands.error(ParseProblem::Superfluous("a band in a delete"))),
                None => Ok(MeterMod { command, flags, meter, bands: Vec::new() }),
            };
        }
        let rates = MeterFlags::KBPS | MeterFlags::PKTPS;
        if flags.contains(rates) {
            return Err(before.error(ParseProblem::Superfluous("kbps beside pktps")));
        }
        let bands = bands.ok_or_else(|| end.error(ParseProblem::Missing("bands=")))?;
        if flags == MeterFlags::default() {
            return Err(before.error(ParseProblem::Missing("kbps or pktps")));
        }
        let bands = parse_bands(bands, flags)?;
        Ok(MeterMod { command, flags, meter, bands })
    }
}

fn parse_bands(span: Span<'_>, flags: MeterFlags) -> Result<Vec<MeterBand>, ParseError> {
    let mut bands: Vec<Band<'_>> = Vec::new();
    for word in words(span) {
        let (name, value) = word.split_once("=").ok_or_else(|| unknown(word))?;
        if name.text == "type" {
            bands.push(Band::new(word, value)?);
            continue;
        }
        let Some(band) = bands.last_mut() else {
            return Err(word.error(ParseProblem::Missing("the band's type, which comes first,")));
        };
        match name.text {
            "rate" => band.rate = parse_sized(value, "a rate")?,
            "burst_size" => band.burst_size = Some(parse_sized(value, "a burst's size")?),
            "prec_level" => band.levels = Some(parse_sized(value, "levels of precedence")?),
            _ => return Err(unknown(name)),
        }
    }
    if bands.is_empty() {
        return Err(span.error(ParseProblem::Missing("a band")));
    }
    bands.into_iter().map(|band| band.finish(flags)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_is_read_and_written() {
        let given = "meter=2,pktps,burst,stats,bands=type=drop,rate=100,burst_size=50 \
                     type=dscp_remark,rate=200,burst_size=30,prec_level=3";
        let MeterMod { flags, meter, bands, .. } = MeterMod::parse(given, MeterModCommand::Add).unwrap();
        let written = MeterConfig { flags, meter, bands: bands.clone() }.to_string();
        assert_eq!(written, given.replace(" type", ",type"));
        assert_eq!(MeterMod::parse(&written, MeterModCommand::Add).unwrap().bands, bands);
    }

    #[test]
    fn errors_show_the_column() {
        for (text, column) in [
            ("kbps,bands=type=drop,rate=1", 28),
            ("meter=x,kbps,bands=type=drop,rate=1", 7),
            ("meter=0,kbps,bands=type=drop,rate=1", 7),
            ("meter=1,bands=type=drop,rate=1", 1),
            ("meter=1,fast,bands=type=drop,rate=1", 9),
            ("meter=1,kbps,pktps,bands=type=drop,rate=1", 1),
            ("meter=1,kbps,bands=rate=1", 20),
            ("meter=1,kbps,bands=type=drip,rate=1", 25),
            ("meter=1,kbps,bands=type=drop,rate=1,burst_size=3", 20),
            ("meter=1,kbps,burst,bands=type=drop,rate=1", 26),
            ("meter=1,kbps,bands=type=drop,rate=1 type=dscp_remark,rate=2", 37),
            ("meter=1,kbps,bands=type=drop", 20),
        ] {
            assert_eq!(MeterMod::parse(text, MeterModCommand::Add).unwrap_err().column, column, "{text}");
        }
    }
}
