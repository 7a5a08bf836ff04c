//! Numbers that one seed decides (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom
//! number generators", 2014).

use std::time::Duration;

use parking_lot::Mutex;

/// A source of numbers that several owners may draw from.
#[derive(Debug)]
pub(super) struct Rng(Mutex<u64>);

impl Rng {
    /// The source that a seed and a name stand for: each actor has its own, so that what one of them
    /// does moves nobody else's numbers.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed, |state, byte| {
            mix(state ^ u64::from(byte).wrapping_mul(0x0100_0000_01b3))
        });
        Rng(Mutex::new(mixed))
    }

    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(*state)
    }

    /// Less than `bound`, which is not 0.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True so often of 1,000 times.
    pub(super) fn permille(&self, often: u64) -> bool {
        self.below(1000) < often
    }

    /// From `least` to `most`, in microseconds.
    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (least, most) = (micros(least), micros(most));
        Duration::from_micros(least + self.below(most.saturating_sub(least) + 1))
    }

    /// Mostly short, sometimes as long as `most`: each power of ten is as likely as the next.
    pub(super) fn long_tailed(&self, most: Duration) -> Duration {
        let shrink = [1, 1, 10, 100][usize::try_from(self.below(4)).unwrap_or(0)];
        self.between(Duration::from_micros(100), most / shrink)
    }

    pub(super) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).unwrap_or(0)]
    }
}

fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
