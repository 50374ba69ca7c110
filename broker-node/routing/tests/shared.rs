//! Shared subscriptions: groups, and the member of each to which a message goes.

use revoq_mqtt::{Topic, TopicFilter};
use revoq_routing::{Draw, HashKeys, Shared, Strategy, stable_hash};

/// As good as random: nobody attacks.
fn keys() -> HashKeys {
    HashKeys::from([1, 2, 3, 4])
}

fn filter(text: &str) -> TopicFilter {
    text.parse().expect("a filter")
}

fn draw(random: u64) -> Draw {
    Draw { publisher: stable_hash(b"device-1"), random }
}

/// Members 1 to `count` of one group on `a/#`.
fn group(strategy: Strategy, count: u32) -> Shared<u32, u8> {
    let mut shared = Shared::new(strategy, keys());
    for target in 1..=count {
        assert_eq!(shared.subscribe(&filter("$share/g/a/#"), target, 0), None);
    }
    shared
}

/// Who of each group gets a message, when only those whom `refuses` names refuse it.
fn taken_but(shared: &Shared<u32, u8>, topic: &str, refuses: &[u32]) -> Vec<u32> {
    let topic: Topic = topic.parse().expect("a topic");
    let mut taken = Vec::new();
    let groups = shared.offer(&topic, draw(u64::MAX / 2), |target, _, _| {
        let takes = !refuses.contains(&target);
        taken.extend(takes.then_some(target));
        takes
    });
    assert_eq!(groups, taken.len());
    taken.sort_unstable();
    taken
}

fn taken(shared: &Shared<u32, u8>, topic: &str) -> Vec<u32> {
    taken_but(shared, topic, &[])
}

#[test]
fn members_take_turns() {
    for strategy in [Strategy::RoundRobin, Strategy::LocalFirst] {
        let shared = group(strategy, 3);
        let turns: Vec<_> = (0..6).flat_map(|_| taken(&shared, "a/b")).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
        assert_eq!(taken(&shared, "b"), []);
    }
}

#[test]
fn one_that_is_passed_over_does_not_give_its_turns_to_its_neighbour() {
    let shared = group(Strategy::RoundRobin, 3);
    let turns: Vec<_> = (0..6).flat_map(|_| taken_but(&shared, "a/b", &[2])).collect();
    assert_eq!(turns, [1, 3, 1, 3, 1, 3]);
}

#[test]
fn turns_go_on_when_members_come_and_go() {
    let mut shared = group(Strategy::RoundRobin, 3);
    assert_eq!((taken(&shared, "a"), taken(&shared, "a")), (vec![1], vec![2]));
    assert!(shared.unsubscribe(&filter("$share/g/a/#"), 1));
    assert_eq!(taken(&shared, "a"), [3], "its turn, wherever it stands now");
    shared.subscribe(&filter("$share/g/a/#"), 4, 0);
    let mut turns: Vec<_> = (0..3).flat_map(|_| taken(&shared, "a")).collect();
    turns.sort_unstable();
    assert_eq!(turns, [2, 3, 4]);
}

#[test]
fn a_sticky_group_keeps_its_member() {
    let mut shared = group(Strategy::Sticky, 3);
    assert_eq!((taken(&shared, "a"), taken(&shared, "a/b")), (vec![1], vec![1]));
    assert_eq!(taken_but(&shared, "a", &[1]), [2]);
    assert_eq!((taken(&shared, "a"), taken(&shared, "a")), (vec![2], vec![2]), "also when 1 could again");
    assert_eq!(taken_but(&shared, "a", &[2]), [3]);
    assert!(shared.unsubscribe(&filter("$share/g/a/#"), 1));
    assert_eq!(taken(&shared, "a"), [3], "another one left");
    assert!(shared.unsubscribe(&filter("$share/g/a/#"), 3));
    assert_eq!((taken(&shared, "a"), taken(&shared, "a")), (vec![2], vec![2]));
}

#[test]
fn hashes_go_by_publisher_or_topic() {
    let shared = group(Strategy::HashTopic, 5);
    let by_topic: Vec<_> = (0..20).map(|n| taken(&shared, &format!("a/{n}"))).collect();
    assert!((0..20).all(|n| taken(&shared, &format!("a/{n}")) == by_topic[n]));
    assert!(by_topic.iter().any(|other| *other != by_topic[0]));
    let shared = group(Strategy::HashClientId, 5);
    let by_publisher = taken(&shared, "a/0");
    assert!((0..20).all(|n| taken(&shared, &format!("a/{n}")) == by_publisher));
}

#[test]
fn each_group_gets_its_own_copy() {
    let mut shared = Shared::new(Strategy::RoundRobin, keys());
    for (target, text) in
        [(1, "$share/g/a"), (2, "$share/h/a"), (3, "$share/g/#"), (4, "$queue/a"), (5, "$queue/+")]
    {
        assert_eq!(shared.subscribe(&filter(text), target, 0), None);
    }
    assert_eq!((taken(&shared, "a"), taken(&shared, "a/b"), shared.len()), (vec![1, 2, 3, 4, 5], vec![3], 5));
    assert_eq!(taken_but(&shared, "a", &[1, 4]), [2, 3, 5]);
    assert_eq!(taken(&shared, "$SYS"), [], "as of filters that are not shared");
}

#[test]
fn each_member_is_asked_once_and_once_more_until_one_takes_it() {
    for strategy in Strategy::ALL {
        let shared = group(strategy, 4);
        let mut asked = Vec::new();
        let topic: Topic = "a".parse().expect("a topic");
        let refuse = |target, _: &u8, again| {
            asked.push((again, target));
            false
        };
        assert_eq!(shared.offer(&topic, draw(u64::MAX), refuse), 0);
        assert!(asked.is_sorted_by_key(|(again, _)| *again), "{strategy:?}");
        asked.sort_unstable();
        assert_eq!(asked, [false, true].map(|again| [1, 2, 3, 4].map(|target| (again, target))).concat());
        assert_eq!(taken_but(&shared, "a", &[1, 2, 4]), [3], "{strategy:?}");
    }
}

#[test]
fn groups_end_with_their_last_member() {
    let mut shared = Shared::new(Strategy::RoundRobin, keys());
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
