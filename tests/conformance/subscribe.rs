//! SUBSCRIBE and SUBACK, and what subscriptions that overlap make of a message.

use anyhow::{Result, ensure};
use revoq_mqtt::{
    Packet, QoS, ReasonCode, SubAck, Subscribe, SubscribeOptions, Subscription, SubscriptionId, Version,
};
use revoq_tests::raw::Raw;

use crate::malformed::fatal;
use crate::site::{QOS, STANDARDS, Site, message, message_at};
use crate::wire::{frame, none, publish, subscribe, text};

crate::cases!(
    suback_has_the_identifier_of_subscribe,
    several_filters_are_answered_in_order,
    the_lower_qos_counts,
    a_filter_that_is_refused,
    the_same_filter_replaces,
    replacing_loses_nothing,
    overlapping_subscriptions_make_one_message,
    subscription_identifiers,
    no_local,
    no_local_with_a_shared_subscription,
    a_long_filter,
);

async fn suback_has_the_identifier_of_subscribe(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut client = site.client(version).await?;
        for id in [1_u16, 2, 0x1234, 0xFFFF] {
            for qos in 0..=2 {
                client.send(frame(0x82, &[&id.to_be_bytes(), none(version), &text(&topic), &[qos]])).await?;
                client.expect(frame(0x90, &[&id.to_be_bytes(), none(version), &[qos]])).await?;
            }
        }
        client.quiet().await?;
    }
    Ok(())
}

async fn several_filters_are_answered_in_order(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let deep = vec!["x"; 200].join("/");
        let filters =
            [(format!("{topic}/a"), 2), (deep, 1), (format!("{topic}/b/+"), 0), (format!("{topic}/c/#"), 1)];
        let fields: Vec<u8> =
            filters.iter().flat_map(|(filter, qos)| [text(filter), vec![*qos]].concat()).collect();
        let mut client = site.client(version).await?;
        client.send(frame(0x82, &[&[0, 9], none(version), &fields])).await?;
        let refusal = if version.is_v5() { 0x8F } else { 0x80 };
        client.expect(frame(0x90, &[&[0, 9], none(version), &[2, refusal, 0, 1]])).await?;
        client.quiet().await?;
        // Each of them is in force.
        let mut publisher = site.client(version).await?;
        for (name, granted) in
            [("a", QoS::ExactlyOnce), ("b/1", QoS::AtMostOnce), ("c/1/2", QoS::AtLeastOnce)]
        {
            publisher.publish(message_at(&format!("{topic}/{name}"), name, QoS::ExactlyOnce)).await?;
            let got = client.take(name).await?;
            ensure!(got.qos == granted, client.failed("the granted QoS"));
        }
    }
    Ok(())
}

async fn the_lower_qos_counts(site: Site) -> Result<()> {
    for version in STANDARDS {
        for granted in QOS {
            let topic = site.topic("t");
            let mut subscriber = site.subscriber(version, &topic, granted).await?;
            let mut publisher = site.client(version).await?;
            for published in QOS {
                publisher.publish(message_at(&topic, "x", published)).await?;
                let got = subscriber.take("x").await?;
                ensure!(got.qos == published.min(granted), subscriber.failed("the lower of the two"));
                subscriber.quiet().await?;
            }
        }
    }
    Ok(())
}

/// A filter with more levels than are served is refused by itself.
async fn a_filter_that_is_refused(site: Site) -> Result<()> {
    let deep = vec!["x"; 200].join("/");
    for (version, code) in [(Version::V311, 0x80), (Version::V5, 0x8F)] {
        let mut client = site.client(version).await?;
        client.send(subscribe(version, &deep, 1)).await?;
        client.expect(frame(0x90, &[&[0, 1], none(version), &[code]])).await?;
        client.quiet().await?;
    }
    Ok(())
}

async fn the_same_filter_replaces(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.client(version).await?;
        let mut publisher = site.client(version).await?;
        for qos in [QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
            subscriber.subscribe_at(&topic, qos).await?;
            publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
            ensure!(subscriber.take("x").await?.qos == qos, subscriber.failed("the QoS of the last"));
            subscriber.quiet().await?;
        }
    }
    // All its options and its identifier are replaced.
    let topic = site.topic("t");
    let mut client = site.client(Version::V5).await?;
    let options = SubscribeOptions { no_local: true, ..SubscribeOptions::default() };
    client.subscribe_as(SubscriptionId::new(7), &topic, options).await?;
    client.publish(message(&topic, "x")).await?;
    client.subscribe(&topic, SubscribeOptions::default()).await?;
    client.send(publish(Version::V5, &topic, "x")).await?;
    client.expect(publish(Version::V5, &topic, "x")).await
}

