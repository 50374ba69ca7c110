//! The streams of brokers, and what they say on them. Stands for `watch/watcher.rs`, `watch/watchers.rs` and
//! `watch/inbound.rs` of control-plane/control.

use std::collections::VecDeque;
use std::time::Duration;

use revoq_credentials::{NodeId, query};
use revoq_lease::{Acknowledgement, Cut, IncarnationId, Renewal};

use super::Replica;
use super::keeper::Keeper;
use super::liaison::bare;
use super::outbound::Sending;
use crate::clock::{SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::packet::{Address, BrokerSays, Grant, Hello, PeerSays, Renew, Timer};
use crate::plan::Plan;

/// Grants that wait for their events.
const GRANTS_MAX: usize = 4;

/// A broker that was silent for a lease and this time beyond is taken for gone.
const SILENCE: Time = 10 * SECOND;

/// Messages that the transport takes before the broker does.
const ROOM: u32 = 3;

/// How often a broker that only sees revisions pass is told of them.
pub(super) const PROGRESS: Time = SECOND;

/// A broker's stream.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) node: u64,
    incarnation: IncarnationId,
    pub(super) acknowledged: u64,
    renewals: VecDeque<Renew>,
    grants: VecDeque<Grant>,
    cuts: Vec<Cut>,
    farewell: bool,
    heard: Time,
    /// It is looked into whether the resume point is one of this history.
    pub(super) opening: bool,
    /// Everything up to here was sent.
    pub(super) cursor: u64,
    /// The broker knows that it has everything up to here.
    pub(super) told: u64,
    pub(super) progress_due: bool,
    pub(super) wants_snapshot: bool,
    pub(super) sending: Option<Sending>,
    /// A grant whose progress frame is out.
    pub(super) granted: Option<Grant>,
    /// This node was removed at a revision; the stream ends then, at the latest.
    pub(super) removed: Option<(u64, Time)>,
    pub(super) room: u32,
}

impl Watcher {
    /// All that a leader who knows nothing must be told.
    pub(super) fn standing(&self) -> Vec<PeerSays> {
        let ack = Acknowledgement {
            cuts: self.cuts.clone(),
            farewell: self.farewell,
            ..bare(self.node, self.incarnation, self.acknowledged)
        };
        let renewals = self.renewals.iter().map(|renew| self.renewal(renew));
        [PeerSays::Acknowledgement(ack)].into_iter().chain(renewals).collect()
    }

    fn renewal(&self, renew: &Renew) -> PeerSays {
        let Renew { sequence, revision, sessions } = *renew;
        let renewal = Renewal { node: self.node, incarnation: self.incarnation, sequence };
        PeerSays::Renewal { renewal, revision, sessions }
    }

    fn hear(&mut self, message: BrokerSays) -> Option<PeerSays> {
        match message {
            BrokerSays::Renew(renew) => {
                self.acknowledged = self.acknowledged.max(renew.revision);
                if self.renewals.len() == GRANTS_MAX {
                    self.renewals.pop_front();
                }
                self.renewals.push_back(renew);
                Some(self.renewal(&renew))
            }
            BrokerSays::Ack { revision, cuts } => {
                self.acknowledged = self.acknowledged.max(revision);
                let cut = |(revision, sessions)| Cut { revision, sessions, gate: Duration::ZERO };
                let cuts: Vec<Cut> = cuts.into_iter().map(cut).collect();
                self.cuts.extend(cuts.iter().copied());
                let ack = Acknowledgement { cuts, ..bare(self.node, self.incarnation, revision) };
                Some(PeerSays::Acknowledgement(ack))
            }
            BrokerSays::Farewell => {
                self.farewell = true;
                self.standing().into_iter().next()
            }
            BrokerSays::Usage(_) => None,
        }
    }

    /// The leader's answer to a renewal of this process; whether it is one.
    fn take(&mut self, grant: Grant) -> bool {
        let asked = self.renewals.iter().any(|renew| renew.sequence == grant.sequence);
        if !asked || grant.incarnation != self.incarnation {
            return false;
        }
        self.renewals.retain(|renew| renew.sequence > grant.sequence);
        if self.grants.len() == GRANTS_MAX {
            self.grants.pop_back();
        }
        self.grants.push_back(grant);
        true
    }

    /// The next grant that presupposes no event after `sent`.
    pub(super) fn next_grant(&mut self, sent: u64) -> Option<Grant> {
        let ready = self.grants.iter().position(|grant| grant.commit <= sent)?;
        self.grants.remove(ready)
    }
}

