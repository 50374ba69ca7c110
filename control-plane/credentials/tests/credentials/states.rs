//! Every pair of state and transition.

use revoq_credentials::{IllegalTransition, RevocationReason, State, Status, Transition};

use crate::support::{REVOKE, TRANSITIONS};

fn statuses() -> Vec<Status> {
    let parts = |state, before, reason| Status::from_parts(state, before, reason).expect("legal");
    let reason = Some(RevocationReason::Superseded);
    vec![
        Status::INACTIVE,
        Status::ACTIVE,
        parts(State::Suspended, Some(State::Inactive), None),
        parts(State::Suspended, Some(State::Active), None),
        parts(State::Revoked, None, reason),
        parts(State::Deleted, None, None),
        parts(State::Deleted, None, reason),
    ]
}

/// Rows: states, suspended twice and deleted twice; columns: suspend, reactivate, revoke, delete.
#[test]
fn table_of_all_pairs() {
    const TABLE: &str = "
        inactive  | suspended              | inactive > active    | revoked            | deleted
        active    | suspended              | active > active      | revoked            | deleted
        suspended | suspended > suspended  | inactive             | revoked            | deleted
        suspended | suspended > suspended  | active               | revoked            | deleted
        revoked   | revoked > suspended    | revoked > active     | revoked > revoked  | deleted
        deleted   | deleted > suspended    | deleted > active     | deleted > revoked  | deleted > deleted
        deleted   | deleted > suspended    | deleted > active     | deleted > revoked  | deleted > deleted";
    let rows: Vec<Vec<&str>> =
        TABLE.trim().lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), statuses().len());
    for (status, row) in statuses().into_iter().zip(rows) {
        assert_eq!(status.state.to_string(), row[0]);
        for (transition, expected) in TRANSITIONS.into_iter().zip(&row[1..]) {
            let found = match status.apply(transition) {
                Ok(status) => status.state.to_string(),
                Err(IllegalTransition { from, to }) => format!("{from} > {to}"),
            };
            assert_eq!(found, *expected, "{transition} of {status:?}");
        }
    }
}

#[test]
fn what_goes_with_a_state() {
    let suspended = Status::INACTIVE.apply(Transition::Suspend).expect("legal");
    assert_eq!(suspended.before_suspension, Some(State::Inactive));
    assert_eq!(suspended.apply(Transition::Reactivate), Ok(Status::INACTIVE));
    let revoked = suspended.apply(REVOKE).expect("legal");
    assert_eq!(revoked.before_suspension, None);
    assert_eq!(revoked.reason, Some(RevocationReason::KeyCompromise));
    let deleted = revoked.apply(Transition::Delete).expect("legal");
    assert_eq!(deleted.reason, Some(RevocationReason::KeyCompromise), "a deleted one keeps its reason");
    assert_eq!(Status::ACTIVE.apply(Transition::Delete).expect("legal").reason, None);
}

#[test]
fn first_use() {
    assert_eq!(Status::INACTIVE.used(), Some(Status::ACTIVE));
    let late = Status::INACTIVE.apply(Transition::Suspend).expect("legal").used().expect("a change");
    assert_eq!(late.apply(Transition::Reactivate), Ok(Status::ACTIVE));
    for status in [Status::ACTIVE, Status::ACTIVE.apply(Transition::Suspend).expect("legal")] {
        assert_eq!(status.used(), None);
    }
}

#[test]
fn illegal_combinations_do_not_exist() {
    let reason = Some(RevocationReason::Unspecified);
    for (state, before, reason) in [
        (State::Active, Some(State::Active), None),
        (State::Inactive, None, reason),
        (State::Suspended, None, None),
        (State::Suspended, Some(State::Revoked), None),
        (State::Suspended, Some(State::Active), reason),
        (State::Revoked, None, None),
        (State::Deleted, Some(State::Active), None),
    ] {
        assert_eq!(Status::from_parts(state, before, reason), None, "{state} {before:?} {reason:?}");
    }
}

#[test]
fn numbers_are_those_of_the_wire() {
    assert_eq!(State::ALL.map(State::code), [1, 2, 3, 4, 5]);
    let reasons: Vec<u8> = RevocationReason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(reasons, [0, 1, 2, 3, 4, 5, 6, 9, 10]);
    assert!(State::ALL.iter().all(|&state| State::from_code(state.code()) == Some(state)));
    assert_eq!(State::from_code(0), None);
    assert_eq!(RevocationReason::from_code(7), None);
}
