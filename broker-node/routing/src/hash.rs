use std::collections::HashMap;

use ahash::RandomState;

/// A map of names that peers choose.
pub(crate) type Names<K, V> = HashMap<K, V, RandomState>;

/// Random numbers that nobody outside of the process knows: who does not know them cannot choose names that collide in the
/// hash tables, and make each look-up a walk through all of them.
#[derive(Clone, Copy)]
pub struct HashKeys([u64; 4]);

impl From<[u64; 4]> for HashKeys {
    fn from(random: [u64; 4]) -> HashKeys {
        HashKeys(random)
    }
}

impl HashKeys {
    pub(crate) fn hasher(self) -> RandomState {
        let [one, two, three, four] = self.0;
        RandomState::with_seeds(one, two, three, four)
    }
}
