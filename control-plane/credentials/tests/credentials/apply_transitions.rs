//! Transitions of certificates, devices, authorities and tenants.

use revoq_credentials::*;

use crate::support::*;

/// Each legal and illegal pair through `apply`: outcome, row, event and verdict agree.
#[test]
fn every_pair_for_a_certificate() {
    let paths: [&[Transition]; 5] =
        [&[], &[Transition::Suspend], &[REVOKE], &[Transition::Delete], &[REVOKE, Transition::Delete]];
    for (path, used) in paths.iter().flat_map(|path| [(path, false), (path, true)]) {
        for transition in TRANSITIONS {
            let mut plane = Plane::new();
            let new = plane.add("d1", 1, Some("ca"));
            if used {
                plane
                    .run(Operation::RecordUsage { used: vec![new.fingerprint], time: START })
                    .expect("records");
            }
            for step in *path {
                plane.transition(Selector::Id(new.id), *step).expect("legal");
            }
            let before = plane.certificate(&new).expect("is there").status;
            let result = plane.transition(Selector::Id(new.id), transition);
            let after = plane.certificate(&new).expect("is there").status;
            match before.apply(transition) {
                Ok(expected) => {
                    assert_eq!(result.expect("legal").changed, 1);
                    assert_eq!(after, expected);
                    let denied = after.state.is_denied();
                    let verdict = Verdict::Deny(Cause::Certificate(after.state));
                    assert_eq!(plane.verdict(&new), if denied { verdict } else { Verdict::Allow });
                    assert_eq!(
                        plane.view.denied(&new.fingerprint).and_then(|denial| denial.reason),
                        after.reason
                    );
                }
                Err(IllegalTransition { from, to }) => {
                    let subject = format!("certificate {}", new.id);
                    assert_eq!(result, Err(Refusal::Illegal { subject, from, to }));
                    assert_eq!(after, before);
                }
            }
        }
    }
}

#[test]
fn a_device_denies_its_certificates() {
    let mut plane = Plane::new();
    let (one, two) = (plane.add("d1", 1, Some("ca")), plane.add("d1", 2, None));
    let other = plane.add("d2", 3, Some("ca"));
    plane.transition(Selector::Id(two.id), Transition::Suspend).expect("suspends");
    let outcome = plane.transition(device("d1"), Transition::Suspend).expect("suspends");
    assert_eq!((outcome.changed, outcome.unchanged), (1, 1), "one was denied before");
    assert_eq!(plane.changes().len(), 1);
    assert_eq!(plane.state(&one), State::Inactive, "its own state stays");
    assert_eq!(plane.verdict(&one), Verdict::Deny(Cause::Certificate(State::Suspended)));
    assert_eq!(plane.verdict(&other), Verdict::Allow);

    let outcome = plane.transition(device("d1"), Transition::Reactivate).expect("reactivates");
    assert_eq!((outcome.changed, outcome.unchanged), (1, 1));
    assert_eq!(plane.changes(), [Change::Allowed(one.fingerprint)]);
    assert_eq!(plane.verdict(&two), Verdict::Deny(Cause::Certificate(State::Suspended)));

    let outcome = plane.transition(device("d1"), REVOKE).expect("revokes");
    assert_eq!(outcome.changed, 2);
    let denial = plane.view.denied(&two.fingerprint).expect("is denied");
    assert_eq!((denial.state, denial.reason), (State::Revoked, Some(RevocationReason::KeyCompromise)));
    let refusal = plane.transition(device("d1"), Transition::Reactivate).expect_err("is final");
    assert_eq!(refusal.to_string(), "device default/d1 is revoked and cannot become active");
}

#[test]
fn deleting_a_device_deletes_its_certificates() {
    let mut plane = Plane::new();
    plane.run(create_device("default", "d1", &[("site", "north")])).expect("creates");
    let (one, two) = (plane.add("d1", 1, Some("ca")), plane.add("d1", 2, None));
    plane.transition(Selector::Id(one.id), REVOKE).expect("revokes");
    let outcome = plane.transition(device("d1"), Transition::Delete).expect("deletes");
    assert_eq!(outcome.changed, 2);
    for new in [&one, &two] {
        assert_eq!(plane.verdict(new), Verdict::Deny(Cause::Certificate(State::Deleted)));
    }
    assert_eq!((plane.state(&one), plane.certificate(&two)), (State::Deleted, None));
    assert_eq!(query::device(&plane.store, &one.tenant, &one.device).expect("reads"), None);
    let label = Selector::Label { tenant: one.tenant.clone(), key: name("site"), value: name("north") };
    assert!(matches!(plane.transition(label, Transition::Suspend), Err(Refusal::NotFound { .. })));
    let counts = plane.counts();
    assert_eq!((counts.devices, counts.certificates, counts.denied), (0, 0, 2));
    // The name is free again, and what it owned before does not come back with it.
    plane.run(create_device("default", "d1", &[])).expect("creates");
    plane.transition(device("d1"), Transition::Suspend).expect("suspends");
    assert_eq!(plane.verdict(&one), Verdict::Deny(Cause::Certificate(State::Deleted)));
}

