//! The last look at a certificate before it leaves: parsed anew, and compared with what was asked for.

use std::collections::BTreeSet;

use rcgen::PublicKeyData;
use revoq_credentials::Millis;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::{LeafProfile, San};
use crate::error::Error;

/// Compares `der` with its profile and with the authority that should have signed it.
pub(super) fn check(der: &CertificateDer<'_>, leaf: &LeafProfile, authority: &[u8]) -> Result<(), Error> {
    let certificate = parse("the certificate", der)?;
    let authority = parse("the authority", authority)?;
    basics(&certificate, leaf)?;
    validity(&certificate, leaf, &authority)?;
    subject(&certificate, leaf)?;
    extensions(&certificate, leaf)?;
    issuer(&certificate, &authority)
}

fn ensure(condition: bool, what: &str) -> Result<(), Error> {
    if condition { Ok(()) } else { Err(Error::Signing(format!("a certificate failed its check: {what}"))) }
}

fn parse<'a>(what: &str, der: &'a [u8]) -> Result<X509Certificate<'a>, Error> {
    let (rest, parsed) =
        X509Certificate::from_der(der).map_err(|error| Error::Signing(format!("{what}: {error}")))?;
    ensure(rest.is_empty(), "bytes after its end")?;
    Ok(parsed)
}

fn basics(certificate: &X509Certificate<'_>, leaf: &LeafProfile) -> Result<(), Error> {
    ensure(certificate.version().0 == 2, "version 3")?;
    ensure(certificate.raw_serial() == leaf.serial, "serial number")?;
    ensure(certificate.public_key().raw == leaf.public_key.subject_public_key_info().as_slice(), "public key")
}

fn validity(
    certificate: &X509Certificate<'_>,
    leaf: &LeafProfile,
    authority: &X509Certificate<'_>,
) -> Result<(), Error> {
    let validity = certificate.validity();
    ensure(millis(validity.not_before) == Some(leaf.not_before), "start of validity")?;
    ensure(millis(validity.not_after) == Some(leaf.not_after), "end of validity")?;
    ensure(validity.not_before < validity.not_after, "validity of at least a second")?;
    ensure(validity.not_after <= authority.validity().not_after, "end of validity within the authority's")
}

fn millis(time: ASN1Time) -> Option<Millis> {
    u64::try_from(time.timestamp()).ok().and_then(|seconds| seconds.checked_mul(1_000)).map(Millis)
}

fn subject(certificate: &X509Certificate<'_>, leaf: &LeafProfile) -> Result<(), Error> {
    let subject = certificate.subject();
    let common_names: Vec<_> = subject.iter_common_name().map(|name| name.as_str().ok()).collect();
    let organizations: Vec<_> = subject.iter_organization().map(|name| name.as_str().ok()).collect();
    let wanted = |name: &Option<String>| name.iter().map(|name| Some(name.clone())).collect::<Vec<_>>();
    let owned =
        |names: Vec<Option<&str>>| names.into_iter().map(|n| n.map(str::to_owned)).collect::<Vec<_>>();
    ensure(owned(common_names) == wanted(&leaf.subject.common_name), "subject common name")?;
    ensure(owned(organizations) == wanted(&leaf.subject.organization), "subject organization")
}

fn extensions(certificate: &X509Certificate<'_>, leaf: &LeafProfile) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for extension in certificate.extensions() {
        ensure(seen.insert(extension.oid.to_id_string()), "an extension twice")?;
        ensure(!extension.parsed_extension().unsupported(), "an extension nobody asked for")?;
    }
    let found = |what| move |_| Error::Signing(format!("a certificate failed its check: {what}"));
    let constraints = certificate.basic_constraints().map_err(found("basic constraints"))?;
    ensure(constraints.is_some_and(|basic| basic.critical && !basic.value.ca), "not an authority")?;
    let usage = certificate.key_usage().map_err(found("key usage"))?;
    ensure(usage.is_some_and(|u| u.critical && u.value.flags == 1), "key usage digitalSignature alone")?;
    let extended = certificate.extended_key_usage().map_err(found("extended key usage"))?;
    let right = extended.is_some_and(|extended| {
        let usage = extended.value;
        usage.client_auth == leaf.usage.is_client()
            && usage.server_auth == leaf.usage.is_server()
            && !(usage.any || usage.code_signing || usage.email_protection)
            && !(usage.time_stamping || usage.ocsp_signing)
            && usage.other.is_empty()
    });
    ensure(right, "extended key usage")?;
    let names = certificate.subject_alternative_name().map_err(found("subject alternative names"))?;
    let names = names.map(|names| names.value.general_names.iter().map(San::present).collect::<Vec<_>>());
    let wanted = leaf.names.iter().cloned().map(Some).collect::<Vec<_>>();
    ensure(names.unwrap_or_default() == wanted, "subject alternative names")
}

fn issuer(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> Result<(), Error> {
    ensure(authority.is_ca(), "the issuer is an authority")?;
    ensure(certificate.issuer().as_raw() == authority.subject().as_raw(), "issuer name")?;
    let wanted = authority.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let named = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    ensure(wanted.is_some() && wanted == named, "authority key identifier")?;
    ensure(certificate.verify_signature(Some(authority.public_key())).is_ok(), "signature")
}
