//! The same over QUIC, through quinn's client.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, RecvStream, SendStream, TransportErrorCode};
use revoq_credentials::{Change, Millis, State, TenantName};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::Join;

use super::bench::{Bench, Client, PATIENCE};
use crate::config::Limits;
use crate::tls::tests::certificates::{Authority, Leaf, denied, setting};
use crate::tls::tests::{client, counting_client};

type Quic = Client<Join<RecvStream, SendStream>>;

fn optional() -> Change {
    setting("client_certificate", "optional")
}

fn bench() -> Bench {
    Bench::new(Limits::default(), [optional()])
}

fn with_authority() -> (Bench, Leaf) {
    let authority = Authority::new("devices");
    let known = authority.change("devices", State::Active, true);
    let leaf = authority.issue("urn:revoq:default:meter-1");
    (Bench::new(Limits::default(), [known, optional()]), leaf)
}

/// With that ALPN; of its own, and with the tickets of `config`.
pub(super) async fn dial(
    bench: &Bench,
    config: &Arc<ClientConfig>,
    protocol: &str,
) -> Result<quinn::Connection, ConnectionError> {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![protocol.into()];
    let config = QuicClientConfig::try_from(config).expect("TLS 1.3");
    let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let config = quinn::ClientConfig::new(Arc::new(config));
    endpoint.connect_with(config, bench.quic, "localhost").expect("it can be tried").await
}

async fn open(bench: &Bench, config: &Arc<ClientConfig>) -> (quinn::Connection, Quic) {
    let connection = dial(bench, config, "mqtt").await.expect("it is accepted");
    let (send, receive) = connection.open_bi().await.expect("a stream");
    (connection, Client { stream: tokio::io::join(receive, send) })
}

async fn closed(connection: &quinn::Connection) -> ConnectionError {
    tokio::time::timeout(PATIENCE, connection.closed()).await.expect("it ends")
}

/// Was it closed by the server with this alert of TLS, RFC 9001 section 4.8?
fn is_alert(error: &ConnectionError, alert: AlertDescription) -> bool {
    let code = TransportErrorCode::crypto(alert.into());
    matches!(error, ConnectionError::ConnectionClosed(close) if close.error_code == code)
}

#[tokio::test]
async fn messages_pass_to_and_from_tcp() {
    let bench = bench();
    let (connection, mut one) = open(&bench, &client(None, &TLS13)).await;
    assert_eq!(one.connect("one").await, 0);
    assert_eq!(one.subscribe("t").await, 1);
    let mut names = Vec::new();
    bench.node.registry.each(|entry| names.push(entry.transport.name()));
    assert_eq!(names, ["QUIC"]);
    let mut tcp = bench.tcp("tcp").await;
    tcp.subscribe("t").await;
    // Larger than the windows.
    for size in [10, 900_000] {
        tcp.publish("t", &vec![7; size]).await;
        let (_, body) = one.receive().await.expect("PUBLISH");
        assert!(body.ends_with(&vec![7; size]));
        for _ in 0..2 {
            tcp.receive().await.expect("PUBACK, and PUBLISH");
        }
    }
    one.publish("t", &[9; 900_000]).await;
    let (_, body) = tcp.receive().await.expect("PUBLISH");
    assert!(body.ends_with(&[9; 900_000]));
    // One stream, and nothing beside it.
    assert_eq!(connection.max_datagram_size(), None);
    let (mut second, mut uni) = (Box::pin(connection.open_bi()), Box::pin(connection.open_uni()));
    bench.tcp("later").await.ping().await;
    let are_granted =
        poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_ready() || uni.as_mut().poll(cx).is_ready()));
    assert!(!are_granted.await);
    connection.close(5_u8.into(), b"bye");
    bench.until("the others alone", |node| node.registry.len() == 1).await;
}

#[tokio::test]
async fn the_cut_closes_the_connection() {
    let (bench, leaf) = with_authority();
    let config = client(Some(&leaf), &TLS13);
    let (connection, mut session) = open(&bench, &config).await;
    assert_eq!(session.connect("session").await, 0);
    assert_eq!(bench.apply(denied(&leaf)), 1);
    session.is_cut(0x98).await;
    let ended = closed(&connection).await;
    assert!(
        matches!(&ended, ConnectionError::ApplicationClosed(close) if close.error_code == 0_u8.into()),
        "{ended:?}"
    );
    // Refused within the handshake, which the client of TLS 1.3 learns after it.
    let refused = match dial(&bench, &config, "mqtt").await {
        Ok(connection) => closed(&connection).await,
        Err(refused) => refused,
    };
    assert!(is_alert(&refused, AlertDescription::CertificateRevoked), "{refused:?}");
    bench.until("a count", |node| node.metrics.handshakes.failed.get() == 1).await;
    bench.apply(Change::Allowed(leaf.fingerprint()));
    let (_connection, mut again) = open(&bench, &config).await;
    assert_eq!(again.connect("session").await, 0);
    assert_eq!(bench.node.metrics.resets.get(), 0);
}

