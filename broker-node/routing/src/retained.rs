//! Retained messages by topic: a trie over topic levels, read page by page.

use std::collections::BTreeMap;
use std::ops::Bound;

use revoq_mqtt::{Level, Topic, TopicFilter};

/// Levels of a topic that can be kept: walks of the trie are recursive.
pub const RETAINED_LEVELS_MAX: usize = 256;

/// One value for each topic, found by filter.
#[derive(Debug)]
pub struct Retained<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    kept: Option<(Topic, V)>,
    children: BTreeMap<Box<[u8]>, Node<V>>,
}

/// Where a walk is: what of the filter is left, and, as long as it goes along the topic after which it begins, what of
/// that is left.
#[derive(Clone, Copy)]
struct Place<'a> {
    filter: &'a [Level<'a>],
    after: Option<&'a [&'a [u8]]>,
}

impl<V> Default for Retained<V> {
    fn default() -> Retained<V> {
        Retained { root: Node::default(), len: 0 }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Node<V> {
        Node { kept: None, children: BTreeMap::new() }
    }
}

impl<V> Retained<V> {
    /// Topics with a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of one topic.
    #[must_use]
    pub fn get(&self, topic: &Topic) -> Option<&V> {
        let mut node = &self.root;
        for level in topic.levels() {
            node = node.children.get(level)?;
        }
        node.kept.as_ref().map(|(_, value)| value)
    }

    /// Keeps a value in the place of the one before, which is given back. A topic of more than
    /// [`RETAINED_LEVELS_MAX`] levels is not kept: the value itself is given back, as an error.
    pub fn insert(&mut self, topic: &Topic, value: V) -> Result<Option<V>, V> {
        if topic.levels().nth(RETAINED_LEVELS_MAX).is_some() {
            return Err(value);
        }
        let mut node = &mut self.root;
        for level in topic.levels() {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            node = node.children.get_mut(level).expect("it is there now");
        }
        let before = node.kept.replace((topic.detached(), value));
        self.len += usize::from(before.is_none());
        Ok(before.map(|(_, value)| value))
    }

    /// Takes the value of one topic out.
    pub fn remove(&mut self, topic: &Topic) -> Option<V> {
        let levels: Vec<&[u8]> = topic.levels().take(RETAINED_LEVELS_MAX + 1).collect();
        let removed = self.root.remove(&levels)?;
        self.len -= 1;
        Some(removed)
    }

    /// Calls `visit` with the topics that match `filter` and come after `after`, in the order of their levels, until it
    /// says false. Wildcards do not match a first level that begins with `$` ([MQTT-4.7.2-1]). The name of a shared
    /// subscription is not looked into.
    pub fn matches<'a>(
        &'a self,
        filter: &TopicFilter,
        after: Option<&Topic>,
        mut visit: impl FnMut(&'a Topic, &'a V) -> bool,
    ) {
        let filter: Vec<Level<'_>> = filter.levels().collect();
        let after: Option<Vec<&[u8]>> = after.map(|topic| topic.levels().collect());
        self.root.walk(Place { filter: &filter, after: after.as_deref() }, true, &mut visit);
    }
}

impl<V> Node<V> {
    fn remove(&mut self, levels: &[&[u8]]) -> Option<V> {
        let Some((level, rest)) = levels.split_first() else {
            return self.kept.take().map(|(_, value)| value);
        };
        let child = self.children.get_mut(*level)?;
        let removed = child.remove(rest);
        if child.kept.is_none() && child.children.is_empty() {
            self.children.remove(*level);
        }
        removed
    }

    /// False once `visit` has had enough.
    fn walk<'a>(
        &'a self,
        place: Place<'_>,
        is_root: bool,
        visit: &mut impl FnMut(&'a Topic, &'a V) -> bool,
    ) -> bool {
        let Some((level, rest)) = place.filter.split_first() else { return self.show(place, visit) };
        match level {
            Level::Name(name) => {
                let Some(after) = place.beyond(name) else { return true };
                let child = self.children.get(*name);
                child.is_none_or(|child| child.walk(Place { filter: rest, after }, false, visit))
            }
            Level::Single => self.walk_children(place, rest, is_root, visit),
            // `#` stays for what is below.
            Level::Multi => {
                (is_root || self.show(place, visit))
                    && self.walk_children(place, place.filter, is_root, visit)
            }
        }
    }

    fn walk_children<'a>(
        &'a self,
        place: Place<'_>,
        filter: &[Level<'_>],
        is_root: bool,
        visit: &mut impl FnMut(&'a Topic, &'a V) -> bool,
    ) -> bool {
        let from = match place.after.and_then(<[_]>::first) {
            Some(first) => Bound::Included(*first),
            None => Bound::Unbounded,
        };
        for (name, child) in self.children.range::<[u8], _>((from, Bound::Unbounded)) {
            if is_root && name.starts_with(b"$") {
                continue;
            }
            let Some(after) = place.beyond(name) else { continue };
            if !child.walk(Place { filter, after }, false, visit) {
                return false;
            }
        }
        true
    }

    fn show<'a>(&'a self, place: Place<'_>, visit: &mut impl FnMut(&'a Topic, &'a V) -> bool) -> bool {
        match &self.kept {
            Some((topic, value)) if place.after.is_none() => visit(topic, value),
            _ => true,
        }
    }
}

impl<'a> Place<'a> {
    /// What is left of `after` below a level of this name; `None` if nothing below it comes after.
    fn beyond(&self, name: &[u8]) -> Option<Option<&'a [&'a [u8]]>> {
        match self.after.and_then(<[_]>::split_first) {
            None => Some(None),
            Some((first, rest)) if *first == name => Some(Some(rest)),
            Some((first, _)) => (name > *first).then_some(None),
        }
    }
}
