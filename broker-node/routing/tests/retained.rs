//! Retained messages against the naive matcher.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use revoq_mqtt::{Topic, TopicFilter, matches};
use revoq_routing::{RETAINED_LEVELS_MAX, Retained};

fn topic(text: &str) -> Topic {
    text.parse().expect("a topic")
}

/// Everything that matches, by pages of `page`.
fn found(retained: &Retained<u32>, filter: &str, page: usize) -> Vec<(String, u32)> {
    let filter: TopicFilter = filter.parse().expect("a filter");
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let mut last = None;
        let mut count = 0;
        retained.matches(&filter, after.as_ref(), |topic, value| {
            count += 1;
            found.push((topic.to_string(), *value));
            last = Some(topic.clone());
            count < page
        });
        match last {
            Some(last) if count == page => after = Some(last),
            _ => return found,
        }
    }
}

fn names(retained: &Retained<u32>, filter: &str) -> Vec<String> {
    found(retained, filter, 2).into_iter().map(|(topic, _)| topic).collect()
}

#[test]
fn the_last_value_is_kept_and_can_be_taken_out() {
    let mut retained = Retained::default();
    assert_eq!(retained.insert(&topic("a/b"), 1), Ok(None));
    assert_eq!(retained.insert(&topic("a/b"), 2), Ok(Some(1)));
    assert_eq!(retained.insert(&topic("a"), 3), Ok(None));
    assert_eq!((retained.len(), retained.get(&topic("a/b")), retained.get(&topic("b"))), (2, Some(&2), None));
    assert_eq!((retained.remove(&topic("a/b")), retained.remove(&topic("a/b"))), (Some(2), None));
    assert_eq!((retained.remove(&topic("x/y")), retained.len()), (None, 1));
    assert_eq!(found(&retained, "#", 10), [("a".to_owned(), 3)]);
    assert_eq!(retained.remove(&topic("a")), Some(3));
    assert!(retained.is_empty());
}

#[test]
fn wildcards_find_in_order_and_hide_reserved_topics() {
    let mut retained = Retained::default();
    for (value, name) in (0..).zip(["a", "a/b", "a/b/c", "a/c", "/", "b", "$SYS/a", "$SYS"]) {
        assert_eq!(retained.insert(&topic(name), value), Ok(None));
    }
    assert_eq!(names(&retained, "#"), ["/", "a", "a/b", "a/b/c", "a/c", "b"]);
    assert_eq!(names(&retained, "a/#"), ["a", "a/b", "a/b/c", "a/c"]);
    assert_eq!(names(&retained, "+"), ["a", "b"]);
    assert_eq!(names(&retained, "+/+"), ["/", "a/b", "a/c"]);
    assert_eq!(names(&retained, "$SYS/#"), ["$SYS", "$SYS/a"]);
    assert_eq!(names(&retained, "a/b/c"), ["a/b/c"]);
}

#[test]
fn a_topic_that_is_too_deep_is_not_kept() {
    let mut retained = Retained::default();
    let deepest = topic(&vec!["a"; RETAINED_LEVELS_MAX].join("/"));
    let deeper = topic(&vec!["a"; RETAINED_LEVELS_MAX + 1].join("/"));
    assert_eq!((retained.insert(&deepest, 1), retained.insert(&deeper, 2)), (Ok(None), Err(2)));
    assert_eq!((retained.remove(&deeper), retained.remove(&deepest)), (None, Some(1)));
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just("a"), Just("b"), Just("ab"), Just("$s")].prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    vec(level(), 1..5).prop_map(|levels| levels.join("/")).prop_filter("a topic", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+".to_owned())];
    (vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, multi)| {
            levels.extend(multi.then(|| "#".to_owned()));
            levels.join("/")
        })
        .prop_filter("a filter", |filter| !filter.is_empty())
}

proptest! {
    #[test]
    fn it_finds_what_the_naive_matcher_finds(
        steps in vec((name(), any::<Option<u32>>()), 0..30),
        filter in filter(),
        page in 1usize..5,
    ) {
        let mut retained = Retained::default();
        let mut naive = BTreeMap::new();
        for (name, value) in steps {
            let topic = topic(&name);
            match value {
                Some(value) => prop_assert_eq!(retained.insert(&topic, value), Ok(naive.insert(name, value))),
                None => prop_assert_eq!(retained.remove(&topic), naive.remove(&name)),
            }
        }
        let parsed: TopicFilter = filter.parse().expect("a filter");
        let mut expected: Vec<_> =
            naive.iter().filter(|(name, _)| matches(&parsed, &topic(name))).map(|(name, value)| (name.clone(), *value)).collect();
        expected.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
        prop_assert_eq!(found(&retained, &filter, page), expected);
        prop_assert_eq!(retained.len(), naive.len());
    }
}
