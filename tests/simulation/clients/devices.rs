//! Devices: each connects to some broker, publishes for a while, and comes back elsewhere. Who is refused tries again.

use crate::broker::Evidence;

/// What a device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits before it tries again.
    Idle,
    Connecting {
        broker: u8,
        life: u32,
        attempt: u64,
    },
    Connected {
        broker: u8,
        life: u32,
        attempt: u64,
        number: u64,
    },
}

/// One device, with everything that it can show.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) wallet: Vec<Evidence>,
    /// The broker that it always goes to.
    pub(crate) home: Option<u8>,
    pub(crate) state: State,
}

impl Device {
    /// Shows nothing.
    pub(crate) fn anonymous() -> Device {
        Device { wallet: vec![Evidence::Anonymous], home: None, state: State::Idle }
    }

    pub(crate) fn with(evidence: Evidence) -> Device {
        Device { wallet: vec![evidence], home: None, state: State::Idle }
    }
}
