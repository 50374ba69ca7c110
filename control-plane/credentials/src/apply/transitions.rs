//! Transitions of credentials, devices, authorities and tenants.

use crate::event::{AuthorityView, Change};
use crate::held::Held;
use crate::keys;
use crate::limits::COMMENT_BYTES_MAX;
use crate::names::TenantName;
use crate::outcome::{Error, Refusal};
use crate::query::{self, Selection, select};
use crate::records::{Authority, Device, Tenant};
use crate::selector::Selector;
use crate::state::{IllegalTransition, State, Status, Transition};
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};

use super::{Done, certificates, check_length, passwords, tenants};

pub(super) fn change(
    transaction: &mut Transaction<'_>,
    selector: &Selector,
    transition: Transition,
    comment: &str,
) -> Result<Done, Error> {
    check_length("comment", comment.len(), COMMENT_BYTES_MAX)?;
    let (done, mut draft) = match select(transaction, selector)? {
        Selection::Tenant(tenant) => change_tenant(transaction, tenant, transition)?,
        Selection::Authority(authority) => change_authority(transaction, *authority, transition)?,
        Selection::Credentials { device: Some(device), credentials } => {
            change_device(transaction, *device, credentials, transition)?
        }
        Selection::Credentials { device: None, credentials } => {
            change_credentials(transaction, selector, credentials, transition)?
        }
    };
    draft.detail = detail(transition, &done, comment);
    transaction.entries.push(draft);
    Ok(done)
}

fn detail(transition: Transition, done: &Done, comment: &str) -> String {
    let mut parts = vec![format!("{} changed, {} unchanged", done.changed, done.unchanged)];
    if let Transition::Revoke(reason) = transition {
        parts.push(format!("reason {reason}"));
    }
    if !comment.is_empty() {
        parts.push(format!("comment {comment}"));
    }
    parts.join("; ")
}

fn illegal(subject: &impl ToString, error: IllegalTransition) -> Refusal {
    Refusal::Illegal { subject: subject.to_string(), from: error.from, to: error.to }
}

fn draft(subject: String, before: State, after: State) -> Draft {
    Draft { subject, before: before.to_string(), after: after.to_string(), ..Draft::default() }
}

fn change_tenant(
    transaction: &mut Transaction<'_>,
    mut tenant: Tenant,
    transition: Transition,
) -> Result<(Done, Draft), Error> {
    let name = tenant.name.clone();
    let subject = format!("tenant {name}");
    let before = tenant.status.state;
    tenant.status = tenant.status.apply(transition).map_err(|error| illegal(&subject, error))?;
    let counts = query::tenant_counts(transaction, &name)?;
    if tenant.status.state == State::Deleted {
        if name == TenantName::default() {
            let remedy = "it cannot be deleted; suspend or revoke it";
            return Err(Refusal::precondition(subject, "always exists", remedy).into());
        }
        if counts.devices > 0 || counts.authorities > 0 {
            let problem = format!("has {} devices and {} authorities", counts.devices, counts.authorities);
            return Err(Refusal::precondition(subject, problem, "delete those first").into());
        }
        transaction.count(|counts| counts.tenants -= 1)?;
    }
    transaction.put(keys::tenant(&name), &tenant);
    let state = tenant.status.state;
    transaction.changes.push(Change::Tenant { name, state, created: tenant.created });
    Ok((
        Done { changed: counts.certificates + counts.passwords, announce: true, ..Done::default() },
        draft(subject, before, state),
    ))
}

fn change_authority(
    transaction: &mut Transaction<'_>,
    mut authority: Authority,
    transition: Transition,
) -> Result<(Done, Draft), Error> {
    let subject = format!("authority {}/{}", authority.tenant, authority.name);
    let before = authority.status.state;
    authority.status = authority.status.apply(transition).map_err(|error| illegal(&subject, error))?;
    let state = authority.status.state;
    let below = query::authority_count(transaction, &authority.tenant, &authority.name)?;
    if state == State::Deleted {
        authority.sealed_key = None;
        transaction.delete(keys::authority_fingerprint(&authority.fingerprint));
        transaction.count(|counts| counts.authorities -= 1)?;
        transaction.count_tenant(&authority.tenant, |counts| counts.authorities -= 1)?;
    }
    transaction.put(keys::authority(&authority.tenant, &authority.name), &authority);
    transaction.changes.push(Change::Authority(AuthorityView::from(&authority)));
    Ok((Done { changed: below, announce: true, ..Done::default() }, draft(subject, before, state)))
}

