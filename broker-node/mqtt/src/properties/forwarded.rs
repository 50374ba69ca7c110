use std::fmt;

use bytes::{Bytes, BytesMut};

use super::reader::{PropertyReader, Runs};
use super::{Id, PropertyWriter};
use crate::error::{DecodeError, EncodeError};
use crate::text::Text;
use crate::topic::Topic;
use crate::wire::{Reader, put_string};

/// Payload Format Indicator (MQTT 3.3.2.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Unspecified bytes.
    #[default]
    Bytes = 0,
    /// UTF-8 text.
    Utf8 = 1,
}

/// The properties of a message that a server forwards unaltered and in order: Payload Format Indicator, Content
/// Type, Response Topic, Correlation Data, User Properties ([MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20]).
///
/// Kept as they stood in the packet, checked; they go out as they came in.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Forwarded(Bytes);

/// One property of [`Forwarded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedProperty {
    /// Payload Format Indicator.
    PayloadFormat(PayloadFormat),
    /// Content Type.
    ContentType(Text),
    /// Response Topic.
    ResponseTopic(Topic),
    /// Correlation Data, at most 65,535 bytes.
    CorrelationData(Bytes),
    /// User Property: name and value.
    User(Text, Text),
}

impl Forwarded {
    pub(crate) fn from_runs(runs: Runs<'_>) -> Forwarded {
        Forwarded(runs.finish())
    }

    /// Puts properties together.
    ///
    /// # Errors
    /// Correlation data that is too long, or anything but a User Property given twice.
    pub fn new(properties: impl IntoIterator<Item = ForwardedProperty>) -> Result<Forwarded, EncodeError> {
        let mut out = BytesMut::new();
        for property in properties {
            property.write(&mut out)?;
        }
        let bytes = out.freeze();
        let mut reader = PropertyReader::over(Reader::new(&bytes, 0));
        let invalid = |_: crate::error::Fault| EncodeError::Contradiction("a property given more than once");
        while let Some(id) = reader.next().map_err(invalid)? {
            reader.forwarded(id).map_err(invalid)?;
        }
        Ok(Forwarded(bytes))
    }

    /// Checks properties that were stored as [`Forwarded::bytes`].
    ///
    /// # Errors
    /// The rule of the standard that they break.
    pub fn parse(bytes: Bytes) -> Result<Forwarded, DecodeError> {
        let mut reader = PropertyReader::over(Reader::new(&bytes, 0));
        while let Some(id) = reader.next()? {
            reader.forwarded(id)?;
        }
        Ok(Forwarded(bytes))
    }

    /// The properties in wire form, without a length.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy of its own, for what outlives the packet.
    #[must_use]
    pub fn detached(&self) -> Forwarded {
        Forwarded(Bytes::copy_from_slice(&self.0))
    }

    /// The properties in order.
    pub fn iter(&self) -> impl Iterator<Item = ForwardedProperty> + '_ {
        let mut reader = PropertyReader::over(Reader::new(&self.0, 0));
        std::iter::from_fn(move || ForwardedProperty::read(&mut reader))
    }

    /// Payload Format Indicator.
    pub fn payload_format(&self) -> PayloadFormat {
        let mut formats = self.iter().filter_map(|property| match property {
            ForwardedProperty::PayloadFormat(format) => Some(format),
            _ => None,
        });
        formats.next().unwrap_or_default()
    }

    /// Response Topic.
    pub fn response_topic(&self) -> Option<Topic> {
        self.iter().find_map(|property| match property {
            ForwardedProperty::ResponseTopic(topic) => Some(topic),
            _ => None,
        })
    }
}

impl ForwardedProperty {
    fn read(reader: &mut PropertyReader<'_>) -> Option<ForwardedProperty> {
        let property = match reader.next().ok().flatten()? {
            Id::PayloadFormatIndicator if reader.flag().ok()? => {
                ForwardedProperty::PayloadFormat(PayloadFormat::Utf8)
            }
            Id::PayloadFormatIndicator => ForwardedProperty::PayloadFormat(PayloadFormat::Bytes),
            Id::ContentType => ForwardedProperty::ContentType(reader.string().ok()?),
            Id::ResponseTopic => ForwardedProperty::ResponseTopic(reader.string().ok()?),
            Id::CorrelationData => ForwardedProperty::CorrelationData(reader.binary().ok()?),
            Id::UserProperty => {
                let (name, value) = reader.pair().ok()?;
                ForwardedProperty::User(name, value)
            }
            _ => return None,
        };
        Some(property)
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut writer = PropertyWriter::new(out);
        match self {
            ForwardedProperty::PayloadFormat(format) => {
                writer.u8(Id::PayloadFormatIndicator, Some(*format as u8));
            }
            ForwardedProperty::ContentType(text) => writer.string(Id::ContentType, Some(text)),
            ForwardedProperty::ResponseTopic(topic) => writer.string(Id::ResponseTopic, Some(topic)),
            ForwardedProperty::CorrelationData(data) => writer.binary(Id::CorrelationData, Some(data))?,
            ForwardedProperty::User(name, value) => {
                writer.string(Id::UserProperty, Some(name));
                put_string(out, value);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
