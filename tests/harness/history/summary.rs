//! Counts of what a history holds.

use std::fmt;

use super::History;
use super::record::{Action, Brokers, Outcome};

/// How operations of some kind ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Asked.
    pub invoked: u64,
    /// Answered as wanted: done, seen, complete, served.
    pub acknowledged: u64,
    /// Answered that the state does not allow it; kept out.
    pub refused: u64,
    /// Answered that nothing happened; of a fence, that nodes have not confirmed.
    pub not_done: u64,
    /// Not answered, or not so that it tells.
    pub unknown: u64,
}

impl Ended {
    fn add(&mut self, outcome: Outcome) {
        self.invoked += 1;
        *match outcome {
            Outcome::Unknown => &mut self.unknown,
            Outcome::NotDone | Outcome::Incomplete => &mut self.not_done,
            Outcome::Refused { .. } | Outcome::Denied => &mut self.refused,
            Outcome::Done { .. } | Outcome::Seen { .. } | Outcome::Complete { .. } | Outcome::Served => {
                &mut self.acknowledged
            }
        } += 1;
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { invoked, acknowledged, refused, not_done, unknown } = self;
        write!(
            f,
            "{invoked} ({acknowledged} acknowledged, {refused} refused, {not_done} not done, {unknown} unknown)"
        )
    }
}

/// Counts by kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All of them.
    pub operations: Ended,
    /// Changes of state.
    pub changes: Ended,
    /// Reads of a state.
    pub reads: Ended,
    /// Fences.
    pub fences: Ended,
    /// Fences that were complete because a node's lease and grace had run out.
    pub fenced: u64,
    /// Of connecting.
    pub connects: Ended,
    /// On sessions: publishes and signs of life.
    pub uses: Ended,
}

impl Summary {
    /// Counts a history.
    #[must_use]
    pub fn of(history: &History) -> Summary {
        let mut summary = Summary::default();
        for record in &history.records {
            summary.operations.add(record.outcome);
            let of = match record.action {
                Action::Change(_) => &mut summary.changes,
                Action::Read => &mut summary.reads,
                Action::Fence { .. } => &mut summary.fences,
                Action::Connect { .. } => &mut summary.connects,
                Action::Publish { .. } | Action::Ping { .. } => &mut summary.uses,
            };
            of.add(record.outcome);
            let fenced = matches!(record.outcome, Outcome::Complete { fenced: Brokers(1..), .. });
            summary.fenced += u64::from(fenced);
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { operations, changes, reads, fences, fenced, connects, uses } = self;
        write!(
            f,
            "operations {operations}; changes {changes}; reads {reads}; fences {fences}, {fenced} with a fenced node; connects {connects}; \
             uses {uses}"
        )
    }
}
