//! A session that publishes to itself, and counts what was acknowledged and what came.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use revoq_mqtt::{
    Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Subscribe, SubscribeOptions, Subscription,
    Topic,
};
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// What a flow saw.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) delivered: u64,
    pub(crate) broken: bool,
}

/// How long a flow waits for the last messages after it was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Subscribes to a topic of its own.
pub(crate) async fn subscribe(client: &mut Client, topic: &str) -> Result<()> {
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    let subscribe = Subscribe {
        packet_id: PacketId::FIRST,
        subscription_id: None,
        user_properties: Default::default(),
        subscriptions: vec![Subscription { filter: topic.parse()?, options }],
    };
    client.send(&Packet::Subscribe(subscribe)).await?;
    match client.read().await? {
        Some(Packet::SubAck(ack)) if ack.reasons == [ReasonCode::GrantedQos1] => Ok(()),
        other => bail!("{topic}: not subscribed: {other:?}"),
    }
}

/// Publishes a message each `every` until `stop`, then waits for what is on its way.
pub(crate) async fn run(mut client: Client, topic: Topic, every: Duration, stop: CancellationToken) -> Tally {
    let mut tally = Tally::default();
    let mut sent = 0;
    let mut id = PacketId::FIRST;
    let mut ticks = tokio::time::interval(every);
    loop {
        let step = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {
                id = id.next();
                sent += 1;
                client.send(&Packet::Publish(message(&topic, id))).await
            }
            packet = client.read() => take(&mut client, packet, &mut tally).await,
        };
        if step.is_err() {
            tally.broken = true;
            return tally;
        }
    }
    let drain = async {
        while tally.acknowledged < sent || tally.delivered < sent {
            let packet = client.read().await;
            if take(&mut client, packet, &mut tally).await.is_err() {
                tally.broken = true;
                break;
            }
        }
    };
    // What has not come by then is lost, and counted so.
    let _ = tokio::time::timeout(DRAIN, drain).await;
    tally
}

fn message(topic: &Topic, id: PacketId) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.clone(),
        packet_id: Some(id),
        properties: PublishProperties::default(),
        payload: Bytes::from_static(&[b'x'; 100]),
    }
}

async fn take(client: &mut Client, packet: Result<Option<Packet>>, tally: &mut Tally) -> Result<()> {
    match packet? {
        Some(Packet::PubAck(_)) => tally.acknowledged += 1,
        Some(Packet::Publish(publish)) => {
            tally.delivered += 1;
            if let Some(id) = publish.packet_id {
                client.send(&Packet::PubAck(revoq_mqtt::Ack::new(id, ReasonCode::Success))).await?;
            }
        }
        other => bail!("the flow ended: {other:?}"),
    }
    Ok(())
}
