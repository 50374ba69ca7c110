//! Retained messages in the memory of this node: they end with it.

use std::sync::Arc;

use parking_lot::RwLock;
use revoq_mqtt::Topic;
use revoq_routing::Retained;
use revoq_session::{Delivery, Message, Tick};

use super::{Cursor, RetainedStore};
use crate::config::Limits;

/// Within `retained_messages_max` and `retained_bytes_max`.
pub(crate) struct MemoryStore {
    inner: RwLock<Inner>,
    messages_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Inner {
    messages: Retained<Arc<Message>>,
    /// Of topics, properties and payloads.
    bytes: usize,
}

impl MemoryStore {
    /// Without any message yet.
    pub(crate) fn new(limits: &Limits) -> MemoryStore {
        MemoryStore {
            inner: RwLock::default(),
            messages_max: limits.retained_messages_max,
            bytes_max: limits.retained_bytes_max,
        }
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

impl RetainedStore for MemoryStore {
    fn keep(&self, message: &Message) -> bool {
        let copy = (!message.payload().is_empty()).then(|| Arc::new(message.to_retained()));
        let mut inner = self.inner.write();
        inner.take(message.topic());
        let Some(copy) = copy else { return true };
        let bytes = inner.bytes.saturating_add(copy.size());
        let has_room = inner.messages.len() < self.messages_max && bytes <= self.bytes_max;
        let is_kept = has_room && inner.messages.insert(message.topic(), copy).is_ok();
        if is_kept {
            inner.bytes = bytes;
        }
        is_kept
    }

    fn read(&self, cursor: &mut Cursor, now: Tick, count: usize, out: &mut Vec<Delivery>) -> bool {
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

    fn len(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.messages.len(), inner.bytes)
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
    use revoq_session::SubscriptionTerms;

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

    fn all(store: &dyn RetainedStore, filter: &str, now: Tick) -> Vec<String> {
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
        let store = MemoryStore::new(&Limits::default());
        for (topic, payload) in
            [("a/1", "old"), ("a/1", "1"), ("a/2", "2"), ("a/3", "3"), ("a/2", ""), ("a/4", "4")]
        {
            assert!(store.keep(&message(topic, payload, None)));
        }
        assert_eq!(all(&store, "a/+", Tick(0)), ["a/1 b\"1\"", "a/3 b\"3\"", "a/4 b\"4\""]);
        assert_eq!(store.len(), (3, 12));
    }

    #[test]
    fn what_has_no_room_takes_what_was_there_with_it() {
        let limits = Limits { retained_messages_max: 2, retained_bytes_max: 10, ..Limits::default() };
        let (store, mut refused) = (MemoryStore::new(&limits), 0);
        for (topic, payload) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "23456789"), ("d", "2345678")] {
            refused += usize::from(!store.keep(&message(topic, payload, None)));
        }
        assert_eq!(all(&store, "#", Tick(0)), ["b b\"1\"", "d b\"2345678\""]);
        assert_eq!((store.len(), refused), ((2, 10), 2));
    }

    #[test]
    fn what_is_expired_is_gone() {
        let store = MemoryStore::new(&Limits::default());
        assert!(store.keep(&message("a", "1", Some(1))) && store.keep(&message("b", "2", None)));
        assert_eq!(all(&store, "#", Tick(900)).len(), 2);
        assert_eq!(all(&store, "#", Tick(2_000)), ["b b\"2\""]);
        assert_eq!(store.len().0, 1);
    }
}
