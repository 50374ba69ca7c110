//! Topic names and filters, and the yardstick of matching itself against another way to say it.

use proptest::prelude::*;
use revoq_mqtt::{Fault, Level, Topic, TopicFilter, matches};

use crate::generate;

fn matched(filter: &str, topic: &str) -> bool {
    matches(&filter.parse().expect("a filter"), &topic.parse().expect("a topic"))
}

#[test]
fn the_standards_examples() {
    // 4.7.1.2, 4.7.1.3, 4.7.2 and 4.7.3, the non-normative comments.
    let yes = [
        ("sport/tennis/player1/#", "sport/tennis/player1"),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
        ("sport/#", "sport"),
        ("#", "sport/tennis"),
        ("#", "/"),
        ("sport/tennis/+", "sport/tennis/player1"),
        ("sport/+", "sport/"),
        ("+/+", "/finance"),
        ("/+", "/finance"),
        ("+/tennis/#", "sport/tennis"),
        ("$SYS/#", "$SYS/monitor/Clients"),
        ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ("a/#", "a/$b"),
        ("a/+", "a/$b"),
    ];
    let no = [
        ("sport/tennis/+", "sport/tennis/player1/ranking"),
        ("sport/+", "sport"),
        ("+", "/finance"),
        ("#", "$SYS/monitor/Clients"),
        ("+/monitor/Clients", "$SYS/monitor/Clients"),
        ("+/#", "$SYS"),
        ("ACCOUNTS", "Accounts"),
        ("/a", "a"),
        ("a", "a/"),
    ];
    for (filter, topic) in yes {
        assert!(matched(filter, topic), "{filter} {topic}");
    }
    for (filter, topic) in no {
        assert!(!matched(filter, topic), "{filter} {topic}");
    }
}

#[test]
fn shares_are_taken_apart() {
    let filter: TopicFilter = "$share/group/a/+".parse().expect("legal");
    let (group, inner) = filter.share().expect("shared");
    assert_eq!((group.as_str(), inner.as_str()), ("group", "a/+"));
    assert_eq!(filter.inner(), Some(inner));
    for plain in
        ["a", "$share", "$shared/g/a", "$SYS/share/x", "a/$share/g/b", "$queue", "$queue/", "$queues/a"]
    {
        let plain: TopicFilter = plain.parse().expect("legal");
        assert_eq!((plain.share(), plain.inner(), plain.is_shared()), (None, None, false), "{plain}");
    }
    let queue: TopicFilter = "$queue/a".parse().expect("legal");
    assert_eq!(queue.inner().expect("a queue").as_str(), "a");
    assert!(filter.is_shared() && queue.is_shared());
}

#[test]
fn lengths_are_bounded() {
    assert_eq!("x".repeat(65_536).parse::<Topic>(), Err(Fault::StringTooLong));
    assert_eq!("x".repeat(65_536).parse::<TopicFilter>(), Err(Fault::StringTooLong));
    assert!("x/".repeat(32_767).parse::<Topic>().is_ok());
}

#[test]
fn levels() {
    let filter: TopicFilter = "/+/a/#".parse().expect("legal");
    let levels: Vec<Level<'_>> = filter.levels().collect();
    assert_eq!(levels, [Level::Name(b""), Level::Single, Level::Name(b"a"), Level::Multi]);
    assert!(filter.has_wildcard());
}

/// Matching once more, by recursion over strings.
fn oracle(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => oracle(filter, topic),
        ([name, filter @ ..], [level, topic @ ..]) => name == level && oracle(filter, topic),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_recursion(filter in generate::filter(), topic in generate::topic()) {
        let hidden = topic.as_str().starts_with('$') && filter.as_str().starts_with(['+', '#']);
        let filter_levels: Vec<&str> = filter.as_str().split('/').collect();
        let topic_levels: Vec<&str> = topic.as_str().split('/').collect();
        prop_assert_eq!(matches(&filter, &topic), !hidden && oracle(&filter_levels, &topic_levels));
    }

    #[test]
    fn a_topic_is_a_filter_that_matches_itself(topic in generate::topic()) {
        if let Ok(filter) = topic.as_str().parse::<TopicFilter>() {
            prop_assert!(matches(&filter, &topic));
        }
    }

    #[test]
    fn parsing_strings_never_panics(text in any::<String>()) {
        let _ = (text.parse::<Topic>(), text.parse::<TopicFilter>());
    }
}
