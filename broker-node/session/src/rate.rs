//! How fast a client may publish.

use crate::{Config, Tick};

/// What may come at once: a second's worth.
const BURST_US: u64 = 1_000_000;

/// The moments at which what was published would have come at the rates allowed, microseconds. A client that is ahead by more
/// than the burst is not read until it isn't: that is the back-pressure.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    messages_us: u64,
    bytes_us: u64,
}

impl Rate {
    /// A PUBLISH of so many bytes came.
    pub(crate) fn charge(&mut self, now: Tick, bytes: usize, config: &Config) {
        charge(&mut self.messages_us, now, 1, config.publish_rate_max);
        charge(&mut self.bytes_us, now, bytes as u64, config.publish_bytes_rate_max);
    }

    /// When the next may come, if not at once.
    pub(crate) fn paused_until(&self, now: Tick) -> Option<Tick> {
        let until = Tick(self.messages_us.max(self.bytes_us).saturating_sub(BURST_US).div_ceil(1_000));
        (until > now).then_some(until)
    }
}

fn charge(at_us: &mut u64, now: Tick, units: u64, per_s: Option<u32>) {
    let Some(per_s) = per_s else { return };
    let cost_us = units.saturating_mul(1_000_000) / u64::from(per_s.max(1));
    *at_us = (*at_us).max(now.0.saturating_mul(1_000)).saturating_add(cost_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_and_then_the_rate() {
        let config = Config { publish_rate_max: Some(10), ..Config::default() };
        let (mut rate, now) = (Rate::default(), Tick(5_000));
        for _ in 0..10 {
            rate.charge(now, 1_000_000, &config);
        }
        assert_eq!(rate.paused_until(now), None);
        rate.charge(now, 0, &config);
        assert_eq!(rate.paused_until(now), Some(Tick(5_100)));
        assert_eq!(rate.paused_until(Tick(5_100)), None);
        rate.charge(Tick(60_000), 0, &config);
        assert_eq!(rate.paused_until(Tick(60_000)), None, "what was long ago is forgotten");
    }

    #[test]
    fn bytes_are_counted_too() {
        let config = Config { publish_bytes_rate_max: Some(1_000), ..Config::default() };
        let mut rate = Rate::default();
        rate.charge(Tick(0), 3_000, &config);
        assert_eq!(rate.paused_until(Tick(0)), Some(Tick(2_000)));
    }
}
