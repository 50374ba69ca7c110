use std::fmt;

/// A protocol version that this crate speaks, as CONNECT names it.
///
/// MQTT 3.1.2.1 and 3.1.2.2; the older name `MQIsdp` with level 3 is MQTT 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V311,
    /// MQTT 5.0: `MQTT`, level 5.
    V5,
}

impl Version {
    /// The protocol name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Version::V31 => "MQIsdp",
            Version::V311 | Version::V5 => "MQTT",
        }
    }

    /// The protocol level on the wire.
    pub const fn level(self) -> u8 {
        match self {
            Version::V31 => 3,
            Version::V311 => 4,
            Version::V5 => 5,
        }
    }

    /// Whether packets carry properties and reason codes.
    #[inline]
    pub const fn is_v5(self) -> bool {
        matches!(self, Version::V5)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5.0",
        })
    }
}
