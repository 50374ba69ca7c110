use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{EncodeError, Fault};
use crate::ids::{PacketId, SubscriptionId, TopicAlias};
use crate::properties::{Forwarded, Id, PayloadFormat, PropertyReader, PropertyWriter, Runs};
use crate::qos::QoS;
use crate::topic::Topic;
use crate::version::Version;
use crate::wire::{Reader, put_string, put_varint, varint_len};

/// PUBLISH (MQTT 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// DUP: this may be a second delivery. Never with QoS 0 ([MQTT-3.3.1-2]).
    pub dup: bool,
    /// Delivery promise.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name; [`Topic::unnamed`] only with a Topic Alias.
    pub topic: Topic,
    /// Given exactly when QoS is above 0 ([MQTT-2.2.1-2], [MQTT-2.2.1-3]).
    pub packet_id: Option<PacketId>,
    /// Version 5 only.
    pub properties: PublishProperties,
    /// Application Message.
    pub payload: Bytes,
}

/// Properties of a PUBLISH or a will (MQTT 3.3.2.3, 3.1.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Message Expiry Interval in seconds; 0 is legal.
    pub expiry_s: Option<u32>,
    /// Topic Alias; never in a will.
    pub topic_alias: Option<TopicAlias>,
    /// Subscription Identifiers, from a server only ([MQTT-3.3.4-6]); never in a will.
    pub subscription_ids: Vec<SubscriptionId>,
    /// The properties that travel with the message as they are.
    pub forwarded: Forwarded,
}

impl Publish {
    /// Whether the payload is what the Payload Format Indicator says; looking is optional ([MQTT-3.3.2-4]).
    pub fn payload_matches_format(&self) -> bool {
        match self.properties.forwarded.payload_format() {
            PayloadFormat::Bytes => true,
            PayloadFormat::Utf8 => std::str::from_utf8(&self.payload).is_ok(),
        }
    }

    pub(crate) fn read(flags: u8, reader: &mut Reader<'_>, version: Version) -> Result<Publish, Fault> {
        let qos = QoS::try_from(flags >> 1 & 0x03)?;
        let mut dup = flags & 0x08 != 0;
        if dup && qos == QoS::AtMostOnce {
            // 3.1 gives the flag no meaning there and does not forbid it.
            if version != Version::V31 {
                return Err(Fault::Dup);
            }
            dup = false;
        }
        let name = reader.binary()?;
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let properties = match version {
            Version::V5 => PublishProperties::read(reader)?,
            _ => PublishProperties::default(),
        };
        let topic = match properties.topic_alias {
            Some(_) if name.is_empty() => Topic::unnamed(),
            _ => Topic::try_from(name)?,
        };
        let payload = reader.rest();
        Ok(Publish { dup, qos, retain: flags & 0x01 != 0, topic, packet_id, properties, payload })
    }

    /// The whole packet. Measured first, unlike the other packets: the payload is not to be moved twice.
    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.check(version)?;
        let properties = self.properties.len();
        let mut len = 2 + self.topic.len() + self.payload.len();
        len += if self.packet_id.is_some() { 2 } else { 0 };
        if version.is_v5() {
            len += properties + varint_len(bounded(properties)?);
        }
        let len = bounded(len)?;
        out.reserve(1 + varint_len(len) + len as usize);
        out.put_u8(first_byte(self.dup, self.qos, self.retain));
        put_varint(out, len);
        put_string(out, &self.topic);
        if let Some(id) = self.packet_id {
            out.put_u16(id.get());
        }
        if version.is_v5() {
            put_varint(out, bounded(properties)?);
            self.properties.put(&mut PropertyWriter::new(out));
        }
        out.put_slice(&self.payload);
        Ok(())
    }

    fn check(&self, version: Version) -> Result<(), EncodeError> {
        let aliased = version.is_v5() && self.properties.topic_alias.is_some();
        let contradiction = if self.packet_id.is_some() != (self.qos > QoS::AtMostOnce) {
            "a packet identifier goes with QoS 1 and 2 only"
        } else if self.dup && self.qos == QoS::AtMostOnce {
            "DUP with QoS 0"
        } else if self.topic.is_empty() && !aliased {
            "an empty topic name without a topic alias"
        } else {
            return Ok(());
        };
        Err(EncodeError::Contradiction(contradiction))
    }
}

impl PublishProperties {
    fn read(reader: &mut Reader<'_>) -> Result<PublishProperties, Fault> {
        let mut list = PropertyReader::new(reader)?;
        let mut properties = PublishProperties::default();
        if list.is_empty() {
            return Ok(properties);
        }
        let mut forwarded = Runs::new(list.frame());
        while let Some(id) = list.next()? {
            match id {
                Id::MessageExpiryInterval => properties.expiry_s = Some(list.u32()?),
                Id::TopicAlias => {
                    properties.topic_alias = Some(TopicAlias::new(list.u16()?).ok_or(Fault::TopicAlias)?);
                }
                Id::SubscriptionIdentifier => properties.subscription_ids.push(list.subscription_id()?),
                id => forwarded.add(list.forwarded(id)?),
            }
        }
        properties.forwarded = Forwarded::from_runs(forwarded);
        Ok(properties)
    }

    /// Length in bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        let ids: usize = self.subscription_ids.iter().map(|id| 1 + varint_len(id.get())).sum();
        let expiry = if self.expiry_s.is_some() { 5 } else { 0 };
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        expiry + alias + ids + self.forwarded.bytes().len()
    }

    pub(crate) fn put(&self, list: &mut PropertyWriter<'_>) {
        list.u32(Id::MessageExpiryInterval, self.expiry_s);
        list.u16(Id::TopicAlias, self.topic_alias.map(TopicAlias::get));
        for &id in &self.subscription_ids {
            list.subscription_id(id);
        }
        list.raw(self.forwarded.bytes());
    }
}

/// The first byte of a PUBLISH.
pub(crate) fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | u8::from(dup) << 3 | (qos as u8) << 1 | u8::from(retain)
}

/// A length that a Variable Byte Integer can hold.
pub(crate) fn bounded(len: usize) -> Result<u32, EncodeError> {
    let len = u32::try_from(len).ok().filter(|&len| len <= crate::wire::VARINT_MAX);
    len.ok_or(EncodeError::PacketTooLarge)
}
