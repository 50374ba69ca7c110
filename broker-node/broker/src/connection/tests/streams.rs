//! Data streams of MQTT over QUIC, through quinn's client.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use quinn::Connection;
use revoq_credentials::Change;
use rustls::version::TLS13;

use super::bench::{Bench, Connect};
use super::quic::{Quic, closed, open, with_authority};
use crate::config::Limits;
use crate::gate::Shut;
use crate::tls::tests::certificates::{denied, setting};
use crate::tls::tests::client;

fn optional() -> Change {
    setting("client_certificate", "optional")
}

fn bench() -> Bench {
    Bench::new(Limits::default(), [optional()])
}

/// A client that is let in, without a certificate.
async fn connected(bench: &Bench, name: &str) -> (Connection, Quic) {
    let (connection, mut control) = open(bench.multi_stream, &client(None, &TLS13)).await;
    assert_eq!(control.connect(name).await, 0);
    (connection, control)
}

/// A further stream.
async fn data(connection: &Connection) -> Quic {
    let (send, receive) = connection.open_bi().await.expect("a stream");
    Quic { stream: tokio::io::join(receive, send) }
}

impl Quic {
    fn finish(&mut self) {
        self.stream.writer_mut().finish().expect("it is open");
    }

    /// PUBLISH of QoS 1 with this payload; its packet identifier.
    async fn message(&mut self, payload: &[u8]) -> [u8; 2] {
        let (first, body) = self.receive().await.expect("a message");
        assert_eq!(first & 0xf6, 0x32, "PUBLISH of QoS 1, not {first:02x}");
        assert!(body.ends_with(payload), "{body:?}");
        let topic = usize::from(body[1]);
        [body[2 + topic], body[3 + topic]]
    }

    async fn acknowledge(&mut self, [high, low]: [u8; 2]) {
        self.send(&[0x40, 2, high, low]).await;
    }

    async fn is_acknowledged(&mut self) {
        let (first, body) = self.receive().await.expect("an answer");
        assert_eq!((first, &body[..2]), (0x40, &[0, 9][..]), "PUBACK");
    }
}

#[tokio::test]
async fn each_stream_has_its_answers_and_its_messages() {
    let bench = bench();
    let (connection, mut control) = connected(&bench, "one").await;
    let mut streams = Vec::new();
    for number in 0..4 {
        let mut stream = data(&connection).await;
        assert_eq!(stream.subscribe(&format!("s/{number}")).await, 1);
        streams.push(stream);
    }
    assert_eq!(bench.node.metrics.data_streams.get(), 4);
    assert_eq!(control.subscribe("s/+").await, 1);
    // The same packet identifier at once on all, and on the control stream.
    control.publish("x", b"").await;
    for stream in &mut streams {
        stream.publish("x", b"").await;
    }
    for stream in streams.iter_mut().chain([&mut control]) {
        stream.is_acknowledged().await;
    }
    let mut tcp = bench.tcp("tcp").await;
    for number in (0..4).rev() {
        tcp.publish(&format!("s/{number}"), &vec![number; 100_000]).await;
    }
    for (number, stream) in (0..4).zip(&mut streams) {
        let id = stream.message(&vec![number; 100_000]).await;
        stream.acknowledge(id).await;
    }
    // Subscriptions of two streams are two messages, each in the order of its stream.
    for number in (0..4).rev() {
        let id = control.message(&vec![number; 100_000]).await;
        control.acknowledge(id).await;
    }
    control.ping().await;
    connection.close(0_u8.into(), b"");
    bench.until("no data stream", |node| node.metrics.data_streams.get() == 0).await;
}

#[tokio::test]
async fn what_is_retained_comes_on_the_stream_that_subscribes() {
    let bench = bench();
    let mut tcp = bench.tcp("tcp").await;
    for number in 0..100 {
        tcp.publish_retained(&format!("r/{number}"), b"kept").await;
    }
    tcp.ping().await;
    let (connection, mut control) = connected(&bench, "one").await;
    let mut stream = data(&connection).await;
    assert_eq!(stream.subscribe("r/#").await, 1);
    for _ in 0..100 {
        let (first, _) = stream.receive().await.expect("a message");
        assert_eq!(first, 0x31);
    }
    control.ping().await;
}

