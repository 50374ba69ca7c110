//! What each side may demand of the other: quotas, sizes, aliases, time.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Topic, TopicAlias, Version};
use revoq_tests::raw::Raw;

use crate::malformed::fatal;
use crate::site::{Site, message, message_at};
use crate::wire::{frame, properties, text};

crate::cases!(
    the_clients_receive_maximum,
    the_brokers_receive_maximum,
    older_versions_have_no_receive_maximum,
    the_clients_maximum_packet_size,
    aliases_of_a_client,
    aliases_that_are_not_set,
    aliases_end_with_the_connection,
    aliases_of_the_broker,
    an_expiry_interval_is_handed_on,
    an_expiry_interval_counts_the_time_in_the_broker,
    a_message_that_expires_before_it_is_sent,
    an_exchange_goes_on_beyond_the_expiry,
);

const V5: Version = Version::V5;

async fn narrow(site: &Site, filter: &str, receive_max: u16) -> Result<Raw> {
    let mut connect = site.connect(V5);
    connect.properties.receive_max = NonZeroU16::new(receive_max);
    let mut raw = site.join(&connect).await?.0;
    raw.subscribe_at(filter, QoS::ExactlyOnce).await?;
    Ok(raw)
}

async fn the_clients_receive_maximum(site: Site) -> Result<()> {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = site.topic("t");
        let mut subscriber = narrow(&site, &topic, 3).await?;
        let mut publisher = site.client(V5).await?;
        for payload in ["1", "2", "3", "4", "5"] {
            publisher.publish(message_at(&topic, payload, qos)).await?;
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(subscriber.delivery().await?);
        }
        subscriber.quiet().await?;
        // QoS 0 and all other packets go on.
        publisher.publish(message(&topic, "0")).await?;
        subscriber.take("0").await?;
        let filter = site.topic("other");
        subscriber.subscribe_at(&filter, QoS::AtMostOnce).await?;
        subscriber.publish(message_at("nobody", "x", QoS::ExactlyOnce)).await?;
        for (got, freed) in held.iter().zip(["4", "5"]) {
            subscriber.acknowledge(got).await?;
            subscriber.take(freed).await?;
        }
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn the_brokers_receive_maximum(site: Site) -> Result<()> {
    for qos in [1, 2] {
        let (mut client, ack) = site.join(&site.connect(V5)).await?;
        let quota = ack.properties.receive_max.map_or(u16::MAX, NonZeroU16::get);
        ensure!(quota < 4096, "the test is made for a small one: {quota}");
        let publish = |id: u16| frame(0x30 | qos << 1, &[&text("nobody"), &id.to_be_bytes(), &[0], b"x"]);
        if qos == 1 {
            // Acknowledged as they come: any number passes, one at a time.
            for id in 1..=quota + 10 {
                client.send(publish(id)).await?;
                client.packet().await?;
            }
            client.quiet().await?;
            continue;
        }
        client.send((1..=quota).flat_map(publish).collect::<Vec<u8>>()).await?;
        for _ in 1..=quota {
            client.packet().await?;
        }
        // The quota is used up; what comes again by the same identifier and what is no PUBLISH of QoS 1 or 2 passes.
        client.quiet().await?;
        client.send(frame(0x3C, &[&text("nobody"), &[0, 1], &[0], b"x"])).await?;
        client.expect(frame(0x50, &[&[0, 1]])).await?;
        client.publish(message("nobody", "x")).await?;
        client.send(publish(quota + 1)).await?;
        client.disconnected(ReasonCode::ReceiveMaximumExceeded).await?;
    }
    Ok(())
}

async fn older_versions_have_no_receive_maximum(site: Site) -> Result<()> {
    let mut client = site.client(Version::V311).await?;
    let ids = 1..=600_u16;
    let publish = |id: u16| frame(0x34, &[&text("nobody"), &id.to_be_bytes(), b"x"]);
    client.send(ids.clone().flat_map(publish).collect::<Vec<u8>>()).await?;
    for id in ids {
        client.expect(frame(0x50, &[&id.to_be_bytes()])).await?;
    }
    client.quiet().await
}

async fn the_clients_maximum_packet_size(site: Site) -> Result<()> {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = site.topic("t");
        let mut connect = site.connect(V5);
        connect.properties.packet_size_max = NonZeroU32::new(200);
        connect.properties.receive_max = NonZeroU16::new(1);
        let mut subscriber = site.join(&connect).await?.0;
        subscriber.subscribe_at(&topic, qos).await?;
        let mut publisher = site.client(V5).await?;
        // Fixed header, topic, identifier, properties.
        let others = 3 + 2 + topic.len() + if qos == QoS::AtMostOnce { 0 } else { 2 } + 1;
        let fits = "x".repeat(200 - others);
        for payload in [format!("{fits}y"), fits.clone(), "x".repeat(10_000), "last".to_owned()] {
            publisher.publish(message_at(&topic, &payload, qos)).await?;
        }
        // What is too large is as if it were sent: it takes no quota, and the exchange is over.
        subscriber.take(&fits).await?;
        subscriber.take("last").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

fn aliased(topic: &str, payload: &str, alias: u16) -> Publish {
    let properties =
        PublishProperties { topic_alias: TopicAlias::new(alias), ..PublishProperties::default() };
    let topic = if topic.is_empty() { Topic::unnamed() } else { topic.parse().expect("a topic") };
    Publish { topic, properties, ..message("unused", payload) }
}

async fn aliases_of_a_client(site: Site) -> Result<()> {
    let (mut publisher, ack) = site.join(&site.connect(V5)).await?;
    let maximum = ack.properties.topic_alias_max;
    ensure!(maximum > 0, "no alias is accepted: {ack:?}");
    let (one, two) = (site.topic("one"), site.topic("two"));
    let mut subscriber = site.subscriber(V5, &one, QoS::ExactlyOnce).await?;
    subscriber.subscribe_at(&two, QoS::ExactlyOnce).await?;
    for alias in 1..=maximum {
        publisher.publish(aliased(&one, "named", alias)).await?;
        let got = subscriber.take("named").await?;
        ensure!(
            got.topic.as_str() == one && got.properties.topic_alias.is_none(),
            subscriber.failed("no alias")
        );
        publisher.publish(aliased("", "by alias", alias)).await?;
        ensure!(subscriber.take("by alias").await?.topic.as_str() == one, subscriber.failed("its topic"));
    }
    // It stands for another topic from now on, in every QoS.
    publisher.publish(Publish { qos: QoS::AtLeastOnce, ..aliased(&two, "moved", 1) }).await?;
    subscriber.take("moved").await?;
    publisher.publish(Publish { qos: QoS::ExactlyOnce, ..aliased("", "there", 1) }).await?;
    ensure!(subscriber.take("there").await?.topic.as_str() == two, subscriber.failed("the new topic"));
    publisher.publish(aliased("", "here", maximum)).await?;
    ensure!(subscriber.take("here").await?.topic.as_str() == one, subscriber.failed("the others stay"));
    let beyond = aliased(&one, "x", maximum + 1);
    publisher.send_packet(&Packet::Publish(beyond)).await?;
    publisher.disconnected(ReasonCode::TopicAliasInvalid).await
}

async fn aliases_that_are_not_set(site: Site) -> Result<()> {
    let nameless = |alias: u8| frame(0x30, &[&text(""), &properties(&[&[0x23, 0, alias]]), b"x"]);
    fatal(&site, V5, &nameless(1), ReasonCode::ProtocolError).await?;
    fatal(&site, V5, &nameless(0), ReasonCode::TopicAliasInvalid).await
}

async fn aliases_end_with_the_connection(site: Site) -> Result<()> {
    let connect = site.connect(V5);
    let mut first = site.join(&connect).await?.0;
    first.publish(aliased(&site.topic("t"), "x", 1)).await?;
    let mut second = site.join(&connect).await?.0;
    second.send_packet(&Packet::Publish(aliased("", "x", 1))).await?;
    second.disconnected(ReasonCode::ProtocolError).await
}

/// None above the client's maximum, none without one, and each stands for the topic that it came with.
async fn aliases_of_the_broker(site: Site) -> Result<()> {
    for maximum in [0, 1, 3, 10] {
        let topic = site.topic("t");
        let mut connect = site.connect(V5);
        connect.properties.topic_alias_max = maximum;
        let mut subscriber = site.join(&connect).await?.0;
        subscriber.subscribe_at(&format!("{topic}/#"), QoS::AtLeastOnce).await?;
        let mut publisher = site.client(V5).await?;
        let mut known = BTreeMap::new();
        for n in (0..5).chain(0..5) {
            let name = format!("{topic}/{n}");
            publisher.publish(message_at(&name, "x", QoS::AtLeastOnce)).await?;
            let got = subscriber.take("x").await?;
            let alias = got.properties.topic_alias.map_or(0, TopicAlias::get);
            ensure!(alias <= maximum, subscriber.failed("an alias above the client's maximum"));
            if alias > 0 && !got.topic.is_empty() {
                known.insert(alias, got.topic.clone());
            }
            let meant = if got.topic.is_empty() { known.get(&alias) } else { Some(&got.topic) };
            ensure!(meant.is_some_and(|meant| meant.as_str() == name), subscriber.failed("its topic"));
        }
    }
    Ok(())
}

fn expiring(topic: &str, payload: &str, qos: QoS, expiry_s: u32) -> Publish {
    let properties = PublishProperties { expiry_s: Some(expiry_s), ..PublishProperties::default() };
    Publish { properties, ..message_at(topic, payload, qos) }
}

async fn an_expiry_interval_is_handed_on(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = site.subscriber(V5, &topic, QoS::ExactlyOnce).await?;
    let mut publisher = site.client(V5).await?;
    for expiry_s in [1000, u32::MAX] {
        publisher.publish(expiring(&topic, "x", QoS::AtLeastOnce, expiry_s)).await?;
        let left = subscriber.take("x").await?.properties.expiry_s.context("it expires")?;
        ensure!((expiry_s - 5..=expiry_s).contains(&left), subscriber.failed("what is left of the interval"));
    }
    publisher.publish(message(&topic, "y")).await?;
    ensure!(
        subscriber.take("y").await?.properties.expiry_s.is_none(),
        subscriber.failed("this never expires")
    );
    Ok(())
}

async fn an_expiry_interval_counts_the_time_in_the_broker(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = narrow(&site, &topic, 1).await?;
    let mut publisher = site.client(V5).await?;
    publisher.publish(message_at(&topic, "first", QoS::AtLeastOnce)).await?;
    publisher.publish(expiring(&topic, "second", QoS::AtLeastOnce, 100)).await?;
    let first = subscriber.delivery().await?;
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    subscriber.acknowledge(&first).await?;
    let left = subscriber.take("second").await?.properties.expiry_s.context("it expires")?;
    ensure!((80..=98).contains(&left), subscriber.failed("two seconds have passed"));
    Ok(())
}

async fn a_message_that_expires_before_it_is_sent(site: Site) -> Result<()> {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = site.topic("t");
        let mut subscriber = narrow(&site, &topic, 1).await?;
        let mut publisher = site.client(V5).await?;
        publisher.publish(message_at(&topic, "first", qos)).await?;
        publisher.publish(expiring(&topic, "late", qos, 1)).await?;
        publisher.publish(expiring(&topic, "last", qos, 100)).await?;
        let first = subscriber.delivery().await?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        subscriber.acknowledge(&first).await?;
        subscriber.take("last").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

/// Both ways: once PUBLISH was sent, expiry ends nothing.
async fn an_exchange_goes_on_beyond_the_expiry(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = site.subscriber(V5, &topic, QoS::ExactlyOnce).await?;
    let mut publisher = site.client(V5).await?;
    let id = PacketId::new(5);
    let publish = Publish { packet_id: id, ..expiring(&topic, "x", QoS::ExactlyOnce, 3) };
    publisher.send_packet(&Packet::Publish(publish)).await?;
    publisher.expect([0x50, 2, 0, 5]).await?;
    let got = subscriber.delivery().await?;
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    publisher.send([0x62, 2, 0, 5]).await?;
    publisher.expect([0x70, 2, 0, 5]).await?;
    subscriber.acknowledge(&got).await?;
    subscriber.quiet().await
}
