//! A watcher sees each event once and in order, or a snapshot that covers it; and its view is the one that the log leads
//! to.

use std::collections::BTreeMap;

use super::Invariant;
use crate::oracle::{Fact, Scene, Seen, Truth};

#[derive(Debug, Default)]
pub(super) struct WatchedOnce {
    /// Up to which revision each broker's process has seen everything.
    seen: BTreeMap<u8, u64>,
}

/// The event that comes after `after` and before `before`, if there is one.
fn missed(truth: &Truth, after: u64, before: u64) -> Option<u64> {
    (after + 1..before).find(|index| truth.at(*index).is_some_and(|change| change.has_event))
}

fn follow(truth: &Truth, seen: u64, how: &Seen, revision: u64) -> Result<(), String> {
    let mut last = seen;
    match how {
        Seen::Snapshot if revision < seen => Err(format!("a snapshot of {revision} after {seen}")),
        Seen::Snapshot => Ok(()),
        Seen::Events(events) => {
            for event in events {
                if *event <= last {
                    return Err(format!("the event of {event} after {last}"));
                }
                if let Some(missed) = missed(truth, last, *event) {
                    return Err(format!("the event of {event} after {last}, and {missed} was never seen"));
                }
                last = *event;
            }
            Ok(())
        }
        Seen::Progress => match missed(truth, last, revision + 1) {
            Some(missed) => {
                Err(format!("nothing is said to have happened up to {revision}, but {missed} did"))
            }
            None => Ok(()),
        },
    }
}

impl Invariant for WatchedOnce {
    fn name(&self) -> &'static str {
        "watched_once"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Began { broker } => {
                self.seen.insert(*broker, 0);
                Ok(())
            }
            Fact::Viewed { broker, view, seen: how } => {
                let revision = view.revision().0;
                let Some(change) = scene.truth.at(revision) else {
                    return Err(format!("broker {broker} sees revision {revision}, which nobody committed"));
                };
                let seen = self.seen.entry(*broker).or_default();
                follow(scene.truth, *seen, how, revision)
                    .map_err(|error| format!("broker {broker} sees {error}"))?;
                *seen = revision.max(*seen);
                if change.view != *view {
                    return Err(format!(
                        "the view of broker {broker} at {revision} is not the one that the log leads to"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
