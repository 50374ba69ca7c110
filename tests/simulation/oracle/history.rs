//! What administrators asked for, and what they were told. An outcome that is unknown stays so: it is neither done nor
//! not done, and no invariant may take it for either.

use std::collections::BTreeMap;
use std::rc::Rc;

use revoq_credentials::{Operation, Outcome};

use super::Fact;

/// What an administrator knows of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It happened.
    Done(Outcome),
    /// It was refused by the state at this index: it changed nothing and left a trace.
    Refused { index: u64 },
    /// Nothing happened, and nothing will.
    NotDone,
    /// It may have happened, or may yet.
    Unknown,
}

/// A change that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) what: Rc<Operation>,
    /// `None` while it is under way.
    pub(crate) known: Option<Known>,
}

/// Everything that was asked for, by its number.
#[derive(Debug, Default)]
pub(crate) struct History {
    asked: BTreeMap<u64, Asked>,
}

impl History {
    pub(crate) fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Invoked { operation, what } => {
                self.asked.insert(*operation, Asked { what: Rc::clone(what), known: None });
            }
            Fact::Answered { operation, known } => {
                if let Some(asked) = self.asked.get_mut(operation) {
                    asked.known.get_or_insert(*known);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Asked)> {
        self.asked.iter().map(|(number, asked)| (*number, asked))
    }
}

/// In the name of whom a change is asked for: its number is in it, so that it is found again in the log.
pub(crate) fn actor(of: &str, operation: u64) -> Rc<str> {
    format!("{of}/{operation}").into()
}

/// The number in an actor's name.
pub(super) fn number(actor: &str) -> Option<u64> {
    actor.rsplit_once('/')?.1.parse().ok()
}
