//! Reads of passwords. Those deleted are gone.

use crate::codec::decode_row;
use crate::ids::Fingerprint;
use crate::keys;
use crate::limits::PASSWORDS_PER_DEVICE_MAX;
use crate::names::{DeviceName, TenantName, Username};
use crate::password::Password;
use crate::state::State;
use crate::store::{ReadError, Reader};

use super::page::{self, Page, PageToken};
use super::row;

/// Which passwords a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordFilter {
    /// Of a device.
    pub device: Option<DeviceName>,
    /// Whose own state this is.
    pub state: Option<State>,
}

/// The password of a username.
pub fn password(
    reader: &dyn Reader,
    tenant: &TenantName,
    username: &Username,
) -> Result<Option<Password>, ReadError> {
    row(reader, &keys::password(tenant, username))
}

/// The password with this fingerprint.
pub(crate) fn password_by_fingerprint(
    reader: &dyn Reader,
    fingerprint: &Fingerprint,
) -> Result<Option<Password>, ReadError> {
    let name: Option<(TenantName, Username)> = row(reader, &keys::password_fingerprint(fingerprint))?;
    name.map_or(Ok(None), |(tenant, username)| password(reader, &tenant, &username))
}

/// The passwords of a device, by username; a limit bounds their number.
pub fn passwords_of_device(
    reader: &dyn Reader,
    tenant: &TenantName,
    device: &DeviceName,
) -> Result<Vec<Password>, ReadError> {
    let (from, to) = keys::prefix(keys::passwords_of_device(tenant, device));
    let entries = reader.scan(&from, &to, PASSWORDS_PER_DEVICE_MAX)?;
    entries.iter().map(|(key, bytes)| named(reader, tenant, key, bytes)).collect()
}

/// The passwords of a tenant, by username.
pub fn list_passwords(
    reader: &dyn Reader,
    tenant: &TenantName,
    filter: &PasswordFilter,
    size: usize,
    token: Option<&PageToken>,
) -> Result<Page<Password>, ReadError> {
    let wanted = |password: &Password| filter.state.is_none_or(|state| state == password.status.state);
    let Some(device) = &filter.device else {
        return page::list(reader, keys::passwords(tenant), size, token, |key, bytes| {
            Ok(Some(decode_row(key, bytes)?).filter(wanted))
        });
    };
    page::list(reader, keys::passwords_of_device(tenant, device), size, token, |key, bytes| {
        Ok(Some(named(reader, tenant, key, bytes)?).filter(wanted))
    })
}

/// The row of an index entry; it is there, or the store is inconsistent.
fn named(reader: &dyn Reader, tenant: &TenantName, key: &[u8], bytes: &[u8]) -> Result<Password, ReadError> {
    let username: Username = decode_row(key, bytes)?;
    password(reader, tenant, &username)?
        .ok_or_else(|| ReadError(format!("an index names password {tenant}/{username}, which is not there")))
}
