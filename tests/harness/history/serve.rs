//! Nobody is served by a view that a promise has ruled out.
//!
//! A completed fence of revision r says that from then on every broker that it doesn't except serves by a view at r
//! or later; so does an acknowledged change when the lease, and for sessions that exist the grace, have run out after
//! it. What is served afterwards needs a view from there on in which the credential is let in: the one at r, or one
//! that a change made which was asked for before the service ended.

use std::collections::BTreeMap;

use super::floors::{Floor, Floors};
use super::log::{Event, Replay, Value};
use super::record::{Action, Outcome, Record, Time};
use super::{History, Rule, Violation};

pub(super) fn check(history: &History, replay: &Replay) -> Vec<Violation> {
    let admit = Floors::by_bound(history, history.bounds.map(|bounds| bounds.admit));
    let serve = Floors::by_bound(history, history.bounds.map(|bounds| bounds.serve));
    let mut fences: BTreeMap<u16, Floors> = BTreeMap::new();
    let mut violations = Vec::new();
    for (number, record) in history.records.iter().enumerate() {
        let (broker, bound) = match record.action {
            Action::Connect { broker } => (broker, &admit),
            Action::Publish { broker } | Action::Ping { broker } => (broker, &serve),
            _ => continue,
        };
        if record.outcome != Outcome::Served {
            continue;
        }
        let fences = fences.entry(broker).or_insert_with(|| Floors::by_fences(history, broker));
        let floors = [fences.at(record.invoked), bound.at(record.invoked)];
        let Some(floor) = floors.into_iter().flatten().max_by_key(|floor| floor.revision) else { continue };
        if let Some(denied) = denied(history, replay, record, floor) {
            violations.push(violation(number, record, floor, denied));
        }
    }
    violations
}

/// The value at the floor, where it and everything after it that could be in a view deny the credential.
fn denied<'a>(history: &History, replay: &'a Replay, record: &Record, floor: Floor) -> Option<&'a Value> {
    let value = replay.at(record.credential, floor.revision)?;
    let asked = |value: &Value| match (value.entry.event, value.entry.operation) {
        (Event::Changed(_), Some(operation)) => {
            history.records.get(operation).map_or(Time(0), |record| record.invoked)
        }
        _ => Time(0),
    };
    let lets_in = |value: &Value| !value.register.state().is_denied();
    let later = replay.after(record.credential, floor.revision);
    let let_in =
        lets_in(value) || later.iter().any(|value| lets_in(value) && asked(value) <= record.responded);
    (!let_in).then_some(value)
}

fn violation(number: usize, record: &Record, floor: Floor, denied: &Value) -> Violation {
    let text = format!(
        "served by a view older than revision {}, which was ruled out from {} on; it was {} since revision {}",
        floor.revision,
        floor.since,
        denied.register.state(),
        denied.entry.revision
    );
    let records: Vec<usize> = denied.entry.operation.into_iter().chain([floor.by, number]).collect();
    Violation::new(Rule::Serve, record.credential, text, &records)
}
