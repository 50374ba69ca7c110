//! From a message to the mailboxes of those that subscribe to it. Tenants never see each other's topics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use revoq_credentials::TenantName;
use revoq_mqtt::TopicFilter;
use revoq_routing::{Draw, HashKeys, Shared, Strategy, Table};
use revoq_session::{Delivery, Message, SubscriptionTerms};
use slab::Slab;

use crate::config::Limits;
use crate::gate::Shut;
use crate::metrics::Metrics;
use crate::registry::{Entry, Posted};
use crate::retained::Store;
use crate::sys::Figures;

thread_local! {
    /// Reused from message to message.
    static MATCHES: RefCell<Vec<(usize, SubscriptionTerms)>> = const { RefCell::new(Vec::new()) };
}

/// The spaces of all tenants.
pub(crate) struct Router {
    spaces: RwLock<HashMap<TenantName, Arc<Space>>>,
    /// Of all shared subscriptions.
    strategy: Strategy,
}

impl Router {
    /// Without any tenant yet.
    pub(crate) fn new(strategy: Strategy) -> Router {
        Router { spaces: RwLock::default(), strategy }
    }

    /// The topics of one tenant. There are as many as tenants that had a client.
    pub(crate) fn space(&self, tenant: &TenantName) -> Arc<Space> {
        if let Some(space) = self.spaces.read().get(tenant) {
            return space.clone();
        }
        let mut spaces = self.spaces.write();
        spaces.entry(tenant.clone()).or_insert_with(|| Arc::new(Space::new(self.strategy))).clone()
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
    pub(crate) retained: Store,
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
    targets: Slab<Arc<Entry>>,
}

impl Space {
    fn new(strategy: Strategy) -> Space {
        let keys = HashKeys::from(rand::random::<[u64; 4]>());
        let (table, shared) = (Table::new(keys), Shared::new(strategy, keys));
        let inner = Inner { table, shared, targets: Slab::new() };
        Space { inner: RwLock::new(inner), retained: Store::default(), figures: Figures::default() }
    }

    /// A place for a connection that subscribes for the first time.
    pub(crate) fn enter(&self, entry: &Arc<Entry>) -> usize {
        self.inner.write().targets.insert(entry.clone())
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

    /// Takes a connection out, with everything it subscribed to.
    pub(crate) fn leave(&self, target: usize, filters: &[TopicFilter]) {
        let mut inner = self.inner.write();
        for filter in filters {
            inner.unsubscribe(filter, target);
        }
        inner.targets.try_remove(target);
    }

    /// Hands a message to every mailbox that wants it, one copy each. When this returns, local queues have it. False
    /// if nobody wants it.
    pub(crate) fn publish(
        &self,
        message: &Arc<Message>,
        from: Publisher,
        limits: &Limits,
        metrics: &Metrics,
    ) -> bool {
        metrics.published.inc();
        Figures::add(&self.figures.received, 1);
        let delivered = self.hand_out(message, from, limits, metrics);
        metrics.delivered.inc_by(delivered);
        Figures::add(&self.figures.sent, delivered);
        delivered > 0
    }

    /// Publishes what the node itself has to say. It is counted nowhere.
    pub(crate) fn announce(&self, message: &Arc<Message>, limits: &Limits, metrics: &Metrics) {
        self.hand_out(message, Publisher { target: None, key: 0 }, limits, metrics);
    }

    /// How many got it.
    fn hand_out(&self, message: &Arc<Message>, from: Publisher, limits: &Limits, metrics: &Metrics) -> u64 {
        if message.retain() {
            // First: who subscribes in between gets this one, and not the one before.
            self.retained.keep(message, limits, metrics);
        }
        let count = |dropped| {
            metrics.dropped.inc_by(dropped);
            Figures::add(&self.figures.dropped, dropped);
        };
        let inner = self.inner.read();
        MATCHES.with_borrow_mut(|matches| {
            matches.clear();
            inner.table.matches(message.topic(), |target, terms| matches.push((target, *terms)));
            // Several filters of one client make one delivery.
            matches.sort_unstable_by_key(|(target, _)| *target);
            let mut delivered = 0;
            for of_one in matches.chunk_by(|a, b| a.0 == b.0) {
                let target = of_one[0].0;
                let Some(delivery) = merge(message, of_one, from.target == Some(target)) else { continue };
                if let Some(entry) = inner.targets.get(target) {
                    delivered += u64::from(post(entry, delivery, limits, metrics, count));
                }
            }
            delivered
                + inner.publish_shared(message, from, |entry, delivery| {
                    post(entry, delivery, limits, metrics, count)
                })
        })
    }

    /// Pairs of a client and a filter.
    pub(crate) fn subscriptions(&self) -> usize {
        let inner = self.inner.read();
        inner.table.len() + inner.shared.members()
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

    /// One copy for each group: to the member that the strategy chose, or to the next that has room. How many took one.
    fn publish_shared(
        &self,
        message: &Arc<Message>,
        from: Publisher,
        post: impl Fn(&Entry, Delivery) -> bool,
    ) -> u64 {
        if self.shared.is_empty() {
            return 0;
        }
        let draw = Draw { publisher: from.key, random: rand::random() };
        let taken = self.shared.offer(message.topic(), draw, |target, terms| {
            let delivery = Delivery::new(message, terms, false);
            let entry = self.targets.get(target);
            entry.zip(delivery).is_some_and(|(entry, delivery)| post(entry, delivery))
        });
        taken as u64
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

/// True if it is in the mailbox. `count` is told how many messages were lost.
fn post(entry: &Entry, delivery: Delivery, limits: &Limits, metrics: &Metrics, count: impl Fn(u64)) -> bool {
    if !entry.gate.is_open() {
        return false;
    }
    let (posted, dropped) =
        entry.mailbox.post(delivery, limits.mailbox_messages_max, limits.mailbox_bytes_max);
    if dropped > 0 {
        count(dropped);
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
