//! RETAIN: what is kept, who gets it, and with which flag.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{
    Publish, PublishProperties, QoS, RetainHandling, SubscribeOptions, SubscriptionId, Version,
};
use revoq_tests::raw::Raw;

use crate::site::{QOS, STANDARDS, Site, message, message_at};
use crate::wire::{frame, none, properties, text, user};

crate::cases!(
    the_last_message_of_each_topic,
    the_qos_is_kept,
    a_message_of_qos_0_replaces,
    an_empty_message_removes,
    a_message_without_retain_changes_nothing,
    it_outlives_its_publisher,
    an_established_subscription_sees_no_flag,
    retain_as_published,
    retain_handling_send,
    retain_handling_send_if_new,
    retain_handling_do_not_send,
    subscribing_again_sends_again,
    no_shared_subscription_gets_any,
    what_is_retained_is_as_it_was,
    it_expires,
);

fn retained(topic: &str, payload: &str) -> Publish {
    Publish { retain: true, ..message_at(topic, payload, QoS::AtLeastOnce) }
}

async fn publisher_of(site: &Site, version: Version, topic: &str, payload: &str) -> Result<Raw> {
    let mut publisher = site.client(version).await?;
    publisher.publish(retained(topic, payload)).await?;
    Ok(publisher)
}

fn options(retain_handling: RetainHandling) -> SubscribeOptions {
    SubscribeOptions { qos: QoS::ExactlyOnce, retain_handling, ..SubscribeOptions::default() }
}

/// The next message was retained: it has the flag.
async fn take_retained(subscriber: &mut Raw, payload: &str) -> Result<Publish> {
    let got = subscriber.take(payload).await?;
    ensure!(got.retain && !got.dup, subscriber.failed("RETAIN, and no DUP"));
    Ok(got)
}

async fn the_last_message_of_each_topic(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = site.client(version).await?;
        for (name, payload) in [("a", "old"), ("b", "1"), ("a", "new"), ("c/d", "2")] {
            publisher.publish(retained(&format!("{topic}/{name}"), payload)).await?;
        }
        let mut exact = site.subscriber(version, &format!("{topic}/a"), QoS::AtLeastOnce).await?;
        take_retained(&mut exact, "new").await?;
        exact.quiet().await?;
        let mut wild = site.subscriber(version, &format!("{topic}/#"), QoS::AtLeastOnce).await?;
        let mut got = Vec::new();
        for _ in 0..3 {
            let publish = wild.delivery().await?;
            wild.acknowledge(&publish).await?;
            ensure!(publish.retain, wild.failed("RETAIN was expected"));
            got.push(publish.payload);
        }
        wild.quiet().await?;
        got.sort();
        ensure!(got == ["1", "2", "new"], "{got:?}");
        let mut one_level = site.subscriber(version, &format!("{topic}/+"), QoS::AtLeastOnce).await?;
        let (one, two) = (one_level.delivery().await?, one_level.delivery().await?);
        ensure!(one.topic != two.topic, one_level.failed("a and b were expected"));
        one_level.quiet().await?;
    }
    Ok(())
}

async fn the_qos_is_kept(site: Site) -> Result<()> {
    for version in STANDARDS {
        for kept in QOS {
            let topic = site.topic("t");
            let mut publisher = site.client(version).await?;
            publisher.publish(Publish { retain: true, ..message_at(&topic, "x", kept) }).await?;
            for granted in QOS {
                let mut subscriber = site.subscriber(version, &topic, granted).await?;
                let got = take_retained(&mut subscriber, "x").await?;
                ensure!(got.qos == kept.min(granted), subscriber.failed("the lower QoS was expected"));
            }
        }
    }
    Ok(())
}

async fn a_message_of_qos_0_replaces(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = publisher_of(&site, version, &topic, "old").await?;
        publisher.publish(Publish { retain: true, ..message(&topic, "new") }).await?;
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        take_retained(&mut subscriber, "new").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn an_empty_message_removes(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = publisher_of(&site, version, &topic, "x").await?;
        let mut early = site.subscriber(version, &topic, QoS::AtLeastOnce).await?;
        take_retained(&mut early, "x").await?;
        publisher.publish(retained(&topic, "")).await?;
        // It is a message like any other for those who are there.
        let got = early.take("").await?;
        ensure!(!got.retain, early.failed("no flag for an established subscription"));
        let mut late = site.subscriber(version, &topic, QoS::AtLeastOnce).await?;
        late.quiet().await?;
        // Where nothing is retained, nothing is to be removed, and nothing is stored.
        publisher.publish(retained(&topic, "")).await?;
        early.take("").await?;
        late.take("").await?;
        site.subscriber(version, &topic, QoS::AtLeastOnce).await?.quiet().await?;
    }
    Ok(())
}

async fn a_message_without_retain_changes_nothing(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "passing", QoS::AtLeastOnce)).await?;
        site.subscriber(version, &topic, QoS::AtLeastOnce).await?.quiet().await?;
        publisher.publish(retained(&topic, "kept")).await?;
        publisher.publish(message_at(&topic, "passing", QoS::AtLeastOnce)).await?;
        publisher.publish(message_at(&topic, "", QoS::AtLeastOnce)).await?;
        let mut subscriber = site.subscriber(version, &topic, QoS::AtLeastOnce).await?;
        take_retained(&mut subscriber, "kept").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn it_outlives_its_publisher(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = publisher_of(&site, version, &topic, "x").await?;
        publisher.send([0xE0, 0]).await?;
        publisher.ended().await?;
        let mut subscriber = site.subscriber(version, &topic, QoS::AtLeastOnce).await?;
        take_retained(&mut subscriber, "x").await?;
    }
    Ok(())
}

