use revoq_routing::Strategy;

use super::bench::{Bench, Connect};
use crate::config::Limits;
use crate::gate::Shut;
use crate::tls::tests::certificates::setting;

fn bench() -> Bench {
    Bench::new(Limits::default(), [setting("client_certificate", "optional")])
}

#[tokio::test]
async fn a_message_reaches_its_subscribers_before_it_is_acknowledged() {
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    assert_eq!(one.subscribe("meters/+/state").await, 1);
    assert_eq!(one.subscribe("meters/7/#").await, 1);
    two.publish("meters/7/state", b"on").await;
    assert_eq!(two.receive().await, Some((0x40, vec![0, 9])), "PUBACK, success");
    let (first, body) = one.receive().await.expect("one copy");
    assert_eq!((first, &body[body.len() - 2..]), (0x32, &b"on"[..]));
    one.ping().await;
    two.publish("elsewhere", b"x").await;
    assert_eq!(two.receive().await, Some((0x40, vec![0, 9, 0x10])), "PUBACK, no matching subscribers");
}

#[tokio::test]
async fn what_a_session_refuses_or_loses_is_counted_while_it_lives() {
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    assert_eq!(one.subscribe(&"/".repeat(128)).await, 0x8f);
    bench.until("a counted filter", |node| node.metrics.limits.filters.get() == 1).await;
    assert_eq!(one.subscribe("t").await, 1);
    // The subscriber reads nothing: its socket fills, then its queue, and more than the queue holds is dropped.
    let dropped = |node: &crate::node::Node| node.metrics.dropped.get();
    let payload = vec![0; 60_000];
    for _ in 0..2_000 {
        two.publish_lossy("t", &payload).await;
        if dropped(&bench.node) > 0 {
            break;
        }
    }
    bench.until("dropped messages", |node| dropped(node) > 0).await;
    assert_eq!(bench.node.registry.len(), 2, "both live");
}

#[tokio::test]
async fn retained_messages_come_as_retain_handling_says() {
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    let retained = |value: &[u8]| Some((0x31, [b"\x00\x03a/1\x00", value].concat()));
    let live = |value: &[u8]| Some((0x30, [b"\x00\x03a/1\x00", value].concat()));
    two.publish_retained("a/1", b"x").await;
    two.ping().await;
    assert_eq!(one.subscribe_with("a/+", 1).await, 1);
    assert_eq!(one.receive().await, retained(b"x"));
    assert_eq!(one.subscribe_with("a/+", 0x11).await, 1, "if it is new, and it is not");
    assert_eq!(one.subscribe_with("a/#", 0x21).await, 1, "never");
    one.ping().await;
    assert_eq!(one.subscribe_with("a/+", 1).await, 1, "at each SUBSCRIBE");
    assert_eq!(one.receive().await, retained(b"x"));
    two.publish_retained("a/1", b"y").await;
    assert_eq!(one.receive().await, live(b"y"), "to who subscribed before it is like any other");
    assert_eq!(one.subscribe_with("a/1", 0x11).await, 1);
    assert_eq!(one.receive().await, retained(b"y"));
    two.publish_retained("a/1", b"").await;
    assert_eq!(one.receive().await, live(b""));
    assert_eq!(one.subscribe_with("+/1", 1).await, 1);
    one.ping().await;
    assert_eq!(bench.node.router.retained(), (0, 0));
}

#[tokio::test]
async fn the_members_of_a_group_share_messages() {
    let bench = bench();
    let (mut one, mut two, mut other) =
        (bench.tcp("one").await, bench.tcp("two").await, bench.tcp("other").await);
    other.publish_retained("t", b"retained").await;
    other.ping().await;
    for member in [&mut one, &mut two] {
        assert_eq!(member.subscribe("$share/g/t").await, 1);
    }
    for payload in [b"1", b"2", b"3", b"4"] {
        other.publish_lossy("t", payload).await;
    }
    let packet = |payload: &[u8]| Some((0x30, [b"\x00\x01t\x00", payload].concat()));
    for (member, payloads) in [(&mut one, [b"1", b"3"]), (&mut two, [b"2", b"4"])] {
        for payload in payloads {
            assert_eq!(member.receive().await, packet(payload));
        }
        member.ping().await;
    }
    drop(one);
    bench.until("one member less", |node| node.registry.len() == 2).await;
    for payload in [b"5", b"6"] {
        other.publish_lossy("t", payload).await;
        assert_eq!(two.receive().await, packet(payload));
    }
}

