//! Revisions against real time, and reads against the replay.

use super::log::Replay;
use super::record::{Action, Outcome, Record, Time};
use super::{History, Rule, Violation};

/// A revision that was known to exist from a moment on, by which record.
#[derive(Clone, Copy)]
struct Known {
    since: Time,
    revision: u64,
    by: usize,
}

pub(super) fn check(history: &History, replay: &Replay) -> Vec<Violation> {
    let known = known(history);
    let before = |invoked: Time| {
        let until = known.partition_point(|known| known.since < invoked);
        known[..until].last()
    };
    let mut violations = Vec::new();
    for (number, record) in history.records.iter().enumerate() {
        let before = before(record.invoked);
        let (rule, broken) = match (record.action, record.outcome) {
            (Action::Change(_), Outcome::Done { revision }) => (Rule::Order, later(revision, before)),
            (Action::Change(_), Outcome::Unknown) => {
                let revisions = replay.effects(number).iter().map(|entry| entry.revision);
                (Rule::Order, revisions.min().map_or(Ok(()), |revision| later(revision, before)))
            }
            (Action::Read, Outcome::Seen { .. }) => (Rule::Read, agrees(record, replay, before)),
            _ => continue,
        };
        if let Err(text) = broken {
            let records: Vec<usize> = before.iter().map(|known| known.by).chain([number]).collect();
            violations.push(Violation::new(rule, record.credential, text, &records));
        }
    }
    violations
}

/// The highest revision that was known at each moment, ascending.
fn known(history: &History) -> Vec<Known> {
    let told = |(by, record): (usize, &Record)| {
        let revision = match (record.action, record.outcome) {
            (_, Outcome::Done { revision }) => revision,
            (_, Outcome::Seen { changed, at, .. }) => changed.max(at),
            (Action::Fence { revision }, Outcome::Complete { .. }) => revision,
            _ => return None,
        };
        Some(Known { since: record.responded, revision, by })
    };
    let mut known: Vec<Known> = history.records.iter().enumerate().filter_map(told).collect();
    known.sort_by_key(|known| known.since);
    let mut highest = 0;
    known.retain(|known| {
        let higher = known.revision > highest;
        highest = highest.max(known.revision);
        higher
    });
    known
}

fn later(revision: u64, before: Option<&Known>) -> Result<(), String> {
    match before {
        Some(known) if revision <= known.revision => Err(format!(
            "revision {revision} was asked for when revision {} had been answered already",
            known.revision
        )),
        _ => Ok(()),
    }
}

/// A read shows a value that the log has, and not an older one than was known when it was asked for.
fn agrees(record: &Record, replay: &Replay, before: Option<&Known>) -> Result<(), String> {
    let Outcome::Seen { state, changed, at } = record.outcome else { return Ok(()) };
    let known = before.map_or(0, |known| known.revision);
    if at != 0 && (at < known || changed > at) {
        return Err(format!(
            "read at revision {at}, a change at {changed}; revision {known} was known before"
        ));
    }
    let revision = if at != 0 { at } else { changed };
    if revision == 0 {
        return Ok(());
    }
    let value = replay.at(record.credential, revision);
    let (since, is) = value.map_or((0, None), |value| (value.entry.revision, Some(value.register.state())));
    if is != Some(state) || changed != 0 && changed != since {
        return Err(format!("at revision {revision} it was {is:?} since revision {since}"));
    }
    let newest = replay.at(record.credential, known).map_or(0, |value| value.entry.revision);
    if at == 0 && changed < newest {
        return Err(format!(
            "stale: it had changed at revision {newest}, and revision {known} was known before"
        ));
    }
    Ok(())
}
