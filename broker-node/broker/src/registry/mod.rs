//! Every connection from CONNECT on, by number and by credential.

mod entry;
mod mailbox;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use revoq_credentials::{Affected, Credential, Fingerprint, Principal};
use tokio::runtime::Handle;
use tokio::time::sleep;

pub(crate) use entry::{Entry, NewEntry, Transport};
pub(crate) use mailbox::Posted;

use crate::gate::Shut;

const SHARDS: usize = 64;
/// Connections that are woken to close without a pause.
const WAKE_AT_ONCE: usize = 32;
const WAKE_PAUSE: Duration = Duration::from_millis(2);
/// However many there are, the last is woken after a quarter of a second.
const WAKE_BATCHES_MAX: usize = 128;

type ByNumber = Mutex<HashMap<u64, Arc<Entry>>>;
/// Ordered, so that the connections of one credential are a range: one may have ten thousand, and each must leave as
/// cheaply as it came.
type ByFingerprint = Mutex<BTreeMap<(Fingerprint, u64), Arc<Entry>>>;

/// Sharded by connection number, with an index by fingerprint that is sharded by itself: no lock is shared by all
/// connects.
///
/// **Register, then decide.** A connection is inserted first, and its verdict is taken from the view after that; an
/// event is applied to the view first, and the registry is swept after that. Whichever of insert and sweep takes a
/// shard's lock first, one of the two sees the other: the sweep finds the connection, or the verdict reads a view
/// that has the event.
pub(crate) struct Registry {
    next: AtomicU64,
    by_number: [ByNumber; SHARDS],
    by_fingerprint: [ByFingerprint; SHARDS],
}

/// Keeps a connection in the registry until it is dropped.
pub(crate) struct Registered {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

impl Registered {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(&self.entry);
    }
}

/// The outcome of a sweep. The tasks are not woken yet.
#[derive(Default)]
pub(crate) struct Swept {
    /// Live sessions whose gate this sweep shut.
    pub(crate) sessions: u64,
    by_cause: [u64; Shut::ALL.len()],
    shut: Vec<Arc<Entry>>,
}

impl Swept {
    /// Lets the tasks close their connections. After the gates, and after the acknowledgement: closing ten thousand
    /// connections takes the cores longer than shutting ten thousand gates, so a large sweep is closed at a pace that
    /// leaves room for the sessions that go on.
    pub(crate) fn wake(self) {
        let batch = WAKE_AT_ONCE.max(self.shut.len() / WAKE_BATCHES_MAX);
        match Handle::try_current() {
            Ok(runtime) if self.shut.len() > batch => drop(runtime.spawn(wake_paced(self.shut, batch))),
            // Few, or outside of a runtime: the process ends.
            _ => self.shut.iter().for_each(|entry| entry.gate.wake()),
        }
    }

    /// Those among the live sessions that were shut for one cause.
    pub(crate) fn sessions_by(&self, why: Shut) -> u64 {
        self.by_cause[why.index()]
    }

    fn shut(&mut self, entry: &Arc<Entry>, why: Shut) {
        let live = u64::from(entry.gate_for_sweep(why));
        self.sessions += live;
        self.by_cause[why.index()] += live;
        self.shut.push(entry.clone());
    }
}

async fn wake_paced(shut: Vec<Arc<Entry>>, batch: usize) {
    for entries in shut.chunks(batch) {
        entries.iter().for_each(|entry| entry.gate.wake());
        sleep(WAKE_PAUSE).await;
    }
}

impl Registry {
    pub(crate) fn new() -> Arc<Registry> {
        Arc::new(Registry {
            next: AtomicU64::new(1),
            by_number: std::array::from_fn(|_| Mutex::default()),
            by_fingerprint: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Enters a connection. Only after this may its verdict be taken.
    pub(crate) fn register(self: &Arc<Registry>, new: NewEntry) -> Registered {
        let entry = Arc::new(Entry::new(self.next.fetch_add(1, Ordering::Relaxed), new));
        self.number_shard(entry.id).lock().insert(entry.id, entry.clone());
        for fingerprint in entry.principal.fingerprints() {
            self.fingerprint_shard(&fingerprint).lock().insert((fingerprint, entry.id), entry.clone());
        }
        Registered { registry: self.clone(), entry }
    }

    fn remove(&self, entry: &Arc<Entry>) {
        self.number_shard(entry.id).lock().remove(&entry.id);
        for fingerprint in entry.principal.fingerprints() {
            self.fingerprint_shard(&fingerprint).lock().remove(&(fingerprint, entry.id));
        }
    }

    /// Judges every connection that `affected` names, and shuts the gates of those that `judge` denies. The view that
    /// `judge` reads must have the event already.
    pub(crate) fn sweep(&self, affected: &[Affected], judge: impl Fn(&Principal) -> Option<Shut>) -> Swept {
        let mut swept = Swept::default();
        let mut broad = Vec::new();
        for one in affected {
            match one {
                Affected::Credential(fingerprint) => {
                    for entry in self.of_fingerprint(fingerprint) {
                        if let Some(why) = judge(&entry.principal) {
                            swept.shut(&entry, why);
                        }
                    }
                }
                // Not about principals.
                Affected::Node(_) => {}
                Affected::All | Affected::Settings | Affected::Tenant(_) | Affected::Authority { .. } => {
                    broad.push(one);
                }
            }
        }
        if !broad.is_empty() {
            self.each(|entry| {
                if broad.iter().any(|one| names(one, &entry.principal))
                    && let Some(why) = judge(&entry.principal)
                {
                    swept.shut(entry, why);
                }
            });
        }
        swept
    }

    /// The connections of one credential.
    pub(crate) fn of_fingerprint(&self, fingerprint: &Fingerprint) -> Vec<Arc<Entry>> {
        let shard = self.fingerprint_shard(fingerprint).lock();
        shard.range((*fingerprint, 0)..=(*fingerprint, u64::MAX)).map(|(_, entry)| entry.clone()).collect()
    }

    /// Every connection, shard by shard. `each` runs under a shard's lock and must be short.
    pub(crate) fn each(&self, mut each: impl FnMut(&Arc<Entry>)) {
        for shard in &self.by_number {
            shard.lock().values().for_each(&mut each);
        }
    }

    /// Shuts every gate.
    pub(crate) fn shut_all(&self, why: Shut) -> Swept {
        let mut swept = Swept::default();
        self.each(|entry| swept.shut(entry, why));
        swept
    }

    /// Connections that are registered.
    pub(crate) fn len(&self) -> usize {
        self.by_number.iter().map(|shard| shard.lock().len()).sum()
    }

    fn number_shard(&self, number: u64) -> &ByNumber {
        &self.by_number[usize::try_from(number % SHARDS as u64).unwrap_or(0)]
    }

    fn fingerprint_shard(&self, fingerprint: &Fingerprint) -> &ByFingerprint {
        &self.by_fingerprint[usize::from(fingerprint.0[0]) % SHARDS]
    }
}

/// Can a change of this kind concern this principal?
fn names(affected: &Affected, principal: &Principal) -> bool {
    match affected {
        Affected::All | Affected::Settings => true,
        Affected::Tenant(tenant) => principal.tenant == *tenant,
        Affected::Authority { tenant, name } => {
            principal.tenant == *tenant
                && matches!(&principal.credential, Credential::Certificate { authority: Some(authority), .. } if authority == name)
        }
        Affected::Credential(_) | Affected::Node(_) => false,
    }
}
