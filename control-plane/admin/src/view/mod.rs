//! What commands answer with: plain records with a text form for people and a stable form for programs.
//!
//! Stable means: field names and formats of JSON and YAML change only with a note in the changelog. Times are
//! RFC 3339 in UTC with milliseconds, fingerprints and ids lower-case hexadecimal, absent values null or left out.
mod changes;
mod cluster;
mod credentials;
mod events;
mod fence;
mod passwords;
mod sessions;

pub use changes::{Change, Issued, TransitionResult};
pub use cluster::{Administrator, Node, Setting, Status};
pub use credentials::{Authority, Certificate, Check, Device, DeviceDetails, Explanation, Tenant};
pub use events::{AuditEntry, Event};
pub use fence::{Fence, FenceNode};
pub use passwords::{Password, PasswordSet};
pub use sessions::{NodeCount, Session, SessionList};

use std::fmt;

use revoq_credentials::Millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A record that can be a row or a page.
pub trait View: Serialize {
    /// The fields that a list shows.
    const COLUMNS: &'static [&'static str];

    /// Every field as text, in the order in which a page shows them.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

/// Records at a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// What the answering replica had applied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<u64>,
    /// In the control plane's order.
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// From what an answer held.
    pub fn new<W>(revision: u64, wire: Vec<W>) -> List<T>
    where
        T: From<W>,
    {
        List { revision: Some(revision), items: wire.into_iter().map(T::from).collect() }
    }
}

/// A point in time. For programs with milliseconds, for people without; none is null and empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Option<Millis>);

impl From<u64> for Timestamp {
    /// Zero is none.
    fn from(ms: u64) -> Timestamp {
        Timestamp((ms != 0).then_some(Millis(ms)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(time) = self.0 else { return Ok(()) };
        let text = time.to_string();
        f.write_str(text.split('.').next().unwrap_or(&text))?;
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => serializer.collect_str(&time),
            None => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Timestamp(None)) };
        let parsed = crate::parse::instant(&text, Millis(0)).map_err(serde::de::Error::custom)?;
        Ok(Timestamp(Some(parsed)))
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name of a number of the wire, or the number itself where this program is older than the server.
fn named<D: fmt::Display>(parsed: Result<D, revoq_proto::convert::ConvertError>, number: i32) -> String {
    parsed.map_or_else(|_| format!("unknown ({number})"), |value| value.to_string())
}

/// Why something was revoked, where it was.
fn reason(state: &str, number: i32) -> Option<String> {
    let parsed = || revoq_proto::convert::values::revocation_reason("reason", number);
    (state == "revoked" || number != 0).then(|| named(parsed(), number))
}

fn state(number: i32) -> String {
    named(revoq_proto::convert::values::state("state", number), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        let time = Timestamp::from(1_772_366_400_250);
        assert_eq!(time.to_string(), "2026-03-01T12:00:00Z");
        let json = serde_json::to_string(&time).expect("a string");
        assert_eq!(json, "\"2026-03-01T12:00:00.250Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("own output"), time);
        assert_eq!(serde_json::to_string(&Timestamp::from(0)).expect("null"), "null");
        assert_eq!(Timestamp::from(0).to_string(), "");
    }
}
