//! What the check must find, and what it must let pass.

mod broken;
mod oracle;
mod properties;
mod simulated;

use proptest::prelude::ProptestConfig;

use super::*;

/// As many cases of a property as are asked for, but no fewer and no more than these.
fn cases(least: u32, most: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.clamp(least, most), ..asked }
}

/// A record by its parts, times in microseconds; no response is unknown.
fn record(
    process: u32,
    action: Action,
    (invoked, responded): (u64, impl Into<Option<u64>>),
    outcome: Outcome,
) -> Record {
    let responded = responded.into().map_or(Time::NEVER, |time: u64| Time(time * 1_000));
    Record { process, credential: 0, action, invoked: Time(invoked * 1_000), responded, outcome }
}

fn change(process: u32, change: Change, times: (u64, u64), outcome: Outcome) -> Record {
    record(process, Action::Change(change), times, outcome)
}

fn done(revision: u64) -> Outcome {
    Outcome::Done { revision }
}

fn seen(state: State) -> Outcome {
    Outcome::Seen { state, changed: 0, at: 0 }
}

fn history(records: Vec<Record>) -> History {
    History { records, bounds: None }
}
