//! The named limits of counts: the last that fits, and the first that does not.

use revoq_credentials::limits::*;
use revoq_credentials::*;

use crate::support::*;

/// Runs operations until one is refused; how many were not, and the limit's name.
fn fill(plane: &mut Plane, operations: impl Iterator<Item = Operation>) -> (u64, String) {
    let mut done = 0;
    for operation in operations {
        match plane.run_unchecked(operation) {
            Ok(_) => done += 1,
            Err(Refusal::Limit { name, limit, remedy }) => {
                assert!(limit > 0 && !remedy.is_empty());
                return (done, name);
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("no limit after {done}");
}

fn fingerprint(number: u64) -> Fingerprint {
    Fingerprint::of(&number.to_be_bytes())
}

#[test]
fn tenants() {
    let mut plane = Plane::new();
    let operations = (0..).map(|number| Operation::CreateTenant { name: name(&format!("t{number}")) });
    assert_eq!(fill(&mut plane, operations), (TENANTS_MAX - 1, "tenants_max".to_owned()));
}

#[test]
fn authorities_of_a_tenant() {
    let mut plane = Plane::new();
    let operations = (0..).map(|number| create_authority("default", &format!("a{number}")));
    let expected = (AUTHORITIES_PER_TENANT_MAX - 1, "authorities_per_tenant_max".to_owned());
    assert_eq!(fill(&mut plane, operations), expected);
    plane.transition(authority_selector("a0"), Transition::Delete).expect("deletes");
    plane.run(create_authority("default", "again")).expect("one that is deleted does not count");
    assert_eq!(query::list_authorities(&plane.store, &TenantName::default()).expect("reads").len(), 100);
}

#[test]
fn certificates_of_a_device() {
    let mut plane = Plane::new();
    let operations = (0..).map(|number| {
        let new = certificate("default", "d1", number, Some("ca"), START);
        Operation::AddCertificate { certificate: Box::new(new) }
    });
    let expected = (CERTIFICATES_PER_DEVICE_MAX.into(), "certificates_per_device_max".to_owned());
    assert_eq!(fill(&mut plane, operations), expected);
    let outcome = plane.transition(device("d1"), Transition::Suspend).expect("suspends");
    assert_eq!(outcome.changed, 1_000);
    assert_eq!(plane.changes().len(), 1_000);
}

#[test]
fn labels_of_a_device() {
    let mut plane = Plane::new();
    let labels: Vec<_> = (0..=LABELS_PER_DEVICE_MAX).map(|number| format!("k{number}")).collect();
    let labels: Vec<_> = labels.iter().map(|key| (key.as_str(), "v")).collect();
    let refusal = plane.run(create_device("default", "d1", &labels)).expect_err("too many");
    assert_eq!(refusal.to_string(), "the limit labels_per_device_max of 64 is reached; give fewer labels");
    plane.run(create_device("default", "d1", &labels[1..])).expect("as many as may be");
}

#[test]
fn join_tokens_and_nodes() {
    let mut plane = Plane::new();
    let token = |number: u64| JoinToken {
        hash: fingerprint(number).0,
        kind: NodeKind::Broker,
        uses_left: None,
        expires: START.plus(DAY),
    };
    let operations = (0..).map(|number| Operation::CreateJoinToken { token: token(number) });
    assert_eq!(fill(&mut plane, operations), (JOIN_TOKENS_MAX, "join_tokens_max".to_owned()));
    let operations = (0..).map(|number| Operation::JoinNode {
        token: token(0).hash,
        node: NewNode {
            name: name("b"),
            kind: NodeKind::Broker,
            address: None,
            fingerprint: fingerprint(number),
        },
    });
    assert_eq!(fill(&mut plane, operations), (NODES_MAX - 1, "nodes_max".to_owned()));
}

#[test]
fn administrators() {
    let mut plane = Plane::new();
    let operations = (0..).map(|number| Operation::AddAdministrator {
        administrator: Administrator {
            name: name(&format!("a{number}")),
            role: Role::Auditor,
            fingerprint: fingerprint(number),
            not_after: START,
        },
    });
    assert_eq!(fill(&mut plane, operations), (ADMINISTRATORS_MAX - 1, "administrators_max".to_owned()));
}

#[test]
fn reports_of_use() {
    let mut plane = Plane::new();
    let used = vec![Fingerprint([0; 32]); USAGE_REPORT_MAX + 1];
    let refusal = plane.run(Operation::RecordUsage { used, time: START }).expect_err("too many");
    assert_eq!(refusal.code(), "limit");
}

/// One more than a selector may name, by label and by time; then exactly as many, in one event that fits into a
/// message of the watch stream.
#[test]
fn matches_of_a_selector() {
    let mut plane = Plane::new();
    let per_device = CERTIFICATES_PER_DEVICE_MAX as usize;
    let label = Selector::Label { tenant: TenantName::default(), key: name("all"), value: name("yes") };
    let before =
        Selector::IssuedBefore { tenant: TenantName::default(), authority: None, time: START.plus(1) };
    for number in 0..=SELECTOR_MATCH_MAX {
        let of = format!("d{}", number / per_device);
        if number % per_device == 0 {
            plane.run_unchecked(create_device("default", &of, &[("all", "yes")])).expect("creates");
        }
        let number = u32::try_from(number).expect("few");
        let certificate = Box::new(certificate("default", &of, number, Some("ca"), START));
        plane.run_unchecked(Operation::AddCertificate { certificate }).expect("adds");
    }
    let suspend = |selector: &Selector| Operation::Transition {
        selector: selector.clone(),
        transition: Transition::Suspend,
        comment: String::new(),
    };
    for selector in [&label, &before] {
        let refusal = plane.run_unchecked(suspend(selector)).expect_err("one too many");
        assert!(refusal.to_string().contains("narrow it"), "{refusal}");
    }
    plane.transition(device("d50"), Transition::Delete).expect("deletes the one too many");
    let outcome = plane.run_unchecked(suspend(&label)).expect("as many as may be");
    assert_eq!(outcome.changed, SELECTOR_MATCH_MAX as u64);
    assert_eq!(plane.view.denied_len(), SELECTOR_MATCH_MAX + 1);
    let encoded = plane.event.as_ref().expect("an event").encode();
    assert!(encoded.len() < 4 << 20, "{} bytes", encoded.len());
}
