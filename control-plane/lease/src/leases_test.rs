//! The account of the leases, case by case.
use std::time::Duration;

use revoq_credentials::StaleGrace;

use super::*;

const NODE: u64 = 7;
/// 5 s and the margin of a lease; 10 s of grace and their drift.
const LEASE_END: Duration = Duration::from_millis(5_150);
const GRACE_END: Duration = Duration::from_millis(5_150 + 10_100);

const TERMS: Terms =
    Terms { lease: Duration::from_secs(5), grace: StaleGrace::Bounded(Duration::from_secs(10)) };

fn s(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

fn row(node: u64) -> NodeRow {
    NodeRow { node, name: format!("broker-{node}"), joined: 0 }
}

fn renewal(process: u8, sequence: u64) -> Renewal {
    Renewal { node: NODE, incarnation: IncarnationId([process; 16]), sequence }
}

fn ack(process: u8, revision: u64) -> Acknowledgement {
    Acknowledgement {
        node: NODE,
        incarnation: IncarnationId([process; 16]),
        revision,
        sessions: None,
        cuts: Vec::new(),
        farewell: false,
    }
}

/// A leader since 0 s with one node, settled at revision 10; the node has never asked for anything.
fn leader() -> Leases {
    let mut leases = Leases::new(TERMS);
    leases.elected(s(0), 1);
    leases.led(proof(1, 10));
    leases.rows(s(0), 10, []);
    assert!(leases.settled());
    leases.rows(s(0), 10, [row(NODE)]);
    leases
}

fn proof(term: u64, commit: u64) -> Proof {
    Proof { term, commit }
}

fn granted(leases: &mut Leases, now: Moment, process: u8, sequence: u64, commit: u64) -> Vec<Granted> {
    leases.renew(now, renewal(process, sequence)).expect("it leads and knows the node");
    let batch = leases.begin_proof().expect("a renewal waits");
    let term = leases.term().expect("it leads");
    leases.proved(&batch, proof(term, commit))
}

fn standing(leases: &Leases, now: Moment, target: u64) -> Standing {
    leases.fence(now, target, target)[0].standing
}

#[test]
fn a_node_without_a_lease_blocks_nothing() {
    let leases = leader();
    assert_eq!(standing(&leases, s(1), 11), Standing::Fenced { since: None });
    assert_eq!(leases.waiting(s(1), 11).nodes, 0);
}

#[test]
fn a_lease_blocks_until_the_ack() {
    let mut leases = leader();
    let grants = granted(&mut leases, s(1), 1, 1, 10);
    assert_eq!(grants, [Granted { renewal: renewal(1, 1), commit: 10, lease: s(5) }]);
    assert_eq!(standing(&leases, s(2), 11), Standing::Waiting { until: s(1) + GRACE_END });
    let cut = Cut { revision: 11, sessions: 3, gate: Duration::from_micros(40) };
    assert!(leases.acknowledge(s(2), Acknowledgement { cuts: vec![cut], ..ack(1, 11) }));
    let line = &leases.fence(s(3), 11, 11)[0];
    assert_eq!((line.standing, line.cut, line.received), (Standing::Confirmed, Some(cut), Some(s(2))));
    assert!(!leases.acknowledge(s(4), ack(1, 11)), "nothing new");
}

#[test]
fn a_fence_looks_at_one_node_after_the_other() {
    let mut leases = leader();
    leases.rows(s(0), 10, [row(1), row(2), row(3)]);
    for node in 1..=3 {
        let batch = {
            let wanted = Renewal { node, ..renewal(1, 1) };
            leases.renew(s(node), wanted).expect("it leads and knows the node");
            leases.begin_proof().expect("a renewal waits")
        };
        leases.proved(&batch, proof(leases.term().expect("it leads"), 10));
    }
    let mut nodes: Vec<u64> = leases.known().collect();
    assert_eq!(leases.waits_for_one(s(4), 11, &mut nodes), Some(s(3) + GRACE_END), "the last");
    leases.acknowledge(s(4), Acknowledgement { node: 1, ..ack(1, 11) });
    leases.acknowledge(s(4), Acknowledgement { node: 3, ..ack(1, 11) });
    assert_eq!(leases.waits_for_one(s(4), 11, &mut nodes), Some(s(2) + GRACE_END));
    assert_eq!(nodes, [1, 2], "the first was not looked at");
    assert_eq!(
        leases.waits_for_one(s(2) + GRACE_END, 11, &mut nodes),
        None,
        "time is over, and the other has said so"
    );
    assert!(nodes.is_empty());
}

#[test]
fn a_lease_blocks_until_it_and_its_grace_are_over() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    let end = s(1) + GRACE_END;
    assert!(matches!(standing(&leases, end - Duration::from_millis(1), 11), Standing::Waiting { .. }));
    assert_eq!(standing(&leases, end, 11), Standing::Fenced { since: Some(end) });
    assert_eq!(leases.waiting(end, 11), Waiting::default());
}

