//! PEM (RFC 7468): strict about what is inside, tolerant of text around it, as openssl writes.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a PKCS#8 private key.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";
/// The label of a PKCS#10 certificate signing request.
pub const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";

const LINE: usize = 64;
const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One block of a PEM text.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// `CERTIFICATE`, `PRIVATE KEY` ...
    pub label: String,
    /// What is inside.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for Block {
    // Private keys pass here: the content stays out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({}, {} bytes)", self.label, self.der.len())
    }
}

/// Writes one block, lines of 64 characters, ending in a newline.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}{DASHES}\n"));
    text
}

/// Writes certificates one after the other: a chain, leaf first.
#[must_use]
pub fn encode_certificates<T: AsRef<[u8]>>(chain: &[T]) -> String {
    chain.iter().map(|der| encode(CERTIFICATE, der.as_ref())).collect()
}

/// Is this PEM rather than DER?
#[must_use]
pub fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|w| w == BEGIN.as_bytes())
}

/// Every block of a text, in order. Text between blocks is skipped.
///
/// # Errors
/// [`Error::Pem`] for a block without its end or with something else than base64 inside. `what` names the text
/// in the message.
pub fn decode(what: &str, text: &str) -> Result<Vec<Block>, Error> {
    let wrong = |reason: String| Error::Pem { what: what.to_owned(), reason };
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|l| l.strip_suffix(DASHES)) else { continue };
        let end = format!("-----END {label}{DASHES}");
        let mut body = String::new();
        loop {
            let Some(line) = lines.next() else {
                return Err(wrong(format!("the PEM block {label} is cut short: {end} is missing")));
            };
            if line == end {
                break;
            }
            body.push_str(line.trim());
        }
        let der =
            STANDARD.decode(&body).map_err(|e| wrong(format!("PEM block {label} is not base64: {e}")))?;
        blocks.push(Block { label: label.to_owned(), der });
    }
    Ok(blocks)
}

/// The DER of every block with this label; at least one.
///
/// # Errors
/// [`Error::Pem`] when the text holds none, or is broken.
pub fn decode_all(what: &str, label: &str, text: &str) -> Result<Vec<Vec<u8>>, Error> {
    let blocks = decode(what, text)?;
    let found: Vec<String> = blocks.iter().map(|b| b.label.clone()).collect();
    let wanted: Vec<Vec<u8>> = blocks.into_iter().filter(|b| b.label == label).map(|b| b.der).collect();
    if !wanted.is_empty() {
        return Ok(wanted);
    }
    let found = if found.is_empty() { "no PEM block".to_owned() } else { found.join(", ") };
    Err(Error::Pem { what: what.to_owned(), reason: format!("expected a PEM block {label}, found {found}") })
}

/// DER as it is, or the first block with this label of a PEM text.
///
/// # Errors
/// [`Error::Pem`] as [`decode_all`].
pub fn der_or_pem(what: &str, label: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if !is_pem(bytes) {
        return Ok(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Pem {
        what: what.to_owned(),
        reason: "PEM is text, this is not UTF-8".to_owned(),
    })?;
    Ok(decode_all(what, label, text)?.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_of_every_length() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).collect();
            let text = format!("Subject: somebody\n{}trailing\n", encode(CERTIFICATE, &der));
            assert!(text.lines().all(|l| l.len() <= LINE));
            assert_eq!(decode_all("certificate", CERTIFICATE, &text).expect("own output"), [der]);
        }
    }

    #[test]
    fn broken_text_is_named() {
        let whole = encode(CERTIFICATE, &[7; 100]);
        for (text, expected) in [
            (whole.replace("-----END", "-----FIN"), "cut short"),
            (whole.replace("BwcH", "B*cH"), "not base64"),
            (String::from("hello"), "no PEM block"),
            (encode(PRIVATE_KEY, &[1]), "found PRIVATE KEY"),
        ] {
            let error = decode_all("certificate", CERTIFICATE, &text).expect_err(expected).to_string();
            assert!(error.starts_with("certificate: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn der_passes_as_it_is() {
        assert_eq!(der_or_pem("c", CERTIFICATE, &[0x30, 0]).expect("DER"), [0x30, 0]);
        let pem = encode(CERTIFICATE, &[0x30, 0]);
        assert_eq!(der_or_pem("c", CERTIFICATE, pem.as_bytes()).expect("PEM"), [0x30, 0]);
    }
}
