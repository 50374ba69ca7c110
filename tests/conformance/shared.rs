//! Shared subscriptions (MQTT 5.0 section 4.8.2).

use std::num::NonZeroU16;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Packet, PacketId, QoS, ReasonCode, SubscribeOptions, SubscriptionId, Version};
use revoq_tests::raw::Raw;

use crate::malformed::fatal;
use crate::site::{QOS, Site, message, message_at};
use crate::wire::{frame, subscribe, text, unsubscribe};

crate::cases!(
    share_names_and_filters,
    each_message_goes_to_one_of_a_group,
    each_group_gets_its_own,
    each_member_has_its_own_qos,
    a_subscription_identifier_of_a_group,
    a_message_that_a_member_refuses,
    beside_a_subscription_of_ones_own,
    after_unsubscribe,
    a_member_that_ends_midway,
);

const V5: Version = Version::V5;

async fn share_names_and_filters(site: Site) -> Result<()> {
    let wrong =
        ["$share/", "$share/group", "$share/group/", "$share//a", "$share/a+/b", "$share/#/b", "$share/+/b"];
    for filter in wrong {
        let result = fatal(&site, V5, &subscribe(V5, filter, 0), ReasonCode::TopicFilterInvalid).await;
        result.with_context(|| filter.to_owned())?;
        fatal(&site, V5, &unsubscribe(V5, filter), ReasonCode::TopicFilterInvalid).await?;
    }
    let topic = site.topic("t");
    let mut client = site.client(V5).await?;
    for filter in
        [format!("$share/g/{topic}"), format!("$share/g h/{topic}/#"), format!("$share/\u{e4}/+/{topic}")]
    {
        client.subscribe_at(&filter, QoS::AtMostOnce).await?;
    }
    Ok(())
}

/// How many of `count` messages each member got.
async fn counts(members: &mut [Raw], count: usize) -> Result<Vec<usize>> {
    let mut got = Vec::new();
    for member in members.iter_mut() {
        // PINGRESP comes after all that was there.
        member.send([0xC0, 0]).await?;
        let mut taken = 0;
        loop {
            match member.packet().await? {
                Packet::Publish(publish) => {
                    member.acknowledge(&publish).await?;
                    taken += 1;
                }
                Packet::PingResp => break,
                _ => return Err(member.failed("PUBLISH or PINGRESP was expected")),
            }
        }
        got.push(taken);
    }
    ensure!(got.iter().sum::<usize>() == count, "{got:?} of {count}");
    Ok(got)
}

async fn members(site: &Site, filter: &str, count: usize) -> Result<Vec<Raw>> {
    let mut members = Vec::new();
    for _ in 0..count {
        members.push(site.subscriber(V5, filter, QoS::AtLeastOnce).await?);
    }
    Ok(members)
}

async fn each_message_goes_to_one_of_a_group(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut group = members(&site, &format!("$share/g/{topic}"), 3).await?;
    let mut publisher = site.client(V5).await?;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        for _ in 0..30 {
            publisher.publish(message_at(&topic, "x", qos)).await?;
        }
        let got = counts(&mut group, 30).await?;
        ensure!(got.iter().all(|count| *count > 0), "somebody got nothing: {got:?}");
    }
    Ok(())
}

async fn each_group_gets_its_own(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut one = members(&site, &format!("$share/one/{topic}"), 2).await?;
    let mut two = members(&site, &format!("$share/two/{topic}"), 2).await?;
    let mut wild = members(&site, &format!("$share/one/{topic}/#"), 1).await?;
    let mut alone = site.subscriber(V5, &topic, QoS::AtLeastOnce).await?;
    let mut publisher = site.client(V5).await?;
    for _ in 0..10 {
        publisher.publish(message(&topic, "x")).await?;
        alone.take("x").await?;
    }
    for group in [&mut one, &mut two, &mut wild] {
        counts(group, 10).await?;
    }
    Ok(())
}

