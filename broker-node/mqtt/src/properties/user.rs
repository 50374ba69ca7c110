use std::fmt;

use bytes::{Bytes, BytesMut};

use super::reader::{PropertyReader, Runs};
use super::{Id, PropertyWriter};
use crate::text::Text;
use crate::wire::{Reader, put_string};

/// User Properties: name and value pairs in the sender's order; names may repeat (MQTT 2.2.2.2, 3.1.2.11.8).
///
/// Kept as they stood in the packet: a thousand of them cost no more than their bytes until they are iterated.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UserProperties(Bytes);

impl UserProperties {
    pub(crate) fn from_runs(runs: Runs<'_>) -> UserProperties {
        UserProperties(runs.finish())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (Text, Text)> + '_ {
        let mut properties = PropertyReader::over(Reader::new(&self.0, 0));
        std::iter::from_fn(move || {
            properties.next().ok().flatten()?;
            properties.pair().ok()
        })
    }

    pub(crate) fn write(&self, out: &mut PropertyWriter<'_>) {
        out.raw(&self.0);
    }
}

impl FromIterator<(Text, Text)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(pairs: I) -> UserProperties {
        let mut out = BytesMut::new();
        for (name, value) in pairs {
            PropertyWriter::new(&mut out).string(Id::UserProperty, Some(&name));
            put_string(&mut out, &value);
        }
        UserProperties(out.freeze())
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
