//! From a message to the mailboxes of those that subscribe to it. Tenants never see each other's topics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use revoq_credentials::TenantName;
use revoq_mqtt::{QoS, TopicFilter};
use revoq_routing::{Shared, Table};
use revoq_session::{Delivery, Message, SessionState, SubscriptionTerms};
use slab::Slab;

use crate::clock;
use crate::gate::Shut;
use crate::node::Node;
use crate::registry::{Entry, Posted};
use crate::retained::Store;

thread_local! {
    /// Reused from message to message.
    static MATCHES: RefCell<Vec<(usize, SubscriptionTerms)>> = const { RefCell::new(Vec::new()) };
}

/// The spaces of all tenants.
#[derive(Default)]
pub(crate) struct Router {
    spaces: RwLock<HashMap<TenantName, Arc<Space>>>,
    queued: Arc<AtomicUsize>,
}

impl Router {
    /// The topics of one tenant. There are as many as tenants that had a client.
    pub(crate) fn space(&self, tenant: &TenantName) -> Arc<Space> {
        if let Some(space) = self.spaces.read().get(tenant) {
            return space.clone();
        }
        let new = || Arc::new(Space { queued: self.queued.clone(), ..Space::default() });
        self.spaces.write().entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Bytes of messages that wait for clients that are away.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Retained messages of all tenants, and their bytes.
    pub(crate) fn retained(&self) -> (usize, usize) {
        let stores = self.spaces.read();
        stores
            .values()
            .map(|space| space.retained.len())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// Who subscribes to what in one tenant.
#[derive(Default)]
pub(crate) struct Space {
    inner: RwLock<Inner>,
    pub(crate) retained: Store,
    /// Of all spaces: [`Router::queued`].
    queued: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Inner {
    table: Table<usize, SubscriptionTerms>,
    shared: Shared<usize, SubscriptionTerms>,
    /// A table's target is a place in here.
    targets: Slab<Target>,
}

/// Who has a place: a connection, or a session whose client is away.
enum Target {
    Here(Arc<Entry>),
    Away(Mutex<Box<SessionState>>),
}

impl Space {
    /// A place for a connection that subscribes for the first time.
    pub(crate) fn enter(&self, entry: &Arc<Entry>) -> usize {
        self.inner.write().targets.insert(Target::Here(entry.clone()))
    }

    /// The client goes away: its session takes what its mailbox holds, and what comes from now on.
    pub(crate) fn keep(&self, target: usize, entry: &Entry, mut state: Box<SessionState>, node: &Node) {
        let now = clock::tick(clock::now());
        let mut inner = self.inner.write();
        for delivery in entry.mailbox.close() {
            if !state.handle_delivery(now, &delivery, &node.session_config) {
                node.metrics.dropped.inc();
            }
        }
        self.queued.fetch_add(state.queued().1, Ordering::Relaxed);
        if let Some(place) = inner.targets.get_mut(target) {
            *place = Target::Away(Mutex::new(state));
        }
    }

    /// The client is back: its mailbox takes what comes from now on. `None`: it was not away.
    pub(crate) fn resume(&self, target: usize, entry: &Arc<Entry>) -> Option<Box<SessionState>> {
        let mut inner = self.inner.write();
        let place = inner.targets.get_mut(target)?;
        match std::mem::replace(place, Target::Here(entry.clone())) {
            Target::Here(_) => None,
            Target::Away(state) => Some(self.unqueued(state)),
        }
    }

    fn unqueued(&self, state: Mutex<Box<SessionState>>) -> Box<SessionState> {
        let state = state.into_inner();
        self.queued.fetch_sub(state.queued().1, Ordering::Relaxed);
        state
    }

    /// True if the filter is new for this target.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, target: usize, terms: SubscriptionTerms) -> bool {
        let mut inner = self.inner.write();
        if is_shared(filter) {
            inner.shared.subscribe(filter, target, terms).is_none()
        } else {
            inner.table.subscribe(filter, target, terms).is_none()
        }
    }

    /// False if there was no such subscription.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, target: usize) -> bool {
        self.inner.write().unsubscribe(filter, target)
    }

    /// Takes a connection out, with everything it subscribed to.
    pub(crate) fn leave(&self, target: usize, filters: &[TopicFilter]) {
        let mut inner = self.inner.write();
        for filter in filters {
            inner.unsubscribe(filter, target);
        }
        if let Some(Target::Away(state)) = inner.targets.try_remove(target) {
            self.unqueued(state);
        }
    }

    /// Hands a message to every mailbox that wants it, one copy each. When this returns, local queues have it. False
    /// if nobody wants it.
    pub(crate) fn publish(&self, message: &Arc<Message>, from: Option<usize>, node: &Node) -> bool {
        let metrics = &node.metrics;
        metrics.published.inc();
        if message.retain() {
            // First: who subscribes in between gets this one, and not the one before.
            self.retained.keep(message, &node.limits, metrics);
        }
        let inner = self.inner.read();
        MATCHES.with_borrow_mut(|matches| {
            matches.clear();
            inner.table.matches(message.topic(), |target, terms| matches.push((target, *terms)));
            // Several filters of one client make one delivery.
            matches.sort_unstable_by_key(|(target, _)| *target);
            let mut delivered = 0;
            for of_one in matches.chunk_by(|a, b| a.0 == b.0) {
                let target = of_one[0].0;
                let Some(delivery) = merge(message, of_one, from == Some(target)) else { continue };
                if let Some(target) = inner.targets.get(target) {
                    delivered += u64::from(self.post(target, delivery, node));
                }
            }
            delivered += self.publish_shared(&inner, message, node);
            metrics.delivered.inc_by(delivered);
            delivered > 0
        })
    }

    /// One copy for each group: to the member whose turn it is, or to the next that has room; to one that is away only
    /// where no other takes it. How many took one.
    fn publish_shared(&self, inner: &Inner, message: &Arc<Message>, node: &Node) -> u64 {
        let mut delivered = 0;
        if inner.shared.is_empty() {
            return delivered;
        }
        inner.shared.matches(message.topic(), |members| {
            let offer = |away: bool| {
                members.clone().any(|(target, terms)| {
                    let target = inner.targets.get(*target).filter(|target| target.is_away() == away);
                    let delivery = Delivery::new(message, terms, false);
                    target.zip(delivery).is_some_and(|(target, delivery)| self.post(target, delivery, node))
                })
            };
            delivered += u64::from(offer(false) || offer(true));
        });
        delivered
    }

    /// True if it is in the mailbox, or waits for a client that is away.
    fn post(&self, target: &Target, delivery: Delivery, node: &Node) -> bool {
        match target {
            Target::Here(entry) => post(entry, delivery, node),
            Target::Away(state) => self.post_away(&mut state.lock(), &delivery, node),
        }
    }

    fn post_away(&self, state: &mut SessionState, delivery: &Delivery, node: &Node) -> bool {
        if delivery.qos() == QoS::AtMostOnce {
            return false;
        }
        let before = state.queued().1;
        let has_room = self.queued.load(Ordering::Relaxed) < node.limits.queued_bytes_max;
        let now = clock::tick(clock::now());
        let queued = has_room && state.handle_delivery(now, delivery, &node.session_config);
        // What has expired may have made way.
        let after = state.queued().1;
        self.queued.fetch_add(after.saturating_sub(before), Ordering::Relaxed);
        self.queued.fetch_sub(before.saturating_sub(after), Ordering::Relaxed);
        if !queued {
            node.metrics.limits.queued.inc();
        }
        queued
    }

    /// Subscriptions, for tests.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.table.len(), inner.targets.len())
    }
}

impl Inner {
    fn unsubscribe(&mut self, filter: &TopicFilter, target: usize) -> bool {
        if is_shared(filter) {
            self.shared.unsubscribe(filter, target)
        } else {
            self.table.unsubscribe(filter, target)
        }
    }
}

impl Target {
    fn is_away(&self) -> bool {
        matches!(self, Target::Away(_))
    }
}

/// Whether a filter is a shared subscription.
pub(crate) fn is_shared(filter: &TopicFilter) -> bool {
    filter.share().is_some() || filter.queue().is_some()
}

fn merge(message: &Arc<Message>, terms: &[(usize, SubscriptionTerms)], own: bool) -> Option<Delivery> {
    let mut merged: Option<Delivery> = None;
    for (_, terms) in terms {
        match &mut merged {
            Some(delivery) => delivery.join(terms, own),
            None => merged = Delivery::new(message, terms, own),
        }
    }
    merged
}

/// True if it is in the mailbox.
fn post(entry: &Entry, delivery: Delivery, node: &Node) -> bool {
    let (limits, metrics) = (&node.limits, &node.metrics);
    // What comes between the cut and the end of the connection waits for the next one of the session.
    if !entry.gate.is_open() && !entry.outlives {
        return false;
    }
    let (posted, dropped) =
        entry.mailbox.post(delivery, limits.mailbox_messages_max, limits.mailbox_bytes_max);
    metrics.dropped.inc_by(dropped);
    match posted {
        Posted::Queued => true,
        Posted::First => {
            entry.gate.wake();
            true
        }
        Posted::Dropped | Posted::Shut => false,
        Posted::Overflow => {
            metrics.limits.mailbox.inc();
            if entry.cut(Shut::TooSlow) {
                metrics.cuts(Shut::TooSlow).inc();
            }
            false
        }
    }
}
