//! The two clocks: one that only moves forward and counts suspend, and the wall clock.

use std::time::Duration;

pub(crate) use revoq_lease::Now;
use revoq_session::Tick;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Both clocks, now.
#[inline]
pub(crate) fn now() -> Now {
    Now { boot: millis(clock_gettime(ClockId::Boottime)), wall: millis(clock_gettime(ClockId::Realtime)) }
}

/// For the protocol state machine.
#[inline]
pub(crate) fn tick(now: Now) -> Tick {
    Tick(now.boot)
}

/// `CLOCK_BOOTTIME` in full, for measuring.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A clock before 1970 reads as zero: every certificate is then not yet valid, which is the safe side.
#[inline]
fn millis(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

/// Whole milliseconds of a duration, `u64::MAX` where it does not fit.
pub(crate) fn duration_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
