//! Shared subscriptions (MQTT 5.0 section 4.8.2): groups, and who of each gets a message.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use revoq_mqtt::{Topic, TopicFilter, matches};

use crate::Table;
use crate::hash::{HashKeys, Names};
use crate::strategy::{Draw, Strategy, jump, scale, stable_hash};
use crate::targets::Targets;

/// The members of each shared subscription, with options `O`.
///
/// Filters are whole: `$share/NAME/FILTER`, or `$queue/FILTER` for the group without a name. Each filter is a group of its
/// own; one member of it gets a message, by a [`Strategy`] that is the same for all groups.
pub struct Shared<T, O> {
    strategy: Strategy,
    table: Table<usize, ()>,
    /// The place of each group, by its whole filter.
    places: Names<TopicFilter, usize>,
    groups: Vec<Group<T, O>>,
    /// Places without a group.
    free: Vec<usize>,
    members: usize,
}

struct Group<T, O> {
    members: Targets<T, O>,
    /// The member whose turn it is, or that has the group for itself; modulo their number.
    turn: AtomicUsize,
}

impl<T, O> Default for Group<T, O> {
    fn default() -> Group<T, O> {
        Group { members: Targets::default(), turn: AtomicUsize::new(0) }
    }
}

impl<T, O> Shared<T, O> {
    /// No group, and how members will be chosen.
    #[must_use]
    pub fn new(strategy: Strategy, keys: HashKeys) -> Shared<T, O> {
        Shared {
            strategy,
            table: Table::new(keys),
            places: Names::with_hasher(keys.hasher()),
            groups: Vec::new(),
            free: Vec::new(),
            members: 0,
        }
    }

    /// Groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Members of all groups: subscriptions.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl<T: Copy + Eq + Hash, O: Clone> Shared<T, O> {
    /// Makes `target` a member; the options that it had as one, if any. Does nothing where `filter` is no shared
    /// subscription.
    pub fn subscribe(&mut self, filter: &TopicFilter, target: T, options: O) -> Option<O> {
        let inner = filter.inner()?;
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
        let replaced = self.groups[place].join(target, options);
        self.members += usize::from(replaced.is_none());
        replaced
    }

    /// Whether `target` was a member.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, target: T) -> bool {
        let Some(place) = self.places.get(filter).copied() else { return false };
        let group = &mut self.groups[place];
        let removed = group.leave(target);
        self.members -= usize::from(removed);
        if group.members.is_empty() {
            *group = Group::default();
            self.places.remove(filter);
            self.free.push(place);
            if let Some(inner) = filter.inner() {
                self.table.unsubscribe(&inner, place);
            }
        }
        removed
    }

    /// Offers a message to the members of every group that matches `topic`, one by one, until `take` says that a member
    /// has it: first to the one that the strategy chose. Where nobody takes it, all of a group are asked once more, with true:
    /// for members that should only have it then. The number of groups in which one has it.
    pub fn offer(&self, topic: &Topic, draw: Draw, mut take: impl FnMut(T, &O, bool) -> bool) -> usize {
        let key = self.key(topic, draw);
        let mut taken = 0;
        self.table.matches(topic, |place, ()| {
            taken += usize::from(self.groups[place].offer(self.strategy, key, &mut take));
        });
        taken
    }

    /// Offers a message to the members of one group, if it matches `topic`: as [`Shared::offer`] does.
    pub fn offer_group(
        &self,
        filter: &TopicFilter,
        topic: &Topic,
        draw: Draw,
        mut take: impl FnMut(T, &O, bool) -> bool,
    ) -> bool {
        let matched = filter.inner().is_some_and(|inner| matches(&inner, topic));
        let group = self.places.get(filter).filter(|_| matched).map(|place| &self.groups[*place]);
        group.is_some_and(|group| group.offer(self.strategy, self.key(topic, draw), &mut take))
    }

    fn key(&self, topic: &Topic, draw: Draw) -> u64 {
        match self.strategy {
            Strategy::RoundRobin | Strategy::LocalFirst | Strategy::Sticky => 0,
            Strategy::Random => draw.random,
            Strategy::HashClientId => draw.publisher,
            Strategy::HashTopic => stable_hash(topic.as_bytes()),
        }
    }
}

impl<T: Copy + Eq + Hash, O> Group<T, O> {
    fn join(&mut self, target: T, options: O) -> Option<O> {
        self.settle();
        self.members.insert(target, options)
    }

    fn leave(&mut self, target: T) -> bool {
        self.settle();
        let last = self.members.as_slice().len() - 1;
        let Some((at, _)) = self.members.remove(target) else { return false };
        // The last one has moved to the place of the one that left, and takes its turn along.
        let turn = self.turn.get_mut();
        if *turn == last {
            *turn = if at == last { 0 } else { at };
        }
        true
    }

    /// Whose turn it is must not depend on how many turns there have been, once the number of members changes.
    fn settle(&mut self) {
        *self.turn.get_mut() %= self.members.as_slice().len().max(1);
    }

    /// True if a member has it.
    fn offer(&self, strategy: Strategy, key: u64, mut take: impl FnMut(T, &O, bool) -> bool) -> bool {
        let members = self.members.as_slice();
        let first = match strategy {
            Strategy::RoundRobin | Strategy::LocalFirst => {
                self.turn.fetch_add(1, Ordering::Relaxed) % members.len()
            }
            Strategy::Sticky => self.turn.load(Ordering::Relaxed) % members.len(),
            Strategy::Random => scale(key, members.len()),
            Strategy::HashClientId | Strategy::HashTopic => jump(key, members.len()),
        };
        let (before, from) = members.split_at(first);
        let mut ask =
            |again| from.iter().chain(before).position(|(target, options)| take(*target, options, again));
        let passed = ask(false).or_else(|| ask(true));
        match (strategy, passed) {
            (_, None) => return false,
            // The turns of those that were passed over are used up, or the next one would have them all.
            (Strategy::RoundRobin | Strategy::LocalFirst, Some(passed @ 1..)) => {
                self.turn.fetch_add(passed, Ordering::Relaxed);
            }
            (Strategy::Sticky, Some(passed @ 1..)) => self.turn.store(first + passed, Ordering::Relaxed),
            _ => {}
        }
        true
    }
}
