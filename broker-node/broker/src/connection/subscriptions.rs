//! What one client subscribes to, and its place in its tenant's space.

use std::sync::Arc;

use revoq_mqtt::{QoS, ReasonCode, TopicFilter};
use revoq_session::{Message, SubscriptionTerms};

use crate::node::Node;
use crate::registry::Entry;
use crate::router::Space;

/// Takes everything back when dropped.
pub(super) struct Subscriptions {
    space: Arc<Space>,
    /// From the first subscription on: most devices only publish.
    target: Option<usize>,
    filters: Vec<TopicFilter>,
}

impl Subscriptions {
    pub(super) fn new(space: Arc<Space>) -> Subscriptions {
        Subscriptions { space, target: None, filters: Vec::new() }
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
            if self.space.subscribe(&filter, target, terms) {
                self.filters.push(filter);
            }
            reasons.push(granted(terms.options.qos));
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
            ReasonCode::Success
        };
        filters.iter().map(remove).collect()
    }

    /// True if somebody got it.
    pub(super) fn publish(&self, node: &Node, message: &Arc<Message>) -> bool {
        self.space.publish(message, self.target, &node.limits, &node.metrics)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        if let Some(target) = self.target {
            self.space.leave(target, &self.filters);
        }
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQos1,
        QoS::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}
