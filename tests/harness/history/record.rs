//! What processes did and were told, one record an operation.

use std::fmt;

/// A moment of the run: nanoseconds since its start, on one monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// After everything: the response of an operation whose outcome is unknown.
    pub const NEVER: Time = Time(u64::MAX);

    /// So much later.
    #[must_use]
    pub fn plus(self, nanoseconds: u64) -> Time {
        Time(self.0.saturating_add(nanoseconds))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::NEVER {
            return f.pad("never");
        }
        f.pad(&format!("{}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000))
    }
}

/// A state of a credential as administrators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Registered, never used.
    Inactive,
    /// In use.
    Active,
    /// Refused until it is reactivated.
    Suspended,
    /// Refused for ever.
    Revoked,
    /// Deleted.
    Gone,
}

impl State {
    /// All.
    pub const ALL: [State; 5] =
        [State::Inactive, State::Active, State::Suspended, State::Revoked, State::Gone];

    /// Whether it keeps its owner out.
    #[must_use]
    pub fn is_denied(self) -> bool {
        self >= State::Suspended
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Inactive => "inactive",
            State::Active => "active",
            State::Suspended => "suspended",
            State::Revoked => "revoked",
            State::Gone => "gone",
        })
    }
}

/// A change that an administrator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Refuse until reactivated.
    Suspend,
    /// Undo a suspension.
    Reactivate,
    /// Refuse for ever.
    Revoke,
    /// Remove.
    Delete,
}

impl Change {
    /// All.
    pub const ALL: [Change; 4] = [Change::Suspend, Change::Reactivate, Change::Revoke, Change::Delete];
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Change::Suspend => "suspend",
            Change::Reactivate => "reactivate",
            Change::Revoke => "revoke",
            Change::Delete => "delete",
        })
    }
}

/// A set of broker nodes by number, 0 to 63. A node keeps its number when its process starts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brokers(pub u64);

impl Brokers {
    /// This one alone.
    ///
    /// # Panics
    /// For a number above 63.
    #[must_use]
    pub fn one(broker: u16) -> Brokers {
        Brokers(1_u64.checked_shl(broker.into()).expect("a run has at most 64 brokers"))
    }

    /// With those of another set.
    #[must_use]
    pub fn and(self, others: Brokers) -> Brokers {
        Brokers(self.0 | others.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, broker: u16) -> bool {
        self.0 & Brokers::one(broker).0 != 0
    }
}

impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..64).filter(|broker| self.contains(*broker))).finish()
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A change of the credential's state.
    Change(Change),
    /// The credential's state, linearizably.
    Read,
    /// To wait until a revision is effective everywhere. The credential is the one whose change it was.
    Fence {
        /// Which revision.
        revision: u64,
    },
    /// To be let in.
    Connect {
        /// At which broker.
        broker: u16,
    },
    /// To publish on a session.
    Publish {
        /// At which broker.
        broker: u16,
    },
    /// A sign of life of a session.
    Ping {
        /// At which broker.
        broker: u16,
    },
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, or nothing that tells: the operation may take effect at any time after its invocation, or never.
    Unknown,
    /// That it had no effect and will have none.
    NotDone,
    /// The change is made.
    Done {
        /// Its position in the log.
        revision: u64,
    },
    /// The state does not allow the change.
    Refused {
        /// Which state that is.
        state: State,
    },
    /// The state.
    Seen {
        /// As it is.
        state: State,
        /// The revision of its last change; zero where that was not told.
        changed: u64,
        /// The revision at which it was read; zero where that was not told.
        at: u64,
    },
    /// The fence is complete.
    Complete {
        /// The nodes of which it said that their lease and grace ran out.
        fenced: Brokers,
        /// The nodes of which it said that they are bounded by nothing.
        unconfirmed: Brokers,
    },
    /// The fence ended, and some nodes had not confirmed.
    Incomplete,
    /// Let in; published, with an acknowledgement or a delivery; alive.
    Served,
    /// Kept out; neither acknowledged nor delivered; dead.
    Denied,
}

/// One operation. Its number is its place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who did it: one operation after the other.
    pub process: u32,
    /// On which credential, by number.
    pub credential: u32,
    /// What.
    pub action: Action,
    /// When it was asked.
    pub invoked: Time,
    /// When the answer was there; [`Time::NEVER`] where it is unknown.
    pub responded: Time,
    /// The answer.
    pub outcome: Outcome,
}

impl Record {
    /// The answer was there before the other was asked.
    #[must_use]
    pub fn precedes(&self, other: &Record) -> bool {
        self.responded < other.invoked
    }

    /// It was under way at the same time as the other.
    #[must_use]
    pub fn overlaps(&self, other: &Record) -> bool {
        !self.precedes(other) && !other.precedes(self)
    }
}

impl Outcome {
    /// A fence that every node confirmed.
    pub const CONFIRMED: Outcome = Outcome::Complete { fenced: Brokers(0), unconfirmed: Brokers(0) };
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { process, credential, invoked, responded, .. } = self;
        write!(f, "{invoked:>13} to {responded:>13}  process {process:<4} credential {credential:<4} ")?;
        match self.action {
            Action::Change(change) => write!(f, "{change}"),
            Action::Read => f.write_str("read"),
            Action::Fence { revision } => write!(f, "fence of {revision}"),
            Action::Connect { broker } => write!(f, "connect at broker {broker}"),
            Action::Publish { broker } => write!(f, "publish at broker {broker}"),
            Action::Ping { broker } => write!(f, "ping at broker {broker}"),
        }?;
        match self.outcome {
            Outcome::Unknown => f.write_str(": unknown"),
            Outcome::NotDone => f.write_str(": not done"),
            Outcome::Done { revision } => write!(f, ": done at {revision}"),
            Outcome::Refused { state } => write!(f, ": refused, it is {state}"),
            Outcome::Seen { state, changed, at } => {
                write!(f, ": {state}, changed at {changed}, read at {at}")
            }
            Outcome::Complete { fenced, unconfirmed } => {
                f.write_str(": complete")?;
                [(fenced, "fenced"), (unconfirmed, "unconfirmed")]
                    .into_iter()
                    .filter(|(brokers, _)| *brokers != Brokers::default())
                    .try_for_each(|(brokers, how)| write!(f, ", {brokers} {how}"))
            }
            Outcome::Incomplete => f.write_str(": incomplete"),
            Outcome::Served => f.write_str(": served"),
            Outcome::Denied => f.write_str(": denied"),
        }
    }
}
