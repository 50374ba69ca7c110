//! Linearizability of one credential's register, decided while the history is read once from its beginning.
//!
//! Kept is every point at which the register can stand: its value, and which of the operations under way have taken
//! effect already. When an operation is answered, each point is led on through all orders of the operations under
//! way until that operation has taken effect; a point from which that cannot be is dropped, and when none is left,
//! no order explains the answer (Lowe's just-in-time linearization). The cost follows the operations that are under
//! way at once, not the length of the history.
//!
//! Changes of unknown outcome are never answered, so they would be under way for ever. But those of one kind are all
//! alike once they are asked: a point only counts how many of each kind it has used up, and a point is dropped for
//! one that equals it and has used up less.

use std::collections::BTreeMap;

use super::record::{Action, Change, Outcome, Record, Time};
use super::register::Register;
use super::{History, Rule, Violation};

/// Points looked at for one answer. Beyond it the history is reported as undecided instead of never.
const POINTS_MAX: usize = 200_000;

/// Changes that were answered before, shown with a violation.
const BEFORE_SHOWN: usize = 4;

/// How many changes of unknown outcome, by kind.
type Unknown = [u32; Change::ALL.len()];

/// The value, and the numbers of the operations under way that took effect, ascending.
type Standing = (Register, Vec<usize>);

/// Points by their standing; for each, what it has used up, none less than another.
#[derive(Default)]
struct Points {
    by_standing: BTreeMap<Standing, Vec<Unknown>>,
    count: usize,
}

impl Points {
    /// False where an equal or better one is there.
    fn insert(&mut self, standing: &Standing, used: Unknown) -> bool {
        let there = match self.by_standing.get_mut(standing) {
            Some(there) => there,
            None => self.by_standing.entry(standing.clone()).or_default(),
        };
        if there.iter().any(|other| at_most(other, &used)) {
            return false;
        }
        there.retain(|other| !at_most(&used, other));
        there.push(used);
        self.count += 1;
        true
    }

    fn into_iter(self) -> impl Iterator<Item = (Standing, Unknown)> {
        let each = |(standing, used): (Standing, Vec<Unknown>)| {
            used.into_iter().map(move |used| (standing.clone(), used))
        };
        self.by_standing.into_iter().flat_map(each)
    }
}

fn at_most(less: &Unknown, more: &Unknown) -> bool {
    less.iter().zip(more).all(|(less, more)| less <= more)
}

/// What is under way at a moment.
#[derive(Default)]
struct UnderWay {
    /// The numbers of operations whose answer is still to come.
    answered_later: Vec<usize>,
    /// Changes of unknown outcome that were asked so far.
    unknown: Unknown,
    /// The credential has tried to connect, so a report of its first use may come at any time.
    used: bool,
}

/// Decides it for the operations with these numbers, which are one credential's.
pub(super) fn check(history: &History, of: &[usize]) -> Option<Violation> {
    let mut under_way = UnderWay::default();
    let mut points = Points::default();
    points.insert(&(Register::Inactive, Vec::new()), Unknown::default());
    for (_, step) in steps(history, of) {
        match step {
            Step::Invoked(number) => under_way.invoke(number, &history.records[number]),
            Step::Responded(number) => {
                let values: Vec<Register> = values(&points);
                let Some(next) = respond(history, &under_way, points, number) else {
                    return Some(violation(history, of, number, "too many operations at once to decide"));
                };
                if next.by_standing.is_empty() {
                    let text = format!("no order explains the last of these; before it, it was {values:?}");
                    return Some(violation(history, of, number, text));
                }
                points = next;
                under_way.answered_later.retain(|other| *other != number);
            }
        }
    }
    None
}

/// Ordered so that what is asked at the moment of an answer overlaps with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Invoked(usize),
    Responded(usize),
}

fn steps(history: &History, of: &[usize]) -> Vec<(Time, Step)> {
    let mut steps = Vec::new();
    for number in of {
        let record = &history.records[*number];
        if !matters(record) {
            continue;
        }
        steps.push((record.invoked, Step::Invoked(*number)));
        let answered = matches!(record.action, Action::Change(_) | Action::Read);
        if answered && record.outcome != Outcome::Unknown {
            steps.push((record.responded, Step::Responded(*number)));
        }
    }
    steps.sort_unstable();
    steps
}

