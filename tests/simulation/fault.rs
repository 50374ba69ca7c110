//! What is deliberately wrong, to see that the invariants would find it.

/// A fault of the code around the sans-IO cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A replica hands a grant to its broker before the events that it presupposes.
    GrantOvertakesEvents,
    /// A broker acknowledges when the view has the event, and sweeps after that.
    AckBeforeSweep,
    /// A broker takes the verdict first and enters the connection into the registry after that.
    DecideBeforeRegister,
    /// A broker looks at the age of its view before it enters the connection, and not again.
    AgeBeforeRegister,
    /// A new leader takes every node for one without a lease.
    NothingPresumed,
    /// The leader grants without asking a quorum.
    GrantWithoutProof,
    /// A broker's lease and grace are looked at by a timer, and not where packets pass.
    FreshnessByTimer,
    /// A broker counts its lease from the grant's arrival.
    LeaseFromArrival,
    /// A broker numbers its renewals anew on each stream.
    NumbersRepeat,
    /// A broker that knows no settings yet asks for the second lease as late as the defaults say.
    RenewsByOldView,
    /// Apply leaves out a row on one replica.
    SkippedWrite,
    /// A call whose outcome is unknown is reported as done.
    UnknownIsDone,
    /// The leader commits what is on its own disk.
    CommitAlone,
    /// A follower confirms entries before they are on its disk.
    ConfirmBeforeFlush,
    /// A watcher that is behind the ring goes on where the ring begins.
    CompactionPassedOver,
    /// A new stream begins one revision later than its broker asked for.
    ResumeSkips,
    /// The fence says `confirmed` of whoever it waits for no more.
    FencedIsConfirmed,
    /// The fence leaves out who never acknowledged anything.
    SilentNodesLeftOut,
    /// A fence looks again when a broker says something, and never because time passes.
    FenceSleeps,
    /// Audit entries that a replica itself caused are dropped, everywhere.
    AuditGap,
    /// A broker whose stream ended opens no other.
    StreamGivenUp,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Fault; 21] = [
        Fault::GrantOvertakesEvents,
        Fault::AckBeforeSweep,
        Fault::DecideBeforeRegister,
        Fault::AgeBeforeRegister,
        Fault::NothingPresumed,
        Fault::GrantWithoutProof,
        Fault::FreshnessByTimer,
        Fault::LeaseFromArrival,
        Fault::NumbersRepeat,
        Fault::RenewsByOldView,
        Fault::SkippedWrite,
        Fault::UnknownIsDone,
        Fault::CommitAlone,
        Fault::ConfirmBeforeFlush,
        Fault::CompactionPassedOver,
        Fault::ResumeSkips,
        Fault::FencedIsConfirmed,
        Fault::SilentNodesLeftOut,
        Fault::FenceSleeps,
        Fault::AuditGap,
        Fault::StreamGivenUp,
    ];
}
