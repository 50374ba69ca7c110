//! What all parts of the node share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use revoq_credentials::{
    Affected, Cause, Fingerprint, Millis, NodeId, Principal, StaleNew, State, Verdict, View,
};
use revoq_lease::{Freshness, Permitted};
use revoq_mqtt::ReasonCode;
use revoq_routing::Strategy;
use revoq_session::Rate;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::clock::{self, Now, duration_millis};
use crate::config::Limits;
use crate::gate::Shut;
use crate::listener::RATED_ADDRESSES_MAX;
use crate::lookup::LookUps;
use crate::metrics::Metrics;
use crate::registry::{Registry, Swept};
use crate::retained::{self, NewStore};
use crate::router::Router;
use crate::sessions::{MemoryStore, SessionStore};
use crate::tls::{ServerCertificate, Tickets, Trust};
use crate::usage::Usage;

/// The state of a broker node. All of it is in memory, and all of it may be lost.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) session_config: Arc<revoq_session::Config>,
    /// Written by the watch driver alone, always before the registry is swept.
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) freshness: Freshness,
    pub(crate) registry: Arc<Registry>,
    pub(crate) sessions: Box<dyn SessionStore>,
    pub(crate) router: Router,
    pub(crate) trust: Arc<Trust>,
    pub(crate) tickets: Arc<Tickets>,
    /// Absent where no listener needs it.
    pub(crate) certificate: Option<Arc<ServerCertificate>>,
    pub(crate) lookups: LookUps,
    /// How often each address connects; one of IPv6 stands for its /64.
    pub(crate) connect_rates: Cache<Rate, IpAddr>,
    pub(crate) usage: Usage,
    pub(crate) metrics: Metrics,
    /// Cancelled when the node drains: connections that are not let in yet end at once.
    pub(crate) stopping: CancellationToken,
    /// Tells each sweep to who asked: [`crate::Broker::sweeps`].
    pub(crate) sweeps: broadcast::Sender<Sweep>,
    draining: AtomicBool,
    removed: AtomicBool,
}

/// All gates that the view's revisions up to this one shut are shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The revision of the view.
    pub revision: u64,
    /// When the last of them was shut, on `CLOCK_BOOTTIME`.
    pub at: Duration,
}

/// Sweeps that a receiver may be behind before it misses some.
const SWEEPS_KEPT: usize = 64;

