//! Shared subscriptions (MQTT 5.0 section 4.8.2): groups, and whose turn it is.

use std::collections::HashMap;
use std::hash::Hash;
use std::iter::Chain;
use std::slice::Iter;
use std::sync::atomic::{AtomicUsize, Ordering};

use revoq_mqtt::{Topic, TopicFilter};

use crate::Table;
use crate::targets::Targets;

/// The members of each shared subscription, with options `O`.
///
/// Filters are whole: `$share/NAME/FILTER`, or `$queue/FILTER` for the group without a name. Each filter is a group of its
/// own; within it members take turns.
pub struct Shared<T, O> {
    table: Table<usize, ()>,
    /// The place of each group, by its whole filter.
    places: HashMap<TopicFilter, usize>,
    groups: Vec<Group<T, O>>,
    /// Places without a group.
    free: Vec<usize>,
}

/// The members of a group, from the one on whose turn it is.
pub type Turns<'a, T, O> = Chain<Iter<'a, (T, O)>, Iter<'a, (T, O)>>;

struct Group<T, O> {
    members: Targets<T, O>,
    next: AtomicUsize,
}

impl<T, O> Default for Shared<T, O> {
    fn default() -> Shared<T, O> {
        Shared { table: Table::default(), places: HashMap::new(), groups: Vec::new(), free: Vec::new() }
    }
}

impl<T, O> Default for Group<T, O> {
    fn default() -> Group<T, O> {
        Group { members: Targets::default(), next: AtomicUsize::new(0) }
    }
}

impl<T: Copy + Eq + Hash, O: Clone> Shared<T, O> {
    /// The filter behind `$share/NAME/` or `$queue/`. `None`: it is no shared subscription.
    #[must_use]
    pub fn filter(filter: &TopicFilter) -> Option<TopicFilter> {
        filter.share().map(|(_, inner)| inner).or_else(|| filter.queue())
    }

    /// Groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Makes `target` a member; the options that it had as one, if any. Does nothing where `filter` is no shared
    /// subscription.
    pub fn subscribe(&mut self, filter: &TopicFilter, target: T, options: O) -> Option<O> {
        let inner = Self::filter(filter)?;
        let place = match self.places.get(filter) {
            Some(place) => *place,
            None => {
                let place = self.free.pop().unwrap_or_else(|| {
                    self.groups.push(Group::default());
                    self.groups.len() - 1
                });
                self.places.insert(filter.detached(), place);
                self.table.subscribe(&inner, place, ());
                place
            }
        };
        self.groups[place].members.insert(target, options)
    }

    /// Whether `target` was a member.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, target: T) -> bool {
        let Some(place) = self.places.get(filter).copied() else { return false };
        let group = &mut self.groups[place];
        let removed = group.members.remove(target).is_some();
        if group.members.is_empty() {
            *group = Group::default();
            self.places.remove(filter);
            self.free.push(place);
            if let Some(inner) = Self::filter(filter) {
                self.table.unsubscribe(&inner, place);
            }
        }
        removed
    }

    /// Calls `each` once for every group that matches `topic`, with its members: the one whose turn it is, and then those
    /// that may take its place if it cannot.
    pub fn matches<'a>(&'a self, topic: &Topic, mut each: impl FnMut(Turns<'a, T, O>)) {
        self.table.matches(topic, |place, ()| {
            let group = &self.groups[place];
            let members = group.members.as_slice();
            let turn = group.next.fetch_add(1, Ordering::Relaxed) % members.len().max(1);
            let (before, from) = members.split_at(turn);
            each(from.iter().chain(before));
        });
    }
}
