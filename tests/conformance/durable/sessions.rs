//! How long a session lasts, who has it, and what its subscriptions keep.

use std::time::Duration;

use anyhow::{Result, ensure};
use revoq_mqtt::{
    Connect, Publish, QoS, ReasonCode, RetainHandling, SubscribeOptions, SubscriptionId, Version,
};
use tokio::time::sleep;

use super::{LONG, absent, join, lasting, leave};
use crate::site::{STANDARDS, Site, message_at};
use crate::wire::{frame, properties};

crate::cases!(
    a_session_is_resumed,
    a_session_belongs_to_its_client_identifier,
    a_clean_start_discards_it,
    a_session_without_expiry_is_not_kept,
    the_expiry_that_was_asked_for,
    it_expires,
    disconnect_changes_the_expiry,
    it_is_taken_over,
    subscriptions_keep_their_terms,
    retain_handling_knows_the_subscription,
);

const V5: Version = Version::V5;

async fn a_session_is_resumed(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        for round in 0..3 {
            let mut raw = join(&site, &connect, true).await?;
            site.client(version).await?.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
            raw.take("x").await?;
            raw.quiet().await?;
            if round % 2 == 0 { raw.drop_connection().await } else { leave(raw).await? }
        }
    }
    Ok(())
}

async fn a_session_belongs_to_its_client_identifier(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut other = join(&site, &lasting(&site, version), false).await?;
        site.client(version).await?.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
        other.quiet().await?;
        join(&site, &connect, true).await?.take("x").await?;
    }
    Ok(())
}

async fn a_clean_start_discards_it(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = absent(&site, version, &topic).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "waits", QoS::AtLeastOnce)).await?;
        let mut raw = join(&site, &Connect { clean_start: true, ..connect.clone() }, false).await?;
        publisher.publish(message_at(&topic, "not subscribed", QoS::AtLeastOnce)).await?;
        raw.quiet().await?;
        leave(raw).await?;
        // Of 5.0 the new session lasts, of 3.1.1 it ended with the connection; nothing of the old one is in either.
        let mut raw = join(&site, &connect, version.is_v5()).await?;
        publisher.publish(message_at(&topic, "not subscribed", QoS::AtLeastOnce)).await?;
        raw.quiet().await?;
    }
    Ok(())
}

async fn a_session_without_expiry_is_not_kept(site: Site) -> Result<()> {
    for asked in [None, Some(0)] {
        let mut connect = lasting(&site, V5);
        connect.properties.session_expiry_s = asked;
        for _ in 0..2 {
            join(&site, &connect, false).await?.drop_connection().await;
        }
    }
    Ok(())
}

/// CONNACK says where less is granted, as it may be of what never ends.
async fn the_expiry_that_was_asked_for(site: Site) -> Result<()> {
    for asked in [LONG, u32::MAX] {
        let mut connect = lasting(&site, V5);
        connect.properties.session_expiry_s = Some(asked);
        let (raw, ack) = site.join(&connect).await?;
        let granted = ack.properties.session_expiry_s.unwrap_or(asked);
        ensure!(granted == asked || granted > LONG, raw.failed("the interval that was asked for"));
        leave(raw).await?;
        join(&site, &connect, true).await?;
    }
    Ok(())
}

async fn it_expires(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut connect = lasting(&site, V5);
    connect.properties.session_expiry_s = Some(1);
    let mut raw = join(&site, &connect, false).await?;
    raw.subscribe_at(&topic, QoS::AtLeastOnce).await?;
    // Not while it is connected.
    sleep(Duration::from_millis(2_500)).await;
    let mut publisher = site.client(V5).await?;
    publisher.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
    raw.take("x").await?;
    raw.drop_connection().await;
    sleep(Duration::from_millis(3_000)).await;
    let mut raw = join(&site, &connect, false).await?;
    publisher.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
    raw.quiet().await
}

async fn disconnect_changes_the_expiry(site: Site) -> Result<()> {
    let disconnect = |expiry_s: u32| {
        let property = [&[0x11][..], &expiry_s.to_be_bytes()].concat();
        frame(0xE0, &[&[0], &properties(&[&property])])
    };
    let connect = lasting(&site, V5);
    let mut raw = join(&site, &connect, false).await?;
    raw.send(disconnect(0)).await?;
    raw.ended().await?;
    let mut short = connect.clone();
    short.properties.session_expiry_s = Some(1);
    let mut raw = join(&site, &short, false).await?;
    raw.send(disconnect(LONG)).await?;
    raw.ended().await?;
    sleep(Duration::from_millis(2_500)).await;
    join(&site, &short, true).await?;
    Ok(())
}

async fn it_is_taken_over(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = lasting(&site, version);
        let mut first = join(&site, &connect, false).await?;
        first.subscribe_at(&topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "x", QoS::AtLeastOnce)).await?;
        let unacknowledged = first.delivery().await?;
        let mut second = join(&site, &connect, true).await?;
        first.disconnected(ReasonCode::SessionTakenOver).await?;
        let again = second.take("x").await?;
        ensure!(
            again.dup && again.packet_id == unacknowledged.packet_id,
            second.failed("the same, with DUP")
        );
        publisher.publish(message_at(&topic, "y", QoS::AtLeastOnce)).await?;
        second.take("y").await?;
    }
    Ok(())
}

async fn subscriptions_keep_their_terms(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let connect = lasting(&site, V5);
    let mut raw = join(&site, &connect, false).await?;
    let id = SubscriptionId::new(42);
    let retain_handling = RetainHandling::DoNotSend;
    let options = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling,
    };
    raw.subscribe_as(id, &topic, options).await?;
    raw.drop_connection().await;
    let mut raw = join(&site, &connect, true).await?;
    raw.publish(message_at(&topic, "own", QoS::AtMostOnce)).await?;
    let mut publisher = site.client(V5).await?;
    publisher.publish(Publish { retain: true, ..message_at(&topic, "x", QoS::ExactlyOnce) }).await?;
    let got = raw.take("x").await?;
    let ids: Vec<_> = id.into_iter().collect();
    ensure!(got.qos == QoS::AtLeastOnce && got.retain, raw.failed("QoS 1 and RETAIN"));
    ensure!(got.properties.subscription_ids == ids, raw.failed("the subscription's identifier"));
    // Also for what comes while the client is away.
    raw.drop_connection().await;
    publisher.publish(message_at(&topic, "y", QoS::AtLeastOnce)).await?;
    let mut raw = join(&site, &connect, true).await?;
    let got = raw.take("y").await?;
    ensure!(
        got.properties.subscription_ids == ids && !got.retain,
        raw.failed("the subscription's identifier")
    );
    raw.quiet().await
}

async fn retain_handling_knows_the_subscription(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut publisher = site.client(V5).await?;
    publisher.publish(Publish { retain: true, ..message_at(&topic, "x", QoS::AtLeastOnce) }).await?;
    let connect = lasting(&site, V5);
    let mut raw = join(&site, &connect, false).await?;
    let options =
        SubscribeOptions { retain_handling: RetainHandling::SendIfNew, ..SubscribeOptions::default() };
    raw.subscribe(&topic, options).await?;
    raw.take("x").await?;
    raw.drop_connection().await;
    let mut raw = join(&site, &connect, true).await?;
    raw.quiet().await?;
    raw.subscribe(&topic, options).await?;
    raw.quiet().await
}
