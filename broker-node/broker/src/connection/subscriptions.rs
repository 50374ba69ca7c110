//! What one client subscribes to, and its place in its tenant's space.

use std::collections::VecDeque;
use std::sync::Arc;

use revoq_mqtt::{ReasonCode, RetainHandling, TopicFilter};
use revoq_session::{Delivery, Message, SessionState, SubscriptionTerms, Tick};

use crate::node::Node;
use crate::registry::Entry;
use crate::retained::Cursor;
use crate::router::{Space, is_shared};

/// Retained messages that are read at a time.
const RETAINED_PAGE: usize = 32;

/// Takes everything back when dropped.
pub(crate) struct Subscriptions {
    space: Arc<Space>,
    /// From the first subscription on: most devices only publish.
    target: Option<usize>,
    filters: Vec<TopicFilter>,
    /// Subscriptions that have not got everything retained yet; one a filter.
    cursors: VecDeque<Cursor>,
}

impl Subscriptions {
    pub(crate) fn new(space: Arc<Space>) -> Subscriptions {
        Subscriptions { space, target: None, filters: Vec::new(), cursors: VecDeque::new() }
    }

    /// The topics of the client's tenant.
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The client goes away, and its session is kept: nothing that comes for it is lost from now on.
    pub(super) fn keep(&mut self, entry: &Arc<Entry>, state: Box<SessionState>, node: &Node) {
        let target = *self.target.get_or_insert_with(|| self.space.enter(entry));
        self.space.keep(target, entry, state, node);
    }

    /// The client is back.
    pub(crate) fn resume(&self, entry: &Arc<Entry>) -> Option<Box<SessionState>> {
        self.space.resume(self.target?, entry)
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
        if wanted && !is_shared(&filter) {
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

    /// True if somebody got it.
    pub(super) fn publish(&self, node: &Node, message: &Arc<Message>) -> bool {
        self.space.publish(message, self.target, node)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        if let Some(target) = self.target {
            self.space.leave(target, &self.filters);
        }
    }
}
