//! Random, truncated and mutated streams: 20,000, a million where `REVOQ_LONG` is set. `REVOQ_STREAMS_SEED` sends the
//! same streams again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use revoq_mqtt::{
    Ack, Connect, Disconnect, Packet, PacketId, QoS, ReasonCode, Subscribe, SubscribeOptions, Subscription,
    Unsubscribe, Version, Will, encode,
};
use revoq_tests::Fleet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Bystander, WITHIN, fleet, is_well, long, publish, tls};
use crate::link::{Link, Route};

const STREAMS: u64 = 20_000;
const STREAMS_LONG: u64 = 1_000_000;
/// Streams at a time.
const WORKERS: u64 = 32;
/// One of so many is sent within TLS, one of so many in place of TLS, and of one of so many the end is awaited.
const WITHIN_TLS: u64 = 40;
const FOR_TLS: u64 = 10;
const AWAITED: u64 = 10;
/// A stream that does not end at once is left after this.
const LEFT_AFTER: Duration = Duration::from_millis(3);
/// Of memory that the broker may gain over what it has after the first tenth: allocators keep some.
const GAIN_KIB_MAX: u64 = 48 * 1024;
const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

struct Streams(ChaCha8Rng);

impl Streams {
    fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    fn stream(&mut self) -> Vec<u8> {
        let mut bytes = match self.below(10) {
            0 => (0..self.below(300)).map(|_| self.0.random()).collect(),
            _ => self.packets().to_vec(),
        };
        for _ in 0..self.below(4) {
            self.mutate(&mut bytes);
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        match self.below(6) {
            0 => bytes.truncate(at),
            1 => bytes[at] = self.0.random(),
            2 => bytes[at] ^= 1 << self.below(8),
            3 => bytes.insert(at, self.0.random()),
            4 => _ = bytes.remove(at),
            // A length or a flag is where small numbers are.
            _ => bytes[at.min(20)] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
        }
    }

    fn packets(&mut self) -> BytesMut {
        let version = VERSIONS[self.below(3)];
        let mut out = BytesMut::new();
        if self.below(12) > 0 {
            let connect = Packet::Connect(Box::new(self.connect(version)));
            encode(&connect, version, &mut out).expect("a packet that a client can send");
        }
        for _ in 0..self.below(5) {
            let packet = self.packet();
            encode(&packet, version, &mut out).expect("a packet that a client can send");
        }
        out
    }

    fn connect(&mut self, version: Version) -> Connect {
        let client_id = format!("stream-{}", self.below(5_000)).parse().expect("a client id");
        let mut connect = Connect::new(version, client_id);
        connect.clean_start = self.below(4) > 0;
        connect.keepalive_s = u16::try_from(self.below(3)).expect("small");
        connect.properties.session_expiry_s = (self.below(4) == 0).then_some(60);
        if self.below(4) == 0 {
            connect.username = Some("name".parse().expect("text"));
            connect.password = Some(Bytes::from_static(b"secret"));
        }
        connect.will = (self.below(4) == 0).then(|| Will {
            qos: QoS::AtLeastOnce,
            retain: self.below(2) == 0,
            topic: "streams/will".parse().expect("a topic"),
            payload: Bytes::from_static(b"gone"),
            delay_s: 0,
            properties: Default::default(),
        });
        connect
    }

    fn packet(&mut self) -> Packet {
        let id = PacketId::new(u16::try_from(1 + self.below(9)).expect("small")).expect("not zero");
        let topic = format!("streams/{}", self.below(2_000));
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(3)];
        let (filter, user_properties) =
            (format!("streams/{}/#", self.below(50)).parse().expect("a filter"), Default::default());
        match self.below(10) {
            0..4 => {
                let size = if self.below(50) == 0 { 50_000 } else { 100 };
                let payload = vec![b'p'; self.below(size)].into();
                let mut publish = publish(&topic, qos, id.get(), payload).expect("a topic");
                publish.retain = self.below(3) == 0;
                Packet::Publish(publish)
            }
            4 => {
                let subscriptions =
                    vec![Subscription { filter, options: SubscribeOptions { qos, ..Default::default() } }];
                Packet::Subscribe(Subscribe {
                    packet_id: id,
                    subscription_id: None,
                    user_properties,
                    subscriptions,
                })
            }
            5 => Packet::Unsubscribe(Unsubscribe { packet_id: id, user_properties, filters: vec![filter] }),
            6 => Packet::PubAck(Ack::new(id, ReasonCode::Success)),
            7 => Packet::PubRec(Ack::new(id, ReasonCode::Success)),
            8 => Packet::PubRel(Ack::new(id, ReasonCode::Success)),
            _ => [Packet::PingReq, Packet::Disconnect(Disconnect::new(ReasonCode::Success))][self.below(2)]
                .clone(),
        }
    }
}

