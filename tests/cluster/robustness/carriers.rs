//! The same slowness, where something lies between the socket and MQTT: WebSocket, secure WebSocket, QUIC. In their handshakes,
//! in CONNECT, in a PUBLISH; in fragments of a byte each, and on a data stream.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{FutureExt, LocalBoxFuture, try_join_all};
use quinn::Endpoint;
use revoq_broker::ListenerKind;
use revoq_mqtt::{Connect, ReasonCode, Version};
use revoq_tests::mqtt::secure;
use revoq_tests::transports::{MultiStream, dial, quic_config};
use revoq_tests::{End, Fleet, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::slow::{BREATH, LIMIT, SLACK, drip, in_time, within_connect, within_publish};
use super::{Bystander, WITHIN, connected, faults, fleet, is_well, over};
use crate::link::Route;

/// Handshakes over QUIC that are begun and not gone on with.
const CROWD: usize = 100;
/// More than can be sent at a byte a second.
const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n";

async fn timed_out(fleet: &Fleet) -> Result<f64> {
    fleet.metric(0, "revoq_broker_handshakes_total", "result=\"timed_out\"").await
}

async fn within_request(fleet: &Fleet) -> Result<()> {
    let stream = TcpStream::connect(fleet.broker_at(0, ListenerKind::WebSocket)).await?;
    in_time("a request", drip(stream, REQUEST).await?)
}

async fn within_secure_request(fleet: &Fleet) -> Result<()> {
    let stream = secure(fleet.broker_at(0, ListenerKind::SecureWebSocket), fleet.tls(None)?).await?;
    in_time("a request within TLS", drip(stream, REQUEST).await?)
}

/// Connections that say nothing: where a request is awaited, and where a stream is.
async fn silent(fleet: &Fleet) -> Result<()> {
    let begun = Instant::now();
    let mut plain = TcpStream::connect(fleet.broker_at(0, ListenerKind::WebSocket)).await?;
    let tls = fleet.tls(None)?;
    let mut within = secure(fleet.broker_at(0, ListenerKind::SecureWebSocket), tls.clone()).await?;
    let connection = dial(fleet.broker_at(0, ListenerKind::Quic), &tls).await?;
    let (mut one, mut two) = ([0; 16], [0; 16]);
    let all = futures_util::future::join3(plain.read(&mut one), within.read(&mut two), connection.closed());
    let (plain, within, _) = timeout(WITHIN, all).await.context("they are not ended")?;
    ensure!(matches!(plain, Ok(0) | Err(_)) && matches!(within, Ok(0) | Err(_)), "{plain:?}, {within:?}");
    in_time("silence", begun.elapsed())
}

/// The first datagrams of so many connections over QUIC.
async fn initials(fleet: &Fleet, count: usize) -> Result<Vec<Vec<u8>>> {
    let hole = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let config = quic_config(&*fleet.tls(None)?)?;
    let connect = || {
        endpoint.connect_with(config.clone(), hole.local_addr()?, "localhost").map_err(anyhow::Error::from)
    };
    let _attempts = (0..count).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    // By the connection id that its client drew, RFC 9000 section 17.2: a connection may need several, and sends them again.
    let mut first = HashMap::new();
    let mut datagram = [0; 2048];
    while first.len() < count {
        let size = timeout(WITHIN, hole.recv(&mut datagram)).await.context("nothing is sent")??;
        let datagram = &datagram[..size];
        let id = datagram.get(6..6 + usize::from(datagram[5])).context("a long header")?;
        first.entry(id.to_vec()).or_insert_with(|| datagram.to_vec());
    }
    Ok(first.into_values().collect())
}

/// Many handshakes that are begun, and begun again each second, keep nobody out, and end.
async fn unfinished(fleet: &Fleet) -> Result<()> {
    let before = timed_out(fleet).await?;
    let datagrams = initials(fleet, CROWD).await?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let address = fleet.broker_at(0, ListenerKind::Quic);
    for round in 0..3 {
        for datagram in &datagrams {
            socket.send_to(datagram, address).await?;
        }
        let begun = Instant::now();
        connected(&over(fleet, ListenerKind::Quic)?, Version::V5, "beside-a-crowd").await?;
        ensure!(begun.elapsed() < LIMIT, "let in after {:?} in round {round}", begun.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    let counted = || async { Ok((timed_out(fleet).await? >= before + CROWD as f64).then_some(())) };
    until("all of the crowd are ended", WITHIN, counted).await
}

/// Bytes on a data stream show life too, and what is not whole there holds nobody up.
async fn within_data_stream(fleet: &Fleet) -> Result<()> {
    let connect = Connect { keepalive_s: 1, ..Connect::new(Version::V5, "slow-stream".parse()?) };
    let address = fleet.broker_at(0, ListenerKind::Quic);
    let client = MultiStream::connect_with(address, &*fleet.tls(None)?, connect).await?;
    let client = client.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    let mut slow = client.open_wire().await?;
    for byte in [0x30, 100, 0, 1, b't', 0] {
        slow.write_all(&[byte]).await?;
        sleep(BREATH).await;
    }
    let mut other = client.open().await?;
    other.publish_acknowledged("beside", "on time").await?;
    let begun = Instant::now();
    let end = client.control.ended().await?;
    ensure!(end == End::Disconnect(ReasonCode::KeepAliveTimeout), "{end:?}");
    ensure!(begun.elapsed() < SLACK, "ended {:?} after the first moment of silence", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_a_second_is_ended_on_every_carrier() -> Result<()> {
    let fleet = fleet(vec![
        ("REVOQ_BROKER_HANDSHAKE_TIMEOUT", "2s"),
        ("REVOQ_BROKER_CONNECT_TIMEOUT", "2s"),
        ("REVOQ_BROKER_QUIC_MULTI_STREAM", "true"),
    ])
    .await?;
    let bystander = Bystander::start(&fleet).await?;
    unfinished(&fleet).await?;
    let before = timed_out(&fleet).await?;
    let routes = [
        over(&fleet, ListenerKind::WebSocket)?,
        over(&fleet, ListenerKind::SecureWebSocket)?,
        over(&fleet, ListenerKind::Quic)?,
        Route::Fragments(fleet.broker_at(0, ListenerKind::WebSocket)),
    ];
    let mut all: Vec<LocalBoxFuture<'_, Result<()>>> = vec![
        within_request(&fleet).boxed_local(),
        within_secure_request(&fleet).boxed_local(),
        silent(&fleet).boxed_local(),
        within_data_stream(&fleet).boxed_local(),
    ];
    for (number, route) in routes.iter().enumerate() {
        all.push(within_connect(route).boxed_local());
        all.push(async move { within_publish(route, &format!("slow-{number}")).await }.boxed_local());
    }
    try_join_all(all).await?;
    bystander.finish(100).await?;
    is_well(&fleet, 0.0).await?;
    // Two requests, and three that said nothing.
    ensure!(timed_out(&fleet).await? == before + 5.0, "handshakes that timed out");
    let count = async |reason: ReasonCode, expected: f64| {
        let counted = || async { Ok((faults(&fleet, reason).await? == expected).then_some(())) };
        until(&format!("{expected} ended with {reason:?}"), WITHIN, counted).await
    };
    count(ReasonCode::MaximumConnectTime, 4.0).await?;
    count(ReasonCode::KeepAliveTimeout, 5.0).await
}
