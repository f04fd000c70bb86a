//! Meters: token buckets in virtual time, as Open vSwitch's userspace datapath has them.

use std::time::Duration;

use super::check::Refusal;
use crate::wire::{BandKind, Counters, MeterBand, MeterFlags, MeterId};

/// Bands that a meter can have.
pub(super) const MAX_BANDS: usize = 8;
/// Largest meter number, `OFPM_MAX`.
const MAX_METER: u32 = 0xffff_0000;
/// Meters that there can be.
pub(super) const MAX_METERS: u32 = 65536;

#[derive(Debug, Clone)]
struct Bucket {
    /// In thousandths of a packet, or in bits.
    tokens: u64,
    counters: Counters,
}

/// One meter.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) flags: MeterFlags,
    pub(super) bands: Vec<MeterBand>,
    pub(super) created: Duration,
    pub(super) input: Counters,
    buckets: Vec<Bucket>,
    used: Duration,
}

/// What is wrong with a meter, as Open vSwitch sees it.
pub(super) fn check(id: MeterId, bands: &[MeterBand]) -> Result<(), Refusal> {
    // OFPM_SLOWPATH and OFPM_CONTROLLER are allowed, OpenFlow 1.3.5 §7.3.4.4.
    if id.0 == 0 || (id.0 > MAX_METER && !matches!(id.0, 0xffff_fffd | 0xffff_fffe)) {
        return Err(Refusal::BadMeter(id));
    }
    if bands.len() > MAX_BANDS {
        return Err(Refusal::TooManyBands(bands.len()));
    }
    // The datapaths only drop.
    match bands.iter().find(|band| band.kind != BandKind::Drop) {
        Some(band) => Err(Refusal::BandKind(band.kind)),
        None => Ok(()),
    }
}

impl Meter {
    /// A meter whose buckets are full.
    pub(super) fn new(flags: MeterFlags, bands: Vec<MeterBand>, now: Duration) -> Self {
        let bands: Vec<_> =
            bands.into_iter().map(|band| MeterBand { burst_size: burst(flags, &band), ..band }).collect();
        let full = |band: &MeterBand| Bucket {
            tokens: u64::from(band.burst_size) * 1000,
            counters: Counters::default(),
        };
        let buckets = bands.iter().map(full).collect();
        Meter { flags, bands, created: now, input: Counters::default(), buckets, used: now }
    }

    /// What each band dropped.
    pub(super) fn band_counters(&self) -> Vec<Counters> {
        self.buckets.iter().map(|bucket| bucket.counters).collect()
    }

    /// Takes one packet; true if it may pass.
    pub(super) fn pass(&mut self, bytes: usize, now: Duration) -> bool {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let elapsed = milliseconds(now).saturating_sub(milliseconds(self.used));
        self.used = now;
        count(&mut self.input, bytes);
        let by_packets = self.flags.contains(MeterFlags::PKTPS);
        let volume = if by_packets { 1000 } else { bytes as u64 * 8 };
        let mut exceeded: Option<usize> = None;
        for (place, (band, bucket)) in self.bands.iter().zip(&mut self.buckets).enumerate() {
            // Thousandths of packets, or bits: milliseconds times the rate in either unit.
            let more = elapsed.saturating_mul(band.rate.into());
            bucket.tokens = bucket.tokens.saturating_add(more).min(u64::from(band.burst_size) * 1000);
            if bucket.tokens >= volume {
                bucket.tokens -= volume;
            } else if exceeded.is_none_or(|other| band.rate > self.bands[other].rate) {
                exceeded = Some(place);
            }
        }
        if let Some(place) = exceeded {
            count(&mut self.buckets[place].counters, bytes);
        }
        exceeded.is_none()
    }
}

fn count(counters: &mut Counters, bytes: usize) {
    counters.packets += 1;
    counters.bytes += bytes as u64;
}

/// Without a burst a band may burst what its rate brings in a second.
fn burst(flags: MeterFlags, band: &MeterBand) -> u32 {
    if flags.contains(MeterFlags::BURST) && band.burst_size != 0 { band.burst_size } else { band.rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(flags: MeterFlags, rate: u32, burst_size: u32) -> Meter {
        Meter::new(flags, vec![MeterBand { kind: BandKind::Drop, rate, burst_size }], Duration::ZERO)
    }

    #[test]
    fn packets_pass_at_the_rate_after_the_burst() {
        let mut meter = meter(MeterFlags::PKTPS | MeterFlags::BURST, 10, 3);
        let passed = |meter: &mut Meter, at: u64| meter.pass(100, Duration::from_millis(at));
        assert_eq!([0, 0, 0, 0].map(|at| passed(&mut meter, at)), [true, true, true, false]);
        assert!(!passed(&mut meter, 99));
        assert!(passed(&mut meter, 100));
        assert!(!passed(&mut meter, 100));
        assert_eq!(meter.input, Counters { packets: 7, bytes: 700 });
        assert_eq!(meter.band_counters(), [Counters { packets: 3, bytes: 300 }]);
    }

    #[test]
    fn kilobits_are_counted_in_bits() {
        // 8 kbit/s are 1,000 bytes a second.
        let mut meter = meter(MeterFlags::KBPS, 8, 0);
        let passed = |meter: &mut Meter, at: u64| meter.pass(500, Duration::from_millis(at));
        assert_eq!([0, 0, 0, 499, 500].map(|at| passed(&mut meter, at)), [true, true, false, false, true]);
    }

    #[test]
    fn what_the_datapath_cannot_do_is_refused() {
        let remark = MeterBand { kind: BandKind::DscpRemark { levels: 1 }, rate: 1, burst_size: 1 };
        assert!(matches!(check(MeterId(1), &[remark]), Err(Refusal::BandKind(_))));
        assert!(matches!(check(MeterId(0), &[]), Err(Refusal::BadMeter(_))));
        assert_eq!(check(MeterId(1), &[]), Ok(()));
    }
}
