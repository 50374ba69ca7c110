//! The table against the naive matcher.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use revoq_mqtt::{Topic, TopicFilter, matches};
use revoq_routing::{HashKeys, Table};

/// As good as random: nobody attacks.
fn keys() -> HashKeys {
    HashKeys::from([1, 2, 3, 4])
}

fn filter(text: &str) -> TopicFilter {
    text.parse().expect("a filter")
}

fn matched(table: &Table<u32, u8>, topic: &str) -> Vec<(u32, u8)> {
    let mut found = Vec::new();
    let topic: Topic = topic.parse().expect("a topic");
    table.matches(&topic, |target, options| found.push((target, *options)));
    found.sort_unstable();
    found
}

#[test]
fn exact_and_wildcard_filters_match() {
    let mut table = Table::new(keys());
    for (target, text) in ["a/b", "a/+", "a/#", "#", "+/b", "+/+/c", "a", "/", "+/+"].into_iter().enumerate()
    {
        assert_eq!(table.subscribe(&filter(text), u32::try_from(target).expect("few"), 0), None);
    }
    let targets = |topic| matched(&table, topic).into_iter().map(|(target, _)| target).collect::<Vec<_>>();
    assert_eq!(targets("a/b"), [0, 1, 2, 3, 4, 8]);
    assert_eq!(targets("a"), [2, 3, 6]);
    assert_eq!(targets("x/y/c"), [3, 5]);
    assert_eq!(targets("/"), [3, 7, 8]);
    assert_eq!((table.len(), table.filters()), (9, 9));
}

#[test]
fn reserved_topics_are_hidden_from_leading_wildcards() {
    let mut table = Table::new(keys());
    for (target, text) in ["#", "+/a", "+/#", "$SYS/#", "$SYS/+", "$SYS/a"].into_iter().enumerate() {
        table.subscribe(&filter(text), u32::try_from(target).expect("few"), 0);
    }
    assert_eq!(matched(&table, "$SYS/a"), [(3, 0), (4, 0), (5, 0)]);
    assert_eq!(matched(&table, "$SYS"), [(3, 0)]);
    assert_eq!(matched(&table, "x/a"), [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn a_second_subscription_replaces_the_options() {
    for text in ["a/b", "a/+"] {
        let mut table = Table::new(keys());
        assert_eq!(table.subscribe(&filter(text), 1, 7), None);
        assert_eq!(table.subscribe(&filter(text), 1, 8), Some(7));
        assert_eq!(matched(&table, "a/b"), [(1, 8)]);
        assert_eq!((table.len(), table.filters()), (1, 1));
        assert!(!table.unsubscribe(&filter(text), 2) && !table.unsubscribe(&filter("a/#"), 1));
        assert!(table.unsubscribe(&filter(text), 1) && table.is_empty());
        assert_eq!((matched(&table, "a/b"), table.filters()), (Vec::new(), 0));
    }
}

#[test]
fn many_targets_on_one_filter() {
    for text in ["a/b", "a/#"] {
        let mut table = Table::new(keys());
        for target in 0..50_000 {
            table.subscribe(&filter(text), target, 0);
        }
        assert_eq!((matched(&table, "a/b").len(), table.len(), table.filters()), (50_000, 50_000, 1));
        for target in (0..50_000).filter(|target| target % 10_000 != 0) {
            assert!(table.unsubscribe(&filter(text), target));
        }
        let left = [0, 10_000, 20_000, 30_000, 40_000].map(|target| (target, 0));
        assert_eq!(matched(&table, "a/b"), left);
    }
}

#[test]
fn the_deepest_filter_needs_no_stack() {
    let deep = "a/".repeat(32_766);
    let mut table = Table::new(keys());
    let wildcard = filter(&format!("{deep}+"));
    table.subscribe(&wildcard, 1, 0);
    assert_eq!(matched(&table, &format!("{deep}x")), [(1, 0)]);
    assert_eq!(matched(&table.clone(), &format!("{deep}x/y")), []);
    assert!(table.unsubscribe(&wildcard, 1));
}

#[derive(Clone, Debug)]
enum Action {
    Subscribe(TopicFilter, u32, u8),
    Unsubscribe(TopicFilter, u32),
    Remove(u32),
    Publish(Topic),
}

fn action() -> impl Strategy<Value = Action> {
    let level = || prop::sample::select(vec!["", "a", "b", "c", "$x", "+", "+"]);
    let filters = || {
        (vec(level(), 0..5), any::<bool>()).prop_filter_map("empty", |(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            levels.join("/").parse::<TopicFilter>().ok()
        })
    };
    let topic = vec(prop::sample::select(vec!["", "a", "b", "c", "$x"]), 1..5)
        .prop_filter_map("empty", |levels| levels.join("/").parse::<Topic>().ok());
    prop_oneof![
        4 => (filters(), 0..40_u32, any::<u8>()).prop_map(|(filter, target, options)| {
            Action::Subscribe(filter, target, options)
        }),
        3 => (filters(), 0..40_u32).prop_map(|(filter, target)| Action::Unsubscribe(filter, target)),
        1 => (0..40_u32).prop_map(Action::Remove),
        4 => topic.prop_map(Action::Publish),
    ]
}

/// All subscriptions in one map, matched one by one.
#[derive(Default)]
struct Naive(BTreeMap<(TopicFilter, u32), u8>);

impl Naive {
    fn matched(&self, topic: &Topic) -> Vec<(u32, u8)> {
        let hits = self.0.iter().filter(|((filter, _), _)| matches(filter, topic));
        let mut found: Vec<(u32, u8)> = hits.map(|((_, target), options)| (*target, *options)).collect();
        found.sort_unstable();
        found
    }

    fn filters_of(&self, target: u32) -> Vec<TopicFilter> {
        self.0.keys().filter(|(_, owner)| *owner == target).map(|(filter, _)| filter.clone()).collect()
    }
}

fn run(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (mut table, mut naive) = (Table::new(keys()), Naive::default());
    for action in actions {
        match action {
            Action::Subscribe(filter, target, options) => {
                let replaced = naive.0.insert((filter.clone(), target), options);
                prop_assert_eq!(table.subscribe(&filter, target, options), replaced);
            }
            Action::Unsubscribe(filter, target) => {
                let removed = naive.0.remove(&(filter.clone(), target)).is_some();
                prop_assert_eq!(table.unsubscribe(&filter, target), removed);
            }
            Action::Remove(target) => {
                table.remove(target, &naive.filters_of(target));
                naive.0.retain(|(_, owner), _| *owner != target);
            }
            Action::Publish(topic) => {
                prop_assert_eq!(matched(&table, topic.as_str()), naive.matched(&topic), "{}", topic);
            }
        }
        let filters: BTreeSet<&TopicFilter> = naive.0.keys().map(|(filter, _)| filter).collect();
        prop_assert_eq!((table.len(), table.filters()), (naive.0.len(), filters.len()));
    }
    for target in 0..40 {
        table.remove(target, &naive.filters_of(target));
    }
    prop_assert!(table.is_empty() && table.filters() == 0);
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_the_naive_matcher(actions in vec(action(), 0..400)) {
        run(actions)?;
    }
}
