//! Ranges of 16-bit values as values with masks.

use std::fmt;
use std::ops::RangeInclusive;

/// A 16-bit value of which only the bits of `mask` are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMask {
    /// Wanted value; zero where the mask is.
    pub value: u16,
    /// Bits that are compared.
    pub mask: u16,
}

impl PortMask {
    /// True if `port` has the wanted bits.
    pub const fn contains(self, port: u16) -> bool {
        port & self.mask == self.value
    }
}

impl fmt::Display for PortMask {
    /// As flow text writes it: `80`, `0x1f90/0xfff8`, `0x0/0x0`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mask {
            u16::MAX => write!(out, "{}", self.value),
            mask => write!(out, "{:#x}/{mask:#x}", self.value),
        }
    }
}

/// The least number of prefix masks that together hold exactly the values of `range`, in ascending order.
///
/// A prefix mask has all its set bits above all its clear ones. There are at most 30, for `1..=65534`; a range
/// with random ends needs 14 on average. An empty range has none.
///
/// ```
/// use ofctl::acl::port_range;
///
/// let masks: Vec<String> = port_range(8080..=8090).iter().map(ToString::to_string).collect();
/// assert_eq!(masks, ["0x1f90/0xfff8", "0x1f98/0xfffe", "8090"]);
/// assert_eq!(port_range(1..=65534).len(), 30);
/// ```
pub fn port_range(range: RangeInclusive<u16>) -> Vec<PortMask> {
    let end = u32::from(*range.end()) + 1;
    let mut next = u32::from(*range.start());
    let mut masks = Vec::new();
    while next < end {
        // The largest block that begins here: aligned to its size, and not beyond the end. Taking it is never
        // worse than taking a smaller one, since blocks of this kind are nested or apart.
        let aligned = next.trailing_zeros().min(16);
        let bits = aligned.min((end - next).ilog2());
        masks.push(PortMask { value: next as u16, mask: (0xffff_u32 << bits) as u16 });
        next += 1 << bits;
    }
    masks
}

/// Ranges with the same values, in ascending order, apart from each other and not even adjacent.
pub fn merge_ranges(ranges: &[RangeInclusive<u16>]) -> Vec<RangeInclusive<u16>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).cloned().collect();
    sorted.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with every one of the 65,536 values.
    fn assert_exact(range: RangeInclusive<u16>) -> usize {
        let masks = port_range(range.clone());
        for port in 0..=u16::MAX {
            let hits = masks.iter().filter(|mask| mask.contains(port)).count();
            assert_eq!(hits, usize::from(range.contains(&port)), "{port} in {range:?}: {masks:?}");
        }
        assert!(masks.is_sorted() && masks.iter().all(|mask| mask.value & !mask.mask == 0), "{masks:?}");
        masks.len()
    }

    /// The least number of prefixes, by the definition: over a node of the binary tree of all values.
    fn least(low: u32, high: u32, range: &RangeInclusive<u16>) -> usize {
        let (start, end) = (u32::from(*range.start()), u32::from(*range.end()));
        if end < low || high < start {
            0
        } else if start <= low && high <= end {
            1
        } else {
            let middle = (low + high) / 2;
            least(low, middle, range) + least(middle + 1, high, range)
        }
    }

    /// SplitMix64.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn random_range(state: &mut u64) -> RangeInclusive<u16> {
        let (a, b) = (random(state) as u16, random(state) as u16);
        a.min(b)..=a.max(b)
    }

    #[test]
    fn edges_are_exact() {
        assert_eq!(assert_exact(0..=65535), 1);
        assert_eq!(assert_exact(1..=65534), 30);
        assert_eq!(assert_exact(0..=0), 1);
        assert_eq!(assert_exact(65535..=65535), 1);
        assert_eq!(assert_exact(1024..=65535), 6);
        assert_eq!(assert_exact(32767..=32768), 2);
        #[allow(clippy::reversed_empty_ranges)]
        let empty = port_range(5..=4);
        assert_eq!(empty, []);
    }

    #[test]
    fn random_ranges_are_exact_over_all_values() {
        let mut seed = 1;
        for _ in 0..150 {
            assert_exact(random_range(&mut seed));
        }
    }

    #[test]
    fn no_prefix_cover_is_smaller_and_the_average_is_fourteen() {
        let (mut seed, rounds, mut sum) = (2, 20_000, 0);
        for _ in 0..rounds {
            let range = random_range(&mut seed);
            let masks = port_range(range.clone());
            assert_eq!(masks.len(), least(0, 65535, &range), "{range:?}");
            assert!(masks.len() <= 30);
            sum += masks.len();
        }
        let average = sum as f64 / f64::from(rounds);
        assert!((13.5..14.5).contains(&average), "{average}");
    }

    #[test]
    fn merging_keeps_the_values() {
        let merged = merge_ranges(&[80..=90, 443..=443, 91..=100, 65535..=65535, 85..=86]);
        assert_eq!(merged, [80..=100, 443..=443, 65535..=65535]);
        assert_eq!(merge_ranges(&[0..=65535, 7..=7]), [0..=65535]);
    }
}
