use bytes::{BufMut, BytesMut};

use super::PacketType;
use super::ack::{AckProperties, check_reason, read_reason};
use crate::error::{EncodeError, Fault};
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::version::Version;
use crate::wire::{Reader, put_prefixed};

/// DISCONNECT (MQTT 3.14). Before version 5 it is the client's and empty.
///
/// Which codes and properties each side may send is the session's to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, from a client; `u32::MAX` is never.
    pub session_expiry_s: Option<u32>,
    /// Server Reference, from a server.
    pub server_reference: Option<Text>,
    /// Reason String and User Properties.
    pub properties: AckProperties,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    pub fn new(reason: ReasonCode) -> Disconnect {
        let properties = AckProperties::default();
        Disconnect { reason, session_expiry_s: None, server_reference: None, properties }
    }

    /// Reason and properties may be left out from the end (3.14.2.1, 3.14.2.2.1).
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<Disconnect, Fault> {
        let mut packet = Disconnect::new(ReasonCode::Success);
        if version.is_v5() && !reader.is_empty() {
            packet.reason = read_reason(PacketType::Disconnect, reader)?;
            if !reader.is_empty() {
                packet.read_properties(reader)?;
            }
        }
        Ok(packet)
    }

    fn read_properties(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let mut list = PropertyReader::new(reader)?;
        let mut users = Runs::new(list.frame());
        while let Some(id) = list.next()? {
            match id {
                Id::SessionExpiryInterval => self.session_expiry_s = Some(list.u32()?),
                Id::ServerReference => self.server_reference = Some(list.string()?),
                Id::ReasonString => self.properties.reason_string = Some(list.string()?),
                Id::UserProperty => users.add(list.user_property()?),
                _ => return Err(Fault::Property),
            }
        }
        self.properties.user_properties = UserProperties::from_runs(users);
        Ok(())
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        if !version.is_v5() {
            return Ok(());
        }
        check_reason(PacketType::Disconnect, self.reason)?;
        let bare = self.session_expiry_s.is_none() && self.server_reference.is_none();
        let bare = bare && self.properties.is_empty();
        if bare && self.reason == ReasonCode::Success {
            return Ok(());
        }
        out.put_u8(self.reason.code());
        if bare {
            return Ok(());
        }
        put_prefixed(out, |out| {
            let mut list = PropertyWriter::new(out);
            list.u32(Id::SessionExpiryInterval, self.session_expiry_s);
            list.string(Id::ServerReference, self.server_reference.as_ref());
            self.properties.put(&mut list);
            Ok(())
        })
    }
}