/// What a node is made of at its start.
pub(crate) struct Parts {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) shared_strategy: Strategy,
    pub(crate) lookups: LookUps,
    pub(crate) certificate: Option<Arc<ServerCertificate>>,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Node {
        let Parts { id, name, limits, shared_strategy, lookups, certificate } = parts;
        let session_config = revoq_session::Config {
            packet_size_max: limits.packet_size_max,
            connect_timeout_ms: duration_millis(limits.connect_timeout),
            ..limits.session.clone()
        };
        let algorithms = crate::tls::provider().signature_verification_algorithms;
        Node {
            id,
            name,
            session_config: Arc::new(session_config),
            view: Arc::new(ArcSwap::from_pointee(View::new())),
            freshness: Freshness::default(),
            registry: Registry::new(),
            sessions: Box::new(MemoryStore::new(limits.sessions_away_max)),
            router: Router::new(shared_strategy, retained(&limits)),
            trust: Arc::new(Trust::new(algorithms, limits.identities_cached_max)),
            tickets: Arc::default(),
            certificate,
            lookups,
            connect_rates: Cache::new(RATED_ADDRESSES_MAX),
            usage: Usage::new(),
            metrics: Metrics::new(),
            sweeps: broadcast::Sender::new(SWEEPS_KEPT),
            stopping: CancellationToken::new(),
            draining: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            limits,
        }
    }

    /// May a client be let in now, as far as the age of the view is concerned?
    pub(crate) fn serves_new(&self, now: Now) -> bool {
        if self.draining.load(Ordering::SeqCst) || self.removed.load(Ordering::SeqCst) {
            return false;
        }
        match self.freshness.permitted(now) {
            Permitted::Fresh => true,
            Permitted::Stale => self.view.load().settings().stale_new == StaleNew::Serve,
            Permitted::Never | Permitted::Lapsed => false,
        }
    }

    /// What a client is told whose gate was shut. Where there is another server, a node that ends names it.
    pub(crate) fn reason_code(&self, why: Shut) -> ReasonCode {
        match why {
            Shut::Draining if self.session_config.server_reference.is_some() => ReasonCode::UseAnotherServer,
            why => why.reason_code(),
        }
    }

    /// May packets still be handled?
    #[inline]
    pub(crate) fn is_lapsed(&self, now: Now) -> bool {
        self.freshness.permitted(now) == Permitted::Lapsed || self.removed.load(Ordering::SeqCst)
    }

    /// Why `/readyz` says no; `None` when the node is ready.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::SeqCst) {
            return Some("the node is shutting down");
        }
        if self.removed.load(Ordering::SeqCst) {
            return Some("the node was removed from the cluster");
        }
        match self.freshness.permitted(clock::now()) {
            Permitted::Never => return Some("no view yet: the control plane has not granted a lease"),
            Permitted::Stale => {
                return Some("the view is stale: the lease ran out, sessions live on the grace");
            }
            Permitted::Lapsed => {
                return Some("the view is stale: lease and grace ran out, all sessions are closed");
            }
            Permitted::Fresh => {}
        }
        let certificate = self.certificate.as_ref();
        certificate.filter(|certificate| !certificate.is_set()).map(|_| "no server certificate yet")
    }

    /// Sweeps those that a change names, by the view that is current. The caller acknowledges, then calls
    /// [`Node::finish`].
    pub(crate) fn sweep(&self, affected: &[Affected]) -> Swept {
        let (view, now) = (self.view.load(), clock::now().millis());
        self.registry.sweep(affected, |principal| judge(&view, principal, now))
    }

    /// Lets the tasks of swept connections close them.
    pub(crate) fn finish(&self, swept: Swept) {
        for why in Shut::ALL {
            self.metrics.cuts(why).inc_by(swept.sessions_by(why));
        }
        swept.wake();
    }

    /// Whether a session of this principal is not to be kept: its credential is gone for good. A suspension leaves it as it
    /// is.
    pub(crate) fn ends_session(&self, principal: &Principal) -> bool {
        let verdict = self.view.load().verdict(principal, clock::now().millis());
        match verdict {
            Verdict::Deny(
                Cause::Certificate(state)
                | Cause::Password(state)
                | Cause::Authority(state)
                | Cause::Tenant(state),
            ) => matches!(state, State::Revoked | State::Deleted),
            Verdict::Deny(_) | Verdict::Allow => false,
        }
    }

    /// Ends the sessions of clients that are away and whose credential is gone for good: of one credential, or of all.
    pub(crate) fn discard_sessions(&self, of: Option<&Fingerprint>) {
        let view = self.view.load();
        for away in self.sessions.discard(of, &|principal| self.ends_session(principal)) {
            let principal = &away.principal;
            tracing::info!(tenant = %principal.tenant, revision = view.revision().0, "the session of a revoked client is discarded");
            away.end(self);
        }
    }

    /// Closes every session. New ones come back only through [`Node::serves_new`].
    pub(crate) fn shut_all(&self, why: Shut) -> u64 {
        let swept = self.registry.shut_all(why);
        let sessions = swept.sessions;
        self.finish(swept);
        sessions
    }

    /// No new sessions from now on, and an end to those that are.
    pub(crate) fn drain(&self) -> u64 {
        self.draining.store(true, Ordering::SeqCst);
        self.stopping.cancel();
        self.shut_all(Shut::Draining)
    }

    /// The cluster removed this node: whatever it knows is worth nothing from now on.
    pub(crate) fn remove(&self) -> u64 {
        self.removed.store(true, Ordering::SeqCst);
        self.shut_all(Shut::Lapsed)
    }

    /// Brings the metrics that are levels up to date.
    pub(crate) fn measure(&self) {
        let (view, metrics) = (self.view.load(), &self.metrics);
        metrics.sessions.set(self.registry.len() as u64);
        metrics.view_revision.set(view.revision().0);
        metrics.denied.set(view.denied_len() as u64);
        let (held, away) = self.sessions.len();
        metrics.client_ids.set(held as u64);
        metrics.sessions_away.set(away as u64);
        metrics.queued_bytes.set(self.router.queued() as u64);
        metrics.connect_rate_addresses.set(self.connect_rates.len() as u64);
        metrics.lookups_cached.set(self.lookups.cached() as u64);
        metrics.identities_cached.set(self.trust.cached() as u64);
        let (messages, bytes) = self.router.retained();
        metrics.retained_messages.set(messages as u64);
        metrics.retained_bytes.set(bytes as u64);
        metrics.lease_left_ms.set(self.freshness.left(clock::now()));
        metrics.ready.set(u64::from(self.unready().is_none()));
    }
}

/// Of each tenant in memory.
fn retained(limits: &Limits) -> NewStore {
    let limits = limits.clone();
    Box::new(move |_| Box::new(retained::MemoryStore::new(&limits)))
}

/// The verdict on one principal, as the reason to shut its gate.
pub(crate) fn judge(view: &View, principal: &Principal, now: Millis) -> Option<Shut> {
    match view.verdict(principal, now) {
        Verdict::Allow => None,
        Verdict::Deny(Cause::Expired) => Some(Shut::Expired),
        Verdict::Deny(Cause::CertificateRequired) => Some(Shut::CertificateRequired),
        Verdict::Deny(_) => Some(Shut::Denied),
    }
}
