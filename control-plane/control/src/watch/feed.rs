//! The ring of recent events, encoded once and shared by all who watch.
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use revoq_credentials::Event;
use revoq_lease::Moment;
use tokio::sync::watch;

/// Encoded bytes that the ring holds at most.
pub(crate) const RING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events in one message to a broker.
pub(crate) const BATCH_EVENTS_MAX: usize = 256;

/// Encoded bytes in one message to a broker, unless a single event has more.
pub(crate) const BATCH_BYTES_MAX: usize = 256 * 1024;

/// An event larger than this goes out as a snapshot: it would not fit in a message.
pub(crate) const EVENT_BYTES_MAX: usize = 3 * 1024 * 1024;

/// An event as it is handed to all watchers.
#[derive(Debug)]
pub(crate) struct FeedEvent {
    /// Its revision.
    pub(crate) revision: u64,
    /// The event itself.
    pub(crate) event: Arc<Event>,
    /// A `revoq.v1.Event`; `None` if it is larger than [`EVENT_BYTES_MAX`].
    pub(crate) wire: Option<Bytes>,
    /// When this replica began to apply it, which is just after it learned that it is committed.
    pub(crate) applied: Moment,
    /// It changed the rows of nodes.
    pub(crate) nodes: bool,
}

impl FeedEvent {
    fn size(&self) -> usize {
        self.wire.as_ref().map_or(EVENT_BYTES_MAX, Bytes::len)
    }
}

/// What a cursor finds.
#[derive(Debug)]
pub(crate) enum Read {
    /// Events in order, and where the cursor stands after them.
    Events {
        /// At least one; each has its encoded form.
        events: Vec<Arc<FeedEvent>>,
        /// The cursor afterwards: the last event's revision, or beyond it if nothing follows.
        cursor: u64,
    },
    /// Nothing happened up to this revision, where the cursor stands now.
    Idle {
        /// The applied revision.
        cursor: u64,
    },
    /// The next event does not fit in a message.
    Oversized,
    /// The ring does not reach back to the cursor.
    Behind {
        /// It holds everything after this revision.
        floor: u64,
    },
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<FeedEvent>>,
    bytes: usize,
    /// Every event after this revision is in `events`.
    floor: u64,
    applied: u64,
}

/// So near to the end an event is found by looking back from there: those who watch have all but the last.
const NEAR: usize = 8;

impl Ring {
    /// The place of the first event after `revision`.
    fn after(&self, revision: u64) -> usize {
        let later = self.events.iter().rev().take(NEAR).take_while(|event| event.revision > revision).count();
        match later {
            NEAR => self.events.partition_point(|event| event.revision <= revision),
            _ => self.events.len() - later,
        }
    }
}

/// Recent events. Readers keep their own cursors: nothing is stored for them.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: RwLock<Ring>,
    applied: watch::Sender<u64>,
    events_max: usize,
    bytes_max: usize,
}

#[cfg(test)]
impl Default for Feed {
    fn default() -> Feed {
        Feed::new(16_384, RING_BYTES_MAX)
    }
}

impl Feed {
    /// An empty ring that holds so many events and bytes.
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Feed {
        Feed { ring: RwLock::default(), applied: watch::Sender::new(0), events_max, bytes_max }
    }

    /// The state is applied up to `applied`; these are the events on the way. Wakes all who watch.
    pub(crate) fn publish(&self, applied: u64, events: impl IntoIterator<Item = Arc<FeedEvent>>) {
        let mut ring = self.ring.write();
        for event in events {
            ring.bytes += event.size();
            ring.events.push_back(event);
        }
        ring.applied = ring.applied.max(applied);
        while ring.events.len() > self.events_max || ring.bytes > self.bytes_max {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.size();
            ring.floor = oldest.revision;
        }
        drop(ring);
        self.applied.send_replace(applied);
    }

    /// The state was replaced; what led to it is not known here.
    pub(crate) fn restored(&self, applied: u64) {
        *self.ring.write() = Ring { floor: applied, applied, ..Ring::default() };
        self.applied.send_replace(applied);
    }

    /// The applied revision, as it moves.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The applied revision now.
    pub(crate) fn revision(&self) -> u64 {
        self.ring.read().applied
    }

    /// The next events after `cursor`, as many as fit in one message.
    pub(crate) fn read(&self, cursor: u64) -> Read {
        let ring = self.ring.read();
        if cursor < ring.floor {
            return Read::Behind { floor: ring.floor };
        }
        let from = ring.after(cursor);
        let mut bytes = 0;
        let fits = |event: &&Arc<FeedEvent>| {
            let first = bytes == 0;
            bytes += event.size();
            event.wire.is_some() && (first || bytes <= BATCH_BYTES_MAX)
        };
        let events: Vec<_> =
            ring.events.range(from..).take(BATCH_EVENTS_MAX).take_while(fits).cloned().collect();
        match events.last() {
            None if from < ring.events.len() => Read::Oversized,
            None => Read::Idle { cursor: cursor.max(ring.applied) },
            Some(_) if from + events.len() == ring.events.len() => {
                Read::Events { events, cursor: ring.applied }
            }
            Some(last) => Read::Events { cursor: last.revision, events },
        }
    }

