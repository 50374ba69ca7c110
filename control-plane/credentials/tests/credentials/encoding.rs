//! Encoding: what is unknown is an error, what is added is not.

use revoq_credentials::*;

use crate::support::*;

#[test]
fn commands_round_trip() {
    let operations = [
        initialize(),
        create_authority("default", "ca"),
        create_device("default", "d1", &[("site", "north")]),
        Operation::RecordUsage { used: vec![Fingerprint([9; 32])], time: START },
        Operation::Transition {
            selector: Selector::IssuedBefore { tenant: TenantName::default(), authority: None, time: START },
            transition: REVOKE,
            comment: "x".to_owned(),
        },
    ];
    for operation in operations {
        let command = Command::new("alice", START, operation);
        assert_eq!(Command::decode(&command.encode()).expect("decodes"), command);
    }
}

#[test]
fn damaged_commands_are_errors() {
    let bytes = Command::new("alice", START, initialize()).encode();
    for length in 0..bytes.len() {
        assert!(Command::decode(&bytes[..length]).is_err(), "cut after {length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Command::decode(&longer).is_err(), "a byte follows");
}

#[test]
fn unknown_variants_are_errors() {
    // A status [3, 2, null]: suspended, active before. Then an unknown state, and one inside an optional field.
    assert!(minicbor::decode::<Status>(&[0x83, 3, 2, 0xf6]).is_ok());
    assert!(minicbor::decode::<Status>(&[0x83, 9, 0xf6, 0xf6]).is_err());
    assert!(minicbor::decode::<Status>(&[0x83, 3, 9, 0xf6]).is_err());
    assert!(minicbor::decode::<Status>(&[0x83, 2, 2, 0xf6]).is_err(), "parts that do not go together");
    assert!(minicbor::decode::<Denial>(&minicbor::to_vec(denial()).expect("encodes")).is_ok());
    let mut unknown = minicbor::to_vec(denial()).expect("encodes");
    let reason = unknown.len() - 2;
    assert_eq!(unknown[reason], 1);
    unknown[reason] = 7;
    assert!(minicbor::decode::<Denial>(&unknown).is_err(), "reason 7 is not used");
    // Operation 99 of an otherwise good command.
    assert!(Command::decode(&[0x84, 1, 0x61, b'a', 0, 0x82, 0x18, 99, 0x80]).is_err());
}

fn denial() -> Denial {
    Denial {
        fingerprint: Fingerprint([0; 32]),
        state: State::Revoked,
        reason: Some(RevocationReason::KeyCompromise),
        not_after: Millis(5),
    }
}

#[test]
fn added_fields_are_passed_over() {
    // A tenant with a fourth field, which a later build wrote.
    let mut bytes = vec![0x84];
    bytes.extend(minicbor::to_vec("t").expect("encodes"));
    bytes.extend(minicbor::to_vec(Status::ACTIVE).expect("encodes"));
    bytes.extend([5, 0x61, b'x']);
    let tenant: Tenant = minicbor::decode(&bytes).expect("decodes");
    assert_eq!((tenant.name.as_str(), tenant.created), ("t", Millis(5)));
    // And one with a name that is not valid.
    bytes[2] = b'T';
    assert!(minicbor::decode::<Tenant>(&bytes).is_err());
}

#[test]
fn outcomes_and_refusals_round_trip() {
    let mut plane = Plane::new();
    let results = [
        plane.run(create_device("default", "d1", &[])),
        plane.run(create_device("default", "d1", &[])),
        plane.transition(device("d1"), Transition::Reactivate),
        plane.transition(device("d2"), Transition::Suspend),
    ];
    for result in results {
        let bytes = minicbor::to_vec(&result).expect("encodes");
        assert_eq!(minicbor::decode::<Result<Outcome, Refusal>>(&bytes).expect("decodes"), result);
    }
}

#[test]
fn secrets_are_not_printed() {
    let Operation::Initialize { cluster, ticket_keys, .. } = initialize() else { panic!("initializes") };
    let printed = format!("{cluster:?} {ticket_keys:?} {:?}", authority("default", "ca"));
    assert!(!printed.contains("sealed_key") && !printed.contains('['), "{printed}");
}
