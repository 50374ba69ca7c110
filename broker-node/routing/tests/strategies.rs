//! Each strategy against groups that are kept in plain maps, and how evenly each spreads messages.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generate;
use revoq_mqtt::{Topic, TopicFilter, matches};
use revoq_routing::{Draw, HashKeys, Shared, Strategy, stable_hash};

/// As good as random: nobody attacks.
fn keys() -> HashKeys {
    HashKeys::from([1, 2, 3, 4])
}

const FILTERS: [&str; 6] =
    ["$share/g/a/b", "$share/h/a/b", "$share/g/a/+", "$share/g/#", "$queue/a/b", "$queue/+/b"];
const TOPICS: [&str; 4] = ["a/b", "a/c", "b/b", "$x/b"];
const TARGETS: u32 = 12;

#[derive(Clone, Debug)]
enum Action {
    Subscribe(usize, u32),
    Unsubscribe(usize, u32),
    /// Who can take nothing from now on.
    Refuse(BTreeSet<u32>),
    Publish {
        topic: usize,
        publisher: u8,
        random: u64,
    },
}

fn action() -> impl Generate<Value = Action> {
    let refusing = prop::collection::btree_set(0..TARGETS, 0..5);
    prop_oneof![
        3 => (0..FILTERS.len(), 0..TARGETS).prop_map(|(filter, target)| Action::Subscribe(filter, target)),
        2 => (0..FILTERS.len(), 0..TARGETS).prop_map(|(filter, target)| Action::Unsubscribe(filter, target)),
        1 => refusing.prop_map(Action::Refuse),
        12 => (0..TOPICS.len(), 0..4_u8, any::<u64>())
            .prop_map(|(topic, publisher, random)| Action::Publish { topic, publisher, random }),
    ]
}

/// A group, and what it did since its members or those who refuse changed.
#[derive(Default)]
struct Group {
    members: BTreeSet<u32>,
    counts: BTreeMap<u32, usize>,
    by_publisher: BTreeMap<u8, u32>,
    by_topic: BTreeMap<usize, u32>,
    /// The last one, whatever changed since, unless it left.
    last: Option<u32>,
}

#[derive(Default)]
struct Naive {
    groups: BTreeMap<usize, Group>,
    refusing: BTreeSet<u32>,
}

impl Naive {
    fn change(&mut self, filter: usize, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) -> bool {
        let group = self.groups.entry(filter).or_default();
        let changed = change(&mut group.members);
        if changed {
            group.forget();
        }
        if group.members.is_empty() {
            self.groups.remove(&filter);
        }
        changed
    }

    /// The groups that must have taken a message of this topic.
    fn matching(&self, topic: usize) -> Vec<usize> {
        let is_match = |filter: &usize| {
            let filter: TopicFilter = FILTERS[*filter].parse().expect("a filter");
            let inner = filter.inner();
            matches(&inner.expect("shared"), &TOPICS[topic].parse().expect("a topic"))
        };
        self.groups.keys().copied().filter(is_match).collect()
    }
}

impl Group {
    fn forget(&mut self) {
        self.counts.clear();
        self.by_publisher.clear();
        self.by_topic.clear();
    }

    /// What the strategy says about the member that took a message.
    fn check(
        &mut self,
        strategy: Strategy,
        (topic, publisher, target): (usize, u8, u32),
        able: &BTreeSet<u32>,
    ) -> Result<(), TestCaseError> {
        prop_assert!(able.contains(&target), "{} takes nothing, or is no member", target);
        *self.counts.entry(target).or_default() += 1;
        match strategy {
            Strategy::RoundRobin | Strategy::LocalFirst => {
                let counts = able.iter().map(|member| self.counts.get(member).copied().unwrap_or(0));
                let (least, most) = (counts.clone().min(), counts.max());
                prop_assert!(most <= least.map(|least| least + 1), "{:?} of {:?}", self.counts, able);
            }
            Strategy::Sticky => {
                let expected = self.last.filter(|last| able.contains(last));
                prop_assert_eq!(expected.unwrap_or(target), target);
            }
            Strategy::HashClientId => {
                prop_assert_eq!(*self.by_publisher.entry(publisher).or_insert(target), target);
            }
            Strategy::HashTopic => prop_assert_eq!(*self.by_topic.entry(topic).or_insert(target), target),
            Strategy::Random => {}
        }
        self.last = Some(target);
        Ok(())
    }
}

fn publish(
    shared: &Shared<u32, usize>,
    naive: &mut Naive,
    strategy: Strategy,
    (topic, publisher, random): (usize, u8, u64),
) -> Result<(), TestCaseError> {
    let name: Topic = TOPICS[topic].parse().expect("a topic");
    let draw = Draw { publisher: stable_hash(&[publisher]), random };
    let (mut asked, mut taken) = (BTreeSet::new(), BTreeMap::new());
    let mut twice = false;
    let groups = shared.offer(&name, draw, |target, filter, again| {
        twice |= !asked.insert((again, *filter, target)) || taken.contains_key(filter);
        let takes = !naive.refusing.contains(&target);
        if takes {
            taken.insert(*filter, target);
        }
        takes
    });
    prop_assert!(!twice, "asked again, or after one had it");
    prop_assert_eq!(groups, taken.len());
    for filter in naive.matching(topic) {
        let group = naive.groups.get_mut(&filter).expect("it matched");
        let able: BTreeSet<u32> = group.members.difference(&naive.refusing).copied().collect();
        let Some(target) = taken.remove(&filter) else {
            prop_assert!(able.is_empty(), "{} got nothing", FILTERS[filter]);
            continue;
        };
        group.check(strategy, (topic, publisher, target), &able)?;
    }
    prop_assert!(taken.is_empty(), "groups that do not match: {:?}", taken);
    Ok(())
}