    /// The last revision up to `revision` that has an event, as far as the ring reaches back. Who has that one
    /// has everything up to `revision`.
    pub(crate) fn last_event(&self, revision: u64) -> u64 {
        let ring = self.ring.read();
        let next = ring.after(revision);
        let last = next.checked_sub(1).map_or(ring.floor, |last| ring.events[last].revision);
        last.min(revision)
    }

    /// When this replica applied `revision`, if the ring still has it.
    pub(crate) fn applied_at(&self, revision: u64) -> Option<Moment> {
        let ring = self.ring.read();
        let at = ring.events.binary_search_by_key(&revision, |event| event.revision).ok()?;
        Some(ring.events[at].applied)
    }
}

#[cfg(test)]
mod tests {
    use revoq_credentials::{Millis, Revision};

    use super::*;

    fn event(revision: u64, size: usize) -> Arc<FeedEvent> {
        let event = Event {
            revision: Revision(revision),
            time: Millis(0),
            actor: String::new(),
            action: String::new(),
            changes: Vec::new(),
        };
        let wire = (size <= EVENT_BYTES_MAX).then(|| Bytes::from(vec![0; size]));
        let applied = Moment::from_millis(revision);
        Arc::new(FeedEvent { revision, event: Arc::new(event), wire, applied, nodes: false })
    }

    fn revisions(read: Read) -> (Vec<u64>, u64) {
        match read {
            Read::Events { events, cursor } => (events.iter().map(|event| event.revision).collect(), cursor),
            other => panic!("no events: {other:?}"),
        }
    }

    #[test]
    fn a_cursor_sees_each_event_once_and_moves_past_what_has_none() {
        let feed = Feed::new(10, 1_000);
        assert!(matches!(feed.read(0), Read::Idle { cursor: 0 }));
        feed.publish(7, [event(2, 1), event(5, 1)]);
        assert_eq!(revisions(feed.read(0)), (vec![2, 5], 7));
        assert_eq!(revisions(feed.read(2)), (vec![5], 7));
        assert!(matches!(feed.read(7), Read::Idle { cursor: 7 }));
        feed.publish(9, []);
        assert!(matches!(feed.read(7), Read::Idle { cursor: 9 }));
        assert!(matches!(feed.read(20), Read::Idle { cursor: 20 }), "a resume point ahead of us waits");
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_says_so() {
        let feed = Feed::new(3, 1_000);
        feed.publish(5, (1..=5).map(|revision| event(revision, 1)));
        assert!(matches!(feed.read(1), Read::Behind { floor: 2 }));
        assert_eq!(revisions(feed.read(2)), (vec![3, 4, 5], 5));
        feed.publish(6, [event(6, 999)]);
        assert!(
            matches!(feed.read(4), Read::Behind { floor: 4 }) || matches!(feed.read(4), Read::Events { .. })
        );
        assert_eq!(revisions(feed.read(5)), (vec![6], 6));
        feed.publish(7, [event(7, 1_001)]);
        assert!(matches!(feed.read(6), Read::Behind { floor: 7 }), "what never fits is left to the rows");
    }

    #[test]
    fn a_batch_is_bounded_and_an_oversized_event_is_announced() {
        let feed = Feed::new(1_000, 64 * 1024 * 1024);
        feed.publish(600, (1..=600).map(|revision| event(revision, 1)));
        assert_eq!(revisions(feed.read(0)).1, u64::try_from(BATCH_EVENTS_MAX).expect("small"));
        feed.publish(602, [event(601, BATCH_BYTES_MAX * 2), event(602, 1)]);
        assert_eq!(revisions(feed.read(600)), (vec![601], 601), "one large event goes alone");
        feed.publish(604, [event(603, EVENT_BYTES_MAX + 1), event(604, 1)]);
        assert_eq!(revisions(feed.read(601)), (vec![602], 602));
        assert!(matches!(feed.read(602), Read::Oversized));
        assert_eq!(revisions(feed.read(603)), (vec![604], 604));
    }

    #[test]
    fn a_restored_state_is_read_from_elsewhere() {
        let feed = Feed::new(10, 1_000);
        feed.publish(3, [event(3, 1)]);
        feed.restored(50);
        assert!(matches!(feed.read(3), Read::Behind { floor: 50 }));
        assert!(matches!(feed.read(50), Read::Idle { cursor: 50 }));
    }

    #[test]
    fn the_last_event_stands_for_what_follows_it() {
        let feed = Feed::new(10, 1_000);
        feed.restored(10);
        feed.publish(20, [event(12, 1), event(15, 1)]);
        let expected = [(9, 9), (10, 10), (11, 10), (12, 12), (14, 12), (15, 15), (20, 15)];
        for (revision, last) in expected {
            assert_eq!(feed.last_event(revision), last, "of {revision}");
        }
        assert_eq!(feed.applied_at(12), Some(Moment::from_millis(12)));
        assert_eq!(feed.applied_at(13), None);
    }

    #[test]
    fn publishing_wakes_at_once() {
        let feed = Feed::default();
        let mut applied = feed.applied();
        applied.mark_unchanged();
        feed.publish(1, [event(1, 1)]);
        assert!(applied.has_changed().expect("the feed lives"));
    }
}
