//! Certificates as bytes: a strict parser that takes whatever may be a client's leaf (self-signed, CA:TRUE and
//! X.509 v1 included) and says what is wrong with the rest. Whom to trust is decided elsewhere.

mod device_uri;
mod name;

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::ids::{Fingerprint, Millis, Serial};
use crate::limits::{CERTIFICATE_BYTES_MAX, DISTINGUISHED_NAME_BYTES_MAX};
use crate::outcome::Refusal;
pub use device_uri::DeviceUri;
pub use name::name_text;
pub(crate) use name::{normal_form, reversed};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// The serial number.
    pub serial: Serial,
    /// The issuer, DER of the Name.
    pub issuer: Vec<u8>,
    /// The issuer as an RFC 4514 string.
    pub issuer_text: String,
    /// The subject, DER of the Name.
    pub subject: Vec<u8>,
    /// The subject as an RFC 4514 string.
    pub subject_text: String,
    /// The subject's first common name.
    pub common_name: Option<String>,
    /// Valid from. Times before 1970 become 1970.
    pub not_before: Millis,
    /// Valid until, inclusive.
    pub not_after: Millis,
    /// The subject's public key, DER of the `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// What key that is.
    pub key: Key,
    /// 1, 2 or 3.
    pub version: u8,
    /// Whether the basic constraints say CA:TRUE.
    pub is_ca: bool,
    /// The URIs among the subject alternative names.
    pub uris: Vec<String>,
}

impl Parsed {
    /// The device that a certificate of ours names.
    pub fn device_uri(&self) -> Option<DeviceUri> {
        self.uris.iter().find_map(|uri| uri.parse().ok())
    }
}

/// A kind of public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// On a Weierstrass curve, such as P-256.
    Ec,
    /// Ed25519 or Ed448.
    Edwards,
    /// Any other; no client can use it here.
    Other,
}

/// A public key's kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: KeyKind,
    /// Of RSA, the modulus; of a curve, the field. 0 where it is not known.
    pub bits: usize,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            KeyKind::Rsa => "RSA",
            KeyKind::Ec => "EC",
            KeyKind::Edwards => "Edwards curve",
            KeyKind::Other => return f.write_str("unknown key"),
        };
        write!(f, "{kind} {} bits", self.bits)
    }
}

/// Bytes that are not one certificate in DER.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// Nothing at all.
    #[error("the certificate is empty")]
    Empty,
    /// Longer than [`CERTIFICATE_BYTES_MAX`].
    #[error("the certificate has {0} bytes; at most {CERTIFICATE_BYTES_MAX} are taken")]
    TooLong(usize),
    /// PEM where DER is wanted.
    #[error("the certificate is PEM where DER is wanted; convert it with `openssl x509 -outform der`")]
    Pem,
    /// More than one certificate, or garbage behind it.
    #[error("{0} bytes follow the certificate; give exactly one certificate in DER")]
    TrailingBytes(usize),
    /// Not a certificate.
    #[error("the bytes are not an X.509 certificate in DER: {0}")]
    Malformed(String),
    /// A field of the certificate cannot be used.
    #[error("the certificate's {field} cannot be used: {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why.
        problem: String,
    },
}

impl From<X509Error> for Refusal {
    fn from(error: X509Error) -> Refusal {
        Refusal::invalid("certificate", "DER", error.to_string())
    }
}

/// Parses exactly one certificate.
pub fn parse(der: &[u8]) -> Result<Parsed, X509Error> {
    match der {
        [] => return Err(X509Error::Empty),
        long if long.len() > CERTIFICATE_BYTES_MAX => return Err(X509Error::TooLong(long.len())),
        pem if pem.trim_ascii_start().starts_with(b"-----BEGIN") => return Err(X509Error::Pem),
        _ => {}
    }
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| X509Error::Malformed(describe(error)))?;
    if !rest.is_empty() {
        return Err(X509Error::TrailingBytes(rest.len()));
    }
    let (issuer, subject) = (certificate.issuer(), certificate.subject());
    let validity = certificate.validity();
    let (not_before, not_after) = (millis(validity.not_before), millis(validity.not_after));
    if not_before > not_after {
        return Err(field("validity", format!("notBefore {not_before} is later than notAfter {not_after}")));
    }
    Ok(Parsed {
        fingerprint: Fingerprint::of(der),
        serial: Serial::from_bytes(certificate.raw_serial())
            .map_err(|error| field("serial number", error.to_string()))?,
        issuer: name_bytes("issuer", issuer.as_raw())?,
        issuer_text: name_text(issuer),
        subject: name_bytes("subject", subject.as_raw())?,
        subject_text: name_text(subject),
        common_name: subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned),
        not_before,
        not_after,
        spki: certificate.public_key().raw.to_vec(),
        key: key(certificate.public_key())?,
        version: version(&certificate)?,
        is_ca: is_ca(&certificate)?,
        uris: uris(&certificate)?,
    })
}

fn field(field: &'static str, problem: String) -> X509Error {
    X509Error::Field { field, problem }
}

fn describe(error: x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    match error {
        x509_parser::nom::Err::Incomplete(_) => "it ends too early".to_owned(),
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
    }
}

fn name_bytes(which: &'static str, der: &[u8]) -> Result<Vec<u8>, X509Error> {
    match der.len() {
        0..=DISTINGUISHED_NAME_BYTES_MAX => Ok(der.to_vec()),
        length => {
            Err(field(which, format!("{length} bytes; at most {DISTINGUISHED_NAME_BYTES_MAX} are taken")))
        }
    }
}

fn millis(time: ASN1Time) -> Millis {
    Millis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000))
}

fn version(certificate: &X509Certificate<'_>) -> Result<u8, X509Error> {
    match certificate.version().0 {
        0 if !certificate.extensions().is_empty() => {
            Err(field("version", "it is 1, which has no extensions, and there are some".to_owned()))
        }
        0 => Ok(1),
        1 => Ok(2),
        2 => Ok(3),
        other => Err(field("version", format!("{other} is not one of 0, 1 and 2"))),
    }
}

fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, X509Error> {
    let constraints =
        certificate.basic_constraints().map_err(|error| field("basic constraints", error.to_string()))?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, X509Error> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| field("subject alternative names", error.to_string()))?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect())
}

fn key(spki: &SubjectPublicKeyInfo<'_>) -> Result<Key, X509Error> {
    let parsed = spki.parsed().map_err(|error| field("public key", error.to_string()))?;
    Ok(match parsed {
        PublicKey::RSA(rsa) => Key { kind: KeyKind::Rsa, bits: bit_length(rsa.modulus) },
        PublicKey::EC(point) => Key { kind: KeyKind::Ec, bits: point.key_size().min(521) },
        _ => match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => Key { kind: KeyKind::Edwards, bits: 255 },
            "1.3.101.113" => Key { kind: KeyKind::Edwards, bits: 448 },
            _ => Key { kind: KeyKind::Other, bits: 0 },
        },
    })
}

/// Of a big-endian number, leading zeros aside.
fn bit_length(number: &[u8]) -> usize {
    let start = number.iter().position(|&byte| byte != 0).unwrap_or(number.len());
    match &number[start..] {
        [] => 0,
        digits @ [first, ..] => digits.len() * 8 - first.leading_zeros() as usize,
    }
}

/// The dotted form of an OID.
fn dotted(oid: &Oid<'_>) -> String {
    oid.to_id_string()
}
