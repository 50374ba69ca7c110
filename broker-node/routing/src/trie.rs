use std::hash::Hash;

use revoq_mqtt::{Level, Topic, TopicFilter};

use crate::hash::{HashKeys, Names};
use crate::level::{Name, next_level};
use crate::targets::Targets;

/// Filters with wildcards, by level.
///
/// The nodes stand in one vector and name each other by their places in it. Places that are given up are used again,
/// and the vector is rebuilt when few are in use.
#[derive(Clone)]
pub(crate) struct Trie<T, O> {
    /// The first is the root, which is never given up.
    nodes: Vec<Node<T, O>>,
    /// Places that no filter needs; their nodes are empty.
    free: Vec<u32>,
    filters: usize,
    keys: HashKeys,
}

const ROOT: u32 = 0;

/// Vectors of fewer nodes than this are not rebuilt.
const COMPACT_MIN: usize = 64;

#[derive(Clone)]
struct Node<T, O> {
    named: Children,
    /// The child for `+`.
    single: Option<u32>,
    /// Targets of the filter that ends here.
    here: Targets<T, O>,
    /// Targets of the filter that goes on with `#` only.
    multi: Targets<T, O>,
}

/// The children by name. Most nodes of a chain have one.
#[derive(Clone, Default)]
enum Children {
    #[default]
    None,
    One(Name, u32),
    Many(Box<Names<Name, u32>>),
}

/// A step of a filter from a node to its child.
#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a [u8]),
    Single,
}

impl<T, O> Trie<T, O> {
    pub(crate) fn new(keys: HashKeys) -> Trie<T, O> {
        Trie { nodes: vec![Node::default()], free: Vec::new(), filters: 0, keys }
    }
}

impl<T, O> Default for Node<T, O> {
    fn default() -> Node<T, O> {
        Node { named: Children::None, single: None, here: Targets::default(), multi: Targets::default() }
    }
}

impl<T: Copy + Eq + Hash, O> Trie<T, O> {
    pub(crate) fn len(&self) -> usize {
        self.filters
    }

    pub(crate) fn insert(&mut self, filter: &TopicFilter, target: T, options: O) -> Option<O> {
        let (steps, multi) = steps(filter);
        let mut at = ROOT;
        for step in steps {
            at = match self.node(at).child(step) {
                Some(child) => child,
                None => self.grow(at, step),
            };
        }
        let targets = self.nodes[at as usize].targets(multi);
        self.filters += usize::from(targets.is_empty());
        targets.insert(target, options)
    }

    pub(crate) fn remove(&mut self, filter: &TopicFilter, target: T) -> Option<O> {
        let (steps, multi) = steps(filter);
        let mut path = Vec::new();
        let mut at = ROOT;
        for step in steps {
            path.push((at, step));
            at = self.node(at).child(step)?;
        }
        let targets = self.nodes[at as usize].targets(multi);
        let (_, options) = targets.remove(target)?;
        self.filters -= usize::from(targets.is_empty());
        while self.node(at).is_empty() {
            let Some((parent, step)) = path.pop() else { break };
            self.nodes[parent as usize].cut(step);
            self.free.push(at);
            at = parent;
        }
        self.compact();
        Some(options)
    }

    /// Walks all paths that the topic fits at once, literal names first; branches wait on a list.
    pub(crate) fn matches(&self, topic: &Topic, mut each: impl FnMut(T, &O)) {
        let name = topic.as_bytes();
        let mut each =
            |targets: &Targets<T, O>| targets.iter().for_each(|(target, options)| each(*target, options));
        let hidden = topic.is_reserved();
        let mut waiting: Vec<(u32, Option<usize>)> = Vec::new();
        let mut current = Some((ROOT, Some(0)));
        while let Some((at, level)) = current {
            let node = self.node(at);
            let wild = !(hidden && at == ROOT);
            if wild {
                each(&node.multi);
            }
            let Some(start) = level else {
                each(&node.here);
                current = waiting.pop();
                continue;
            };
            let (name, rest) = next_level(name, start);
            let named = node.child(Step::Name(name)).map(|child| (child, rest));
            let single = node.single.filter(|_| wild).map(|child| (child, rest));
            current = match (named, single) {
                (Some(named), Some(single)) => {
                    waiting.push(single);
                    Some(named)
                }
                (named, single) => named.or(single).or_else(|| waiting.pop()),
            };
        }
    }

    fn node(&self, at: u32) -> &Node<T, O> {
        &self.nodes[at as usize]
    }

