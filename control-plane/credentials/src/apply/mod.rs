//! Applying a command.

use crate::command::Command;
use crate::event::Event;
use crate::ids::Revision;
use crate::outcome::{Outcome, Refusal};
use crate::store::{ReadError, Reader, Write};

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The rows to write, in one batch.
    pub writes: Vec<Write>,
    /// For the one who asked.
    pub result: Result<Outcome, Refusal>,
    /// For the brokers and for whoever watches.
    pub event: Option<Event>,
}

/// Applies a command.
pub fn apply(reader: &dyn Reader, revision: Revision, command: &Command) -> Result<Applied, ReadError> {
    let _ = (reader, revision, command);
    Err(ReadError("no operation is known yet".to_owned()))
}
