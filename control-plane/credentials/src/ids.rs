//! Identifiers: fingerprints, serial numbers, revisions, times.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest, Sha256};

use crate::names::NameError;

/// Names a credential: SHA-256 of a certificate's DER, or what
/// [`Password::fingerprint_of`](crate::Password::fingerprint_of) makes. Shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Fingerprint(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate.
    pub fn of(der: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(der).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NameError;

    /// Takes 64 hexadecimal digits of either case, with or without colons, as openssl prints them.
    fn from_str(text: &str) -> Result<Fingerprint, NameError> {
        parse_hex(text).map(Fingerprint).ok_or_else(|| {
            NameError::new(
                "fingerprint",
                text,
                "64 hexadecimal digits, the SHA-256 of the DER; colons are allowed",
            )
        })
    }
}

/// What we call a certificate. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CertificateId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl FromStr for CertificateId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<CertificateId, NameError> {
        parse_hex(text)
            .map(CertificateId)
            .ok_or_else(|| NameError::new("certificate id", text, "32 hexadecimal digits"))
    }
}

macro_rules! hex {
    ($($Type:ident)*) => {$(
        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }
    )*};
}
hex!(Fingerprint CertificateId);

/// A certificate's serial number: 1 to 20 bytes, big-endian, without leading zeros (RFC 5280 section 4.1.2.2).
/// Shown in hexadecimal with `0x`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    const RULE: &str = "a decimal number, or hexadecimal with 0x or colons, of at most 20 bytes";

    /// The most bytes.
    pub const LENGTH_MAX: usize = 20;

    /// From big-endian bytes; leading zeros are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Serial, NameError> {
        let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len().saturating_sub(1));
        match &bytes[start..] {
            [] => Err(NameError::new("serial number", "", Serial::RULE)),
            minimal if minimal.len() > Serial::LENGTH_MAX => {
                Err(NameError::new("serial number", &to_hex(minimal), Serial::RULE))
            }
            minimal => Ok(Serial(minimal.to_vec())),
        }
    }

    /// Big-endian, without leading zeros; zero is one zero byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Serial {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Serial, NameError> {
        let bytes = if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            hex_bytes(digits)
        } else if text.contains(':') {
            hex_bytes(text)
        } else {
            decimal_bytes(text)
        };
        bytes
            .and_then(|bytes| Serial::from_bytes(&bytes).ok())
            .ok_or_else(|| NameError::new("serial number", text, Serial::RULE))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("0x{}", to_hex(&self.0)))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for Serial {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Serial {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Serial::from_bytes(d.bytes()?).map_err(decode::Error::message)
    }
}

/// Position in the ordered log of credential changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Revision(#[n(0)] pub u64);

/// A broker node or a replica; never used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeId(#[n(0)] pub u64);

/// Wall-clock time: milliseconds since the Unix epoch, UTC. Shown as RFC 3339.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] pub u64);

impl Millis {
    /// Later by so many milliseconds, at most the end of time.
    #[must_use]
    pub fn plus(self, milliseconds: u64) -> Millis {
        Millis(self.0.saturating_add(milliseconds))
    }

    /// Earlier by so many milliseconds, at least the epoch.
    #[must_use]
    pub fn minus(self, milliseconds: u64) -> Millis {
        Millis(self.0.saturating_sub(milliseconds))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar. Counts in
/// years that begin in March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Hexadecimal digits of either case, colons between bytes allowed; an odd first digit stands for a byte.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2 + 1);
    for group in text.split(':') {
        if group.is_empty() {
            return None;
        }
        let nibbles = group.chars().map(|c| c.to_digit(16)).collect::<Option<Vec<_>>>()?;
        let (odd, even) = nibbles.split_at(nibbles.len() % 2);
        bytes.extend(odd.iter().map(|&nibble| u8::try_from(nibble).expect("a nibble")));
        bytes.extend(even.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("two nibbles")));
    }
    Some(bytes)
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    hex_bytes(text).filter(|_| digits == 2 * N)?.try_into().ok()
}

/// A decimal number as big-endian bytes; `None` for what is no number or far too long.
fn decimal_bytes(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > 50 {
        return None;
    }
    let mut bytes = [0_u8; 21];
    for digit in text.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = value.to_be_bytes()[3];
            carry = value >> 8;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(bytes.to_vec())
}
