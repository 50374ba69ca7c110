//! How long the view may be used: the lease, checked where packets are handled and not only by a timer.

use std::sync::atomic::{AtomicU64, Ordering};

use revoq_credentials::{Millis, StaleGrace};

/// The wall clock may be set back this far against the boot clock between two grants, milliseconds.
const WALL_BACK_MAX: u64 = 1000;

/// One reading of a broker's two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_BOOTTIME`, milliseconds: monotonic, and running while the machine is suspended.
    pub boot: u64,
    /// Milliseconds since the Unix epoch: only to compare with notAfter, and to see that the machine was paused.
    pub wall: u64,
}

impl Now {
    /// For verdicts.
    #[must_use]
    #[inline]
    pub fn millis(self) -> Millis {
        Millis(self.wall)
    }
}

/// What the lease permits at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// No grant yet: there is no view to decide by.
    Never,
    /// The lease runs.
    Fresh,
    /// The lease ran out; the grace runs.
    Stale,
    /// The grace ran out: nothing may pass any gate.
    Lapsed,
}

/// The deadline of the lease, in atomics that the packet path reads.
///
/// A grant makes the view fresh until the moment *before its request was sent* plus the lease, on each of the two clocks:
/// it is over when one of them says so. A machine that was paused finds its wall clock ahead of where the boot clock says
/// it should be, and however little that is, it has passed: the leader counts on with no more than its margin for clocks
/// that run apart. NTP slews both clocks alike, and a wall clock that is set forward only costs some of the lease until
/// the next grant. What it cannot see is a machine that is stopped and has its wall clock set back, both before its next
/// grant.
#[derive(Debug, Default)]
pub struct Freshness {
    /// On the boot clock, milliseconds. Zero: never granted.
    until: AtomicU64,
    /// On the wall clock, milliseconds; stored after `until` and read before it, so that it is never of a later grant.
    until_wall: AtomicU64,
    /// `u64::MAX`: sessions live on however old the view is.
    grace: AtomicU64,
}

impl Freshness {
    /// The control plane answered a renewal that was sent at `sent`. Grants come in the order of their renewals; the last
    /// one counts.
    pub fn grant(&self, sent: Now, lease_ms: u64) {
        self.until.store(sent.boot.saturating_add(lease_ms).max(1), Ordering::Release);
        self.until_wall.store(sent.wall.saturating_add(lease_ms), Ordering::Release);
    }

    /// The setting `stale_grace` in force.
    pub fn set_grace(&self, grace: StaleGrace) {
        let grace = match grace {
            StaleGrace::Bounded(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            StaleGrace::Never => u64::MAX,
        };
        self.grace.store(grace, Ordering::Release);
    }

    /// What is permitted at `now`.
    #[inline]
    pub fn permitted(&self, now: Now) -> Permitted {
        let until_wall = self.until_wall.load(Ordering::Acquire);
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return Permitted::Never;
        }
        if now.boot < until && now.wall < until_wall {
            // A wall clock that went backwards says nothing about elapsed time, but something about the machine.
            let back = (until_wall - now.wall).saturating_sub(until - now.boot);
            return if back > WALL_BACK_MAX { Permitted::Stale } else { Permitted::Fresh };
        }
        let over = now.boot.saturating_sub(until).max(now.wall.saturating_sub(until_wall));
        if over < self.grace.load(Ordering::Acquire) { Permitted::Stale } else { Permitted::Lapsed }
    }

    /// Milliseconds of lease that are left, for the metrics.
    pub fn left(&self, now: Now) -> u64 {
        self.until.load(Ordering::Acquire).saturating_sub(now.boot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Now = Now { boot: 10_000, wall: 1_000_000 };

    fn later(ms: u64) -> Now {
        Now { boot: START.boot + ms, wall: START.wall + ms }
    }

    fn granted(grace: StaleGrace) -> Freshness {
        let freshness = Freshness::default();
        freshness.set_grace(grace);
        freshness.grant(START, 5000);
        freshness
    }

    #[test]
    fn the_lease_then_the_grace_run_out() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(60)));
        assert_eq!(freshness.permitted(later(4999)), Permitted::Fresh);
        assert_eq!(freshness.permitted(later(5000)), Permitted::Stale);
        assert_eq!(freshness.permitted(later(64_999)), Permitted::Stale);
        assert_eq!(freshness.permitted(later(65_000)), Permitted::Lapsed);
        freshness.grant(later(65_000), 5000);
        assert_eq!(freshness.permitted(later(65_001)), Permitted::Fresh);
    }

    #[test]
    fn nothing_is_granted_at_first() {
        assert_eq!(Freshness::default().permitted(START), Permitted::Never);
    }

    #[test]
    fn grace_may_be_nothing_or_unbounded() {
        assert_eq!(granted(StaleGrace::Bounded(Duration::ZERO)).permitted(later(5000)), Permitted::Lapsed);
        assert_eq!(granted(StaleGrace::Never).permitted(later(u64::MAX / 4)), Permitted::Stale);
    }

    #[test]
    fn a_paused_machine_is_stale_by_its_wall_clock() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(60)));
        let resumed = |pause| Now { wall: later(100).wall + pause, ..later(100) };
        assert_eq!(freshness.permitted(resumed(4_899)), Permitted::Fresh);
        assert_eq!(freshness.permitted(resumed(4_900)), Permitted::Stale);
        assert_eq!(freshness.permitted(resumed(10_000)), Permitted::Stale);
        assert_eq!(freshness.permitted(resumed(70_000)), Permitted::Lapsed);
        // The grant of a renewal sent before the pause does not help; one sent after it does.
        freshness.grant(later(50), 5000);
        assert_eq!(freshness.permitted(resumed(10_000)), Permitted::Stale);
        freshness.grant(resumed(10_000), 5000);
        assert_eq!(freshness.permitted(resumed(10_000)), Permitted::Fresh);
    }

    #[test]
    fn a_short_pause_counts_too() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(1)));
        let resumed = Now { wall: later(4_800).wall + 200, ..later(4_800) };
        assert_eq!(freshness.permitted(resumed), Permitted::Stale);
        let resumed = Now { wall: later(5_800).wall + 200, ..later(5_800) };
        assert_eq!(freshness.permitted(resumed), Permitted::Lapsed);
    }

    #[test]
    fn a_pause_counts_for_the_grant_before_it_after_the_next_one_too() {
        let freshness = granted(StaleGrace::Bounded(Duration::ZERO));
        // Stopped for two seconds; then a shorter lease, of one second.
        let resumed = |ms| Now { boot: START.boot + ms - 2_000, wall: START.wall + ms };
        freshness.grant(resumed(3_000), 1_000);
        assert_eq!(freshness.permitted(resumed(3_999)), Permitted::Fresh);
        assert_eq!(freshness.permitted(resumed(5_000)), Permitted::Lapsed);
    }

    #[test]
    fn a_wall_clock_set_back_is_stale_until_the_next_grant() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(60)));
        let back = Now { wall: START.wall - 20_000, ..later(100) };
        assert_eq!(freshness.permitted(back), Permitted::Stale);
        freshness.grant(back, 5000);
        assert_eq!(freshness.permitted(back), Permitted::Fresh);
    }
}
