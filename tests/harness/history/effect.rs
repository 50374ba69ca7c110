//! No loss, no repetition, no lie: what was answered is in the log, once, and nothing else is.

use super::log::{Entry, Event, Replay};
use super::record::{Action, Outcome, Record};
use super::{History, Rule, Violation};

pub(super) fn check(history: &History, replay: &Replay) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (number, record) in history.records.iter().enumerate() {
        let Action::Change(_) = record.action else { continue };
        if let Err(text) = kept(record, replay.effects(number)) {
            violations.push(Violation::new(Rule::Effect, record.credential, text, &[number]));
        }
    }
    let unasked = |(operation, entries): (usize, &[Entry])| {
        let record = history.records.get(operation);
        let asked = record.is_some_and(|record| matches!(record.action, Action::Change(_)));
        (!asked).then(|| entries[0])
    };
    let unasked = replay.operations().filter_map(unasked).chain(replay.strangers().iter().copied());
    violations.extend(unasked.map(|entry| {
        let text = format!("{:?} at revision {} was asked for by nobody", entry.event, entry.revision);
        Violation::new(Rule::Effect, entry.credential, text, &[])
    }));
    violations
}

/// The operation's entries are what its answer says.
fn kept(record: &Record, entries: &[Entry]) -> Result<(), String> {
    let revisions = || entries.iter().map(|entry| entry.revision).collect::<Vec<_>>();
    match (record.outcome, entries) {
        (_, [_, _, ..]) => Err(format!("it took effect more than once, at revisions {:?}", revisions())),
        (Outcome::Done { revision }, []) => {
            Err(format!("lost: acknowledged at revision {revision}, and not in the log"))
        }
        (Outcome::Done { revision }, [entry]) if entry.revision != revision => {
            Err(format!("acknowledged at revision {revision}, and in the log at revision {}", entry.revision))
        }
        (Outcome::Done { .. } | Outcome::Unknown, [entry]) => fits(record, entry),
        (_, [entry]) => {
            Err(format!("answered that it is not made, and in the log at revision {}", entry.revision))
        }
        (_, []) => Ok(()),
    }
}

fn fits(record: &Record, entry: &Entry) -> Result<(), String> {
    let same = entry.credential == record.credential;
    match (record.action, entry.event) {
        (Action::Change(asked), Event::Changed(made)) if asked == made && same => Ok(()),
        (_, made) => Err(format!(
            "the log has another effect at revision {}: {made:?} of credential {}",
            entry.revision, entry.credential
        )),
    }
}
