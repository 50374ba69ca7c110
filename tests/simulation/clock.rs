//! The clocks of one machine, as functions of true time.

use std::time::Duration;

use revoq_credentials::Millis;
use revoq_lease::{DRIFT_PART, Moment, Now};

/// True time: microseconds since the run began.
pub(crate) type Time = u64;

pub(crate) const MILLISECOND: Time = 1_000;
pub(crate) const SECOND: Time = 1_000_000;

/// So many millionths a clock may be off, so that no two run apart by more than one part in [`DRIFT_PART`].
pub(crate) const RATE_MAX: i64 = 490_000 / DRIFT_PART as i64;

/// A machine's two clocks. Stands for `clock.rs` of broker and control: `CLOCK_BOOTTIME` and the wall clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What the boot clock said when the run began.
    boot: Time,
    /// Millionths by which it runs fast.
    rate: i64,
    /// The wall clock less the boot clock, milliseconds.
    wall_ahead: i64,
    /// For so long the machine was stopped, and its boot clock with it.
    frozen: Time,
    frozen_since: Option<Time>,
}

impl Clock {
    /// `rate` within [`RATE_MAX`].
    pub(crate) fn new(boot: Time, rate: i64, wall_ahead: i64) -> Clock {
        assert!(rate.abs() <= RATE_MAX, "{rate} is beyond what the margin of leases allows for");
        Clock { boot, rate, wall_ahead, frozen: 0, frozen_since: None }
    }

    /// The boot clock, microseconds.
    fn boot(&self, now: Time) -> Time {
        let ran = self.frozen_since.unwrap_or(now).min(now) - self.frozen;
        let off = i128::from(ran) * i128::from(self.rate) / 1_000_000;
        let ran = i128::from(ran) + off + i128::from(self.boot);
        Time::try_from(ran).expect("a clock that begins at zero or later and runs forward")
    }

    /// What leases are counted with.
    pub(crate) fn moment(&self, now: Time) -> Moment {
        Duration::from_micros(self.boot(now))
    }

    /// Both, as a broker reads them.
    pub(crate) fn read(&self, now: Time) -> Now {
        Now { boot: self.boot(now) / MILLISECOND, wall: self.wall(now).0 }
    }

    pub(crate) fn wall(&self, now: Time) -> Millis {
        let boot = i64::try_from(self.boot(now) / MILLISECOND).expect("far below the end of time");
        Millis(u64::try_from(boot + self.wall_ahead).expect("the wall clock is after 1970"))
    }

    /// The true time at which the boot clock will have reached `moment`, if the machine is not stopped before.
    pub(crate) fn reaches(&self, now: Time, moment: Moment) -> Time {
        let left = moment.saturating_sub(self.moment(now));
        let left = u64::try_from(left.as_micros()).expect("far below the end of time");
        // A clock that is slow takes longer by less than one part in a hundred.
        now + left + left / u64::from(DRIFT_PART) + 1
    }

    /// The machine is stopped: a virtual machine that is paused or moved. Neither clock runs.
    pub(crate) fn freeze(&mut self, now: Time) {
        self.frozen_since.get_or_insert(now);
    }

    /// It goes on, and its wall clock is set right.
    pub(crate) fn thaw(&mut self, now: Time) {
        let Some(since) = self.frozen_since.take() else { return };
        self.frozen += now - since;
        self.step_wall(i64::try_from((now - since).div_ceil(MILLISECOND)).expect("a pause is short"));
    }

    /// The wall clock is set by so many milliseconds.
    pub(crate) fn step_wall(&mut self, milliseconds: i64) {
        self.wall_ahead += milliseconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clocks_run_apart_by_more_than_the_margin_allows() {
        let (fast, slow) = (Clock::new(0, RATE_MAX, 0), Clock::new(0, -RATE_MAX, 0));
        let (fast, slow) = (fast.moment(100 * SECOND), slow.moment(100 * SECOND));
        assert!(fast - slow <= slow / DRIFT_PART, "{fast:?} {slow:?}");
    }

    #[test]
    fn a_machine_that_was_stopped_finds_its_wall_clock_ahead() {
        let mut clock = Clock::new(5 * SECOND, 0, 1_000_000);
        clock.freeze(SECOND);
        assert_eq!(clock.read(3 * SECOND), clock.read(SECOND));
        clock.thaw(4 * SECOND);
        assert_eq!(clock.read(4 * SECOND).boot, 6_000);
        assert_eq!(clock.read(4 * SECOND).wall, 1_000_000 + 6_000 + 3_000);
        assert_eq!(clock.reaches(4 * SECOND, Duration::from_secs(7)), 4 * SECOND + 1_010_001);
    }
}
