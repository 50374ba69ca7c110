//! What a group replicates: a deterministic machine over rows.
use revoq_credentials::{ReadError, Reader, Write};

/// A deterministic state machine. It owns no state: it reads rows and answers which rows to write, so that the same
/// log makes the same rows on each replica.
///
/// All calls come from one task, in the order of the log.
pub trait Machine: Send + Sync + 'static {
    /// What [`Machine::publish`] hands on in this process.
    type Event: Send + Sync + 'static;

    /// Judges the command at `index` against the rows as they are after all commands before it.
    ///
    /// # Errors
    /// A row that cannot be read stops the replica: going on would make its state differ from the others'.
    fn apply(
        &self,
        reader: &dyn Reader,
        index: u64,
        command: &[u8],
    ) -> Result<Applied<Self::Event>, ReadError>;

    /// After a batch is written, before its proposers are answered: in order, once each. `applied` may exceed the last
    /// event's index.
    fn publish(&self, applied: u64, events: Vec<(u64, Self::Event)>);

    /// A snapshot replaced the state, or start-up finished: everything at `applied` is new.
    fn restored(&self, applied: u64);
}

/// What one command does.
pub struct Applied<E> {
    /// The rows that it changes.
    pub writes: Vec<Write>,
    /// The row of [`crate::Group::changes`] for this index.
    pub change: Option<Vec<u8>>,
    /// What the proposer is answered.
    pub response: Vec<u8>,
    /// What is published once the rows are written.
    pub event: Option<E>,
}
