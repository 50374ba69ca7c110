//! Setting passwords, and the rows that a change of one's state writes.

use crate::command::NewPassword;
use crate::event::{Change, Denial};
use crate::keys;
use crate::limits::{CLIENT_ID_BYTES_MAX, PASSWORDS_PER_DEVICE_MAX};
use crate::names::{Labels, TenantName};
use crate::outcome::{Error, Refusal};
use crate::password::Password;
use crate::query;
use crate::state::{State, Status};
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};

use super::{Done, certificates, check_length, check_limit, denials, tenants};

pub(super) fn set(transaction: &mut Transaction<'_>, new: &NewPassword) -> Result<Done, Error> {
    check_client_id(new)?;
    tenants::expect_usable(transaction, &new.tenant)?;
    let device = match query::device(transaction, &new.tenant, &new.device)? {
        Some(device) => device,
        None => tenants::add_device(transaction, &new.tenant, &new.device, &Labels::new())?,
    };
    certificates::check_not_revoked(&device)?;
    let before = query::password(transaction, &new.tenant, &new.username)?;
    let status = match &before {
        Some(before) => replace(transaction, before, new)?,
        None => add(transaction, new)?,
    };
    let password = row(transaction, new, status);
    link(transaction, &password);
    deny(transaction, &password, device.status)?;
    transaction.changes.push(Change::Registered(Password::look_up_key(&new.tenant, &new.username)));
    transaction.entries.push(Draft {
        subject: new.to_string(),
        before: before.map(|before| before.status.state.to_string()).unwrap_or_default(),
        after: status.state.to_string(),
        detail: detail(new),
        ..Draft::default()
    });
    Ok(Done::one())
}

fn check_client_id(new: &NewPassword) -> Result<(), Refusal> {
    let Some(client_id) = &new.client_id else { return Ok(()) };
    if client_id.is_empty() {
        return Err(Refusal::invalid(
            "client id",
            "",
            "give one, or leave it out to bind the password to none",
        ));
    }
    check_length("client id", client_id.len(), CLIENT_ID_BYTES_MAX)
}

fn detail(new: &NewPassword) -> String {
    let iterations = new.verifier.iterations();
    match &new.client_id {
        Some(client_id) => format!("{iterations} iterations, for client id {client_id}"),
        None => format!("{iterations} iterations"),
    }
}

/// The first password of a username.
fn add(transaction: &mut Transaction<'_>, new: &NewPassword) -> Result<Status, Error> {
    let there_are = query::passwords_of_device(transaction, &new.tenant, &new.device)?.len();
    let remedy = "delete passwords that the device no longer uses";
    check_limit("passwords_per_device_max", there_are as u64, PASSWORDS_PER_DEVICE_MAX as u64, remedy)?;
    count(transaction, &new.tenant, |count| count + 1)?;
    Ok(Status::INACTIVE)
}

/// Ends the sessions of the password before. They are not discarded, which is why it counts as suspended: the same
/// device comes back with the new one. A suspension is not undone by a new password.
fn replace(transaction: &mut Transaction<'_>, before: &Password, new: &NewPassword) -> Result<Status, Error> {
    let subject = format!("password {}/{}", before.tenant, before.username);
    if before.device != new.device {
        let remedy = "give another username, or delete this one first";
        return Err(Refusal::precondition(subject, format!("is device {}'s", before.device), remedy).into());
    }
    if before.status.state == State::Revoked {
        return Err(Refusal::precondition(subject, "is revoked", "delete it first").into());
    }
    transaction.delete(keys::password_fingerprint(&before.fingerprint));
    let ended = Denial {
        fingerprint: before.fingerprint,
        state: State::Suspended,
        reason: None,
        not_after: transaction.time,
    };
    denials::set(transaction, before.fingerprint, Some(ended))?;
    Ok(if before.status.state == State::Suspended { before.status } else { Status::INACTIVE })
}

fn row(transaction: &Transaction<'_>, new: &NewPassword, status: Status) -> Password {
    Password {
        tenant: new.tenant.clone(),
        username: new.username.clone(),
        device: new.device.clone(),
        fingerprint: Password::fingerprint_of(&new.tenant, &new.username, transaction.revision),
        verifier: new.verifier.clone(),
        client_id: new.client_id.clone(),
        status,
        set: transaction.time,
        first_used: None,
        last_used: None,
        revision: transaction.revision,
    }
}

fn link(transaction: &mut Transaction<'_>, password: &Password) {
    let Password { tenant, username, device, fingerprint, .. } = password;
    transaction.put(keys::password(tenant, username), password);
    transaction.put(keys::password_fingerprint(fingerprint), &(tenant, username));
    transaction.put(keys::password_of_device(tenant, device, username), username);
}

/// What follows for the denied set from a password and its device.
pub(super) fn deny(
    transaction: &mut Transaction<'_>,
    password: &Password,
    device: Status,
) -> Result<bool, ReadError> {
    let Password { fingerprint, status, .. } = *password;
    // One that is deleted is denied for as long as an expired certificate is.
    let deleted = status.state == State::Deleted;
    let not_after = if deleted { transaction.time } else { denials::WITHOUT_EXPIRY };
    denials::set(transaction, fingerprint, denials::denial(fingerprint, status, device, not_after))
}

/// Changes every count of passwords.
fn count(
    transaction: &mut Transaction<'_>,
    tenant: &TenantName,
    change: impl Fn(u64) -> u64,
) -> Result<(), ReadError> {
    transaction.count(|counts| counts.passwords = change(counts.passwords))?;
    transaction.count_tenant(tenant, |counts| counts.passwords = change(counts.passwords))
}

/// Gives a password another status. `device` is that of its device.
pub(super) fn set_status(
    transaction: &mut Transaction<'_>,
    mut password: Password,
    status: Status,
    device: Status,
) -> Result<(), ReadError> {
    (password.status, password.revision) = (status, transaction.revision);
    if status.state == State::Deleted {
        unlink(transaction, &password)?;
    } else {
        transaction.put(keys::password(&password.tenant, &password.username), &password);
    }
    deny(transaction, &password, device)?;
    Ok(())
}

fn unlink(transaction: &mut Transaction<'_>, password: &Password) -> Result<(), ReadError> {
    let Password { tenant, username, device, fingerprint, .. } = password;
    transaction.delete(keys::password(tenant, username));
    transaction.delete(keys::password_fingerprint(fingerprint));
    transaction.delete(keys::password_of_device(tenant, device, username));
    count(transaction, tenant, |count| count - 1)
}
