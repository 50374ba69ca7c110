//! Adding certificates, and the rows that a change of one's state writes.

use crate::command::NewCertificate;
use crate::event::Change;
use crate::ids::Fingerprint;
use crate::keys;
use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATES_PER_DEVICE_MAX, DISTINGUISHED_NAME_BYTES_MAX};
use crate::names::Labels;
use crate::outcome::{Error, Refusal};
use crate::query::{self, expect_found};
use crate::records::{Certificate, Device};
use crate::selector::Issuer;
use crate::state::{State, Status};
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};
use crate::x509::normal_form;

use super::{Done, check_length, check_limit, denials, tenants};

pub(super) fn add(transaction: &mut Transaction<'_>, new: &NewCertificate) -> Result<Done, Error> {
    check_fields(new)?;
    check_validity(transaction, new)?;
    check_owners(transaction, new)?;
    check_unique(transaction, new)?;
    let mut device = match query::device(transaction, &new.tenant, &new.device)? {
        Some(device) => device,
        None => tenants::add_device(transaction, &new.tenant, &new.device, &Labels::new())?,
    };
    check_device(&device)?;
    device.certificates += 1;
    transaction.put(keys::device(&device.tenant, &device.name), &device);
    let certificate = row(transaction, new);
    link(transaction, &certificate, &new.der)?;
    deny(transaction, &certificate, device.status)?;
    transaction.changes.push(Change::Registered(certificate.fingerprint));
    transaction.entries.push(Draft {
        subject: format!("certificate {} of device {}/{}", new.id, new.tenant, new.device),
        after: certificate.status.state.to_string(),
        detail: format!("fingerprint {}, serial {}, until {}", new.fingerprint, new.serial, new.not_after),
        ..Draft::default()
    });
    Ok(Done { certificate: Some(new.id), ..Done::one() })
}

fn check_fields(new: &NewCertificate) -> Result<(), Refusal> {
    check_length("certificate", new.der.len(), CERTIFICATE_BYTES_MAX)?;
    check_length("issuer", new.issuer.len().max(new.issuer_text.len()), DISTINGUISHED_NAME_BYTES_MAX)?;
    check_length("subject", new.subject_text.len(), DISTINGUISHED_NAME_BYTES_MAX)?;
    if new.fingerprint != Fingerprint::of(&new.der) {
        return Err(Refusal::invalid(
            "fingerprint",
            &new.fingerprint,
            "give the SHA-256 of the certificate's DER",
        ));
    }
    Ok(())
}

fn check_validity(transaction: &Transaction<'_>, new: &NewCertificate) -> Result<(), Refusal> {
    if new.not_before > new.not_after {
        let remedy = format!("it must not be later than notAfter, {}", new.not_after);
        return Err(Refusal::invalid("notBefore", &new.not_before, remedy));
    }
    if new.not_after < transaction.time {
        return Err(Refusal::invalid(
            "notAfter",
            &new.not_after,
            "it has passed; give a certificate that is valid",
        ));
    }
    Ok(())
}

/// The tenant is there, and the authority may issue.
fn check_owners(transaction: &Transaction<'_>, new: &NewCertificate) -> Result<(), Error> {
    tenants::expect_usable(transaction, &new.tenant)?;
    let Some(name) = &new.authority else { return Ok(()) };
    let path = format!("{}/{name}", new.tenant);
    let authority = expect_found(query::authority(transaction, &new.tenant, name)?, "authority", &path)?;
    match authority.status.state {
        State::Suspended => Err(Refusal::precondition(
            format!("authority {path}"),
            "is suspended",
            "reactivate it, or name another one",
        )
        .into()),
        state if state.is_denied() => Err(Refusal::precondition(
            format!("authority {path}"),
            format!("is {state}"),
            "name another one, or create one",
        )
        .into()),
        _ => Ok(()),
    }
}

fn check_unique(transaction: &Transaction<'_>, new: &NewCertificate) -> Result<(), Error> {
    if transaction.exists(&keys::certificate(&new.id))? {
        return Err(Refusal::exists("certificate", &new.id, "propose it again with another id").into());
    }
    if let Some(other) = query::row_by_fingerprint(transaction, &new.fingerprint)? {
        let remedy = match other.status.state {
            State::Deleted => {
                "it was deleted and stays denied until it expires; use another certificate".to_owned()
            }
            state => format!("it is certificate {} of device {}, {state}", other.id, other.device),
        };
        return Err(Refusal::exists("certificate with fingerprint", &new.fingerprint, remedy).into());
    }
    if new.authority.is_some() {
        let issuer = Issuer::Der(new.issuer.clone());
        let twins = query::certificates_by_serial(transaction, &issuer, &new.serial)?;
        if twins.iter().any(|twin| twin.authority == new.authority && twin.tenant == new.tenant) {
            let remedy = "an authority uses a serial number once; issue it again";
            return Err(Refusal::exists("certificate with serial number", &new.serial, remedy).into());
        }
    }
    Ok(())
}

fn check_device(device: &Device) -> Result<(), Refusal> {
    check_not_revoked(device)?;
    check_limit(
        "certificates_per_device_max",
        device.certificates.into(),
        CERTIFICATES_PER_DEVICE_MAX.into(),
        "delete certificates that the device no longer uses",
    )
}

