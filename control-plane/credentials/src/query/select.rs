//! What a selector names.

use crate::codec::decode_row;
use crate::ids::Fingerprint;
use crate::keys;
use crate::names::{DeviceName, TenantName};
use crate::outcome::{Error, Refusal};
use crate::records::{Authority, Certificate, Device, Tenant};
use crate::selector::{SELECTOR_MATCH_MAX, Selector};
use crate::store::{ReadError, Reader};

use super::certificates::{row_by_fingerprint, rows_by_serial, rows_of_device, rows_of_index};
use super::page::successor;
use super::{authority, device, row, tenant};

/// What a selector names. Certificates come without their DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Certificates; of a device, with the device.
    Certificates {
        /// Where the selector names a device.
        device: Option<Box<Device>>,
        /// Which.
        certificates: Vec<Certificate>,
    },
    /// A tenant, with everything below it.
    Tenant(Tenant),
    /// An authority, with everything below it.
    Authority(Box<Authority>),
}

impl Selection {
    /// Of the certificates that it names one by one.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        match self {
            Selection::Certificates { certificates, .. } => {
                certificates.iter().map(|certificate| certificate.fingerprint).collect()
            }
            Selection::Tenant(_) | Selection::Authority(_) => Vec::new(),
        }
    }
}

/// What a selector names; refused where that is nothing, or more than [`SELECTOR_MATCH_MAX`] certificates. A device
/// may have no certificates.
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
            let certificates = rows_of_device(reader, tenant, name)?;
            Ok(Selection::Certificates { device: Some(Box::new(found)), certificates })
        }
        _ => Ok(Selection::Certificates { device: None, certificates: certificates(reader, selector)? }),
    }
}

pub(crate) fn expect_found<T>(found: Option<T>, what: &str, value: &str) -> Result<T, Refusal> {
    found.ok_or_else(|| Refusal::not_found(what, value))
}

/// The certificates that a selector names, without their DER. At least one.
fn certificates(reader: &dyn Reader, selector: &Selector) -> Result<Vec<Certificate>, Error> {
    let found = find(reader, selector)?;
    if found.is_empty() {
        return Err(nothing(selector).into());
    }
    if found.len() > SELECTOR_MATCH_MAX {
        let remedy = "it names more certificates than one command may change; narrow it, for example by an earlier \
                      time, or name the authority or the tenant, which are changed as such";
        return Err(Refusal::limit("selector_match_max", SELECTOR_MATCH_MAX as u64, remedy).into());
    }
    Ok(found)
}

fn find(reader: &dyn Reader, selector: &Selector) -> Result<Vec<Certificate>, ReadError> {
    match selector {
        Selector::Id(id) => Ok(row(reader, &keys::certificate(id))?.into_iter().collect()),
        Selector::Fingerprint(fingerprint) => {
            Ok(row_by_fingerprint(reader, fingerprint)?.into_iter().collect())
        }
        Selector::Serial { issuer, serial } => rows_by_serial(reader, issuer, serial),
        Selector::Device { tenant, name } => rows_of_device(reader, tenant, name),
        Selector::Label { tenant, key, value } => {
            with_label(reader, tenant, keys::labelled(tenant, key, value))
        }
        Selector::IssuedBefore { tenant, authority, time } => {
            let prefix = match authority {
                Some(authority) => keys::of_authority(tenant, Some(authority)),
                None => keys::of_tenant(tenant),
            };
            let to = keys::issued(prefix.clone(), *time);
            rows_of_index(reader, (prefix, to), SELECTOR_MATCH_MAX + 1)
        }
        Selector::Tenant(_) | Selector::Authority { .. } => Ok(Vec::new()),
    }
}

/// The certificates of the devices that an index of labels names; stops after the first too many.
fn with_label(
    reader: &dyn Reader,
    tenant: &TenantName,
    prefix: Vec<u8>,
) -> Result<Vec<Certificate>, ReadError> {
    const DEVICES_AT_ONCE: usize = 1_000;
    let (mut from, to) = keys::prefix(prefix);
    let mut found = Vec::new();
    loop {
        let entries = reader.scan(&from, &to, DEVICES_AT_ONCE)?;
        let exhausted = entries.len() < DEVICES_AT_ONCE;
        for (key, bytes) in entries {
            let device: DeviceName = decode_row(&key, &bytes)?;
            found.extend(rows_of_device(reader, tenant, &device)?);
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
        other => Refusal::not_found("certificate of", other),
    }
}
