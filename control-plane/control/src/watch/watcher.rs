//! One broker's watch stream, as the rest of the replica reaches it.
use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use revoq_credentials::NodeId;
use revoq_lease::{IncarnationId, Moment};
use revoq_proto::v1;
use revoq_proto::v1::broker_message::{Ack, Renew, SessionsReply};
use revoq_proto::v1::control_message::SessionsQuery;
use revoq_proto::v1::leader_message::Grant;
use revoq_proto::v1::peer_message;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::queries::{Answer, Queries};
use super::snapshot::Snapshot;
use crate::lease::{millis, moment};

/// Grants that wait for their events; a broker has at most two renewals unanswered.
const GRANTS_MAX: usize = 4;

/// Cuts that are repeated to a new leader, so that its fences can name them.
const CUTS_MAX: usize = 64;

/// Cuts in one ack; a broker that names more is cut short.
pub(super) const ACK_CUTS_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct State {
    acknowledged: u64,
    cuts: VecDeque<peer_message::Cut>,
    renewals: VecDeque<Renew>,
    grants: VecDeque<Grant>,
    queries: Queries,
    farewell: bool,
}

/// What a new leader is told of a broker: all that the last one may have known.
#[derive(Debug)]
pub(crate) struct StandingOf {
    /// Its acks so far.
    pub(crate) acknowledgement: peer_message::Acknowledgement,
    /// Its renewals that nobody answered.
    pub(crate) renewals: Vec<peer_message::Renewal>,
}

/// A broker's stream: a mailbox of bounded size for what goes to it, and what it last said.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Which node.
    pub(crate) node: NodeId,
    /// Which process of it.
    pub(crate) incarnation: IncarnationId,
    state: Mutex<State>,
    /// Wakes the stream's outbound side, also when it is closed.
    pub(crate) wake: Notify,
    pub(crate) closed: CancellationToken,
    reason: OnceLock<Status>,
    /// When the broker was last heard, in ms since boot.
    heard: AtomicU64,
    /// When the transport took the last message, in ms since boot, until it asks for the next; else 0.
    taken: AtomicU64,
    /// The snapshot that is being sent. It is here because the stream itself is asked for nothing while the broker does
    /// not read: closing must let go of what others wait for all the same.
    sending: Mutex<Option<Sending>>,
}

/// A snapshot that is being sent, and its permit.
pub(crate) struct Sending {
    pub(crate) snapshot: Snapshot,
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sending({})", self.snapshot.revision())
    }
}

impl Watcher {
    pub(crate) fn new(node: NodeId, incarnation: IncarnationId) -> Watcher {
        Watcher {
            node,
            incarnation,
            state: Mutex::default(),
            wake: Notify::new(),
            closed: CancellationToken::new(),
            reason: OnceLock::new(),
            heard: AtomicU64::new(millis(moment())),
            taken: AtomicU64::new(0),
            sending: Mutex::default(),
        }
    }

    /// The transport asks for the next message.
    pub(crate) fn asked(&self) {
        self.taken.store(0, Ordering::Relaxed);
    }

    /// The transport took a message.
    pub(crate) fn taken(&self) {
        self.taken.store(millis(moment()), Ordering::Relaxed);
    }

