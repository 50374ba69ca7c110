//! Many watchers of one replica: each sees everything once, and slow ones are no burden to the others.
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use revoq_credentials::{MemoryStore, NodeId};
use tokio::task::JoinSet;

use super::links::SNAPSHOTS_MAX;
use super::rig::{Broker, Rig};
use super::snapshot::tests::state;

/// Reads until an event of this revision came: every revision that it was told of as an event, and its snapshots.
async fn read_to(broker: &mut Broker, last: u64) -> (Vec<u64>, usize) {
    let (mut seen, mut snapshots) = (Vec::new(), 0);
    while seen.last() != Some(&last) {
        let heard = broker.hears().await;
        match heard.split_once(' ').expect("a kind and revisions") {
            ("events", revisions) => {
                seen.extend(revisions.split(' ').map(|revision| revision.parse::<u64>().expect("a number")));
            }
            ("snapshot", _) => snapshots += 1,
            ("progress", _) => {}
            other => panic!("{other:?}"),
        }
    }
    (seen, snapshots)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_sees_each_event_once_and_in_order() {
    const BROKERS: u64 = 300;
    let rig = Rig::new();
    let mut readers = JoinSet::new();
    for node in 0..BROKERS {
        let mut broker = rig.broker_of(NodeId(1_000 + node), 1, 10).await;
        readers.spawn(async move {
            // Some read at once, others when the ring has forgotten what comes next.
            tokio::time::sleep(Duration::from_millis(node % 50)).await;
            read_to(&mut broker, 210).await
        });
    }
    for revision in 11..=210 {
        rig.change(revision, Vec::new());
        if revision % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let expected: Vec<u64> = (11..=210).collect();
    let mut read = 0;
    while let Some(ended) = readers.join_next().await {
        let (seen, snapshots) = ended.expect("it reads on");
        assert_eq!((&seen, snapshots), (&expected, 0));
        read += 1;
    }
    assert_eq!(read, BROKERS);
}

#[tokio::test]
async fn a_resume_point_older_than_what_is_kept_gets_a_snapshot() {
    let rig = Rig::new();
    for revision in 11..=60 {
        rig.change(revision, Vec::new());
    }
    rig.ground.compacted.store(40, std::sync::atomic::Ordering::SeqCst);
    let mut old = rig.broker(1, 20).await;
    assert_eq!(old.hears().await, "snapshot 60");
    let mut just = rig.broker(2, 40).await;
    let (seen, snapshots) = read_to(&mut just, 60).await;
    assert_eq!((seen, snapshots), ((41..=60).collect(), 0), "from the rows, then from the ring");
    let mut new = rig.broker(3, 0).await;
    assert_eq!(new.hears().await, "snapshot 60");
    let mut foreign = rig.broker(4, 9_999).await;
    assert_eq!(foreign.hears().await, "snapshot 60");
    for (reason, times) in [("compacted", 1), ("new", 1), ("foreign", 1), ("oversized", 0)] {
        assert_eq!(rig.links.counts.snapshots_of(reason), times, "{reason}");
    }
    assert_eq!(rig.links.counts.cut_off_of("replaced"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_that_nobody_takes_do_not_keep_others_waiting() {
    // More than one chunk, so that a broker that takes the first has not taken all.
    static STATE: LazyLock<MemoryStore> = LazyLock::new(|| state(2_500));
    LazyLock::force(&STATE);
    let rig = Rig::of_state(Some(|| STATE.clone()));
    let mut slow = Vec::new();
    for node in 0..SNAPSHOTS_MAX as u64 {
        let mut broker = rig.broker_of(NodeId(1_000 + node), 1, 0).await;
        assert_eq!(broker.hears().await, "snapshot 10");
        slow.push(broker);
    }
    let begun = Instant::now();
    let mut waits = rig.broker(1, 0).await;
    let mut resumes = rig.broker_of(NodeId(2_000), 1, 10).await;
    rig.change(11, Vec::new());
    assert_eq!(resumes.hears().await, "events 11", "who needs no snapshot notices nothing");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(waits.hears().await, "snapshot 11");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(rig.links.counts.cut_off_of("stalled") >= 1);
    assert_eq!(rig.links.counts.limit_of("snapshots"), 1);
    let mut first = slow.swap_remove(0);
    assert_eq!(first.hears().await, "Aborted", "and may come again");
}
