//! Table, shared groups and retained messages against the naive matcher.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use revoq_mqtt::{Topic, TopicFilter, matches};
use revoq_routing::{Draw, HashKeys, RETAINED_LEVELS_MAX, Retained, Shared, Strategy, Table};

use super::input::{Input, Outcome};

/// As good as random: nobody attacks.
fn keys() -> HashKeys {
    HashKeys::from([1, 2, 3, 4])
}

#[derive(Default)]
struct Naive {
    subscriptions: BTreeMap<(TopicFilter, u8), u8>,
    members: BTreeMap<TopicFilter, BTreeSet<u8>>,
    retained: BTreeMap<Topic, u8>,
}

struct Side {
    table: Table<u8, u8>,
    shared: Shared<u8, TopicFilter>,
    retained: Retained<u8>,
    naive: Naive,
    outcome: Outcome,
}

/// The first byte is the strategy of shared subscriptions; then come actions. A filter is whatever parses as one.
pub(super) fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let strategy = Strategy::ALL[usize::from(input.below(6).unwrap_or(0))];
    let mut side = Side {
        table: Table::new(keys()),
        shared: Shared::new(strategy, keys()),
        retained: Retained::default(),
        naive: Naive::default(),
        outcome: Outcome::default(),
    };
    while let Some(action) = input.below(8) {
        side.outcome.note(action);
        side.act(action, &mut input);
        side.check_sizes();
    }
    side.outcome
}

impl Side {
    fn act(&mut self, action: u8, input: &mut Input<'_>) {
        let target = input.below(20).unwrap_or(0);
        let name = Bytes::from(name(input));
        match (action, TopicFilter::try_from(name.clone()), Topic::try_from(name)) {
            (0..=2, Ok(filter), _) => self.subscribe(&filter, target),
            (3, Ok(filter), _) => self.unsubscribe(&filter, target),
            (4, _, Ok(topic)) => self.retain(&topic, target),
            (5, Ok(filter), _) => self.read(&filter, usize::from(target % 4) + 1),
            (_, _, Ok(topic)) => self.publish(&topic, target),
            _ => self.outcome.note("neither topic nor filter"),
        }
    }

    fn subscribe(&mut self, filter: &TopicFilter, target: u8) {
        if filter.is_shared() {
            let is_new = self.naive.members.entry(filter.clone()).or_default().insert(target);
            let replaced = self.shared.subscribe(filter, target, filter.clone());
            assert_eq!(replaced.is_none(), is_new, "{filter}");
        } else {
            let before = self.naive.subscriptions.insert((filter.clone(), target), target);
            assert_eq!(self.table.subscribe(filter, target, target), before, "{filter}");
        }
    }

    fn unsubscribe(&mut self, filter: &TopicFilter, target: u8) {
        if filter.is_shared() {
            let members = self.naive.members.get_mut(filter);
            let removed = members.is_some_and(|members| members.remove(&target));
            self.naive.members.retain(|_, members| !members.is_empty());
            assert_eq!(self.shared.unsubscribe(filter, target), removed, "{filter}");
        } else {
            let removed = self.naive.subscriptions.remove(&(filter.clone(), target)).is_some();
            assert_eq!(self.table.unsubscribe(filter, target), removed, "{filter}");
        }
    }

    fn retain(&mut self, topic: &Topic, value: u8) {
        if value == 0 {
            assert_eq!(self.retained.remove(topic), self.naive.retained.remove(topic), "{topic}");
        } else if topic.levels().count() > RETAINED_LEVELS_MAX {
            assert_eq!(self.retained.insert(topic, value), Err(value), "{topic}");
        } else {
            let before = self.naive.retained.insert(topic.clone(), value);
            assert_eq!(self.retained.insert(topic, value), Ok(before), "{topic}");
        }
        assert_eq!(self.retained.get(topic), self.naive.retained.get(topic), "{topic}");
    }

    /// Retained messages, page by page.
    fn read(&mut self, filter: &TopicFilter, page: usize) {
        let mut found: Vec<(Topic, u8)> = Vec::new();
        loop {
            let (after, before) = (found.last().map(|(topic, _)| topic.clone()), found.len());
            self.retained.matches(filter, after.as_ref(), |topic, value| {
                found.push((topic.clone(), *value));
                found.len() < before + page
            });
            if found.len() < before + page {
                break;
            }
        }
        let matching = self.naive.retained.iter().filter(|(topic, _)| matches(filter, topic));
        let mut expected: Vec<(Topic, u8)> = matching.map(|(topic, value)| (topic.clone(), *value)).collect();
        expected.sort_by(|(one, _), (other, _)| one.levels().cmp(other.levels()));
        assert_eq!(found, expected, "{filter} by {page}");
        self.outcome.note(("read", found.len().min(4)));
    }

    fn publish(&mut self, topic: &Topic, publisher: u8) {
        let mut found: Vec<u8> = Vec::new();
        self.table.matches(topic, |target, options| {
            assert_eq!(target, *options, "{topic}");
            found.push(target);
        });
        found.sort_unstable();
        let matching = self.naive.subscriptions.keys().filter(|(filter, _)| matches(filter, topic));
        let mut expected: Vec<u8> = matching.map(|(_, target)| *target).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{topic}");
        let groups = self.offer(topic, publisher);
        self.outcome.note(("published", found.len().min(4), groups.min(4)));
    }

    /// Targets below 5 take nothing.
    fn offer(&mut self, topic: &Topic, publisher: u8) -> usize {
        let draw = Draw { publisher: u64::from(publisher), random: u64::from(publisher) << 56 };
        let mut taken: BTreeSet<TopicFilter> = BTreeSet::new();
        let members = &self.naive.members;
        let groups = self.shared.offer(topic, draw, |target, filter, _| {
            assert!(members.get(filter).is_some_and(|members| members.contains(&target)), "{filter}");
            target >= 5 && taken.insert(filter.clone())
        });
        let able = members.iter().filter(|(_, members)| members.iter().any(|member| *member >= 5));
        let matching = able.filter(|(filter, _)| matches(&filter.inner().expect("shared"), topic));
        let expected: BTreeSet<TopicFilter> = matching.map(|(filter, _)| filter.clone()).collect();
        assert_eq!((groups, &taken), (expected.len(), &expected), "{topic}");
        groups
    }

    fn check_sizes(&self) {
        let filters: BTreeSet<&TopicFilter> =
            self.naive.subscriptions.keys().map(|(filter, _)| filter).collect();
        assert_eq!((self.table.len(), self.table.filters()), (self.naive.subscriptions.len(), filters.len()));
        assert_eq!(
            (self.shared.len(), self.retained.len()),
            (self.naive.members.len(), self.naive.retained.len())
        );
    }
}

/// Levels of a small alphabet, so that filters and topics meet, and of whatever the input says.
fn name(input: &mut Input<'_>) -> Vec<u8> {
    let mut levels: Vec<&[u8]> = Vec::new();
    while let Some(byte) = input.byte() {
        levels.push(match byte % 12 {
            0 => b"",
            1 | 2 => b"a",
            3 => b"b",
            4 => b"$x",
            5 | 6 => b"+",
            7 => b"#",
            8 => b"$share/g",
            9 => b"$queue",
            10 => input.bytes(),
            _ => break,
        });
        // Three in four go on.
        if byte >= 192 {
            break;
        }
    }
    levels.join(&b'/')
}
