//! Watch streams, from the broker's hello to the fence.
use std::sync::atomic::Ordering;

use revoq_credentials::Change;
use revoq_proto::v1::broker_message::{Farewell, Message, SessionsReply};
use revoq_proto::v1::control_message::SessionsQuery;
use revoq_proto::v1::{FenceState, FenceUpdate};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use super::rig::{NODE, Rig};

async fn next_update(fence: &mut (impl Stream<Item = Result<FenceUpdate, Status>> + Unpin)) -> FenceUpdate {
    let update = tokio::time::timeout(std::time::Duration::from_secs(10), fence.next()).await;
    update.expect("within 10 s").expect("the fence goes on").expect("no error")
}

#[tokio::test]
async fn a_new_broker_gets_a_snapshot_then_events_then_its_grant() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 0).await;
    assert_eq!(broker.hears().await, "snapshot 10");
    // The leader has committed 11, and this replica has not applied it.
    rig.ground.commit.store(11, Ordering::SeqCst);
    let mut proofs = rig.ground.proofs.subscribe();
    broker.renew(1, 10).await;
    proofs.wait_for(|proofs| *proofs >= 1).await.expect("the rig lives");
    rig.change(11, Vec::new());
    assert_eq!(broker.hears().await, "events 11");
    assert_eq!(broker.hears().await, "grant 1");
}

#[tokio::test]
async fn a_broker_resumes_and_learns_of_what_passed() {
    let rig = Rig::new();
    rig.change(11, Vec::new());
    rig.change(12, Vec::new());
    rig.pass(14);
    let mut broker = rig.broker(1, 11).await;
    assert_eq!(broker.hears().await, "events 12");
    broker.renew(1, 12).await;
    assert_eq!(broker.hears().await, "progress 14");
    assert_eq!(broker.hears().await, "grant 1");
    rig.pass(15);
    assert_eq!(broker.hears().await, "progress 15", "its resume point keeps up");
}

#[tokio::test]
async fn a_broker_that_read_nothing_for_long_reads_rows_or_begins_anew() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    rig.change(11, Vec::new());
    assert_eq!(broker.hears().await, "events 11");
    for revision in 12..=60 {
        rig.change(revision, Vec::new());
    }
    let first = broker.hears().await;
    assert!(first.starts_with("events 12 13 14"), "from the rows, all at once: {first}");
    assert!(first.ends_with(" 60"), "{first}");
    for revision in 61..=120 {
        rig.change(revision, Vec::new());
    }
    rig.ground.compacted.store(80, Ordering::SeqCst);
    assert_eq!(broker.hears().await, "snapshot 120");
    rig.change(121, Vec::new());
    assert_eq!(broker.hears().await, "events 121");
}

#[tokio::test]
async fn a_view_of_a_lost_history_begins_anew() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 5_000).await;
    assert_eq!(broker.hears().await, "snapshot 10");
    // One that is merely ahead of this replica waits.
    rig.ground.commit.store(20, Ordering::SeqCst);
    let mut ahead = rig.broker(1, 15).await;
    rig.pass(20);
    assert_eq!(ahead.hears().await, "progress 20");
}

#[tokio::test]
async fn one_stream_a_node() {
    let rig = Rig::new();
    let mut first = rig.broker(1, 0).await;
    assert_eq!(first.hears().await, "snapshot 10");
    let mut second = rig.broker(1, 10).await;
    assert_eq!(first.hears().await, "Aborted");
    rig.change(11, Vec::new());
    assert_eq!(second.hears().await, "events 11");
    assert_eq!(rig.links.watchers.count(), 1);
}

#[tokio::test]
async fn a_stream_begins_with_hello() {
    let rig = Rig::new();
    let mut broker = rig.stream();
    broker.renew(1, 0).await;
    assert_eq!(broker.hears().await, "InvalidArgument");
    assert_eq!(rig.links.watchers.count(), 0);
}

#[tokio::test]
async fn a_removed_node_is_told_and_sent_away() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    rig.change(11, vec![Change::NodeRemoved(NODE)]);
    assert_eq!(broker.hears().await, "events 11");
    broker.acknowledge(11, 3).await;
    assert_eq!(broker.hears().await, "PermissionDenied");
}

#[tokio::test]
async fn a_question_is_answered_in_parts() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 0).await;
    assert_eq!(broker.hears().await, "snapshot 10");
    let watcher = rig.links.watchers.all().pop().expect("the broker");
    let answer = watcher.ask(SessionsQuery::default()).expect("room");
    assert_eq!(broker.hears().await, "query 1");
    for more in [true, false] {
        let reply = SessionsReply { query: 1, count: 2, sessions: vec![Default::default()], more };
        broker.say(Message::Sessions(reply)).await;
    }
    let answer = answer.await.expect("answered");
    assert_eq!((answer.count, answer.sessions.len()), (2, 2));
}

