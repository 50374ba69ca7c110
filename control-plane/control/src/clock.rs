//! The clocks of a replica. Everything that decides about time asks here, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use revoq_credentials::Millis;
use rustix::time::{ClockId, clock_gettime};

/// Wall clock and monotonic clock. Clones share their offset.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Added to the wall clock, in ms; tests only.
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// The wall clock. Decides validity periods and stamps entries, never leases.
    pub fn now(&self) -> Millis {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let now = now.saturating_add(self.offset.load(Ordering::Relaxed)).max(0);
        Millis(now.unsigned_abs())
    }

    /// Milliseconds since boot, time in suspend included. Decides leases.
    pub fn tick(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
        seconds * 1_000 + nanoseconds / 1_000_000
    }

    /// Moves the wall clock of this `Clock` and its clones.
    pub fn shift(&self, ms: i64) {
        self.offset.fetch_add(ms, Ordering::Relaxed);
    }
}