/// Sends bytes, and sees the broker end the connection if it is `awaited`.
async fn send(address: std::net::SocketAddr, bytes: &[u8], awaited: bool) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    // It may close before it has read all: that is an answer.
    let written = timeout(WITHIN, stream.write_all(bytes)).await.context("the broker does not read")?;
    let mut scrap = vec![0; 4096];
    if awaited && written.is_ok() && stream.shutdown().await.is_ok() {
        let end = async { while let Ok(1..) = stream.read(&mut scrap).await {} };
        return timeout(WITHIN, end).await.context("the broker does not end a stream that has ended");
    }
    let end = async { while let Ok(1..) = stream.read(&mut scrap).await {} };
    let _ = timeout(LEFT_AFTER, end).await;
    // No port is left waiting: there are fewer of them than streams.
    stream.set_zero_linger()?;
    Ok(())
}

async fn send_within(route: &Route, bytes: &[u8]) -> Result<()> {
    let mut link = timeout(WITHIN, Link::open(route, Version::V5)).await.context("no handshake")??;
    if link.send_bytes(bytes).await.is_ok() {
        let end = async { while !link.read_bytes().await.is_empty() {} };
        let _ = timeout(LEFT_AFTER, end).await;
    }
    link.reset();
    Ok(())
}

/// Takes numbers of streams until all are taken.
async fn work(fleet: Arc<Fleet>, next: Arc<AtomicU64>, end: u64, seed: u64) -> Result<()> {
    let secure = tls(&fleet)?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        let mut streams =
            Streams(ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number));
        let bytes = streams.stream();
        let sent = match number {
            number if number.is_multiple_of(WITHIN_TLS) => send_within(&secure, &bytes).await,
            number if number.is_multiple_of(FOR_TLS) => {
                // The beginning of a handshake, or what looks like one.
                let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &bytes].concat();
                send(fleet.broker(0), &hello[streams.below(2) * 11..], true).await
            }
            number => send(fleet.broker_tcp(0), &bytes, number % AWAITED == 1).await,
        };
        sent.with_context(|| format!("stream {number} of REVOQ_STREAMS_SEED={seed}: {bytes:02x?}"))?;
    }
}

async fn send_all(fleet: &Arc<Fleet>, from: u64, to: u64, seed: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(from));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(Arc::clone(fleet), Arc::clone(&next), to, seed));
    }
    workers.join_all().await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_truncated_and_mutated_streams_leave_it_serving() -> Result<()> {
    let seed = match std::env::var("REVOQ_STREAMS_SEED") {
        Ok(text) => text.parse().context("REVOQ_STREAMS_SEED is a whole number")?,
        Err(_) => rand::rng().random_range(0..1_000_000),
    };
    eprintln!("REVOQ_STREAMS_SEED={seed}");
    let fleet = Arc::new(
        fleet(vec![
            ("REVOQ_BROKER_SESSIONS_AWAY_MAX", "200"),
            ("REVOQ_BROKER_QUEUED_BYTES_MAX", "4194304"),
            ("REVOQ_BROKER_RETAINED_MESSAGES_MAX", "300"),
            ("REVOQ_BROKER_RETAINED_BYTES_MAX", "4194304"),
        ])
        .await?,
    );
    let bystander = Bystander::start(&fleet).await?;
    let streams = if long() { STREAMS_LONG } else { STREAMS };
    send_all(&fleet, 0, streams / 10, seed).await?;
    let before = fleet.broker_process(0).resident_kib().await?;
    send_all(&fleet, streams / 10, streams, seed).await?;
    bystander.finish(20).await?;
    is_well(&fleet, 0.0).await?;
    let after = fleet.broker_process(0).resident_kib().await?;
    eprintln!("resident: {before} KiB after the first tenth, {after} KiB after all");
    ensure!(after < before + GAIN_KIB_MAX, "{after} KiB after {before} KiB");
    let faults = fleet.metric(0, "revoq_broker_session_faults_total", "").await?;
    let admitted = fleet.metric(0, "revoq_broker_admitted_total", "").await?;
    ensure!(faults > 100.0 && admitted > 100.0, "{faults} faults, {admitted} let in: nothing was tried");
    Ok(())
}
