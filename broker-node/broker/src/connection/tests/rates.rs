//! How often an address may connect, over every kind of listener.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quinn::{ConnectionError, TransportErrorCode};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::bench::{Bench, Client, PATIENCE, secure};
use super::quic::dial;
use crate::config::Limits;
use crate::tls::tests::certificates::setting;
use crate::tls::tests::client;

/// A second's worth at once, and the one that is due.
const AT_ONCE: u64 = 3;
const TRIES: u64 = 8;

fn bench() -> Bench {
    let limits = Limits { connect_rate_per_address_max: Some(2), ..Limits::default() };
    Bench::new(limits, [setting("client_certificate", "optional")])
}

fn refused(bench: &Bench) -> u64 {
    bench.node.metrics.limits.connect_rate_per_address.get()
}

async fn from(host: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((host, 0).into()).expect("all of 127/8 is this machine");
    socket.connect(to).await.expect("it listens")
}

async fn is_closed(mut stream: TcpStream) -> bool {
    tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.is_ok_and(|read| !matches!(read, Ok(1..)))
}

#[tokio::test]
async fn who_connects_too_often_is_closed_and_others_are_not() {
    for kind in ["tcp", "tls", "ws", "wss"] {
        let bench = bench();
        let to = match kind {
            "tcp" => bench.tcp,
            "tls" => bench.tls,
            "ws" => bench.ws,
            _ => bench.wss,
        };
        let mut streams = Vec::new();
        for _ in 0..TRIES {
            streams.push(from([127, 0, 0, 1], to).await);
        }
        bench.until("all are judged", |node| node.metrics.connections.get() + refused(&bench) >= TRIES).await;
        // A slow machine may let more in.
        let let_in = TRIES - refused(&bench);
        assert!((AT_ONCE..TRIES).contains(&let_in), "{kind}: {let_in}");
        let mut closed = Vec::new();
        for stream in streams {
            closed.push(Box::pin(is_closed(stream)));
        }
        let (first, ..) = futures_util::future::select_all(closed).await;
        assert!(first, "{kind}: none is closed");
        let _other = from([127, 0, 0, 2], to).await;
        bench.until("the other", |node| node.connect_rates.len() == 2).await;
        bench.node.measure();
        assert_eq!(bench.node.metrics.connect_rate_addresses.get(), 2);
        assert_eq!(bench.node.metrics.handshakes.failed.get(), 0, "{kind}: there was no handshake");
    }
}

#[tokio::test]
async fn who_waits_gets_in_again() {
    let bench = bench();
    let config = client(None, &TLS13);
    let mut before = 0;
    while refused(&bench) == 0 {
        let _ = secure(bench.tls, &config).await;
        before += 1;
        assert!(before < 100, "nobody is refused");
    }
    // Tries that are refused do not count, so it is let in while it goes on trying.
    let start = Instant::now();
    let stream = loop {
        match secure(bench.tls, &config).await {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(Client { stream }.connect("again").await, 0);
}

#[tokio::test]
async fn a_flood_from_one_address_takes_nothing_from_the_rate_of_all() {
    let limits =
        Limits { connect_rate_per_address_max: Some(1), connect_rate_max: Some(20), ..Limits::default() };
    let bench = Bench::new(limits, [setting("client_certificate", "optional")]);
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(from([127, 0, 0, 1], bench.tcp).await);
    }
    bench.until("refusals", |_| refused(&bench) > 90).await;
    let mut other = Client { stream: from([127, 0, 0, 2], bench.tcp).await };
    assert_eq!(other.connect("other").await, 0);
    assert_eq!(bench.node.metrics.limits.connect_rate.get(), 0);
}

#[tokio::test]
async fn behind_a_balancer_the_client_counts_and_all_of_its_network() {
    let bench = bench();
    let attempt = async |addresses: &str| {
        let mut stream = TcpStream::connect(bench.proxied_tls).await.expect("it listens");
        let header = format!("PROXY {addresses} 54321 8883\r\n");
        stream.write_all(header.as_bytes()).await.expect("it is sent");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(client(None, &TLS13)).connect(name, stream).await
    };
    let (mut let_in, mut closed) = (Vec::new(), 0);
    for host in 1..=TRIES {
        match attempt(&format!("TCP6 2001:db8::{host} 2001:db8::ffff")).await {
            Ok(stream) => let_in.push(stream),
            Err(_) => closed += 1,
        }
    }
    assert!(closed > 0 && refused(&bench) == closed, "{closed} of {}", refused(&bench));
    assert_eq!(bench.node.metrics.handshakes.failed.get(), 0, "refused before the handshake");
    for other in ["TCP6 2001:db8:0:1::1 2001:db8::ffff", "TCP4 203.0.113.7 192.0.2.1"] {
        let stream = attempt(other).await.expect("another network");
        assert_eq!(Client { stream }.connect("other").await, 0);
    }
    assert_eq!(refused(&bench), closed);
    bench.node.measure();
    assert_eq!(bench.node.metrics.connect_rate_addresses.get(), 3, "not the balancer's");
}

#[tokio::test]
async fn over_quic_it_is_refused_before_the_handshake() {
    let bench = bench();
    let config = client(None, &TLS13);
    let (mut connections, mut refusals) = (Vec::new(), 0);
    for _ in 0..TRIES {
        match dial(bench.quic, &config, "mqtt").await {
            Ok(connection) => connections.push(connection),
            Err(ConnectionError::ConnectionClosed(close))
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                refusals += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refusals > 0 && refused(&bench) == refusals, "{refusals} of {}", refused(&bench));
    let served = connections.len() as u64;
    bench
        .until("the handshakes of those who came in", |node| node.metrics.handshakes.quic.get() == served)
        .await;
    assert_eq!(served + refusals, TRIES);
}
