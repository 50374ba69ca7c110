//! Applying a command: the one place where the state changes.
//!
//! [`apply`] is a pure function of the rows, the revision and the command, so that all replicas come to the same
//! rows. It has no clock: the time is the proposer's, in the command. The rows, the audit entries and the event come
//! from one call. A refusal writes an audit entry and nothing else.
//!
//! Each command about credentials prunes a few members of the denied set that expired [`DENIED_AFTER_EXPIRY_MS`] before
//! its time, and with them the certificates that are deleted.
//!
//! [`DENIED_AFTER_EXPIRY_MS`]: crate::limits::DENIED_AFTER_EXPIRY_MS

mod administrators;
mod audit_entries;
mod certificates;
mod denials;
mod nodes;
mod passwords;
mod settings;
mod tenants;
mod transitions;
mod usage;

use crate::command::{COMMAND_VERSION, Command, Operation};
use crate::event::Event;
use crate::ids::{CertificateId, NodeId, Revision};
use crate::keys;
use crate::limits::ACTOR_BYTES_MAX;
use crate::outcome::{Error, Outcome, Refusal};
use crate::store::{ReadError, Reader, Write};
use crate::transaction::{Draft, Transaction};

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The rows to write, in one batch, in key order.
    pub writes: Vec<Write>,
    /// For the one who asked.
    pub result: Result<Outcome, Refusal>,
    /// For the brokers and for whoever watches.
    pub event: Option<Event>,
}

/// What an operation came to, when it was not refused.
#[derive(Debug, Default)]
struct Done {
    changed: u64,
    unchanged: u64,
    node: Option<NodeId>,
    certificate: Option<CertificateId>,
    /// Whether there is an event, be it without changes for brokers.
    announce: bool,
}

impl Done {
    /// One row changed, and an event says so.
    fn one() -> Done {
        Done { changed: 1, announce: true, ..Done::default() }
    }
}

/// Applies a command. The writes are to be committed before anything else at a higher revision is applied; an error
/// is the store's, and nothing was applied.
pub fn apply(reader: &dyn Reader, revision: Revision, command: &Command) -> Result<Applied, ReadError> {
    let mut transaction = Transaction::new(reader, revision, command.time);
    match perform(&mut transaction, command) {
        Ok(done) => finish(transaction, command, &done),
        Err(Error::Read(error)) => Err(error),
        Err(Error::Refused(refusal)) => refuse(reader, revision, command, refusal),
    }
}

fn perform(transaction: &mut Transaction<'_>, command: &Command) -> Result<Done, Error> {
    check(transaction, command)?;
    let mut done = match &command.operation {
        Operation::Initialize { cluster, node, administrator, ticket_keys } => {
            nodes::initialize(transaction, cluster, node, administrator, ticket_keys)
        }
        Operation::CreateTenant { name } => tenants::create_tenant(transaction, name),
        Operation::CreateAuthority { authority } => tenants::create_authority(transaction, authority),
        Operation::CreateDevice { tenant, name, labels } => {
            tenants::create_device(transaction, tenant, name, labels)
        }
        Operation::AddCertificate { certificate } => certificates::add(transaction, certificate),
        Operation::Transition { selector, transition, comment } => {
            transitions::change(transaction, selector, *transition, comment)
        }
        Operation::SetSetting { key, value } => settings::set(transaction, key, value.as_deref()),
        Operation::RecordUsage { used, time } => usage::record(transaction, used, *time),
        Operation::CreateJoinToken { token } => nodes::create_token(transaction, token),
        Operation::JoinNode { token, node } => nodes::join(transaction, token, node),
        Operation::RemoveNode { node } => nodes::remove(transaction, *node),
        Operation::AddAdministrator { administrator } => administrators::add(transaction, administrator),
        Operation::RemoveAdministrator { name } => administrators::remove(transaction, name),
        Operation::RotateTicketKeys { keys } => settings::rotate_ticket_keys(transaction, keys),
        Operation::RecordRefusal { subject, code, detail, .. } => {
            let (subject, outcome, detail) = (subject.clone(), code.clone(), detail.clone());
            transaction.entries.push(Draft { subject, outcome, detail, ..Draft::default() });
            Ok(Done::default())
        }
        Operation::SetPassword { password } => passwords::set(transaction, password),
    }?;
    if matches!(
        command.operation,
        Operation::AddCertificate { .. } | Operation::SetPassword { .. } | Operation::Transition { .. }
    ) {
        denials::prune(transaction)?;
        done.announce |= !transaction.changes.is_empty();
    }
    Ok(done)
}

/// What holds for every command.
fn check(transaction: &Transaction<'_>, command: &Command) -> Result<(), Error> {
    if command.version == 0 || command.version > COMMAND_VERSION {
        let remedy = format!("this replica knows versions 1 to {COMMAND_VERSION}; upgrade it");
        return Err(Refusal::invalid("command version", &command.version, remedy).into());
    }
    if command.actor.len() > ACTOR_BYTES_MAX {
        let remedy = format!("give at most {ACTOR_BYTES_MAX} bytes");
        return Err(Refusal::invalid("actor", &command.actor, remedy).into());
    }
    let initializes = matches!(command.operation, Operation::Initialize { .. });
    if !initializes && !transaction.exists(&keys::cluster())? {
        return Err(
            Refusal::precondition("the cluster", "is not initialized", "start its first replica").into()
        );
    }
    Ok(())
}

fn finish(mut transaction: Transaction<'_>, command: &Command, done: &Done) -> Result<Applied, ReadError> {
    audit_entries::append(&mut transaction, command)?;
    let event = done.announce.then(|| Event {
        revision: transaction.revision,
        time: command.time,
        actor: command.actor.clone(),
        action: command.operation.action().to_owned(),
        changes: std::mem::take(&mut transaction.changes),
    });
    let Done { changed, unchanged, node, certificate, .. } = *done;
    let (revision, time) = (transaction.revision, transaction.time);
    let outcome = Outcome { revision, changed, unchanged, node, certificate, time };
    Ok(Applied { writes: transaction.into_writes(), result: Ok(outcome), event })
}

/// Starts over with nothing but the audit entry.
fn refuse(
    reader: &dyn Reader,
    revision: Revision,
    command: &Command,
    refusal: Refusal,
) -> Result<Applied, ReadError> {
    let mut transaction = Transaction::new(reader, revision, command.time);
    transaction.entries.push(Draft {
        subject: command.operation.subject(),
        detail: refusal.to_string(),
        outcome: refusal.code().to_owned(),
        ..Draft::default()
    });
    audit_entries::append(&mut transaction, command)?;
    Ok(Applied { writes: transaction.into_writes(), result: Err(refusal), event: None })
}

/// Refuses a text or byte string that is too long.
fn check_length(field: &str, length: usize, most: usize) -> Result<(), Refusal> {
    if length > most {
        return Err(Refusal::invalid(
            field,
            &format!("{length} bytes"),
            format!("give at most {most} bytes"),
        ));
    }
    Ok(())
}

/// Refuses one more of something than there may be.
fn check_limit(name: &str, there_are: u64, limit: u64, remedy: &str) -> Result<(), Refusal> {
    if there_are >= limit { Err(Refusal::limit(name, limit, remedy)) } else { Ok(()) }
}
