//! The leader's account of the leases.
use std::collections::{BTreeMap, BTreeSet};

use revoq_credentials::StaleGrace;

use crate::incarnation::{Hold, Incarnation, Receipt};
use crate::messages::{Acknowledgement, Granted, NodeRow, Proof, Renewal};
use crate::terms::TermsHistory;
use crate::{IncarnationId, Moment, Standing, Terms, with_margin};

/// Processes of one node that are told apart. A new one is refused while so many may still be serving.
const INCARNATIONS_MAX: usize = 8;

/// Renewals that one proof of leadership serves.
#[derive(Debug)]
pub struct Batch {
    pub(crate) term: u64,
    renewals: Vec<Renewal>,
}

/// Why a renewal is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This replica does not lead.
    #[error("not the leader")]
    NotLeading,
    /// The node has no row: it was removed, or never joined.
    #[error("node {0} is not a broker node of this cluster")]
    Unknown(u64),
    /// It said farewell.
    #[error("this process of node {0} said farewell")]
    Ended(u64),
    /// More renewals of one process, or more processes of one node, than are accounted for.
    #[error("node {0} has too many renewals or processes in flight")]
    TooMany(u64),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// As in its row.
    pub(crate) joined: u64,
    /// An earlier leader may have granted it a lease, to a process and from a revision that we do not know.
    pub(crate) presumed: bool,
    /// Its row is gone; it is remembered as long as it may serve.
    removed: Option<Removed>,
    /// When this leader first knew of it.
    pub(crate) since: Moment,
    pub(crate) incarnations: Vec<Incarnation>,
}

#[derive(Clone, Copy, Debug)]
struct Removed {
    revision: u64,
    /// When this replica saw it.
    at: Moment,
}

#[derive(Debug)]
struct Leading {
    term: u64,
    elected: Moment,
    /// The commit index at the first proof: at or after the first entry of the term.
    floor: Option<u64>,
    /// The commit index at the last proof.
    proven: u64,
    /// The rows have been read at `floor` or later. Nodes that appear afterwards joined under this leader.
    settled: bool,
    batch: Vec<Renewal>,
}

/// The leases of all broker nodes, as the leader counts them, and what fences learn from them.
///
/// Inputs: [`elected`](Leases::elected), [`deposed`](Leases::deposed), [`rows`](Leases::rows),
/// [`set_terms`](Leases::set_terms), [`renew`](Leases::renew), [`acknowledge`](Leases::acknowledge). For
/// renewals: [`begin_proof`](Leases::begin_proof), then a proof of leadership by quorum that *began* after it,
/// then [`proved`](Leases::proved) or [`failed`](Leases::failed). Questions: [`fence`](Leases::fence),
/// [`waiting`](Leases::waiting), [`covers`](Leases::covers).
///
/// What makes it sound:
///
/// - A renewal blocks fences from its receipt. Its grant carries the commit index c of a proof that began
///   after the receipt, and takes effect only at a view that stands at c or later; so it blocks the fence of r
///   only if c < r. A broker that renews for ever and never acknowledges delays no fence beyond its bound.
/// - Grants of later leaders presuppose every revision that was committed when this one last proved itself;
///   fences of others are not answered ([`covers`](Leases::covers)).
/// - Grants of earlier leaders were asked for before this leader's election, so each node is presumed leased
///   from then. An ack of an index of this term shows a process that lived after the election; all that
///   remains of the presumption is what that process itself may have been granted.
/// - **One process a node.** A node's next process starts only when the one before it is gone. An ack of an
///   index that was committed after another process was seen alive therefore ends the other's leases. No order
///   of messages is assumed: one that arrives late from a dead process only adds a lease that runs out.
#[derive(Debug)]
pub struct Leases {
    pub(crate) terms: TermsHistory,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Those of `nodes` whose row is gone: few, so that an ack need not look at every node.
    removed: BTreeSet<u64>,
    leading: Option<Leading>,
}

impl Leases {
    /// No nodes, not leading.
    pub fn new(terms: Terms) -> Leases {
        let (nodes, removed) = (BTreeMap::new(), BTreeSet::new());
        Leases { terms: TermsHistory::new(terms), nodes, removed, leading: None }
    }

    /// This replica applied `revision`, from which `terms` hold.
    pub fn set_terms(&mut self, now: Moment, revision: u64, terms: Terms) {
        self.terms.supersede(now, revision, terms);
    }

