//! One clock for all processes of a run.

/// Nanoseconds of `CLOCK_BOOTTIME`, the same in every process.
pub(crate) fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(time.tv_sec).expect("uptime is positive") * 1_000_000_000
        + u64::try_from(time.tv_nsec).expect("nanoseconds are positive")
}
