//! Sessions that outlive their connections.

use revoq_credentials::{Change, Fingerprint, State};

use super::bench::{Bench, Client, Connect};
use crate::config::Limits;
use crate::tls::tests::certificates::setting;

const LASTING: Connect = Connect { clean_start: false, expiry_s: 3600, will_delay_s: None };

fn bench_with(limits: Limits) -> Bench {
    Bench::new(limits, [setting("client_certificate", "optional")])
}

fn bench() -> Bench {
    bench_with(Limits::default())
}

/// The client's connection ends without a word, and its session is kept.
async fn goes_away<S>(bench: &Bench, client: Client<S>) {
    let before = bench.node.sessions.len().1;
    drop(client);
    bench.until("a kept session", |node| node.sessions.len().1 > before).await;
}

/// The payload of the next PUBLISH, its first byte, and its packet identifier.
async fn publish<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<S>,
) -> (u8, u16, Vec<u8>) {
    let (first, body) = client.receive().await.expect("a PUBLISH");
    assert_eq!(first >> 4, 3, "{first:x} {body:?}");
    let id_at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    (first, u16::from_be_bytes([body[id_at], body[id_at + 1]]), body[id_at + 3..].to_vec())
}

#[tokio::test]
async fn what_comes_while_the_client_is_away_waits_for_it() {
    let bench = bench();
    let (mut one, present) = bench.tcp_with("one", LASTING).await;
    assert!(!present);
    one.subscribe("t").await;
    let mut two = bench.tcp("two").await;
    two.publish("t", b"1").await;
    assert_eq!(publish(&mut one).await, (0x32, 1, b"1".to_vec()));
    goes_away(&bench, one).await;
    two.receive().await;
    two.publish("t", b"2").await;
    assert_eq!(two.receive().await, Some((0x40, vec![0, 9])), "the session takes it");
    two.publish_lossy("t", b"lost").await;
    two.ping().await;
    bench.node.measure();
    assert_eq!(bench.node.metrics.queued_bytes.get(), 2);
    let (mut one, present) = bench.tcp_with("one", LASTING).await;
    assert!(present);
    assert_eq!(publish(&mut one).await, (0x3a, 1, b"1".to_vec()), "again, with DUP");
    assert_eq!(publish(&mut one).await, (0x32, 2, b"2".to_vec()));
    two.publish("t", b"3").await;
    assert_eq!(publish(&mut one).await, (0x32, 3, b"3".to_vec()), "it is still subscribed");
    bench.node.measure();
    assert_eq!((bench.node.metrics.queued_bytes.get(), bench.node.metrics.sessions_resumed.get()), (0, 1));
}

#[tokio::test]
async fn a_connection_that_is_taken_over_hands_its_session_on() {
    let bench = bench();
    let (mut one, _) = bench.tcp_with("one", LASTING).await;
    one.subscribe("t").await;
    let mut two = bench.tcp("two").await;
    for payload in [b"1", b"2"] {
        two.publish("t", payload).await;
        two.receive().await;
    }
    let (mut again, present) = bench.tcp_with("one", LASTING).await;
    assert!(present);
    assert_eq!(publish(&mut again).await.2, b"1");
    assert_eq!(publish(&mut again).await.2, b"2");
    let (mut clean, present) = bench.tcp_with("one", Connect { clean_start: true, ..LASTING }).await;
    assert!(!present);
    again.is_cut(0x8e).await;
    clean.ping().await;
    two.publish("t", b"3").await;
    assert_eq!(two.receive().await, Some((0x40, vec![0, 9, 0x10])), "nobody subscribes any more");
    assert_eq!(bench.node.sessions.len(), (2, 0));
}

#[tokio::test]
async fn many_claims_at_once_leave_one_connection_and_its_session() {
    let bench = bench();
    let (mut first, _) = bench.tcp_with("one", LASTING).await;
    first.subscribe("t").await;
    let attempts = (0..16).map(|_| async {
        let mut client =
            Client { stream: tokio::net::TcpStream::connect(bench.tcp).await.expect("it listens") };
        client.connect_with("one", LASTING).await
    });
    for (present, reason) in futures_util::future::join_all(attempts).await {
        assert!(reason == 0x87 || present, "{reason:x}");
    }
    bench.until("one session", |node| node.sessions.len() == (0, 1) && node.registry.len() == 0).await;
    let mut two = bench.tcp("two").await;
    two.publish("t", b"1").await;
    assert_eq!(two.receive().await, Some((0x40, vec![0, 9])), "it is still subscribed");
    assert_eq!(publish(&mut bench.tcp_with("one", LASTING).await.0).await.2, b"1");
}

