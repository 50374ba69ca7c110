//! What one client subscribes to, and its place in its tenant's space.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use revoq_mqtt::{ClientId, ReasonCode, RetainHandling, TopicFilter};
use revoq_routing::stable_hash;
use revoq_session::{Delivery, Message, SubscriptionTerms, Tick};

use crate::node::Node;
use crate::registry::Entry;
use crate::retained::Cursor;
use crate::router::{Publisher, Space};
use crate::sys::Figures;

/// Retained messages that are read at a time.
const RETAINED_PAGE: usize = 32;

/// Takes everything back when dropped.
pub(super) struct Subscriptions {
    space: Arc<Space>,
    /// From the first subscription on: most devices only publish.
    target: Option<usize>,
    /// By which shared subscriptions may choose a member for what this client publishes.
    publisher: u64,
    filters: Vec<TopicFilter>,
    /// Subscriptions that have not got everything retained yet; one a filter.
    cursors: VecDeque<Cursor>,
}

impl Subscriptions {
    pub(super) fn new(space: Arc<Space>, client_id: &ClientId) -> Subscriptions {
        let publisher = stable_hash(client_id.as_bytes());
        space.figures.clients.fetch_add(1, Ordering::Relaxed);
        Subscriptions { space, target: None, publisher, filters: Vec::new(), cursors: VecDeque::new() }
    }

    /// A reason code for each filter: the granted QoS.
    pub(super) fn add(
        &mut self,
        entry: &Arc<Entry>,
        filters: Vec<(TopicFilter, SubscriptionTerms)>,
    ) -> Vec<ReasonCode> {
        let target = *self.target.get_or_insert_with(|| self.space.enter(entry));
        let mut reasons = Vec::with_capacity(filters.len());
        for (filter, terms) in filters {
            // Of its own: the slice would keep the whole SUBSCRIBE in memory.
            let filter = filter.detached();
            let is_new = self.space.subscribe(&filter, target, terms);
            if is_new {
                self.filters.push(filter.clone());
            }
            self.begin_retained(filter, terms, is_new);
            reasons.push(terms.granted());
        }
        reasons
    }

    /// A reason code for each filter.
    pub(super) fn remove(&mut self, filters: &[TopicFilter]) -> Vec<ReasonCode> {
        let Some(target) = self.target else {
            return vec![ReasonCode::NoSubscriptionExisted; filters.len()];
        };
        let remove = |filter: &TopicFilter| {
            if !self.space.unsubscribe(filter, target) {
                return ReasonCode::NoSubscriptionExisted;
            }
            self.filters.retain(|other| other != filter);
            self.cursors.retain(|cursor| cursor.filter != *filter);
            ReasonCode::Success
        };
        filters.iter().map(remove).collect()
    }

    /// Retained messages are read for a subscription as Retain Handling says ([MQTT-3.3.1-9] to [MQTT-3.3.1-11]), from
    /// the beginning if it is made again; for a shared one never (section 4.8.2).
    fn begin_retained(&mut self, filter: TopicFilter, terms: SubscriptionTerms, is_new: bool) {
        let wanted = match terms.options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if wanted && !filter.is_shared() {
            self.cursors.retain(|cursor| cursor.filter != filter);
            self.cursors.push_back(Cursor::new(filter, terms));
        }
    }

    /// Whether there may be retained messages that were not read.
    pub(super) fn awaits_retained(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// The next retained messages, a page at most.
    pub(super) fn read_retained(&mut self, now: Tick, out: &mut Vec<Delivery>) {
        let Some(cursor) = self.cursors.front_mut() else { return };
        if !self.space.retained.read(cursor, now, RETAINED_PAGE, out) {
            self.cursors.pop_front();
            if self.cursors.is_empty() {
                self.cursors = VecDeque::new();
            }
        }
    }

    /// So many messages did not find room in the client's session.
    pub(super) fn count_dropped(&self, dropped: u64) {
        Figures::add(&self.space.figures.dropped, dropped);
    }

    /// True if somebody got it.
    pub(super) fn publish(&self, node: &Node, message: &Arc<Message>) -> bool {
        let from = Publisher { target: self.target, key: self.publisher };
        self.space.publish(message, from, &node.limits, &node.metrics)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.space.figures.clients.fetch_sub(1, Ordering::Relaxed);
        if let Some(target) = self.target {
            self.space.leave(target, &self.filters);
        }
    }
}
