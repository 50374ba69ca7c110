//! Subscribers that do not read while much is published: their windows close, and memory stays bounded.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use revoq_broker::ListenerKind;
use revoq_mqtt::{Ack, Packet, PacketId, QoS, ReasonCode, Version};
use revoq_tests::{Fleet, until};
use tokio::sync::Semaphore;

use super::{Bystander, connected, faults, fleet, is_well, next, over, publish, subscribe, tcp, tls};
use crate::link::Link;

/// Half of them with QoS 0, half with QoS 1; one of each over each transport.
const READERS: usize = 10;
const MESSAGES: u32 = 6_000;
const PAYLOAD: usize = 8 * 1024;
/// PUBLISH packets under way.
const WINDOW: u32 = 64;
/// Of all messages, which are shared, and of what the sockets hold: far below what was published times readers.
const GAIN_KIB_MAX: u64 = 96 * 1024;
const WITHIN: Duration = Duration::from_secs(40);

/// Publishes everything, a window at a time, as fast as the one who reads takes it: its queue is bounded too.
async fn publish_all(mut link: Link, room: &Semaphore) -> Result<()> {
    let filling = vec![b'.'; PAYLOAD];
    for first in (0..MESSAGES).step_by(WINDOW as usize) {
        let end = MESSAGES.min(first + WINDOW);
        room.acquire_many(end - first).await?.forget();
        let packets: Result<Vec<Packet>> = (first..end)
            .map(|number| -> Result<Packet> {
                let payload = Bytes::from([&number.to_be_bytes()[..], &filling].concat());
                let id = u16::try_from(number - first + 1)?;
                Ok(Packet::Publish(publish("flood", QoS::AtLeastOnce, id, payload)?))
            })
            .collect();
        link.send(&packets?).await?;
        for _ in first..end {
            match next(&mut link).await? {
                Packet::PubAck(ack) if !ack.reason.is_error() => {}
                other => bail!("PUBACK expected, not {other:?}"),
            }
        }
    }
    Ok(())
}

/// Gets everything, in order.
async fn read_all(mut link: Link, room: &Semaphore) -> Result<()> {
    for expected in 0..MESSAGES {
        let Packet::Publish(publish) = next(&mut link).await? else { bail!("PUBLISH expected") };
        let number = publish.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        ensure!(number == Some(expected), "{number:?} in place of {expected}");
        let id: PacketId = publish.packet_id.context("QoS 1")?;
        link.send(&[Packet::PubAck(Ack::new(id, ReasonCode::Success))]).await?;
        room.add_permits(1);
    }
    Ok(())
}

async fn cut(fleet: &Fleet) -> Result<f64> {
    let too_slow = fleet.metric(0, "revoq_broker_gates_shut_total", "cause=\"too_slow\"").await?;
    Ok(too_slow + faults(fleet, ReasonCode::QuotaExceeded).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_do_not_read_lose_qos_0_or_their_connection_and_disturb_nobody() -> Result<()> {
    let fleet = fleet(vec![
        ("REVOQ_BROKER_QUEUE_MESSAGES_MAX", "500"),
        ("REVOQ_BROKER_QUEUE_BYTES_MAX", "2097152"),
        ("REVOQ_BROKER_MAILBOX_BYTES_MAX", "2097152"),
    ])
    .await?;
    let bystander = Bystander::start(&fleet).await?;
    let mut idle = Vec::new();
    for n in 0..READERS {
        let (route, version) = match n % 5 {
            0 => (tcp(&fleet), Version::V5),
            1 => (tls(&fleet)?, Version::V311),
            2 => (over(&fleet, ListenerKind::WebSocket)?, Version::V311),
            3 => (over(&fleet, ListenerKind::SecureWebSocket)?, Version::V5),
            _ => (over(&fleet, ListenerKind::Quic)?, Version::V5),
        };
        let qos = if n < READERS / 2 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let mut link = connected(&route, version, &format!("idle-{n}")).await?;
        subscribe(&mut link, &["flood"], qos).await?;
        idle.push(link);
    }
    let mut reader = connected(&tls(&fleet)?, Version::V5, "reader").await?;
    subscribe(&mut reader, &["flood"], QoS::AtLeastOnce).await?;
    let publisher = connected(&tcp(&fleet), Version::V5, "publisher").await?;
    let before = fleet.broker_process(0).resident_kib().await?;
    let room = Semaphore::new(2 * WINDOW as usize);
    tokio::try_join!(publish_all(publisher, &room), read_all(reader, &room))?;
    let after = fleet.broker_process(0).resident_kib().await?;
    eprintln!("resident: {before} KiB before, {after} KiB after");
    ensure!(after < before + GAIN_KIB_MAX, "{after} KiB after {before} KiB");
    let half = (READERS / 2) as f64;
    until("those at QoS 1 are cut", WITHIN, || async { Ok((cut(&fleet).await? >= half).then_some(())) })
        .await?;
    ensure!(cut(&fleet).await? == half, "others were cut");
    let reset =
        || async { Ok((fleet.metric(0, "revoq_broker_resets_total", "").await? >= half).then_some(())) };
    until("their sockets are reset", WITHIN, reset).await?;
    let dropped = fleet.metric(0, "revoq_broker_dropped_messages_total", "").await?;
    ensure!(dropped > f64::from(MESSAGES), "{dropped} messages of QoS 0 were dropped");
    // Those at QoS 0 are connected still, and get what was kept for them.
    for link in &mut idle[..READERS / 2] {
        link.send(&[Packet::PingReq]).await?;
        while next(link).await? != Packet::PingResp {}
    }
    bystander.finish(20).await?;
    drop(idle);
    is_well(&fleet, 0.0).await
}
