//! Reads over the rows. All are of one consistent state: that of the reader.
//!
//! Lists come in pages of at most [`PAGE_SIZE_MAX`]; a page token is where the next page begins, so that rows which
//! are added or removed meanwhile neither repeat nor hide others.

mod certificates;
mod page;
mod passwords;
mod select;
mod snapshot;

use minicbor::{Decode, Encode};

use crate::codec::decode_row;
use crate::event::Denial;
use crate::held::Held;
use crate::ids::{Fingerprint, NodeId};
use crate::keys;
use crate::limits::{ADMINISTRATORS_MAX, AUTHORITIES_PER_TENANT_MAX, JOIN_TOKENS_MAX, PAGE_SIZE_MAX};
use crate::names::{AdministratorName, AuthorityName, DeviceName, LabelKey, LabelValue, TenantName};
use crate::records::{
    Administrator, AuditEntry, Authority, Cluster, Device, JoinToken, Node, SealedTicketKeys, Tenant,
};
use crate::settings::{Settings, definitions};
use crate::state::State;
use crate::store::{ReadError, Reader};
pub(crate) use certificates::row_by_fingerprint;
pub use certificates::{
    CertificateFilter, Standing, certificate_by_fingerprint, certificate_by_id, certificates_by_serial,
    certificates_of_device, effective, list_certificates, standing,
};
pub use page::{Page, PageToken};
pub use passwords::{PasswordFilter, list_passwords, password, passwords_of_device};
pub(crate) use select::expect_found;
pub use select::{Selection, select};
pub use snapshot::{SnapshotCursor, snapshot};

/// How many rows there are, those deleted not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    #[n(0)]
    pub tenants: u64,
    #[n(1)]
    pub authorities: u64,
    #[n(2)]
    pub devices: u64,
    #[n(3)]
    pub certificates: u64,
    /// The denied set.
    #[n(4)]
    pub denied: u64,
    #[n(5)]
    pub nodes: u64,
    #[n(6)]
    pub administrators: u64,
    #[n(7)]
    pub join_tokens: u64,
    /// The highest number that was given to a node.
    #[n(8)]
    pub last_node: NodeId,
    /// Absent in rows of before there were any.
    #[cbor(n(9), default)]
    pub passwords: u64,
}

/// How many rows a tenant has, those deleted not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TenantCounts {
    #[n(0)]
    pub authorities: u64,
    #[n(1)]
    pub devices: u64,
    #[n(2)]
    pub certificates: u64,
    /// Absent in rows of before there were any.
    #[cbor(n(3), default)]
    pub passwords: u64,
}

/// The number and hash of the last audit entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AuditHead {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Its hash.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// The credential with this fingerprint, of whatever kind.
pub(crate) fn held_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Held>, ReadError> {
    if let Some(certificate) = row_by_fingerprint(reader, fingerprint)? {
        return Ok(Some(Held::Certificate(Box::new(certificate))));
    }
    let password = passwords::password_by_fingerprint(reader, fingerprint)?;
    Ok(password.map(|password| Held::Password(Box::new(password))))
}

pub(crate) fn row<T: for<'b> Decode<'b, ()>>(
    reader: &dyn Reader,
    key: &[u8],
) -> Result<Option<T>, ReadError> {
    reader.get(key)?.map(|bytes| decode_row(key, &bytes)).transpose()
}

/// The rows of a range, decoded.
fn rows<T: for<'b> Decode<'b, ()>>(
    reader: &dyn Reader,
    prefix: Vec<u8>,
    limit: usize,
) -> Result<Vec<T>, ReadError> {
    let (from, to) = keys::prefix(prefix);
    reader.scan(&from, &to, limit)?.iter().map(|(key, bytes)| decode_row(key, bytes)).collect()
}

/// The cluster; `None` before it is initialized.
pub fn cluster(reader: &dyn Reader) -> Result<Option<Cluster>, ReadError> {
    row(reader, &keys::cluster())
}

