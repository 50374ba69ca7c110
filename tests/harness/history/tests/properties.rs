//! Simulated histories that are right pass; with one thing broken in them they don't.

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::simulated::{Run, run};
use super::*;

const OPERATIONS: usize = 400;

/// One thing to break. Each picks at random among what it matters for; `None` where the run has none of that.
type Break = fn(&mut Run, &mut SmallRng) -> Option<Rule>;

const BREAKS: [(&str, Break); 13] = [
    ("an acknowledged change is lost", lose),
    ("a change takes effect twice", repeat),
    ("a change is acknowledged that never happened", invent),
    ("a refused change is acknowledged", praise),
    ("an acknowledged change is reported as not made", deny),
    ("a change is acknowledged at another revision", misplace),
    ("revisions go against real time", reorder),
    ("a read shows another state", misread),
    ("a read is stale", read_stale),
    ("an entry has another state", forge),
    ("a read shows what never was", read_impossible),
    ("somebody is served after a fence", serve_after_fence),
    ("somebody is served after the lease", serve_after_lease),
];

proptest! {
    #![proptest_config(cases(1, 4_000))]

    #[test]
    fn what_is_right_passes(seed: u64, lossy: bool) {
        let Run { history, log } = run(seed, OPERATIONS, lossy);
        let violations = check(&history, &log);
        let shown: Vec<String> = violations.iter().map(|found| found.show(&history).to_string()).collect();
        prop_assert!(violations.is_empty(), "{}", shown.join("\n"));
    }

    #[test]
    fn what_is_broken_is_found(seed: u64, which in 0..BREAKS.len(), lossy: bool) {
        let mut run = run(seed, OPERATIONS, lossy);
        let (name, break_it) = BREAKS[which];
        if let Some(rule) = break_it(&mut run, &mut SmallRng::seed_from_u64(seed)) {
            let violations = check(&run.history, &run.log);
            prop_assert!(violations.iter().any(|found| found.rule == rule), "{}: {:?}", name, violations);
        }
    }
}

/// Most runs have something to break of each kind, or the property above says little.
#[test]
fn each_kind_is_broken_in_many_runs() {
    for (name, break_it) in BREAKS {
        let broken = |seed| {
            let mut run = run(seed, OPERATIONS, true);
            break_it(&mut run, &mut SmallRng::seed_from_u64(seed)).is_some()
        };
        let times = (0..40).filter(|seed| broken(*seed)).count();
        assert!(times >= 10, "{name}: in {times} of 40 runs");
    }
}

/// A run holds what the properties are about.
#[test]
fn runs_are_varied() {
    let history = History {
        records: (0..20).flat_map(|seed| run(seed, OPERATIONS, true).history.records).collect(),
        bounds: None,
    };
    let Summary { changes, reads, fences, connects, uses, operations, .. } = Summary::of(&history);
    for ended in [changes, reads, fences, connects, uses] {
        assert!(ended.acknowledged > 50 && ended.unknown > 20, "{ended}");
    }
    assert!(changes.refused > 100 && changes.not_done > 10 && connects.refused > 100, "{operations}");
}

/// One of the records that the rule picks.
fn pick(run: &Run, random: &mut SmallRng, like: impl Fn(usize, &Record) -> bool) -> Option<usize> {
    let all = run.history.records.iter().enumerate().filter(|(number, record)| like(*number, record));
    let all: Vec<usize> = all.map(|(number, _)| number).collect();
    (!all.is_empty()).then(|| all[random.random_range(0..all.len())])
}

fn is_done(record: &Record) -> bool {
    matches!(record.outcome, Outcome::Done { .. })
}

fn is_change(record: &Record) -> bool {
    matches!(record.action, Action::Change(_))
}

fn entry(run: &Run, number: usize) -> Option<usize> {
    run.log.iter().position(|entry| entry.operation == Some(number))
}

/// The revision and state of a credential at a revision.
fn at(run: &Run, credential: u32, revision: u64) -> Option<Entry> {
    run.log.iter().rfind(|entry| entry.credential == credential && entry.revision <= revision).copied()
}

fn lose(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = pick(run, random, |_, record| is_done(record))?;
    let lost = entry(run, number)?;
    run.log.remove(lost);
    Some(Rule::Effect)
}

fn repeat(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = pick(run, random, |number, _| entry(run, number).is_some())?;
    let again = run.log[entry(run, number)?];
    let revision = run.log.last()?.revision + 1;
    run.log.push(Entry { revision, ..again });
    Some(Rule::Effect)
}

fn invent(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let unknown = |number, record: &Record| {
        is_change(record) && record.outcome == Outcome::Unknown && entry(run, number).is_none()
    };
    let number = pick(run, random, unknown)?;
    let revision = run.log.last()?.revision + 1;
    let record = &mut run.history.records[number];
    (record.responded, record.outcome) = (record.invoked.plus(10), Outcome::Done { revision });
    Some(Rule::Effect)
}

