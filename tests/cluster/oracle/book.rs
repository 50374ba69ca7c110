//! What was published, who was subscribed when, and what came: the record by which the broker is judged.

use std::collections::BTreeMap;

use revoq_mqtt::{Publish, QoS, Topic, TopicFilter};

/// Moments are numbers of a clock that each entry advances: of two events of different clients the order is known as far
/// as one has heard of the other through the broker.
pub(super) type Moment = u64;

/// A message by its place in [`Book::sent`]; those of one client ascend in the order of its PUBLISH packets.
pub(super) type Key = usize;

#[derive(Default)]
pub(super) struct Book {
    pub(super) now: Moment,
    pub(super) sent: Vec<Sent>,
    pub(super) records: Vec<Record>,
    /// What no reader of the standard would have sent.
    pub(super) faults: Vec<String>,
}

pub(super) struct Sent {
    pub(super) by: usize,
    pub(super) topic: Topic,
    pub(super) qos: QoS,
    pub(super) size: usize,
    /// Before its first byte left.
    pub(super) first: Moment,
    /// PUBACK, or PUBREC, came.
    pub(super) acknowledged: Option<Moment>,
    /// How often it was sent.
    pub(super) times: usize,
}

impl Sent {
    /// How often the broker may have routed it: a PUBLISH of QoS 2 that is sent again is not a new one.
    pub(super) fn routed(&self) -> usize {
        if self.qos == QoS::AtLeastOnce { self.times } else { 1 }
    }
}

/// Of one client.
#[derive(Default)]
pub(super) struct Record {
    /// Member of the shared group: the group is judged as one.
    pub(super) shares: bool,
    /// Counts its sessions.
    pub(super) epoch: u32,
    pub(super) connections: usize,
    pub(super) spans: Vec<Span>,
    pub(super) receipts: Vec<Receipt>,
}

/// A subscription, from SUBSCRIBE to UNSUBACK or the end of the session.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) filter: TopicFilter,
    pub(super) qos: QoS,
    pub(super) epoch: u32,
    /// Before SUBSCRIBE left.
    pub(super) asked: Moment,
    /// SUBACK came.
    pub(super) granted: Option<Moment>,
    /// Before UNSUBSCRIBE, or what ends the session, left.
    pub(super) left: Option<Moment>,
    /// UNSUBACK, or CONNACK of the next session, came.
    pub(super) gone: Option<Moment>,
}

impl Span {
    /// It holds for certain when the message is sent for the first time.
    pub(super) fn precedes(&self, sent: &Sent) -> bool {
        self.granted.is_some_and(|granted| granted < sent.first)
    }
}

/// A message that came; not what a client recognises as sent again at QoS 2.
pub(super) struct Receipt {
    pub(super) key: Key,
    pub(super) qos: QoS,
    pub(super) dup: bool,
    pub(super) epoch: u32,
    /// The exchange was brought to its end from the client's side: nothing is owed any more.
    pub(super) is_complete: bool,
}

impl Book {
    pub(super) fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// A message that is about to be published for the first time.
    pub(super) fn publishes(&mut self, by: usize, topic: &Topic, qos: QoS, size: usize) -> Key {
        let first = self.tick();
        self.sent.push(Sent { by, topic: topic.clone(), qos, size, first, acknowledged: None, times: 1 });
        self.sent.len() - 1
    }

    pub(super) fn acknowledged(&mut self, key: Key) {
        let now = self.tick();
        self.sent[key].acknowledged.get_or_insert(now);
    }

    pub(super) fn fault(&mut self, client: usize, what: impl std::fmt::Display) {
        self.faults.push(format!("client {client}: {what}"));
    }

    /// A message that came; its place among the receipts of the client.
    pub(super) fn receives(&mut self, client: usize, key: Key, publish: &Publish) -> usize {
        let record = &mut self.records[client];
        let is_complete = publish.qos == QoS::AtMostOnce;
        let (qos, dup, epoch) = (publish.qos, publish.dup, record.epoch);
        record.receipts.push(Receipt { key, qos, dup, epoch, is_complete });
        record.receipts.len() - 1
    }

    /// Which message this is; a fault if none like it was published.
    pub(super) fn recognise(&mut self, client: usize, topic: &Topic, payload: &[u8]) -> Option<Key> {
        let number =
            payload.split(|byte| *byte == b';').next().and_then(|text| std::str::from_utf8(text).ok());
        let key = number.and_then(|text| text.parse::<Key>().ok());
        let known = key.and_then(|key| self.sent.get(key));
        if known
            .is_some_and(|sent| sent.topic == *topic && payload == self::payload(key.unwrap_or(0), sent.size))
        {
            return key;
        }
        self.fault(client, format_args!("got what nobody published: {topic}, {} bytes", payload.len()));
        None
    }

    /// The session ends; what is owed in it is owed no more.
    pub(super) fn session_ends(&mut self, client: usize) {
        let now = self.tick();
        for span in &mut self.records[client].spans {
            span.left.get_or_insert(now);
        }
    }

    /// A session begins, and the one before is gone for certain.
    pub(super) fn session_begins(&mut self, client: usize) {
        let now = self.tick();
        let record = &mut self.records[client];
        record.epoch += 1;
        for span in &mut record.spans {
            span.left.get_or_insert(now);
            span.gone.get_or_insert(now);
        }
    }
}

impl Record {
    /// How many receipts of each message there are, by message.
    pub(super) fn by_key(&self) -> BTreeMap<Key, Vec<&Receipt>> {
        let mut found: BTreeMap<Key, Vec<&Receipt>> = BTreeMap::new();
        for receipt in &self.receipts {
            found.entry(receipt.key).or_default().push(receipt);
        }
        found
    }
}

/// The number, and filling up to `size`.
pub(super) fn payload(key: Key, size: usize) -> Vec<u8> {
    let mut text = format!("{key};").into_bytes();
    text.resize(text.len().max(size), b'x');
    text
}
