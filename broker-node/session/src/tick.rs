//! Time as the session knows it.

use std::ops::Add;

/// A point in time: milliseconds on a monotonic clock with any origin.
///
/// All sessions among which messages travel must use the same clock, because the age of a message decides its
/// remaining expiry interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Tick {
    type Output = Tick;

    #[inline]
    fn add(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }
}
