//! A bounded map by fingerprint that forgets what is not asked for.

use std::collections::HashMap;

use parking_lot::Mutex;
use revoq_credentials::Fingerprint;

const SHARDS: usize = 16;

/// Sharded, each shard two generations: when the younger is full, the older is dropped and the younger takes its
/// place. A hit moves its entry into the younger one.
pub(crate) struct Cache<V> {
    shards: [Mutex<Generations<V>>; SHARDS],
    generation_max: usize,
}

struct Generations<V> {
    young: HashMap<Fingerprint, V>,
    old: HashMap<Fingerprint, V>,
}

impl<V: Clone> Cache<V> {
    /// Holds `entries_max` entries or a few more.
    pub(crate) fn new(entries_max: usize) -> Cache<V> {
        let empty = || Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() });
        Cache { shards: std::array::from_fn(|_| empty()), generation_max: entries_max.div_ceil(2 * SHARDS) }
    }

    pub(crate) fn find(&self, fingerprint: &Fingerprint) -> Option<V> {
        let mut shard = self.shard(fingerprint).lock();
        if let Some(value) = shard.young.get(fingerprint) {
            return Some(value.clone());
        }
        let value = shard.old.remove(fingerprint)?;
        shard.keep(*fingerprint, value.clone(), self.generation_max);
        Some(value)
    }

    pub(crate) fn keep(&self, fingerprint: Fingerprint, value: V) {
        self.shard(&fingerprint).lock().keep(fingerprint, value, self.generation_max);
    }

    pub(crate) fn remove(&self, fingerprint: &Fingerprint) {
        let mut shard = self.shard(fingerprint).lock();
        shard.young.remove(fingerprint);
        shard.old.remove(fingerprint);
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            // Freed outside of the lock: a large map takes its time.
            let (young, old) = {
                let mut shard = shard.lock();
                (std::mem::take(&mut shard.young), std::mem::take(&mut shard.old))
            };
            drop((young, old));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, fingerprint: &Fingerprint) -> &Mutex<Generations<V>> {
        &self.shards[usize::from(fingerprint.0[0]) % SHARDS]
    }
}

impl<V> Generations<V> {
    fn keep(&mut self, fingerprint: Fingerprint, value: V, generation_max: usize) {
        if self.young.len() >= generation_max && !self.young.contains_key(&fingerprint) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&fingerprint);
        self.young.insert(fingerprint, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: u32) -> Fingerprint {
        Fingerprint::of(&number.to_be_bytes())
    }

    #[test]
    fn it_stays_within_its_bound() {
        let cache = Cache::new(320);
        for number in 0..10_000 {
            cache.keep(fingerprint(number), number);
        }
        assert!((160..=320).contains(&cache.len()), "{}", cache.len());
        assert_eq!(cache.find(&fingerprint(9_999)), Some(9_999));
        assert_eq!(cache.find(&fingerprint(0)), None);
        cache.clear();
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn what_is_used_stays() {
        let cache = Cache::new(320);
        cache.keep(fingerprint(0), 0);
        for number in 1..10_000 {
            cache.keep(fingerprint(number), number);
            assert_eq!(cache.find(&fingerprint(0)), Some(0), "after {number}");
        }
    }

    #[test]
    fn what_is_removed_is_gone_from_both_generations() {
        let cache = Cache::new(32);
        cache.keep(fingerprint(1), 1);
        cache.keep(fingerprint(1), 2);
        cache.remove(&fingerprint(1));
        assert_eq!(cache.find(&fingerprint(1)), None);
    }
}
