//! What the leader knows of one process of a broker node.
use std::collections::VecDeque;
use std::time::Duration;

use crate::{Moment, with_margin};

/// Grants at different revisions of one process without an ack in between. One that has so many does not keep
/// up: its renewals are refused until it acknowledges.
const HOLDS_MAX: usize = 16;

/// Renewals of one process that wait for a proof. A broker has at most two unanswered.
const UNPROVEN_MAX: usize = 4;

/// Acks of one process that are remembered, and as many of those that cut something, for what fences print.
const RECORDS_MAX: usize = 64;

/// Drawn by each broker process at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncarnationId(pub [u8; 16]);

impl TryFrom<&[u8]> for IncarnationId {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<IncarnationId, Self::Error> {
        bytes.try_into().map(IncarnationId)
    }
}

/// What a revision cut at a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which revision.
    pub revision: u64,
    /// How many sessions.
    pub sessions: u64,
    /// From the receipt of the event to the last gate shut.
    pub gate: Duration,
}

/// A time in which the process may serve with a view that lacks revisions after `commit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The grant reaches the process only after every event up to here.
    pub(crate) commit: u64,
    /// The end of the lease on our clock, margin included. The stale grace comes on top.
    pub(crate) lease_end: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Unproven {
    sequence: u64,
    receipt: Moment,
    lease: Duration,
    /// The proof will be at this revision or a later one.
    floor: u64,
}

/// What a renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is to be proven.
    New,
    /// It waits for its proof already.
    Repeated,
    /// There are too many.
    Refused,
}

/// An ack. There are many, and few cut anything.
#[derive(Clone, Copy, Debug)]
struct Record {
    revision: u64,
    received: Moment,
}

/// One process of a broker node.
#[derive(Clone, Debug)]
pub(crate) struct Incarnation {
    pub(crate) id: IncarnationId,
    /// Its view stands here or later, and its gates for all up to here are shut.
    pub(crate) acknowledged: u64,
    /// A revision that was not committed yet when the process was alive already. An ack of a later one
    /// by another process of the node shows that this one is gone.
    pub(crate) registered: Option<u64>,
    /// It said farewell: it serves nobody, and never will.
    pub(crate) ended: bool,
    pub(crate) sessions: u64,
    holds: VecDeque<Hold>,
    unproven: VecDeque<Unproven>,
    records: VecDeque<Record>,
    /// The cuts of each ack that had any.
    cuts: VecDeque<Vec<Cut>>,
}

impl Incarnation {
    pub(crate) fn new(id: IncarnationId) -> Incarnation {
        Incarnation {
            id,
            acknowledged: 0,
            registered: None,
            ended: false,
            sessions: 0,
            holds: VecDeque::new(),
            unproven: VecDeque::new(),
            records: VecDeque::new(),
            cuts: VecDeque::new(),
        }
    }

    /// A `Renew` was received. It counts from now on, because from now on a grant may be on its way; whether
    /// one is, and from which revision, `floor` or a later one, the proof will say.
    pub(crate) fn renew(&mut self, now: Moment, sequence: u64, lease: Duration, floor: u64) -> Receipt {
        if self.unproven.iter().any(|waiting| waiting.sequence == sequence) {
            return Receipt::Repeated;
        }
        if self.unproven.len() == UNPROVEN_MAX || self.holds.len() + self.unproven.len() >= HOLDS_MAX {
            return Receipt::Refused;
        }
        self.unproven.push_back(Unproven { sequence, receipt: now, lease, floor });
        Receipt::New
    }

    /// The leadership was proven after that `Renew`, at `commit`. The lease to grant.
    pub(crate) fn grant(&mut self, sequence: u64, commit: u64) -> Option<Duration> {
        let renewal = self.take(sequence)?;
        self.registered.get_or_insert(commit);
        self.hold(Hold { commit, lease_end: renewal.receipt + with_margin(renewal.lease) });
        Some(renewal.lease)
    }

    /// No grant will be given for that `Renew`.
    pub(crate) fn drop_renewal(&mut self, sequence: u64) {
        self.take(sequence);
    }

    fn take(&mut self, sequence: u64) -> Option<Unproven> {
        let at = self.unproven.iter().position(|waiting| waiting.sequence == sequence)?;
        self.unproven.remove(at)
    }

    /// Adds a hold; `holds` stays ordered by revision, one each.
    pub(crate) fn hold(&mut self, hold: Hold) {
        let at = self.holds.partition_point(|other| other.commit < hold.commit);
        match self.holds.get_mut(at).filter(|other| other.commit == hold.commit) {
            Some(same) => same.lease_end = same.lease_end.max(hold.lease_end),
            None => self.holds.insert(at, hold),
        }
        self.merge_acknowledged();
    }

    /// Its gates for `revision` are shut.
    pub(crate) fn acknowledge(&mut self, now: Moment, revision: u64, cuts: Vec<Cut>) {
        if revision > self.acknowledged || !cuts.is_empty() {
            push_bounded(&mut self.records, Record { revision, received: now });
        }
        if !cuts.is_empty() {
            push_bounded(&mut self.cuts, cuts);
        }
        if revision > self.acknowledged {
            self.acknowledged = revision;
            self.merge_acknowledged();
        }
    }

    /// Holds up to the acknowledged revision all block the same fences: those beyond that revision.
    fn merge_acknowledged(&mut self) {
        let acknowledged = self.acknowledged;
        let mut merged: Option<Hold> = None;
        while let Some(hold) = self.holds.front().copied().filter(|hold| hold.commit <= acknowledged) {
            self.holds.pop_front();
            let lease_end = merged.map_or(hold.lease_end, |other| other.lease_end.max(hold.lease_end));
            merged = Some(Hold { commit: acknowledged, lease_end });
        }
        if let Some(hold) = merged {
            self.holds.push_front(hold);
        }
    }

    /// The process serves nobody any more, by its own word.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.sessions = 0;
        self.holds.clear();
        self.unproven.clear();
    }

    /// Ends of the leases under which it may serve with a view that lacks `target`.
    pub(crate) fn lease_ends(&self, target: u64) -> impl Iterator<Item = Moment> + '_ {
        let lacks = self.acknowledged < target;
        let holds = self.holds.iter().filter(move |hold| lacks && hold.commit < target);
        let unproven = self.unproven.iter().filter(move |renewal| lacks && renewal.floor < target);
        holds
            .map(|hold| hold.lease_end)
            .chain(unproven.map(|renewal| renewal.receipt + with_margin(renewal.lease)))
    }

    /// When the ack that covers `target` came.
    pub(crate) fn received(&self, target: u64) -> Option<Moment> {
        self.records.iter().find(|record| record.revision >= target).map(|record| record.received)
    }

    /// What `revision` cut.
    pub(crate) fn cut(&self, revision: u64) -> Option<Cut> {
        self.cuts.iter().flatten().find(|cut| cut.revision == revision).copied()
    }
}

fn push_bounded<T>(recent: &mut VecDeque<T>, next: T) {
    if recent.len() == RECORDS_MAX {
        recent.pop_front();
    }
    recent.push_back(next);
}
