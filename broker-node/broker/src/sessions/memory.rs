//! Sessions in the memory of this node: they end with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use revoq_credentials::{Fingerprint, Principal, TenantName};
use revoq_mqtt::ClientId;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Away, Before, Busy, Claimed, Due, NotKept, SessionStore, is_same};
use crate::clock;
use crate::gate::Shut;
use crate::registry::Entry;

const SHARDS: usize = 64;
/// A connection that was taken over leaves as soon as its task runs.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);
/// Delays and expiry are in seconds: what is due within so short a time is taken together.
const DUE_WAIT_MIN: Duration = Duration::from_millis(50);
/// Timers stand still while the machine is suspended.
const DUE_WAIT_MAX: Duration = Duration::from_secs(1);

type Key = (TenantName, ClientId);
type ByFingerprint = Mutex<HashMap<Fingerprint, HashSet<Key>>>;

/// Client ids by tenant, sharded; an index of the sessions of each credential that is sharded by itself.
pub(crate) struct MemoryStore {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    by_fingerprint: [ByFingerprint; SHARDS],
    away: AtomicUsize,
    away_max: usize,
    /// When the first is due, boot clock milliseconds; `u64::MAX`: none will. [`SessionStore::due`] is told of earlier ones.
    next_due: AtomicU64,
    earlier: Notify,
}

#[derive(Default)]
struct Shard {
    holders: HashMap<Key, Holder>,
    /// When something is to be done about a session of a client that is away.
    due: BTreeSet<(u64, Key)>,
}

enum Holder {
    Here {
        entry: Arc<Entry>,
        /// Connections that want the session: dropped when it is there, or gone.
        waiting: Vec<oneshot::Sender<()>>,
    },
    Away(Box<Away>),
}

enum Attempt {
    Done(Claimed),
    /// The connection that has the session is to leave first.
    Wait {
        took_over: bool,
        left: oneshot::Receiver<()>,
    },
}

impl MemoryStore {
    /// Keeps at most so many sessions of clients that are away.
    pub(crate) fn new(away_max: usize) -> MemoryStore {
        MemoryStore {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            by_fingerprint: std::array::from_fn(|_| Mutex::default()),
            away: AtomicUsize::new(0),
            away_max,
            next_due: AtomicU64::new(u64::MAX),
            earlier: Notify::new(),
        }
    }

    async fn claim_patiently(&self, entry: &Arc<Entry>, clean_start: bool) -> Result<Claimed, Busy> {
        let deadline = Instant::now() + CLAIM_PATIENCE;
        let mut cut = false;
        loop {
            match self.try_claim(entry, clean_start) {
                Attempt::Done(claimed) => {
                    return Ok(Claimed { took_over: claimed.took_over || cut, ..claimed });
                }
                Attempt::Wait { took_over, left } => {
                    cut |= took_over;
                    // That the sender is gone is the news.
                    let _ = timeout_at(deadline, left).await.map_err(|_| Busy)?;
                }
            }
        }
    }

    fn try_claim(&self, entry: &Arc<Entry>, clean_start: bool) -> Attempt {
        let key = key(entry);
        let mut shard = self.shard(&key).lock();
        if let Some(Holder::Here { entry: holder, waiting }) = shard.holders.get_mut(&key)
            && !clean_start
            && holder.outlives
            && is_same(&holder.principal, &entry.principal)
        {
            let (tell, left) = oneshot::channel();
            waiting.push(tell);
            return Attempt::Wait { took_over: holder.cut(Shut::TakenOver), left };
        }
        let here = Holder::Here { entry: entry.clone(), waiting: Vec::new() };
        let (mut took_over, mut before) = (false, Before::Nothing);
        match shard.holders.insert(key.clone(), here) {
            None => {}
            Some(Holder::Here { entry: holder, .. }) => took_over = holder.cut(Shut::TakenOver),
            Some(Holder::Away(away)) => {
                shard.due.remove(&(away.due(), key.clone()));
                self.forget(&away, &key);
                let resumes = !clean_start && away.is_of(&entry.principal);
                before = if resumes { Before::Resumed(away) } else { Before::Ended(away) };
            }
        }
        Attempt::Done(Claimed { took_over, before })
    }

    /// Takes out a session of a client that is away, if it `ends`.
    fn take(&self, key: &Key, ends: impl Fn(&Away) -> bool) -> Option<Away> {
        let mut shard = self.shard(key).lock();
        let Some(Holder::Away(away)) = shard.holders.get(key) else { return None };
        if !ends(away) {
            return None;
        }
        let due = away.due();
        shard.due.remove(&(due, key.clone()));
        let Some(Holder::Away(away)) = shard.holders.remove(key) else { return None };
        self.forget(&away, key);
        Some(*away)
    }

    /// It is not among the kept ones any more.
    fn forget(&self, away: &Away, key: &Key) {
        self.away.fetch_sub(1, Ordering::Relaxed);
        for fingerprint in away.principal.fingerprints() {
            let mut shard = self.fingerprint_shard(&fingerprint).lock();
            let Some(keys) = shard.get_mut(&fingerprint) else { continue };
            keys.remove(key);
            if keys.is_empty() {
                shard.remove(&fingerprint);
            }
        }
    }

