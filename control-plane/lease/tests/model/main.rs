//! Lease, watch and fence, checked exhaustively: every state that small configurations can reach.
//!
//! Stands for `revoq_lease::Leases` and `Freshness`, `control/src/lease` (keeper, fences), `control/src/watch`
//! (watcher, outbound), `Group::prove_leadership`, and the broker's `control` (stream, apply). Each field and step names
//! what it stands for. `src/model.rs` walks at random through the real account; this is its abstract counterpart.
//!
//! The invariant: after the fence of r completed, no broker lets through whom r denied. 3 replicas, 2 brokers (some
//! features with 1: another broker only holds fences back), crashes, leader changes without end, messages that are
//! lost, late, twice or out of order, processes that are stopped (they take no step while time passes).
//!
//! What keeps it finite and loses nothing:
//!
//! - Revisions and terms are only compared, so they are renumbered; those before the last fence are one. At most
//!   `window` revisions are unfenced at a time. Every entry of the log denies somebody.
//! - A broker that can have a session of the denied has one. What a clock does within its margin shows only in when a
//!   lease is over: how far it lags is drawn when the renewal is sent; the slowest clock serves longest.
//! - A fence completes, and a leader proves itself, as soon as it can: later would complete less.
//! - A message stays in the network until it is useless: that covers loss, delay, repetition and order.
//! - A deposed leader grants nothing; what it would only count longer is dropped. So is a renewal that nobody waits for.
//!
//! Not in it: joins and removals of nodes, changes of settings, and the limits on holds and processes.
mod account;
mod config;
mod normal;
mod protocol;
mod steps;
mod world;

use config::{Config, Fault, Grace};
use protocol::{CUT, Protocol, Reachable};
use stateright::{Checker, HasDiscoveries, Model};
use world::{Past, REPLICAS, World};

/// Checks every state. There is no cut-off: the search ends when there is no state left.
fn check(name: &str, config: Config, reachable: &'static [Reachable]) {
    let checker = Protocol { config, reachable }.checker().spawn_bfs().join();
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {states} states, {steps} steps, depth {depth}");
    assert!(checker.is_done() && states > 1_000, "{name}: only {states} states");
    if let Some(path) = checker.discovery(CUT) {
        panic!("{name}: {path}");
    }
    checker.assert_properties();
}

fn is_long() -> bool {
    std::env::var_os("REVOQ_LONG").is_some()
}

/// Fails unless the fault leads to a counterexample.
fn find(config: Config) {
    let checker = Protocol { config, reachable: &[] }
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let path = checker.discovery(CUT);
    let path = path.unwrap_or_else(|| panic!("{:?} is not found in {states} states", config.fault));
    println!("{:?}: a counterexample of {} steps", config.fault, path.clone().into_actions().len());
    println!("{path}");
}

const ONE: Config = Config { brokers: 1, ..Config::MAIN };
const LATE: Config = Config { proofs_late: true, ..ONE };
const RESTARTS: Config = Config { restarts: true, ..ONE };

const TRACKED: &[Reachable] = &[
    ("a fence is complete by acks, and the broker serves", |_, world| {
        world.fenced > 0 && world.fenced == world.log && world.brokers[0].fresh > 0
    }),
    ("a fence is complete by expiry, and the broker is cut off", |_, world| {
        world.brokers[0].past == Past::Fenced
    }),
    ("it serves again", |_, world| world.brokers[0].past == Past::Healed),
    ("two leader changes", |_, world| world.elections == 3 && world.brokers[0].fresh > 0),
];

/// Everything has run out, and still the fence of the last revision is not complete.
fn is_unconfirmed(protocol: &Protocol, world: &World) -> bool {
    let leads = |replica: usize| {
        world.is_current(replica)
            && world.replicas[replica].account.is_some_and(|account| {
                !account.completes(world.log, &protocol.config) && account.nodes[0].presumed == 0
            })
    };
    world.brokers[0].fresh == 1 && world.brokers[0].swept < world.log && (0..REPLICAS).any(leads)
}

#[test]
fn two_brokers() {
    check("two brokers", Config::MAIN, &[]);
}

#[test]
fn two_brokers_with_grace() {
    check("two brokers with grace", Config { grace: Grace::Bounded(1), ..Config::MAIN }, &[]);
}

#[test]
fn without_a_bound_a_fence_stays_unconfirmed() {
    let unconfirmed: &[Reachable] = &[("a fence stays unconfirmed", is_unconfirmed)];
    check("grace without end", Config { grace: Grace::Never, acks_late: true, ..ONE }, unconfirmed);
}

#[test]
fn what_must_be_reachable_is() {
    check("tracked", Config { track: true, acks_late: true, lag_min: 0, ..ONE }, TRACKED);
}

#[test]
fn votes_that_not_all_have_heard_of() {
    check("votes", Config { votes: true, acks_late: true, ..ONE }, &[]);
}

#[test]
fn two_renewals_in_flight() {
    check("two renewals", Config { renewals: 2, ..ONE }, &[]);
}

#[test]
fn proofs_that_take_time_and_fail() {
    check("late proofs", LATE, &[]);
}

#[test]
fn processes_that_are_killed_or_say_farewell() {
    check("restarts", RESTARTS, &[]);
}

#[test]
fn the_larger_ones() {
    if is_long() {
        check("two brokers, late acks", Config { acks_late: true, ..Config::MAIN }, &[]);
        check("restarts, late acks", Config { acks_late: true, ..RESTARTS }, &[]);
        check("late proofs of two renewals", Config { renewals: 2, ..LATE }, &[]);
    }
}

macro_rules! faults {
    ($($name:ident: $fault:ident in $config:expr;)*) => { $(
        #[test]
        fn $name() {
            find(Config { fault: Fault::$fault, ..$config });
        }
    )* };
}

faults! {
    fault_no_quorum: NoQuorum in ONE;
    fault_grant_overtakes_its_events: GrantOvertakes in ONE;
    fault_old_leases_forgotten: OldLeasesForgotten in ONE;
    fault_clock_beyond_the_margin: ClockBeyondMargin in ONE;
    fault_deposed_leader_answers: DeposedAnswers in ONE;
    fault_ack_before_the_sweep: AckBeforeSweep in ONE;
    fault_fresh_from_receipt: FreshFromReceipt in ONE;
    fault_clock_looked_at_by_a_timer_only: TimerOnly in ONE;
    fault_grace_forgotten: GraceForgotten in Config { grace: Grace::Bounded(1), ..ONE };
    fault_unproven_forgotten: UnprovenForgotten in LATE;
    fault_ack_ends_any_other: AckEndsAnyOther in RESTARTS;
    fault_processes_overlap: ProcessesOverlap in RESTARTS;
    fault_grant_of_another_process: GrantOfAnotherProcess in RESTARTS;
    fault_sequence_of_the_stream: SequenceOfStream in ONE;
    fault_duplicate_queued: DuplicateQueued in LATE;
    fault_earlier_proof_counts: EarlierProofCounts in RESTARTS;
    fault_later_proof_counts: LaterProofCounts in ONE;
}
