//! The steps of the walks of `model.rs`, and how they are drawn.
use proptest::collection::vec;
use proptest::prelude::*;

pub(super) const REPLICAS: usize = 3;
pub(super) const BROKERS: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Pass(u16),
    Commit,
    ChangeTerms(u8, u8),
    Apply(usize),
    Elect(usize),
    Restart(usize),
    /// A broker joins that was not there.
    Join(usize),
    Events(usize, u8),
    Renew(usize),
    Acknowledge(usize),
    Carry(u8, usize),
    BeginProof(usize),
    Prove(u8),
    FinishProof(u8),
    Grant(u8),
    /// A renewal that goes all the way without delay.
    Lease(usize, usize),
    /// The leader proves itself and reads the rows.
    Settle(usize),
    Fence(usize, u8),
}

pub(super) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let broker = || 0..BROKERS;
    let replica = || 0..REPLICAS;
    let action = prop_oneof![
        5 => (1..6_000_u16).prop_map(Action::Pass),
        3 => Just(Action::Commit),
        1 => (1..5_u8, 0..8_u8).prop_map(|(lease, grace)| Action::ChangeTerms(lease, grace)),
        3 => replica().prop_map(Action::Apply),
        1 => replica().prop_map(Action::Elect),
        1 => broker().prop_map(Action::Restart),
        2 => broker().prop_map(Action::Join),
        3 => (broker(), any::<u8>()).prop_map(|(b, n)| Action::Events(b, n)),
        4 => broker().prop_map(Action::Renew),
        3 => broker().prop_map(Action::Acknowledge),
        6 => (any::<u8>(), replica()).prop_map(|(n, r)| Action::Carry(n, r)),
        5 => replica().prop_map(Action::BeginProof),
        5 => any::<u8>().prop_map(Action::Prove),
        5 => any::<u8>().prop_map(Action::FinishProof),
        5 => any::<u8>().prop_map(Action::Grant),
        4 => (broker(), replica()).prop_map(|(b, r)| Action::Lease(b, r)),
        3 => replica().prop_map(Action::Settle),
        6 => (replica(), any::<u8>()).prop_map(|(r, n)| Action::Fence(r, n)),
    ];
    vec(action, 20..220)
}
