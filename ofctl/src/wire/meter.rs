//! Meters: OpenFlow 1.3.5 §7.3.4.4 and §7.3.5.11 to §7.3.5.13.

use std::time::Duration;

use super::cursor::{Nested, Padding, Put, Reader};
use super::error::DecodeError;
use super::flow_mod::{put_duration, take_duration};
use super::multipart::take_each;

/// A meter, or with some commands all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId(pub u32);

impl MeterId {
    /// Largest number of an ordinary meter, `OFPM_MAX`.
    pub const MAX: MeterId = MeterId(0xffff_0000);
    /// `OFPM_SLOWPATH`: packets that go to the switch's own processor.
    pub const SLOWPATH: MeterId = MeterId(0xffff_fffd);
    /// `OFPM_CONTROLLER`: packets that go to the controller.
    pub const CONTROLLER: MeterId = MeterId(0xffff_fffe);
    /// `OFPM_ALL`: every meter, in deletes and requests.
    pub const ALL: MeterId = MeterId(0xffff_ffff);
}

impl std::fmt::Display for MeterId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

/// `ofp_meter_mod_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MeterModCommand {
    /// `OFPMC_ADD`.
    Add,
    /// `OFPMC_MODIFY`.
    Modify,
    /// `OFPMC_DELETE`.
    Delete,
}

/// `OFPMF_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MeterFlags(pub u16);

impl MeterFlags {
    /// `OFPMF_KBPS`: rates in kbit/s.
    pub const KBPS: MeterFlags = MeterFlags(1);
    /// `OFPMF_PKTPS`: rates in packets a second.
    pub const PKTPS: MeterFlags = MeterFlags(2);
    /// `OFPMF_BURST`: bands say how much may burst.
    pub const BURST: MeterFlags = MeterFlags(4);
    /// `OFPMF_STATS`: count.
    pub const STATS: MeterFlags = MeterFlags(8);

    /// True if all of `other`'s flags are set.
    pub const fn contains(self, other: MeterFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for MeterFlags {
    type Output = MeterFlags;

    fn bitor(self, other: MeterFlags) -> MeterFlags {
        MeterFlags(self.0 | other.0)
    }
}

/// What happens to packets above a band's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BandKind {
    /// `OFPMBT_DROP`.
    Drop,
    /// `OFPMBT_DSCP_REMARK`: the drop precedence grows by so many levels.
    DscpRemark {
        /// Levels.
        levels: u8,
    },
}

/// `ofp_meter_band_header` and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterBand {
    /// What happens above the rate.
    pub kind: BandKind,
    /// The rate.
    pub rate: u32,
    /// How much may burst.
    pub burst_size: u32,
}

impl MeterBand {
    const DROP: u16 = 1;
    const DSCP_REMARK: u16 = 2;
    const LENGTH: u16 = 16;

    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, levels) = match self.kind {
            BandKind::Drop => (Self::DROP, 0),
            BandKind::DscpRemark { levels } => (Self::DSCP_REMARK, levels),
        };
        out.put_u16(kind);
        out.put_u16(Self::LENGTH);
        out.put_u32(self.rate);
        out.put_u32(self.burst_size);
        out.put(&[levels, 0, 0, 0]);
    }

    fn take(input: &mut Reader<'_>) -> Result<MeterBand, DecodeError> {
        let (kind, length) = (input.u16()?, input.u16()?);
        if length != Self::LENGTH {
            return Err(DecodeError::BadLength { what: "meter band", length: length.into() });
        }
        let (rate, burst_size) = (input.u32()?, input.u32()?);
        let [levels, _, _, _] = input.array::<4>()?;
        let kind = match kind {
            Self::DROP => BandKind::Drop,
            Self::DSCP_REMARK => BandKind::DscpRemark { levels },
            _ => return Err(DecodeError::Refused { what: "meter band", error: "OFPMMFC_BAD_BAND" }),
        };
        Ok(MeterBand { kind, rate, burst_size })
    }
}

/// `OFPT_METER_MOD`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterModCommand,
    /// Flags; without meaning for a delete.
    pub flags: MeterFlags,
    /// The meter; [`MeterId::ALL`] with a delete.
    pub meter: MeterId,
    /// Bands.
    pub bands: Vec<MeterBand>,
}

