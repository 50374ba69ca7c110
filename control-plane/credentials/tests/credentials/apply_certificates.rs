//! Adding certificates, their use, their deletion, their expiry.

use revoq_credentials::limits::DENIED_AFTER_EXPIRY_MS;
use revoq_credentials::*;

use crate::support::*;

fn add(new: &NewCertificate) -> Operation {
    Operation::AddCertificate { certificate: Box::new(new.clone()) }
}

fn refused(plane: &mut Plane, new: &NewCertificate) -> String {
    let refusal = plane.run(add(new)).expect_err("is refused");
    format!("{}: {refusal}", refusal.code())
}

#[test]
fn issuing() {
    let mut plane = Plane::new();
    let new = certificate("default", "d1", 1, Some("ca"), plane.time);
    let outcome = plane.run(add(&new)).expect("adds");
    assert_eq!((outcome.changed, outcome.certificate), (1, Some(new.id)));
    assert_eq!(plane.changes(), [Change::Registered(new.fingerprint)]);
    assert_eq!(plane.verdict(&new), Verdict::Allow);
    let row = plane.certificate(&new).expect("is there");
    assert_eq!((row.status, row.issued, row.revision), (Status::INACTIVE, plane.time, plane.revision));
    assert_eq!((row.der, row.first_used, row.last_used), (new.der.clone(), None, None));
    let device = query::device(&plane.store, &new.tenant, &new.device).expect("reads").expect("was created");
    assert_eq!(device.certificates, 1);
    let counts = plane.counts();
    assert_eq!((counts.devices, counts.certificates, counts.denied), (1, 1, 0));
}

#[test]
fn certificates_that_cannot_be() {
    let mut plane = Plane::new();
    let good = certificate("default", "d1", 1, Some("ca"), plane.time);
    for (new, text) in [
        (NewCertificate { fingerprint: Fingerprint([0; 32]), ..good.clone() }, "give the SHA-256"),
        (
            NewCertificate { not_before: good.not_after.plus(1), ..good.clone() },
            "must not be later than notAfter",
        ),
        (
            NewCertificate { not_before: Millis(0), not_after: START.minus(1), ..good.clone() },
            "it has passed",
        ),
        (NewCertificate { der: vec![0; 20_000], ..good.clone() }, "at most 16384 bytes"),
        (NewCertificate { issuer: vec![0; 5_000], ..good.clone() }, "at most 4096 bytes"),
        (NewCertificate { subject_text: "x".repeat(5_000), ..good.clone() }, "at most 4096 bytes"),
        (NewCertificate { tenant: name("t9"), ..good.clone() }, "there is no tenant `t9`"),
        (NewCertificate { authority: Some(name("x")), ..good.clone() }, "there is no authority `default/x`"),
    ] {
        let refusal = refused(&mut plane, &new);
        assert!(refusal.contains(text), "{refusal}");
    }
    assert_eq!(plane.counts().devices, 0);
}

#[test]
fn duplicates() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    assert!(refused(&mut plane, &new).contains("propose it again with another id"));
    let other_id = NewCertificate { id: CertificateId([7; 16]), ..new.clone() };
    let refusal = refused(&mut plane, &other_id);
    assert!(refusal.contains(&format!("it is certificate {} of device d1, inactive", new.id)), "{refusal}");
    let serial =
        NewCertificate { serial: new.serial.clone(), ..certificate("default", "d1", 2, Some("ca"), START) };
    assert!(refused(&mut plane, &serial).contains("an authority uses a serial number once"));
    let leaf = NewCertificate { serial: new.serial.clone(), ..certificate("default", "d1", 2, None, START) };
    let twin = NewCertificate { serial: new.serial.clone(), ..certificate("default", "d1", 3, None, START) };
    plane.run(add(&leaf)).expect("a leaf may have any serial number");
    plane.run(add(&twin)).expect("and a twin");
    plane.transition(Selector::Id(new.id), Transition::Delete).expect("deletes");
    assert!(refused(&mut plane, &other_id).contains("it was deleted and stays denied until it expires"));
}

#[test]
fn owners_that_are_denied() {
    let mut plane = Plane::new();
    let new = certificate("default", "d1", 1, Some("ca"), plane.time);
    plane.transition(authority_selector("ca"), Transition::Suspend).expect("suspends");
    assert!(refused(&mut plane, &new).contains("authority default/ca is suspended; reactivate it"));
    plane.transition(authority_selector("ca"), REVOKE).expect("revokes");
    assert!(refused(&mut plane, &new).contains("authority default/ca is revoked; name another one"));
    let leaf = certificate("default", "d2", 2, None, plane.time);
    plane.run(create_device("default", "d2", &[])).expect("creates");
    plane.transition(device("d2"), Transition::Suspend).expect("suspends");
    plane.run(add(&leaf)).expect("adds to a suspended device");
    assert_eq!(plane.verdict(&leaf), Verdict::Deny(Cause::Certificate(State::Suspended)));
    plane.transition(device("d2"), REVOKE).expect("revokes");
    let leaf = certificate("default", "d2", 3, None, plane.time);
    assert!(refused(&mut plane, &leaf).contains("device default/d2 is revoked; name another device"));
}