fn run(strategy: Strategy, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (mut shared, mut naive) = (Shared::new(strategy, keys()), Naive::default());
    let filters = FILTERS.map(|text| text.parse::<TopicFilter>().expect("a filter"));
    for action in actions {
        match action {
            Action::Subscribe(filter, target) => {
                let is_new = naive.change(filter, |members| members.insert(target));
                let replaced = shared.subscribe(&filters[filter], target, filter);
                prop_assert_eq!(replaced, (!is_new).then_some(filter));
            }
            Action::Unsubscribe(filter, target) => {
                let was_there = naive.change(filter, |members| members.remove(&target));
                // One that comes back is as good as new.
                if let Some(group) = naive.groups.get_mut(&filter) {
                    group.last.take_if(|last| *last == target);
                }
                prop_assert_eq!(shared.unsubscribe(&filters[filter], target), was_there);
            }
            Action::Refuse(targets) => {
                naive.refusing = targets;
                naive.groups.values_mut().for_each(Group::forget);
            }
            Action::Publish { topic, publisher, random } => {
                publish(&shared, &mut naive, strategy, (topic, publisher, random))?;
            }
        }
        let members = naive.groups.values().map(|group| group.members.len()).sum();
        prop_assert_eq!((shared.len(), shared.members()), (naive.groups.len(), members));
    }
    Ok(())
}

proptest! {
    #[test]
    fn each_strategy_agrees_with_the_maps(
        strategy in prop::sample::select(Strategy::ALL.to_vec()),
        actions in vec(action(), 0..300),
    ) {
        run(strategy, actions)?;
    }
}

#[test]
fn one_that_comes_back_is_not_stuck_to() -> Result<(), TestCaseError> {
    use Action::{Publish, Subscribe, Unsubscribe};
    let publish = || Publish { topic: 0, publisher: 0, random: 0 };
    let actions =
        vec![Subscribe(1, 0), Subscribe(1, 1), publish(), Unsubscribe(1, 0), Subscribe(1, 0), publish()];
    run(Strategy::Sticky, actions)
}

/// How often each of `members` is chosen for messages 0 to `count`.
fn spread(strategy: Strategy, members: usize, count: u64) -> Vec<u64> {
    let mut shared = Shared::new(strategy, keys());
    for target in 0..members {
        shared.subscribe(&"$share/g/#".parse().expect("a filter"), target, ());
    }
    let mut counts = vec![0; members];
    for n in 0..count {
        let topic: Topic = format!("device/{n}/state").parse().expect("a topic");
        let publisher = stable_hash(format!("device-{n}").as_bytes());
        let random = stable_hash(&n.to_be_bytes());
        shared.offer(&topic, Draw { publisher, random }, |target, (), _| {
            counts[target] += 1;
            true
        });
    }
    counts
}

#[test]
fn messages_are_spread_evenly() {
    for (members, count) in [(2_u32, 20_000), (7, 20_000), (50, 100_000)] {
        let mean = count as f64 / f64::from(members);
        // Of a member's count, if each message went to any with the same likelihood.
        let deviation = (mean * (1.0 - 1.0 / f64::from(members))).sqrt();
        for strategy in [Strategy::Random, Strategy::HashClientId, Strategy::HashTopic] {
            let counts = spread(strategy, members as usize, count);
            let far = counts.iter().find(|count| (**count as f64 - mean).abs() > 5.0 * deviation);
            assert_eq!(far, None, "{strategy:?}: {mean} ± {deviation}: {counts:?}");
        }
        for strategy in [Strategy::RoundRobin, Strategy::LocalFirst] {
            let counts = spread(strategy, members as usize, count);
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{strategy:?}: {counts:?}");
        }
    }
}

/// Whom each of 5,000 publishers is given.
fn assignment(shared: &Shared<u32, ()>) -> Vec<u32> {
    let topic: Topic = "t".parse().expect("a topic");
    let mut chosen = Vec::new();
    for n in 0..5_000_u32 {
        let draw = Draw { publisher: stable_hash(&n.to_be_bytes()), random: 0 };
        shared.offer(&topic, draw, |target, (), _| {
            chosen.push(target);
            true
        });
    }
    chosen
}

#[test]
fn few_publishers_change_their_member_when_one_comes_or_goes() {
    let filter: TopicFilter = "$share/g/t".parse().expect("a filter");
    let mut shared = Shared::new(Strategy::HashClientId, keys());
    for target in 0..10 {
        shared.subscribe(&filter, target, ());
    }
    let before = assignment(&shared);
    shared.subscribe(&filter, 10, ());
    let after = assignment(&shared);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moved.iter().all(|(_, after)| **after == 10), "only to the new one");
    assert!((300..600).contains(&moved.len()), "{} of 5000, an eleventh expected", moved.len());
    assert!(shared.unsubscribe(&filter, 3));
    let last = assignment(&shared);
    let moved: Vec<_> = after.iter().zip(&last).filter(|(before, after)| before != after).collect();
    assert!(
        moved.iter().all(|(before, _)| **before == 3 || **before == 10),
        "of the one that left, and of the last"
    );
    assert!((700..1_150).contains(&moved.len()), "{} of 5000, two elevenths expected", moved.len());
}
