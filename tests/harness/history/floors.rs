//! How old a broker's view may be at most, by what was promised.

use super::History;
use super::record::{Action, Outcome, Time};

/// A promise: from a moment on, no view below a revision serves anybody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) since: Time,
    pub(super) revision: u64,
    /// The record that it comes from.
    pub(super) by: usize,
}

/// The promises of one kind for one broker, ascending in both.
#[derive(Debug, Default)]
pub(super) struct Floors(Vec<Floor>);

impl Floors {
    fn of(promises: impl Iterator<Item = Floor>) -> Floors {
        let mut floors: Vec<Floor> = promises.collect();
        floors.sort_by_key(|floor| floor.since);
        let mut highest = 0;
        floors.retain(|floor| {
            let higher = floor.revision > highest;
            highest = highest.max(floor.revision);
            higher
        });
        Floors(floors)
    }

    /// By completed fences, of a broker.
    pub(super) fn by_fences(history: &History, broker: u16) -> Floors {
        Floors::of(history.records.iter().enumerate().filter_map(|(by, record)| {
            match (record.action, record.outcome) {
                (Action::Fence { revision }, Outcome::Complete { unconfirmed, .. })
                    if !unconfirmed.contains(broker) =>
                {
                    Some(Floor { since: record.responded, revision, by })
                }
                _ => None,
            }
        }))
    }

    /// By acknowledged changes, so many nanoseconds after their answers, of every broker.
    pub(super) fn by_bound(history: &History, nanoseconds: Option<u64>) -> Floors {
        let Some(nanoseconds) = nanoseconds else { return Floors::default() };
        Floors::of(history.records.iter().enumerate().filter_map(|(by, record)| match record.outcome {
            Outcome::Done { revision } => {
                Some(Floor { since: record.responded.plus(nanoseconds), revision, by })
            }
            _ => None,
        }))
    }

    /// What holds for something that is asked at a moment.
    pub(super) fn at(&self, invoked: Time) -> Option<Floor> {
        let until = self.0.partition_point(|floor| floor.since < invoked);
        self.0[..until].last().copied()
    }
}
