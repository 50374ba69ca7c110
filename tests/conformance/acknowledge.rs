//! PUBLISH to the broker: what it answers, in which order, and that QoS 2 is once.

use anyhow::{Result, ensure};
use revoq_mqtt::{Ack, Packet, PacketId, Publish, QoS, ReasonCode, Version};
use revoq_tests::raw::Raw;

use crate::site::{QOS, STANDARDS, Site, message, message_at};
use crate::wire::{frame, none, text};

crate::cases!(
    qos_0_is_not_answered,
    qos_1_is_answered_by_puback,
    qos_2_is_answered_by_pubrec_and_pubcomp,
    answers_come_in_order,
    a_qos_2_message_that_comes_again_is_the_same,
    an_identifier_is_free_after_pubcomp,
    an_identifier_is_free_after_puback,
    a_pubrel_of_nothing,
    dup_is_not_handed_on,
    every_subscriber_gets_it_before_the_answer,
    nobody_wants_it,
);

/// PUBLISH by hand: QoS 1 and 2 with packet identifier `id`.
fn publish(version: Version, dup: bool, qos: QoS, topic: &str, id: u16, payload: &str) -> Vec<u8> {
    let first = 0x30 | u8::from(dup) << 3 | (qos as u8) << 1;
    frame(first, &[&text(topic), &id.to_be_bytes(), none(version), payload.as_bytes()])
}

fn ack(first: u8, id: u16) -> Vec<u8> {
    frame(first, &[&id.to_be_bytes()])
}

/// The topic with a subscriber at QoS 2, and a publisher.
async fn pair(site: &Site, version: Version) -> Result<(String, Raw, Raw)> {
    let topic = site.topic("t");
    let subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
    Ok((topic, subscriber, site.client(version).await?))
}

