//! What one client subscribes to, and its place in its tenant's space.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use revoq_mqtt::{ClientId, ReasonCode, RetainHandling, TopicFilter};
use revoq_routing::stable_hash;
use revoq_session::{Delivery, Message, SessionState, StreamId, SubscriptionTerms, Tick};

use crate::node::Node;
use crate::registry::Entry;
use crate::retained::Cursor;
use crate::router::{Publisher, Space};
use crate::sys::{Figures, SYS};

/// Retained messages that are read at a time.
const RETAINED_PAGE: usize = 32;

/// Takes everything back when dropped.
pub(crate) struct Subscriptions {
    space: Arc<Space>,
    /// From the first subscription on: most devices only publish.
    target: Option<usize>,
    /// By which shared subscriptions may choose a member for what this client publishes.
    publisher: u64,
    is_counted: bool,
    filters: Vec<TopicFilter>,
    /// Subscriptions that have not got everything retained yet; one a filter.
    cursors: VecDeque<Cursor>,
}

impl Subscriptions {
    pub(crate) fn new(space: Arc<Space>, client_id: &ClientId) -> Subscriptions {
        let publisher = stable_hash(client_id.as_bytes());
        let (filters, cursors) = (Vec::new(), VecDeque::new());
        let mut new = Subscriptions { space, target: None, publisher, is_counted: false, filters, cursors };
        new.count(true);
        new
    }

    /// Among the clients that are connected.
    fn count(&mut self, is_counted: bool) {
        match (self.is_counted, is_counted) {
            (false, true) => _ = self.space.figures.clients.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.space.figures.clients.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => {}
        }
        self.is_counted = is_counted;
    }

    /// The session ends: messages that other members of its groups can have go to them, those too that it held while its client
    /// was away.
    pub(crate) fn end(mut self, transferable: impl IntoIterator<Item = Delivery>, node: &Node) {
        let groups: Vec<TopicFilter> =
            self.filters.iter().filter(|filter| filter.is_shared()).cloned().collect();
        let held = self.leave().into_iter().flat_map(|state| state.into_transferable());
        for delivery in transferable.into_iter().chain(held) {
            if delivery.is_transferable() {
                self.space.transfer(&groups, &delivery, node);
            }
        }
    }

    fn leave(&mut self) -> Option<Box<SessionState>> {
        self.count(false);
        self.space.leave(self.target.take()?, &self.filters)
    }

    /// The topics of the client's tenant.
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The client goes away, and its session is kept: nothing that comes for it is lost from now on.
    pub(super) fn keep(&mut self, entry: &Arc<Entry>, state: Box<SessionState>, node: &Node) {
        self.count(false);
        let target = *self.target.get_or_insert_with(|| self.space.enter(entry));
        self.space.keep(target, entry, state, node);
    }

    /// The client is back.
    pub(crate) fn resume(&mut self, entry: &Arc<Entry>) -> Option<Box<SessionState>> {
        self.count(true);
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
        if wanted && !filter.is_shared() {
            self.cursors.retain(|cursor| cursor.filter != filter);
            self.cursors.push_back(Cursor::new(filter, terms));
        }
    }

    /// Whether there may be retained messages that were not read, for a stream that `flows`.
    pub(super) fn awaits_retained(&self, mut flows: impl FnMut(StreamId) -> bool) -> bool {
        self.cursors.iter().any(|cursor| flows(cursor.stream()))
    }

    /// The next retained messages for a stream that `flows`, a page at most. False if there are none.
    pub(super) fn read_retained(
        &mut self,
        now: Tick,
        mut flows: impl FnMut(StreamId) -> bool,
        out: &mut Vec<Delivery>,
    ) -> bool {
        let Some(index) = self.cursors.iter().position(|cursor| flows(cursor.stream())) else { return false };
        if !self.space.retained.read(&mut self.cursors[index], now, RETAINED_PAGE, out) {
            self.cursors.remove(index);
            if self.cursors.is_empty() {
                self.cursors = VecDeque::new();
            }
        }
        true
    }

    /// Who the client is as a publisher.
    pub(crate) fn publisher(&self) -> Publisher {
        Publisher { target: self.target, key: self.publisher }
    }

    /// So many messages did not find room in the client's session.
    pub(super) fn count_dropped(&self, dropped: u64) {
        Figures::add(&self.space.figures.dropped, dropped);
    }

    /// The code of its acknowledgement: whether somebody got it. What is under `$SYS` is the node's to say (section 4.7.2).
    pub(super) fn publish(&self, node: &Node, message: &Arc<Message>) -> ReasonCode {
        if message.topic().as_bytes().starts_with(SYS) {
            return ReasonCode::NotAuthorized;
        }
        match self.space.publish(message, self.publisher(), node) {
            true => ReasonCode::Success,
            false => ReasonCode::NoMatchingSubscribers,
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.leave();
    }
}
