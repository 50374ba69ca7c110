//! A bounded map that forgets what is not asked for.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;
use revoq_credentials::Fingerprint;

const SHARDS: usize = 16;

/// Sharded, each shard two generations: when the younger is full, the older is dropped and the younger takes its
/// place. A hit moves its entry into the younger one.
pub(crate) struct Cache<V, K = Fingerprint> {
    hasher: RandomState,
    shards: [Mutex<Generations<V, K>>; SHARDS],
    generation_max: usize,
}

struct Generations<V, K> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<V, K: Copy + Eq + Hash> Cache<V, K> {
    /// Holds `entries_max` entries or a few more.
    pub(crate) fn new(entries_max: usize) -> Cache<V, K> {
        let empty = || Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() });
        let generation_max = entries_max.div_ceil(2 * SHARDS);
        Cache { hasher: RandomState::new(), shards: std::array::from_fn(|_| empty()), generation_max }
    }

    pub(crate) fn find(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        let mut shard = self.shard(key).lock();
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let value = shard.old.remove(key)?;
        shard.keep(*key, value.clone(), self.generation_max);
        Some(value)
    }

    pub(crate) fn keep(&self, key: K, value: V) {
        self.shard(&key).lock().keep(key, value, self.generation_max);
    }

    /// Changes what is kept under a key, or the default; nobody sees it in between.
    pub(crate) fn update<R>(&self, key: K, change: impl FnOnce(&mut V) -> R) -> R
    where
        V: Default,
    {
        let mut shard = self.shard(&key).lock();
        if let Some(value) = shard.young.get_mut(&key) {
            return change(value);
        }
        let mut value = shard.old.remove(&key).unwrap_or_default();
        let result = change(&mut value);
        shard.keep(key, value, self.generation_max);
        result
    }

    pub(crate) fn remove(&self, key: &K) {
        let mut shard = self.shard(key).lock();
        shard.young.remove(key);
        shard.old.remove(key);
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

    fn shard(&self, key: &K) -> &Mutex<Generations<V, K>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

impl<V, K: Eq + Hash> Generations<V, K> {
    fn keep(&mut self, key: K, value: V, generation_max: usize) {
        if self.young.len() >= generation_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
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
    fn what_is_updated_is_found_in_either_generation() {
        let cache = Cache::new(32);
        for number in 0..10_000 {
            cache.update(fingerprint(number), |count| *count += 1);
            cache.update(fingerprint(0), |count| *count += 1);
        }
        assert_eq!(cache.find(&fingerprint(0)), Some(10_001));
        assert!(cache.len() <= 32, "{}", cache.len());
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
