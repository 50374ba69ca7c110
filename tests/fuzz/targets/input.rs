//! Arbitrary bytes as a series of decisions, and what became of them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is left of an input.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8]) -> Input<'a> {
        Input(data)
    }

    /// `None` at the end.
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `count`. `None` at the end.
    pub(super) fn below(&mut self, count: u8) -> Option<u8> {
        self.byte().map(|byte| byte % count)
    }

    /// So many bytes as the next one says, or as are left.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or(0)).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// What an input led to: pairs of events, one after the other. An input with a pair that no other had is worth keeping.
#[derive(Default)]
pub(crate) struct Outcome {
    pairs: HashSet<u64>,
    last: u64,
}

impl Outcome {
    pub(super) fn note(&mut self, event: impl Hash) {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        let event = hasher.finish();
        self.pairs.insert(self.last.rotate_left(1) ^ event);
        self.last = event;
    }

    /// Numbers that need not be the same in another build.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = u64> {
        self.pairs.iter().copied()
    }
}