fn matters(record: &Record) -> bool {
    match record.action {
        Action::Change(_) => record.outcome != Outcome::NotDone,
        Action::Read => matches!(record.outcome, Outcome::Seen { .. }),
        Action::Connect { .. } => matches!(record.outcome, Outcome::Served | Outcome::Unknown),
        Action::Fence { .. } | Action::Publish { .. } | Action::Ping { .. } => false,
    }
}

impl UnderWay {
    fn invoke(&mut self, number: usize, record: &Record) {
        match record.action {
            Action::Connect { .. } => self.used = true,
            Action::Change(change) if record.outcome == Outcome::Unknown => {
                self.unknown[change as usize] += 1;
            }
            _ => self.answered_later.push(number),
        }
    }
}

fn values(points: &Points) -> Vec<Register> {
    let mut values: Vec<Register> = points.by_standing.keys().map(|(register, _)| *register).collect();
    values.dedup();
    values
}

/// Leads the points on until the operation has taken effect. `None` where they become too many.
fn respond(history: &History, under_way: &UnderWay, points: Points, number: usize) -> Option<Points> {
    let mut seen = Points::default();
    let mut reached = Points::default();
    let mut waiting = Vec::new();
    for (standing, used) in points.into_iter() {
        seen.insert(&standing, used);
        waiting.push((standing, used));
    }
    while let Some((standing, used)) = waiting.pop() {
        if let Ok(place) = standing.1.binary_search(&number) {
            let mut standing = standing;
            standing.1.remove(place);
            reached.insert(&standing, used);
            continue;
        }
        if seen.count > POINTS_MAX {
            return None;
        }
        for (standing, used) in next(history, under_way, &standing, used) {
            if seen.insert(&standing, used) {
                waiting.push((standing, used));
            }
        }
    }
    Some(reached)
}

/// One operation further.
fn next(
    history: &History,
    under_way: &UnderWay,
    (register, effective): &Standing,
    used: Unknown,
) -> Vec<(Standing, Unknown)> {
    let mut next = Vec::new();
    for number in &under_way.answered_later {
        let Err(place) = effective.binary_search(number) else { continue };
        if let Some(register) = explained(*register, &history.records[*number]) {
            let mut effective = effective.clone();
            effective.insert(place, *number);
            next.push(((register, effective), used));
        }
    }
    for change in Change::ALL {
        let kind = change as usize;
        if used[kind] == under_way.unknown[kind] {
            continue;
        }
        if let Some(register) = register.after(change) {
            let mut used = used;
            used[kind] += 1;
            next.push(((register, effective.clone()), used));
        }
    }
    if under_way.used
        && let Some(register) = register.used()
    {
        next.push(((register, effective.clone()), used));
    }
    next
}

/// The value after an operation, where the value before it explains its answer.
fn explained(register: Register, record: &Record) -> Option<Register> {
    match (record.action, record.outcome) {
        (Action::Change(change), Outcome::Done { .. }) => register.after(change),
        (Action::Change(change), Outcome::Refused { state }) => {
            (register.state() == state && register.after(change).is_none()).then_some(register)
        }
        (Action::Read, Outcome::Seen { state, .. }) => (register.state() == state).then_some(register),
        _ => None,
    }
}

/// The operation, those that it overlaps with, and the last ones before it.
fn violation(history: &History, of: &[usize], number: usize, text: impl Into<String>) -> Violation {
    let last = &history.records[number];
    let relevant = |other: &&usize| {
        let record = &history.records[**other];
        matters(record)
            && !matches!(record.action, Action::Connect { .. })
            && record.invoked <= last.responded
    };
    let (mut before, mut records): (Vec<usize>, Vec<usize>) =
        of.iter().filter(relevant).partition(|other| history.records[**other].precedes(last));
    before.sort_by_key(|other| history.records[*other].responded);
    records.extend(before.iter().rev().take(BEFORE_SHOWN));
    Violation::new(Rule::Linearizable, last.credential, text, &records)
}
