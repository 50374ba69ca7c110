//! How people name certificates and issuers: identifiers, or files that hold the certificate.
use std::path::Path;

use revoq_credentials::x509::{self, Parsed};
use revoq_credentials::{CertificateId, Fingerprint, Issuer, RevocationReason, Selector};
use revoq_proto::pem;

use crate::error::Error;
use crate::files;

/// One certificate: its id, its fingerprint, or a file with it.
///
/// # Errors
/// [`Error::Value`] for what is none of these.
pub fn certificate(text: &str) -> Result<Selector, Error> {
    if let Ok(id) = text.parse::<CertificateId>() {
        return Ok(Selector::Id(id));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        return Ok(Selector::Fingerprint(fingerprint));
    }
    if Path::new(text).is_file() {
        return Ok(Selector::Fingerprint(certificate_file(Path::new(text))?.fingerprint));
    }
    let remedy =
        "expected an id (32 hexadecimal digits), a SHA-256 fingerprint (64), or an existing PEM or DER file";
    Err(Error::value("certificate", text, remedy))
}

/// The certificate in a PEM or DER file; of several, the first: the leaf of a chain.
///
/// # Errors
/// [`Error::File`], or [`Error::Value`] with what is wrong in it.
pub fn certificate_file(path: &Path) -> Result<Parsed, Error> {
    let der = pem::der_or_pem(&path.display().to_string(), pem::CERTIFICATE, &files::read(path)?)?;
    x509::parse(&der)
        .map_err(|error| Error::value("certificate", &path.display().to_string(), error.to_string()))
}

/// An issuer: an RFC 4514 string, or the file of its certificate.
///
/// # Errors
/// As [`certificate_file`].
pub fn issuer(text: &str) -> Result<Issuer, Error> {
    // A distinguished name has an attribute, `CN=x`; a file of that name is improbable.
    if !text.contains('=') && Path::new(text).is_file() {
        return Ok(Issuer::Der(certificate_file(Path::new(text))?.subject));
    }
    if text.contains('=') {
        return Ok(Issuer::Text(text.to_owned()));
    }
    let remedy = "expected a distinguished name such as \"CN=Factory,O=Acme\", or the file of the issuer's certificate";
    Err(Error::value("issuer", text, remedy))
}

/// A reason as RFC 5280 spells it; case and dashes do not matter.
///
/// # Errors
/// With all of them, for clap.
pub fn reason(text: &str) -> Result<RevocationReason, String> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let found = RevocationReason::ALL.into_iter().find(|reason| plain(&reason.to_string()) == plain(text));
    found.ok_or_else(|| {
        let names = RevocationReason::ALL.map(|reason| reason.to_string());
        format!("expected one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fingerprints_and_nothing_else() {
        let id = "00112233445566778899aabbccddeeff";
        assert_eq!(certificate(id).expect("an id").to_string(), format!("certificate {id}"));
        let colons = ["AB"; 32].join(":");
        assert_eq!(
            certificate(&colons).expect("as openssl prints it"),
            Selector::Fingerprint(Fingerprint([0xab; 32]))
        );
        for text in ["", "pump-7", "0011", "/no/such/file.pem"] {
            let error = certificate(text).expect_err(text).to_string();
            assert!(error.contains("64"), "{error}");
        }
    }

    #[test]
    fn files_that_hold_no_certificate() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file.pem");
        for (content, expected) in [
            (String::new(), "empty"),
            ("garbage".to_owned(), "not an X.509 certificate"),
            (pem::encode(pem::PRIVATE_KEY, &[0x30, 0]), "found PRIVATE KEY"),
            (pem::encode(pem::CERTIFICATE, &[0x30, 0]), "not an X.509 certificate"),
        ] {
            std::fs::write(&path, content).expect("written");
            let error = certificate(path.to_str().expect("UTF-8")).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("file.pem"), "{error}");
        }
    }

    #[test]
    fn issuers() {
        assert_eq!(issuer("CN=a,O=b").expect("a name"), Issuer::Text("CN=a,O=b".to_owned()));
        let error = issuer("/no/such/ca.pem").expect_err("no file").to_string();
        assert!(error.contains("distinguished name"), "{error}");
    }

    #[test]
    fn reasons() {
        for text in ["keyCompromise", "key-compromise", "KEYCOMPROMISE"] {
            assert_eq!(reason(text).expect(text), RevocationReason::KeyCompromise);
        }
        assert!(reason("because").expect_err("unknown").contains("cessationOfOperation"));
    }
}