/// How many rows there are.
pub fn counts(reader: &dyn Reader) -> Result<Counts, ReadError> {
    Ok(row(reader, &keys::counts())?.unwrap_or_default())
}

/// How many rows a tenant has.
pub fn tenant_counts(reader: &dyn Reader, name: &TenantName) -> Result<TenantCounts, ReadError> {
    Ok(row(reader, &keys::tenant_counts(name))?.unwrap_or_default())
}

/// How many certificates of an authority there are, those deleted not counted.
pub fn authority_count(
    reader: &dyn Reader,
    tenant: &TenantName,
    name: &AuthorityName,
) -> Result<u64, ReadError> {
    Ok(row(reader, &keys::authority_count(tenant, name))?.unwrap_or_default())
}

/// A tenant that is not deleted.
pub fn tenant(reader: &dyn Reader, name: &TenantName) -> Result<Option<Tenant>, ReadError> {
    let tenant: Option<Tenant> = row(reader, &keys::tenant(name))?;
    Ok(tenant.filter(|tenant| tenant.status.state != State::Deleted))
}

/// The tenants that are not deleted, by name.
pub fn list_tenants(
    reader: &dyn Reader,
    size: usize,
    token: Option<&PageToken>,
) -> Result<Page<Tenant>, ReadError> {
    page::list(reader, keys::table(keys::TENANTS), size, token, |key, bytes| {
        let tenant: Tenant = decode_row(key, bytes)?;
        Ok((tenant.status.state != State::Deleted).then_some(tenant))
    })
}

/// An authority that is not deleted.
pub fn authority(
    reader: &dyn Reader,
    tenant: &TenantName,
    name: &AuthorityName,
) -> Result<Option<Authority>, ReadError> {
    let authority: Option<Authority> = row(reader, &keys::authority(tenant, name))?;
    Ok(authority.filter(|authority| authority.status.state != State::Deleted))
}

/// The authority with this certificate, of whatever tenant.
pub fn authority_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Authority>, ReadError> {
    let name: Option<(TenantName, AuthorityName)> = row(reader, &keys::authority_fingerprint(fingerprint))?;
    name.map_or(Ok(None), |(tenant, name)| authority(reader, &tenant, &name))
}

/// All authorities of a tenant that are not deleted, by name; a limit bounds their number.
pub fn list_authorities(reader: &dyn Reader, tenant: &TenantName) -> Result<Vec<Authority>, ReadError> {
    let mut authorities = Vec::new();
    let mut token = None;
    let most = usize::try_from(AUTHORITIES_PER_TENANT_MAX).unwrap_or(PAGE_SIZE_MAX);
    loop {
        let page = page::list(reader, keys::authorities(tenant), most, token.as_ref(), |key, bytes| {
            let authority: Authority = decode_row(key, bytes)?;
            Ok((authority.status.state != State::Deleted).then_some(authority))
        })?;
        authorities.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(authorities);
        }
    }
}

/// A device.
pub fn device(
    reader: &dyn Reader,
    tenant: &TenantName,
    name: &DeviceName,
) -> Result<Option<Device>, ReadError> {
    row(reader, &keys::device(tenant, name))
}

/// The devices of a tenant by name; of those, the ones that carry a label.
pub fn list_devices(
    reader: &dyn Reader,
    tenant: &TenantName,
    label: Option<(&LabelKey, &LabelValue)>,
    size: usize,
    token: Option<&PageToken>,
) -> Result<Page<Device>, ReadError> {
    let Some((key, value)) = label else {
        return page::list(reader, keys::devices(tenant), size, token, |key, bytes| {
            decode_row(key, bytes).map(Some)
        });
    };
    let prefix = keys::labelled(tenant, key, value);
    page::list(reader, prefix, size, token, |_, bytes| {
        let name: DeviceName = decode_row(b"la", bytes)?;
        device(reader, tenant, &name)
    })
}

