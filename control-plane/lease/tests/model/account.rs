//! A leader's account of the leases: `revoq_lease::Leases` (leases.rs, incarnation.rs, fence.rs).
use crate::config::{Config, Fault, Small};

/// Revisions that are told apart, at most: those before the last fence are one.
pub(crate) const REVISIONS: usize = 5;
pub(crate) const BROKERS_MAX: usize = 2;
pub(crate) const RENEWALS_MAX: usize = 2;

/// A renewal of a node: of the present process (0) or the one before it (1), and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) broker: usize,
    pub(crate) process: usize,
    pub(crate) slot: usize,
}

impl Asked {
    pub(crate) fn all() -> impl Iterator<Item = Asked> {
        let at = |number: usize| {
            let (broker, process) = (number / (2 * RENEWALS_MAX), number / RENEWALS_MAX % 2);
            Asked { broker, process, slot: number % RENEWALS_MAX }
        };
        (0..BROKERS_MAX * 2 * RENEWALS_MAX).map(at)
    }

    /// Its bit in a batch.
    pub(crate) fn bit(self) -> u8 {
        1 << (self.broker * 2 * RENEWALS_MAX + self.process * RENEWALS_MAX + self.slot)
    }
}

/// What is known of one process of a node: `incarnation::Incarnation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    /// `Incarnation::acknowledged`.
    pub(crate) acked: Small,
    /// `Incarnation::registered`.
    pub(crate) registered: Option<Small>,
    /// `Incarnation::ended`.
    pub(crate) ended: bool,
    /// `Incarnation::holds`: for each commit index the ticks that are left of lease, margin and grace.
    pub(crate) holds: [Small; REVISIONS],
    /// `Incarnation::unproven`: for each renewal the ticks that are left since its receipt; 0: not received.
    pub(crate) unproven: [Small; RENEWALS_MAX],
}

impl Process {
    /// `Incarnation::hold`.
    pub(crate) fn hold(&mut self, commit: Small, left: Small) {
        let hold = &mut self.holds[usize::from(commit)];
        *hold = (*hold).max(left);
        self.merge(self.acked);
    }

    /// `Incarnation::merge_acknowledged`: holds up to `revision` block the same fences. And a hold that blocks no
    /// more than an earlier one is dropped.
    pub(crate) fn merge(&mut self, revision: Small) {
        let at = usize::from(revision);
        let upto = self.holds[..=at].iter().copied().max().unwrap_or(0);
        self.holds[..at].fill(0);
        self.holds[at] = upto;
        let mut longest = 0;
        for hold in &mut self.holds {
            if *hold <= longest {
                *hold = 0;
            }
            longest = longest.max(*hold);
        }
    }

    /// `Incarnation::end`.
    fn end(&mut self) {
        self.ended = true;
        self.holds = [0; REVISIONS];
        self.unproven = [0; RENEWALS_MAX];
    }

    /// `Incarnation::lease_ends` and `Leases::standing`: it may serve with a view that lacks `revision`.
    fn blocks(&self, revision: Small, config: &Config) -> bool {
        let unproven = self.unproven.iter().any(|left| *left > 0) && !config.has(Fault::UnprovenForgotten);
        let held = self.holds[..usize::from(revision)].iter().any(|left| *left > 0);
        self.acked < revision && (unproven || held)
    }

    fn tick(&mut self, config: &Config) {
        self.holds = self.holds.map(|left| config.later(left));
        self.unproven = self.unproven.map(|left| config.later(left));
        self.merge(self.acked);
    }
}

/// A node in the account: `leases::Node`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    /// `Node::presumed` with `Leases::presumed_lease_end`: the ticks that are left.
    pub(crate) presumed: Small,
    /// `Node::incarnations`: the present process of the node, and the one before it.
    pub(crate) processes: [Process; 2],
}

/// Renewals that a proof of leadership was begun for: `leases::Batch` in `LeaseKeeper::serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Proof {
    pub(crate) batch: u8,
    /// The commit index when it began: what `Group::prove_leadership` returns.
    pub(crate) commit: Small,
    /// A quorum has answered.
    pub(crate) confirmed: bool,
}

