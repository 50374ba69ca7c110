//! Leases and fences: for how long a broker's view may be used, and when a revision is effective everywhere.
//!
//! A broker's view is *fresh* from the moment at which it sent a `Renew` for the length of the lease that the
//! answering grant names. When that is over the broker admits nobody; when the stale grace is over too it has
//! closed every session. The leader counts the same time from its own receipt of the `Renew`, which is later
//! than the sending, plus a margin for clocks that run apart. So when the leader's count has run out, the
//! broker's has.
//!
//! [`Leases`] is the leader's account, without I/O: times come in as arguments, grants go out as data.
//! [`LeaseKeeper`] drives it.
mod duties;
mod fence;
mod fences;
mod ground;
mod incarnation;
mod keeper;
mod leases;
mod status;
mod terms;

#[cfg(test)]
mod leases_test;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_test;

use std::time::Duration;

pub(crate) use duties::{Due, duties};
pub(crate) use fence::{NodeStanding, Standing};
pub(crate) use fences::wall_at;
#[cfg(test)]
pub(crate) use ground::Ground;
pub(crate) use incarnation::{Cut, IncarnationId};
pub(crate) use keeper::{LeaseKeeper, Outlet};
#[cfg(test)]
pub(crate) use leases::Granted;
pub(crate) use leases::{Acknowledgement, Batch, Leases, NodeRow, Refused, Renewal};
pub(crate) use status::NodeLease;
pub(crate) use terms::{Grace, Terms};

/// A moment on the clock that leases are counted with: time since boot, suspend included.
pub(crate) type Moment = Duration;

/// Added to every time that is counted for somebody else's clock, beside one percent of it.
const MARGIN: Duration = Duration::from_millis(100);

/// Two clocks run apart by at most one part in this many.
const DRIFT_PART: u32 = 100;

/// The longest that `time` on another machine's clock can take on ours.
pub(crate) fn with_margin(time: Duration) -> Duration {
    time.saturating_add(time / DRIFT_PART).saturating_add(MARGIN)
}

/// Now, on the clock that leases are counted with.
pub(crate) fn moment() -> Moment {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}
