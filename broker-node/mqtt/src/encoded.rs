use bytes::{BufMut, Bytes, BytesMut};

use crate::error::EncodeError;
use crate::ids::{PacketId, SubscriptionId, TopicAlias};
use crate::packet::{Publish, PublishProperties, bounded, first_byte};
use crate::properties::{Forwarded, PropertyWriter};
use crate::qos::QoS;
use crate::topic::Topic;
use crate::version::Version;
use crate::wire::{put_string, put_varint, varint_len};

/// A PUBLISH encoded once for all receivers with the same version, QoS and flags.
///
/// [`EncodedPublish::write`] copies it and puts the receiver's packet identifier in; [`EncodedPublish::write_for`]
/// composes it anew for a receiver whose properties differ. The payload is shared with the packet it came from.
#[derive(Clone, Debug)]
pub struct EncodedPublish {
    version: Version,
    first: u8,
    /// All but the payload.
    head: BytesMut,
    /// Where in `head` the packet identifier stands; `None` with QoS 0.
    packet_id_at: Option<usize>,
    topic: Topic,
    expiry_s: Option<u32>,
    forwarded: Forwarded,
    payload: Bytes,
}

/// What a version 5 receiver gets besides the shared part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// The seconds that are left, where time has passed since the message came ([MQTT-3.3.2-6]).
    pub expiry_s: Option<u32>,
    /// The alias that this receiver knows the topic by, or is told now.
    pub topic_alias: Option<TopicAlias>,
    /// The receiver knows the alias: the topic name is left out.
    pub alias_known: bool,
    /// Of all its subscriptions that match ([MQTT-3.3.4-3] to [MQTT-3.3.4-5]).
    pub subscription_ids: &'a [SubscriptionId],
}

impl EncodedPublish {
    /// Encodes topic, expiry, forwarded properties and payload of `publish`, with these flags instead of its own.
    ///
    /// The publisher's topic alias and subscription identifiers mean nothing to others and are left out.
    ///
    /// # Errors
    /// A topic that is only an alias, DUP with QoS 0, or a packet too long for its fixed header.
    pub fn new(
        publish: &Publish,
        version: Version,
        qos: QoS,
        retain: bool,
        dup: bool,
    ) -> Result<EncodedPublish, EncodeError> {
        if publish.topic.is_empty() {
            return Err(EncodeError::Contradiction("an alias that was not resolved"));
        }
        if dup && qos == QoS::AtMostOnce {
            return Err(EncodeError::Contradiction("DUP with QoS 0"));
        }
        let mut encoded = EncodedPublish {
            version,
            first: first_byte(dup, qos, retain),
            head: BytesMut::new(),
            packet_id_at: None,
            topic: publish.topic.clone(),
            expiry_s: publish.properties.expiry_s,
            forwarded: publish.properties.forwarded.clone(),
            payload: publish.payload.clone(),
        };
        let mut head = BytesMut::with_capacity(16 + encoded.topic.len() + encoded.forwarded.bytes().len());
        let placeholder = (qos > QoS::AtMostOnce).then_some(PacketId::FIRST);
        encoded.packet_id_at = encoded.compose(placeholder, &Recipient::default(), &mut head)?;
        encoded.head = head;
        Ok(encoded)
    }

    /// The version that it is encoded for.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Bytes of the whole packet as [`EncodedPublish::write`] writes it, to hold against the receiver's Maximum Packet Size.
    #[inline]
    pub fn size(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// The payload, for drivers that write it without copying it after [`EncodedPublish::write_head`].
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Appends the packet.
    ///
    /// # Panics
    /// Unless `packet_id` is given exactly with QoS 1 and 2.
    #[inline]
    pub fn write(&self, packet_id: Option<PacketId>, out: &mut BytesMut) {
        out.reserve(self.size());
        self.write_head(packet_id, out);
        out.put_slice(&self.payload);
    }

    /// Appends all but the payload.
    ///
    /// # Panics
    /// Unless `packet_id` is given exactly with QoS 1 and 2.
    #[inline]
    pub fn write_head(&self, packet_id: Option<PacketId>, out: &mut BytesMut) {
        assert_eq!(
            packet_id.is_some(),
            self.packet_id_at.is_some(),
            "a packet identifier goes with QoS 1 and 2"
        );
        let start = out.len();
        out.put_slice(&self.head);
        if let (Some(at), Some(id)) = (self.packet_id_at, packet_id) {
            out[start + at..start + at + 2].copy_from_slice(&id.get().to_be_bytes());
        }
    }

    /// Appends the packet with the properties of one receiver; before version 5 they are left out.
    ///
    /// # Errors
    /// The packet is too long for its fixed header; `out` is as it was.
    ///
    /// # Panics
    /// Unless `packet_id` is given exactly with QoS 1 and 2.
    pub fn write_for(
        &self,
        packet_id: Option<PacketId>,
        recipient: &Recipient<'_>,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        assert_eq!(
            packet_id.is_some(),
            self.packet_id_at.is_some(),
            "a packet identifier goes with QoS 1 and 2"
        );
        self.compose(packet_id, recipient, out)?;
        out.put_slice(&self.payload);
        Ok(())
    }

    /// Appends all but the payload; says where behind the start the packet identifier stands.
    fn compose(
        &self,
        packet_id: Option<PacketId>,
        recipient: &Recipient<'_>,
        out: &mut BytesMut,
    ) -> Result<Option<usize>, EncodeError> {
        let named = !(self.version.is_v5() && recipient.alias_known && recipient.topic_alias.is_some());
        let topic = if named { self.topic.clone() } else { Topic::unnamed() };
        let properties = self.properties(recipient);
        let properties_len = bounded(properties.len())?;
        let mut remaining = 2 + topic.len() + self.payload.len();
        remaining += if packet_id.is_some() { 2 } else { 0 };
        if self.version.is_v5() {
            remaining += varint_len(properties_len) + properties.len();
        }
        let remaining = bounded(remaining)?;
        let start = out.len();
        out.put_u8(self.first);
        put_varint(out, remaining);
        put_string(out, &topic);
        let at = out.len() - start;
        if let Some(id) = packet_id {
            out.put_u16(id.get());
        }
        if self.version.is_v5() {
            put_varint(out, properties_len);
            properties.put(&mut PropertyWriter::new(out));
        }
        Ok(packet_id.map(|_| at))
    }

    fn properties(&self, recipient: &Recipient<'_>) -> PublishProperties {
        PublishProperties {
            expiry_s: recipient.expiry_s.or(self.expiry_s),
            topic_alias: recipient.topic_alias,
            subscription_ids: recipient.subscription_ids.to_vec(),
            forwarded: self.forwarded.clone(),
        }
    }
}
