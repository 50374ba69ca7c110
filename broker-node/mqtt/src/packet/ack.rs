use bytes::{BufMut, BytesMut};

use super::PacketType;
use crate::error::{EncodeError, Fault};
use crate::ids::PacketId;
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::version::Version;
use crate::wire::{Reader, put_prefixed};

/// PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 3.4 to 3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The PUBLISH that is answered.
    pub packet_id: PacketId,
    /// Before version 5 always [`ReasonCode::Success`]; other codes are left out there.
    pub reason: ReasonCode,
    /// Version 5 only.
    pub properties: AckProperties,
}

/// Properties of all acknowledgements; version 5 only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckProperties {
    /// Reason String, for people who read logs.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement without properties.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Ack {
        Ack { packet_id, reason, properties: AckProperties::default() }
    }

    /// Reason and properties may be left out from the end (3.4.2.1, 3.4.2.2.1).
    pub(crate) fn read(kind: PacketType, reader: &mut Reader<'_>, version: Version) -> Result<Ack, Fault> {
        let mut ack = Ack::new(reader.packet_id()?, ReasonCode::Success);
        if version.is_v5() && !reader.is_empty() {
            ack.reason = read_reason(kind, reader)?;
            if !reader.is_empty() {
                ack.properties = AckProperties::read(reader)?;
            }
        }
        Ok(ack)
    }

    pub(crate) fn write(
        &self,
        kind: PacketType,
        version: Version,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if !version.is_v5() {
            return Ok(());
        }
        check_reason(kind, self.reason)?;
        if self.reason == ReasonCode::Success && self.properties.is_empty() {
            return Ok(());
        }
        out.put_u8(self.reason.code());
        if self.properties.is_empty() { Ok(()) } else { self.properties.write(out) }
    }
}

impl AckProperties {
    pub(crate) fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<AckProperties, Fault> {
        let mut list = PropertyReader::new(reader)?;
        let mut users = Runs::new(list.frame());
        let mut reason_string = None;
        while let Some(id) = list.next()? {
            match id {
                Id::ReasonString => reason_string = Some(list.string()?),
                Id::UserProperty => users.add(list.user_property()?),
                _ => return Err(Fault::Property),
            }
        }
        Ok(AckProperties { reason_string, user_properties: UserProperties::from_runs(users) })
    }

    pub(crate) fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_prefixed(out, |out| {
            self.put(&mut PropertyWriter::new(out));
            Ok(())
        })
    }

    pub(crate) fn put(&self, list: &mut PropertyWriter<'_>) {
        list.string(Id::ReasonString, self.reason_string.as_ref());
        self.user_properties.write(list);
    }
}

/// A reason code that `kind` may carry.
pub(super) fn read_reason(kind: PacketType, reader: &mut Reader<'_>) -> Result<ReasonCode, Fault> {
    let reason = ReasonCode::try_from(reader.u8()?)?;
    if reason.belongs_to(kind) { Ok(reason) } else { Err(Fault::ReasonCode) }
}

pub(super) fn check_reason(kind: PacketType, reason: ReasonCode) -> Result<(), EncodeError> {
    if reason.belongs_to(kind) {
        return Ok(());
    }
    Err(EncodeError::Contradiction("a reason code that this packet may not carry"))
}