#[tokio::test]
async fn a_fence_waits_for_the_gates() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    broker.renew(1, 10).await;
    assert_eq!(broker.hears().await, "grant 1");
    rig.change(11, Vec::new());
    let mut fence = Box::pin(rig.keeper.fence(11).await.expect("it leads"));
    let update = next_update(&mut fence).await;
    assert!(!update.complete);
    assert_eq!(update.nodes[0].state(), FenceState::Waiting);
    assert!(update.nodes[0].until_ms > 0);
    assert_eq!(broker.hears().await, "events 11");
    broker.acknowledge(11, 3).await;
    let update = next_update(&mut fence).await;
    assert!(update.complete);
    let node = &update.nodes[0];
    assert_eq!((node.state(), node.sessions_cut, node.gate_micros), (FenceState::Confirmed, 3, 50));
    assert!(node.confirmed_micros > 0);
    assert!(fence.next().await.is_none());
}

#[tokio::test]
async fn renewals_that_come_together_share_a_proof() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    for sequence in 1..=4 {
        broker.renew(sequence, 10).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    for sequence in 1..=4 {
        assert_eq!(broker.hears().await, format!("grant {sequence}"));
    }
    let proofs = *rig.ground.proofs.borrow();
    assert!((1..=3).contains(&proofs), "{proofs} proofs: the first at once, the others together");
}

#[tokio::test]
async fn a_fence_of_what_is_not_committed_is_refused() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    broker.renew(1, 10).await;
    assert_eq!(broker.hears().await, "grant 1");
    let refused = rig.keeper.fence(11).await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::OutOfRange));
}

#[tokio::test]
async fn a_new_leader_learns_what_the_last_one_knew() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    broker.renew(1, 10).await;
    assert_eq!(broker.hears().await, "grant 1");
    rig.change(11, Vec::new());
    assert_eq!(broker.hears().await, "events 11");
    let mut fence = Box::pin(rig.keeper.fence(11).await.expect("it leads"));
    assert!(!next_update(&mut fence).await.complete);
    broker.acknowledge(11, 2).await;
    assert!(next_update(&mut fence).await.complete);

    rig.reelect(2);
    rig.pass(12);
    assert_eq!(broker.hears().await, "progress 12");
    broker.acknowledge(12, 0).await;
    let mut fence = loop {
        // The new term is noticed a little later; until then the old one answers.
        match rig.keeper.fence(11).await {
            Ok(fence) => break Box::pin(fence),
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    };
    loop {
        let update = next_update(&mut fence).await;
        if update.complete {
            assert_eq!((update.nodes[0].state(), update.nodes[0].sessions_cut), (FenceState::Confirmed, 2));
            return;
        }
    }
}

#[tokio::test]
async fn a_leadership_that_the_keeper_has_not_heard_of_answers_no_fence() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    broker.renew(1, 10).await;
    assert_eq!(broker.hears().await, "grant 1");
    // It was deposed, another led and committed 11, and now it leads again; but nobody has told the keeper.
    rig.ground.term.store(3, Ordering::SeqCst);
    rig.change(11, Vec::new());
    let refused = rig.keeper.fence(11).await.err().map(|status| status.code());
    assert_eq!(refused, Some(Code::Unavailable), "the other may have granted leases");
    broker.acknowledge(11, 1).await;
    broker.renew(2, 11).await;
    assert_eq!(broker.hears().await, "events 11");
    rig.reelect(3);
    let mut fence = loop {
        match rig.keeper.fence(11).await {
            Ok(fence) => break Box::pin(fence),
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
        tokio::task::yield_now().await;
    };
    while !next_update(&mut fence).await.complete {}
    assert_eq!(broker.hears().await, "grant 2", "the renewal was told to the new leader");
}

#[tokio::test]
async fn a_farewell_completes_the_fence() {
    let rig = Rig::new();
    let mut broker = rig.broker(1, 10).await;
    broker.renew(1, 10).await;
    assert_eq!(broker.hears().await, "grant 1");
    rig.change(11, Vec::new());
    let mut fence = Box::pin(rig.keeper.fence(11).await.expect("it leads"));
    assert!(!next_update(&mut fence).await.complete);
    broker.say(Message::Farewell(Farewell {})).await;
    let update = next_update(&mut fence).await;
    assert!(update.complete);
    assert_eq!(update.nodes[0].state(), FenceState::Fenced);
}
