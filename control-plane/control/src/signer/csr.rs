//! Certificate signing requests (PKCS#10, RFC 2986): parsed strictly, and proven by their signature.

use revoq_proto::pem;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::{NAMES_MAX, PublicKey, San};
use crate::error::Error;

/// Length of a request in bytes, PEM included.
pub(crate) const CSR_BYTES_MAX: usize = 16 * 1_024;

const FIELD: &str = "csr";
const OPENSSL: &str = "make one with `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256`";
/// Signed with SHA-1: PKCS#1 v1.5 under its two names, and ECDSA.
const OIDS_SHA1: [&str; 3] = ["1.2.840.113549.1.1.5", "1.3.14.3.2.29", "1.2.840.10045.4.1"];

/// What a CSR says, once its signature is checked.
#[derive(Debug)]
pub(crate) struct Csr {
    pub(crate) public_key: PublicKey,
    pub(crate) common_name: Option<String>,
    pub(crate) names: Vec<San>,
}

impl Csr {
    /// Takes DER or PEM.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Csr, Error> {
        if bytes.is_empty() {
            return Err(Error::invalid(FIELD, "", format!("a request in DER or PEM is needed: {OPENSSL}")));
        }
        if bytes.len() > CSR_BYTES_MAX {
            let found = format!("{} bytes", bytes.len());
            return Err(Error::invalid(FIELD, found, format!("at most {CSR_BYTES_MAX} bytes")));
        }
        let der = unwrap_pem(bytes)?;
        let (rest, csr) = X509CertificationRequest::from_der(&der).map_err(|_| {
            let found = format!("{} bytes", der.len());
            Error::invalid(FIELD, found, format!("not a PKCS#10 request: {OPENSSL}"))
        })?;
        if !rest.is_empty() {
            let found = format!("{} bytes after the request", rest.len());
            return Err(Error::invalid(FIELD, found, "send the request alone"));
        }
        Csr::read(&csr)
    }

    fn read(csr: &X509CertificationRequest<'_>) -> Result<Csr, Error> {
        let info = &csr.certification_request_info;
        // Before the signature: the verifier would call a weak key's signature wrong.
        let public_key = PublicKey::accept(FIELD, &info.subject_pki)?;
        let algorithm = csr.signature_algorithm.algorithm.to_id_string();
        if OIDS_SHA1.contains(&algorithm.as_str()) {
            return Err(Error::invalid(FIELD, "signature with SHA-1", "sign the request with SHA-256"));
        }
        csr.verify_signature().map_err(|_| {
            Error::invalid(FIELD, "its signature", "does not verify: sign the request with the key inside it")
        })?;
        let common_name = match info.subject.iter_common_name().next() {
            Some(name) => Some(name.as_str().map(str::to_owned).map_err(|_| {
                Error::invalid(FIELD, "the subject's common name", "write the common name as UTF-8")
            })?),
            None => None,
        };
        Ok(Csr { public_key, common_name, names: names(csr)? })
    }
}

fn names(csr: &X509CertificationRequest<'_>) -> Result<Vec<San>, Error> {
    let mut names = Vec::new();
    let Some(extensions) = csr.requested_extensions() else { return Ok(names) };
    for extension in extensions {
        // Usages and constraints are ours to decide; what is asked for there is not taken over.
        let ParsedExtension::SubjectAlternativeName(san) = extension else { continue };
        for name in &san.general_names {
            names.push(San::requested(FIELD, name)?);
            if names.len() > NAMES_MAX {
                let found = format!("{} subject alternative names", san.general_names.len());
                return Err(Error::invalid(FIELD, found, format!("at most {NAMES_MAX}")));
            }
        }
    }
    Ok(names)
}

fn unwrap_pem(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let der = pem::der_or_pem(FIELD, pem::CERTIFICATE_REQUEST, bytes);
    // The older label, which some tools still write.
    let der =
        der.or_else(|error| pem::der_or_pem(FIELD, "NEW CERTIFICATE REQUEST", bytes).map_err(|_| error));
    der.map_err(|error| Error::invalid(FIELD, "PEM", error.to_string()))
}