#[tokio::test]
async fn what_comes_before_connack_waits_for_it() {
    let bench = bench();
    let (connection, mut control) = open(bench.multi_stream, &client(None, &TLS13)).await;
    let mut early = data(&connection).await;
    let subscribe = tokio::spawn(async move { (early.subscribe("t").await, early) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!subscribe.is_finished());
    assert_eq!((bench.node.registry.len(), bench.node.metrics.data_streams.get()), (0, 0));
    assert_eq!(control.connect("early").await, 0);
    let (granted, mut early) = subscribe.await.expect("it ends");
    assert_eq!(granted, 1);
    control.publish("t", b"m").await;
    early.message(b"m").await;
    // Who is refused never had any.
    let (connection, mut refused) = open(bench.multi_stream, &client(None, &TLS13)).await;
    let mut stream = data(&connection).await;
    stream.publish("t", b"never").await;
    bench.until("its handshake", |node| node.metrics.handshakes.quic.get() == 2).await;
    bench.apply(setting("client_certificate", "required"));
    assert_eq!(refused.connect("refused").await, 0x87);
    closed(&connection).await;
    assert_eq!(bench.node.metrics.published.get(), 1);
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other_and_then_is_too_slow() {
    let session = revoq_session::Config { queue_max: 5, ..revoq_session::Config::default() };
    let bench = Bench::new(Limits { session, ..Limits::default() }, [optional()]);
    let (connection, mut control) = connected(&bench, "one").await;
    let (mut deaf, mut other) = (data(&connection).await, data(&connection).await);
    assert_eq!((deaf.subscribe("deaf").await, other.subscribe("other").await), (1, 1));
    let mut tcp = bench.tcp("tcp").await;
    let payload = vec![7; 500_000];
    // More than the client's window and every buffer take.
    while bench.node.metrics.dropped.get() == 0 {
        tcp.publish_lossy("deaf", &payload).await;
        tcp.publish("other", b"on time").await;
        tcp.receive().await.expect("PUBACK");
        let id = other.message(b"on time").await;
        other.acknowledge(id).await;
        other.publish("x", b"").await;
        other.is_acknowledged().await;
        control.ping().await;
    }
    for _ in 0..10 {
        tcp.publish("deaf", &payload).await;
        tcp.receive().await.expect("PUBACK");
    }
    control.is_cut(0x97).await;
    closed(&connection).await;
    bench.until("the others alone", |node| node.registry.len() == 1).await;
}

/// The client writes on one stream and doesn't read the answers: it is not read there any more, and goes on elsewhere.
#[tokio::test]
async fn answers_that_are_not_read_hold_up_their_own_stream_alone() {
    let bench = bench();
    let (connection, mut control) = connected(&bench, "one").await;
    let mut deaf = data(&connection).await;
    // A packet of 12 bytes is answered by one of 4 or 6, so the broker stops to read long before all is sent.
    let publishes = b"\x32\x0a\x00\x01x\x00\x09\x00four".repeat(10_000);
    let sends = tokio::spawn(async move {
        for _ in 0..100 {
            deaf.send(&publishes).await;
        }
    });
    let mut other = data(&connection).await;
    for _ in 0..20 {
        other.publish("x", b"").await;
        other.is_acknowledged().await;
        control.ping().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!sends.is_finished());
    sends.abort();
}

#[tokio::test]
async fn a_closed_stream_leaves_its_messages_to_the_control_stream() {
    for is_reset in [false, true] {
        let bench = Bench::new(Limits { quic_streams_max: 1, ..Limits::default() }, [optional()]);
        let (connection, mut control) = connected(&bench, "one").await;
        let mut stream = data(&connection).await;
        assert_eq!(stream.subscribe("t").await, 1);
        let mut tcp = bench.tcp("tcp").await;
        tcp.publish("t", b"first").await;
        let id = stream.message(b"first").await;
        if is_reset {
            stream.stream.writer_mut().reset(7_u8.into()).expect("it is open");
            stream.stream.reader_mut().stop(7_u8.into()).expect("it is open");
        } else {
            // What came before the end is answered.
            stream.publish("x", b"").await;
            stream.finish();
            stream.is_acknowledged().await;
            assert_eq!(stream.receive().await, None);
        }
        // It was not acknowledged there, and comes again, by the same packet identifier.
        let (first, body) = control.receive().await.expect("a message");
        assert_eq!((first, &body[3..5]), (0x3a, &id[..]), "with DUP");
        control.acknowledge(id).await;
        tcp.publish("t", b"second").await;
        let id = control.message(b"second").await;
        control.acknowledge(id).await;
        bench.until("no data stream", |node| node.metrics.data_streams.get() == 0).await;
        // There is room for another, which gets nothing of the one before.
        let mut another = data(&connection).await;
        another.publish("t", b"third").await;
        another.is_acknowledged().await;
        control.message(b"third").await;
        assert_eq!(another.subscribe("t").await, 1);
        tcp.publish("t", b"fourth").await;
        another.message(b"fourth").await;
        control.ping().await;
    }
}

#[tokio::test]
async fn all_that_came_before_the_end_of_a_stream_is_answered() {
    let session = revoq_session::Config { publish_rate_max: Some(50), ..revoq_session::Config::default() };
    let bench = Bench::new(Limits { session, ..Limits::default() }, [optional()]);
    let (connection, mut control) = connected(&bench, "one").await;
    let mut stream = data(&connection).await;
    // At once come 50; the others wait.
    for _ in 0..80 {
        stream.publish("x", b"").await;
    }
    stream.finish();
    for _ in 0..80 {
        stream.is_acknowledged().await;
    }
    assert_eq!(stream.receive().await, None);
    control.ping().await;
}

#[tokio::test]
async fn a_session_goes_on_over_the_control_stream() {
    let bench = bench();
    let lasting = |clean_start| Connect { clean_start, expiry_s: 60, will_delay_s: None };
    let (connection, mut control) = open(bench.multi_stream, &client(None, &TLS13)).await;
    assert_eq!(control.connect_with("one", lasting(true)).await, (false, 0));
    let mut stream = data(&connection).await;
    assert_eq!(stream.subscribe("t").await, 1);
    let mut tcp = bench.tcp("tcp").await;
    tcp.publish("t", b"sent").await;
    let id = stream.message(b"sent").await;
    connection.close(0_u8.into(), b"");
    bench.until("it is away", |node| node.registry.len() == 1).await;
    tcp.publish("t", b"kept").await;
    let (connection, mut control) = open(bench.multi_stream, &client(None, &TLS13)).await;
    assert_eq!(control.connect_with("one", lasting(false)).await, (true, 0));
    let mut other = data(&connection).await;
    other.publish("x", b"").await;
    other.is_acknowledged().await;
    assert_eq!(control.message(b"sent").await, id);
    control.acknowledge(id).await;
    control.message(b"kept").await;
    tcp.publish("t", b"new").await;
    control.message(b"new").await;
    control.ping().await;
}

#[tokio::test]
async fn what_belongs_on_the_control_stream_ends_the_connection_elsewhere() {
    let bench = bench();
    // PINGREQ, DISCONNECT, AUTH, CONNECT, and the server's own CONNACK.
    let connect = super::bench::connect("one");
    for packet in [&[0xc0, 0][..], &[0xe0, 0], &[0xf0, 0], &connect, &[0x20, 3, 0, 0, 0]] {
        let (connection, mut control) = connected(&bench, "one").await;
        let mut stream = data(&connection).await;
        stream.send(packet).await;
        control.is_cut(0x82).await;
        closed(&connection).await;
    }
    let (connection, mut control) = connected(&bench, "one").await;
    data(&connection).await.send(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]).await;
    control.is_cut(0x81).await;
    // The end of the control stream is the end of all.
    let (connection, mut control) = connected(&bench, "one").await;
    let mut stream = data(&connection).await;
    assert_eq!(stream.subscribe("t").await, 1);
    control.finish();
    closed(&connection).await;
    bench.until("nobody", |node| node.registry.len() == 0).await;
}

#[tokio::test]
async fn no_more_are_opened_than_may_be() {
    let bench = Bench::new(Limits { quic_streams_max: 2, ..Limits::default() }, [optional()]);
    let (connection, mut control) = connected(&bench, "one").await;
    let mut streams = [data(&connection).await, data(&connection).await];
    for stream in &mut streams {
        assert_eq!(stream.subscribe("t").await, 1);
    }
    let (mut third, mut uni) = (Box::pin(connection.open_bi()), Box::pin(connection.open_uni()));
    control.ping().await;
    let are_granted =
        poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_ready() || uni.as_mut().poll(cx).is_ready()));
    assert!(!are_granted.await);
    assert_eq!(bench.node.metrics.data_streams.get(), 2);
    streams[0].finish();
    assert_eq!(streams[0].receive().await, None);
    third.await.expect("there is room again");
}

