//! Rows to the wire and back.
use revoq_credentials::{
    Administrator, AuditEntry, Certificate, CertificateId, Device, Fingerprint, Millis, Node, NodeId,
    NodeKind, Revision, RevocationReason, Role, Serial, State, Status, Verifier,
};

use crate::v1;

fn certificate(status: Status) -> Certificate {
    Certificate {
        id: CertificateId([1; 16]),
        tenant: "acme".parse().expect("valid"),
        device: "pump-7".parse().expect("valid"),
        authority: Some("factory".parse().expect("valid")),
        fingerprint: Fingerprint([2; 32]),
        serial: Serial::from_bytes(&[3]).expect("valid"),
        issuer: vec![0x30, 0],
        issuer_text: "CN=factory".to_owned(),
        subject_text: "CN=pump-7".to_owned(),
        not_before: Millis(4),
        not_after: Millis(5),
        status,
        issued: Millis(6),
        first_used: None,
        last_used: Some(Millis(7)),
        revision: Revision(8),
        der: vec![9],
    }
}

#[test]
fn certificates_in_every_state() {
    let suspended = Status::from_parts(State::Suspended, Some(State::Active), None).expect("legal");
    let revoked = |reason| Status::from_parts(State::Revoked, None, Some(reason)).expect("legal");
    let deleted = Status::from_parts(State::Deleted, None, None).expect("legal");
    let statuses = [
        Status::INACTIVE,
        Status::ACTIVE,
        suspended,
        revoked(RevocationReason::Unspecified),
        revoked(RevocationReason::KeyCompromise),
        deleted,
    ];
    for status in statuses {
        let original = certificate(status);
        assert_eq!(Certificate::try_from(v1::Certificate::from(&original)), Ok(original));
    }
    let mut registered = certificate(Status::ACTIVE);
    registered.authority = None;
    assert_eq!(Certificate::try_from(v1::Certificate::from(&registered)), Ok(registered));
}

#[test]
fn verifiers_are_checked() {
    let original = Verifier::new(vec![1; 16], 4_096, [2; 32], [3; 32]).expect("in range");
    let good = v1::Verifier::from(&original);
    assert_eq!(Verifier::try_from(good.clone()), Ok(original));
    for (wire, expected) in [
        (v1::Verifier { salt: vec![1; 7].into(), ..good.clone() }, "verifier `7 bytes`"),
        (v1::Verifier { iterations: 4_095, ..good.clone() }, "verifier `4095`"),
        (v1::Verifier { stored_key: vec![2; 31].into(), ..good.clone() }, "verifier.stored_key `31 bytes`"),
        (v1::Verifier { server_key: Vec::new().into(), ..good }, "verifier.server_key `0 bytes`"),
    ] {
        let error = Verifier::try_from(wire).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_broken_certificate_names_its_field() {
    let good = v1::Certificate::from(&certificate(Status::ACTIVE));
    let broken = |change: fn(&mut v1::Certificate), expected: &str| {
        let mut wire = good.clone();
        change(&mut wire);
        assert_eq!(Certificate::try_from(wire).expect_err(expected).field, expected);
    };
    broken(|c| c.id.clear(), "certificate.id");
    broken(|c| c.tenant = "A".to_owned(), "certificate.tenant");
    broken(|c| c.fingerprint.clear(), "certificate.fingerprint");
    broken(|c| c.serial.clear(), "certificate.serial");
    broken(|c| c.state = 0, "certificate.state");
    broken(|c| c.reason = 7, "certificate.reason");
}

#[test]
fn devices_administrators_audit_entries() {
    let device = Device {
        tenant: "acme".parse().expect("valid"),
        name: "pump-7".parse().expect("valid"),
        labels: [("site".parse().expect("valid"), "berlin".parse().expect("valid"))].into(),
        status: Status::ACTIVE,
        created: Millis(1),
        certificates: 2,
    };
    assert_eq!(Device::try_from(v1::Device::from(&device)), Ok(device));

    let administrator = Administrator {
        name: "alice".parse().expect("valid"),
        role: Role::Operator,
        fingerprint: Fingerprint([1; 32]),
        not_after: Millis(2),
    };
    assert_eq!(Administrator::try_from(v1::Administrator::from(&administrator)), Ok(administrator));

    let entry = AuditEntry {
        number: 1,
        revision: Revision(2),
        time: Millis(3),
        actor: "alice".to_owned(),
        action: "suspend".to_owned(),
        subject: "device acme/pump-7".to_owned(),
        before: "active".to_owned(),
        after: "suspended".to_owned(),
        detail: "lost".to_owned(),
        outcome: "ok".to_owned(),
        previous_hash: [4; 32],
        hash: [5; 32],
    };
    assert_eq!(AuditEntry::try_from(v1::AuditEntry::from(&entry)), Ok(entry));
}

#[test]
fn nodes_have_their_address_only_where_they_have_one() {
    let mut node = Node {
        id: NodeId(3),
        name: "broker-3".parse().expect("valid"),
        kind: NodeKind::Broker,
        address: None,
        fingerprint: Fingerprint([1; 32]),
        joined: Millis(4),
        revision: None,
    };
    assert_eq!(v1::NodeStatus::from(&node).address, "");
    node.address = Some("10.0.0.1:9440".to_owned());
    assert_eq!(v1::Replica::from(&node).address, "10.0.0.1:9440");
}