#[test]
fn without_a_bound_the_node_is_unconfirmed_after_its_lease() {
    let mut leases = leader();
    leases.set_terms(s(0), 5, Terms { grace: StaleGrace::Never, ..TERMS });
    granted(&mut leases, s(1), 1, 1, 10);
    assert_eq!(standing(&leases, s(2), 11), Standing::Waiting { until: s(1) + LEASE_END });
    assert_eq!(standing(&leases, s(7), 11), Standing::Unconfirmed { since: s(1) + LEASE_END });
    leases.acknowledge(s(8), ack(1, 11));
    assert_eq!(standing(&leases, s(8), 11), Standing::Confirmed);
}

#[test]
fn a_shorter_grace_holds_only_for_views_that_know_of_it() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    leases.set_terms(s(2), 11, Terms { grace: StaleGrace::Bounded(Duration::ZERO), ..TERMS });
    assert_eq!(standing(&leases, s(2), 12), Standing::Waiting { until: s(1) + GRACE_END });
    leases.acknowledge(s(2), ack(1, 11));
    assert_eq!(standing(&leases, s(2), 12), Standing::Waiting { until: s(1) + LEASE_END });
}

#[test]
fn a_renewal_blocks_from_its_receipt_until_its_proof_fails() {
    let mut leases = leader();
    leases.renew(s(1), renewal(1, 1)).expect("taken");
    assert!(matches!(standing(&leases, s(1), 11), Standing::Waiting { .. }), "a grant may be on its way");
    let batch = leases.begin_proof().expect("waits");
    assert!(leases.begin_proof().is_none(), "one proof for all");
    leases.failed(&batch);
    assert_eq!(standing(&leases, s(1), 11), Standing::Fenced { since: None });
    assert!(leases.proved(&batch, proof(1, 10)).is_empty(), "too late");
}

#[test]
fn a_renewal_that_comes_again_waits_for_one_proof_only() {
    let mut leases = leader();
    leases.renew(s(1), renewal(1, 1)).expect("taken");
    let first = leases.begin_proof().expect("waits");
    leases.renew(s(1), renewal(1, 1)).expect("it is known");
    assert!(leases.begin_proof().is_none(), "it waits for its proof already");
    leases.failed(&first);
    // 11 is committed, and its fence complete. A proof that began before must not grant at 10.
    assert_eq!(standing(&leases, s(1), 11), Standing::Fenced { since: None });
    leases.renew(s(1), renewal(1, 1)).expect("taken anew");
    let second = leases.begin_proof().expect("waits");
    assert!(matches!(standing(&leases, s(1), 11), Standing::Waiting { .. }));
    assert_eq!(leases.proved(&second, proof(1, 11)).len(), 1);
}

#[test]
fn a_proof_of_another_term_says_nothing() {
    let mut leases = leader();
    // It was deposed, and leads again in term 3; the account has not heard. In term 2 others granted leases.
    leases.renew(s(1), renewal(1, 1)).expect("taken");
    let batch = leases.begin_proof().expect("waits");
    assert!(leases.proved(&batch, proof(3, 30)).is_empty());
    leases.led(proof(3, 30));
    assert!(!leases.covers(20));
    // Now it has; a proof of the first term comes late.
    leases.elected(s(2), 3);
    leases.led(proof(1, 10));
    leases.rows(s(2), 10, [row(NODE)]);
    assert!(!leases.settled(), "nodes may have joined in term 2");
    leases.acknowledge(s(2), ack(1, 10));
    assert!(matches!(standing(&leases, s(2), 5), Standing::Waiting { .. }), "presumed leased");
    leases.led(proof(3, 30));
    leases.rows(s(2), 30, [row(NODE), row(8)]);
    assert!(leases.covers(30));
}

#[test]
fn a_grant_that_presupposes_the_revision_does_not_block_it() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    // It renews for ever, and never acknowledges 11: cut off in one direction.
    for second in 2..20 {
        granted(&mut leases, s(second), 1, second, 11);
    }
    let end = s(1) + GRACE_END;
    assert_eq!(standing(&leases, end, 11), Standing::Fenced { since: Some(end) });
    assert!(matches!(standing(&leases, end, 12), Standing::Waiting { .. }));
}

