//! What became of the messages of a run.

use serde::{Deserialize, Serialize};

/// Added up over all publishers and subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Deliveries that were due: messages sent, times their subscribers.
    pub(crate) expected: u64,
    /// Of those, that came.
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Came after a later one of the same publisher.
    pub(crate) reordered: u64,
    /// Messages of QoS 1 and 2 that the server did not acknowledge to their publisher.
    pub(crate) unacknowledged: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Counts) {
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.unacknowledged += other.unacknowledged;
    }
}
