//! Meters in messages.

use std::fmt::{self, Write as _};

use super::{Seconds, bits};
use crate::text::meter::FLAGS;
pub(super) use crate::text::meter::Id;
use crate::wire::{
    BandKind, MeterBand, MeterConfig, MeterFeatures, MeterFlags, MeterMod, MeterModCommand, MeterStats,
};

fn body(separator: char, flags: MeterFlags, bands: &[MeterBand], out: &mut String) -> fmt::Result {
    for (flag, name) in FLAGS {
        if flags.contains(flag) {
            write!(out, "{name} ")?;
        }
    }
    let known = FLAGS.iter().fold(0, |all, (flag, _)| all | flag.0);
    if flags.0 & !known != 0 {
        write!(out, "flags:{:#x} ", flags.0 & !known)?;
    }
    out.push_str("bands=");
    for band in bands {
        out.push(separator);
        out.push_str(match band.kind {
            BandKind::Drop => "type=drop",
            BandKind::DscpRemark { .. } => "type=dscp_remark",
        });
        write!(out, " rate={}", band.rate)?;
        if flags.contains(MeterFlags::BURST) {
            write!(out, " burst_size={}", band.burst_size)?;
        }
        if let BandKind::DscpRemark { levels } = band.kind {
            write!(out, " prec_level={levels}")?;
        }
    }
    out.push('\n');
    Ok(())
}

pub(super) fn change(change: &MeterMod, out: &mut String) -> fmt::Result {
    let (command, deletes) = match change.command {
        MeterModCommand::Add => ("ADD", false),
        MeterModCommand::Modify => ("MOD", false),
        MeterModCommand::Delete => ("DEL", true),
    };
    write!(out, " {command} meter={} ", Id(change.meter))?;
    // A delete says nothing else, whatever stands there.
    if deletes {
        body('\n', MeterFlags::default(), &[], out)
    } else {
        body('\n', change.flags, &change.bands, out)
    }
}

pub(super) fn config(config: &MeterConfig, out: &mut String) -> fmt::Result {
    write!(out, "\nmeter={} ", Id(config.meter))?;
    body('\n', config.flags, &config.bands, out)
}

pub(super) fn stats(stats: &MeterStats, out: &mut String) -> fmt::Result {
    write!(
        out,
        "\nmeter:{} flow_count:{} packet_in_count:{} byte_in_count:{} duration:{} bands:\n",
        Id(stats.meter),
        stats.flows,
        stats.input.packets,
        stats.input.bytes,
        Seconds(stats.duration)
    )?;
    for (place, band) in stats.bands.iter().enumerate() {
        writeln!(out, "{place}: packet_count:{} byte_count:{}", band.packets, band.bytes)?;
    }
    Ok(())
}

pub(super) fn features(features: &MeterFeatures, out: &mut String) -> fmt::Result {
    let capabilities = FLAGS.map(|(flag, name)| (flag.0.into(), name));
    write!(
        out,
        "\nmax_meter:{} max_bands:{} max_color:{}\nband_types: {}\ncapabilities: {}\n",
        features.max_meters,
        features.max_bands,
        features.max_color,
        bits(features.band_types, &[(2, "drop"), (4, "dscp_remark")], " "),
        bits(features.capabilities, &capabilities, " ")
    )
}
