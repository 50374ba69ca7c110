//! Messages between sessions, and what a subscription makes of them.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use revoq_mqtt::{
    EncodedPublish, Publish, PublishProperties, QoS, ReasonCode, SubscribeOptions, SubscriptionId, Topic,
    Version,
};

use crate::{StreamId, Tick};

/// A message below this many bytes is copied before it waits in a queue: as a slice it would hold on to the whole
/// read buffer in which it came.
const DETACHED_BELOW: usize = 16 * 1024;

/// A message on its way from one publisher to any number of subscribers, shared by all of them.
///
/// It is encoded at most once for each protocol and QoS; subscribers of the same kind copy those bytes.
#[derive(Debug)]
pub struct Message {
    publish: Publish,
    received: Tick,
    /// By [`kind`]; an entry of `None` is a message that is too long for that kind.
    encoded: [OnceLock<Option<Box<EncodedPublish>>>; 6],
    /// The same message in memory of its own, made when it first has to wait.
    detached: OnceLock<Arc<Message>>,
}

impl Message {
    /// A message that came at `received`. What concerns its publisher only is left behind: packet identifier, DUP,
    /// topic alias and subscription identifiers.
    #[must_use]
    pub fn new(publish: Publish, received: Tick) -> Message {
        let properties =
            PublishProperties { topic_alias: None, subscription_ids: Vec::new(), ..publish.properties };
        let publish = Publish { dup: false, packet_id: None, properties, ..publish };
        Message { publish, received, encoded: [const { OnceLock::new() }; 6], detached: OnceLock::new() }
    }

    /// The topic to which it was published.
    #[must_use]
    #[inline]
    pub fn topic(&self) -> &Topic {
        &self.publish.topic
    }

    /// The application message.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &Bytes {
        &self.publish.payload
    }

    /// The QoS with which it was published.
    #[must_use]
    #[inline]
    pub fn qos(&self) -> QoS {
        self.publish.qos
    }

    /// The RETAIN flag with which it was published.
    #[must_use]
    #[inline]
    pub fn retain(&self) -> bool {
        self.publish.retain
    }

    /// Message expiry as it was published, and the properties that are forwarded as they are.
    #[must_use]
    pub fn properties(&self) -> &PublishProperties {
        &self.publish.properties
    }

    /// When the publisher's broker node received it.
    #[must_use]
    pub fn received(&self) -> Tick {
        self.received
    }

    /// Bytes of topic, forwarded properties and payload.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        let publish = &self.publish;
        publish.topic.len() + publish.properties.forwarded.bytes().len() + publish.payload.len()
    }

    /// A copy that may be retained (section 3.3.1.3): in memory of its own.
    #[must_use]
    pub fn to_retained(&self) -> Message {
        self.copied(self.received)
    }

    /// Whether its expiry interval has run out at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Tick) -> bool {
        self.age(now) == Age::Expired
    }

    /// The same message as if it had been received at `now`: its expiry interval begins then.
    #[must_use]
    pub fn received_at(&self, now: Tick) -> Message {
        Message::new(self.publish.clone(), now)
    }

    /// A copy that was received at `now`, in memory of its own.
    pub(crate) fn copied(&self, now: Tick) -> Message {
        let mut publish = self.publish.clone();
        publish.topic = publish.topic.detached();
        publish.payload = Bytes::copy_from_slice(&publish.payload);
        publish.properties.forwarded = publish.properties.forwarded.detached();
        Message::new(publish, now)
    }

    #[inline]
    pub(crate) fn age(&self, now: Tick) -> Age {
        let Some(expiry_s) = self.publish.properties.expiry_s else { return Age::Fresh };
        let waited_ms = now.since(self.received);
        if waited_ms > u64::from(expiry_s) * 1000 {
            return Age::Expired;
        }
        match u32::try_from(waited_ms / 1000) {
            Ok(0) => Age::Fresh,
            Ok(waited_s) => Age::Waited { expiry_s: expiry_s - waited_s },
            Err(_) => Age::Expired,
        }
    }

    /// `None` if no packet can hold it.
    #[inline]
    pub(crate) fn encoded(
        &self,
        version: Version,
        qos: QoS,
        retain: bool,
    ) -> Option<Cow<'_, EncodedPublish>> {
        let encode = || self.encode(version, qos, retain, false);
        if retain {
            return encode().map(Cow::Owned);
        }
        let cached = self.encoded[kind(version, qos)].get_or_init(|| encode().map(Box::new));
        cached.as_deref().map(Cow::Borrowed)
    }

    /// The same anew. `None` if no packet can hold it.
    pub(crate) fn encode(
        &self,
        version: Version,
        qos: QoS,
        retain: bool,
        dup: bool,
    ) -> Option<EncodedPublish> {
        EncodedPublish::new(&self.publish, version, qos, retain, dup).ok()
    }
}

/// The place of an encoding: MQTT 3.1 and 3.1.1 have the same PUBLISH.
#[inline]
fn kind(version: Version, qos: QoS) -> usize {
    usize::from(version.is_v5()) * 3 + qos as usize
}

/// How the message expiry interval stands (MQTT 3.3.2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// None is set, or less than a second has passed: what was received is forwarded.
    Fresh,
    /// The rest to forward ([MQTT-3.3.2-6]).
    Waited { expiry_s: u32 },
    /// It must not be sent any more ([MQTT-3.3.2-5]).
    Expired,
}