#[test]
fn use_makes_active() {
    let mut plane = Plane::new();
    let (one, two) = (plane.add("d1", 1, Some("ca")), plane.add("d1", 2, None));
    let usage = |time| Operation::RecordUsage {
        used: vec![one.fingerprint, Fingerprint([9; 32]), two.fingerprint, one.fingerprint],
        time,
    };
    plane.time = START.plus(10_000);
    let ahead = plane.time.plus(5_000);
    let outcome = plane.run(usage(ahead)).expect("records");
    assert_eq!((outcome.changed, outcome.unchanged), (2, 2));
    assert_eq!(plane.event, None);
    let row = plane.certificate(&one).expect("is there");
    assert_eq!(row.status, Status::ACTIVE);
    assert_eq!(
        (row.first_used, row.last_used),
        (Some(plane.time), Some(plane.time)),
        "never later than the report"
    );
    assert_eq!(row.revision, plane.revision);
    let (entry, activated) = (plane.last_entry(), plane.revision);
    assert_eq!((&*entry.action, &*entry.before, &*entry.after), ("activate", "inactive", "active"));
    assert!(entry.subject.contains(&two.id.to_string()));

    plane.time = START.plus(20_000);
    assert_eq!(plane.run(usage(plane.time)).expect("records").changed, 0, "within the resolution");
    plane.time = START.plus(DAY);
    assert_eq!(plane.run(usage(plane.time)).expect("records").changed, 2);
    let row = plane.certificate(&one).expect("is there");
    assert_eq!((row.first_used, row.last_used), (Some(START.plus(10_000)), Some(plane.time)));
    assert_eq!(row.revision, activated, "not a change of state");
    assert_eq!(plane.last_entry(), entry, "a time of use alone is not audited");
}

#[test]
fn use_reported_after_the_suspension() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    plane.transition(Selector::Id(new.id), Transition::Suspend).expect("suspends");
    let used = Operation::RecordUsage { used: vec![new.fingerprint], time: plane.time };
    plane.run(used).expect("records");
    assert_eq!(plane.state(&new), State::Suspended);
    plane.transition(Selector::Id(new.id), Transition::Reactivate).expect("reactivates");
    assert_eq!(plane.state(&new), State::Active);
}

#[test]
fn a_deleted_certificate_of_an_authority_stays_denied() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    plane.transition(Selector::Id(new.id), Transition::Delete).expect("deletes");
    assert_eq!(plane.verdict(&new), Verdict::Deny(Cause::Certificate(State::Deleted)));
    assert_eq!(plane.state(&new), State::Deleted, "it can be shown why");
    let counts = plane.counts();
    assert_eq!((counts.certificates, counts.denied, counts.devices), (0, 1, 1));
    assert!(query::certificates_of_device(&plane.store, &new.tenant, &new.device).expect("reads").is_empty());
    let refusal = plane.transition(Selector::Id(new.id), Transition::Suspend).expect_err("is refused");
    assert_eq!(refusal.to_string(), format!("certificate {} is deleted and cannot become suspended", new.id));
}

#[test]
fn a_deleted_leaf_is_gone_but_kept_out() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, None);
    plane.transition(Selector::Fingerprint(new.fingerprint), Transition::Delete).expect("deletes");
    assert_eq!(plane.certificate(&new), None, "a look-up finds nothing");
    assert_eq!(plane.affected, [Affected::Credential(new.fingerprint)]);
    assert_eq!(plane.verdict(&new), Verdict::Deny(Cause::Certificate(State::Deleted)), "for live sessions");
    plane.run(add(&new)).expect("registers it anew");
    assert_eq!(plane.changes(), [Change::Allowed(new.fingerprint), Change::Registered(new.fingerprint)]);
    assert_eq!(plane.verdict(&new), Verdict::Allow);
}

#[test]
fn what_has_long_expired_is_forgotten() {
    let mut plane = Plane::new();
    let deleted = plane.add("d1", 1, Some("ca"));
    let revoked = plane.add("d1", 2, Some("ca"));
    let leaf = plane.add("d1", 3, None);
    plane.transition(Selector::Id(deleted.id), Transition::Delete).expect("deletes");
    plane.transition(Selector::Id(revoked.id), REVOKE).expect("revokes");
    plane.transition(Selector::Id(leaf.id), Transition::Delete).expect("deletes");
    plane.time = deleted.not_after.plus(DENIED_AFTER_EXPIRY_MS);
    plane.add("d2", 4, Some("ca"));
    assert_eq!(plane.counts().denied, 3, "not yet");
    plane.time = plane.time.plus(1);
    plane.add("d2", 5, Some("ca"));
    assert_eq!(plane.counts().denied, 0);
    assert_eq!(plane.view.denied_len(), 0);
    assert_eq!(plane.certificate(&deleted), None);
    assert_eq!(plane.state(&revoked), State::Revoked, "what was not deleted stays");
    for new in [deleted, revoked, leaf] {
        assert_eq!(plane.verdict(&new), Verdict::Deny(Cause::Expired));
    }
}

#[test]
fn forgetting_reaches_brokers_also_when_nothing_else_changed() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let other = plane.add("d2", 2, Some("ca"));
    plane.transition(Selector::Id(new.id), REVOKE).expect("revokes");
    plane.time = new.not_after.plus(DENIED_AFTER_EXPIRY_MS + 1);
    let before = Selector::IssuedBefore { tenant: other.tenant, authority: None, time: plane.time };
    let outcome = plane.transition(before, Transition::Reactivate).expect("changes nothing");
    assert_eq!((outcome.changed, outcome.unchanged), (0, 2));
    assert_eq!(plane.changes(), [Change::Allowed(new.fingerprint)]);
}