/// The value in force of a setting; `None` where there is no such setting.
pub fn setting(reader: &dyn Reader, key: &str) -> Result<Option<String>, ReadError> {
    let Some(definition) = definitions().iter().find(|definition| definition.key == key) else {
        return Ok(None);
    };
    Ok(Some(row(reader, &keys::setting(key))?.unwrap_or_else(|| definition.default.to_owned())))
}

/// The settings in force.
pub fn settings(reader: &dyn Reader) -> Result<Settings, ReadError> {
    let mut settings = Settings::default();
    for definition in definitions() {
        if let Some(value) = setting(reader, definition.key)? {
            settings
                .set(definition.key, Some(&value))
                .map_err(|error| ReadError(format!("stored setting: {error}")))?;
        }
    }
    Ok(settings)
}

/// A node.
pub fn node(reader: &dyn Reader, id: NodeId) -> Result<Option<Node>, ReadError> {
    row(reader, &keys::node(id))
}

/// All nodes, by number; a limit bounds how many there are.
pub fn nodes(reader: &dyn Reader) -> Result<Vec<Node>, ReadError> {
    rows(reader, keys::table(keys::NODES), usize::MAX)
}

/// The node with this certificate.
pub fn node_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Node>, ReadError> {
    let id: Option<NodeId> = row(reader, &keys::node_fingerprint(fingerprint))?;
    id.map_or(Ok(None), |id| node(reader, id))
}

/// An administrator.
pub fn administrator(
    reader: &dyn Reader,
    name: &AdministratorName,
) -> Result<Option<Administrator>, ReadError> {
    row(reader, &keys::administrator(name))
}

/// The administrator with this certificate.
pub fn administrator_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Administrator>, ReadError> {
    let name: Option<AdministratorName> = row(reader, &keys::administrator_fingerprint(fingerprint))?;
    name.map_or(Ok(None), |name| administrator(reader, &name))
}

/// All administrators, by name.
pub fn administrators(reader: &dyn Reader) -> Result<Vec<Administrator>, ReadError> {
    rows(reader, keys::table(keys::ADMINISTRATORS), usize::try_from(ADMINISTRATORS_MAX).unwrap_or(usize::MAX))
}

/// A join token by the hash of its secret.
pub fn join_token(reader: &dyn Reader, hash: &[u8; 32]) -> Result<Option<JoinToken>, ReadError> {
    row(reader, &keys::join_token(hash))
}

/// All join tokens, for a comparison in constant time.
pub fn join_tokens(reader: &dyn Reader) -> Result<Vec<JoinToken>, ReadError> {
    rows(reader, keys::table(keys::JOIN_TOKENS), usize::try_from(JOIN_TOKENS_MAX).unwrap_or(usize::MAX))
}

/// The keys of TLS session tickets.
pub fn ticket_keys(reader: &dyn Reader) -> Result<Option<SealedTicketKeys>, ReadError> {
    row(reader, &keys::ticket_keys())
}

/// Why a certificate is denied by itself or its device.
pub fn denied(reader: &dyn Reader, fingerprint: &Fingerprint) -> Result<Option<Denial>, ReadError> {
    row(reader, &keys::denied(fingerprint))
}

/// The last audit entry's number and hash; `None` before the first.
pub fn audit_head(reader: &dyn Reader) -> Result<Option<AuditHead>, ReadError> {
    row(reader, &keys::audit_head())
}

/// The audit entries with a number above `after`, at most `limit`.
pub fn audit(reader: &dyn Reader, after: u64, limit: usize) -> Result<Vec<AuditEntry>, ReadError> {
    let from = keys::audit(after.saturating_add(1));
    let (_, to) = keys::prefix(keys::table(keys::AUDIT));
    let rows = reader.scan(&from, &to, limit.min(PAGE_SIZE_MAX))?;
    rows.iter().map(|(key, bytes)| decode_row(key, bytes)).collect()
}