/// The account of one leadership: `leases::Leases` while `leading` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Account {
    /// `Leading::term` is not the term in which this replica leads now, if it does: `LeaseKeeper` has not heard yet.
    pub(crate) stale: bool,
    /// `Leading::floor`.
    pub(crate) floor: Small,
    /// `Leading::proven`.
    pub(crate) proven: Small,
    /// `Leading::batch`: renewals that wait for the next proof.
    pub(crate) queue: u8,
    pub(crate) proof: Option<Proof>,
    pub(crate) nodes: [Node; BROKERS_MAX],
}

impl Account {
    /// `Leases::elected`, and the first proof, at commit index `floor`.
    pub(crate) fn elected(floor: Small, config: &Config) -> Account {
        let mut account = Account { floor, proven: floor, ..Account::default() };
        if !config.has(Fault::OldLeasesForgotten) {
            for node in &mut account.nodes[..config.brokers] {
                node.presumed = config.leader_counts();
            }
        }
        account
    }

    /// The present process of a node is now the one before.
    pub(crate) fn next_process(&mut self, broker: usize) {
        let [present, before] = &mut self.nodes[broker].processes;
        *before = std::mem::take(present);
        let next = |batch: u8| {
            let (nibble, shift) = (0b1111 << (4 * broker), RENEWALS_MAX);
            batch & !nibble | (batch & nibble) << shift & nibble
        };
        self.queue = next(self.queue);
        self.proof.iter_mut().for_each(|proof| proof.batch = next(proof.batch));
    }

    pub(crate) fn process(&mut self, asked: Asked) -> &mut Process {
        &mut self.nodes[asked.broker].processes[asked.process]
    }

    /// `Leases::renew`.
    pub(crate) fn renew(&mut self, asked: Asked, config: &Config) {
        let process = self.process(asked);
        if process.ended {
            return;
        }
        let waits = process.unproven[asked.slot] > 0;
        if !waits {
            process.unproven[asked.slot] = config.leader_counts();
        }
        if config.proofs_late && (!waits || config.has(Fault::DuplicateQueued)) {
            self.queue |= asked.bit();
        }
    }

    /// `Leases::proved`, for one renewal. True: it is granted.
    pub(crate) fn proved(&mut self, asked: Asked, commit: Small) -> bool {
        let process = self.process(asked);
        let left = std::mem::take(&mut process.unproven[asked.slot]);
        if left > 0 {
            process.registered = process.registered.or(Some(commit));
            process.hold(commit, left);
        }
        left > 0
    }

    /// `Leases::acknowledge`: of the present process (0) of a broker or the one before it (1).
    pub(crate) fn acknowledge(
        &mut self,
        (broker, process): (usize, usize),
        revision: Small,
        farewell: bool,
        config: &Config,
    ) {
        let node = &mut self.nodes[broker];
        let news = revision > node.processes[process].acked || farewell;
        let acked = &mut node.processes[process];
        acked.acked = acked.acked.max(revision);
        acked.merge(acked.acked);
        if farewell {
            acked.end();
        }
        if news {
            let other = &mut node.processes[1 - process];
            let gone = other.registered.is_some_and(|then| then < revision);
            if gone || config.has(Fault::AckEndsAnyOther) {
                *other = Process::default();
            }
            self.lift_presumption(broker, process);
        }
    }

    /// `Leases::lift_presumption`.
    fn lift_presumption(&mut self, broker: usize, process: usize) {
        let node = &mut self.nodes[broker];
        if node.processes[process].acked >= self.floor {
            let left = std::mem::take(&mut node.presumed);
            if !node.processes[process].ended {
                node.processes[process].hold(0, left);
            }
        }
    }

    /// `Leases::waiting` finds no node, and none is `Unconfirmed`.
    pub(crate) fn completes(&self, revision: Small, config: &Config) -> bool {
        let blocks =
            |node: &Node| node.presumed > 0 || node.processes.iter().any(|p| p.blocks(revision, config));
        !self.nodes[..config.brokers].iter().any(blocks)
    }

    pub(crate) fn tick(&mut self, config: &Config) {
        for node in &mut self.nodes {
            node.presumed = config.later(node.presumed);
            node.processes.iter_mut().for_each(|process| process.tick(config));
        }
    }
}
