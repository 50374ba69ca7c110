use bytes::{Bytes, BytesMut};

use super::PublishProperties;
use crate::error::{EncodeError, Fault};
use crate::properties::{Forwarded, Id, PropertyReader, PropertyWriter, Runs};
use crate::qos::QoS;
use crate::topic::Topic;
use crate::version::Version;
use crate::wire::{Reader, put_binary, put_prefixed, put_string};

/// Will Message: what the server publishes when the client is gone (MQTT 3.1.2.5, 3.1.3.2 to 3.1.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Topic.
    pub topic: Topic,
    /// Will Payload, at most 65,535 bytes.
    pub payload: Bytes,
    /// Will Delay Interval in seconds; version 5 only.
    pub delay_s: u32,
    /// Without alias and subscription identifiers; version 5 only.
    pub properties: PublishProperties,
}

impl Will {
    pub(super) fn read(
        qos: QoS,
        retain: bool,
        reader: &mut Reader<'_>,
        version: Version,
    ) -> Result<Will, Fault> {
        let (delay_s, properties) = match version {
            Version::V5 => read_properties(reader)?,
            _ => (0, PublishProperties::default()),
        };
        let topic = reader.string()?;
        let payload = reader.binary()?;
        Ok(Will { qos, retain, topic, payload, delay_s, properties })
    }

    pub(super) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        if self.properties.topic_alias.is_some() || !self.properties.subscription_ids.is_empty() {
            return Err(EncodeError::Contradiction("a topic alias or subscription identifier in a will"));
        }
        if self.topic.is_empty() {
            return Err(EncodeError::Contradiction("a will without a topic"));
        }
        if version.is_v5() {
            put_prefixed(out, |out| {
                let mut list = PropertyWriter::new(out);
                list.u32(Id::WillDelayInterval, (self.delay_s > 0).then_some(self.delay_s));
                self.properties.put(&mut list);
                Ok(())
            })?;
        }
        put_string(out, &self.topic);
        put_binary(out, &self.payload)
    }
}

fn read_properties(reader: &mut Reader<'_>) -> Result<(u32, PublishProperties), Fault> {
    let mut list = PropertyReader::new(reader)?;
    let mut forwarded = Runs::new(list.frame());
    let mut properties = PublishProperties::default();
    let mut delay_s = 0;
    while let Some(id) = list.next()? {
        match id {
            Id::WillDelayInterval => delay_s = list.u32()?,
            Id::MessageExpiryInterval => properties.expiry_s = Some(list.u32()?),
            id => forwarded.add(list.forwarded(id)?),
        }
    }
    properties.forwarded = Forwarded::from_runs(forwarded);
    Ok((delay_s, properties))
}