async fn qos_0_is_not_answered(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        let bytes = crate::wire::publish(version, &topic, "x");
        publisher.send(&bytes).await?;
        publisher.quiet().await?;
        // QoS 0, DUP 0, no packet identifier.
        subscriber.expect(&bytes).await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn qos_1_is_answered_by_puback(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        for id in [1, 2, 0xFFFF] {
            publisher.send(publish(version, false, QoS::AtLeastOnce, &topic, id, "x")).await?;
            publisher.expect(ack(0x40, id)).await?;
            let got = subscriber.take("x").await?;
            ensure!(got.qos == QoS::AtLeastOnce && !got.dup, subscriber.failed("QoS 1 without DUP"));
        }
        publisher.quiet().await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn qos_2_is_answered_by_pubrec_and_pubcomp(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        for id in [1, 0xFFFF] {
            publisher.send(publish(version, false, QoS::ExactlyOnce, &topic, id, "x")).await?;
            publisher.expect(ack(0x50, id)).await?;
            publisher.quiet().await?;
            publisher.send(ack(0x62, id)).await?;
            publisher.expect(ack(0x70, id)).await?;
            let got = subscriber.take("x").await?;
            ensure!(got.qos == QoS::ExactlyOnce && !got.dup, subscriber.failed("QoS 2 without DUP"));
        }
        publisher.quiet().await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn answers_come_in_order(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        let qos = |id: u16| if id.is_multiple_of(3) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let ids = || (1..=60).rev();
        let all: Vec<u8> =
            ids().flat_map(|id| publish(version, false, qos(id), &topic, id, &id.to_string())).collect();
        publisher.send(all).await?;
        for id in ids() {
            publisher.expect(ack(if qos(id) == QoS::AtLeastOnce { 0x40 } else { 0x50 }, id)).await?;
        }
        for id in ids() {
            let got = subscriber.delivery().await?;
            ensure!(got.payload == id.to_string().as_bytes(), subscriber.failed("in order"));
        }
        let second: Vec<u16> = ids().filter(|id| qos(*id) == QoS::ExactlyOnce).collect();
        publisher.send(second.iter().flat_map(|id| ack(0x62, *id)).collect::<Vec<u8>>()).await?;
        for id in second {
            publisher.expect(ack(0x70, id)).await?;
        }
    }
    Ok(())
}

async fn a_qos_2_message_that_comes_again_is_the_same(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        publisher.send(publish(version, false, QoS::ExactlyOnce, &topic, 7, "once")).await?;
        publisher.expect(ack(0x50, 7)).await?;
        for _ in 0..2 {
            publisher.send(publish(version, true, QoS::ExactlyOnce, &topic, 7, "once")).await?;
            publisher.expect(ack(0x50, 7)).await?;
        }
        publisher.send(ack(0x62, 7)).await?;
        publisher.expect(ack(0x70, 7)).await?;
        publisher.quiet().await?;
        subscriber.take("once").await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn an_identifier_is_free_after_pubcomp(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        for (dup, payload) in [(false, "one"), (true, "two")] {
            publisher.send(publish(version, dup, QoS::ExactlyOnce, &topic, 7, payload)).await?;
            publisher.expect(ack(0x50, 7)).await?;
            publisher.send(ack(0x62, 7)).await?;
            publisher.expect(ack(0x70, 7)).await?;
            subscriber.take(payload).await?;
        }
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn an_identifier_is_free_after_puback(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
        for (dup, payload) in [(false, "one"), (true, "two"), (false, "three")] {
            publisher.send(publish(version, dup, QoS::AtLeastOnce, &topic, 7, payload)).await?;
            publisher.expect(ack(0x40, 7)).await?;
            subscriber.take(payload).await?;
        }
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn a_pubrel_of_nothing(site: Site) -> Result<()> {
    let mut old = site.client(Version::V311).await?;
    old.send(ack(0x62, 9)).await?;
    old.expect(ack(0x70, 9)).await?;
    let mut new = site.client(Version::V5).await?;
    new.send(ack(0x62, 9)).await?;
    new.expect([0x70, 3, 0, 9, 0x92]).await?;
    new.quiet().await
}

async fn dup_is_not_handed_on(site: Site) -> Result<()> {
    for version in STANDARDS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (topic, mut subscriber, mut publisher) = pair(&site, version).await?;
            publisher.publish(Publish { dup: true, ..message_at(&topic, "x", qos) }).await?;
            let got = subscriber.take("x").await?;
            ensure!(!got.dup && got.qos == qos, subscriber.failed("DUP is the publisher's own"));
        }
    }
    Ok(())
}

/// Ownership: what was acknowledged is with every subscriber's session, also with those that read later.
async fn every_subscriber_gets_it_before_the_answer(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscribers = Vec::new();
    for version in STANDARDS {
        for qos in QOS {
            subscribers.push((qos, site.subscriber(version, &topic, qos).await?));
        }
    }
    let mut publisher = site.client(Version::V5).await?;
    for qos in QOS {
        publisher.publish(message_at(&topic, "x", qos)).await?;
        for (granted, subscriber) in &mut subscribers {
            let got = subscriber.take("x").await?;
            ensure!(got.qos == qos.min(*granted), subscriber.failed("the lower QoS was expected"));
            subscriber.quiet().await?;
        }
    }
    Ok(())
}

async fn nobody_wants_it(site: Site) -> Result<()> {
    // Not below `#`, to which a case beside this one subscribes.
    let topic = format!("$x/{}", site.topic("t"));
    let mut publisher = site.client(Version::V5).await?;
    for (qos, first) in [(QoS::AtLeastOnce, 0x40), (QoS::ExactlyOnce, 0x50)] {
        let packet_id = PacketId::new(3);
        publisher
            .send_packet(&Packet::Publish(Publish { packet_id, ..message_at(&topic, "x", qos) }))
            .await?;
        publisher.expect([first, 3, 0, 3, 0x10]).await?;
    }
    publisher
        .send_packet(&Packet::PubRel(Ack::new(PacketId::new(3).expect("not zero"), ReasonCode::Success)))
        .await?;
    publisher.expect([0x70, 2, 0, 3]).await?;
    publisher.publish(message(&topic, "x")).await
}
