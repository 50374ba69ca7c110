//! One client, one session: who holds a client id on this node, MQTT 5.0 section 3.1.4.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use revoq_credentials::TenantName;
use revoq_mqtt::ClientId;

use crate::gate::Shut;
use crate::registry::Entry;

const SHARDS: usize = 64;

type Key = (TenantName, ClientId);

/// Client ids by tenant, sharded.
pub(crate) struct Claims {
    hasher: RandomState,
    shards: [Mutex<HashMap<Key, Arc<Entry>>>; SHARDS],
}

impl Claims {
    pub(crate) fn new() -> Claims {
        Claims { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Gives the client id to this connection. The one that had it is gated before this returns, and true comes back.
    pub(crate) fn claim(&self, entry: &Arc<Entry>) -> bool {
        let key = key(entry);
        let before = self.shard(&key).lock().insert(key, entry.clone());
        before.is_some_and(|before| before.cut(Shut::TakenOver))
    }

    /// Takes it back, unless another connection has claimed it since.
    pub(crate) fn release(&self, entry: &Arc<Entry>) {
        let key = key(entry);
        let mut shard = self.shard(&key).lock();
        if shard.get(&key).is_some_and(|holder| Arc::ptr_eq(holder, entry)) {
            shard.remove(&key);
        }
    }

    /// Client ids that are held.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: &Key) -> &Mutex<HashMap<Key, Arc<Entry>>> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

fn key(entry: &Entry) -> Key {
    (entry.principal.tenant.clone(), entry.client_id.clone())
}
