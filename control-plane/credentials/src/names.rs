//! Names, parsed once at the edge: a value of these types obeys its rule.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Labels of a device; at most [`LABELS_PER_DEVICE_MAX`](crate::limits::LABELS_PER_DEVICE_MAX).
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// A text that is not a value of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} `{value}` is not valid: {rule}")]
pub struct NameError {
    /// What the text was given as.
    pub field: &'static str,
    /// The text, cut after 64 characters.
    pub value: String,
    /// What a valid text is.
    pub rule: &'static str,
}

impl NameError {
    pub(crate) fn new(field: &'static str, value: &str, rule: &'static str) -> NameError {
        NameError { field, value: shorten(value), rule }
    }
}

/// The first 64 characters, and a mark where there are more.
pub(crate) fn shorten(value: &str) -> String {
    match value.char_indices().nth(64) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

struct Rule {
    field: &'static str,
    text: &'static str,
    length_min: usize,
    length_max: usize,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
}

impl Rule {
    fn check(&self, value: &str) -> Result<(), NameError> {
        let bytes = value.as_bytes();
        let good = (self.length_min..=self.length_max).contains(&bytes.len())
            && bytes.first().is_none_or(|&byte| (self.first)(byte))
            && bytes.iter().all(|&byte| (self.rest)(byte));
        if good { Ok(()) } else { Err(NameError::new(self.field, value, self.text)) }
    }
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn lower_name(byte: u8) -> bool {
    lower_or_digit(byte) || b"._-".contains(&byte)
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn mixed_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte)
}

fn username(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'/'
}

fn label_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._/-".contains(&byte)
}

fn label_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

macro_rules! name {
    ($(#[$doc:meta])* $Type:ident, $field:literal, $min:literal..=$max:literal, $first:ident, $rest:ident, $text:literal) => {
        $(#[$doc])*
        #[doc = concat!("\n\nRule: ", $text, ".")]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Type(Arc<str>);

        impl $Type {
            const RULE: Rule =
                Rule { field: $field, text: $text, length_min: $min, length_max: $max, first: $first, rest: $rest };

            /// The longest, in bytes.
            pub const LENGTH_MAX: usize = $max;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::RULE.check(value)?;
                Ok(Self(value.into()))
            }
        }

        impl AsRef<str> for $Type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl<C> Encode<C> for $Type {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $Type {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.str()?.parse().map_err(|error: NameError| decode::Error::message(error))
            }
        }
    };
}

name!(
    /// An isolated namespace. `default` always exists.
    TenantName, "tenant", 1..=64, lower_or_digit, lower_name,
    "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
name!(
    /// A certificate authority of a tenant.
    AuthorityName, "authority", 1..=64, lower_or_digit, lower_name,
    "1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
);
name!(
    /// A device of a tenant.
    DeviceName, "device", 1..=128, alphanumeric, mixed_name,
    "1 to 128 of A-Z a-z 0-9 . _ : @ -, starting with a letter or digit"
);
name!(
    /// What a password is called within its tenant. ASCII, so that `SASLprep` (RFC 4013) leaves it as it is.
    Username, "username", 1..=128, username, username,
    "1 to 128 printable ASCII characters, neither space nor /"
);
name!(
    /// A person or a program that administers the cluster.
    AdministratorName, "administrator", 1..=64, alphanumeric, mixed_name,
    "1 to 64 of A-Z a-z 0-9 . _ : @ -, starting with a letter or digit"
);
name!(
    /// A broker node or a replica.
    NodeName, "node", 1..=64, alphanumeric, mixed_name,
    "1 to 64 of A-Z a-z 0-9 . _ : @ -, starting with a letter or digit"
);
name!(
    /// The key of a device's label.
    LabelKey, "label key", 1..=63, label_key, label_key,
    "1 to 63 of A-Z a-z 0-9 . _ / -"
);
name!(
    /// The value of a device's label; may be empty.
    LabelValue, "label value", 0..=63, label_value, label_value,
    "at most 63 of A-Z a-z 0-9 . _ -"
);

impl Default for TenantName {
    fn default() -> TenantName {
        TenantName("default".into())
    }
}
