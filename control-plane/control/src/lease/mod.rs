//! What drives the leases and fences of `revoq-lease`: time, rows, the quorum, and where grants go.
mod duties;
mod fences;
mod ground;
mod keeper;
mod status;

use std::time::Duration;

use revoq_lease::Moment;

pub(crate) use duties::{Due, duties};
pub(crate) use fences::wall_at;
#[cfg(test)]
pub(crate) use ground::Ground;
pub(crate) use keeper::{LeaseKeeper, Outlet};

/// Whole milliseconds, as the protocols have them.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Now, on the clock that leases are counted with.
pub(crate) fn moment() -> Moment {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Moment::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
