use std::hash::Hash;

use revoq_mqtt::{Topic, TopicFilter};

use crate::exact::Exact;
use crate::hash::HashKeys;
use crate::trie::Trie;

/// Which target subscribed to what, with options `O`.
///
/// A target subscribes to a filter at most once; a second time replaces its options ([MQTT-3.8.4-3]). Filters are
/// taken as they are: for a shared subscription the caller passes the filter behind the share name
/// ([`TopicFilter::inner`]) and keeps the group itself.
#[derive(Clone)]
pub struct Table<T, O> {
    exact: Exact<T, O>,
    wildcard: Trie<T, O>,
    subscriptions: usize,
}

impl<T: Copy + Eq + Hash, O: Clone> Table<T, O> {
    /// An empty table.
    pub fn new(keys: HashKeys) -> Table<T, O> {
        Table { exact: Exact::new(keys), wildcard: Trie::new(keys), subscriptions: 0 }
    }

    /// Subscribes `target`; the options that it had on this filter, if any.
    pub fn subscribe(&mut self, filter: &TopicFilter, target: T, options: O) -> Option<O> {
        let replaced = if filter.has_wildcard() {
            self.wildcard.insert(filter, target, options)
        } else {
            self.exact.insert(filter.as_bytes(), target, options)
        };
        self.subscriptions += usize::from(replaced.is_none());
        replaced
    }

    /// Whether `target` was subscribed to this very filter.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, target: T) -> bool {
        let removed = if filter.has_wildcard() {
            self.wildcard.remove(filter, target)
        } else {
            self.exact.remove(filter.as_bytes(), target)
        };
        self.subscriptions -= usize::from(removed.is_some());
        removed.is_some()
    }

    /// Ends these subscriptions of a target that is gone.
    pub fn remove<'a>(&mut self, target: T, filters: impl IntoIterator<Item = &'a TopicFilter>) {
        for filter in filters {
            self.unsubscribe(filter, target);
        }
    }

    /// Calls `each` for every subscription that matches `topic` (MQTT 4.7): once for each filter, so a target with
    /// overlapping subscriptions is named several times (3.3.4).
    ///
    /// Filters that start with a wildcard don't match topics that start with `$` ([MQTT-4.7.2-1]).
    pub fn matches(&self, topic: &Topic, mut each: impl FnMut(T, &O)) {
        self.exact.matches(topic.as_bytes(), &mut each);
        self.wildcard.matches(topic, each);
    }

    /// Subscriptions: pairs of a filter and a target.
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Distinct filters.
    pub fn filters(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }
}
