//! The search against a naive one: every order of every subset of the unknown changes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;

/// Does an order explain the answers? Tries all of them.
fn naive(records: &[Record], taken: &mut Vec<bool>, register: Register) -> bool {
    let open: Vec<usize> = (0..records.len()).filter(|n| !taken[*n]).collect();
    let must = |n: &&usize| records[**n].outcome != Outcome::Unknown;
    let Some(first_answer) = open.iter().filter(must).map(|n| records[*n].responded).min() else {
        return true;
    };
    for n in open {
        let record = &records[n];
        // Nothing is left behind that was answered before this was asked.
        if first_answer < record.invoked {
            continue;
        }
        let after = match (record.action, record.outcome) {
            (Action::Change(change), Outcome::Done { .. } | Outcome::Unknown) => register.after(change),
            (Action::Change(change), Outcome::Refused { state }) => {
                (register.after(change).is_none() && register.state() == state).then_some(register)
            }
            (Action::Read, Outcome::Seen { state, .. }) => (register.state() == state).then_some(register),
            (Action::Connect { .. }, _) => register.used(),
            _ => unreachable!("not made here"),
        };
        if let Some(after) = after {
            taken[n] = true;
            let explained = naive(records, taken, after);
            taken[n] = false;
            if explained {
                return true;
            }
        }
    }
    false
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let kind = prop_oneof![4 => Just(Change::Suspend), 4 => Just(Change::Reactivate), 1 => Just(Change::Revoke),
        1 => Just(Change::Delete)];
    let state = prop::sample::select(&State::ALL[..]);
    let one =
        (kind, state, 0..8_u8, 0..24_u64, 0..10_u64).prop_map(|(kind, state, which, invoked, lasts)| {
            let times = (invoked, invoked + lasts);
            match which {
                0..=2 => change(0, kind, times, done(1)),
                3 => change(0, kind, times, Outcome::Refused { state }),
                4 => record(0, Action::Change(kind), (invoked, None), Outcome::Unknown),
                // A use that is reported in the end or never, as the search takes it.
                5 => record(0, Action::Connect { broker: 0 }, (invoked, None), Outcome::Unknown),
                _ => record(0, Action::Read, times, seen(state)),
            }
        });
    vec(one, 1..8)
}

proptest! {
    #![proptest_config(cases(4_096, 500_000))]

    #[test]
    fn the_search_agrees_with_the_naive_one(records in records()) {
        let expected = naive(&records, &mut vec![false; records.len()], Register::Inactive);
        prop_assert_eq!(linearizable(&history(records)).is_empty(), expected);
    }
}

/// Both verdicts come up often enough to mean something.
#[test]
fn random_records_are_of_both_kinds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut explained = 0;
    for _ in 0..1_000 {
        let records = records().new_tree(&mut runner).expect("records are made").current();
        explained += usize::from(linearizable(&history(records)).is_empty());
    }
    assert!((150..850).contains(&explained), "{explained} of 1000 histories have an order");
}
