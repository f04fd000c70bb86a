//! Chance that can be had again.

/// Numbers that are the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The numbers of a seed, of which 0 is one as any.
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(seed * 2 + 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn bits(&mut self, n: u16) -> u128 {
        let number = u128::from(self.next()) << 64 | u128::from(self.next());
        if n >= 128 { number } else { number & ((1 << n) - 1) }
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
