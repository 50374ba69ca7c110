//! What always holds, one promise a file.

mod acknowledged;
mod audited;
mod bounded;
mod fenced_out;
mod leased;
mod named;
mod none_behind;
mod recovered;
mod same_state;
mod watched_once;

use std::fmt;

pub(crate) use recovered::unrecovered;

use crate::oracle::{Fact, Scene};

/// A promise that is held against everything that happens.
pub(crate) trait Invariant: fmt::Debug {
    /// Its file's name.
    fn name(&self) -> &'static str;

    /// Something happened; the truth and the history know it already.
    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String>;

    /// Time passed.
    fn survey(&mut self, _scene: &Scene<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Everything is over.
    fn end(&mut self, _scene: &Scene<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Which.
    pub(crate) invariant: &'static str,
    /// How.
    pub(crate) how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.how)
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(crate) fn new() -> Invariants {
        Invariants(vec![
            Box::<fenced_out::FencedOut>::default(),
            Box::<acknowledged::Acknowledged>::default(),
            Box::<same_state::SameState>::default(),
            Box::<watched_once::WatchedOnce>::default(),
            Box::<leased::Leased>::default(),
            Box::<named::Named>::default(),
            Box::<none_behind::NoneBehind>::default(),
            Box::<bounded::Bounded>::default(),
            Box::<audited::Audited>::default(),
        ])
    }

    /// None of them: while the others are away.
    pub(crate) fn none() -> Invariants {
        Invariants(Vec::new())
    }

    pub(crate) fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|invariant| invariant.check(fact, scene))
    }

    pub(crate) fn survey(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|invariant| invariant.survey(scene))
    }

    pub(crate) fn end(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|invariant| invariant.end(scene))
    }

    fn each(
        &mut self,
        mut check: impl FnMut(&mut dyn Invariant) -> Result<(), String>,
    ) -> Result<(), Broken> {
        for invariant in &mut self.0 {
            let name = invariant.name();
            check(invariant.as_mut()).map_err(|how| Broken { invariant: name, how })?;
        }
        Ok(())
    }
}
