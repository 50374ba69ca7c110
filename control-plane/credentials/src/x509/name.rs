//! Distinguished names as RFC 4514 strings, and a normal form to compare them by.

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::dotted;
use crate::ids::to_hex;

/// Short names: those of RFC 4514 section 3, and the two others that openssl prints and people type.
const TYPES: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
];

/// A name as an RFC 4514 string: the last RDN first, `,` between them, `+` within one that has several values.
pub fn name_text(name: &X509Name<'_>) -> String {
    let mut rdns: Vec<String> =
        name.iter_rdn().map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    rdns.reverse();
    rdns.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = dotted(attribute.attr_type());
    let name = TYPES.iter().find(|(known, _)| *known == oid).map_or(oid.as_str(), |(_, name)| name);
    let value = match attribute.as_str() {
        Ok(text) => escape(text),
        // Of a type without a text form: its contents in hexadecimal, as RFC 4514 section 2.4 has it.
        Err(_) => format!("#{}", to_hex(attribute.as_slice())),
    };
    format!("{name}={value}")
}

/// RFC 4514 section 2.4.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            ' ' if index == 0 || index == last => escaped.push_str("\\ "),
            '#' if index == 0 => escaped.push_str("\\#"),
            '\0' => escaped.push_str("\\00"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// What the spellings of one name have in common: escapes and quotes undone, lower case, no spaces around `,` and
/// `=`. To compare and to hash, not to show.
pub(crate) fn normal_form(text: &str) -> String {
    rdns(text).join("\n")
}

/// The normal form of the name read in the other direction, which is how openssl prints it.
pub(crate) fn reversed(text: &str) -> String {
    let mut rdns = rdns(text);
    rdns.reverse();
    rdns.join("\n")
}

fn rdns(text: &str) -> Vec<String> {
    let mut rdns = vec![Vec::new()];
    let mut quoted = false;
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b',' if !quoted => {
                rdns.push(Vec::new());
                continue;
            }
            b'"' => {
                quoted = !quoted;
                continue;
            }
            b'\\' => unescape(&mut rest),
            other => other,
        };
        rdns.last_mut().expect("never empty").push(byte);
    }
    rdns.iter().map(|rdn| normal_rdn(&String::from_utf8_lossy(rdn))).collect()
}

/// What follows a backslash: two hexadecimal digits, or a character that stands for itself.
fn unescape(rest: &mut std::str::Bytes<'_>) -> u8 {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut ahead = rest.clone();
    let pair = digit(ahead.next()).zip(digit(ahead.next()));
    match pair.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
        Some(byte) => {
            *rest = ahead;
            byte
        }
        None => rest.next().unwrap_or(b'\\'),
    }
}

fn normal_rdn(rdn: &str) -> String {
    let (name, value) = rdn.split_once('=').unwrap_or((rdn, ""));
    format!("{}={}", name.trim().to_lowercase(), value.trim().to_lowercase())
}