async fn an_established_subscription_sees_no_flag(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.send(frame(0x31, &[&text(&topic), none(version), b"x"])).await?;
        subscriber.expect(frame(0x30, &[&text(&topic), none(version), b"x"])).await?;
    }
    Ok(())
}

async fn retain_as_published(site: Site) -> Result<()> {
    for keep in [false, true] {
        let topic = site.topic("t");
        let mut subscriber = site.client(Version::V5).await?;
        let options = SubscribeOptions { retain_as_published: keep, ..SubscribeOptions::default() };
        subscriber.subscribe(&topic, options).await?;
        let mut publisher = site.client(Version::V5).await?;
        for retain in [true, false] {
            publisher.publish(Publish { retain, ..message(&topic, "x") }).await?;
            let got = subscriber.take("x").await?;
            ensure!(got.retain == (keep && retain), subscriber.failed("RETAIN as published"));
        }
        // What was retained has the flag in any case.
        let mut late = site.client(Version::V5).await?;
        late.subscribe(&topic, options).await?;
        take_retained(&mut late, "x").await?;
    }
    Ok(())
}

async fn retain_handling_send(site: Site) -> Result<()> {
    let topic = site.topic("t");
    publisher_of(&site, Version::V5, &topic, "x").await?;
    let mut subscriber = site.client(Version::V5).await?;
    for _ in 0..3 {
        subscriber.subscribe(&topic, options(RetainHandling::Send)).await?;
        take_retained(&mut subscriber, "x").await?;
    }
    subscriber.quiet().await
}

async fn retain_handling_send_if_new(site: Site) -> Result<()> {
    let topic = site.topic("t");
    publisher_of(&site, Version::V5, &topic, "x").await?;
    let mut subscriber = site.client(Version::V5).await?;
    subscriber.subscribe(&topic, options(RetainHandling::SendIfNew)).await?;
    take_retained(&mut subscriber, "x").await?;
    subscriber.subscribe(&topic, options(RetainHandling::SendIfNew)).await?;
    subscriber.quiet().await?;
    // Another filter that matches it is another subscription.
    let wild = format!("{topic}/#");
    subscriber.subscribe(&wild, options(RetainHandling::SendIfNew)).await?;
    take_retained(&mut subscriber, "x").await?;
    subscriber.quiet().await
}

async fn retain_handling_do_not_send(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut publisher = publisher_of(&site, Version::V5, &topic, "kept").await?;
    let mut subscriber = site.client(Version::V5).await?;
    for _ in 0..2 {
        subscriber.subscribe(&topic, options(RetainHandling::DoNotSend)).await?;
        subscriber.quiet().await?;
    }
    publisher.publish(retained(&topic, "new")).await?;
    ensure!(!subscriber.take("new").await?.retain, subscriber.failed("no flag"));
    Ok(())
}

async fn subscribing_again_sends_again(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut publisher = publisher_of(&site, version, &topic, "x").await?;
        let mut subscriber = site.client(version).await?;
        for qos in QOS {
            subscriber.subscribe_at(&topic, qos).await?;
            let got = take_retained(&mut subscriber, "x").await?;
            ensure!(got.qos == qos.min(QoS::AtLeastOnce), subscriber.failed("at the QoS of now"));
        }
        // It replaced the one before: a message comes once.
        publisher.publish(message_at(&topic, "once", QoS::ExactlyOnce)).await?;
        subscriber.take("once").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn no_shared_subscription_gets_any(site: Site) -> Result<()> {
    let topic = site.topic("t");
    publisher_of(&site, Version::V5, &topic, "x").await?;
    let mut subscriber = site.client(Version::V5).await?;
    subscriber.subscribe(&format!("$share/group/{topic}"), options(RetainHandling::Send)).await?;
    subscriber.quiet().await
}

async fn what_is_retained_is_as_it_was(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let list = properties(&[&[0x01, 1], &user("b", "1"), &user("a", "2"), &user("b", "1")]);
    let mut publisher = site.client(Version::V5).await?;
    let bytes = frame(0x31, &[&text(&topic), &list, b"x"]);
    publisher.send(&bytes).await?;
    publisher.quiet().await?;
    let mut subscriber = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
    subscriber.expect(&bytes).await?;
    // The subscription's identifier goes with it.
    let mut identified = site.client(Version::V5).await?;
    let id = SubscriptionId::new(300);
    identified.subscribe_as(id, &topic, SubscribeOptions::default()).await?;
    let got = take_retained(&mut identified, "x").await?;
    ensure!(
        got.properties.subscription_ids == id.into_iter().collect::<Vec<_>>(),
        identified.failed("its identifier")
    );
    Ok(())
}

async fn it_expires(site: Site) -> Result<()> {
    let (short, long) = (site.topic("short"), site.topic("long"));
    let mut publisher = site.client(Version::V5).await?;
    for (topic, expiry_s) in [(&short, 3), (&long, 100)] {
        let properties = PublishProperties { expiry_s: Some(expiry_s), ..PublishProperties::default() };
        publisher.publish(Publish { properties, ..retained(topic, "x") }).await?;
    }
    let mut subscriber = site.subscriber(Version::V5, &short, QoS::AtMostOnce).await?;
    take_retained(&mut subscriber, "x").await?;
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    subscriber.subscribe_at(&short, QoS::AtMostOnce).await?;
    subscriber.quiet().await?;
    subscriber.subscribe_at(&long, QoS::AtMostOnce).await?;
    let left = take_retained(&mut subscriber, "x").await?.properties.expiry_s.context("it expires")?;
    ensure!((80..=96).contains(&left), subscriber.failed("four seconds have passed"));
    Ok(())
}
