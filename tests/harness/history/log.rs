//! The audit log as the witness of what happened, and its replay.

use std::collections::BTreeMap;

use super::record::{Change, State};
use super::register::Register;
use super::{Rule, Violation};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The credential was issued.
    Issued,
    /// Its first use was reported.
    Used,
    /// An administrator changed it.
    Changed(Change),
}

/// One entry of the audit log about one credential that took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the log of changes.
    pub revision: u64,
    /// Which credential.
    pub credential: u32,
    /// What happened.
    pub event: Event,
    /// The state before, as the entry says; absent where it was issued.
    pub before: Option<State>,
    /// The state after, as the entry says.
    pub after: State,
    /// The number of the operation that asked for it, as the entry says.
    pub operation: Option<usize>,
}

/// A value that a credential had from a revision on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) entry: Entry,
    pub(super) register: Register,
}

/// The log, replayed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// Of each credential, ascending by revision.
    values: BTreeMap<u32, Vec<Value>>,
    /// Of each operation, its entries.
    effects: BTreeMap<usize, Vec<Entry>>,
    /// Changes without an operation.
    strangers: Vec<Entry>,
}

impl Replay {
    /// Replays a log that is in its own order; entries that don't follow from those before are reported, and then
    /// taken for true.
    pub(super) fn of(log: &[Entry]) -> (Replay, Vec<Violation>) {
        let mut replay = Replay::default();
        let mut violations = Vec::new();
        let mut broken = |entry: &Entry, text: String| {
            let records: Vec<usize> = entry.operation.into_iter().collect();
            violations.push(Violation::new(Rule::Log, entry.credential, text, &records));
        };
        let mut last = None;
        for entry in log {
            let changed = matches!(entry.event, Event::Changed(_));
            if last.is_some_and(|(revision, also)| {
                entry.revision < revision || entry.revision == revision && (changed || also)
            }) {
                broken(entry, format!("revision {} comes twice or out of order", entry.revision));
            }
            last = Some((entry.revision, changed));
            match replay.follow(entry) {
                Ok(()) => {}
                Err(text) => broken(entry, text),
            }
            match (entry.operation, entry.event) {
                (Some(operation), _) => replay.effects.entry(operation).or_default().push(*entry),
                (None, Event::Changed(_)) => replay.strangers.push(*entry),
                (None, _) => {}
            }
        }
        (replay, violations)
    }

    fn follow(&mut self, entry: &Entry) -> Result<(), String> {
        let values = self.values.entry(entry.credential).or_default();
        let before = values.last().map(|value| value.register);
        let followed = match (entry.event, before) {
            (Event::Issued, None) => Some(Register::Inactive),
            (Event::Used, Some(before)) => before.used(),
            (Event::Changed(change), Some(before)) => before.after(change),
            _ => None,
        };
        let said = |state: State| Register::ALL.into_iter().find(|register| register.state() == state);
        let register = followed.or(said(entry.after)).unwrap_or(Register::Gone);
        values.push(Value { entry: *entry, register });
        let Entry { revision, event, .. } = entry;
        if followed.is_none() {
            return Err(format!("{event:?} at revision {revision} cannot follow on {before:?}"));
        }
        if entry.before != before.map(Register::state) || entry.after != register.state() {
            let (said, was) = (entry.before, entry.after);
            return Err(format!(
                "{event:?} at revision {revision} says {said:?} to {was:?} and was {before:?} to {register:?}"
            ));
        }
        Ok(())
    }

    /// Its values, ascending by revision.
    pub(super) fn values(&self, credential: u32) -> &[Value] {
        self.values.get(&credential).map_or(&[], Vec::as_slice)
    }

    /// Its value at a revision, and since which one; `None` where it was not issued yet.
    pub(super) fn at(&self, credential: u32, revision: u64) -> Option<&Value> {
        let values = self.values(credential);
        let after = values.partition_point(|value| value.entry.revision <= revision);
        values[..after].last()
    }

    /// Its values after a revision.
    pub(super) fn after(&self, credential: u32, revision: u64) -> &[Value] {
        let values = self.values(credential);
        &values[values.partition_point(|value| value.entry.revision <= revision)..]
    }

    /// The entries of an operation.
    pub(super) fn effects(&self, operation: usize) -> &[Entry] {
        self.effects.get(&operation).map_or(&[], Vec::as_slice)
    }

    /// Operations with an entry.
    pub(super) fn operations(&self) -> impl Iterator<Item = (usize, &[Entry])> {
        self.effects.iter().map(|(operation, entries)| (*operation, entries.as_slice()))
    }

    /// Changes for which no operation is named.
    pub(super) fn strangers(&self) -> &[Entry] {
        &self.strangers
    }
}
