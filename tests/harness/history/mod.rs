//! A history check: records of what concurrent administrators and devices were told, and a decision whether the
//! promises were kept.
//!
//! What is decided, by rule:
//!
//! - [`Rule::Linearizable`]: for each credential there is one order of its operations that explains every answer and
//!   respects real time. An operation of unknown outcome may stand anywhere after its invocation, or nowhere.
//! - [`Rule::Log`]: the audit log replays: each entry's states are what the entries before it made.
//! - [`Rule::Effect`]: each acknowledged change is in the log at its revision with its effect, no change is there
//!   twice, and none that was reported as not made.
//! - [`Rule::Order`]: revisions respect real time: what was answered before another was asked has the lower one.
//! - [`Rule::Read`]: a read agrees with the replay of the log up to the revision that it names.
//! - [`Rule::Serve`]: nobody is served after a completed fence, or after lease and grace, by a view in which the
//!   credential is denied, until a change that lets it in again was asked for.
//!
//! The first needs nothing but the answers; the others use the log as a witness, and so find what one credential's
//! answers alone could hide. All is a pure function of the history and the log.

mod effect;
mod floors;
mod linear;
mod log;
mod order;
mod record;
mod register;
mod serve;
mod summary;
#[cfg(test)]
mod tests;

use std::fmt;

pub use log::{Entry, Event};
pub use record::{Action, Brokers, Change, Outcome, Record, State, Time};
pub use register::Register;
pub use summary::Summary;

use log::Replay;

/// Everything that was recorded in a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In any order; the number of an operation is its place here.
    pub records: Vec<Record>,
    /// The settings in force, where [`Rule::Serve`] shall hold also without a fence.
    pub bounds: Option<Bounds>,
}

/// For how long a broker may serve with a view that lacks an acknowledged change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It lets new sessions in, nanoseconds after the answer: the lease.
    pub admit: u64,
    /// It serves sessions that it has, nanoseconds after the answer: the lease and the grace.
    pub serve: u64,
}

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the module says what each means")]
pub enum Rule {
    Linearizable,
    Log,
    Effect,
    Order,
    Read,
    Serve,
}

/// One broken rule, with the records that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Of which credential.
    pub credential: u32,
    /// How.
    pub text: String,
    /// The numbers of the records that show it.
    pub records: Vec<usize>,
}

/// Records that a violation shows at most.
const SHOWN_MAX: usize = 24;

impl Violation {
    fn new(rule: Rule, credential: u32, text: impl Into<String>, records: &[usize]) -> Violation {
        Violation { rule, credential, text: text.into(), records: records.to_vec() }
    }

    /// For people: the text, then the records in the order in which they were asked.
    #[must_use]
    pub fn show<'a>(&'a self, history: &'a History) -> impl fmt::Display + 'a {
        Shown { violation: self, history }
    }
}

struct Shown<'a> {
    violation: &'a Violation,
    history: &'a History,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { rule, credential, text, records } = self.violation;
        writeln!(f, "{rule:?}: credential {credential}: {text}")?;
        let mut numbers = records.clone();
        numbers.sort_by_key(|number| (self.history.records[*number].invoked, *number));
        numbers.dedup();
        for number in numbers.iter().take(SHOWN_MAX) {
            writeln!(f, "  {number:>8}  {}", self.history.records[*number])?;
        }
        match numbers.len().checked_sub(SHOWN_MAX) {
            Some(more @ 1..) => writeln!(f, "  and {more} more"),
            _ => Ok(()),
        }
    }
}

/// Decides every rule. The log is the audit log's part about certificates, whole and in its order; no violation
/// means that all promises were kept, so far as the history shows.
#[must_use]
pub fn check(history: &History, log: &[Entry]) -> Vec<Violation> {
    let mut violations = linearizable(history);
    let (replay, broken) = Replay::of(log);
    violations.extend(broken);
    violations.extend(effect::check(history, &replay));
    violations.extend(order::check(history, &replay));
    violations.extend(serve::check(history, &replay));
    violations
}

/// Decides [`Rule::Linearizable`], which needs no log: at most one violation a credential.
#[must_use]
pub fn linearizable(history: &History) -> Vec<Violation> {
    let mut by_credential: Vec<Vec<usize>> = Vec::new();
    for (number, record) in history.records.iter().enumerate() {
        let credential = record.credential as usize;
        if by_credential.len() <= credential {
            by_credential.resize_with(credential + 1, Vec::new);
        }
        by_credential[credential].push(number);
    }
    by_credential.iter().filter_map(|of| linear::check(history, of)).collect()
}