#[test]
fn a_process_that_does_not_keep_up_gets_no_more_leases() {
    let mut leases = leader();
    for second in 1..=16 {
        granted(&mut leases, s(second), 1, second, 10 + second);
    }
    assert_eq!(leases.renew(s(17), renewal(1, 17)), Err(Refused::TooMany(NODE)));
    assert_eq!(standing(&leases, s(17), 11), Standing::Fenced { since: None }, "all presuppose 11");
    assert_eq!(standing(&leases, s(16), 12), Standing::Waiting { until: s(1) + GRACE_END });
    leases.acknowledge(s(17), ack(1, 20));
    assert_eq!(standing(&leases, s(17), 20), Standing::Confirmed);
    assert_eq!(standing(&leases, s(17), 21), Standing::Waiting { until: s(10) + GRACE_END });
    assert_eq!(leases.renew(s(17), renewal(1, 17)), Ok(()));
}

#[test]
fn a_new_leader_presumes_old_leases() {
    let mut leases = leader();
    leases.elected(s(100), 2);
    assert!(!leases.settled());
    leases.led(proof(2, 20));
    assert!(!leases.covers(20));
    leases.rows(s(100), 19, [row(NODE), row(8)]);
    assert!(!leases.settled(), "rows of before the election");
    leases.rows(s(101), 20, [row(NODE), row(8)]);
    assert!(leases.settled());
    assert!(leases.covers(20));
    assert!(!leases.covers(21), "it may be of a later leader, who grants what we do not see");
    leases.rows(s(102), 21, [row(NODE), row(8), row(9)]);
    let end = s(100) + GRACE_END;
    let of =
        |leases: &Leases, now| leases.fence(now, 15, 15).iter().map(|line| line.standing).collect::<Vec<_>>();
    let waiting = Standing::Waiting { until: end };
    assert_eq!(
        of(&leases, s(102)),
        [waiting, waiting, Standing::Fenced { since: None }],
        "9 joined under us"
    );
    // An ack of this term lifts the presumption; one of before could be of any age.
    leases.acknowledge(s(103), ack(1, 19));
    assert_eq!(of(&leases, s(103))[0], waiting);
    leases.acknowledge(s(104), ack(1, 20));
    assert_eq!(of(&leases, s(104))[0], Standing::Confirmed);
    assert_eq!(of(&leases, end)[1], Standing::Fenced { since: Some(end) });
    // What the process itself may have been granted by the last leader still counts.
    assert_eq!(standing(&leases, s(104), 21), waiting);
}

#[test]
fn a_new_leader_presumes_the_longest_lease_that_may_still_run() {
    let mut leases = Leases::new(Terms { lease: s(60), ..TERMS });
    leases.set_terms(s(99), 15, TERMS);
    leases.elected(s(100), 2);
    leases.led(proof(2, 20));
    leases.rows(s(100), 20, [row(NODE)]);
    let Standing::Waiting { until } = standing(&leases, s(101), 20) else { panic!("presumed") };
    assert!(until > s(170), "60 s of lease and 10 s of grace: {until:?}");
}

#[test]
fn a_new_leader_presumes_no_grace_that_ended_before_the_node_joined() {
    let mut leases = Leases::new(TERMS);
    leases.set_terms(s(0), 5, Terms { grace: StaleGrace::Bounded(Duration::ZERO), ..TERMS });
    leases.elected(s(1), 1);
    leases.led(proof(1, 10));
    leases.rows(s(1), 10, [NodeRow { joined: 4, ..row(1) }, NodeRow { joined: 5, ..row(2) }]);
    let lines = leases.fence(s(1), 11, 11);
    assert_eq!(lines[0].standing, Standing::Waiting { until: s(1) + GRACE_END }, "its view may be older");
    assert_eq!(lines[1].standing, Standing::Waiting { until: s(1) + LEASE_END });
}

#[test]
fn the_next_process_of_a_node_ends_the_leases_of_the_one_before() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    // The process is killed; the next one begins with a snapshot of 10.
    granted(&mut leases, s(2), 2, 1, 10);
    leases.acknowledge(s(2), ack(2, 10));
    assert!(matches!(standing(&leases, s(2), 11), Standing::Waiting { .. }));
    leases.acknowledge(s(3), ack(2, 11));
    assert_eq!(
        standing(&leases, s(3), 11),
        Standing::Confirmed,
        "the first was alive before 11, the second after"
    );
    // A late message of the dead one takes nothing from the living one.
    leases.acknowledge(s(3), ack(1, 10));
    assert_eq!(standing(&leases, s(3), 11), Standing::Confirmed);
    assert!(matches!(standing(&leases, s(4), 12), Standing::Waiting { .. }));
}

