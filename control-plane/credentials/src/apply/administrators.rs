//! Administrators.

use crate::keys;
use crate::limits::ADMINISTRATORS_MAX;
use crate::names::AdministratorName;
use crate::outcome::{Error, Refusal};
use crate::query::{self, expect_found};
use crate::records::{Administrator, Role};
use crate::transaction::{Draft, Transaction};

use super::{Done, check_limit};

pub(super) fn add(transaction: &mut Transaction<'_>, administrator: &Administrator) -> Result<Done, Error> {
    let Administrator { name, role, fingerprint, not_after } = administrator;
    if transaction.exists(&keys::administrator(name))? {
        let remedy = "remove it first, or give another name";
        return Err(Refusal::exists("administrator", name, remedy).into());
    }
    if transaction.exists(&keys::administrator_fingerprint(fingerprint))? {
        let remedy = "give each administrator a certificate of its own";
        return Err(Refusal::exists("administrator with fingerprint", fingerprint, remedy).into());
    }
    let there_are = query::counts(transaction)?.administrators;
    let remedy = "remove administrators that are not needed";
    check_limit("administrators_max", there_are, ADMINISTRATORS_MAX, remedy)?;
    transaction.put(keys::administrator(name), administrator);
    transaction.put(keys::administrator_fingerprint(fingerprint), name);
    transaction.count(|counts| counts.administrators += 1)?;
    transaction.entries.push(Draft {
        subject: format!("administrator {name}"),
        after: role.to_string(),
        detail: format!("fingerprint {fingerprint}, until {not_after}"),
        ..Draft::default()
    });
    Ok(Done::one())
}

pub(super) fn remove(transaction: &mut Transaction<'_>, name: &AdministratorName) -> Result<Done, Error> {
    let found = query::administrator(transaction, name)?;
    let administrator = expect_found(found, "administrator", name.as_str())?;
    let others = query::administrators(transaction)?;
    let able = |other: &&Administrator| {
        other.role == Role::Administrator && other.not_after >= transaction.time && other.name != *name
    };
    if administrator.role == Role::Administrator && !others.iter().any(|other| able(&other)) {
        return Err(Refusal::precondition(
            format!("administrator {name}"),
            "is the last of its role with a valid certificate",
            "add another one first",
        )
        .into());
    }
    transaction.delete(keys::administrator(name));
    transaction.delete(keys::administrator_fingerprint(&administrator.fingerprint));
    transaction.count(|counts| counts.administrators -= 1)?;
    let before = administrator.role.to_string();
    let subject = format!("administrator {name}");
    transaction.entries.push(Draft { subject, before, ..Draft::default() });
    Ok(Done::one())
}
