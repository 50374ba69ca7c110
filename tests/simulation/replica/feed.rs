//! The ring of recent events, and reading on from a cursor. Stands for `watch/feed.rs` and `watch/source.rs`.

use std::collections::VecDeque;
use std::rc::Rc;

use revoq_credentials::Event;

use super::Machine;
use crate::clock::Time;

/// Events in one message to a broker.
const BATCH_EVENTS_MAX: usize = 8;

/// An event as it is handed to all watchers.
#[derive(Clone, Debug)]
pub(crate) struct FeedEvent {
    pub(crate) revision: u64,
    pub(crate) event: Rc<Event>,
    /// When this replica applied it, true time.
    pub(crate) applied: Time,
}

/// What comes after a cursor.
#[derive(Debug)]
pub(crate) enum Next {
    /// Events, and the cursor after them.
    Events { events: Vec<Rc<Event>>, cursor: u64 },
    /// Nothing up to here.
    Idle { cursor: u64 },
    /// Only a snapshot leads on from here.
    Resync,
}

/// Recent events. Readers keep their own cursors.
#[derive(Debug)]
pub(crate) struct Feed {
    events: VecDeque<FeedEvent>,
    events_max: usize,
    /// Every event after this revision is in `events`.
    floor: u64,
    applied: u64,
}

impl Feed {
    pub(crate) fn new(events_max: usize) -> Feed {
        Feed { events: VecDeque::new(), events_max, floor: 0, applied: 0 }
    }

    pub(crate) fn events_max(&self) -> usize {
        self.events_max
    }

    pub(crate) fn publish(&mut self, applied: u64, event: Option<FeedEvent>) {
        self.events.extend(event);
        self.applied = applied;
        if self.events.len() > self.events_max {
            self.floor = self.events.pop_front().map_or(self.floor, |oldest| oldest.revision);
        }
    }

    /// The state was replaced; what led to it is not known here.
    pub(crate) fn restored(&mut self, applied: u64) {
        self.events.clear();
        (self.floor, self.applied) = (applied, applied);
    }

    pub(crate) fn revision(&self) -> u64 {
        self.applied
    }

    /// The last revision up to `revision` that has an event, as far as the ring reaches back.
    pub(crate) fn last_event(&self, revision: u64) -> u64 {
        let next = self.events.partition_point(|event| event.revision <= revision);
        let last = next.checked_sub(1).map_or(self.floor, |last| self.events[last].revision);
        last.min(revision)
    }

    /// When `revision` was applied, if the ring still has it.
    pub(crate) fn applied_at(&self, revision: u64) -> Option<Time> {
        let at = self.events.binary_search_by_key(&revision, |event| event.revision).ok()?;
        Some(self.events[at].applied)
    }

    fn floor(&self) -> u64 {
        self.floor
    }

    fn after(&self, cursor: u64) -> Next {
        let from = self.events.partition_point(|event| event.revision <= cursor);
        let batch = self.events.range(from..).take(BATCH_EVENTS_MAX);
        let events: Vec<_> = batch.map(|event| Rc::clone(&event.event)).collect();
        match events.last() {
            None => Next::Idle { cursor: cursor.max(self.applied) },
            Some(_) if from + events.len() == self.events.len() => {
                Next::Events { events, cursor: self.applied }
            }
            Some(last) => Next::Events { cursor: last.revision.0, events },
        }
    }
}

impl Machine {
    /// What comes after `cursor`: from the ring, or from the change rows where the ring does not reach back.
    pub(crate) fn read_on(&self, cursor: u64) -> Next {
        let floor = self.feed.floor();
        if cursor >= floor {
            return self.feed.after(cursor);
        }
        if self.passes_compaction_over() {
            return self.feed.after(floor);
        }
        let Some(changes) = self.changes(cursor) else { return Next::Resync };
        let events: Vec<_> = changes.take(BATCH_EVENTS_MAX).collect();
        let all = events.len() < BATCH_EVENTS_MAX;
        let last = events.last().map_or(cursor, |event| event.revision.0);
        let cursor = if all { last.max(floor) } else { last };
        if events.is_empty() { Next::Idle { cursor } } else { Next::Events { events, cursor } }
    }
}
