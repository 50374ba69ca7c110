use bytes::{BufMut, Bytes, BytesMut};

use super::PacketType;
use super::ack::{AckProperties, check_reason, read_reason};
use crate::error::{EncodeError, Fault};
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::wire::{Reader, put_prefixed};

/// Authentication Method and Data; the data never comes alone (MQTT 3.1.2.11.10, 4.12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Authentication Method.
    pub method: Text,
    /// Authentication Data, at most 65,535 bytes.
    pub data: Option<Bytes>,
}

/// AUTH (MQTT 3.15), version 5 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// `None` only in the two-byte form that 3.15.2.1 allows.
    pub authentication: Option<Authentication>,
    /// Reason String and User Properties.
    pub properties: AckProperties,
}

impl Authentication {
    /// [`Fault::AuthenticationMethod`] for data without a method.
    pub(super) fn join(method: Option<Text>, data: Option<Bytes>) -> Result<Option<Authentication>, Fault> {
        match (method, data) {
            (Some(method), data) => Ok(Some(Authentication { method, data })),
            (None, Some(_)) => Err(Fault::AuthenticationMethod),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn put(
        this: Option<&Authentication>,
        list: &mut PropertyWriter<'_>,
    ) -> Result<(), EncodeError> {
        let Some(this) = this else { return Ok(()) };
        list.string(Id::AuthenticationMethod, Some(&this.method));
        list.binary(Id::AuthenticationData, this.data.as_ref())
    }
}

impl Auth {
    /// Only the reason Success without properties may be left out (3.15.2.1); the method must stand otherwise (3.15.2.2.2).
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Auth, Fault> {
        if reader.is_empty() {
            let properties = AckProperties::default();
            return Ok(Auth { reason: ReasonCode::Success, authentication: None, properties });
        }
        let reason = read_reason(PacketType::Auth, reader)?;
        let mut list = PropertyReader::new(reader)?;
        let mut users = Runs::new(list.frame());
        let (mut method, mut data, mut reason_string) = (None, None, None);
        while let Some(id) = list.next()? {
            match id {
                Id::AuthenticationMethod => method = Some(list.string()?),
                Id::AuthenticationData => data = Some(list.binary()?),
                Id::ReasonString => reason_string = Some(list.string()?),
                Id::UserProperty => users.add(list.user_property()?),
                _ => return Err(Fault::Property),
            }
        }
        let authentication = Authentication::join(method, data)?;
        if authentication.is_none() {
            return Err(Fault::AuthenticationMethod);
        }
        let properties = AckProperties { reason_string, user_properties: UserProperties::from_runs(users) };
        Ok(Auth { reason, authentication, properties })
    }

    pub(crate) fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        check_reason(PacketType::Auth, self.reason)?;
        if self.authentication.is_none() {
            let bare = self.reason == ReasonCode::Success && self.properties.is_empty();
            let missing = EncodeError::Contradiction("AUTH without an authentication method");
            return if bare { Ok(()) } else { Err(missing) };
        }
        out.put_u8(self.reason.code());
        put_prefixed(out, |out| {
            let mut list = PropertyWriter::new(out);
            Authentication::put(self.authentication.as_ref(), &mut list)?;
            self.properties.put(&mut list);
            Ok(())
        })
    }
}
