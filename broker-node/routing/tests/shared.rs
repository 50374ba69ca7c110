//! Shared subscriptions: one member for each message, in turn.

use revoq_mqtt::{Topic, TopicFilter};
use revoq_routing::Shared;

fn filter(text: &str) -> TopicFilter {
    text.parse().expect("a filter")
}

/// Who of each group gets a message, when nobody refuses it.
fn taken(shared: &Shared<u32, u8>, topic: &str) -> Vec<u32> {
    let topic: Topic = topic.parse().expect("a topic");
    let mut taken = Vec::new();
    shared.matches(&topic, |mut members| taken.extend(members.next().map(|(target, _)| *target)));
    taken.sort_unstable();
    taken
}

#[test]
fn members_take_turns() {
    let mut shared = Shared::default();
    for target in 1..=3 {
        assert_eq!(shared.subscribe(&filter("$share/g/a/+"), target, 0), None);
    }
    let turns: Vec<_> = (0..6).flat_map(|_| taken(&shared, "a/b")).collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
    assert_eq!(taken(&shared, "b"), []);
}

#[test]
fn each_group_gets_its_own_copy() {
    let mut shared = Shared::default();
    for (target, text) in
        [(1, "$share/g/a"), (2, "$share/h/a"), (3, "$share/g/#"), (4, "$queue/a"), (5, "$queue/+")]
    {
        assert_eq!(shared.subscribe(&filter(text), target, 0), None);
    }
    assert_eq!((taken(&shared, "a"), taken(&shared, "a/b"), shared.len()), (vec![1, 2, 3, 4, 5], vec![3], 5));
    assert_eq!(taken(&shared, "$SYS"), [], "as of filters that are not shared");
}

#[test]
fn the_others_may_take_the_place_of_who_cannot() {
    let mut shared = Shared::default();
    for target in 1..=3 {
        shared.subscribe(&filter("$share/g/a"), target, 0);
    }
    let topic: Topic = "a".parse().expect("a topic");
    let mut orders: Vec<Vec<u32>> = Vec::new();
    for _ in 0..2 {
        shared.matches(&topic, |members| orders.push(members.map(|(target, _)| *target).collect()));
    }
    assert_eq!(orders, [[1, 2, 3], [2, 3, 1]]);
}

#[test]
fn groups_end_with_their_last_member() {
    let mut shared = Shared::default();
    let group = filter("$share/g/a");
    assert_eq!(shared.subscribe(&group, 1, 7), None);
    assert_eq!(shared.subscribe(&group, 1, 8), Some(7), "a second time replaces the options");
    shared.subscribe(&group, 2, 0);
    assert!(shared.unsubscribe(&group, 1) && !shared.unsubscribe(&group, 1));
    assert!(!shared.unsubscribe(&filter("$share/h/a"), 2));
    assert_eq!((taken(&shared, "a"), taken(&shared, "a")), (vec![2], vec![2]));
    assert!(shared.unsubscribe(&group, 2) && shared.is_empty());
    assert_eq!(taken(&shared, "a"), []);
    shared.subscribe(&filter("$share/h/b"), 3, 0);
    assert_eq!((taken(&shared, "a"), taken(&shared, "b")), (vec![], vec![3]), "its place is used again");
    assert_eq!(shared.subscribe(&filter("a"), 4, 0), None);
    assert_eq!(taken(&shared, "a"), [], "no shared subscription");
}
