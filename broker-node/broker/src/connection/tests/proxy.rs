//! Clients behind a balancer that speaks the PROXY protocol.

use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::bench::{Bench, Client, PATIENCE, connect};
use crate::config::Limits;
use crate::tls::tests::certificates::setting;
use crate::tls::tests::client;

fn bench(limits: Limits) -> Bench {
    Bench::new(limits, [setting("client_certificate", "optional")])
}

fn header(address: &str) -> String {
    format!("PROXY TCP4 {address} 192.0.2.1 54321 8883\r\n")
}

async fn behind(bench: &Bench, header: &[u8]) -> Client<TcpStream> {
    let mut stream = TcpStream::connect(bench.proxied).await.expect("it listens");
    stream.write_all(header).await.expect("it is sent");
    Client { stream }
}

async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn the_client_is_shown_and_limited_by_its_own_address() {
    let bench = bench(Limits { connections_per_address_max: 1, ..Limits::default() });
    let mut one = behind(&bench, header("203.0.113.7").as_bytes()).await;
    assert_eq!(one.connect("one").await, 0);
    let mut addresses = Vec::new();
    bench.node.registry.each(|entry| addresses.push(entry.address.to_string()));
    assert_eq!(addresses, ["203.0.113.7:54321"]);
    let mut other = behind(&bench, header("203.0.113.8").as_bytes()).await;
    assert_eq!(other.connect("other").await, 0);
    let again = behind(&bench, header("203.0.113.7").as_bytes()).await;
    is_closed(again.stream).await;
    assert_eq!(bench.node.metrics.limits.connections_per_address.get(), 1);
    // A balancer that speaks for itself is counted as what it is.
    let mut own = behind(&bench, b"PROXY UNKNOWN\r\n").await;
    assert_eq!(own.connect("own").await, 0);
    drop(one);
    bench.until("room", |node| node.metrics.connections.get() == 2).await;
    let mut again = behind(&bench, header("203.0.113.7").as_bytes()).await;
    assert_eq!(again.connect("again").await, 0);
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let bench = bench(Limits::default());
    let mut socket = TcpStream::connect(bench.proxied_tls).await.expect("it listens");
    socket.write_all(header("203.0.113.7").as_bytes()).await.expect("it is sent");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream =
        TlsConnector::from(client(None, &TLS13)).connect(name, socket).await.expect("it is accepted");
    assert_eq!(Client { stream }.connect("one").await, 0);
    let mut addresses = Vec::new();
    bench.node.registry.each(|entry| addresses.push(entry.address.to_string()));
    assert_eq!(addresses, ["203.0.113.7:54321"]);
}

#[tokio::test]
async fn without_a_header_or_with_a_slow_one_it_is_closed() {
    let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
    let bench = bench(limits);
    let mut direct = TcpStream::connect(bench.proxied).await.expect("it listens");
    direct.write_all(&connect("direct")).await.expect("it is sent");
    is_closed(direct).await;
    is_closed(behind(&bench, b"PROXY TCP4 nobody\r\n").await.stream).await;
    bench.until("two counts", |node| node.metrics.handshakes.no_proxy_header.get() == 2).await;
    is_closed(behind(&bench, b"PROXY TCP4 203.0").await.stream).await;
    is_closed(behind(&bench, b"").await.stream).await;
    bench.until("two more", |node| node.metrics.handshakes.timed_out.get() == 2).await;
    // And where none is expected, none is taken.
    let mut stream = TcpStream::connect(bench.tcp).await.expect("it listens");
    stream.write_all(header("203.0.113.7").as_bytes()).await.expect("it is sent");
    is_closed(stream).await;
    bench.until("no socket", |node| node.metrics.connections.get() == 0).await;
}
