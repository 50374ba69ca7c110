//! From a message to the mailboxes of those that subscribe to it. Tenants never see each other's topics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use revoq_credentials::TenantName;
use revoq_mqtt::{QoS, TopicFilter};
use revoq_routing::{Draw, HashKeys, Shared, Strategy, Table};
use revoq_session::{Delivery, Message, SessionState, SubscriptionTerms};
use slab::Slab;

use crate::clock;
use crate::gate::Shut;
use crate::node::Node;
use crate::registry::{Entry, Posted};
use crate::retained::{NewStore, RetainedStore};
use crate::sys::Figures;

thread_local! {
    /// Reused from message to message.
    static MATCHES: RefCell<Vec<(usize, SubscriptionTerms)>> = const { RefCell::new(Vec::new()) };
}

/// The spaces of all tenants.
pub(crate) struct Router {
    spaces: RwLock<HashMap<TenantName, Arc<Space>>>,
    queued: Arc<AtomicUsize>,
    /// Of all shared subscriptions.
    strategy: Strategy,
    new_retained: NewStore,
}

impl Router {
    /// Without any tenant yet.
    pub(crate) fn new(strategy: Strategy, new_retained: NewStore) -> Router {
        Router { spaces: RwLock::default(), queued: Arc::default(), strategy, new_retained }
    }

    /// The topics of one tenant. There are as many as tenants that had a client.
    pub(crate) fn space(&self, tenant: &TenantName) -> Arc<Space> {
        if let Some(space) = self.spaces.read().get(tenant) {
            return space.clone();
        }
        let new = || Arc::new(Space::new(self.strategy, self.queued.clone(), (self.new_retained)(tenant)));
        self.spaces.write().entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Bytes of messages that wait for clients that are away.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Of every tenant that had a client.
    pub(crate) fn spaces(&self) -> Vec<Arc<Space>> {
        self.spaces.read().values().cloned().collect()
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
pub(crate) struct Space {
    inner: RwLock<Inner>,
    pub(crate) retained: Box<dyn RetainedStore>,
    /// Of all spaces: [`Router::queued`].
    queued: Arc<AtomicUsize>,
    pub(crate) figures: Figures,
}

/// Who publishes.
#[derive(Clone, Copy)]
pub(crate) struct Publisher {
    /// Its place, if it subscribes to anything.
    pub(crate) target: Option<usize>,
    /// [`Draw::publisher`].
    pub(crate) key: u64,
}

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
    fn new(strategy: Strategy, queued: Arc<AtomicUsize>, retained: Box<dyn RetainedStore>) -> Space {
        let keys = HashKeys::from(rand::random::<[u64; 4]>());
        let (table, shared) = (Table::new(keys), Shared::new(strategy, keys));
        let inner = RwLock::new(Inner { table, shared, targets: Slab::new() });
        Space { inner, retained, queued, figures: Figures::default() }
    }

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
        if filter.is_shared() {
            inner.shared.subscribe(filter, target, terms).is_none()
        } else {
            inner.table.subscribe(filter, target, terms).is_none()
        }
    }

    /// False if there was no such subscription.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, target: usize) -> bool {
        self.inner.write().unsubscribe(filter, target)
    }

    /// Takes a connection out, with everything it subscribed to. What a session held whose client was away comes back.
    pub(crate) fn leave(&self, target: usize, filters: &[TopicFilter]) -> Option<Box<SessionState>> {
        let mut inner = self.inner.write();
        for filter in filters {
            inner.unsubscribe(filter, target);
        }
        match inner.targets.try_remove(target)? {
            Target::Here(_) => None,
            Target::Away(state) => Some(self.unqueued(state)),
        }
    }

    /// Hands a message to every mailbox that wants it, one copy each. When this returns, local queues have it. False
    /// if nobody wants it.
    pub(crate) fn publish(&self, message: &Arc<Message>, from: Publisher, node: &Node) -> bool {
        let metrics = &node.metrics;
        metrics.published.inc();
        Figures::add(&self.figures.received, 1);
        let delivered = self.hand_out(message, from, node);
        metrics.delivered.inc_by(delivered);
        Figures::add(&self.figures.sent, delivered);
        delivered > 0
    }

