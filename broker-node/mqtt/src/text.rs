//! Validated strings. They are slices of the frame they came in.

use bytes::Bytes;

use crate::error::Fault;

/// The longest string: its length has two bytes (MQTT 1.5.4).
pub(crate) const STRING_MAX: usize = 65_535;

macro_rules! string_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(bytes::Bytes);

        impl $name {
            /// The characters. Checks the encoding anew: hot paths compare [`Self::as_bytes`].
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("checked when it was made")
            }

            /// The UTF-8 bytes.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The UTF-8 bytes, shared.
            pub fn bytes(&self) -> &bytes::Bytes {
                &self.0
            }

            /// Length in bytes, at most 65,535.
            #[inline]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there is no character at all.
            #[inline]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// A copy of its own, for what outlives the packet: a slice keeps the whole frame in memory.
            #[must_use]
            pub fn detached(&self) -> Self {
                Self(bytes::Bytes::copy_from_slice(&self.0))
            }
        }

        impl TryFrom<bytes::Bytes> for $name {
            type Error = $crate::error::Fault;

            fn try_from(bytes: bytes::Bytes) -> Result<Self, $crate::error::Fault> {
                $check(&bytes)?;
                Ok(Self(bytes))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Fault;

            fn from_str(text: &str) -> Result<Self, $crate::error::Fault> {
                $check(text.as_bytes())?;
                Ok(Self(bytes::Bytes::copy_from_slice(text.as_bytes())))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}
pub(crate) use string_type;

string_type! {
    /// A UTF-8 Encoded String: well-formed, without U+0000, at most 65,535 bytes (MQTT 1.5.4).
    Text, check_text
}

string_type! {
    /// Client Identifier (MQTT 3.1.3.1). It may be empty: the client then asks the server for one, or, before
    /// version 5 and without Clean Session, must be refused; that is the session's to judge.
    ClientId, check_text
}

impl Default for ClientId {
    fn default() -> ClientId {
        ClientId(Bytes::new())
    }
}

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2]. Surrogates are not UTF-8 and fall under the first.
pub(crate) fn check_text(bytes: &[u8]) -> Result<(), Fault> {
    scan(bytes).map(|_| ())
}

/// [`check_text`], and whether `+` or `#` occurs.
///
/// One pass without branches over what is nearly always ASCII: the compiler makes vector instructions of it.
pub(crate) fn scan(bytes: &[u8]) -> Result<bool, Fault> {
    if bytes.len() > STRING_MAX {
        return Err(Fault::StringTooLong);
    }
    let (mut all, mut null, mut wild) = (0, false, false);
    for &byte in bytes {
        all |= byte;
        null |= byte == 0;
        wild |= byte == b'+' || byte == b'#';
    }
    if !all.is_ascii() && std::str::from_utf8(bytes).is_err() {
        return Err(Fault::Utf8);
    }
    if null { Err(Fault::NullCharacter) } else { Ok(wild) }
}
