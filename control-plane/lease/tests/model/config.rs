//! What is checked: sizes, features, and what is deliberately wrong.

/// Revisions and ticks, small.
pub(crate) type Small = u8;

/// `stale_grace`, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    Bounded(Small),
    Never,
}

/// What is deliberately wrong. Each is a rule of the code, left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Grants are given on the leader's own word: `LeaseKeeper::serve` without `prove_leadership`.
    NoQuorum,
    /// `Watcher::next_grant` does not wait for the events up to the grant's commit index.
    GrantOvertakes,
    /// `Leases::elected` presumes nothing.
    OldLeasesForgotten,
    /// The broker's clock lags by a tick more than `with_margin` adds.
    ClockBeyondMargin,
    /// `Leases::covers` is not asked: whoever believes to lead answers fences of all that it applied.
    DeposedAnswers,
    /// `apply::events` acknowledges the view, not the sweep.
    AckBeforeSweep,
    /// `Freshness::grant` counts from the receipt of the grant.
    FreshFromReceipt,
    /// `lease::watch` alone looks at the clock, not the packet path (`Connection::shut_by`).
    TimerOnly,
    /// `Leases::standing` leaves the grace out.
    GraceForgotten,
    /// `Incarnation::lease_ends` leaves out renewals whose proof is not done.
    UnprovenForgotten,
    /// `Leases::acknowledge` ends every other process of the node, whenever it was seen alive.
    AckEndsAnyOther,
    /// The node's next process starts while the one before it still serves.
    ProcessesOverlap,
    /// `Watcher::grant` does not compare incarnations.
    GrantOfAnotherProcess,
    /// Each watch stream of a process numbers its renewals from 1.
    SequenceOfStream,
    /// `Leases::renew` queues a renewal again that waits already.
    DuplicateQueued,
    /// `Leases::led` takes a proof that was begun in an earlier leadership of this replica.
    EarlierProofCounts,
    /// `Leases::led` takes a proof of a leadership that the keeper has not heard of yet.
    LaterProofCounts,
}

impl Fault {
    /// It lets a deposed leader do more than count down.
    pub(crate) fn is_of_deposed(self) -> bool {
        matches!(self, Fault::NoQuorum | Fault::DeposedAnswers | Fault::LaterProofCounts)
    }
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Broker nodes, 1 or 2.
    pub(crate) brokers: usize,
    /// Unanswered renewals of one process, 1 or 2.
    pub(crate) renewals: usize,
    /// Ticks that a grant is good for.
    pub(crate) lease: Small,
    pub(crate) grace: Grace,
    /// Ticks that the leader adds: `with_margin`.
    pub(crate) margin: Small,
    /// The broker's clock lags the leader's by so many ticks at most over lease and grace, and by `lag_min` at least.
    pub(crate) lag_min: Small,
    pub(crate) lag_max: Small,
    /// Committed revisions that no fence has completed for, at most.
    pub(crate) window: Small,
    /// Acks reach each leader at any time or never; else at once.
    pub(crate) acks_late: bool,
    /// Processes of brokers are killed, or say farewell, and come back.
    pub(crate) restarts: bool,
    /// A proof of leadership takes time, in which everything else goes on, and may fail.
    pub(crate) proofs_late: bool,
    /// The third replica may not have heard of the last election.
    pub(crate) votes: bool,
    /// Remember what each broker went through, for what must be reachable.
    pub(crate) track: bool,
    pub(crate) fault: Fault,
}

impl Config {
    /// Two brokers; everything else as small as it says something.
    pub(crate) const MAIN: Config = Config {
        brokers: 2,
        renewals: 1,
        lease: 1,
        grace: Grace::Bounded(0),
        margin: 1,
        lag_min: 1,
        lag_max: 1,
        window: 2,
        acks_late: false,
        restarts: false,
        proofs_late: false,
        votes: false,
        track: false,
        fault: Fault::None,
    };

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// For how many ticks the leader counts a lease with its grace, from its receipt of the `Renew`.
    pub(crate) fn leader_counts(&self) -> Small {
        let grace = if self.has(Fault::GraceForgotten) { 0 } else { self.grace_ticks() };
        self.lease + self.margin + grace
    }

    /// For how many of the leader's ticks a broker's lease and grace last, from its sending of the `Renew`, when
    /// its clock lags by `lag` meanwhile.
    pub(crate) fn broker_counts(&self, lag: Small) -> Small {
        self.lease + self.grace_ticks() + lag
    }

    pub(crate) fn lag_worst(&self) -> Small {
        self.lag_max + Small::from(self.has(Fault::ClockBeyondMargin))
    }

    /// Of a grace that never ends one tick is left for ever.
    fn grace_ticks(&self) -> Small {
        match self.grace {
            Grace::Bounded(ticks) => ticks,
            Grace::Never => 1,
        }
    }

    /// A tick later.
    pub(crate) fn later(&self, left: Small) -> Small {
        match self.grace {
            Grace::Never => left.min(left.saturating_sub(1).max(1)),
            Grace::Bounded(_) => left.saturating_sub(1),
        }
    }
}
