//! Reading on from a cursor: from the ring, or from the change rows where the ring does not reach back.
use std::sync::Arc;

use revoq_credentials::Event;

use super::feed::{BATCH_EVENTS_MAX, Feed, FeedEvent, Read};
use crate::counts::Resync;

/// Revisions and their encoded events.
pub(crate) type ChangeRows = Vec<(u64, Vec<u8>)>;

/// Stored change rows.
pub(crate) trait Rows: Send + Sync {
    /// Rows after `after` in order, at most `limit`; `Ok(None)` if some of them are gone.
    fn changes(&self, after: u64, limit: usize) -> Result<Option<ChangeRows>, crate::Error>;

    /// The event as it is handed to watchers.
    fn encode(&self, revision: u64, event: Event) -> FeedEvent;
}

/// What comes after a cursor.
#[derive(Debug)]
pub(crate) enum Next {
    /// Events, and the cursor after them.
    Events { events: Vec<Arc<FeedEvent>>, cursor: u64 },
    /// Nothing up to here.
    Idle { cursor: u64 },
    /// Only a snapshot leads on from here: rows are gone, or an event does not fit.
    Resync(Resync),
}

/// What comes after `cursor`, at most a message full.
pub(crate) fn read_on(feed: &Feed, rows: &dyn Rows, cursor: u64) -> Result<Next, crate::Error> {
    match feed.read(cursor) {
        Read::Events { events, cursor } => Ok(Next::Events { events, cursor }),
        Read::Idle { cursor } => Ok(Next::Idle { cursor }),
        Read::Oversized => Ok(Next::Resync(Resync::Oversized)),
        Read::Behind { floor } => read_rows(rows, cursor, floor),
    }
}

fn read_rows(rows: &dyn Rows, cursor: u64, floor: u64) -> Result<Next, crate::Error> {
    let Some(stored) = rows.changes(cursor, BATCH_EVENTS_MAX)? else {
        return Ok(Next::Resync(Resync::Compacted));
    };
    let all = stored.len() < BATCH_EVENTS_MAX;
    let mut events = Vec::with_capacity(stored.len());
    let mut bytes = 0;
    for (revision, row) in stored {
        let event = Event::decode(&row).map_err(|error| crate::Error::corrupt("a change row", error))?;
        let event = rows.encode(revision, event);
        let Some(wire) = &event.wire else { return Ok(before_oversized(events)) };
        if bytes > 0 && bytes + wire.len() > super::feed::BATCH_BYTES_MAX {
            return Ok(events_up_to_last(events));
        }
        bytes += wire.len();
        events.push(Arc::new(event));
    }
    // The rows were read after the floor was: nothing up to it is missing in them.
    let last = events.last().map_or(cursor, |event| event.revision);
    let cursor = if all { last.max(floor) } else { last };
    Ok(if events.is_empty() { Next::Idle { cursor } } else { Next::Events { events, cursor } })
}

fn before_oversized(events: Vec<Arc<FeedEvent>>) -> Next {
    if events.is_empty() { Next::Resync(Resync::Oversized) } else { events_up_to_last(events) }
}

fn events_up_to_last(events: Vec<Arc<FeedEvent>>) -> Next {
    let cursor = events.last().map_or(0, |event| event.revision);
    Next::Events { events, cursor }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use revoq_credentials::{Millis, Revision};

    use super::super::feed::EVENT_BYTES_MAX;
    use super::*;
    use revoq_lease::Moment;

    /// Rows from `floor + 1` on; the value is the encoded size.
    struct Stored {
        floor: u64,
        rows: BTreeMap<u64, usize>,
    }

    impl Rows for Stored {
        fn changes(&self, after: u64, limit: usize) -> Result<Option<ChangeRows>, crate::Error> {
            if after < self.floor {
                return Ok(None);
            }
            let rows = self.rows.range(after + 1..).take(limit);
            Ok(Some(rows.map(|(&revision, _)| (revision, event(revision).encode())).collect()))
        }

        fn encode(&self, revision: u64, event: Event) -> FeedEvent {
            let size = self.rows[&revision];
            let wire = (size <= EVENT_BYTES_MAX).then(|| Bytes::from(vec![0; size]));
            FeedEvent { revision, event: Arc::new(event), wire, applied: Moment::ZERO, nodes: false }
        }
    }

    fn event(revision: u64) -> Event {
        Event {
            revision: Revision(revision),
            time: Millis(0),
            actor: String::new(),
            action: String::new(),
            changes: Vec::new(),
        }
    }

    fn walk(feed: &Feed, stored: &Stored, mut cursor: u64) -> Result<(Vec<u64>, u64), crate::Error> {
        let mut seen = Vec::new();
        loop {
            match read_on(feed, stored, cursor)? {
                Next::Events { events, cursor: next } => {
                    seen.extend(events.iter().map(|event| event.revision));
                    cursor = next;
                }
                Next::Idle { cursor: next } if next > cursor => cursor = next,
                Next::Idle { .. } | Next::Resync(_) => return Ok((seen, cursor)),
            }
        }
    }

    #[test]
    fn resumes_from_rows_and_goes_over_to_the_ring() -> Result<(), crate::Error> {
        let rows: BTreeMap<u64, usize> = (1..=1_000).map(|revision| (revision * 2, 10)).collect();
        let stored = Stored { floor: 100, rows };
        let feed = Feed::new(100, 1_000_000);
        let encoded = |revision: u64| Arc::new(stored.encode(revision, event(revision)));
        feed.publish(2_001, (1..=1_000).map(|revision| encoded(revision * 2)));
        let (seen, cursor) = walk(&feed, &stored, 100)?;
        assert_eq!(seen, (51..=1_000).map(|revision| revision * 2).collect::<Vec<_>>());
        assert_eq!(cursor, 2_001);
        assert!(matches!(read_on(&feed, &stored, 99)?, Next::Resync(Resync::Compacted)));
        Ok(())
    }

    #[test]
    fn rows_without_events_move_the_cursor_to_the_ring() -> Result<(), crate::Error> {
        let stored = Stored { floor: 0, rows: BTreeMap::new() };
        let feed = Feed::new(10, 1_000);
        feed.restored(40);
        assert!(matches!(read_on(&feed, &stored, 5)?, Next::Idle { cursor: 40 }));
        Ok(())
    }

    #[test]
    fn an_oversized_row_ends_in_a_snapshot_after_what_precedes_it() -> Result<(), crate::Error> {
        let rows = BTreeMap::from([(1, 10), (2, EVENT_BYTES_MAX + 1), (3, 10)]);
        let stored = Stored { floor: 0, rows };
        let feed = Feed::new(10, 1_000);
        feed.restored(3);
        assert_eq!(walk(&feed, &stored, 0)?, (vec![1], 1));
        assert_eq!(walk(&feed, &stored, 2)?, (vec![3], 3));
        Ok(())
    }
}