    async fn wait_for_due(&self) -> Vec<Due> {
        loop {
            let now = clock::now().boot;
            let due = self.take_due(now);
            if !due.is_empty() {
                return due;
            }
            let next = self.next_due.load(Ordering::SeqCst);
            let longest = if next == u64::MAX { Duration::MAX } else { DUE_WAIT_MAX };
            let wait = Duration::from_millis(next.saturating_sub(now)).clamp(DUE_WAIT_MIN, longest);
            // Either way it is looked again.
            let _ = timeout(wait, self.earlier.notified()).await;
        }
    }

    /// What has become due at `now`. When the next will is in `next_due`.
    fn take_due(&self, now: u64) -> Vec<Due> {
        // First: what is kept from now on makes itself known.
        self.next_due.store(u64::MAX, Ordering::SeqCst);
        let (mut due, mut next) = (Vec::new(), u64::MAX);
        for shard in &self.shards {
            let mut shard = shard.lock();
            while shard.due.first().is_some_and(|(at, _)| *at <= now) {
                let (_, key) = shard.due.pop_first().expect("it is there");
                due.extend(self.act(&mut shard, key, now));
            }
            next = next.min(shard.due.first().map_or(u64::MAX, |(at, _)| *at));
        }
        self.next_due.fetch_min(next, Ordering::SeqCst);
        due
    }

    /// What is to be done about a session whose moment has come.
    fn act(&self, shard: &mut Shard, key: Key, now: u64) -> Option<Due> {
        let Some(Holder::Away(away)) = shard.holders.get_mut(&key) else { return None };
        if away.expires <= now {
            let Some(Holder::Away(away)) = shard.holders.remove(&key) else { return None };
            self.forget(&away, &key);
            return Some(Due::Expired(away));
        }
        let will = away.will.take()?;
        let (space, from) = (away.subscriptions.space().clone(), away.subscriptions.publisher());
        let next = away.due();
        shard.due.insert((next, key));
        Some(Due::Will { space, from, message: will.message })
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    fn fingerprint_shard(&self, fingerprint: &Fingerprint) -> &ByFingerprint {
        &self.by_fingerprint[usize::from(fingerprint.0[0]) % SHARDS]
    }
}

impl SessionStore for MemoryStore {
    fn claim<'a>(&'a self, entry: &'a Arc<Entry>, clean_start: bool) -> BoxFuture<'a, Result<Claimed, Busy>> {
        self.claim_patiently(entry, clean_start).boxed()
    }

    fn keep(&self, entry: &Arc<Entry>, away: Box<Away>) -> Result<(), NotKept> {
        let key = key(entry);
        let mut shard = self.shard(&key).lock();
        let Some(holder) = shard.holders.get_mut(&key).filter(|holder| holder.is(entry)) else {
            return Err(NotKept { away, is_full: false });
        };
        if self.away.fetch_add(1, Ordering::Relaxed) >= self.away_max {
            self.away.fetch_sub(1, Ordering::Relaxed);
            shard.holders.remove(&key);
            return Err(NotKept { away, is_full: true });
        }
        let (fingerprints, due) = (away.principal.fingerprints(), away.due());
        // Those that wait for the session try again.
        *holder = Holder::Away(away);
        for fingerprint in fingerprints {
            self.fingerprint_shard(&fingerprint).lock().entry(fingerprint).or_default().insert(key.clone());
        }
        shard.due.insert((due, key));
        drop(shard);
        if self.next_due.fetch_min(due, Ordering::SeqCst) > due {
            self.earlier.notify_one();
        }
        Ok(())
    }

    fn release(&self, entry: &Arc<Entry>) {
        let key = key(entry);
        let mut shard = self.shard(&key).lock();
        if shard.holders.get(&key).is_some_and(|holder| holder.is(entry)) {
            shard.holders.remove(&key);
        }
    }

    fn discard(&self, of: Option<&Fingerprint>, ends: &dyn Fn(&Principal) -> bool) -> Vec<Away> {
        let keys: Vec<Key> = match of {
            Some(of) => self.fingerprint_shard(of).lock().get(of).into_iter().flatten().cloned().collect(),
            None => self.shards.iter().flat_map(Shard::away).collect(),
        };
        keys.iter().filter_map(|key| self.take(key, |away| ends(&away.principal))).collect()
    }

    fn due(&self) -> BoxFuture<'_, Vec<Due>> {
        self.wait_for_due().boxed()
    }

    fn len(&self) -> (usize, usize) {
        let holders: usize = self.shards.iter().map(|shard| shard.lock().holders.len()).sum();
        let away = self.away.load(Ordering::Relaxed);
        (holders.saturating_sub(away), away)
    }
}

impl Shard {
    fn away(this: &Mutex<Shard>) -> Vec<Key> {
        this.lock().due.iter().map(|(_, key)| key.clone()).collect()
    }
}

impl Holder {
    fn is(&self, entry: &Arc<Entry>) -> bool {
        matches!(self, Holder::Here { entry: holder, .. } if Arc::ptr_eq(holder, entry))
    }
}

fn key(entry: &Entry) -> Key {
    (entry.principal.tenant.clone(), entry.client_id.clone())
}