/// Refuses a device that no credential can be added to any more.
pub(super) fn check_not_revoked(device: &Device) -> Result<(), Refusal> {
    if device.status.state == State::Revoked {
        return Err(Refusal::precondition(
            format!("device {}/{}", device.tenant, device.name),
            "is revoked",
            "name another device, or delete this one first",
        ));
    }
    Ok(())
}

fn row(transaction: &Transaction<'_>, new: &NewCertificate) -> Certificate {
    Certificate {
        id: new.id,
        tenant: new.tenant.clone(),
        device: new.device.clone(),
        authority: new.authority.clone(),
        fingerprint: new.fingerprint,
        serial: new.serial.clone(),
        issuer: new.issuer.clone(),
        issuer_text: new.issuer_text.clone(),
        subject_text: new.subject_text.clone(),
        not_before: new.not_before,
        not_after: new.not_after,
        status: Status::INACTIVE,
        issued: transaction.time,
        first_used: None,
        last_used: None,
        revision: transaction.revision,
        der: Vec::new(),
    }
}

/// Writes a new certificate with everything that finds it.
fn link(transaction: &mut Transaction<'_>, certificate: &Certificate, der: &[u8]) -> Result<(), ReadError> {
    transaction.put(keys::certificate(&certificate.id), certificate);
    transaction.put_bytes(keys::certificate_der(&certificate.id), der.to_vec());
    transaction.put(keys::certificate_fingerprint(&certificate.fingerprint), &certificate.id);
    for key in serial_keys(certificate).into_iter().chain(live_keys(certificate)) {
        transaction.mark(key);
    }
    count(transaction, certificate, |count| count + 1)
}

/// The indexes that find a certificate also when it is deleted.
fn serial_keys(certificate: &Certificate) -> [Vec<u8>; 2] {
    let Certificate { id, issuer, issuer_text, serial, .. } = certificate;
    [
        keys::with_id(keys::issuer_serial(issuer, serial), id),
        keys::with_id(keys::issuer_text_serial(&normal_form(issuer_text), serial), id),
    ]
}

/// The indexes of the certificates that are not deleted.
fn live_keys(certificate: &Certificate) -> [Vec<u8>; 3] {
    let Certificate { id, tenant, device, authority, issued, .. } = certificate;
    [
        keys::with_id(keys::of_device(tenant, device), id),
        keys::with_id(keys::issued(keys::of_authority(tenant, authority.as_ref()), *issued), id),
        keys::with_id(keys::issued(keys::of_tenant(tenant), *issued), id),
    ]
}

/// Changes every count of certificates that are not deleted, the device's own aside.
fn count(
    transaction: &mut Transaction<'_>,
    certificate: &Certificate,
    change: impl Fn(u64) -> u64,
) -> Result<(), ReadError> {
    let Certificate { tenant, authority, .. } = certificate;
    transaction.count(|counts| counts.certificates = change(counts.certificates))?;
    transaction.count_tenant(tenant, |counts| counts.certificates = change(counts.certificates))?;
    match authority {
        Some(authority) => transaction.count_authority(tenant, authority, change),
        None => Ok(()),
    }
}

/// Gives a certificate another status. `device` is that of its device.
pub(super) fn set_status(
    transaction: &mut Transaction<'_>,
    mut certificate: Certificate,
    status: Status,
    device: Status,
) -> Result<(), ReadError> {
    certificate.status = status;
    certificate.revision = transaction.revision;
    transaction.put(keys::certificate(&certificate.id), &certificate);
    if status.state == State::Deleted {
        unlink(transaction, &certificate)?;
    }
    deny(transaction, &certificate, device)?;
    Ok(())
}

/// What follows for the denied set from a certificate and its device.
pub(super) fn deny(
    transaction: &mut Transaction<'_>,
    certificate: &Certificate,
    device: Status,
) -> Result<bool, ReadError> {
    let Certificate { fingerprint, status, not_after, .. } = *certificate;
    denials::set(transaction, fingerprint, denials::denial(fingerprint, status, device, not_after))
}

/// What an authority issued stays, so that it can be shown why it is denied; a registered leaf is only kept out.
fn unlink(transaction: &mut Transaction<'_>, certificate: &Certificate) -> Result<(), ReadError> {
    for key in live_keys(certificate) {
        transaction.delete(key);
    }
    if certificate.authority.is_none() {
        forget(transaction, certificate);
    }
    count(transaction, certificate, |count| count - 1)?;
    if let Some(mut device) = query::device(transaction, &certificate.tenant, &certificate.device)? {
        device.certificates -= 1;
        transaction.put(keys::device(&device.tenant, &device.name), &device);
    }
    Ok(())
}

/// Removes the rows of a certificate that is deleted.
pub(super) fn forget(transaction: &mut Transaction<'_>, certificate: &Certificate) {
    transaction.delete(keys::certificate(&certificate.id));
    transaction.delete(keys::certificate_der(&certificate.id));
    transaction.delete(keys::certificate_fingerprint(&certificate.fingerprint));
    for key in serial_keys(certificate) {
        transaction.delete(key);
    }
}