/// A device keeps its certificates' own states, so that a reactivation gives back what was before; only its deletion
/// deletes them.
fn change_device(
    transaction: &mut Transaction<'_>,
    mut device: Device,
    credentials: Vec<Held>,
    transition: Transition,
) -> Result<(Done, Draft), Error> {
    let subject = format!("device {}/{}", device.tenant, device.name);
    let before = device.status;
    device.status = before.apply(transition).map_err(|error| illegal(&subject, error))?;
    let mut done = Done { announce: true, ..Done::default() };
    let state = device.status.state;
    if state != State::Deleted {
        transaction.put(keys::device(&device.tenant, &device.name), &device);
    }
    for credential in credentials {
        let changed = if state == State::Deleted {
            delete(transaction, credential, before)?
        } else {
            deny(transaction, &credential, device.status)?
        };
        if changed { done.changed += 1 } else { done.unchanged += 1 }
    }
    if state == State::Deleted {
        tenants::remove_device(transaction, &device)?;
    }
    Ok((done, draft(subject, before.state, state)))
}

/// What follows for the denied set from a credential and its device.
fn deny(transaction: &mut Transaction<'_>, credential: &Held, device: Status) -> Result<bool, ReadError> {
    match credential {
        Held::Certificate(certificate) => certificates::deny(transaction, certificate, device),
        Held::Password(password) => passwords::deny(transaction, password, device),
    }
}

/// Gives a credential another status. `device` is that of its device.
fn set_status(
    transaction: &mut Transaction<'_>,
    credential: Held,
    status: Status,
    device: Status,
) -> Result<(), ReadError> {
    match credential {
        Held::Certificate(certificate) => certificates::set_status(transaction, *certificate, status, device),
        Held::Password(password) => passwords::set_status(transaction, *password, status, device),
    }
}

fn delete(transaction: &mut Transaction<'_>, credential: Held, device: Status) -> Result<bool, Error> {
    let Ok(status) = credential.status().apply(Transition::Delete) else { return Ok(false) };
    set_status(transaction, credential, status, device)?;
    Ok(true)
}

/// Changes those for which the transition is legal. Of one alone, an illegal one is refused; among several, it is
/// counted.
fn change_credentials(
    transaction: &mut Transaction<'_>,
    selector: &Selector,
    found: Vec<Held>,
    transition: Transition,
) -> Result<(Done, Draft), Error> {
    let several =
        found.len() > 1 || matches!(selector, Selector::Label { .. } | Selector::IssuedBefore { .. });
    let mut done = Done::default();
    let mut draft = Draft { subject: selector.to_string(), ..Draft::default() };
    for credential in found {
        match credential.status().apply(transition) {
            Err(error) if !several => {
                return Err(illegal(&short(&credential), error).into());
            }
            Err(_) => done.unchanged += 1,
            Ok(status) => {
                if !several {
                    draft.before = credential.status().state.to_string();
                    draft.after = status.state.to_string();
                    draft.subject = one(selector, &credential);
                }
                let device = device_status(transaction, &credential)?;
                set_status(transaction, credential, status, device)?;
                done.changed += 1;
            }
        }
    }
    done.announce = done.changed > 0;
    Ok((done, draft))
}

/// Without the owner.
fn short(credential: &Held) -> String {
    match credential {
        Held::Certificate(certificate) => format!("certificate {}", certificate.id),
        Held::Password(password) => format!("password {}/{}", password.tenant, password.username),
    }
}

/// The audit log names a credential by its own name and owner, however it was selected.
fn one(selector: &Selector, credential: &Held) -> String {
    match selector {
        Selector::Id(_) | Selector::Password { .. } => credential.to_string(),
        other => format!("{credential}, selected as {other}"),
    }
}

/// Of a credential's device; of one that is deleted, whose credentials are too, it does not matter.
fn device_status(transaction: &Transaction<'_>, credential: &Held) -> Result<Status, Error> {
    let device = query::device(transaction, credential.tenant(), credential.device())?;
    Ok(device.map_or(Status::ACTIVE, |device| device.status))
}
