use std::time::{Duration, Instant};

use revoq_credentials::State;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bench::{Bench, PATIENCE};
use crate::config::Limits;
use crate::tls::tests::certificates::{Authority, denied, setting, version_1};
use crate::tls::tests::client;

fn bench(limits: Limits) -> Bench {
    Bench::new(limits, [setting("client_certificate", "optional")])
}

/// What comes until the stream ends, by order or by reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(end.is_ok(), "the connection stays open");
    bytes
}

#[tokio::test]
async fn what_is_no_tls_is_closed_at_once() {
    let bench = bench(Limits::default());
    let mut stream = TcpStream::connect(bench.tls).await.expect("it listens");
    let start = Instant::now();
    stream.write_all(&[0x10, 0x12, 0x00, 0x04, 0x4d, 0x51]).await.expect("it is sent");
    assert!(rest(&mut stream).await.is_empty());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bench.node.metrics.handshakes.not_tls.get(), 1);
}

#[tokio::test]
async fn stalled_handshakes_stand_in_nobodys_way() {
    let bench = bench(Limits::default());
    let mut stalled = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(bench.tls).await.expect("it listens");
        // Some say nothing, some stop within the record.
        if number % 2 == 0 {
            stream.write_all(&[0x16, 0x03, 0x01, 0x02]).await.expect("it is sent");
        }
        stalled.push(stream);
    }
    let start = Instant::now();
    let mut good = bench.handshake(&client(None, &TLS13)).await.expect("it is accepted");
    assert_eq!(good.connect("good").await, 0);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stalled_handshake_times_out() {
    let bench = bench(Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut stream = TcpStream::connect(bench.tls).await.expect("it listens");
    stream.write_all(&[0x16]).await.expect("it is sent");
    assert!(rest(&mut stream).await.is_empty());
    bench.until("a count", |node| node.metrics.handshakes.timed_out.get() == 1).await;
}

#[tokio::test]
async fn silence_after_the_handshake_times_out() {
    let bench = bench(Limits { connect_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut stream = TcpStream::connect(bench.tcp).await.expect("it listens");
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn each_limit_refuses_and_counts() {
    let bench = bench(Limits { handshakes_max: 1, ..Limits::default() });
    let _first = TcpStream::connect(bench.tls).await.expect("it listens");
    bench.until("a connection", |node| node.metrics.connections.get() == 1).await;
    let mut second = TcpStream::connect(bench.tls).await.expect("it listens");
    assert!(rest(&mut second).await.is_empty());
    assert_eq!(bench.node.metrics.limits.handshakes.get(), 1);

    let limits = Limits { connections_max: 2, connections_per_address_max: 1, ..Limits::default() };
    let bench = Bench::new(limits, [setting("client_certificate", "optional")]);
    let one = bench.tcp("one").await;
    let mut second = TcpStream::connect(bench.tcp).await.expect("it listens");
    assert!(rest(&mut second).await.is_empty());
    assert_eq!(bench.node.metrics.limits.connections_per_address.get(), 1);
    drop(one);
    bench.until("room", |node| node.metrics.connections.get() == 0).await;
    bench.tcp("two").await.ping().await;
}

#[tokio::test]
async fn a_certificate_that_must_be_looked_up_waits_for_nobody() {
    let bench = bench(Limits::default());
    for version in [&TLS12, &TLS13] {
        let leaf = version_1();
        let mut stranger =
            bench.handshake(&client(Some(&leaf), version)).await.expect("its signature is good");
        // There is no control plane to ask.
        assert_eq!(stranger.connect("stranger").await, 0x88);
        bench.apply(denied(&leaf));
        if let Ok(mut again) = bench.handshake(&client(Some(&leaf), version)).await {
            assert_eq!(again.receive().await, None);
        }
    }
    bench.until("two failures", |node| node.metrics.handshakes.failed.get() == 2).await;
}

#[tokio::test]
async fn a_suspended_authority_is_refused_in_the_handshake() {
    let authority = Authority::new("devices");
    let leaf = authority.issue("urn:revoq:default:meter-1");
    let bench = Bench::new(Limits::default(), [authority.change("devices", State::Suspended, true)]);
    let error = bench.handshake(&client(Some(&leaf), &TLS12)).await.err().expect("it is refused");
    assert!(format!("{error:?}").contains("CertificateRevoked"), "{error:?}");
}

#[tokio::test]
async fn connections_beyond_the_rate_are_closed_at_once() {
    let bench = bench(Limits { connect_rate_max: Some(2), ..Limits::default() });
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(TcpStream::connect(bench.tcp).await.expect("it listens"));
    }
    bench.until("refusals", |node| node.metrics.limits.connect_rate.get() >= 4).await;
    assert!(rest(others.last_mut().expect("there are eight")).await.is_empty());
    one.ping().await;
    two.ping().await;
}