    /// This replica leads in `term`, since `now` or earlier.
    pub fn elected(&mut self, now: Moment, term: u64) {
        if self.leading.as_ref().is_some_and(|leading| leading.term == term) {
            return;
        }
        for node in self.nodes.values_mut() {
            node.incarnations.clear();
            node.presumed = true;
            node.since = now;
        }
        self.leading =
            Some(Leading { term, elected: now, floor: None, proven: 0, settled: false, batch: Vec::new() });
    }

    /// This replica does not lead.
    pub fn deposed(&mut self) {
        self.leading = None;
    }

    /// Whether the fence of `revision` can be answered from here: it was committed when this replica proved its
    /// leadership in this term. So whoever leads after it grants nothing to a view that lacks `revision`. A
    /// replica that has not yet noticed that it was deposed may have applied more.
    pub fn covers(&self, revision: u64) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.settled && revision <= leading.proven)
    }

    /// Whether leadership was proven in this term and the rows are known since.
    pub fn settled(&self) -> bool {
        self.leading.as_ref().is_some_and(|leading| leading.settled)
    }

    /// The node rows of kind broker as they stand at `revision`.
    pub fn rows(&mut self, now: Moment, revision: u64, rows: impl IntoIterator<Item = NodeRow>) {
        let settled = self.settled();
        let mut gone: BTreeSet<u64> = self.nodes.keys().copied().collect();
        for row in rows {
            gone.remove(&row.node);
            let node = self.nodes.entry(row.node).or_insert_with(|| Node {
                name: String::new(),
                joined: row.joined,
                presumed: !settled,
                removed: None,
                since: now,
                incarnations: Vec::new(),
            });
            node.name = row.name;
        }
        for id in gone {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.removed.get_or_insert(Removed { revision, at: now });
                self.removed.insert(id);
            }
        }
        self.settle(now, revision);
        self.forget_removed(now);
    }

    fn settle(&mut self, now: Moment, revision: u64) {
        if let Some(leading) = &mut self.leading {
            leading.settled |= leading.floor.is_some_and(|floor| floor <= revision);
        }
        let nodes: Vec<u64> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.lift_presumption(now, node);
        }
    }

    /// Nodes without a row that cannot be serving any more. Where no grace bounds them, their removal was the
    /// administrator's word that they are gone.
    pub fn forget_removed(&mut self, now: Moment) {
        if self.removed.is_empty() {
            return;
        }
        let longest = match self.terms.grace(now, 0) {
            StaleGrace::Bounded(grace) => with_margin(self.terms.lease_max(now) + grace),
            StaleGrace::Never => with_margin(self.terms.lease_max(now)),
        };
        let over = |id: &u64| {
            let Some((node, removed)) = self.nodes.get(id).and_then(|node| Some((node, node.removed?)))
            else {
                return true;
            };
            match self.leading {
                Some(_) => !matches!(self.standing(node, removed.revision, now), Standing::Waiting { .. }),
                None => now >= removed.at + longest,
            }
        };
        let over: Vec<u64> = self.removed.iter().copied().filter(over).collect();
        for node in over {
            self.nodes.remove(&node);
            self.removed.remove(&node);
        }
    }

    /// Takes a renewal for the next proof. It counts as a lease from `now`.
    pub fn renew(&mut self, now: Moment, renewal: Renewal) -> Result<(), Refused> {
        let floor = self.leading.as_ref().ok_or(Refused::NotLeading)?.proven;
        if self.nodes.get(&renewal.node).is_none_or(|node| node.removed.is_some()) {
            return Err(Refused::Unknown(renewal.node));
        }
        let lease = self.terms.current().lease;
        let process = self.enter(now, renewal.node, renewal.incarnation)?;
        if process.ended {
            return Err(Refused::Ended(renewal.node));
        }
        match process.renew(now, renewal.sequence, lease, floor) {
            Receipt::Refused => return Err(Refused::TooMany(renewal.node)),
            // In one batch only. It would stay in a second one when the proof of the first failed and it is not
            // counted any more; if it came yet again then, it would be granted by a proof that began before.
            Receipt::Repeated => {}
            Receipt::New => self.leading.iter_mut().for_each(|leading| leading.batch.push(renewal)),
        }
        Ok(())
    }

    /// A process of a node; a new one in the place of one that cannot be serving any more, if need be.
    fn enter(&mut self, now: Moment, node: u64, id: IncarnationId) -> Result<&mut Incarnation, Refused> {
        let idle = |process: &Incarnation| {
            let grace = self.terms.grace(now, process.acknowledged);
            process.lease_ends(u64::MAX).all(|end| match grace {
                StaleGrace::Bounded(grace) => end + with_margin(grace) <= now,
                StaleGrace::Never => false,
            })
        };
        let known = &mut self.nodes.get_mut(&node).ok_or(Refused::Unknown(node))?.incarnations;
        let at = match known.iter().position(|process| process.id == id) {
            Some(at) => at,
            None => {
                if known.len() >= INCARNATIONS_MAX {
                    known.remove(known.iter().position(idle).ok_or(Refused::TooMany(node))?);
                }
                known.push(Incarnation::new(id));
                known.len() - 1
            }
        };
        Ok(&mut known[at])
    }

    /// A broker's gates are shut. False if nothing that a fence could want came with it.
    pub fn acknowledge(&mut self, now: Moment, ack: Acknowledgement) -> bool {
        if self.leading.is_none() {
            return false;
        }
        let Ok(process) = self.enter(now, ack.node, ack.incarnation) else { return false };
        let news = ack.revision > process.acknowledged || !ack.cuts.is_empty() || ack.farewell;
        process.sessions = ack.sessions.unwrap_or(process.sessions);
        process.acknowledge(now, ack.revision, ack.cuts);
        if ack.farewell {
            process.end();
        }
        if news && let Some(node) = self.nodes.get_mut(&ack.node) {
            let gone = |other: &Incarnation| other.registered.is_some_and(|then| then < ack.revision);
            node.incarnations.retain(|other| other.id == ack.incarnation || !gone(other));
            self.lift_presumption(now, ack.node);
            self.forget_removed(now);
        }
        news
    }

    /// Once a process is known to have lived after the election, what earlier leaders granted to others of its
    /// node is over; what they may have granted to itself becomes a hold of its own.
    fn lift_presumption(&mut self, now: Moment, node: u64) {
        let Some((floor, lease_end)) =
            self.leading.as_ref().filter(|leading| leading.settled).and_then(|leading| {
                Some((leading.floor?, leading.elected + with_margin(self.terms.lease_max(now))))
            })
        else {
            return;
        };
        let Some(node) = self.nodes.get_mut(&node).filter(|node| node.presumed) else { return };
        if let Some(process) = node.incarnations.iter_mut().find(|process| process.acknowledged >= floor) {
            node.presumed = false;
            if !process.ended {
                process.hold(Hold { commit: 0, lease_end });
            }
        }
    }

    pub(crate) fn presumed_lease_end(&self, now: Moment, node: &Node) -> Option<Moment> {
        let leading = self.leading.as_ref().filter(|_| node.presumed)?;
        Some(leading.elected + with_margin(self.terms.lease_max(now)))
    }

    /// The renewals that wait, for a proof that begins now.
    pub fn begin_proof(&mut self) -> Option<Batch> {
        let leading = self.leading.as_mut().filter(|leading| !leading.batch.is_empty())?;
        Some(Batch { term: leading.term, renewals: std::mem::take(&mut leading.batch) })
    }

    /// The leadership was proven by a quorum that was asked after `begin_proof`.
    pub fn proved(&mut self, batch: &Batch, proof: Proof) -> Vec<Granted> {
        if self.leading.as_ref().is_none_or(|leading| leading.term != batch.term) {
            return Vec::new();
        }
        if proof.term != batch.term {
            self.failed(batch);
            return Vec::new();
        }
        self.led(proof);
        let grant = |renewal: &Renewal| {
            let lease = self.process(renewal)?.grant(renewal.sequence, proof.commit)?;
            Some(Granted { renewal: *renewal, commit: proof.commit, lease })
        };
        batch.renewals.iter().filter_map(grant).collect()
    }

    /// No grant will be given for these.
    pub fn failed(&mut self, batch: &Batch) {
        for renewal in &batch.renewals {
            if let Some(process) = self.process(renewal) {
                process.drop_renewal(renewal.sequence);
            }
        }
    }

    /// The leadership was proven. A proof of another term says nothing here: between two terms of this replica others
    /// may have granted leases.
    pub fn led(&mut self, proof: Proof) {
        if let Some(leading) = self.leading.as_mut().filter(|leading| leading.term == proof.term) {
            leading.floor.get_or_insert(proof.commit);
            leading.proven = leading.proven.max(proof.commit);
        }
    }

    /// The term in which this replica leads.
    pub fn term(&self) -> Option<u64> {
        self.leading.as_ref().map(|leading| leading.term)
    }

    fn process(&mut self, renewal: &Renewal) -> Option<&mut Incarnation> {
        let node = self.nodes.get_mut(&renewal.node)?;
        node.incarnations.iter_mut().find(|process| process.id == renewal.incarnation)
    }
}