    /// Publishes what the node itself has to say. It is counted nowhere.
    pub(crate) fn announce(&self, message: &Arc<Message>, node: &Node) {
        self.hand_out(message, Publisher { target: None, key: 0 }, node);
    }

    /// How many got it.
    fn hand_out(&self, message: &Arc<Message>, from: Publisher, node: &Node) -> u64 {
        // First: who subscribes in between gets this one, and not the one before.
        if message.retain() && !self.retained.keep(message) {
            node.metrics.limits.retained.inc();
        }
        let inner = self.inner.read();
        MATCHES.with_borrow_mut(|matches| {
            matches.clear();
            inner.table.matches(message.topic(), |target, terms| matches.push((target, *terms)));
            // Several filters of one client make one delivery for each stream.
            matches.sort_unstable_by_key(|(target, terms)| (*target, terms.stream));
            let mut delivered = 0;
            for of_one in matches.chunk_by(|a, b| (a.0, a.1.stream) == (b.0, b.1.stream)) {
                let target = of_one[0].0;
                let Some(delivery) = merge(message, of_one, from.target == Some(target)) else { continue };
                if let Some(target) = inner.targets.get(target) {
                    delivered += u64::from(self.post(target, delivery, node));
                }
            }
            delivered + self.publish_shared(&inner, message, from, node)
        })
    }

    /// Pairs of a client and a filter.
    pub(crate) fn subscriptions(&self) -> usize {
        let inner = self.inner.read();
        inner.table.len() + inner.shared.members()
    }

    /// One copy for each group: to the member that the strategy chose, or to the next that has room; to one that is away
    /// only where no other takes it. How many took one.
    fn publish_shared(&self, inner: &Inner, message: &Arc<Message>, from: Publisher, node: &Node) -> u64 {
        if inner.shared.is_empty() {
            return 0;
        }
        let draw = Draw { publisher: from.key, random: rand::random() };
        let take = self.takes(inner, message, node);
        inner.shared.offer(message.topic(), draw, take) as u64
    }

    /// Gives a message that a member did not get to another member of its groups.
    pub(crate) fn transfer(&self, groups: &[TopicFilter], delivery: &Delivery, node: &Node) {
        let message = delivery.message();
        let inner = self.inner.read();
        let draw = Draw { publisher: 0, random: rand::random() };
        for group in groups {
            inner.shared.offer_group(group, message.topic(), draw, self.takes(&inner, message, node));
        }
    }

    /// Whether a member of a group takes a message: one that is away only when it is asked again.
    fn takes<'a>(
        &'a self,
        inner: &'a Inner,
        message: &'a Arc<Message>,
        node: &'a Node,
    ) -> impl FnMut(usize, &SubscriptionTerms, bool) -> bool + 'a {
        move |target, terms, again| {
            let target = inner.targets.get(target).filter(|target| target.is_away() == again);
            let delivery = Delivery::shared(message, terms);
            target.zip(delivery).is_some_and(|(target, delivery)| self.post(target, delivery, node))
        }
    }

    /// True if it is in the mailbox, or waits for a client that is away.
    fn post(&self, target: &Target, delivery: Delivery, node: &Node) -> bool {
        match target {
            Target::Here(entry) => self.post_here(entry, delivery, node),
            Target::Away(state) => self.post_away(&mut state.lock(), &delivery, node),
        }
    }

    /// True if it is in the mailbox.
    fn post_here(&self, entry: &Entry, delivery: Delivery, node: &Node) -> bool {
        let (limits, metrics) = (&node.limits, &node.metrics);
        // What comes between the cut and the end of the connection waits for the next one of the session.
        if !entry.gate.is_open() && !entry.outlives {
            return false;
        }
        let (posted, dropped) =
            entry.mailbox.post(delivery, limits.mailbox_messages_max, limits.mailbox_bytes_max);
        if dropped > 0 {
            metrics.dropped.inc_by(dropped);
            Figures::add(&self.figures.dropped, dropped);
        }
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
        if filter.is_shared() {
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
