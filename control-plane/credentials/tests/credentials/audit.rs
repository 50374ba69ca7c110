//! The audit log: what it says, and that it shows when somebody changed it.

use revoq_credentials::audit::{AuditFault, Verifier, hash, verify};
use revoq_credentials::*;

use crate::support::*;

fn chain() -> (Plane, Vec<AuditEntry>) {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    plane.transition(Selector::Id(new.id), Transition::Suspend).expect("suspends");
    plane.transition(Selector::Id(new.id), Transition::Suspend).expect_err("is suspended");
    plane.transition(Selector::Id(new.id), REVOKE).expect("revokes");
    let entries = query::audit(&plane.store, 0, 1_000).expect("reads");
    (plane, entries)
}

#[test]
fn a_chain_verifies_from_any_entry() {
    let (_, entries) = chain();
    assert!(entries.len() >= 8);
    for first in 0..entries.len() {
        assert_eq!(verify(&entries[first..]), Ok(()));
    }
    let mut verifier = Verifier::new();
    entries.iter().try_for_each(|entry| verifier.check(entry)).expect("sound");
    let last = entries.last().expect("some");
    assert_eq!(verifier.last(), Some((last.number, last.hash)));
}

#[test]
fn tampering_is_found() {
    let (_, entries) = chain();
    let changes: [fn(&mut AuditEntry); 9] = [
        |entry| entry.revision.0 += 1,
        |entry| entry.time.0 += 1,
        |entry| entry.actor.push('x'),
        |entry| entry.action.push('x'),
        |entry| entry.subject.push('x'),
        |entry| entry.before.push('x'),
        |entry| entry.after.push('x'),
        |entry| entry.detail.push('x'),
        |entry| entry.outcome.push('x'),
    ];
    for change in changes {
        let mut entries = entries.clone();
        change(&mut entries[3]);
        assert_eq!(verify(&entries), Err(AuditFault::Hash { number: 4 }));
        entries[3].hash = hash(&entries[3]);
        assert_eq!(verify(&entries), Err(AuditFault::Chain { number: 5 }), "rehashed");
    }
    let mut moved = entries.clone();
    let AuditEntry { subject, action, .. } = &mut moved[3];
    std::mem::swap(subject, action);
    assert_eq!(verify(&moved[..4]), Err(AuditFault::Hash { number: 4 }), "texts moved between fields");
    let mut dropped = entries.clone();
    dropped.remove(2);
    assert_eq!(verify(&dropped), Err(AuditFault::Number { expected: 3, found: 4 }));
    let mut forged = entries;
    forged[0].previous_hash = [7; 32];
    forged[0].hash = hash(&forged[0]);
    assert_eq!(verify(&forged[..1]), Err(AuditFault::Chain { number: 1 }));
}

#[test]
fn the_bytes_of_the_hash_stay() {
    let entry = AuditEntry {
        number: 1,
        revision: Revision(2),
        time: Millis(3),
        actor: "alice".to_owned(),
        action: "suspend".to_owned(),
        subject: "certificate x".to_owned(),
        before: "active".to_owned(),
        after: "suspended".to_owned(),
        detail: String::new(),
        outcome: "ok".to_owned(),
        previous_hash: [0; 32],
        hash: [0; 32],
    };
    // printf 'revoq-audit-1\n' and the fields as the module says, through sha256sum.
    assert_eq!(
        Fingerprint(hash(&entry)).to_string(),
        "e83cf840e1f1356f2e31fae595fc33ba656f735fee34af1c6d4ac6f651e00c39"
    );
}

#[test]
fn entries_say_who_what_and_why() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let entry = plane.last_entry();
    assert_eq!(
        (entry.action.as_str(), entry.outcome.as_str(), entry.actor.as_str()),
        ("issue", "ok", "alice")
    );
    assert_eq!(entry.subject, format!("certificate {} of device default/d1", new.id));
    assert_eq!((entry.revision, entry.time), (plane.revision, plane.time));
    let (selector, comment) = (Selector::Id(new.id), "lost in the field".to_owned());
    plane.run(Operation::Transition { selector, transition: REVOKE, comment }).expect("revokes");
    let entry = plane.last_entry();
    assert_eq!((entry.before.as_str(), entry.after.as_str()), ("inactive", "revoked"));
    assert_eq!(entry.detail, "1 changed, 0 unchanged; reason keyCompromise; comment lost in the field");
}

#[test]
fn a_recorded_refusal_is_an_entry_and_nothing_else() {
    let mut plane = Plane::new();
    let operation = Operation::RecordRefusal {
        action: "authority.create".to_owned(),
        subject: "authority default/x".to_owned(),
        code: "permission_denied".to_owned(),
        detail: "ä".repeat(2_000),
    };
    plane.run(operation).expect("is recorded");
    let entry = plane.last_entry();
    assert_eq!((entry.action.as_str(), entry.outcome.as_str()), ("authority.create", "permission_denied"));
    assert_eq!(entry.detail.len(), limits::AUDIT_TEXT_BYTES_MAX, "long texts are cut");
    assert_eq!(plane.event, None);
}
