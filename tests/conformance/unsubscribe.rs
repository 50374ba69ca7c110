//! UNSUBSCRIBE and UNSUBACK, and PINGREQ.

use anyhow::{Result, ensure};
use revoq_mqtt::{QoS, Version};

use crate::site::{STANDARDS, Site, message_at};
use crate::wire::{frame, none, text};

crate::cases!(
    unsuback_has_the_identifier_of_unsubscribe,
    several_filters_are_answered_in_order,
    what_is_not_subscribed_to,
    filters_are_compared_as_they_are,
    no_new_message_after_unsuback,
    a_delivery_that_has_begun_is_completed,
    pingreq_is_answered,
);

/// Code 0x00 for a subscription that was, 0x11 for none; MQTT 3.1.1 has no codes.
fn unsuback(version: Version, id: u16, codes: &[u8]) -> Vec<u8> {
    let codes = if version.is_v5() { codes } else { &[] };
    frame(0xB0, &[&id.to_be_bytes(), none(version), codes])
}

async fn unsuback_has_the_identifier_of_unsubscribe(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut client = site.client(version).await?;
        for id in [1_u16, 0x1234, 0xFFFF] {
            client.subscribe_at(&topic, QoS::AtMostOnce).await?;
            client.send(frame(0xA2, &[&id.to_be_bytes(), none(version), &text(&topic)])).await?;
            client.expect(unsuback(version, id, &[0])).await?;
        }
        client.quiet().await?;
    }
    Ok(())
}

async fn several_filters_are_answered_in_order(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut client = site.client(version).await?;
        for filter in ["a", "b/+", "c/#"] {
            client.subscribe_at(&format!("{topic}/{filter}"), QoS::AtLeastOnce).await?;
        }
        let filters = ["c/#", "none", "a", "a"].map(|filter| text(format!("{topic}/{filter}"))).concat();
        client.send(frame(0xA2, &[&[0, 5], none(version), &filters])).await?;
        client.expect(unsuback(version, 5, &[0, 0x11, 0, 0x11])).await?;
        let mut publisher = site.client(version).await?;
        for name in ["a", "b/1", "c/1"] {
            publisher.publish(message_at(&format!("{topic}/{name}"), name, QoS::AtLeastOnce)).await?;
        }
        client.take("b/1").await?;
        client.quiet().await?;
    }
    Ok(())
}

async fn what_is_not_subscribed_to(site: Site) -> Result<()> {
    for version in STANDARDS {
        let mut client = site.client(version).await?;
        client.send(frame(0xA2, &[&[0, 1], none(version), &text("nothing")])).await?;
        client.expect(unsuback(version, 1, &[0x11])).await?;
        client.quiet().await?;
    }
    Ok(())
}

async fn filters_are_compared_as_they_are(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut client = site.client(version).await?;
        client.subscribe_at(&format!("{topic}/+"), QoS::AtMostOnce).await?;
        // Filters that match the same topics, or are matched by it, are others.
        let others = ["/#", "/a", "", "/+/", "/+/#"].map(|rest| text(format!("{topic}{rest}"))).concat();
        client.send(frame(0xA2, &[&[0, 1], none(version), &others])).await?;
        client.expect(unsuback(version, 1, &[0x11; 5])).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&format!("{topic}/a"), "still", QoS::AtMostOnce)).await?;
        client.take("still").await?;
        client.send(frame(0xA2, &[&[0, 2], none(version), &text(format!("{topic}/+"))])).await?;
        client.expect(unsuback(version, 2, &[0])).await?;
        publisher.publish(message_at(&format!("{topic}/a"), "over", QoS::AtMostOnce)).await?;
        client.quiet().await?;
    }
    Ok(())
}

async fn no_new_message_after_unsuback(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "before", QoS::AtLeastOnce)).await?;
        subscriber.take("before").await?;
        subscriber.send(frame(0xA2, &[&[0, 1], none(version), &text(&topic)])).await?;
        subscriber.expect(unsuback(version, 1, &[0])).await?;
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish(message_at(&topic, "after", qos)).await?;
        }
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn a_delivery_that_has_begun_is_completed(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
        let got = subscriber.delivery().await?;
        subscriber.send(frame(0xA2, &[&[0, 1], none(version), &text(&topic)])).await?;
        subscriber.expect(unsuback(version, 1, &[0])).await?;
        ensure!(got.qos == QoS::ExactlyOnce, subscriber.failed("QoS 2"));
        subscriber.acknowledge(&got).await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn pingreq_is_answered(site: Site) -> Result<()> {
    for version in STANDARDS {
        let mut client = site.client(version).await?;
        client.send([0xC0, 0, 0xC0, 0, 0xC0, 0]).await?;
        for _ in 0..3 {
            client.expect([0xD0, 0]).await?;
        }
        client.quiet().await?;
    }
    Ok(())
}