#[test]
fn processes_whose_order_is_not_known_both_count() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    granted(&mut leases, s(2), 2, 1, 12);
    leases.acknowledge(s(3), ack(1, 12));
    assert!(matches!(standing(&leases, s(3), 13), Standing::Waiting { .. }));
    leases.acknowledge(s(3), ack(2, 13));
    assert_eq!(standing(&leases, s(3), 13), Standing::Confirmed);
}

#[test]
fn too_many_processes_are_refused_until_one_is_over() {
    let mut leases = leader();
    for process in 1..=8 {
        granted(&mut leases, s(1), process, 1, 10);
    }
    assert_eq!(leases.renew(s(2), renewal(9, 1)), Err(Refused::TooMany(NODE)));
    assert_eq!(leases.renew(s(30), renewal(9, 1)), Ok(()));
}

#[test]
fn a_farewell_ends_the_lease() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    leases.acknowledge(s(2), Acknowledgement { farewell: true, ..ack(1, 10) });
    assert_eq!(standing(&leases, s(2), 11), Standing::Fenced { since: None });
    assert_eq!(leases.renew(s(3), renewal(1, 2)), Err(Refused::Ended(NODE)), "a late one");
    assert_eq!(leases.renew(s(3), renewal(2, 1)), Ok(()), "the next process");
}

#[test]
fn a_removed_node_blocks_as_long_as_it_may_serve() {
    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    leases.rows(s(2), 12, []);
    assert_eq!(leases.renew(s(2), renewal(1, 2)), Err(Refused::Unknown(NODE)));
    assert_eq!(standing(&leases, s(2), 12), Standing::Waiting { until: s(1) + GRACE_END });
    leases.acknowledge(s(3), ack(1, 12));
    assert!(leases.fence(s(3), 12, 12).is_empty(), "it has cut everything");

    let mut leases = leader();
    granted(&mut leases, s(1), 1, 1, 10);
    leases.rows(s(2), 12, []);
    leases.elected(s(3), 2);
    leases.led(proof(2, 13));
    leases.rows(s(3), 13, []);
    assert_eq!(leases.waiting(s(4), 13).nodes, 1, "presumed, although its row is gone");
    leases.rows(s(20), 14, []);
    assert!(leases.fence(s(20), 14, 14).is_empty());
}

#[test]
fn only_a_leader_accounts() {
    let mut leases = leader();
    leases.deposed();
    assert_eq!(leases.renew(s(1), renewal(1, 1)), Err(Refused::NotLeading));
    assert!(!leases.acknowledge(s(1), ack(1, 11)));
    assert!(!leases.settled());
    let mut leases = leader();
    leases.renew(s(1), renewal(1, 1)).expect("leads");
    let batch = leases.begin_proof().expect("waits");
    leases.deposed();
    leases.elected(s(2), 3);
    assert!(
        leases.proved(&batch, proof(3, 11)).is_empty(),
        "a proof of an earlier term grants nothing in this one"
    );
}

#[test]
fn an_unknown_node_is_refused() {
    let mut leases = leader();
    let stranger = Renewal { node: 99, ..renewal(1, 1) };
    assert_eq!(leases.renew(s(1), stranger), Err(Refused::Unknown(99)));
    assert!(!leases.acknowledge(s(1), Acknowledgement { node: 99, ..ack(1, 11) }));
}

#[test]
fn the_status_follows_the_lease() {
    use super::status::NodeState;
    let mut leases = leader();
    let state = |leases: &Leases, now| leases.status(now)[0].state;
    assert_eq!(state(&leases, s(1)), NodeState::Gone);
    granted(&mut leases, s(1), 1, 1, 10);
    leases.acknowledge(s(1), Acknowledgement { sessions: Some(4), ..ack(1, 10) });
    let line = &leases.status(s(2))[0];
    assert_eq!((line.state, line.sessions, line.revision), (NodeState::Fresh, 4, 10));
    assert_eq!(line.until, Some(s(1) + LEASE_END));
    assert_eq!(state(&leases, s(10)), NodeState::Stale);
    assert_eq!(state(&leases, s(20)), NodeState::Fenced);
    assert!(leases.forgettable(s(20), s(60)).is_empty());
    assert_eq!(leases.forgettable(s(80), s(60)), [NODE]);
    leases.elected(s(100), 2);
    assert_eq!(state(&leases, s(101)), NodeState::Stale, "who knows");
    leases.set_terms(s(101), 30, Terms { grace: StaleGrace::Never, ..TERMS });
    assert!(leases.forgettable(s(1_000_000), s(60)).is_empty());
}
