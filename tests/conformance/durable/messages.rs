//! Messages of a session: what waits for an absent client, and what comes again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Ack, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Version};
use tokio::time::sleep;

use super::{absent, join, lasting, leave};
use crate::site::{STANDARDS, Site, message_at};
use crate::wire::{frame, none, text};

crate::cases!(
    messages_for_an_absent_client,
    unacknowledged_messages_come_again,
    pubrel_comes_again,
    what_was_refused_does_not_come_again,
    a_qos_2_message_from_a_client_is_once,
    identifiers_stay_taken,
    what_waits_expires,
    what_was_sent_does_not_expire,
    a_member_of_a_group_completes_what_it_began,
);

const V5: Version = Version::V5;

async fn messages_for_an_absent_client(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut publisher = site.client(version).await?;
        let qos = |n: u32| if n.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        for n in 0..20 {
            publisher.publish(message_at(&topic, &n.to_string(), qos(n))).await?;
        }
        let mut raw = join(&site, &connect, true).await?;
        for n in 0..20 {
            let got = raw.take(&n.to_string()).await?;
            ensure!(got.qos == qos(n) && !got.dup, raw.failed("sent for the first time, at its QoS"));
        }
        raw.quiet().await?;
        leave(raw).await?;
        join(&site, &connect, true).await?.quiet().await?;
    }
    Ok(())
}

async fn unacknowledged_messages_come_again(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut raw = join(&site, &connect, true).await?;
        let mut publisher = site.client(version).await?;
        let mut sent = Vec::new();
        for n in 0..6_u32 {
            let qos = if n % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            publisher.publish(message_at(&topic, &n.to_string(), qos)).await?;
            sent.push(raw.delivery().await?);
        }
        // One is acknowledged: the others come again, in their order, by their identifiers, as often as it takes.
        raw.acknowledge(&sent.remove(3)).await?;
        raw.quiet().await?;
        raw.drop_connection().await;
        publisher.publish(message_at(&topic, "new", QoS::AtLeastOnce)).await?;
        for last in [false, true] {
            let mut raw = join(&site, &connect, true).await?;
            for expected in &sent {
                let again = raw.delivery().await?;
                let expected = Publish { dup: true, ..expected.clone() };
                ensure!(again == expected, raw.failed("the same was expected, with DUP"));
                if last {
                    raw.acknowledge(&again).await?;
                }
            }
            let new = raw.delivery().await?;
            // It may have been on its way already when the connection ended: then it comes with DUP the first time too.
            ensure!(new.payload == "new" && (new.dup || !last), raw.failed("then what waited"));
            raw.quiet().await?;
            raw.drop_connection().await;
        }
        let mut raw = join(&site, &connect, true).await?;
        raw.take("new").await?;
        raw.quiet().await?;
    }
    Ok(())
}

async fn pubrel_comes_again(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut raw = join(&site, &connect, true).await?;
        site.client(version).await?.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
        let id = raw.delivery().await?.packet_id.context("QoS 2 has an identifier")?;
        let pubrel = Packet::PubRel(Ack::new(id, ReasonCode::Success));
        raw.send_packet(&Packet::PubRec(Ack::new(id, ReasonCode::Success))).await?;
        raw.expect_packet(&pubrel).await?;
        raw.drop_connection().await;
        // PUBLISH does not come any more.
        let mut raw = join(&site, &connect, true).await?;
        raw.expect_packet(&pubrel).await?;
        raw.quiet().await?;
        raw.send_packet(&Packet::PubComp(Ack::new(id, ReasonCode::Success))).await?;
        raw.quiet().await?;
        leave(raw).await?;
        join(&site, &connect, true).await?.quiet().await?;
    }
    Ok(())
}

async fn what_was_refused_does_not_come_again(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let connect = absent(&site, V5, &topic).await?;
    let mut raw = join(&site, &connect, true).await?;
    let mut publisher = site.client(V5).await?;
    for (qos, ack) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
        publisher.publish(message_at(&topic, "x", qos)).await?;
        let id = raw.delivery().await?.packet_id.map_or(0, PacketId::get).to_be_bytes();
        raw.send(frame(ack, &[&id, &[0x97]])).await?;
    }
    raw.quiet().await?;
    raw.drop_connection().await;
    join(&site, &connect, true).await?.quiet().await
}