#[test]
fn an_authority_is_changed_as_such() {
    let mut plane = Plane::new();
    let new: Vec<_> = (0..5).map(|number| plane.add("d1", number, Some("ca"))).collect();
    let leaf = plane.add("d1", 9, None);
    let outcome = plane.transition(authority_selector("ca"), Transition::Suspend).expect("suspends");
    assert_eq!(outcome.changed, 5, "those below it");
    assert_eq!(plane.changes().len(), 1, "in one change");
    let affected = Affected::Authority { tenant: TenantName::default(), name: name("ca") };
    assert_eq!(plane.affected, [affected]);
    assert_eq!(plane.verdict(&new[0]), Verdict::Deny(Cause::Authority(State::Suspended)));
    assert_eq!(plane.verdict(&leaf), Verdict::Allow);
    plane.transition(authority_selector("ca"), Transition::Reactivate).expect("reactivates");
    assert_eq!(plane.verdict(&new[0]), Verdict::Allow);
    plane.transition(authority_selector("ca"), REVOKE).expect("revokes");
    assert_eq!(plane.verdict(&new[0]), Verdict::Deny(Cause::Authority(State::Revoked)));
    let refusal = plane.transition(authority_selector("ca"), Transition::Suspend).expect_err("is final");
    assert_eq!(refusal.to_string(), "authority default/ca is revoked and cannot become suspended");
    plane.transition(authority_selector("ca"), Transition::Delete).expect("deletes");
    assert_eq!(plane.verdict(&new[0]), Verdict::Deny(Cause::AuthorityUnknown));
    assert_eq!(plane.view.authorities().count(), 0);
    assert!(matches!(plane.run(create_authority("default", "ca")), Err(Refusal::Exists { .. })));
    assert!(!plane.store.rows().any(|(_, row)| row.ends_with(&[0x41, 4])), "the key is gone");
}

#[test]
fn a_tenant_is_changed_as_such() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let tenant = Selector::Tenant(TenantName::default());
    let outcome = plane.transition(tenant.clone(), Transition::Suspend).expect("suspends");
    assert_eq!(outcome.changed, 1);
    assert_eq!(plane.affected, [Affected::Tenant(TenantName::default())]);
    assert_eq!(plane.verdict(&new), Verdict::Deny(Cause::Tenant(State::Suspended)));
    let refusal = plane.transition(tenant.clone(), Transition::Suspend).expect_err("is suspended");
    assert_eq!(refusal.to_string(), "tenant default is suspended and cannot become suspended");
    plane.transition(tenant.clone(), Transition::Reactivate).expect("reactivates");
    assert_eq!(plane.verdict(&new), Verdict::Allow);
    let refusal = plane.transition(tenant, Transition::Delete).expect_err("always exists");
    assert_eq!(
        refusal.to_string(),
        "tenant default always exists; it cannot be deleted; suspend or revoke it"
    );
}

#[test]
fn a_tenant_with_something_in_it_is_not_deleted() {
    let mut plane = Plane::new();
    let tenant = Selector::Tenant(name("t1"));
    plane.run(Operation::CreateTenant { name: name("t1") }).expect("creates");
    plane.run(create_authority("t1", "ca")).expect("creates");
    plane.run(create_device("t1", "d1", &[])).expect("creates");
    let refusal = plane.transition(tenant.clone(), Transition::Delete).expect_err("is not empty");
    assert_eq!(refusal.to_string(), "tenant t1 has 1 devices and 1 authorities; delete those first");
    for selector in [
        Selector::Authority { tenant: name("t1"), name: name("ca") },
        Selector::Device { tenant: name("t1"), name: name("d1") },
    ] {
        plane.transition(tenant.clone(), Transition::Delete).expect_err("is not empty yet");
        plane.transition(selector, Transition::Delete).expect("deletes");
    }
    plane.transition(tenant, Transition::Delete).expect("is empty");
    assert_eq!(plane.counts().tenants, 1);
}

#[test]
fn what_is_not_there_is_named() {
    let mut plane = Plane::new();
    let tenant = TenantName::default();
    for (selector, text) in [
        (Selector::Tenant(name("t9")), "there is no tenant `t9`"),
        (authority_selector("x"), "there is no authority `default/x`"),
        (device("d9"), "there is no device `default/d9`"),
        (Selector::Id(CertificateId([0; 16])), "there is no certificate `00000000000000000000000000000000`"),
        (
            Selector::Serial { issuer: Issuer::Text("CN=x".to_owned()), serial: name("0x01") },
            "there is no certificate with serial number `0x01 of issuer CN=x`",
        ),
        (
            Selector::Label { tenant, key: name("site"), value: name("north") },
            "there is no credential of `label site=north of tenant default`",
        ),
    ] {
        let refusal = plane.transition(selector, Transition::Suspend).expect_err("is not there");
        assert_eq!((refusal.code(), refusal.to_string().as_str()), ("not_found", text));
    }
}

#[test]
fn long_comments_are_refused() {
    let mut plane = Plane::new();
    let comment = "x".repeat(257);
    let operation = Operation::Transition { selector: device("d1"), transition: REVOKE, comment };
    let refusal = plane.run(operation).expect_err("is too long");
    assert_eq!(refusal.to_string(), "comment `257 bytes` is not valid: give at most 256 bytes");
}

#[test]
fn a_dry_run_counts_as_the_command_would() {
    let mut plane = Plane::new();
    (0..5).for_each(|number| drop(plane.add("d1", number, Some("ca"))));
    let operation =
        Operation::Transition { selector: device("d1"), transition: REVOKE, comment: String::new() };
    let command = Command::new("alice", plane.time, operation.clone());
    let dry = apply(&plane.store, plane.revision, &command).expect("reads").result.expect("legal");
    let real = plane.run(operation).expect("legal");
    assert_eq!((dry.changed, dry.unchanged), (real.changed, real.unchanged));
}
