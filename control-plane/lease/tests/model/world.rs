//! The state.
use crate::account::{Account, BROKERS_MAX, RENEWALS_MAX};
use crate::config::{Config, Fault, Small};

pub(crate) const REPLICAS: usize = 3;

/// A `Renew` that was sent and its grant, if one is on its way: `Stream::renewals` at the broker, `Watcher` at the
/// replica between. It stays: it may arrive anywhere, at any time, more than once, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Renewal {
    /// Ticks until a lease that counts from its sending is over, with its grace.
    pub(crate) left: Small,
    /// The commit index of the grant, `Granted::commit`; of several the least.
    pub(crate) grant: Option<Small>,
}

/// What a broker went through, if that is tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Past {
    #[default]
    Nothing,
    /// It has served.
    Served,
    /// It has served, and was fenced by expiry while it was cut off.
    Fenced,
    /// And serves again, at the revision that it lacked.
    Healed,
}

/// A broker node with its present process: `broker::node::Node`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Broker {
    /// `View::revision`.
    pub(crate) view: Small,
    /// The gates are shut for all up to here: `apply::events` has swept the registry.
    pub(crate) swept: Small,
    /// `Freshness`: ticks until lease and grace are over. While there are some the device that is denied next has a
    /// session: it has had all the time to open one.
    pub(crate) fresh: Small,
    /// The renewals of the present process, and of the one before it.
    pub(crate) renewals: [[Option<Renewal>; RENEWALS_MAX]; 2],
    /// The last ack of the process before, and whether it was a farewell: it may arrive late.
    pub(crate) last_word: Option<(Small, bool)>,
    /// With a fault: sessions are open although `fresh` is over, until the timer finds out.
    pub(crate) unnoticed: bool,
    /// With a fault: the process before lives on, swept so far and fresh so long.
    pub(crate) overlap: (Small, Small),
    pub(crate) past: Past,
}

impl Broker {
    /// It lets somebody through whom a revision after this one denies, up to which its gates are shut.
    /// `Node::is_lapsed` is asked for each packet: a process that was stopped looks at its clock first.
    pub(crate) fn serves_at(&self) -> impl Iterator<Item = Small> {
        let present = (self.fresh > 0 || self.unnoticed).then_some(self.swept);
        let overlap = (self.overlap.1 > 0).then_some(self.overlap.0);
        present.into_iter().chain(overlap)
    }
}

impl Broker {
    fn track(&mut self, fenced: Small) {
        self.past = match self.past {
            Past::Nothing if self.fresh > 0 => Past::Served,
            Past::Served if self.fresh == 0 && self.swept < fenced => Past::Fenced,
            Past::Fenced if self.fresh > 0 => Past::Healed,
            past => past,
        };
    }
}

/// A replica of the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Replica {
    /// Raft's term, by its rank among the three: it answers no leader of an earlier one.
    pub(crate) term: Small,
    /// Raft's state is leader, in `term`: `Leadership::is_leader`.
    pub(crate) leads: bool,
    /// `LeaseKeeper`'s account, while it believes to lead.
    pub(crate) account: Option<Account>,
    /// With a fault: the commit index of a proof that `LeaseKeeper::settle` has yet to enter.
    pub(crate) settling: Option<Small>,
}

/// Everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct World {
    /// The commit index. Each entry of the log denies somebody.
    pub(crate) log: Small,
    /// The last revision whose fence was complete.
    pub(crate) fenced: Small,
    pub(crate) replicas: [Replica; REPLICAS],
    pub(crate) brokers: [Broker; BROKERS_MAX],
    /// Elections, if they are tracked; up to 3.
    pub(crate) elections: Small,
}

impl World {
    /// How many replicas answer `replica`, itself included, when it asks whether it leads.
    fn voices(&self, replica: usize) -> usize {
        let asking = &self.replicas[replica];
        self.replicas.iter().filter(|other| other.term <= asking.term).count()
    }

    /// `Group::prove_leadership` succeeds.
    pub(crate) fn proves(&self, replica: usize) -> bool {
        self.replicas[replica].leads && self.voices(replica) > REPLICAS / 2
    }

    /// It does, in the term of the account.
    pub(crate) fn is_current(&self, replica: usize) -> bool {
        self.proves(replica) && self.replicas[replica].account.is_some_and(|account| !account.stale)
    }

    /// Some broker lets somebody through whom the last complete fence promised to be cut everywhere.
    pub(crate) fn is_violated(&self) -> bool {
        self.brokers.iter().flat_map(Broker::serves_at).any(|swept| swept < self.fenced)
    }

    pub(crate) fn accounts(&mut self) -> impl Iterator<Item = &mut Account> {
        self.replicas.iter_mut().filter_map(|replica| replica.account.as_mut())
    }

    /// What follows at once from a step: proofs that the leader can have, acks that take no time, fences. Each as
    /// early as it can be: later ones would only complete less.
    pub(crate) fn settle(&mut self, config: &Config) {
        for replica in 0..REPLICAS {
            let later = config.has(Fault::LaterProofCounts) && self.proves(replica);
            if self.is_current(replica) || later {
                let log = self.log;
                if let Some(account) = &mut self.replicas[replica].account {
                    account.proven = log;
                }
            }
        }
        if !config.acks_late {
            for (at, broker) in self.brokers.into_iter().enumerate().take(config.brokers) {
                let swept = if config.has(Fault::AckBeforeSweep) { broker.view } else { broker.swept };
                self.accounts().for_each(|account| account.acknowledge((at, 0), swept, false, config));
            }
        }
        self.fence(config);
        if config.track {
            let fenced = self.fenced;
            self.brokers.iter_mut().for_each(|broker| broker.track(fenced));
        }
    }

    /// `Watched::look`, at every replica that believes to lead and for every revision that it may be asked for.
    fn fence(&mut self, config: &Config) {
        for replica in self.replicas {
            let Some(account) = replica.account else { continue };
            let covered = if config.has(Fault::DeposedAnswers) { self.log } else { account.proven };
            while self.fenced < covered && account.completes(self.fenced + 1, config) {
                self.fenced += 1;
            }
        }
    }
}
