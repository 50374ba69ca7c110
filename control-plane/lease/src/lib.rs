//! Leases and fences: for how long a broker's view may be used, and when a revision is effective everywhere.
//!
//! A broker's view is *fresh* from the moment at which it sent a `Renew` for the length of the lease that the
//! answering grant names. When that is over the broker admits nobody; when the stale grace is over too it has
//! closed every session. The leader counts the same time from its own receipt of the `Renew`, which is later
//! than the sending, plus a margin for clocks that run apart. So when the leader's count has run out, the
//! broker's has.
//!
//! [`Leases`] is the leader's account, [`Freshness`] the broker's side. Neither does I/O: times come in as arguments,
//! grants go out as data.
mod fence;
mod freshness;
mod incarnation;
mod leases;
mod messages;
mod status;
mod terms;

#[cfg(test)]
mod leases_test;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_actions;
#[cfg(test)]
mod model_test;

use std::time::Duration;

pub use fence::{NodeStanding, Standing, Waiting};
pub use freshness::{Freshness, Now, Permitted};
pub use incarnation::{Cut, IncarnationId};
pub use leases::{Batch, Leases, Refused};
pub use messages::{Acknowledgement, Granted, NodeRow, Proof, Renewal};
pub use status::{NodeLease, NodeState};
pub use terms::Terms;

/// A moment on the clock that leases are counted with: time since boot, suspend included.
pub type Moment = Duration;

/// Added to every time that is counted for somebody else's clock, beside one percent of it.
pub const MARGIN: Duration = Duration::from_millis(100);

/// Two clocks run apart by at most one part in this many.
pub const DRIFT_PART: u32 = 100;

/// The longest that `time` on another machine's clock can take on ours.
#[must_use]
pub fn with_margin(time: Duration) -> Duration {
    time.saturating_add(time / DRIFT_PART).saturating_add(MARGIN)
}