#[tokio::test]
async fn the_cut_ends_all_streams_at_once() {
    let (bench, leaf) = with_authority();
    let mut witness = bench.tcp("witness").await;
    assert_eq!(witness.subscribe("up").await, 1);
    let (connection, mut control) = open(bench.multi_stream, &client(Some(&leaf), &TLS13)).await;
    assert_eq!(control.connect("one").await, 0);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = data(&connection).await;
        assert_eq!(stream.subscribe("down").await, 1);
        streams.push(stream);
    }
    assert_eq!(bench.apply(denied(&leaf)), 1);
    control.is_cut(0x98).await;
    closed(&connection).await;
    for stream in &mut streams {
        assert_eq!(stream.receive().await, None);
    }
    witness.ping().await;
    bench.until("no data stream", |node| node.metrics.data_streams.get() == 0).await;
    assert_eq!(bench.node.metrics.resets.get(), 0);
}

#[tokio::test]
async fn nothing_passes_a_shut_gate_on_any_stream() {
    let bench = bench();
    let mut witness = bench.tcp("witness").await;
    assert_eq!(witness.subscribe("up").await, 1);
    for is_publisher in [true, false] {
        let (connection, mut control) = connected(&bench, "one").await;
        let mut streams = [data(&connection).await, data(&connection).await];
        for stream in &mut streams {
            assert_eq!(stream.subscribe("down").await, 1);
        }
        // The task sleeps on: it is not woken before a packet comes.
        bench.node.registry.each(|entry| {
            if entry.client_id.as_bytes() == b"one" {
                assert!(entry.gate.shut(Shut::Denied));
            }
        });
        if is_publisher {
            streams[1].publish("up", b"too late").await;
        } else {
            witness.publish("down", b"too late").await;
            witness.receive().await.expect("PUBACK");
            control.send(&[0xc0, 0]).await;
        }
        control.is_cut(0x98).await;
        closed(&connection).await;
        for stream in &mut streams {
            assert_eq!(stream.receive().await, None);
        }
        witness.ping().await;
    }
}

#[tokio::test]
async fn requiring_certificates_cuts_those_without() {
    let (bench, leaf) = with_authority();
    let (with, mut kept) = open(bench.multi_stream, &client(Some(&leaf), &TLS13)).await;
    assert_eq!(kept.connect("with").await, 0);
    let mut kept_stream = data(&with).await;
    assert_eq!(kept_stream.subscribe("t").await, 1);
    let (connection, mut control) = connected(&bench, "without").await;
    let mut stream = data(&connection).await;
    assert_eq!(stream.subscribe("t").await, 1);
    assert_eq!(bench.apply(setting("client_certificate", "required")), 1);
    control.is_cut(0x87).await;
    closed(&connection).await;
    assert_eq!(stream.receive().await, None);
    kept_stream.publish("t", b"still").await;
    for _ in 0..2 {
        kept_stream.receive().await.expect("PUBACK, and PUBLISH");
    }
}