#[tokio::test]
async fn sessions_end_when_their_time_is_over_and_their_wills_do_not_wait() {
    let bench = bench();
    let mut witness = bench.tcp("witness").await;
    witness.subscribe("will").await;
    let (one, _) = bench.tcp_with("one", Connect { expiry_s: 1, will_delay_s: Some(60), ..LASTING }).await;
    goes_away(&bench, one).await;
    bench.until("an end", |node| node.sessions.len() == (1, 0)).await;
    let (_, body) = witness.receive().await.expect("the will");
    assert!(body.ends_with(b"gone"));
    assert_eq!(bench.node.metrics.sessions_expired.get(), 1);
    let (_, present) = bench.tcp_with("one", LASTING).await;
    assert!(!present);
}

#[tokio::test]
async fn a_will_waits_for_its_delay_unless_the_client_is_back() {
    let bench = bench();
    let mut witness = bench.tcp("witness").await;
    witness.subscribe("will").await;
    let delayed = Connect { will_delay_s: Some(1), ..LASTING };
    let (one, _) = bench.tcp_with("one", delayed).await;
    goes_away(&bench, one).await;
    let (one, present) = bench.tcp_with("one", delayed).await;
    assert!(present);
    goes_away(&bench, one).await;
    let away = std::time::Instant::now();
    let (first, body) = witness.receive().await.expect("the will");
    assert_eq!((first, &body[body.len() - 4..]), (0x30, &b"gone"[..]));
    assert!(away.elapsed().as_millis() >= 900, "{:?}", away.elapsed());
    witness.ping().await;
    assert_eq!(bench.node.sessions.len(), (1, 1), "the session goes on");
}

#[tokio::test]
async fn a_session_that_begins_anew_releases_the_will_of_the_one_before() {
    let bench = bench();
    let mut witness = bench.tcp("witness").await;
    witness.subscribe("will").await;
    let (one, _) = bench.tcp_with("one", Connect { will_delay_s: Some(60), ..LASTING }).await;
    goes_away(&bench, one).await;
    bench.tcp("one").await;
    assert!(witness.receive().await.expect("the will").1.ends_with(b"gone"));
}

#[tokio::test]
async fn limits_of_sessions_that_wait() {
    let session = revoq_session::Config { queue_max: 2, ..Limits::default().session };
    let limits = Limits { sessions_away_max: 1, session, ..Limits::default() };
    let bench = bench_with(Limits { queued_bytes_max: 1_000, ..limits });
    let (mut one, _) = bench.tcp_with("one", LASTING).await;
    one.subscribe("t").await;
    goes_away(&bench, one).await;
    drop(bench.tcp_with("two", LASTING).await);
    bench.until("a session that is not kept", |node| node.metrics.limits.sessions.get() == 1).await;
    let mut three = bench.tcp("three").await;
    for payload in ["1", "2", "3"] {
        three.publish("t", payload.as_bytes()).await;
        three.receive().await;
    }
    assert_eq!(bench.node.metrics.limits.queued.get(), 1);
    let (mut one, _) = bench.tcp_with("one", LASTING).await;
    assert_eq!(publish(&mut one).await.2, b"1");
    assert_eq!(publish(&mut one).await.2, b"2");
    one.ping().await;
}

