//! What a broker is sent on its stream, in which order. Stands for `watch/outbound.rs` and `watch/snapshot.rs` of
//! control-plane/control.

use std::collections::VecDeque;
use std::rc::Rc;

use revoq_credentials::query::{self, SnapshotCursor};
use revoq_credentials::{Change, Event};

use super::watchers::Watcher;
use super::{Machine, Next, Replica};
use crate::clock::{SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::packet::{ControlSays, Said};

/// A node that was removed has this long to acknowledge that before its stream ends.
const REMOVED_LINGER: Time = 2 * SECOND;

/// Changes in one part of a snapshot.
const PART_CHANGES: usize = 8;

/// A snapshot that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    revision: u64,
    parts: VecDeque<Vec<Change>>,
    begun: bool,
}

impl Replica {
    pub(super) fn pump_all(&mut self, engine: &mut Engine) {
        let streams: Vec<u64> = self.watchers.keys().copied().collect();
        for stream in streams {
            self.pump(engine, stream);
        }
    }

    /// Sends a broker what there is for it, as long as there is room.
    pub(super) fn pump(&mut self, engine: &mut Engine, stream: u64) {
        let me = self.address();
        while let Some(watcher) = self.watchers.get_mut(&stream) {
            if watcher.room == 0 || watcher.opening {
                return;
            }
            let overtakes = engine.has(Fault::GrantOvertakesEvents);
            let Some(message) = watcher.next(&self.machine, engine.now, overtakes) else { break };
            watcher.room -= 1;
            engine.say(me, stream, Said::Control(message));
        }
        self.end_if_removed(engine, stream);
    }

    pub(super) fn end_if_removed(&mut self, engine: &mut Engine, stream: u64) {
        let Some(watcher) = self.watchers.get(&stream) else { return };
        let over = |(revision, end)| watcher.acknowledged >= revision || engine.now >= end;
        if watcher.removed.is_some_and(over) {
            self.close(engine, stream);
        }
    }
}

impl Watcher {
    /// The next message, in the order in which `Outbound::ready` looks for it.
    fn next(&mut self, machine: &Machine, now: Time, overtakes: bool) -> Option<ControlSays> {
        loop {
            if std::mem::take(&mut self.wants_snapshot) {
                let (revision, parts) = (machine.at.index, snapshot(machine));
                self.sending = Some(Sending { revision, parts, begun: false });
            }
            if let Some(part) = self.next_part() {
                return Some(part);
            }
            if let Some(grant) = self.next_grant_message(overtakes) {
                return Some(grant);
            }
            match machine.read_on(self.cursor) {
                Next::Events { events, cursor } => {
                    self.cursor = cursor;
                    return Some(self.events(events, now));
                }
                Next::Idle { cursor } if cursor > self.cursor => self.cursor = cursor,
                Next::Idle { .. } => break,
                Next::Resync => self.wants_snapshot = true,
            }
        }
        let due = std::mem::take(&mut self.progress_due);
        (due && self.told < self.cursor).then(|| self.progress())
    }

    fn next_part(&mut self) -> Option<ControlSays> {
        let sending = self.sending.as_mut()?;
        let changes = sending.parts.pop_front()?;
        let (revision, first, last) = (sending.revision, !sending.begun, sending.parts.is_empty());
        sending.begun = true;
        if last {
            (self.cursor, self.told) = (revision, revision);
            self.sending = None;
        }
        Some(ControlSays::Snapshot { revision, changes, first, last })
    }

    fn next_grant_message(&mut self, overtakes: bool) -> Option<ControlSays> {
        if self.granted.is_none() {
            self.granted = self.next_grant(if overtakes { u64::MAX } else { self.cursor });
            if self.granted.is_some() && self.told < self.cursor {
                return Some(self.progress());
            }
        }
        let grant = self.granted.take()?;
        Some(ControlSays::Grant { sequence: grant.sequence, lease_ms: grant.lease_ms })
    }

    fn events(&mut self, events: Vec<Rc<Event>>, now: Time) -> ControlSays {
        let named = |change: &Change| matches!(change, Change::NodeRemoved(node) if node.0 == self.node);
        for event in &events {
            self.told = event.revision.0;
            if event.changes.iter().any(named) {
                self.removed = Some((event.revision.0, now + REMOVED_LINGER));
            }
        }
        ControlSays::Events(events)
    }

    fn progress(&mut self) -> ControlSays {
        self.told = self.cursor;
        ControlSays::Progress { revision: self.cursor }
    }
}

/// The state in parts, all of one moment.
fn snapshot(machine: &Machine) -> VecDeque<Vec<Change>> {
    let mut parts = VecDeque::new();
    let mut cursor: Option<SnapshotCursor> = None;
    loop {
        let (part, next) = query::snapshot(&machine.store, cursor, PART_CHANGES).expect("the rows are sound");
        parts.push_back(part);
        cursor = next;
        if cursor.is_none() {
            return parts;
        }
    }
}
