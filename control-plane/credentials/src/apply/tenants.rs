//! Creating tenants, authorities and devices.

use crate::event::{AuthorityView, Change};
use crate::ids::Fingerprint;
use crate::keys;
use crate::limits::{
    AUTHORITIES_PER_TENANT_MAX, CERTIFICATE_BYTES_MAX, LABELS_PER_DEVICE_MAX, SEALED_BYTES_MAX, TENANTS_MAX,
};
use crate::names::{DeviceName, Labels, TenantName};
use crate::outcome::{Error, Refusal};
use crate::query::{self, expect_found, row};
use crate::records::{Authority, Device, Tenant};
use crate::state::{State, Status};
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};

use super::{Done, check_length, check_limit};

const NAMES_ARE_NOT_USED_TWICE: &str = "it was deleted, and names are not used twice; give another name";

pub(super) fn create_tenant(transaction: &mut Transaction<'_>, name: &TenantName) -> Result<Done, Error> {
    if let Some(tenant) = row::<Tenant>(transaction, &keys::tenant(name))? {
        let remedy = match tenant.status.state {
            State::Deleted => NAMES_ARE_NOT_USED_TWICE,
            _ => "give another name",
        };
        return Err(Refusal::exists("tenant", name, remedy).into());
    }
    let there_are = query::counts(transaction)?.tenants;
    check_limit("tenants_max", there_are, TENANTS_MAX, "delete tenants that are not used")?;
    let tenant = Tenant { name: name.clone(), status: Status::ACTIVE, created: transaction.time };
    transaction.put(keys::tenant(name), &tenant);
    transaction.count(|counts| counts.tenants += 1)?;
    let change = Change::Tenant { name: name.clone(), state: State::Active, created: tenant.created };
    transaction.changes.push(change);
    created(transaction, format!("tenant {name}"), String::new());
    Ok(Done::one())
}

pub(super) fn create_authority(
    transaction: &mut Transaction<'_>,
    authority: &Authority,
) -> Result<Done, Error> {
    check_authority(transaction, authority)?;
    let Authority { tenant, name, fingerprint, .. } = authority;
    let authority = Authority { status: Status::ACTIVE, created: transaction.time, ..authority.clone() };
    transaction.put(keys::authority(tenant, name), &authority);
    transaction.put(keys::authority_fingerprint(fingerprint), &(tenant, name));
    transaction.count(|counts| counts.authorities += 1)?;
    transaction.count_tenant(tenant, |counts| counts.authorities += 1)?;
    transaction.changes.push(Change::Authority(AuthorityView::from(&authority)));
    created(transaction, format!("authority {tenant}/{name}"), format!("fingerprint {fingerprint}"));
    Ok(Done::one())
}

fn check_authority(transaction: &Transaction<'_>, authority: &Authority) -> Result<(), Error> {
    let Authority { tenant, name, fingerprint, .. } = authority;
    check_length("authority certificate", authority.der.len(), CERTIFICATE_BYTES_MAX)?;
    check_length("sealed key", authority.sealed_key.as_ref().map_or(0, Vec::len), SEALED_BYTES_MAX)?;
    if *fingerprint != Fingerprint::of(&authority.der) {
        return Err(Refusal::invalid(
            "fingerprint",
            fingerprint,
            "give the SHA-256 of the certificate's DER",
        )
        .into());
    }
    if authority.not_after < transaction.time {
        let remedy = "it has passed; give a certificate that is valid";
        return Err(Refusal::invalid("notAfter", &authority.not_after, remedy).into());
    }
    expect_usable(transaction, tenant)?;
    if let Some(other) = row::<Authority>(transaction, &keys::authority(tenant, name))? {
        let remedy = match other.status.state {
            State::Deleted => NAMES_ARE_NOT_USED_TWICE,
            _ => "give another name",
        };
        return Err(Refusal::exists("authority", &format!("{tenant}/{name}"), remedy).into());
    }
    if let Some(other) = query::authority_by_fingerprint(transaction, fingerprint)? {
        let remedy =
            format!("it is authority {}/{}; a certificate decides the tenant", other.tenant, other.name);
        return Err(Refusal::exists("authority with fingerprint", fingerprint, remedy).into());
    }
    let there_are = query::tenant_counts(transaction, tenant)?.authorities;
    let remedy = "delete authorities of the tenant that are not used";
    Ok(check_limit("authorities_per_tenant_max", there_are, AUTHORITIES_PER_TENANT_MAX, remedy)?)
}

pub(super) fn create_device(
    transaction: &mut Transaction<'_>,
    tenant: &TenantName,
    name: &DeviceName,
    labels: &Labels,
) -> Result<Done, Error> {
    expect_usable(transaction, tenant)?;
    if transaction.exists(&keys::device(tenant, name))? {
        return Err(Refusal::exists("device", &format!("{tenant}/{name}"), "give another name").into());
    }
    if labels.len() > LABELS_PER_DEVICE_MAX {
        let limit = LABELS_PER_DEVICE_MAX as u64;
        return Err(Refusal::limit("labels_per_device_max", limit, "give fewer labels").into());
    }
    add_device(transaction, tenant, name, labels)?;
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    created(transaction, format!("device {tenant}/{name}"), labels.join(" "));
    Ok(Done::one())
}

/// Writes a device that is not there.
pub(super) fn add_device(
    transaction: &mut Transaction<'_>,
    tenant: &TenantName,
    name: &DeviceName,
    labels: &Labels,
) -> Result<Device, ReadError> {
    let device = Device {
        tenant: tenant.clone(),
        name: name.clone(),
        labels: labels.clone(),
        status: Status::ACTIVE,
        created: transaction.time,
        certificates: 0,
    };
    transaction.put(keys::device(tenant, name), &device);
    for (key, value) in labels {
        transaction.put(keys::label(tenant, key, value, name), name);
    }
    transaction.count(|counts| counts.devices += 1)?;
    transaction.count_tenant(tenant, |counts| counts.devices += 1)?;
    Ok(device)
}

/// Removes a device whose certificates are deleted.
pub(super) fn remove_device(transaction: &mut Transaction<'_>, device: &Device) -> Result<(), ReadError> {
    let Device { tenant, name, labels, .. } = device;
    transaction.delete(keys::device(tenant, name));
    for (key, value) in labels {
        transaction.delete(keys::label(tenant, key, value, name));
    }
    transaction.count(|counts| counts.devices -= 1)?;
    transaction.count_tenant(tenant, |counts| counts.devices -= 1)
}

/// Refuses a tenant that is not there, or that nothing can be added to any more.
pub(super) fn expect_usable(transaction: &Transaction<'_>, name: &TenantName) -> Result<(), Error> {
    let tenant = expect_found(query::tenant(transaction, name)?, "tenant", name.as_str())?;
    if tenant.status.state == State::Revoked {
        return Err(Refusal::precondition(
            format!("tenant {name}"),
            "is revoked",
            "create another one; nothing can be added to this one",
        )
        .into());
    }
    Ok(())
}

fn created(transaction: &mut Transaction<'_>, subject: String, detail: String) {
    let after = State::Active.to_string();
    transaction.entries.push(Draft { subject, after, detail, ..Draft::default() });
}
