//! The view by itself: order of causes, settings, stale events.

use revoq_credentials::*;

use crate::support::*;

#[test]
fn the_first_cause_counts() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let late = new.not_after.plus(1);
    let verdict = |plane: &Plane, now| plane.view.verdict(&principal(&new), now);
    assert_eq!(verdict(&plane, new.not_after), Verdict::Allow, "notAfter is inclusive");
    assert_eq!(verdict(&plane, late), Verdict::Deny(Cause::Expired));
    plane.transition(Selector::Id(new.id), Transition::Suspend).expect("suspends");
    assert_eq!(verdict(&plane, late), Verdict::Deny(Cause::Certificate(State::Suspended)));
    plane.transition(authority_selector("ca"), Transition::Suspend).expect("suspends");
    assert_eq!(verdict(&plane, late), Verdict::Deny(Cause::Authority(State::Suspended)));
    plane.transition(Selector::Tenant(TenantName::default()), REVOKE).expect("revokes");
    assert_eq!(verdict(&plane, late), Verdict::Deny(Cause::Tenant(State::Revoked)));
    let stranger = Principal { tenant: name("t9"), ..principal(&new) };
    assert_eq!(plane.view.verdict(&stranger, START), Verdict::Deny(Cause::Tenant(State::Deleted)));
}

#[test]
fn an_expired_authority_lets_nobody_in() {
    let mut plane = Plane::new();
    let short = Authority { not_after: START.plus(DAY), ..authority("default", "short") };
    plane.run(Operation::CreateAuthority { authority: short }).expect("creates");
    let new = plane.add("d1", 1, Some("short"));
    assert_eq!(plane.view.verdict(&principal(&new), START.plus(DAY)), Verdict::Allow);
    assert_eq!(plane.view.verdict(&principal(&new), START.plus(DAY + 1)), Verdict::Deny(Cause::Expired));
    let unknown = NewCertificate { authority: Some(name("x")), ..new };
    assert_eq!(plane.verdict(&unknown), Verdict::Deny(Cause::AuthorityUnknown));
}

#[test]
fn clients_without_a_certificate() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let anonymous = anonymous("default");
    assert_eq!(
        plane.view.verdict(&anonymous, START),
        Verdict::Deny(Cause::CertificateRequired),
        "the default"
    );
    for (value, expected) in [
        ("off", Verdict::Allow),
        ("optional", Verdict::Allow),
        ("required", Verdict::Deny(Cause::CertificateRequired)),
    ] {
        let (key, value) = ("client_certificate".to_owned(), Some(value.to_owned()));
        plane.run(Operation::SetSetting { key, value }).expect("sets");
        assert_eq!(plane.affected, [Affected::Settings]);
        assert_eq!(plane.view.verdict(&anonymous, START), expected);
        assert_eq!(plane.verdict(&new), Verdict::Allow);
    }
    plane.transition(Selector::Tenant(TenantName::default()), Transition::Suspend).expect("suspends");
    assert_eq!(plane.view.verdict(&anonymous, START), Verdict::Deny(Cause::Tenant(State::Suspended)));
}

fn event(revision: u64, changes: Vec<Change>) -> Event {
    Event {
        revision: Revision(revision),
        time: START,
        actor: "a".to_owned(),
        action: "x".to_owned(),
        changes,
    }
}

fn denied(number: u8) -> Change {
    let fingerprint = Fingerprint([number; 32]);
    Change::Denied(Denial { fingerprint, state: State::Suspended, reason: None, not_after: START })
}

#[test]
fn events_that_are_older_are_passed_over() {
    let mut view = View::new();
    let one = Affected::Credential(Fingerprint([1; 32]));
    assert_eq!(view.apply(&event(5, vec![denied(1)])), [one]);
    assert_eq!(view.apply(&event(4, vec![Change::Allowed(Fingerprint([1; 32]))])), []);
    assert_eq!((view.revision(), view.denied_len()), (Revision(5), 1));
    // An event in parts.
    assert_eq!(view.apply(&event(5, vec![denied(2)])), [Affected::Credential(Fingerprint([2; 32]))]);
    view.advance(Revision(9));
    view.advance(Revision(3));
    assert_eq!((view.revision(), view.denied_len()), (Revision(9), 2));
    assert_eq!(view.affected_by_snapshot(), [Affected::All]);
}

#[test]
fn settings_of_a_newer_control_plane_are_passed_over() {
    let mut view = View::new();
    let setting = |key: &str, value: &str| Change::Setting { key: key.to_owned(), value: value.to_owned() };
    let changes =
        vec![setting("from_the_future", "1"), setting("stale_new", "maybe"), setting("lease", "5s")];
    assert_eq!(view.apply(&event(1, changes)), [], "and a value that is in force already affects nobody");
    assert_eq!(view.settings(), &Settings::default());
}

#[test]
fn clones_are_apart() {
    let mut view = View::new();
    view.apply(&event(1, vec![denied(1)]));
    let clone = view.clone();
    view.apply(&event(2, vec![Change::Allowed(Fingerprint([1; 32]))]));
    assert_eq!((clone.denied_len(), view.denied_len()), (1, 0));
    assert_eq!(clone.denied(&Fingerprint([1; 32])).expect("is denied").state, State::Suspended);
}

#[test]
fn causes_can_be_read() {
    for (cause, text) in [
        (Cause::Certificate(State::Revoked), "certificate revoked"),
        (Cause::Authority(State::Suspended), "authority suspended"),
        (Cause::Tenant(State::Deleted), "tenant deleted"),
        (Cause::AuthorityUnknown, "authority unknown"),
        (Cause::Expired, "certificate expired"),
        (Cause::CertificateRequired, "certificate required"),
    ] {
        assert_eq!(cause.to_string(), text);
    }
}
