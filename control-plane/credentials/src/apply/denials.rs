//! The denied set: what follows for it from the states, and its pruning.

use crate::event::{Change, Denial};
use crate::ids::{Fingerprint, Millis};
use crate::keys;
use crate::limits::{DENIED_AFTER_EXPIRY_MS, PRUNE_MAX};
use crate::query::{self, effective};
use crate::state::{State, Status};
use crate::store::{ReadError, Reader};
use crate::transaction::Transaction;

use super::certificates;

/// Of a credential that does not expire.
pub(super) const WITHOUT_EXPIRY: Millis = Millis(u64::MAX);

/// The denial of a credential of this status, of a device of that one, where it is denied.
pub(super) fn denial(
    fingerprint: Fingerprint,
    own: Status,
    device: Status,
    not_after: Millis,
) -> Option<Denial> {
    let state = effective(own.state, device.state);
    let reason = own.reason.or(device.reason);
    state.is_denied().then_some(Denial { fingerprint, state, reason, not_after })
}

/// Puts a credential into the denied set, or takes it out; says whether that is a change. Brokers hear of changes
/// only.
pub(super) fn set(
    transaction: &mut Transaction<'_>,
    fingerprint: Fingerprint,
    new: Option<Denial>,
) -> Result<bool, ReadError> {
    let old = query::denied(transaction, &fingerprint)?;
    if old == new {
        return Ok(false);
    }
    if let Some(old) = old {
        transaction.delete(keys::denied_expiry(old.not_after, &fingerprint));
        transaction.count(|counts| counts.denied -= 1)?;
    }
    match new {
        Some(denial) => {
            transaction.put(keys::denied(&fingerprint), &denial);
            transaction.mark(keys::denied_expiry(denial.not_after, &fingerprint));
            transaction.count(|counts| counts.denied += 1)?;
            transaction.changes.push(Change::Denied(denial));
        }
        None => {
            transaction.delete(keys::denied(&fingerprint));
            transaction.changes.push(Change::Allowed(fingerprint));
        }
    }
    Ok(true)
}

/// Forgets denials of credentials that have long expired, at most [`PRUNE_MAX`]; the certificate goes with it where
/// it is deleted.
pub(super) fn prune(transaction: &mut Transaction<'_>) -> Result<(), ReadError> {
    let from = keys::denied_until(Millis(0));
    let to = keys::denied_until(transaction.time.minus(DENIED_AFTER_EXPIRY_MS));
    for (key, _) in transaction.scan(&from, &to, PRUNE_MAX)? {
        let fingerprint = key
            .last_chunk()
            .map(|bytes| Fingerprint(*bytes))
            .ok_or_else(|| ReadError(format!("key {} has no fingerprint", key.escape_ascii())))?;
        set(transaction, fingerprint, None)?;
        let certificate = query::row_by_fingerprint(transaction, &fingerprint)?;
        if let Some(certificate) = certificate.filter(|found| found.status.state == State::Deleted) {
            certificates::forget(transaction, &certificate);
        }
    }
    Ok(())
}
