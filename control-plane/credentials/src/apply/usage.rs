//! Reports of credentials that authenticated.

use crate::held::Held;
use crate::ids::{Fingerprint, Millis};
use crate::keys;
use crate::limits::{LAST_USED_RESOLUTION_MS, USAGE_REPORT_MAX};
use crate::outcome::{Error, Refusal};
use crate::query;
use crate::state::State;
use crate::transaction::{Draft, Transaction};

use super::Done;

/// Unknown and deleted credentials are passed over: the report may be older than their deletion. No broker has to
/// hear of a use, and so there is no event; what became active has an audit entry.
pub(super) fn record(
    transaction: &mut Transaction<'_>,
    used: &[Fingerprint],
    time: Millis,
) -> Result<Done, Error> {
    if used.len() > USAGE_REPORT_MAX {
        return Err(
            Refusal::limit("usage_report_max", USAGE_REPORT_MAX as u64, "send several reports").into()
        );
    }
    // A broker's clock may run ahead; a use is never later than its report.
    let time = time.min(transaction.time);
    let mut done = Done::default();
    for fingerprint in used {
        match query::held_by_fingerprint(transaction, fingerprint)? {
            Some(credential) if credential.status().state != State::Deleted => {
                if touch(transaction, credential, time) {
                    done.changed += 1;
                } else {
                    done.unchanged += 1;
                }
            }
            _ => done.unchanged += 1,
        }
    }
    Ok(done)
}

/// Says whether the use was worth a write.
fn touch(transaction: &mut Transaction<'_>, mut credential: Held, time: Millis) -> bool {
    let status = credential.status().used();
    let recent = credential.last_used().is_some_and(|last| time < last.plus(LAST_USED_RESOLUTION_MS));
    if status.is_none() && recent {
        return false;
    }
    if let Some(status) = status {
        transaction.entries.push(Draft {
            subject: credential.to_string(),
            before: credential.status().state.to_string(),
            after: status.state.to_string(),
            detail: "first use".to_owned(),
            ..Draft::default()
        });
    }
    credential.note_use(time, status.map(|status| (status, transaction.revision)));
    match &credential {
        Held::Certificate(of) => transaction.put(keys::certificate(&of.id), &**of),
        Held::Password(of) => transaction.put(keys::password(&of.tenant, &of.username), &**of),
    }
    true
}