/// The broker is the receiver: it remembers what it has, also over a change of connection.
async fn a_qos_2_message_from_a_client_is_once(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let connect = lasting(&site, version);
        let publish = |dup: bool| {
            let first = if dup { 0x3C } else { 0x34 };
            frame(first, &[&text(&topic), &[0, 7], none(version), b"once"])
        };
        let mut raw = join(&site, &connect, false).await?;
        raw.send(publish(false)).await?;
        raw.expect([0x50, 2, 0, 7]).await?;
        raw.drop_connection().await;
        let mut raw = join(&site, &connect, true).await?;
        raw.send(publish(true)).await?;
        raw.expect([0x50, 2, 0, 7]).await?;
        raw.drop_connection().await;
        let mut raw = join(&site, &connect, true).await?;
        raw.send([0x62, 2, 0, 7]).await?;
        raw.expect([0x70, 2, 0, 7]).await?;
        subscriber.take("once").await?;
        subscriber.quiet().await?;
        // From now on the identifier is free.
        raw.send(publish(false)).await?;
        raw.expect([0x50, 2, 0, 7]).await?;
        subscriber.take("once").await?;
    }
    Ok(())
}

async fn identifiers_stay_taken(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut publisher = site.client(version).await?;
        let mut used = BTreeSet::new();
        for round in 0..3 {
            let mut raw = join(&site, &connect, true).await?;
            for _ in 0..round {
                let again = raw.delivery().await?;
                ensure!(again.dup && used.contains(&again.packet_id), raw.failed("by its own identifier"));
            }
            publisher.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
            let new = raw.delivery().await?;
            ensure!(!new.dup && used.insert(new.packet_id), raw.failed("an identifier of its own"));
            raw.drop_connection().await;
        }
    }
    Ok(())
}

fn expiring(topic: &str, payload: &str, qos: QoS, expiry_s: u32) -> Publish {
    let properties = PublishProperties { expiry_s: Some(expiry_s), ..PublishProperties::default() };
    Publish { properties, ..message_at(topic, payload, qos) }
}

async fn what_waits_expires(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let connect = absent(&site, V5, &topic).await?;
    let mut publisher = site.client(V5).await?;
    publisher.publish(expiring(&topic, "late", QoS::AtLeastOnce, 1)).await?;
    publisher.publish(expiring(&topic, "in time", QoS::AtLeastOnce, 100)).await?;
    sleep(Duration::from_millis(2_500)).await;
    let mut raw = join(&site, &connect, true).await?;
    let left = raw.take("in time").await?.properties.expiry_s.context("it expires")?;
    ensure!((80..=98).contains(&left), raw.failed("two seconds have passed"));
    raw.quiet().await
}

async fn what_was_sent_does_not_expire(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let connect = absent(&site, V5, &topic).await?;
    let mut raw = join(&site, &connect, true).await?;
    site.client(V5).await?.publish(expiring(&topic, "x", QoS::ExactlyOnce, 3)).await?;
    let sent = raw.delivery().await?;
    raw.drop_connection().await;
    sleep(Duration::from_millis(4_000)).await;
    let mut raw = join(&site, &connect, true).await?;
    let again = raw.take("x").await?;
    ensure!(again.dup && again.packet_id == sent.packet_id, raw.failed("the same, with DUP"));
    raw.quiet().await
}

async fn a_member_of_a_group_completes_what_it_began(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let filter = format!("$share/g/{topic}");
    let connect = absent(&site, V5, &filter).await?;
    let mut first = join(&site, &connect, true).await?;
    let mut publisher = site.client(V5).await?;
    publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
    let sent = first.delivery().await?;
    let mut second = site.subscriber(V5, &filter, QoS::ExactlyOnce).await?;
    first.drop_connection().await;
    second.quiet().await?;
    let mut first = join(&site, &connect, true).await?;
    let again = first.take("x").await?;
    ensure!(again.dup && again.packet_id == sent.packet_id, first.failed("the same, with DUP"));
    second.quiet().await
}