#[tokio::test]
async fn a_revocation_discards_the_session_and_a_suspension_does_not() {
    let bench = bench();
    let tenant = |state| Change::Tenant {
        name: revoq_credentials::TenantName::default(),
        state,
        created: revoq_credentials::Millis(0),
    };
    let (mut one, _) = bench.tcp_with("one", LASTING).await;
    one.subscribe("t").await;
    assert_eq!(bench.apply(tenant(State::Suspended)), 1);
    one.is_cut(0x98).await;
    bench.until("a kept session", |node| node.sessions.len() == (0, 1)).await;
    bench.apply(tenant(State::Active));
    let (mut one, present) = bench.tcp_with("one", LASTING).await;
    assert!(present);
    assert_eq!(bench.apply(tenant(State::Revoked)), 1);
    one.is_cut(0x98).await;
    bench.until("no session", |node| node.sessions.len() == (0, 0) && node.registry.len() == 0).await;
    bench.apply(tenant(State::Active));
    let (one, present) = bench.tcp_with("one", LASTING).await;
    assert!(!present);
    goes_away(&bench, one).await;
    bench.apply(tenant(State::Deleted));
    assert_eq!(bench.node.sessions.len(), (0, 0), "one whose client is away goes as well");
    assert!(bench.node.sessions.discard(Some(&Fingerprint([0; 32])), &|_| true).is_empty());
}

#[tokio::test]
async fn a_member_of_a_group_that_is_away_gets_what_no_other_takes() {
    let bench = bench();
    let (mut away, _) = bench.tcp_with("away", LASTING).await;
    let mut here = bench.tcp("here").await;
    away.subscribe("$share/g/t").await;
    here.subscribe("$share/g/t").await;
    goes_away(&bench, away).await;
    let mut publisher = bench.tcp("publisher").await;
    for payload in [b"1", b"2", b"3"] {
        publisher.publish("t", payload).await;
        publisher.receive().await;
        assert_eq!(publish(&mut here).await.2, payload);
    }
    drop(here);
    bench.until("one client", |node| node.registry.len() == 1).await;
    publisher.publish("t", b"4").await;
    assert_eq!(publisher.receive().await, Some((0x40, vec![0, 9])));
    let (mut away, _) = bench.tcp_with("away", LASTING).await;
    for payload in [b"1", b"2", b"3", b"4"] {
        assert_eq!(publish(&mut away).await.2, payload, "the other had not acknowledged the first three");
    }
}

#[tokio::test]
async fn what_a_member_of_a_group_did_not_acknowledge_goes_to_another_when_its_session_ends() {
    let bench = bench();
    let (mut one, mut publisher) = (bench.tcp("one").await, bench.tcp("publisher").await);
    one.subscribe("$share/g/+").await;
    for topic in ["a", "b"] {
        publisher.publish(topic, topic.as_bytes()).await;
        publisher.receive().await;
        assert_eq!(publish(&mut one).await.2, topic.as_bytes());
    }
    one.send(&[0x40, 2, 0, 2]).await;
    one.ping().await;
    let (mut two, _) = bench.tcp_with("two", LASTING).await;
    two.subscribe("$share/g/+").await;
    drop(one);
    assert_eq!(publish(&mut two).await.2, b"a", "b was acknowledged");
    two.ping().await;
    goes_away(&bench, two).await;
    // Nobody else is there: it stays with the session, until that ends.
    let mut three = bench.tcp("three").await;
    three.subscribe("$share/g/+").await;
    bench.tcp("two").await;
    assert_eq!(publish(&mut three).await.2, b"a");
}

/// What comes between the last read or write and the end of the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_the_moment_at_which_a_connection_breaks() {
    const MESSAGES: u8 = 150;
    let bench = bench();
    let mut two = bench.tcp("two").await;
    for round in 0..40 {
        let (mut one, _) = bench.tcp_with("one", Connect { clean_start: true, ..LASTING }).await;
        one.subscribe("t").await;
        one.stream.set_zero_linger().expect("a reset");
        let flood = async {
            for number in 0..MESSAGES {
                two.publish("t", &[number]).await;
                assert_eq!(two.receive().await, Some((0x40, vec![0, 9])));
            }
        };
        let leave = async {
            tokio::time::sleep(std::time::Duration::from_micros(200 * round)).await;
            drop(one);
        };
        tokio::join!(flood, leave);
        let (mut one, present) = bench.tcp_with("one", LASTING).await;
        assert!(present);
        for number in 0..MESSAGES {
            assert_eq!(publish(&mut one).await.2, [number], "round {round}");
        }
    }
}
