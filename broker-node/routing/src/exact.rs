use std::hash::Hash;

use crate::hash::{HashKeys, Names};
use crate::targets::Targets;

/// Filters without wildcards.
#[derive(Clone)]
pub(crate) struct Exact<T, O> {
    /// The keys are copies: a slice of the packet would keep its whole frame in memory.
    filters: Names<Box<[u8]>, Targets<T, O>>,
}

impl<T, O> Exact<T, O> {
    pub(crate) fn new(keys: HashKeys) -> Exact<T, O> {
        Exact { filters: Names::with_hasher(keys.hasher()) }
    }
}

impl<T: Copy + Eq + Hash, O> Exact<T, O> {
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn insert(&mut self, filter: &[u8], target: T, options: O) -> Option<O> {
        if let Some(targets) = self.filters.get_mut(filter) {
            return targets.insert(target, options);
        }
        let mut targets = Targets::default();
        targets.insert(target, options);
        self.filters.insert(filter.into(), targets);
        None
    }

    pub(crate) fn remove(&mut self, filter: &[u8], target: T) -> Option<O> {
        let targets = self.filters.get_mut(filter)?;
        let (_, options) = targets.remove(target)?;
        if targets.is_empty() {
            self.filters.remove(filter);
            if self.filters.len() * 4 <= self.filters.capacity() {
                self.filters.shrink_to(self.filters.len() * 2);
            }
        }
        Some(options)
    }

    pub(crate) fn matches(&self, topic: &[u8], mut each: impl FnMut(T, &O)) {
        if let Some(targets) = self.filters.get(topic) {
            targets.iter().for_each(|(target, options)| each(*target, options));
        }
    }
}