/// What a client asked for with a topic filter: the value that the router keeps with each subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionTerms {
    /// Subscription Options; their QoS is already lowered to what we grant.
    pub options: SubscribeOptions,
    /// Subscription Identifier, which goes out with each message.
    pub id: Option<SubscriptionId>,
    /// On which the messages go to the client: where it subscribed.
    pub stream: StreamId,
}

impl SubscriptionTerms {
    /// What SUBACK says when the router has taken the subscription.
    #[must_use]
    pub fn granted(&self) -> ReasonCode {
        match self.options.qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQos1,
            QoS::ExactlyOnce => ReasonCode::GrantedQos2,
        }
    }
}

/// A message for one client, with what its subscriptions say about it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Another member of a group could have it instead.
    pub(crate) is_shared: bool,
    pub(crate) stream: StreamId,
    pub(crate) subscription_ids: Vec<SubscriptionId>,
}

impl Delivery {
    /// What a matching subscription makes of a message. `own` says that the subscriber's client identifier is the
    /// publisher's; with No Local there is nothing to deliver then ([MQTT-3.8.3-3]).
    ///
    /// QoS is the lower of published and granted ([MQTT-3.8.4-8]); RETAIN is kept only where Retain As Published
    /// asks for it ([MQTT-3.3.1-12], [MQTT-3.3.1-13]).
    #[must_use]
    pub fn new(message: &Arc<Message>, terms: &SubscriptionTerms, own: bool) -> Option<Delivery> {
        if own && terms.options.no_local {
            return None;
        }
        Some(Delivery {
            message: Arc::clone(message),
            qos: message.qos().min(terms.options.qos),
            retain: message.retain() && terms.options.retain_as_published,
            is_shared: false,
            stream: terms.stream,
            subscription_ids: terms.id.into_iter().collect(),
        })
    }

    /// What a new subscription gets of a message that was retained: with RETAIN set ([MQTT-3.3.1-8]).
    #[must_use]
    pub fn retained(message: &Arc<Message>, terms: &SubscriptionTerms) -> Delivery {
        Delivery {
            message: Arc::clone(message),
            qos: message.qos().min(terms.options.qos),
            retain: true,
            is_shared: false,
            stream: terms.stream,
            subscription_ids: terms.id.into_iter().collect(),
        }
    }

    /// What a shared subscription makes of a message for one of its members.
    #[must_use]
    pub fn shared(message: &Arc<Message>, terms: &SubscriptionTerms) -> Option<Delivery> {
        Delivery::new(message, terms, false).map(|delivery| Delivery { is_shared: true, ..delivery })
    }

    /// Whether it came by a shared subscription and may still be given to another member, if this client's session ends:
    /// with QoS 1 always, with QoS 2 as long as it was not sent ([MQTT-4.8.2-5]).
    #[must_use]
    pub fn is_transferable(&self) -> bool {
        self.is_shared && self.qos > QoS::AtMostOnce
    }

    /// Adds another matching subscription of the same client and stream, so that it gets one copy: with the highest QoS
    /// ([MQTT-3.3.4-2]) and all identifiers ([MQTT-3.3.4-4]).
    pub fn join(&mut self, terms: &SubscriptionTerms, own: bool) {
        if let Some(other) = Delivery::new(&self.message, terms, own) {
            self.qos = self.qos.max(other.qos);
            self.retain |= other.retain;
            self.subscription_ids.extend(other.subscription_ids);
        }
    }

    /// The message.
    #[must_use]
    #[inline]
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// The QoS with which it is sent.
    #[must_use]
    #[inline]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.message.size()
    }

    /// The form in which it may wait: without hold on a read buffer.
    pub(crate) fn waiting(&self) -> Delivery {
        let mut delivery = self.clone();
        if self.message.size() < DETACHED_BELOW {
            let detach = || Arc::new(self.message.copied(self.message.received));
            delivery.message = Arc::clone(self.message.detached.get_or_init(detach));
        }
        delivery
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn delivery(payload: Bytes) -> Delivery {
        let topic = "t".parse().expect("a topic");
        let (qos, properties) = (QoS::AtMostOnce, PublishProperties::default());
        let publish = Publish { dup: false, qos, retain: false, topic, packet_id: None, properties, payload };
        let message = Arc::new(Message::new(publish, Tick(0)));
        Delivery::new(&message, &SubscriptionTerms::default(), false).expect("a delivery")
    }

    #[test]
    fn what_waits_leaves_the_read_buffer() {
        let mut buffer = BytesMut::from(&[0; 64 * 1024][..]);
        let delivery = delivery(buffer.split_to(100).freeze());
        let (one, two) = (delivery.waiting(), delivery.waiting());
        drop(delivery);
        assert!(Arc::ptr_eq(&one.message, &two.message), "one copy for all who wait");
        drop(buffer);
        assert!(one.message.payload().is_unique(), "the copy has its own memory");
    }

    #[test]
    fn what_is_large_waits_where_it_is() {
        let delivery = delivery(Bytes::from(vec![0; DETACHED_BELOW]));
        assert!(Arc::ptr_eq(&delivery.message, &delivery.waiting().message));
    }
}
