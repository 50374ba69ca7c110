//! The cluster, its credentials, and who works with them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use revoq_tests::access::{self, AUTHORITY, TENANT};
use revoq_tests::history::{Bounds, State};
use revoq_tests::{Device, Fleet, Plan};
use rustls::ClientConfig;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;

pub(super) const REPLICAS: usize = 3;
pub(super) const BROKERS: usize = 3;
/// Credentials in use at a time. What is revoked is replaced by a new one.
const SLOTS: usize = 48;
/// Of these, the first few are chosen more often, so that administrators meet.
const HOT: usize = 6;
/// How often one of some kind is looked for.
const PICKS_MAX: usize = 10;
pub(super) const LEASE: Duration = Duration::from_secs(1);
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// Clocks are read in milliseconds.
const READING: Duration = Duration::from_millis(5);
/// One replica answers within this, or the next one is asked.
const ISSUED_WITHIN: Duration = Duration::from_secs(5);

/// A certificate, under its number in the history.
pub(super) struct Credential {
    pub(super) number: u32,
    pub(super) device: Device,
    /// Shared by all its connections, and with it the session tickets.
    pub(super) tls: Arc<ClientConfig>,
    /// As an administrator last saw it: a guess, so that most changes are legal.
    pub(super) seen: Mutex<State>,
    /// Sessions that are alive, as their devices know.
    pub(super) sessions: AtomicU32,
    /// A fence that promises to have ended its sessions is complete: they shall try at once.
    pub(super) fenced: Notify,
}

impl Credential {
    fn new(number: u32, device: Device, tls: Arc<ClientConfig>) -> Credential {
        let (seen, sessions, fenced) = (Mutex::new(State::Inactive), AtomicU32::new(0), Notify::new());
        Credential { number, device, tls, seen, sessions, fenced }
    }

    /// As it was last seen, it is let in.
    pub(super) fn is_welcome(&self) -> bool {
        !self.seen.lock().is_denied()
    }

    /// It has a session somewhere.
    pub(super) fn is_connected(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) > 0
    }
}

/// Everything that the workers share.
pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) recorder: Recorder,
    /// The workload is over.
    pub(super) stop: CancellationToken,
    slots: Vec<Mutex<Arc<Credential>>>,
    next: AtomicU32,
    /// The number of each certificate by its id.
    numbers: Mutex<HashMap<String, u32>>,
}

impl Scene {
    pub(super) async fn start() -> Result<Scene> {
        // Snapshots and log compaction shall come into play too.
        let replica_environment = vec![
            ("REVOQ_CONTROL_LIMITS_SNAPSHOT_LOGS", "2000"),
            ("REVOQ_CONTROL_LIMITS_CHANGES_KEPT", "1000"),
        ];
        let fleet = Fleet::start(Plan {
            replicas: REPLICAS,
            brokers: BROKERS,
            settings: vec![("lease", "1s"), ("stale_grace", "1s")],
            replica_environment,
            ..Plan::default()
        })
        .await?;
        let mut scene = Scene {
            fleet,
            recorder: Recorder::new(),
            stop: CancellationToken::new(),
            slots: Vec::new(),
            next: AtomicU32::new(0),
            numbers: Mutex::default(),
        };
        for n in 0..SLOTS {
            let credential = scene.issue(n % REPLICAS).await?;
            scene.slots.push(Mutex::new(credential));
        }
        Ok(scene)
    }

    /// What [`Rule::Serve`](revoq_tests::history::Rule::Serve) holds the brokers to without a fence.
    pub(super) fn bounds() -> Bounds {
        let nanoseconds = |time: Duration| u64::try_from((time + READING).as_nanos()).expect("a few seconds");
        Bounds { admit: nanoseconds(LEASE), serve: nanoseconds(LEASE + GRACE) }
    }

    /// A new credential, by replica `n`.
    async fn issue(&self, n: usize) -> Result<Arc<Credential>> {
        // Taken also where the issue fails: what is in the log after all has a number of its own then.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("device-{number}");
        let issued = access::issue(self.fleet.channel(n)?, TENANT, AUTHORITY, &name);
        let device = tokio::time::timeout(ISSUED_WITHIN, issued).await??;
        self.numbers.lock().insert(device.certificate.id.clone(), number);
        let tls = self.fleet.tls(Some(&device.leaf))?;
        Ok(Arc::new(Credential::new(number, device, tls)))
    }

    /// One of the credentials in use.
    pub(super) fn pick(&self, random: &mut SmallRng) -> Arc<Credential> {
        let among = if random.random_bool(0.3) { HOT } else { SLOTS };
        self.slots[random.random_range(0..among)].lock().clone()
    }

    /// One of the credentials in use, of that kind if there are some.
    pub(super) fn pick_like(
        &self,
        random: &mut SmallRng,
        like: impl Fn(&Credential) -> bool,
    ) -> Arc<Credential> {
        let any = self.pick(random);
        let picked = (0..PICKS_MAX).map(|_| self.pick(random)).find(|credential| like(credential));
        picked.unwrap_or(any)
    }

    /// Every credential in use.
    pub(super) fn in_use(&self) -> Vec<Arc<Credential>> {
        self.slots.iter().map(|slot| slot.lock().clone()).collect()
    }

    /// Puts a new credential in the place of one that is revoked or deleted. Where it cannot be issued now, the next
    /// one to find the old one revoked tries again.
    pub(super) async fn replace(&self, old: &Arc<Credential>, replica: usize) {
        let Ok(new) = self.issue(replica).await else { return };
        let place = self.slots.iter().find(|slot| Arc::ptr_eq(&slot.lock(), old));
        if let Some(slot) = place {
            *slot.lock() = new;
        }
    }

    /// The number of a certificate, if it is one of the history.
    pub(super) fn number(&self, id: &str) -> Option<u32> {
        self.numbers.lock().get(id).copied()
    }

    /// Sleeps, or less where the workload ends.
    pub(super) async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.stop.cancelled()).await;
    }

    /// Whether the workload goes on.
    pub(super) fn goes_on(&self) -> bool {
        !self.stop.is_cancelled()
    }
}