#[tokio::test]
async fn a_ticket_brings_no_suspended_certificate_in() {
    let (bench, leaf) = with_authority();
    bench.node.tickets.set([(&[1; 16][..], &[1; 32][..])].into_iter());
    let (config, full) = counting_client(Some(&leaf), &TLS13);
    let (_connection, mut session) = open(&bench, &config).await;
    assert_eq!(session.connect("session").await, 0);
    session.ping().await;
    bench.apply(denied(&leaf));
    session.is_cut(0x98).await;
    let (_connection, mut again) = open(&bench, &config).await;
    assert_eq!(again.connect("again").await, 0x87);
    assert_eq!(full.load(Ordering::SeqCst), 1, "the second one was resumed");
}

#[tokio::test]
async fn requiring_certificates_cuts_those_without() {
    let (bench, leaf) = with_authority();
    let (_with, mut with) = open(&bench, &client(Some(&leaf), &TLS13)).await;
    assert_eq!(with.connect("with").await, 0);
    let anonymous = client(None, &TLS13);
    let (connection, mut without) = open(&bench, &anonymous).await;
    assert_eq!(without.connect("without").await, 0);
    assert_eq!(bench.apply(setting("client_certificate", "required")), 1);
    without.is_cut(0x87).await;
    closed(&connection).await;
    with.ping().await;
    let refused = match dial(&bench, &anonymous, "mqtt").await {
        Ok(connection) => closed(&connection).await,
        Err(refused) => refused,
    };
    assert!(is_alert(&refused, AlertDescription::CertificateRequired), "{refused:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_at_the_deadline() {
    let bench = Bench::new(Limits::default(), [optional(), setting("cut_deadline", "300ms")]);
    let (connection, mut deaf) = open(&bench, &client(None, &TLS13)).await;
    assert_eq!(deaf.connect("deaf").await, 0);
    deaf.subscribe("t").await;
    let mut loud = bench.tcp("loud").await;
    for _ in 0..10 {
        loud.publish("t", &[0; 300_000]).await;
        loud.receive().await.expect("PUBACK");
    }
    let start = Instant::now();
    let (name, state) = (TenantName::default(), State::Suspended);
    bench.apply(Change::Tenant { name, state, created: Millis(0) });
    bench.until("a reset", |node| node.metrics.resets.get() > 0).await;
    closed(&connection).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    bench.until("no session", |node| node.registry.len() == 0).await;
}

#[tokio::test]
async fn who_opens_no_stream_or_speaks_something_else_takes_no_place() {
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let bench = Bench::new(limits, [optional()]);
    let config = client(None, &TLS13);
    let silent = dial(&bench, &config, "mqtt").await.expect("it is accepted");
    closed(&silent).await;
    assert_eq!(bench.node.metrics.handshakes.timed_out.get(), 1);
    let other = dial(&bench, &config, "h3").await.expect_err("another protocol");
    assert!(is_alert(&other, AlertDescription::NoApplicationProtocol), "{other:?}");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for size in [1, 20, 1200, 9000] {
        for first in [0_u8, 0x40, 0xc0, 0xc3, 0xff] {
            let mut junk = vec![0x5a; size];
            junk[0] = first;
            socket.send_to(&junk, bench.quic).expect("it is sent");
        }
    }
    let (_connection, mut good) = open(&bench, &config).await;
    assert_eq!(good.connect("good").await, 0);
    bench.until("one connection", |node| node.metrics.connections.get() == 1).await;
}

#[tokio::test]
async fn addresses_are_proved_before_they_are_counted() {
    let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
    let bench = Bench::new(limits, [optional()]);
    let config = client(None, &TLS13);
    let (connection, mut one) = open(&bench, &config).await;
    assert_eq!(one.connect("one").await, 0);
    let refused = dial(&bench, &config, "mqtt").await.expect_err("one is there");
    assert!(
        matches!(&refused, ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED),
        "{refused:?}"
    );
    assert_eq!(bench.node.metrics.limits.connections_per_address.get(), 1);
    connection.close(0_u8.into(), b"");
    bench.until("room", |node| node.metrics.connections.get() == 0).await;
    open(&bench, &config).await.1.connect("two").await;
}

#[tokio::test]
async fn draining_tells_everybody_and_takes_nobody() {
    let bench = bench();
    let config = client(None, &TLS13);
    let (connection, mut one) = open(&bench, &config).await;
    assert_eq!(one.connect("one").await, 0);
    assert_eq!(bench.node.drain(), 1);
    one.is_cut(0x8b).await;
    closed(&connection).await;
    bench.until("a closed port", |_| std::net::UdpSocket::bind(bench.quic).is_ok()).await;
}
