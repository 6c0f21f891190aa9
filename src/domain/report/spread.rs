//! How durations are spread: percentiles and bands in fixed memory, whatever the number of durations.

use jiff::SignedDuration;

/// A power of two is cut into so many steps, so a percentile is at most one part in 1024 too high.
const STEPS: u64 = 1024;
/// Longer than any repair lives; what is longer still counts as this long.
const LONGEST_MS: u64 = (1 << 36) - 1;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The bands of the distribution: up to when (exclusive, ms) and what they are called.
pub(super) const BANDS: [(u64, &str); 8] = [
    (2 * SECOND, "<2 s"),
    (10 * SECOND, "<10 s"),
    (MINUTE, "<1 m"),
    (10 * MINUTE, "<10 m"),
    (HOUR, "<1 h"),
    (4 * HOUR, "<4 h"),
    (24 * HOUR, "<1 d"),
    (u64::MAX, "≥1 d"),
];

/// Durations, counted by size.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    counts: Vec<u32>,
    /// The longest duration in each slot: what is shown is one that there was.
    longest: Vec<u64>,
    pub bands: [u64; BANDS.len()],
    total: u64,
}

impl Spread {
    pub fn new() -> Self {
        let slots = slot(LONGEST_MS) + 1;
        Self { counts: vec![0; slots], longest: vec![0; slots], bands: [0; BANDS.len()], total: 0 }
    }

    /// A negative duration, which two clocks can make, counts as none.
    pub fn add(&mut self, duration: SignedDuration) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or_default().min(LONGEST_MS);
        let slot = slot(ms);
        self.counts[slot] += 1;
        self.longest[slot] = self.longest[slot].max(ms);
        let band = BANDS.iter().position(|(end, _)| ms < *end).unwrap_or(BANDS.len() - 1);
        self.bands[band] += 1;
        self.total += 1;
    }

    /// By nearest rank, rounded up by at most 0.1 %; `None` of nothing. `percent` from 1 to 100.
    pub fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let rank = (self.total * percent).div_ceil(100);
        let mut below = 0;
        self.counts.iter().enumerate().find_map(|(slot, count)| {
            below += u64::from(*count);
            (rank > 0 && below >= rank).then(|| self.longest[slot])
        })
    }
}

/// Exact below `STEPS`, then `STEPS` slots for each power of two.
fn slot(ms: u64) -> usize {
    let shift = u64::from((ms / STEPS).checked_ilog2().map_or(0, |power| power + 1));
    let step = if shift == 0 { ms } else { (ms >> (shift - 1)) - STEPS };
    usize::try_from(shift * STEPS + step).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_one_slot_are_at_most_a_thousandth_apart() {
        let next = |ms: u64| (ms..).find(|later| slot(*later) != slot(ms)).unwrap();
        for ms in (0..5000).chain([65_535, 65_536, 1 << 24]) {
            assert!((next(ms) - 1 - ms) * 1024 <= ms, "{ms} shares a slot with {}", next(ms) - 1);
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut spread = Spread::new();
        assert_eq!(spread.percentile_ms(50), None);
        for ms in [40, 10, 30, 20] {
            spread.add(SignedDuration::from_millis(ms));
        }
        assert_eq!((spread.percentile_ms(50), spread.percentile_ms(95)), (Some(20), Some(40)));
    }
}