fn praise(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = pick(run, random, |_, record| matches!(record.outcome, Outcome::Refused { .. }))?;
    run.history.records[number].outcome = Outcome::Done { revision: run.log.last()?.revision };
    Some(Rule::Effect)
}

fn deny(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = pick(run, random, |_, record| is_done(record))?;
    run.history.records[number].outcome = Outcome::NotDone;
    Some(Rule::Effect)
}

fn misplace(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = pick(run, random, |_, record| is_done(record))?;
    let Outcome::Done { revision } = &mut run.history.records[number].outcome else { return None };
    *revision += 1;
    Some(Rule::Effect)
}

fn reorder(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let first = pick(run, random, |_, record| is_done(record))?;
    let one = run.history.records[first];
    let second = pick(run, random, |_, record| is_done(record) && one.precedes(record))?;
    let other = run.history.records[second];
    let times = |from: Record, to: &mut Record| (to.invoked, to.responded) = (from.invoked, from.responded);
    times(other, &mut run.history.records[first]);
    times(one, &mut run.history.records[second]);
    Some(Rule::Order)
}

fn misread(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let read = |_, record: &Record| matches!(record.outcome, Outcome::Seen { at: 1.., .. });
    let number = pick(run, random, read)?;
    let Outcome::Seen { state, .. } = &mut run.history.records[number].outcome else { return None };
    *state = State::ALL[(*state as usize + random.random_range(1..5)) % 5];
    Some(Rule::Read)
}

/// As it was just before a change that had been acknowledged when the read was asked for.
fn read_stale(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let acknowledged = |read: &Record, record: &Record| {
        is_done(record) && record.credential == read.credential && record.precedes(read)
    };
    let stale = |_, read: &Record| {
        matches!(read.outcome, Outcome::Seen { .. })
            && run.history.records.iter().any(|record| acknowledged(read, record))
    };
    let number = pick(run, random, stale)?;
    let read = run.history.records[number];
    let missed = pick(run, random, |_, record| acknowledged(&read, record))?;
    let Outcome::Done { revision } = run.history.records[missed].outcome else { return None };
    let before = at(run, read.credential, revision - 1)?;
    let at = if random.random_bool(0.5) { revision - 1 } else { 0 };
    run.history.records[number].outcome = Outcome::Seen { state: before.after, changed: before.revision, at };
    Some(Rule::Read)
}

fn forge(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let number = random.random_range(0..run.log.len());
    let entry = &mut run.log[number];
    entry.after = State::ALL[(entry.after as usize + random.random_range(1..5)) % 5];
    Some(Rule::Log)
}

/// A state that no change that was asked for could have made; known from the answers alone.
fn read_impossible(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let asked = |read: &Record, change: Change| {
        run.history.records.iter().any(|record| {
            record.action == Action::Change(change)
                && record.credential == read.credential
                && record.invoked <= read.responded
        })
    };
    let is_read = |record: &Record| matches!(record.outcome, Outcome::Seen { .. });
    let number = pick(run, random, |_, record| is_read(record) && !asked(record, Change::Revoke))?;
    let state = State::Revoked;
    run.history.records[number].outcome = Outcome::Seen { state, changed: 0, at: 0 };
    Some(Rule::Linearizable)
}

/// The credential of that record is denied from the revision on, as long as the record lasts.
fn stays_denied(run: &Run, record: &Record, revision: u64) -> bool {
    let denied = at(run, record.credential, revision).is_some_and(|entry| entry.after.is_denied());
    denied
        && !run.log.iter().any(|entry| {
            let asked = entry.operation.map(|number| run.history.records[number].invoked);
            entry.credential == record.credential
                && entry.revision > revision
                && !entry.after.is_denied()
                && asked.is_none_or(|asked| asked <= record.responded)
        })
}

fn serve_after_fence(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let fenced = |record: &Record| {
        run.history.records.iter().any(|fence| match (fence.action, fence.outcome) {
            (Action::Fence { revision }, Outcome::Complete { .. }) => {
                fence.precedes(record) && stays_denied(run, record, revision)
            }
            _ => false,
        })
    };
    let number = pick(run, random, |_, record| record.outcome == Outcome::Denied && fenced(record))?;
    run.history.records[number].outcome = Outcome::Served;
    Some(Rule::Serve)
}

fn serve_after_lease(run: &mut Run, random: &mut SmallRng) -> Option<Rule> {
    let fences =
        run.history.records.iter_mut().filter(|record| matches!(record.action, Action::Fence { .. }));
    fences.for_each(|record| record.outcome = Outcome::Incomplete);
    let bounds = run.history.bounds?;
    let late = |record: &Record| {
        let bound = if matches!(record.action, Action::Connect { .. }) { bounds.admit } else { bounds.serve };
        run.history.records.iter().any(|change| match change.outcome {
            Outcome::Done { revision } => {
                change.responded.plus(bound) < record.invoked && stays_denied(run, record, revision)
            }
            _ => false,
        })
    };
    let number = pick(run, random, |_, record| record.outcome == Outcome::Denied && late(record))?;
    run.history.records[number].outcome = Outcome::Served;
    Some(Rule::Serve)
}
