use bytes::{BufMut, BytesMut};

use crate::error::{EncodeError, Fault};
use crate::ids::{PacketId, SubscriptionId};
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::qos::QoS;
use crate::topic::TopicFilter;
use crate::version::Version;
use crate::wire::{Reader, put_prefixed, put_string};

/// SUBSCRIBE (MQTT 3.8): at least one filter ([MQTT-3.8.3-2]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// SUBACK answers with it.
    pub packet_id: PacketId,
    /// Subscription Identifier of all these subscriptions; version 5 only.
    pub subscription_id: Option<SubscriptionId>,
    /// User Properties; version 5 only.
    pub user_properties: UserProperties,
    /// The subscriptions in order; SUBACK answers each in its place.
    pub subscriptions: Vec<Subscription>,
}

/// A topic filter and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What to receive.
    pub filter: TopicFilter,
    /// How to receive it.
    pub options: SubscribeOptions,
}

/// Subscription Options (MQTT 3.8.3.1). Before version 5 there is only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// The highest QoS at which messages are sent to the subscriber.
    pub qos: QoS,
    /// Not the messages that this client itself published.
    pub no_local: bool,
    /// Keep the RETAIN flag of the publisher.
    pub retain_as_published: bool,
    /// Whether retained messages are sent on subscribing.
    pub retain_handling: RetainHandling,
}

/// Retain Handling (MQTT 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Retained messages are sent at each SUBSCRIBE.
    #[default]
    Send = 0,
    /// Only if the subscription is new.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// UNSUBSCRIBE (MQTT 3.10): at least one filter ([MQTT-3.10.3-2]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// UNSUBACK answers with it.
    pub packet_id: PacketId,
    /// User Properties; version 5 only.
    pub user_properties: UserProperties,
    /// The filters in order; UNSUBACK answers each in its place from version 5 on.
    pub filters: Vec<TopicFilter>,
}

impl Subscribe {
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Subscribe, Fault> {
        let packet_id = reader.packet_id()?;
        let (subscription_id, user_properties) = match version {
            Version::V5 => read_properties(reader, true)?,
            _ => (None, UserProperties::default()),
        };
        let mut subscriptions = Vec::new();
        while !reader.is_empty() {
            let filter: TopicFilter = reader.string()?;
            let options = SubscribeOptions::read(reader.u8()?, version)?;
            if options.no_local && filter.share().is_some() {
                return Err(Fault::NoLocalShared);
            }
            subscriptions.push(Subscription { filter, options });
        }
        if subscriptions.is_empty() {
            return Err(Fault::Empty);
        }
        Ok(Subscribe { packet_id, subscription_id, user_properties, subscriptions })
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if version.is_v5() {
            write_properties(self.subscription_id, &self.user_properties, out)?;
        }
        if self.subscriptions.is_empty() {
            return Err(EncodeError::Contradiction("SUBSCRIBE without a filter"));
        }
        for Subscription { filter, options } in &self.subscriptions {
            if options.no_local && filter.share().is_some() {
                return Err(EncodeError::Contradiction("no local on a shared subscription"));
            }
            put_string(out, filter);
            out.put_u8(options.bits(version));
        }
        Ok(())
    }
}

impl SubscribeOptions {
    fn read(bits: u8, version: Version) -> Result<SubscribeOptions, Fault> {
        let qos = QoS::try_from(bits & 0x03)?;
        match version {
            Version::V5 if bits & 0xC0 != 0 => return Err(Fault::SubscriptionOptions),
            Version::V5 => {}
            // [MQTT-3.8.3-4] of 3.1.1; 3.1 calls these bits unused.
            Version::V311 if bits & 0xFC != 0 => return Err(Fault::SubscriptionOptions),
            Version::V311 | Version::V31 => return Ok(SubscribeOptions { qos, ..Default::default() }),
        }
        let retain_handling = match bits >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(Fault::RetainHandling),
        };
        Ok(SubscribeOptions {
            qos,
            no_local: bits & 0x04 != 0,
            retain_as_published: bits & 0x08 != 0,
            retain_handling,
        })
    }

    fn bits(self, version: Version) -> u8 {
        let qos = self.qos as u8;
        if !version.is_v5() {
            return qos;
        }
        let flags = u8::from(self.no_local) << 2 | u8::from(self.retain_as_published) << 3;
        qos | flags | (self.retain_handling as u8) << 4
    }
}

impl Unsubscribe {
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Unsubscribe, Fault> {
        let packet_id = reader.packet_id()?;
        let user_properties = match version {
            Version::V5 => read_properties(reader, false)?.1,
            _ => UserProperties::default(),
        };
        let mut filters = Vec::new();
        while !reader.is_empty() {
            filters.push(reader.string()?);
        }
        if filters.is_empty() {
            return Err(Fault::Empty);
        }
        Ok(Unsubscribe { packet_id, user_properties, filters })
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if version.is_v5() {
            write_properties(None, &self.user_properties, out)?;
        }
        if self.filters.is_empty() {
            return Err(EncodeError::Contradiction("UNSUBSCRIBE without a filter"));
        }
        for filter in &self.filters {
            put_string(out, filter);
        }
        Ok(())
    }
}

fn read_properties(
    reader: &mut Reader<'_>,
    identified: bool,
) -> Result<(Option<SubscriptionId>, UserProperties), Fault> {
    let mut list = PropertyReader::new(reader)?;
    let mut users = Runs::new(list.frame());
    let mut subscription_id = None;
    while let Some(id) = list.next()? {
        match id {
            // The one packet in which it may not repeat (3.8.2.1.2).
            Id::SubscriptionIdentifier if subscription_id.is_some() => return Err(Fault::PropertyRepeated),
            Id::SubscriptionIdentifier if identified => subscription_id = Some(list.subscription_id()?),
            Id::UserProperty => users.add(list.user_property()?),
            _ => return Err(Fault::Property),
        }
    }
    Ok((subscription_id, UserProperties::from_runs(users)))
}

fn write_properties(
    id: Option<SubscriptionId>,
    users: &UserProperties,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    put_prefixed(out, |out| {
        let mut list = PropertyWriter::new(out);
        if let Some(id) = id {
            list.subscription_id(id);
        }
        users.write(&mut list);
        Ok(())
    })
}
