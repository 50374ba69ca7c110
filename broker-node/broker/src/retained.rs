//! What publishers of a tenant left for those who subscribe later (RETAIN, MQTT 5.0 section 3.3.1.3). In the memory of this
//! node alone, for now.

use std::sync::Arc;

use parking_lot::RwLock;
use revoq_mqtt::{Topic, TopicFilter};
use revoq_routing::Retained;
use revoq_session::{Delivery, Message, StreamId, SubscriptionTerms, Tick};

use crate::config::Limits;
use crate::metrics::Metrics;

/// The last message with RETAIN of each topic.
#[derive(Default)]
pub(crate) struct Store {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: Retained<Arc<Message>>,
    /// Of topics, properties and payloads.
    bytes: usize,
}

/// How far a new subscription has come through what is retained.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) filter: TopicFilter,
    terms: SubscriptionTerms,
    after: Option<Topic>,
}

impl Cursor {
    pub(crate) fn new(filter: TopicFilter, terms: SubscriptionTerms) -> Cursor {
        Cursor { filter, terms, after: None }
    }

    /// Where its messages go.
    pub(crate) fn stream(&self) -> StreamId {
        self.terms.stream
    }
}

impl Store {
    /// Keeps a message in the place of the one before. One without payload takes that out, and so does one for which there
    /// is no room: what is retained is never older than what was published.
    pub(crate) fn keep(&self, message: &Message, limits: &Limits, metrics: &Metrics) {
        let copy = (!message.payload().is_empty()).then(|| Arc::new(message.to_retained()));
        let mut inner = self.inner.write();
        inner.take(message.topic());
        let Some(copy) = copy else { return };
        let bytes = inner.bytes.saturating_add(copy.size());
        let has_room =
            inner.messages.len() < limits.retained_messages_max && bytes <= limits.retained_bytes_max;
        if has_room && inner.messages.insert(message.topic(), copy).is_ok() {
            inner.bytes = bytes;
        } else {
            metrics.limits.retained.inc();
        }
    }

    /// The next deliveries of a cursor, at most `count`, and one where that is zero. False with the last.
    pub(crate) fn read(&self, cursor: &mut Cursor, now: Tick, count: usize, out: &mut Vec<Delivery>) -> bool {
        let mut expired = Vec::new();
        let mut last = None;
        let (mut left, mut more) = (count, false);
        self.inner.read().messages.matches(&cursor.filter, cursor.after.as_ref(), |topic, message| {
            if message.is_expired(now) {
                expired.push(topic.clone());
            } else {
                out.push(Delivery::retained(message, &cursor.terms));
            }
            last = Some(topic.clone());
            left = left.saturating_sub(1);
            more = left == 0;
            !more
        });
        cursor.after = last.or(cursor.after.take());
        self.forget(&expired, now);
        more
    }

    /// Messages, and their bytes.
    pub(crate) fn len(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.messages.len(), inner.bytes)
    }

    /// Takes out those that are expired still.
    fn forget(&self, topics: &[Topic], now: Tick) {
        if topics.is_empty() {
            return;
        }
        let mut inner = self.inner.write();
        for topic in topics {
            if inner.messages.get(topic).is_some_and(|message| message.is_expired(now)) {
                inner.take(topic);
            }
        }
    }
}

impl Inner {
    fn take(&mut self, topic: &Topic) {
        if let Some(message) = self.messages.remove(topic) {
            self.bytes -= message.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use revoq_mqtt::{Publish, PublishProperties, QoS, SubscribeOptions};

    use super::*;

    fn message(topic: &str, payload: &'static str, expiry_s: Option<u32>) -> Message {
        let properties = PublishProperties { expiry_s, ..PublishProperties::default() };
        let (topic, payload) = (topic.parse().expect("a topic"), Bytes::from_static(payload.as_bytes()));
        let qos = QoS::ExactlyOnce;
        Message::new(
            Publish { dup: false, qos, retain: true, topic, packet_id: None, properties, payload },
            Tick(0),
        )
    }

    fn cursor(filter: &str) -> Cursor {
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        Cursor::new(filter.parse().expect("a filter"), SubscriptionTerms { options, ..Default::default() })
    }

    fn all(store: &Store, filter: &str, now: Tick) -> Vec<String> {
        let (mut cursor, mut found) = (cursor(filter), Vec::new());
        while store.read(&mut cursor, now, 2, &mut found) {}
        let show = |delivery: &Delivery| {
            assert_eq!(delivery.qos(), QoS::AtLeastOnce, "the lower of published and granted");
            format!("{} {:?}", delivery.message().topic(), delivery.message().payload())
        };
        found.iter().map(show).collect()
    }

    #[test]
    fn the_last_message_of_each_topic_is_read_page_by_page() {
        let (store, limits, metrics) = (Store::default(), Limits::default(), Metrics::new());
        for (topic, payload) in
            [("a/1", "old"), ("a/1", "1"), ("a/2", "2"), ("a/3", "3"), ("a/2", ""), ("a/4", "4")]
        {
            store.keep(&message(topic, payload, None), &limits, &metrics);
        }
        assert_eq!(all(&store, "a/+", Tick(0)), ["a/1 b\"1\"", "a/3 b\"3\"", "a/4 b\"4\""]);
        assert_eq!(store.len(), (3, 12));
    }

    #[test]
    fn what_has_no_room_takes_what_was_there_with_it() {
        let (store, metrics) = (Store::default(), Metrics::new());
        let limits = Limits { retained_messages_max: 2, retained_bytes_max: 10, ..Limits::default() };
        for (topic, payload) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "23456789"), ("d", "2345678")] {
            store.keep(&message(topic, payload, None), &limits, &metrics);
        }
        assert_eq!(all(&store, "#", Tick(0)), ["b b\"1\"", "d b\"2345678\""]);
        assert_eq!((store.len(), metrics.limits.retained.get()), ((2, 10), 2));
    }

    #[test]
    fn what_is_expired_is_gone() {
        let (store, limits, metrics) = (Store::default(), Limits::default(), Metrics::new());
        store.keep(&message("a", "1", Some(1)), &limits, &metrics);
        store.keep(&message("b", "2", None), &limits, &metrics);
        assert_eq!(all(&store, "#", Tick(900)).len(), 2);
        assert_eq!(all(&store, "#", Tick(2_000)), ["b b\"2\""]);
        assert_eq!(store.len().0, 1);
    }
}
