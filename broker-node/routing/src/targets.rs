use std::collections::HashMap;
use std::hash::Hash;

/// Up to so many targets are searched one by one: faster, and much smaller, than an index.
const LINEAR_MAX: usize = 16;

/// The targets of one filter with their options. Delivery order is not promised.
#[derive(Clone)]
pub(crate) enum Targets<T, O> {
    /// Most filters have one target, which stands where the filter is found: no memory of its own to allocate and to visit.
    Few(Option<(T, O)>),
    /// At least two.
    Many(Box<Many<T, O>>),
}

#[derive(Clone)]
pub(crate) struct Many<T, O> {
    entries: Vec<(T, O)>,
    /// Where each target stands in `entries`. Kept from more than [`LINEAR_MAX`] entries until few are left.
    index: Option<HashMap<T, usize>>,
}

impl<T, O> Default for Targets<T, O> {
    fn default() -> Targets<T, O> {
        Targets::Few(None)
    }
}

impl<T: Copy + Eq + Hash, O> Targets<T, O> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Targets::Few(None))
    }

    pub(crate) fn as_slice(&self) -> &[(T, O)] {
        match self {
            Targets::Few(few) => few.as_slice(),
            Targets::Many(many) => &many.entries,
        }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (T, O)> {
        self.as_slice().iter()
    }

    /// The options that `target` had.
    pub(crate) fn insert(&mut self, target: T, options: O) -> Option<O> {
        match self {
            Targets::Few(Some((only, had))) if *only == target => Some(std::mem::replace(had, options)),
            Targets::Few(few) => {
                let new = Some((target, options));
                *self = match few.take() {
                    None => Targets::Few(new),
                    first => {
                        let entries = first.into_iter().chain(new).collect();
                        Targets::Many(Box::new(Many { entries, index: None }))
                    }
                };
                None
            }
            Targets::Many(many) => many.insert(target, options),
        }
    }

    /// The place that it had, which the last one has now, and its options.
    pub(crate) fn remove(&mut self, target: T) -> Option<(usize, O)> {
        match self {
            Targets::Few(few) => few.take_if(|(only, _)| *only == target).map(|(_, options)| (0, options)),
            Targets::Many(many) => {
                let removed = many.remove(target)?;
                if many.entries.len() == 1 {
                    *self = Targets::Few(many.entries.pop());
                }
                Some(removed)
            }
        }
    }
}

impl<T: Copy + Eq + Hash, O> Many<T, O> {
    fn insert(&mut self, target: T, options: O) -> Option<O> {
        if let Some(at) = self.position(target) {
            return Some(std::mem::replace(&mut self.entries[at].1, options));
        }
        if let Some(index) = &mut self.index {
            index.insert(target, self.entries.len());
        }
        self.entries.push((target, options));
        if self.index.is_none() && self.entries.len() > LINEAR_MAX {
            let places = self.entries.iter().enumerate().map(|(at, (target, _))| (*target, at));
            self.index = Some(places.collect());
        }
        None
    }

    fn remove(&mut self, target: T) -> Option<(usize, O)> {
        let at = self.position(target)?;
        let (_, options) = self.entries.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&target);
            if let Some((moved, _)) = self.entries.get(at) {
                index.insert(*moved, at);
            }
        }
        self.shrink();
        Some((at, options))
    }

    fn position(&self, target: T) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&target).copied(),
            None => self.entries.iter().position(|(entry, _)| *entry == target),
        }
    }

    /// Well below the point of growth, so that one target coming and going costs nothing.
    fn shrink(&mut self) {
        let len = self.entries.len();
        if len <= LINEAR_MAX / 2 {
            self.index = None;
        }
        if len * 4 <= self.entries.capacity() {
            self.entries.shrink_to(len * 2);
            if let Some(index) = &mut self.index {
                index.shrink_to(len * 2);
            }
        }
    }
}