async fn replacing_loses_nothing(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let mut publisher = site.client(version).await?;
        let burst = async {
            for n in 0..200 {
                publisher.publish(message_at(&topic, &n.to_string(), QoS::AtLeastOnce)).await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        let read = async {
            let (mut next, mut asked) = (0, 0_u16);
            while next < 200 {
                if asked < 50 {
                    asked += 1;
                    let id = asked.to_be_bytes();
                    subscriber.send(frame(0x82, &[&id, none(version), &text(&topic), &[0]])).await?;
                }
                match subscriber.packet().await? {
                    Packet::SubAck(_) => {}
                    Packet::Publish(publish) if publish.payload == next.to_string().as_bytes() => next += 1,
                    _ => return Err(subscriber.failed(&format!("{next} was expected"))),
                }
            }
            Ok(())
        };
        let (published, got) = tokio::join!(burst, read);
        published.and(got)?;
    }
    Ok(())
}

async fn overlapping_subscriptions_make_one_message(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.client(version).await?;
        subscriber.subscribe_at(&format!("{topic}/#"), QoS::AtMostOnce).await?;
        subscriber.subscribe_at(&format!("{topic}/+"), QoS::ExactlyOnce).await?;
        subscriber.subscribe_at(&format!("{topic}/a"), QoS::AtLeastOnce).await?;
        let mut publisher = site.client(version).await?;
        for published in QOS {
            publisher.publish(message_at(&format!("{topic}/a"), "x", published)).await?;
            // At the highest QoS that was granted: QoS 2.
            ensure!(subscriber.take("x").await?.qos == published, subscriber.failed("the highest QoS"));
            subscriber.quiet().await?;
        }
    }
    Ok(())
}

async fn identifiers(client: &mut Raw, payload: &str) -> Result<Vec<u32>> {
    let got = client.take(payload).await?;
    let mut ids: Vec<u32> = got.properties.subscription_ids.iter().map(|id| id.get()).collect();
    ids.sort_unstable();
    Ok(ids)
}

async fn subscription_identifiers(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut client = site.client(Version::V5).await?;
    let largest = 268_435_455;
    for (id, filter) in [(1, "a"), (128, "+"), (largest, "#"), (1, "b")] {
        let filter = format!("{topic}/{filter}");
        client.subscribe_as(SubscriptionId::new(id), &filter, SubscribeOptions::default()).await?;
    }
    client.subscribe_at(&format!("{topic}/a/#"), QoS::AtMostOnce).await?;
    let mut publisher = site.client(Version::V5).await?;
    publisher.publish(message(&format!("{topic}/a"), "x")).await?;
    ensure!(identifiers(&mut client, "x").await? == [1, 128, largest], client.failed("all three"));
    publisher.publish(message(&format!("{topic}/c"), "x")).await?;
    ensure!(identifiers(&mut client, "x").await? == [128, largest], client.failed("those that match"));
    publisher.publish(message(&format!("{topic}/c/d"), "x")).await?;
    ensure!(identifiers(&mut client, "x").await? == [largest], client.failed("the one that matches"));
    client.quiet().await?;
    // A new subscription without one has none.
    client.subscribe_at(&format!("{topic}/#"), QoS::AtMostOnce).await?;
    publisher.publish(message(&format!("{topic}/c/d"), "x")).await?;
    ensure!(identifiers(&mut client, "x").await?.is_empty(), client.failed("none"));
    Ok(())
}

async fn no_local(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let own = SubscribeOptions { no_local: true, qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    let (mut one, mut two) = (site.client(Version::V5).await?, site.client(Version::V5).await?);
    one.subscribe(&topic, own).await?;
    two.subscribe(&topic, own).await?;
    one.publish(message_at(&topic, "of one", QoS::AtLeastOnce)).await?;
    two.take("of one").await?;
    one.quiet().await?;
    two.publish(message(&topic, "of two")).await?;
    one.take("of two").await?;
    two.quiet().await?;
    // Another subscription without the option still matches.
    one.subscribe_at(&format!("{topic}/#"), QoS::AtMostOnce).await?;
    one.send(publish(Version::V5, &topic, "x")).await?;
    one.expect(publish(Version::V5, &topic, "x")).await
}

async fn no_local_with_a_shared_subscription(site: Site) -> Result<()> {
    let bytes = subscribe(Version::V5, "$share/group/a", 0x04);
    fatal(&site, Version::V5, &bytes, ReasonCode::ProtocolError).await
}

/// 65,535 bytes are a filter, and a topic, like any other.
async fn a_long_filter(site: Site) -> Result<()> {
    for version in STANDARDS {
        let mut long = site.topic("t");
        long.push_str(&"x".repeat(65_535 - long.len()));
        let mut client = site.client(version).await?;
        let options = SubscribeOptions::default();
        let subscriptions = vec![Subscription { filter: long.parse()?, options }];
        let packet_id = client.next_id();
        let user_properties = Default::default();
        let subscribe = Subscribe { packet_id, subscription_id: None, user_properties, subscriptions };
        client.send_packet(&Packet::Subscribe(subscribe)).await?;
        let reasons = vec![ReasonCode::Success];
        client
            .expect_packet(&Packet::SubAck(SubAck { packet_id, reasons, properties: Default::default() }))
            .await?;
        client.send(publish(version, &long, "x")).await?;
        client.expect(publish(version, &long, "x")).await?;
    }
    Ok(())
}