impl MeterMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.command as u16);
        out.put_u16(self.flags.0);
        out.put_u32(self.meter.0);
        self.bands.iter().for_each(|band| band.encode(out));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<MeterMod, DecodeError> {
        let command = match input.u16()? {
            0 => MeterModCommand::Add,
            1 => MeterModCommand::Modify,
            2 => MeterModCommand::Delete,
            _ => return Err(DecodeError::Refused { what: "meter_mod", error: "OFPMMFC_BAD_COMMAND" }),
        };
        let flags = MeterFlags(input.u16()?);
        let meter = MeterId(input.u32()?);
        let both = flags.contains(MeterFlags::KBPS | MeterFlags::PKTPS);
        if both && command != MeterModCommand::Delete {
            return Err(DecodeError::Refused { what: "meter_mod", error: "OFPMMFC_BAD_FLAGS" });
        }
        if command == MeterModCommand::Delete {
            // Nothing else counts, whatever stands there.
            input.rest();
            return Ok(MeterMod { command, flags: MeterFlags::default(), meter, bands: Vec::new() });
        }
        Ok(MeterMod { command, flags, meter, bands: take_each(input, MeterBand::take)? })
    }
}

/// `ofp_meter_config`: a meter as the switch holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterConfig {
    /// Flags.
    pub flags: MeterFlags,
    /// The meter.
    pub meter: MeterId,
    /// Bands.
    pub bands: Vec<MeterBand>,
}

impl MeterConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 0, Padding::Counted);
        out.put_u16(0);
        out.put_u16(self.flags.0);
        out.put_u32(self.meter.0);
        self.bands.iter().for_each(|band| band.encode(&mut out));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<MeterConfig, DecodeError> {
        let length = usize::from(input.u16()?);
        let rest = length.checked_sub(2).ok_or(DecodeError::BadLength { what: "meter config", length })?;
        let mut input = input.sub("meter config", rest)?;
        let flags = MeterFlags(input.u16()?);
        let meter = MeterId(input.u32()?);
        Ok(MeterConfig { flags, meter, bands: take_each(&mut input, MeterBand::take)? })
    }
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Counters {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u64(self.packets);
        out.put_u64(self.bytes);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Counters { packets: input.u64()?, bytes: input.u64()? })
    }
}

/// `ofp_meter_stats`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterStats {
    /// The meter.
    pub meter: MeterId,
    /// Flow entries that use it.
    pub flows: u32,
    /// What came.
    pub input: Counters,
    /// How long it has been there.
    pub duration: Duration,
    /// What each band took.
    pub bands: Vec<Counters>,
}

impl MeterStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Nested::begin(out, 4, Padding::None);
        out.put_u32(self.meter.0);
        out.put_zeros(8);
        out.put_u32(self.flows);
        self.input.encode(&mut out);
        put_duration(self.duration, &mut out);
        self.bands.iter().for_each(|band| band.encode(&mut out));
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<MeterStats, DecodeError> {
        let meter = MeterId(input.u32()?);
        let length = usize::from(input.u16()?);
        let rest =
            length.checked_sub(6).ok_or(DecodeError::BadLength { what: "meter statistics", length })?;
        let mut input = input.sub("meter statistics", rest)?;
        input.skip(6)?;
        let flows = input.u32()?;
        let counters = Counters::take(&mut input)?;
        let duration = take_duration(&mut input)?;
        Ok(MeterStats {
            meter,
            flows,
            input: counters,
            duration,
            bands: take_each(&mut input, Counters::take)?,
        })
    }
}

/// `ofp_meter_features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MeterFeatures {
    /// Meters at most.
    pub max_meters: u32,
    /// Bit `n` is set if band type `n` is there.
    pub band_types: u32,
    /// Flags that meters can have.
    pub capabilities: u32,
    /// Bands of a meter at most.
    pub max_bands: u8,
    /// Colours at most.
    pub max_color: u8,
}

impl MeterFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.max_meters);
        out.put_u32(self.band_types);
        out.put_u32(self.capabilities);
        out.put(&[self.max_bands, self.max_color, 0, 0]);
    }

    pub(super) fn take(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (max_meters, band_types, capabilities) = (input.u32()?, input.u32()?, input.u32()?);
        let [max_bands, max_color, _, _] = input.array::<4>()?;
        Ok(MeterFeatures { max_meters, band_types, capabilities, max_bands, max_color })
    }
}
