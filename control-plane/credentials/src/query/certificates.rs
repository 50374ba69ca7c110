//! Reads of certificates.

use crate::codec::decode_row;
use crate::ids::{CertificateId, Fingerprint, Serial};
use crate::keys;
use crate::limits::CERTIFICATES_PER_DEVICE_MAX;
use crate::names::{AuthorityName, DeviceName, TenantName};
use crate::records::{Authority, Certificate, Device, Tenant};
use crate::selector::{Issuer, SELECTOR_MATCH_MAX};
use crate::state::{State, Status};
use crate::store::{ReadError, Reader};
use crate::x509::{normal_form, reversed};

use super::page::{self, Page, PageToken};
use super::row;

/// Which certificates a list holds. Those deleted are in none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateFilter {
    /// Of a device.
    pub device: Option<DeviceName>,
    /// Of an authority.
    pub authority: Option<AuthorityName>,
    /// Whose own state this is.
    pub state: Option<State>,
}

/// A certificate and everything that a verdict on it looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its own status.
    pub certificate: Status,
    /// Its device's; `None`: the device is deleted.
    pub device: Option<Status>,
    /// Its authority, those deleted included; `None` for a registered leaf.
    pub authority: Option<Authority>,
    /// Its tenant's; `None`: there is none.
    pub tenant: Option<Status>,
}

impl Standing {
    /// The worst of the certificate's, its device's and its tenant's.
    pub fn worst(&self) -> State {
        let state = |status: Option<Status>| status.map_or(State::Deleted, |status| status.state);
        effective(effective(self.certificate.state, state(self.device)), state(self.tenant))
    }
}

/// What brokers see of a certificate: the worse of its own state and that of something above it.
pub fn effective(own: State, above: State) -> State {
    if above.is_denied() { own.max(above) } else { own }
}

/// A certificate, those deleted that an authority issued included until they expire.
pub fn certificate_by_id(reader: &dyn Reader, id: &CertificateId) -> Result<Option<Certificate>, ReadError> {
    row(reader, &keys::certificate(id))?.map(|certificate| with_der(reader, certificate)).transpose()
}

/// The certificate with this fingerprint; as [`certificate_by_id`].
pub fn certificate_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Certificate>, ReadError> {
    row_by_fingerprint(reader, fingerprint)?.map(|certificate| with_der(reader, certificate)).transpose()
}

/// The certificates of this issuer and serial number; as [`certificate_by_id`].
pub fn certificates_by_serial(
    reader: &dyn Reader,
    issuer: &Issuer,
    serial: &Serial,
) -> Result<Vec<Certificate>, ReadError> {
    let rows = rows_by_serial(reader, issuer, serial)?;
    rows.into_iter().map(|certificate| with_der(reader, certificate)).collect()
}

/// The certificates of a device, in the order of their ids; a limit bounds their number.
pub fn certificates_of_device(
    reader: &dyn Reader,
    tenant: &TenantName,
    device: &DeviceName,
) -> Result<Vec<Certificate>, ReadError> {
    let rows = rows_of_device(reader, tenant, device)?;
    rows.into_iter().map(|certificate| with_der(reader, certificate)).collect()
}

/// The certificates of a tenant, those deleted left out.
pub fn list_certificates(
    reader: &dyn Reader,
    tenant: &TenantName,
    filter: &CertificateFilter,
    size: usize,
    token: Option<&PageToken>,
) -> Result<Page<Certificate>, ReadError> {
    let prefix = match filter {
        CertificateFilter { device: Some(device), .. } => keys::of_device(tenant, device),
        CertificateFilter { authority: Some(authority), .. } => keys::of_authority(tenant, Some(authority)),
        _ => keys::of_tenant(tenant),
    };
    page::list(reader, prefix, size, token, |key, _| {
        let certificate = row_by_id(reader, &id_behind(key)?)?;
        let wanted = filter.authority.is_none() || filter.authority == certificate.authority;
        let wanted = wanted && filter.state.is_none_or(|state| state == certificate.status.state);
        wanted.then(|| with_der(reader, certificate)).transpose()
    })
}

/// What a verdict on a certificate looks at.
pub fn standing(reader: &dyn Reader, certificate: &Certificate) -> Result<Standing, ReadError> {
    let Certificate { tenant, device, authority, status, .. } = certificate;
    let device: Option<Device> = row(reader, &keys::device(tenant, device))?;
    let authority = authority.as_ref().map(|name| row(reader, &keys::authority(tenant, name))).transpose()?;
    let tenant: Option<Tenant> = row(reader, &keys::tenant(tenant))?;
    Ok(Standing {
        certificate: *status,
        device: device.map(|device| device.status),
        authority: authority.flatten(),
        tenant: tenant.map(|tenant| tenant.status),
    })
}

fn with_der(reader: &dyn Reader, mut certificate: Certificate) -> Result<Certificate, ReadError> {
    certificate.der = reader.get(&keys::certificate_der(&certificate.id))?.unwrap_or_default();
    Ok(certificate)
}

/// The row of an index entry; it is there, or the store is inconsistent.
pub(super) fn row_by_id(reader: &dyn Reader, id: &CertificateId) -> Result<Certificate, ReadError> {
    row(reader, &keys::certificate(id))?
        .ok_or_else(|| ReadError(format!("an index names certificate {id}, which is not there")))
}

/// The certificate with this fingerprint, without its DER.
pub(crate) fn row_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Certificate>, ReadError> {
    let key = keys::certificate_fingerprint(fingerprint);
    let id: Option<CertificateId> = reader.get(&key)?.map(|bytes| decode_row(&key, &bytes)).transpose()?;
    id.map(|id| row_by_id(reader, &id)).transpose()
}

pub(super) fn rows_by_serial(
    reader: &dyn Reader,
    issuer: &Issuer,
    serial: &Serial,
) -> Result<Vec<Certificate>, ReadError> {
    let prefixes = match issuer {
        Issuer::Der(der) => vec![keys::issuer_serial(der, serial)],
        Issuer::Text(text) => {
            let mut spellings = vec![normal_form(text), reversed(text)];
            spellings.dedup();
            spellings.iter().map(|text| keys::issuer_text_serial(text, serial)).collect()
        }
    };
    let mut certificates = Vec::new();
    for prefix in prefixes {
        certificates.extend(rows_of_index(reader, keys::prefix(prefix), SELECTOR_MATCH_MAX + 1)?);
    }
    Ok(certificates)
}

pub(super) fn rows_of_device(
    reader: &dyn Reader,
    tenant: &TenantName,
    device: &DeviceName,
) -> Result<Vec<Certificate>, ReadError> {
    let most = usize::try_from(CERTIFICATES_PER_DEVICE_MAX).unwrap_or(usize::MAX);
    rows_of_index(reader, keys::prefix(keys::of_device(tenant, device)), most)
}

/// The certificates that the entries of an index name, at most `limit`.
pub(super) fn rows_of_index(
    reader: &dyn Reader,
    (from, to): (Vec<u8>, Vec<u8>),
    limit: usize,
) -> Result<Vec<Certificate>, ReadError> {
    let entries = reader.scan(&from, &to, limit)?;
    entries.iter().map(|(key, _)| row_by_id(reader, &id_behind(key)?)).collect()
}

/// The id at the end of an index's key.
fn id_behind(key: &[u8]) -> Result<CertificateId, ReadError> {
    let id = key.last_chunk().ok_or_else(|| ReadError(format!("key {} has no id", key.escape_ascii())))?;
    Ok(CertificateId(*id))
}