async fn each_member_has_its_own_qos(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut group = Vec::new();
    for qos in QOS {
        group.push((qos, site.subscriber(V5, &format!("$share/g/{topic}"), qos).await?));
    }
    let mut publisher = site.client(V5).await?;
    for _ in 0..12 {
        publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
    }
    let mut all = 0;
    for (granted, member) in &mut group {
        member.send([0xC0, 0]).await?;
        loop {
            match member.packet().await? {
                Packet::Publish(publish) => {
                    ensure!(publish.qos == *granted, member.failed("the granted QoS"));
                    all += 1;
                }
                Packet::PingResp => break,
                _ => return Err(member.failed("PUBLISH or PINGRESP was expected")),
            }
        }
    }
    ensure!(all == 12, "{all} of 12");
    Ok(())
}

async fn a_subscription_identifier_of_a_group(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut member = site.client(V5).await?;
    let id = SubscriptionId::new(9);
    member.subscribe_as(id, &format!("$share/g/{topic}"), SubscribeOptions::default()).await?;
    site.client(V5).await?.publish(message(&topic, "x")).await?;
    let got = member.take("x").await?;
    ensure!(
        got.properties.subscription_ids == id.into_iter().collect::<Vec<_>>(),
        member.failed("its identifier")
    );
    Ok(())
}

/// It is discarded, and goes to nobody else.
async fn a_message_that_a_member_refuses(site: Site) -> Result<()> {
    for (qos, ack) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
        let topic = site.topic("t");
        let filter = format!("$share/g/{topic}");
        let mut connect = site.connect(V5);
        connect.properties.receive_max = NonZeroU16::new(5);
        let mut first = site.join(&connect).await?.0;
        first.subscribe_at(&filter, qos).await?;
        site.client(V5).await?.publish(message_at(&topic, "x", qos)).await?;
        let got = first.delivery().await?;
        // Who comes now could be given it.
        let mut second = site.subscriber(V5, &filter, qos).await?;
        let id = got.packet_id.map_or(0, PacketId::get).to_be_bytes();
        first.send(frame(ack, &[&id, &[0x80]])).await?;
        first.quiet().await?;
        second.quiet().await?;
    }
    Ok(())
}

/// The two are subscriptions apart: one message each.
async fn beside_a_subscription_of_ones_own(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut client = site.client(V5).await?;
    client.subscribe_at(&format!("$share/g/{topic}"), QoS::AtMostOnce).await?;
    client.subscribe_at(&topic, QoS::AtMostOnce).await?;
    site.client(V5).await?.publish(message(&topic, "x")).await?;
    client.take("x").await?;
    client.take("x").await?;
    client.quiet().await
}

async fn after_unsubscribe(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let filter = format!("$share/g/{topic}");
    let mut group = members(&site, &filter, 2).await?;
    group[0].send(frame(0xA2, &[&[0, 1], &[0], &text(&topic), &text(&filter)])).await?;
    group[0].expect([0xB0, 5, 0, 1, 0, 0x11, 0]).await?;
    let mut publisher = site.client(V5).await?;
    for _ in 0..6 {
        publisher.publish(message(&topic, "x")).await?;
    }
    ensure!(counts(&mut group, 6).await? == [0, 6], "all go to the one that is left");
    Ok(())
}

/// What had begun is nobody else's: the session that was to complete it has ended.
async fn a_member_that_ends_midway(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let filter = format!("$share/g/{topic}");
    let connect = site.connect(V5);
    let mut first = site.join(&connect).await?.0;
    first.subscribe_at(&filter, QoS::ExactlyOnce).await?;
    let mut publisher = site.client(V5).await?;
    publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
    first.delivery().await?;
    let mut second = site.subscriber(V5, &filter, QoS::ExactlyOnce).await?;
    first.drop_connection().await;
    // The same client again, cleanly: the session before is over.
    site.join(&connect).await?.0.quiet().await?;
    second.quiet().await?;
    publisher.publish(message_at(&topic, "next", QoS::ExactlyOnce)).await?;
    second.take("next").await?;
    second.quiet().await
}
