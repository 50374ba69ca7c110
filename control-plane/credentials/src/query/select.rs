//! What a selector names.

use crate::codec::decode_row;
use crate::held::Held;
use crate::ids::Fingerprint;
use crate::keys;
use crate::names::{DeviceName, TenantName};
use crate::outcome::{Error, Refusal};
use crate::records::{Authority, Certificate, Device, Tenant};
use crate::selector::{SELECTOR_MATCH_MAX, Selector};
use crate::store::{ReadError, Reader};

use super::certificates::{row_by_fingerprint, rows_by_serial, rows_of_device, rows_of_index};
use super::page::successor;
use super::passwords::{password, passwords_of_device};
use super::{authority, device, row, tenant};

/// What a selector names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Credentials; of a device, with the device.
    Credentials {
        /// Where the selector names a device.
        device: Option<Box<Device>>,
        /// Which.
        credentials: Vec<Held>,
    },
    /// A tenant, with everything below it.
    Tenant(Tenant),
    /// An authority, with everything below it.
    Authority(Box<Authority>),
}

impl Selection {
    /// Of the credentials that it names one by one.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        match self {
            Selection::Credentials { credentials, .. } => credentials.iter().map(Held::fingerprint).collect(),
            Selection::Tenant(_) | Selection::Authority(_) => Vec::new(),
        }
    }
}

/// What a selector names; refused where that is nothing, or more than [`SELECTOR_MATCH_MAX`] credentials. A device
/// may have no credentials.
pub fn select(reader: &dyn Reader, selector: &Selector) -> Result<Selection, Error> {
    match selector {
        Selector::Tenant(name) => {
            Ok(Selection::Tenant(expect_found(tenant(reader, name)?, "tenant", name.as_str())?))
        }
        Selector::Authority { tenant, name } => {
            let found = authority(reader, tenant, name)?;
            let found = expect_found(found, "authority", &format!("{tenant}/{name}"))?;
            Ok(Selection::Authority(Box::new(found)))
        }
        Selector::Device { tenant, name } => {
            let found = expect_found(device(reader, tenant, name)?, "device", &format!("{tenant}/{name}"))?;
            let credentials = held_by(reader, tenant, name)?;
            Ok(Selection::Credentials { device: Some(Box::new(found)), credentials })
        }
        _ => Ok(Selection::Credentials { device: None, credentials: credentials(reader, selector)? }),
    }
}

pub(crate) fn expect_found<T>(found: Option<T>, what: &str, value: &str) -> Result<T, Refusal> {
    found.ok_or_else(|| Refusal::not_found(what, value))
}

/// The credentials that a selector names. At least one.
fn credentials(reader: &dyn Reader, selector: &Selector) -> Result<Vec<Held>, Error> {
    let found = find(reader, selector)?;
    if found.is_empty() {
        return Err(nothing(selector).into());
    }
    if found.len() > SELECTOR_MATCH_MAX {
        let remedy = "it names more credentials than one command may change; narrow it, for example by an earlier \
                      time, or name the authority or the tenant, which are changed as such";
        return Err(Refusal::limit("selector_match_max", SELECTOR_MATCH_MAX as u64, remedy).into());
    }
    Ok(found)
}

fn find(reader: &dyn Reader, selector: &Selector) -> Result<Vec<Held>, ReadError> {
    let certificates = match selector {
        Selector::Id(id) => row(reader, &keys::certificate(id))?.into_iter().collect(),
        Selector::Fingerprint(fingerprint) => row_by_fingerprint(reader, fingerprint)?.into_iter().collect(),
        Selector::Serial { issuer, serial } => rows_by_serial(reader, issuer, serial)?,
        Selector::IssuedBefore { tenant, authority, time } => {
            let prefix = match authority {
                Some(authority) => keys::of_authority(tenant, Some(authority)),
                None => keys::of_tenant(tenant),
            };
            let to = keys::issued(prefix.clone(), *time);
            rows_of_index(reader, (prefix, to), SELECTOR_MATCH_MAX + 1)?
        }
        Selector::Password { tenant, username } => {
            let password = password(reader, tenant, username)?;
            return Ok(password.map(|password| Held::Password(Box::new(password))).into_iter().collect());
        }
        Selector::Device { tenant, name } => return held_by(reader, tenant, name),
        Selector::Label { tenant, key, value } => {
            return with_label(reader, tenant, keys::labelled(tenant, key, value));
        }
        Selector::Tenant(_) | Selector::Authority { .. } => Vec::new(),
    };
    Ok(held(certificates).collect())
}

fn held(certificates: Vec<Certificate>) -> impl Iterator<Item = Held> {
    certificates.into_iter().map(|certificate| Held::Certificate(Box::new(certificate)))
}

/// The credentials of a device: certificates, then passwords; limits bound their number.
fn held_by(reader: &dyn Reader, tenant: &TenantName, device: &DeviceName) -> Result<Vec<Held>, ReadError> {
    let certificates = rows_of_device(reader, tenant, device)?;
    let passwords = passwords_of_device(reader, tenant, device)?;
    let passwords = passwords.into_iter().map(|password| Held::Password(Box::new(password)));
    Ok(held(certificates).chain(passwords).collect())
}

/// The credentials of the devices that an index of labels names; stops after the first too many.
fn with_label(reader: &dyn Reader, tenant: &TenantName, prefix: Vec<u8>) -> Result<Vec<Held>, ReadError> {
    const DEVICES_AT_ONCE: usize = 1_000;
    let (mut from, to) = keys::prefix(prefix);
    let mut found = Vec::new();
    loop {
        let entries = reader.scan(&from, &to, DEVICES_AT_ONCE)?;
        let exhausted = entries.len() < DEVICES_AT_ONCE;
        for (key, bytes) in entries {
            let device: DeviceName = decode_row(&key, &bytes)?;
            found.extend(held_by(reader, tenant, &device)?);
            from = successor(&key);
        }
        if exhausted || found.len() > SELECTOR_MATCH_MAX {
            return Ok(found);
        }
    }
}

fn nothing(selector: &Selector) -> Refusal {
    match selector {
        Selector::Id(id) => Refusal::not_found("certificate", id),
        Selector::Fingerprint(fingerprint) => Refusal::not_found("certificate with fingerprint", fingerprint),
        Selector::Serial { issuer, serial } => {
            Refusal::not_found("certificate with serial number", &format!("{serial} of issuer {issuer}"))
        }
        Selector::Password { tenant, username } => {
            Refusal::not_found("password", &format!("{tenant}/{username}"))
        }
        other => Refusal::not_found("credential of", other),
    }
}