    fn grow(&mut self, parent: u32, step: Step<'_>) -> u32 {
        let child = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            u32::try_from(self.nodes.len() - 1).expect("fewer nodes than memory for 4 billion")
        });
        self.nodes[parent as usize].link(step, child, self.keys);
        child
    }

    /// Rebuilds the vector when three quarters of it are free: a node is moved once for three that went.
    fn compact(&mut self) {
        let used = self.nodes.len() - self.free.len();
        if self.nodes.len() < COMPACT_MIN || used * 4 > self.nodes.len() {
            return;
        }
        let mut free = vec![false; self.nodes.len()];
        self.free.iter().for_each(|&at| free[at as usize] = true);
        let mut places = Vec::with_capacity(self.nodes.len());
        let mut next = 0;
        for &free in &free {
            places.push(next);
            next += u32::from(!free);
        }
        let nodes = std::mem::take(&mut self.nodes).into_iter().zip(free);
        self.nodes = nodes.filter(|(_, free)| !free).map(|(node, _)| node.moved(&places)).collect();
        self.nodes.shrink_to(used * 2);
        self.free = Vec::new();
    }
}

impl<T: Copy + Eq + Hash, O> Node<T, O> {
    fn is_empty(&self) -> bool {
        matches!(self.named, Children::None)
            && self.single.is_none()
            && self.here.is_empty()
            && self.multi.is_empty()
    }

    fn targets(&mut self, multi: bool) -> &mut Targets<T, O> {
        if multi { &mut self.multi } else { &mut self.here }
    }

    fn child(&self, step: Step<'_>) -> Option<u32> {
        match (step, &self.named) {
            (Step::Single, _) => self.single,
            (Step::Name(_), Children::None) => None,
            (Step::Name(name), Children::One(only, child)) => (only.as_slice() == name).then_some(*child),
            (Step::Name(name), Children::Many(children)) => children.get(name).copied(),
        }
    }

    fn link(&mut self, step: Step<'_>, child: u32, keys: HashKeys) {
        let Step::Name(name) = step else {
            self.single = Some(child);
            return;
        };
        self.named = match std::mem::take(&mut self.named) {
            Children::None => Children::One(name.into(), child),
            Children::One(other, at) => {
                let mut children = Names::with_hasher(keys.hasher());
                children.extend([(other, at), (name.into(), child)]);
                Children::Many(Box::new(children))
            }
            Children::Many(mut children) => {
                children.insert(name.into(), child);
                Children::Many(children)
            }
        };
    }

    fn cut(&mut self, step: Step<'_>) {
        let Step::Name(name) = step else {
            self.single = None;
            return;
        };
        self.named = match std::mem::take(&mut self.named) {
            Children::None | Children::One(..) => Children::None,
            Children::Many(mut children) => {
                children.remove(name);
                if children.len() * 4 <= children.capacity() {
                    children.shrink_to(children.len() * 2);
                }
                match children.len() {
                    1 => children
                        .into_iter()
                        .next()
                        .map_or(Children::None, |(name, child)| Children::One(name, child)),
                    _ => Children::Many(children),
                }
            }
        };
    }

    /// With its children at their new places.
    fn moved(mut self, places: &[u32]) -> Node<T, O> {
        let move_to = |child: &mut u32| *child = places[*child as usize];
        self.single.iter_mut().for_each(move_to);
        match &mut self.named {
            Children::None => {}
            Children::One(_, child) => move_to(child),
            Children::Many(children) => children.values_mut().for_each(move_to),
        }
        self
    }
}

/// The way through the trie, and whether `#` follows.
fn steps(filter: &TopicFilter) -> (impl Iterator<Item = Step<'_>>, bool) {
    let steps = filter.levels().filter_map(|level| match level {
        Level::Name(name) => Some(Step::Name(name)),
        Level::Single => Some(Step::Single),
        Level::Multi => None,
    });
    (steps, filter.as_bytes().ends_with(b"#"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_with_the_filters() {
        let mut trie = Trie::new(HashKeys::from([1, 2, 3, 4]));
        let filters: Vec<TopicFilter> =
            (0..10_000).map(|n| format!("a/{}/{n}/+", n % 7).parse().expect("legal")).collect();
        for filter in &filters {
            trie.insert(filter, 1, ());
        }
        assert!(trie.nodes.len() > 20_000);
        for filter in &filters[..9_990] {
            trie.remove(filter, 1);
        }
        assert!(trie.nodes.capacity() < 200 && trie.free.capacity() < 200, "{}", trie.nodes.capacity());
        for filter in &filters[9_990..] {
            trie.remove(filter, 1);
        }
        assert!(trie.nodes[0].is_empty());
        assert_eq!((trie.len(), trie.nodes.len() - trie.free.len()), (0, 1));
    }

    #[test]
    fn places_are_used_again() {
        let mut trie = Trie::new(HashKeys::from([1, 2, 3, 4]));
        let filter: TopicFilter = "a/b/+".parse().expect("legal");
        for _ in 0..100 {
            trie.insert(&filter, 1, ());
            trie.remove(&filter, 1);
        }
        assert_eq!(trie.nodes.len(), 4);
    }
}
