//! Seeds that can be handed in, so that what failed once can be replayed.

/// The seed of this run: `OMNIGRAPH_TEST_SEED`, or always the same.
pub(super) fn seed() -> u64 {
    let given = std::env::var("OMNIGRAPH_TEST_SEED").ok();
    given
        .map(|text| {
            text.trim()
                .parse()
                .expect("OMNIGRAPH_TEST_SEED is a number")
        })
        .unwrap_or(1)
}

/// A number from the environment, such as how much a test tries.
pub(super) fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given
        .map(|text| {
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("{name} is a number"))
        })
        .unwrap_or(default)
}

/// A small generator of numbers (xorshift64*, Vigna 2016).
pub(super) struct Dice(u64);

impl Dice {
    /// The same numbers for the same seed and purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a, so that purposes do not share their numbers.
        let mut state = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in purpose.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(state | 1)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        number as usize % bound.max(1)
    }
}
