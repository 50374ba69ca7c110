use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, BytesMut};

use super::PacketType;
use super::ack::{check_reason, read_reason};
use super::auth::Authentication;
use crate::error::{EncodeError, Fault};
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::qos::QoS;
use crate::reason::{ConnectReturnCode, ReasonCode};
use crate::text::{ClientId, Text};
use crate::version::Version;
use crate::wire::{Reader, put_prefixed};

/// CONNACK (MQTT 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Session Present; only with Success ([MQTT-3.2.2-6]). 3.1 has no such flag.
    pub session_present: bool,
    /// Before version 5 it goes out as [`ReasonCode::to_v3`] says.
    pub reason: ReasonCode,
    /// Version 5 only.
    pub properties: Box<ConnAckProperties>,
}

/// Properties of CONNACK (MQTT 3.2.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAckProperties {
    /// Session Expiry Interval in seconds; absent is what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum; absent is 65,535.
    pub receive_max: Option<NonZeroU16>,
    /// Maximum QoS: QoS 0 or 1; absent ([`QoS::ExactlyOnce`]) is 2.
    pub qos_max: QoS,
    /// Retain Available; absent is true.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes; absent is no limit.
    pub packet_size_max: Option<NonZeroU32>,
    /// Assigned Client Identifier, for a client that came without.
    pub assigned_client_id: Option<ClientId>,
    /// Topic Alias Maximum; 0 is no alias.
    pub topic_alias_max: u16,
    /// Reason String.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Wildcard Subscription Available; absent is true.
    pub wildcard_subscription_available: bool,
    /// Subscription Identifiers Available; absent is true.
    pub subscription_id_available: bool,
    /// Shared Subscription Available; absent is true.
    pub shared_subscription_available: bool,
    /// Server Keep Alive in seconds: outranks the client's.
    pub server_keepalive_s: Option<u16>,
    /// Response Information.
    pub response_information: Option<Text>,
    /// Server Reference.
    pub server_reference: Option<Text>,
    /// Enhanced authentication.
    pub authentication: Option<Authentication>,
}

impl Default for ConnAckProperties {
    fn default() -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_s: None,
            receive_max: None,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            packet_size_max: None,
            assigned_client_id: None,
            topic_alias_max: 0,
            reason_string: None,
            user_properties: UserProperties::default(),
            wildcard_subscription_available: true,
            subscription_id_available: true,
            shared_subscription_available: true,
            server_keepalive_s: None,
            response_information: None,
            server_reference: None,
            authentication: None,
        }
    }
}

impl ConnAck {
    /// A CONNACK without session and properties.
    pub fn new(reason: ReasonCode) -> ConnAck {
        ConnAck { session_present: false, reason, properties: Box::default() }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<ConnAck, Fault> {
        let flags = reader.u8()?;
        if flags > 1 && version != Version::V31 {
            return Err(Fault::ConnAckFlags);
        }
        let session_present = version != Version::V31 && flags == 1;
        let reason = match version {
            Version::V5 => read_reason(PacketType::ConnAck, reader)?,
            _ => ConnectReturnCode::try_from(reader.u8()?)?.into(),
        };
        if session_present && reason != ReasonCode::Success {
            return Err(Fault::SessionPresent);
        }
        let properties = match version {
            Version::V5 => Box::new(ConnAckProperties::read(reader)?),
            _ => Box::default(),
        };
        Ok(ConnAck { session_present, reason, properties })
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        if self.session_present && self.reason != ReasonCode::Success {
            return Err(EncodeError::Contradiction("session present in a refusal"));
        }
        out.put_u8(u8::from(self.session_present && version != Version::V31));
        if version.is_v5() {
            check_reason(PacketType::ConnAck, self.reason)?;
            out.put_u8(self.reason.code());
            return self.properties.write(out);
        }
        out.put_u8(self.reason.to_v3() as u8);
        Ok(())
    }
}

impl ConnAckProperties {
    fn read(reader: &mut Reader<'_>) -> Result<ConnAckProperties, Fault> {
        let mut list = PropertyReader::new(reader)?;
        let mut users = Runs::new(list.frame());
        let mut properties = ConnAckProperties::default();
        let (mut method, mut data) = (None, None);
        while let Some(id) = list.next()? {
            match id {
                Id::UserProperty => users.add(list.user_property()?),
                Id::AuthenticationMethod => method = Some(list.string()?),
                Id::AuthenticationData => data = Some(list.binary()?),
                id => properties.read_one(id, &mut list)?,
            }
        }
        properties.authentication = Authentication::join(method, data)?;
        properties.user_properties = UserProperties::from_runs(users);
        Ok(properties)
    }

    fn read_one(&mut self, id: Id, list: &mut PropertyReader<'_>) -> Result<(), Fault> {
        match id {
            Id::SessionExpiryInterval => self.session_expiry_s = Some(list.u32()?),
            Id::ReceiveMaximum => self.receive_max = Some(list.nonzero_u16()?),
            Id::MaximumQoS => self.qos_max = if list.flag()? { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            Id::RetainAvailable => self.retain_available = list.flag()?,
            Id::MaximumPacketSize => self.packet_size_max = Some(list.nonzero_u32()?),
            Id::AssignedClientIdentifier => self.assigned_client_id = Some(list.string()?),
            Id::TopicAliasMaximum => self.topic_alias_max = list.u16()?,
            Id::ReasonString => self.reason_string = Some(list.string()?),
            Id::WildcardSubscriptionAvailable => self.wildcard_subscription_available = list.flag()?,
            Id::SubscriptionIdentifierAvailable => self.subscription_id_available = list.flag()?,
            Id::SharedSubscriptionAvailable => self.shared_subscription_available = list.flag()?,
            Id::ServerKeepAlive => self.server_keepalive_s = Some(list.u16()?),
            Id::ResponseInformation => self.response_information = Some(list.string()?),
            Id::ServerReference => self.server_reference = Some(list.string()?),
            _ => return Err(Fault::Property),
        }
        Ok(())
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_prefixed(out, |out| {
            let mut list = PropertyWriter::new(out);
            list.u32(Id::SessionExpiryInterval, self.session_expiry_s);
            list.u16(Id::ReceiveMaximum, self.receive_max.map(NonZeroU16::get));
            list.u8(Id::MaximumQoS, (self.qos_max < QoS::ExactlyOnce).then_some(self.qos_max as u8));
            list.flag(Id::RetainAvailable, self.retain_available, true);
            list.u32(Id::MaximumPacketSize, self.packet_size_max.map(NonZeroU32::get));
            list.string(Id::AssignedClientIdentifier, self.assigned_client_id.as_ref());
            list.u16(Id::TopicAliasMaximum, (self.topic_alias_max > 0).then_some(self.topic_alias_max));
            list.string(Id::ReasonString, self.reason_string.as_ref());
            list.flag(Id::WildcardSubscriptionAvailable, self.wildcard_subscription_available, true);
            list.flag(Id::SubscriptionIdentifierAvailable, self.subscription_id_available, true);
            list.flag(Id::SharedSubscriptionAvailable, self.shared_subscription_available, true);
            list.u16(Id::ServerKeepAlive, self.server_keepalive_s);
            list.string(Id::ResponseInformation, self.response_information.as_ref());
            list.string(Id::ServerReference, self.server_reference.as_ref());
            Authentication::put(self.authentication.as_ref(), &mut list)?;
            self.user_properties.write(&mut list);
            Ok(())
        })
    }
}
