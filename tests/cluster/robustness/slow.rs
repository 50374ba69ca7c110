//! Peers that send a byte a second (slow-loris): before TLS, in its handshake, in CONNECT, in a PUBLISH.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Connect, Packet, ReasonCode, Version};
use revoq_tests::{Fleet, until};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Bystander, WITHIN, ended, faults, fleet, is_well, next, open, tcp, tls};
use crate::link::{Link, Route};

/// As the broker is told.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// What a busy machine may take to notice.
pub(super) const SLACK: Duration = Duration::from_secs(3);
const CROWD: usize = 300;
/// Between bytes of a PUBLISH; the cut-off is at 1.5 s.
pub(super) const BREATH: Duration = Duration::from_millis(800);

/// Sends a byte a second until the broker ends the connection; after how long it did.
pub(super) async fn drip(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Result<Duration> {
    let begun = Instant::now();
    let mut scrap = [0; 256];
    for byte in bytes {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return Ok(begun.elapsed());
        }
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_secs(1), stream.read(&mut scrap)).await {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < WITHIN, "it is not ended");
    }
    anyhow::bail!("all was sent")
}

/// The beginning of a real handshake.
fn client_hello(fleet: &Fleet) -> Result<Vec<u8>> {
    let name = ServerName::try_from("localhost")?;
    let mut connection = rustls::ClientConnection::new(fleet.tls(None)?, name)?;
    let mut hello = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut hello)?;
    }
    Ok(hello)
}

pub(super) fn in_time(what: &str, took: Duration) -> Result<()> {
    ensure!(took >= LIMIT.mul_f64(0.9) && took < LIMIT + SLACK, "{what}: ended after {took:?}");
    Ok(())
}

async fn before_tls(fleet: &Fleet) -> Result<()> {
    // Only what begins like TLS is waited for: the header of a record, and the start of a message.
    let stream = TcpStream::connect(fleet.broker(0)).await?;
    in_time("a record", drip(stream, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3]).await?)?;
    let stream = TcpStream::connect(fleet.broker(0)).await?;
    let took = drip(stream, &[0x10; 30]).await?;
    ensure!(took < LIMIT, "a first byte that is not of TLS: ended after {took:?}");
    Ok(())
}

async fn within_tls(fleet: &Fleet) -> Result<()> {
    let stream = TcpStream::connect(fleet.broker(0)).await?;
    in_time("a handshake", drip(stream, &client_hello(fleet)?).await?)
}

/// One that says nothing.
async fn silent(fleet: &Fleet) -> Result<()> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(fleet.broker(0)).await?;
    let read = timeout(WITHIN, stream.read(&mut [0; 16])).await.context("it is not ended")?;
    ensure!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    in_time("silence", begun.elapsed())
}

pub(super) async fn within_connect(route: &Route) -> Result<()> {
    let mut link = Link::open(route, Version::V5).await?;
    let begun = Instant::now();
    // A whole CONNECT has 30 bytes.
    for byte in [0x10, 28, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 15, b's', b'l', b'o'] {
        if link.send_bytes(&[byte]).await.is_err() {
            break;
        }
        if let Ok(bytes) = timeout(Duration::from_secs(1), link.read_bytes()).await {
            ensure!(bytes.is_empty(), "an answer: {bytes:02x?}");
            break;
        }
    }
    in_time("CONNECT", begun.elapsed())
}

/// Bytes of a packet show life: it goes on while they come, and one and a half times the keep-alive after the last.
pub(super) async fn within_publish(route: &Route, client_id: &str) -> Result<()> {
    let connect = Connect { keepalive_s: 1, ..Connect::new(Version::V5, client_id.parse()?) };
    let (mut link, answer) = open(route, connect).await?;
    ensure!(matches!(&answer, Packet::ConnAck(ack) if ack.reason == ReasonCode::Success), "{answer:?}");
    for byte in [0x30, 100, 0, 1, b't', 0] {
        link.send_bytes(&[byte]).await?;
        let came = timeout(BREATH, next(&mut link)).await;
        ensure!(came.is_err(), "{came:?} while bytes come");
    }
    let begun = Instant::now();
    ended(&mut link, Some(ReasonCode::KeepAliveTimeout)).await?;
    let took = begun.elapsed();
    ensure!(took < SLACK, "ended {took:?} after the first moment of silence");
    Ok(())
}

/// Many at a time keep nobody out.
async fn crowd(fleet: &Fleet) -> Result<()> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = TcpStream::connect(fleet.broker(0)).await?;
        stream.write_all(&[0x16]).await?;
        crowd.push(stream);
    }
    let begun = Instant::now();
    super::connected(&tls(fleet)?, Version::V311, "beside-a-crowd").await?;
    ensure!(begun.elapsed() < LIMIT, "let in after {:?}", begun.elapsed());
    sleep(LIMIT).await;
    for mut stream in crowd {
        let read = timeout(SLACK, stream.read(&mut [0; 16])).await.context("one of a crowd is not ended")?;
        ensure!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_a_second_holds_nothing_up_and_is_ended() -> Result<()> {
    let fleet =
        fleet(vec![("REVOQ_BROKER_HANDSHAKE_TIMEOUT", "2s"), ("REVOQ_BROKER_CONNECT_TIMEOUT", "2s")]).await?;
    let bystander = Bystander::start(&fleet).await?;
    let (plain, secure) = (tcp(&fleet), tls(&fleet)?);
    tokio::try_join!(
        before_tls(&fleet),
        within_tls(&fleet),
        silent(&fleet),
        within_connect(&plain),
        within_connect(&secure),
        within_publish(&plain, "slow-1"),
        within_publish(&secure, "slow-2"),
        crowd(&fleet),
    )?;
    bystander.finish(100).await?;
    is_well(&fleet, 0.0).await?;
    let timed_out = fleet.metric(0, "revoq_broker_handshakes_total", "result=\"timed_out\"").await?;
    ensure!(timed_out >= 303.0, "{timed_out} handshakes timed out");
    let not_tls = fleet.metric(0, "revoq_broker_handshakes_total", "result=\"not_tls\"").await?;
    ensure!(not_tls == 1.0, "{not_tls} were not TLS");
    let count = async |reason: ReasonCode, expected: f64| {
        let counted = || async { Ok((faults(&fleet, reason).await? == expected).then_some(())) };
        until(&format!("{expected} ended with {reason:?}"), WITHIN, counted).await
    };
    count(ReasonCode::MaximumConnectTime, 2.0).await?;
    count(ReasonCode::KeepAliveTimeout, 2.0).await
}
