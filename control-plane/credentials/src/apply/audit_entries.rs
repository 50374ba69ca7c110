//! Writes the audit entries of a command, each chained to the one before.

use crate::audit;
use crate::command::Command;
use crate::keys;
use crate::limits::{ACTOR_BYTES_MAX, AUDIT_TEXT_BYTES_MAX};
use crate::query::{self, AuditHead};
use crate::records::AuditEntry;
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};

pub(super) fn append(transaction: &mut Transaction<'_>, command: &Command) -> Result<(), ReadError> {
    let drafts = std::mem::take(&mut transaction.entries);
    if drafts.is_empty() {
        return Ok(());
    }
    let mut head = query::audit_head(transaction)?.unwrap_or(AuditHead { number: 0, hash: audit::GENESIS });
    for draft in drafts {
        let entry = entry(transaction, command, &draft, head);
        transaction.put(keys::audit(entry.number), &entry);
        head = AuditHead { number: entry.number, hash: entry.hash };
    }
    transaction.put(keys::audit_head(), &head);
    Ok(())
}

fn entry(transaction: &Transaction<'_>, command: &Command, draft: &Draft, head: AuditHead) -> AuditEntry {
    let text = |text: &str| cut(text, AUDIT_TEXT_BYTES_MAX);
    let mut entry = AuditEntry {
        number: head.number + 1,
        revision: transaction.revision,
        time: command.time,
        actor: cut(&command.actor, ACTOR_BYTES_MAX),
        action: text(command.operation.action()),
        subject: text(&draft.subject),
        before: text(&draft.before),
        after: text(&draft.after),
        detail: text(&draft.detail),
        outcome: text(if draft.outcome.is_empty() { "ok" } else { &draft.outcome }),
        previous_hash: head.hash,
        hash: audit::GENESIS,
    };
    entry.hash = audit::hash(&entry);
    entry
}

/// The longest beginning of whole characters that fits.
fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}
