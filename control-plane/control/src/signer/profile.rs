//! What goes into the certificates that we make.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SerialNumber,
};
use revoq_credentials::Millis;
use time::OffsetDateTime;

use super::{PublicKey, San, random_serial};
use crate::error::Error;

/// X.520: the upper bound of a common name and an organization, in characters.
pub(crate) const SUBJECT_CHARACTERS_MAX: usize = 64;

/// Certificates begin this long before they are made, for devices whose clock is behind.
pub(crate) const BACKDATED_MS: u64 = 5 * 60 * 1_000;

/// The moment a certificate made at `now` begins to be valid, in whole seconds.
pub(crate) fn not_before(now: Millis) -> Millis {
    seconds(Millis(now.0.saturating_sub(BACKDATED_MS)))
}

/// X.509 counts in whole seconds.
pub(crate) fn seconds(time: Millis) -> Millis {
    Millis(time.0 / 1_000 * 1_000)
}

/// An authority.
#[derive(Clone, Debug)]
pub(crate) struct AuthorityProfile {
    pub(crate) common_name: String,
    pub(crate) not_before: Millis,
    pub(crate) not_after: Millis,
    /// How many authorities may stand below it.
    pub(crate) path_length: u8,
}

impl AuthorityProfile {
    pub(super) fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(self.path_length));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

/// What a leaf may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Client,
    Server,
    /// Replicas: they call each other.
    Both,
}

impl Usage {
    pub(crate) fn is_client(self) -> bool {
        self != Usage::Server
    }

    pub(crate) fn is_server(self) -> bool {
        self != Usage::Client
    }
}

/// A subject of at most two attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) organization: Option<String>,
    pub(crate) common_name: Option<String>,
}

/// An end-entity certificate.
#[derive(Clone, Debug)]
pub(crate) struct LeafProfile {
    pub(crate) serial: [u8; 16],
    pub(crate) subject: Subject,
    pub(crate) public_key: PublicKey,
    pub(crate) names: Vec<San>,
    pub(crate) usage: Usage,
    pub(crate) not_before: Millis,
    pub(crate) not_after: Millis,
}

impl LeafProfile {
    pub(super) fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = &self.subject.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
        }
        if let Some(common_name) = &self.subject.common_name {
            params.distinguished_name.push(DnType::CommonName, common_name.as_str());
        }
        params.serial_number = Some(SerialNumber::from_slice(&self.serial));
        params.subject_alt_names = self.names.iter().map(San::to_rcgen).collect::<Result<_, _>>()?;
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        // Says CA:FALSE, and adds the subject key identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.usage.is_client() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        if self.usage.is_server() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn date(time: Millis) -> Result<OffsetDateTime, Error> {
    let seconds = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| Error::Signing(format!("{} ms is beyond what a certificate can say", time.0)))
}