    /// For how long the transport has not asked for another message: the broker does not read.
    pub(super) fn stalled(&self, now: Moment) -> Duration {
        match self.taken.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            taken => now.saturating_sub(Duration::from_millis(taken)),
        }
    }

    /// The broker said something.
    pub(super) fn heard(&self) {
        self.heard.store(millis(moment()), Ordering::Relaxed);
    }

    /// For how long it has said nothing.
    pub(super) fn silent(&self, now: Moment) -> Duration {
        now.saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    pub(crate) fn send_snapshot(&self, sending: Sending) {
        *self.sending.lock() = Some(sending);
        if self.reason.get().is_some() {
            *self.sending.lock() = None;
        }
    }

    /// The snapshot that is being sent.
    pub(crate) fn sending(&self) -> MutexGuard<'_, Option<Sending>> {
        self.sending.lock()
    }

    /// Ends the stream; the first reason given is the one that the broker sees. What was being sent: whoever wants its
    /// permit waits until it is dropped.
    pub(crate) fn close(&self, reason: Status) -> Option<Sending> {
        _ = self.reason.set(reason);
        self.closed.cancel();
        let sending = self.sending.lock().take();
        self.wake.notify_one();
        sending
    }

    /// Why it is closed; nothing while it is not.
    pub(crate) fn reason(&self) -> Option<Status> {
        self.reason.get().cloned()
    }

    /// The broker asks for a lease. The message for the leader.
    pub(crate) fn renew(&self, renew: Renew) -> v1::PeerMessage {
        let mut state = self.state.lock();
        state.acknowledged = state.acknowledged.max(renew.revision);
        if state.renewals.len() == GRANTS_MAX {
            state.renewals.pop_front();
        }
        state.renewals.push_back(renew);
        message(peer_message::Message::Renewal(self.renewal(&renew)))
    }

    fn renewal(&self, renew: &Renew) -> peer_message::Renewal {
        peer_message::Renewal {
            node: self.node.0,
            incarnation: self.incarnation_bytes(),
            sequence: renew.sequence,
            revision: renew.revision,
            sessions: renew.sessions,
        }
    }

    /// The broker's gates are shut. The message for the leader.
    pub(crate) fn acknowledge(&self, ack: Ack) -> v1::PeerMessage {
        let cut = |cut: v1::broker_message::Cut| peer_message::Cut {
            revision: cut.revision,
            sessions: cut.sessions,
            gate_micros: cut.gate_micros,
        };
        let cuts: Vec<_> = ack.cuts.into_iter().take(ACK_CUTS_MAX).map(cut).collect();
        let mut state = self.state.lock();
        state.acknowledged = state.acknowledged.max(ack.revision);
        state.cuts.extend(cuts.iter().copied());
        let surplus = state.cuts.len().saturating_sub(CUTS_MAX);
        state.cuts.drain(..surplus);
        message(peer_message::Message::Acknowledgement(peer_message::Acknowledgement {
            node: self.node.0,
            incarnation: self.incarnation_bytes(),
            revision: ack.revision,
            cuts,
            farewell: false,
        }))
    }

    /// The broker serves nobody any more. The message for the leader.
    pub(crate) fn farewell(&self) -> v1::PeerMessage {
        self.state.lock().farewell = true;
        message(peer_message::Message::Acknowledgement(self.standing().acknowledgement))
    }

    /// All that a leader who knows nothing must be told.
    pub(crate) fn standing(&self) -> StandingOf {
        let state = self.state.lock();
        StandingOf {
            acknowledgement: peer_message::Acknowledgement {
                node: self.node.0,
                incarnation: self.incarnation_bytes(),
                revision: state.acknowledged,
                cuts: state.cuts.iter().copied().collect(),
                farewell: state.farewell,
            },
            renewals: state.renewals.iter().map(|renew| self.renewal(renew)).collect(),
        }
    }

    /// The leader's answer to a renewal of this process.
    pub(crate) fn grant(&self, grant: Grant) {
        let mut state = self.state.lock();
        let asked = state.renewals.iter().any(|renew| renew.sequence == grant.sequence);
        if !asked || grant.incarnation != self.incarnation_bytes() {
            return;
        }
        state.renewals.retain(|renew| renew.sequence > grant.sequence);
        if state.grants.len() == GRANTS_MAX {
            state.grants.pop_back();
        }
        state.grants.push_back(grant);
        drop(state);
        self.wake.notify_one();
    }

    /// The next grant that presupposes no event after `sent`.
    pub(crate) fn next_grant(&self, sent: u64) -> Option<Grant> {
        let mut state = self.state.lock();
        let ready = state.grants.iter().position(|grant| grant.commit <= sent)?;
        state.grants.remove(ready)
    }

    /// Asks the broker about its sessions; `None` if too many questions are open.
    pub(crate) fn ask(&self, query: SessionsQuery) -> Option<oneshot::Receiver<Answer>> {
        let answer = self.state.lock().queries.ask(query)?;
        self.wake.notify_one();
        Some(answer)
    }

    pub(crate) fn next_query(&self) -> Option<SessionsQuery> {
        self.state.lock().queries.next()
    }

    /// A part of the broker's answer to a question. So many of its sessions found no room.
    pub(crate) fn reply(&self, reply: SessionsReply) -> usize {
        self.state.lock().queries.reply(reply)
    }

    /// The revision up to which the broker said that its gates are shut.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.state.lock().acknowledged
    }

    fn incarnation_bytes(&self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.incarnation.0)
    }
}

fn message(message: peer_message::Message) -> v1::PeerMessage {
    v1::PeerMessage { message: Some(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> Watcher {
        Watcher::new(NodeId(7), IncarnationId([1; 16]))
    }

    fn renew(sequence: u64, revision: u64) -> Renew {
        Renew { sequence, revision, sessions: 0 }
    }

    fn grant(sequence: u64, commit: u64) -> Grant {
        Grant { node: 7, sequence, commit, lease_ms: 5_000, incarnation: vec![1; 16].into() }
    }

    #[test]
    fn a_grant_waits_for_its_events() {
        let watcher = watcher();
        watcher.renew(renew(1, 5));
        watcher.renew(renew(2, 5));
        watcher.grant(grant(1, 9));
        watcher.grant(grant(2, 12));
        assert_eq!(watcher.next_grant(8), None);
        assert_eq!(watcher.next_grant(9).map(|grant| grant.sequence), Some(1));
        assert_eq!(watcher.next_grant(11), None);
        assert_eq!(watcher.next_grant(12).map(|grant| grant.sequence), Some(2));
    }

    #[test]
    fn a_grant_that_was_not_asked_for_is_dropped() {
        let watcher = watcher();
        watcher.grant(grant(1, 0));
        watcher.renew(renew(1, 5));
        watcher.grant(Grant { incarnation: vec![2; 16].into(), ..grant(1, 0) });
        assert_eq!(watcher.next_grant(100), None, "for an earlier process of the node");
        watcher.grant(grant(1, 0));
        watcher.grant(grant(1, 0));
        assert!(watcher.next_grant(100).is_some());
        assert_eq!(watcher.next_grant(100), None, "once");
    }

    #[test]
    fn a_new_leader_is_told_what_the_last_one_knew() {
        let watcher = watcher();
        watcher.renew(renew(1, 5));
        let cut = v1::broker_message::Cut { revision: 8, sessions: 2, gate_micros: 30 };
        watcher.acknowledge(Ack { revision: 8, cuts: vec![cut] });
        watcher.acknowledge(Ack { revision: 7, cuts: Vec::new() });
        let standing = watcher.standing();
        assert_eq!(standing.acknowledgement.revision, 8);
        assert_eq!(standing.acknowledgement.cuts.len(), 1);
        assert_eq!(standing.renewals.len(), 1, "unanswered");
        watcher.grant(grant(1, 5));
        assert!(watcher.standing().renewals.is_empty());
        watcher.farewell();
        assert!(watcher.standing().acknowledgement.farewell);
    }
}
