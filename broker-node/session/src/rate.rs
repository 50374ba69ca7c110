//! How often something may happen.

use crate::Tick;

/// What may come at once: a second's worth.
const BURST_US: u64 = 1_000_000;

/// A rate that is allowed, with a second's worth at once: the moment at which what came would have come at that rate. Who
/// is ahead by more than the burst waits until it isn't.
#[derive(Debug, Default)]
pub struct Rate {
    at_us: u64,
}

impl Rate {
    /// So many units came, of `per_s` that may come a second; `None` is no limit.
    pub fn charge(&mut self, now: Tick, units: u64, per_s: Option<u32>) {
        let Some(per_s) = per_s else { return };
        let cost_us = units.saturating_mul(1_000_000) / u64::from(per_s.max(1));
        self.at_us = self.at_us.max(now.0.saturating_mul(1_000)).saturating_add(cost_us);
    }

    /// One more unit comes, unless it comes too early; whether it may.
    #[must_use]
    pub fn admits(&mut self, now: Tick, per_s: Option<u32>) -> bool {
        let is_due = self.paused_until(now).is_none();
        if is_due {
            self.charge(now, 1, per_s);
        }
        is_due
    }

    /// When the next may come, if not at once.
    #[must_use]
    pub fn paused_until(&self, now: Tick) -> Option<Tick> {
        let until = Tick(self.at_us.saturating_sub(BURST_US).div_ceil(1_000));
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_and_then_the_rate() {
        let (mut rate, now) = (Rate::default(), Tick(5_000));
        for _ in 0..10 {
            rate.charge(now, 1, Some(10));
        }
        assert_eq!(rate.paused_until(now), None);
        rate.charge(now, 1, Some(10));
        assert_eq!(rate.paused_until(now), Some(Tick(5_100)));
        assert_eq!(rate.paused_until(Tick(5_100)), None);
        rate.charge(Tick(60_000), 1, Some(10));
        assert_eq!(rate.paused_until(Tick(60_000)), None, "what was long ago is forgotten");
    }

    #[test]
    fn who_is_refused_is_not_charged() {
        let (mut rate, now) = (Rate::default(), Tick(5_000));
        let admitted = (0..100).filter(|_| rate.admits(now, Some(2))).count();
        assert_eq!(admitted, 3);
        assert!(!rate.admits(Tick(5_499), Some(2)) && rate.admits(Tick(5_500), Some(2)));
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut rate = Rate::default();
        rate.charge(Tick(0), u64::MAX, None);
        assert_eq!(rate.paused_until(Tick(0)), None);
        rate.charge(Tick(0), 3_000, Some(1_000));
        assert_eq!(rate.paused_until(Tick(0)), Some(Tick(2_000)));
    }
}