#[tokio::test]
async fn a_group_that_sticks_to_a_member_moves_on_when_it_leaves() {
    let anonymous = [setting("client_certificate", "optional")];
    let bench = Bench::with_strategy(Strategy::Sticky, Limits::default(), anonymous);
    let (mut one, mut two, mut other) =
        (bench.tcp("one").await, bench.tcp("two").await, bench.tcp("other").await);
    for member in [&mut one, &mut two] {
        assert_eq!(member.subscribe("$share/g/t").await, 1);
    }
    let packet = |payload: &[u8]| Some((0x30, [b"\x00\x01t\x00", payload].concat()));
    for payload in [b"1", b"2", b"3"] {
        other.publish_lossy("t", payload).await;
        assert_eq!(one.receive().await, packet(payload));
    }
    drop(one);
    bench.until("one member less", |node| node.registry.len() == 2).await;
    for payload in [b"4", b"5"] {
        other.publish_lossy("t", payload).await;
        assert_eq!(two.receive().await, packet(payload));
    }
}

#[tokio::test]
async fn however_much_is_retained_all_of_it_comes() {
    const COUNT: u32 = 12_000;
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    for number in 0..COUNT {
        two.publish_retained(&format!("a/{number:05}"), b"x").await;
    }
    two.ping().await;
    assert_eq!(bench.node.router.retained().0, COUNT as usize);
    one.subscribe("a/+").await;
    for number in 0..COUNT {
        let (first, body) = one.receive().await.expect("it comes");
        assert_eq!((first, &body[2..9]), (0x31, format!("a/{number:05}").as_bytes()));
    }
    one.ping().await;
    assert_eq!(bench.node.metrics.dropped.get(), 0);
}

#[tokio::test]
async fn a_large_message_passes_whole() {
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    one.subscribe("t").await;
    let payload: Vec<u8> = (0..500_000_u32).map(|n| n.to_be_bytes()[3]).collect();
    two.publish("t", &payload).await;
    let (_, body) = one.receive().await.expect("it comes");
    assert_eq!(&body[body.len() - payload.len()..], payload);
}

#[tokio::test]
async fn what_leaves_takes_its_subscriptions_along() {
    let bench = bench();
    let mut one = bench.tcp("one").await;
    one.subscribe("a").await;
    one.subscribe("b/+").await;
    let space = bench.node.router.space(&revoq_credentials::TenantName::default());
    assert_eq!(space.len(), (2, 1));
    drop(one);
    bench.until("an empty table", |_| space.len() == (0, 0)).await;
    bench.until("an empty registry", |node| node.registry.len() == 0 && node.sessions.len() == (0, 0)).await;
    bench.until("no socket", |node| node.metrics.connections.get() == 0).await;
}

#[tokio::test]
async fn one_client_one_session() {
    let bench = bench();
    let mut one = bench.tcp("same").await;
    let mut two = bench.tcp("same").await;
    one.is_cut(0x8e).await;
    two.ping().await;
    bench.until("one session", |node| node.registry.len() == 1 && node.sessions.len() == (1, 0)).await;
    assert_eq!(bench.node.metrics.cuts(Shut::TakenOver).get(), 1);
}

#[tokio::test]
async fn a_client_without_an_id_gets_one() {
    let bench = bench();
    let (mut one, mut two) = (bench.tcp("").await, bench.tcp("").await);
    one.ping().await;
    two.ping().await;
    assert_eq!(bench.node.sessions.len(), (2, 0));
}

#[tokio::test]
async fn draining_tells_everybody_and_takes_nobody() {
    let bench = bench();
    let mut one = bench.tcp("one").await;
    assert_eq!(bench.node.drain(), 1);
    one.is_cut(0x8b).await;
    assert_eq!(bench.node.unready(), Some("the node is shutting down"));
    bench.until("a closed port", |_| std::net::TcpStream::connect(bench.tcp).is_err()).await;
}

#[tokio::test]
async fn what_came_before_the_end_counts_though_it_had_to_wait() {
    let session = revoq_session::Config { publish_rate_max: Some(20), ..revoq_session::Config::default() };
    let limits = Limits { session, ..Limits::default() };
    let bench = Bench::new(limits, [setting("client_certificate", "optional")]);
    let mut witness = bench.tcp("witness").await;
    assert_eq!((witness.subscribe("t").await, witness.subscribe("will").await), (1, 1));
    let with_will = Connect { clean_start: true, expiry_s: 0, will_delay_s: Some(0) };
    let (mut hasty, _) = bench.tcp_with("hasty", with_will).await;
    // At once come 20; the others wait, and DISCONNECT behind them.
    for _ in 0..30 {
        hasty.publish_lossy("t", b"m").await;
    }
    hasty.send(&[0xe0, 0]).await;
    drop(hasty);
    for _ in 0..30 {
        let (first, body) = witness.receive().await.expect("a message");
        assert_eq!((first, body.last()), (0x30, Some(&b'm')));
    }
    bench.until("its end", |node| node.registry.len() == 1).await;
    // No will came.
    witness.ping().await;
}
