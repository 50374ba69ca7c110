//! Settings and ticket keys.

use crate::event::Change;
use crate::keys;
use crate::limits::{SEALED_BYTES_MAX, SETTING_BYTES_MAX};
use crate::outcome::{Error, Refusal};
use crate::query;
use crate::records::SealedTicketKeys;
use crate::transaction::{Draft, Transaction};

use super::{Done, check_length};

pub(super) fn set(transaction: &mut Transaction<'_>, key: &str, value: Option<&str>) -> Result<Done, Error> {
    check_length("setting", key.len().max(value.map_or(0, str::len)), SETTING_BYTES_MAX)?;
    let mut settings = query::settings(transaction)?;
    let before = settings.show(key).unwrap_or_default();
    settings.set(key, value).map_err(Refusal::from)?;
    let after = settings.show(key).unwrap_or_default();
    match value {
        Some(_) => transaction.put(keys::setting(key), &after),
        None => transaction.delete(keys::setting(key)),
    }
    let changed = before != after;
    if changed {
        transaction.changes.push(Change::Setting { key: key.to_owned(), value: after.clone() });
    }
    let subject = format!("setting {key}");
    transaction.entries.push(Draft { subject, before, after, ..Draft::default() });
    Ok(if changed { Done::one() } else { Done { unchanged: 1, ..Done::default() } })
}

pub(super) fn rotate_ticket_keys(
    transaction: &mut Transaction<'_>,
    keys: &SealedTicketKeys,
) -> Result<Done, Error> {
    check_length("ticket keys", keys.0.len(), SEALED_BYTES_MAX)?;
    transaction.put(keys::ticket_keys(), keys);
    transaction.changes.push(Change::TicketKeys(keys.clone()));
    transaction.entries.push(Draft { subject: "ticket keys".to_owned(), ..Draft::default() });
    Ok(Done::one())
}
