use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::Id;
use crate::error::Fault;
use crate::ids::SubscriptionId;
use crate::text::{Text, check_text};
use crate::topic::check_topic;
use crate::wire::Reader;

/// The properties of one packet, one after the other: [`PropertyReader::next`] names one, and exactly one of
/// the other methods reads its value.
pub(crate) struct PropertyReader<'a> {
    reader: Reader<'a>,
    /// Where the identifier of the current property stands.
    start: usize,
    /// One bit for each identifier that was seen.
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    /// Takes Property Length and the properties off `packet`.
    pub(crate) fn new(packet: &mut Reader<'a>) -> Result<PropertyReader<'a>, Fault> {
        let len = packet.varint()?;
        let reader = packet.split(len as usize)?;
        Ok(PropertyReader::over(reader))
    }

    /// Properties without a length before them.
    pub(crate) fn over(reader: Reader<'a>) -> PropertyReader<'a> {
        PropertyReader { start: reader.position(), reader, seen: 0 }
    }

    pub(crate) fn frame(&self) -> &'a Bytes {
        self.reader.frame()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_empty()
    }

    /// The next property's identifier; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Id>, Fault> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.start = self.reader.position();
        // All identifiers take one byte of the Variable Byte Integer that they are.
        let id = Id::from_u8(self.reader.u8()?).ok_or(Fault::Property)?;
        let bit = 1 << id as u8;
        if self.seen & bit != 0 && !id.repeats() {
            return Err(Fault::PropertyRepeated);
        }
        self.seen |= bit;
        Ok(Some(id))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Fault> {
        match self.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::PropertyValue),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.reader.u16()
    }

    pub(crate) fn nonzero_u16(&mut self) -> Result<NonZeroU16, Fault> {
        NonZeroU16::new(self.reader.u16()?).ok_or(Fault::PropertyValue)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.reader.u32()
    }

    pub(crate) fn nonzero_u32(&mut self) -> Result<NonZeroU32, Fault> {
        NonZeroU32::new(self.reader.u32()?).ok_or(Fault::PropertyValue)
    }

    pub(crate) fn subscription_id(&mut self) -> Result<SubscriptionId, Fault> {
        SubscriptionId::new(self.reader.varint()?).ok_or(Fault::PropertyValue)
    }

    pub(crate) fn string<T: TryFrom<Bytes, Error = Fault>>(&mut self) -> Result<T, Fault> {
        self.reader.string()
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, Fault> {
        self.reader.binary()
    }

    pub(crate) fn pair(&mut self) -> Result<(Text, Text), Fault> {
        Ok((self.reader.string()?, self.reader.string()?))
    }

    /// Checks a User Property and says where it stands, identifier included.
    pub(crate) fn user_property(&mut self) -> Result<Range<usize>, Fault> {
        check_text(self.reader.raw()?)?;
        check_text(self.reader.raw()?)?;
        Ok(self.start..self.reader.position())
    }

    /// Checks a property that a server forwards unaltered ([MQTT-3.3.2-4], -15 to -20) and says where it stands;
    /// [`Fault::Property`] for any other.
    pub(crate) fn forwarded(&mut self, id: Id) -> Result<Range<usize>, Fault> {
        match id {
            Id::PayloadFormatIndicator => {
                self.flag()?;
            }
            Id::ContentType => check_text(self.reader.raw()?)?,
            Id::ResponseTopic => check_topic(self.reader.raw()?)?,
            Id::CorrelationData => {
                self.reader.raw()?;
            }
            Id::UserProperty => return self.user_property(),
            _ => return Err(Fault::Property),
        }
        Ok(self.start..self.reader.position())
    }
}

/// Ranges of a frame, collected into one: a slice while they touch, a copy from the first gap on.
pub(crate) struct Runs<'a> {
    frame: &'a Bytes,
    slice: Range<usize>,
    copy: BytesMut,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(frame: &'a Bytes) -> Runs<'a> {
        Runs { frame, slice: 0..0, copy: BytesMut::new() }
    }

    pub(crate) fn add(&mut self, range: Range<usize>) {
        if !self.copy.is_empty() {
            self.copy.extend_from_slice(&self.frame[range]);
        } else if self.slice.is_empty() {
            self.slice = range;
        } else if self.slice.end == range.start {
            self.slice.end = range.end;
        } else {
            self.copy.extend_from_slice(&self.frame[self.slice.clone()]);
            self.copy.extend_from_slice(&self.frame[range]);
        }
    }

    pub(crate) fn finish(self) -> Bytes {
        if self.copy.is_empty() { self.frame.slice(self.slice) } else { self.copy.freeze() }
    }
}
