use bytes::{BufMut, BytesMut};

use super::PacketType;
use super::ack::{AckProperties, check_reason, read_reason};
use crate::error::{EncodeError, Fault};
use crate::ids::PacketId;
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::Reader;

/// SUBACK (MQTT 3.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The SUBSCRIBE that is answered.
    pub packet_id: PacketId,
    /// One for each filter, in order ([MQTT-3.9.3-1]). Before version 5 every failure goes out as 0x80.
    pub reasons: Vec<ReasonCode>,
    /// Version 5 only.
    pub properties: AckProperties,
}

/// UNSUBACK (MQTT 3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The UNSUBSCRIBE that is answered.
    pub packet_id: PacketId,
    /// One for each filter, in order ([MQTT-3.11.3-1]); before version 5 there are none on the wire.
    pub reasons: Vec<ReasonCode>,
    /// Version 5 only.
    pub properties: AckProperties,
}

impl SubAck {
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<SubAck, Fault> {
        let packet_id = reader.packet_id()?;
        if version.is_v5() {
            let properties = AckProperties::read(reader)?;
            return Ok(SubAck { packet_id, reasons: read_reasons(PacketType::SubAck, reader)?, properties });
        }
        let reasons = read_reasons(PacketType::SubAck, reader)?;
        // 3.1.1 knows the three levels and 0x80 ([MQTT-3.9.3-2] of 3.1.1).
        if reasons.iter().any(|&reason| reason > ReasonCode::UnspecifiedError) {
            return Err(Fault::ReasonCode);
        }
        Ok(SubAck { packet_id, reasons, properties: AckProperties::default() })
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if version.is_v5() {
            self.properties.write(out)?;
            return write_reasons(PacketType::SubAck, &self.reasons, out);
        }
        let coarse =
            |&reason: &ReasonCode| if reason.is_error() { ReasonCode::UnspecifiedError } else { reason };
        let reasons: Vec<ReasonCode> = self.reasons.iter().map(coarse).collect();
        write_reasons(PacketType::SubAck, &reasons, out)
    }
}

impl UnsubAck {
    pub(crate) fn read(reader: &mut Reader<'_>, version: Version) -> Result<UnsubAck, Fault> {
        let packet_id = reader.packet_id()?;
        if !version.is_v5() {
            return Ok(UnsubAck { packet_id, reasons: Vec::new(), properties: AckProperties::default() });
        }
        let properties = AckProperties::read(reader)?;
        Ok(UnsubAck { packet_id, reasons: read_reasons(PacketType::UnsubAck, reader)?, properties })
    }

    pub(crate) fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16(self.packet_id.get());
        if !version.is_v5() {
            return Ok(());
        }
        self.properties.write(out)?;
        write_reasons(PacketType::UnsubAck, &self.reasons, out)
    }
}

fn read_reasons(kind: PacketType, reader: &mut Reader<'_>) -> Result<Vec<ReasonCode>, Fault> {
    let mut reasons = Vec::with_capacity(reader.remaining());
    while !reader.is_empty() {
        reasons.push(read_reason(kind, reader)?);
    }
    if reasons.is_empty() { Err(Fault::Empty) } else { Ok(reasons) }
}

fn write_reasons(kind: PacketType, reasons: &[ReasonCode], out: &mut BytesMut) -> Result<(), EncodeError> {
    if reasons.is_empty() {
        return Err(EncodeError::Contradiction("an acknowledgement without a reason code"));
    }
    for &reason in reasons {
        check_reason(kind, reason)?;
        out.put_u8(reason.code());
    }
    Ok(())
}
