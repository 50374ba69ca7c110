//! How long the view may be used: the lease, checked where packets are handled and not only by a timer.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use revoq_credentials::StaleGrace;

use crate::clock::{Now, duration_millis};

/// The wall clock may be moved this far against the boot clock between two grants before the machine counts as
/// paused, milliseconds. NTP slews well below it.
const WALL_STEP_MAX: i64 = 1000;

/// What the lease permits at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
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
/// A grant makes the view fresh until the moment *before its request was sent* plus the lease. A machine that was
/// paused finds its wall clock ahead of where the boot clock says it should be; the difference then counts as time
/// that has passed.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    /// Boot clock, milliseconds. Zero: never granted.
    until: AtomicU64,
    /// Wall minus boot at the request of the last grant.
    offset: AtomicI64,
    /// `u64::MAX`: sessions live on however old the view is.
    grace: AtomicU64,
}

impl Freshness {
    /// The control plane answered a renewal that was sent at `sent`.
    pub(crate) fn grant(&self, sent: Now, lease_ms: u64) {
        self.offset.store(offset(sent), Ordering::Relaxed);
        self.until.fetch_max(sent.boot.saturating_add(lease_ms).max(1), Ordering::Release);
    }

    /// The setting `stale_grace` in force.
    pub(crate) fn set_grace(&self, grace: StaleGrace) {
        let grace = match grace {
            StaleGrace::Bounded(duration) => duration_millis(duration),
            StaleGrace::Never => u64::MAX,
        };
        self.grace.store(grace, Ordering::Release);
    }

    /// What is permitted at `now`.
    pub(crate) fn standing(&self, now: Now) -> Standing {
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return Standing::Never;
        }
        let drift = offset(now).saturating_sub(self.offset.load(Ordering::Relaxed));
        let paused = if drift > WALL_STEP_MAX { drift.unsigned_abs() } else { 0 };
        let at = now.boot.saturating_add(paused);
        if at < until {
            // A wall clock that went backwards says nothing about elapsed time, but something about the machine.
            return if drift < -WALL_STEP_MAX { Standing::Stale } else { Standing::Fresh };
        }
        if at - until < self.grace.load(Ordering::Acquire) { Standing::Stale } else { Standing::Lapsed }
    }

    /// Milliseconds of lease that are left, for the metrics.
    pub(crate) fn left(&self, now: Now) -> u64 {
        self.until.load(Ordering::Acquire).saturating_sub(now.boot)
    }
}

fn offset(now: Now) -> i64 {
    i64::try_from(now.wall).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now.boot).unwrap_or(i64::MAX))
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
        assert_eq!(freshness.standing(later(4999)), Standing::Fresh);
        assert_eq!(freshness.standing(later(5000)), Standing::Stale);
        assert_eq!(freshness.standing(later(64_999)), Standing::Stale);
        assert_eq!(freshness.standing(later(65_000)), Standing::Lapsed);
        freshness.grant(later(65_000), 5000);
        assert_eq!(freshness.standing(later(65_001)), Standing::Fresh);
    }

    #[test]
    fn nothing_is_granted_at_first() {
        assert_eq!(Freshness::default().standing(START), Standing::Never);
    }

    #[test]
    fn grace_may_be_nothing_or_unbounded() {
        assert_eq!(granted(StaleGrace::Bounded(Duration::ZERO)).standing(later(5000)), Standing::Lapsed);
        assert_eq!(granted(StaleGrace::Never).standing(later(u64::MAX / 4)), Standing::Stale);
    }

    #[test]
    fn a_paused_machine_is_stale_by_its_wall_clock() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(60)));
        let resumed = |pause| Now { wall: later(100).wall + pause, ..later(100) };
        assert_eq!(freshness.standing(resumed(900)), Standing::Fresh);
        assert_eq!(freshness.standing(resumed(10_000)), Standing::Stale);
        assert_eq!(freshness.standing(resumed(70_000)), Standing::Lapsed);
        // The grant of a renewal sent before the pause does not help; one sent after it does.
        freshness.grant(later(50), 5000);
        assert_eq!(freshness.standing(resumed(10_000)), Standing::Stale);
        freshness.grant(resumed(10_000), 5000);
        assert_eq!(freshness.standing(resumed(10_000)), Standing::Fresh);
    }

    #[test]
    fn a_wall_clock_set_back_is_stale_until_the_next_grant() {
        let freshness = granted(StaleGrace::Bounded(Duration::from_secs(60)));
        let back = Now { wall: START.wall - 20_000, ..later(100) };
        assert_eq!(freshness.standing(back), Standing::Stale);
        freshness.grant(back, 5000);
        assert_eq!(freshness.standing(back), Standing::Fresh);
    }

    #[test]
    fn an_older_grant_never_shortens_a_newer_one() {
        let freshness = granted(StaleGrace::Never);
        freshness.grant(later(2000), 5000);
        freshness.grant(later(1000), 5000);
        assert_eq!(freshness.standing(later(6500)), Standing::Fresh);
    }
}
