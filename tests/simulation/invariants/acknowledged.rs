//! A change that was acknowledged is in every later state; one that surely did not happen is in none; one whose outcome
//! is unknown is there once and whole, or not at all.

use std::collections::BTreeMap;

use super::Invariant;
use crate::oracle::{Fact, Known, Scene, Truth};

#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Where in the log each change is that an administrator asked for.
    places: BTreeMap<u64, u64>,
    /// Entries up to here were read.
    read: u64,
}

impl Acknowledged {
    fn read(&mut self, truth: &Truth) -> Result<(), String> {
        for index in self.read.max(truth.first()) + 1..=truth.last() {
            self.read = index;
            let Some(operation) = truth.at(index).and_then(|change| change.operation) else { continue };
            if let Some(before) = self.places.insert(operation, index) {
                return Err(format!("change {operation} is in the log twice, at {before} and at {index}"));
            }
        }
        Ok(())
    }

    fn judge(&self, operation: u64, known: Known, truth: &Truth) -> Result<(), String> {
        let place = self.places.get(&operation).copied();
        let answer = place.and_then(|index| truth.at(index)?.answer.as_ref());
        match known {
            Known::Done(outcome) => match answer {
                Some(Ok(real)) if *real == outcome => Ok(()),
                _ => Err(format!(
                    "change {operation} was acknowledged as {outcome:?}, and the log has {answer:?} at {place:?}"
                )),
            },
            Known::Refused { index } => match answer {
                Some(Err(_)) if place == Some(index) => Ok(()),
                _ => Err(format!(
                    "change {operation} was refused at {index}, and the log has {answer:?} at {place:?}"
                )),
            },
            Known::NotDone if place.is_some() => {
                Err(format!("change {operation} surely did not happen, and is in the log at {place:?}"))
            }
            Known::NotDone | Known::Unknown => Ok(()),
        }
    }
}

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Committed { .. } => self.read(scene.truth),
            Fact::Answered { operation, known } => self.judge(*operation, *known, scene.truth),
            _ => Ok(()),
        }
    }

    fn end(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let answered = scene.history.iter().filter_map(|(operation, asked)| Some((operation, asked.known?)));
        for (operation, known) in answered {
            self.judge(operation, known, scene.truth)?;
        }
        Ok(())
    }
}