impl Replica {
    /// Somebody opened a stream.
    pub(super) fn opened(&mut self, engine: &mut Engine, _from: Address, stream: u64, hello: &Hello) {
        let Hello::Watch { node, incarnation, revision } = *hello else {
            return self.accept_liaison(engine, stream);
        };
        // `access/mod.rs`: by this replica's own state.
        if query::node(&self.machine.store, NodeId(node)).expect("the rows are sound").is_none() {
            return engine.hang_up(self.address(), stream);
        }
        let cursor = if engine.has(Fault::ResumeSkips) && revision > 0 { revision + 1 } else { revision };
        let ahead = revision > self.machine.feed.revision();
        let watcher = Watcher {
            node,
            incarnation,
            acknowledged: 0,
            renewals: VecDeque::new(),
            grants: VecDeque::new(),
            cuts: Vec::new(),
            farewell: false,
            heard: engine.now,
            opening: ahead,
            cursor,
            told: cursor,
            progress_due: false,
            wants_snapshot: revision == 0,
            sending: None,
            granted: None,
            removed: None,
            room: ROOM,
        };
        self.watchers.insert(stream, watcher);
        if let Some(earlier) = self.stream_of.insert(node, stream) {
            self.close(engine, earlier);
        }
        engine.accept(self.address(), stream);
        engine.after(PROGRESS, self.address(), Timer::Progress { stream });
        if ahead {
            return self.ask_opening(engine, stream);
        }
        self.pump(engine, stream);
    }

    /// It is known now whether a resume point ahead of this replica is one of this history. Where nobody can tell, it
    /// is taken as given.
    pub(super) fn begin(&mut self, engine: &mut Engine, stream: u64, barrier: Option<u64>) {
        let Some(watcher) = self.watchers.get_mut(&stream) else { return };
        watcher.opening = false;
        watcher.wants_snapshot |= barrier.is_some_and(|index| watcher.cursor > index);
        self.pump(engine, stream);
    }

    pub(super) fn hear_broker(&mut self, engine: &mut Engine, stream: u64, message: BrokerSays) {
        let Some(watcher) = self.watchers.get_mut(&stream) else { return };
        watcher.heard = engine.now;
        if let BrokerSays::Usage(used) = message {
            self.used.extend(used);
            return;
        }
        if let Some(message) = watcher.hear(message) {
            self.say_to_leader(engine, message);
        }
        self.end_if_removed(engine, stream);
    }

    /// A grant for a broker that this replica serves.
    pub(super) fn grant(&mut self, engine: &mut Engine, grant: Grant) {
        let Some(stream) = self.stream_of.get(&grant.node).copied() else { return };
        if self.watchers.get_mut(&stream).is_some_and(|watcher| watcher.take(grant)) {
            self.pump(engine, stream);
        }
    }

    pub(super) fn has_room(&mut self, engine: &mut Engine, stream: u64) {
        if let Some(watcher) = self.watchers.get_mut(&stream) {
            watcher.room += 1;
            self.pump(engine, stream);
        }
    }

    pub(super) fn progress_due(&mut self, engine: &mut Engine, stream: u64) {
        let lease = u64::try_from(self.lease().as_micros()).expect("a lease is short");
        let Some(watcher) = self.watchers.get_mut(&stream) else { return };
        if engine.now > watcher.heard + lease + SILENCE {
            return self.close(engine, stream);
        }
        watcher.progress_due = true;
        engine.after(PROGRESS, self.address(), Timer::Progress { stream });
        self.pump(engine, stream);
    }

    /// This side ends a broker's stream.
    pub(super) fn close(&mut self, engine: &mut Engine, stream: u64) {
        engine.hang_up(self.address(), stream);
        self.forget_watcher(stream);
    }

    fn forget_watcher(&mut self, stream: u64) {
        if let Some(watcher) = self.watchers.remove(&stream)
            && self.stream_of.get(&watcher.node) == Some(&stream)
        {
            self.stream_of.remove(&watcher.node);
        }
    }

    /// The other side ended a stream, or it broke.
    pub(super) fn closed(&mut self, engine: &mut Engine, stream: u64) {
        self.forget_watcher(stream);
        self.liaison_closed(engine, stream);
    }

    /// The process ended.
    pub(super) fn forget_streams(&mut self, plan: &Plan) {
        self.watchers.clear();
        self.stream_of.clear();
        self.forget_liaison();
        self.asks.clear();
        self.calls.clear();
        self.waiting.clear();
        self.awaiting.clear();
        self.reads.clear();
        self.used.clear();
        self.keeper = Keeper::new(plan);
    }
}
