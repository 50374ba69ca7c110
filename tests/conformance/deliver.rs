//! PUBLISH from the broker: identifiers, the exchange of each QoS, order.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use anyhow::{Result, ensure};
use revoq_mqtt::{PacketId, Publish, QoS, ReasonCode, Version};
use revoq_tests::raw::Raw;

use crate::site::{QOS, STANDARDS, Site, message, message_at};
use crate::wire::{frame, none, text};

crate::cases!(
    identifiers_are_fresh,
    puback_frees_the_identifier,
    pubrec_is_answered_by_pubrel,
    a_qos_1_message_that_is_refused,
    a_qos_2_message_that_is_refused,
    acknowledgements_of_nothing,
    acknowledgements_of_another_kind,
    nothing_is_sent_again_within_a_connection,
    messages_stay_in_order,
    messages_between_versions,
    a_message_to_oneself,
    a_connection_that_ends_midway,
);

/// A subscriber that may hold so many messages unacknowledged; 3.1.1 has no such word.
async fn narrow(site: &Site, version: Version, filter: &str, receive_max: u16) -> Result<Raw> {
    let mut connect = site.connect(version);
    connect.properties.receive_max = NonZeroU16::new(receive_max);
    let mut raw = site.join(&connect).await?.0;
    raw.subscribe_at(filter, QoS::ExactlyOnce).await?;
    Ok(raw)
}

async fn identifiers_are_fresh(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        let mut used = BTreeSet::new();
        for n in 0..40 {
            let qos = if n % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish(message_at(&topic, "x", qos)).await?;
            // A packet identifier of zero would not be decoded.
            let got = subscriber.delivery().await?;
            ensure!(used.insert(got.packet_id), subscriber.failed("an identifier that is in use"));
        }
        publisher.publish(message(&topic, "x")).await?;
        ensure!(subscriber.delivery().await?.packet_id.is_none(), subscriber.failed("QoS 0 has none"));
    }
    Ok(())
}

async fn puback_frees_the_identifier(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = narrow(&site, Version::V5, &topic, 1).await?;
    let mut publisher = site.client(Version::V5).await?;
    for payload in ["1", "2", "3"] {
        publisher.publish(message_at(&topic, payload, QoS::AtLeastOnce)).await?;
    }
    for payload in ["1", "2", "3"] {
        let got = subscriber.delivery().await?;
        ensure!(got.payload == payload.as_bytes(), subscriber.failed("in order, one at a time"));
        // Until PUBACK it is unacknowledged, and nothing more may be.
        subscriber.quiet().await?;
        subscriber.acknowledge(&got).await?;
    }
    Ok(())
}

async fn pubrec_is_answered_by_pubrel(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.publish(message_at(&topic, "x", QoS::ExactlyOnce)).await?;
        let got = subscriber.delivery().await?;
        ensure!(got.qos == QoS::ExactlyOnce && !got.dup, subscriber.failed("QoS 2 without DUP"));
        let id = got.packet_id.map_or(0, PacketId::get).to_be_bytes();
        subscriber.quiet().await?;
        // A PUBREC that comes again is answered again; PUBLISH is not sent any more.
        for _ in 0..2 {
            subscriber.send(frame(0x50, &[&id])).await?;
            subscriber.expect(frame(0x62, &[&id])).await?;
        }
        subscriber.send(frame(0x70, &[&id])).await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

/// The client has acknowledged it all the same: the quota is free, and it does not come again.
async fn a_qos_1_message_that_is_refused(site: Site) -> Result<()> {
    refused(&site, QoS::AtLeastOnce, 0x40).await
}

async fn a_qos_2_message_that_is_refused(site: Site) -> Result<()> {
    refused(&site, QoS::ExactlyOnce, 0x50).await
}

async fn refused(site: &Site, qos: QoS, ack: u8) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = narrow(site, Version::V5, &topic, 1).await?;
    let mut publisher = site.client(Version::V5).await?;
    for payload in ["refused", "next"] {
        publisher.publish(message_at(&topic, payload, qos)).await?;
    }
    let got = subscriber.delivery().await?;
    ensure!(got.payload == "refused", subscriber.failed("the first comes first"));
    let id = got.packet_id.map_or(0, PacketId::get).to_be_bytes();
    subscriber.send(frame(ack, &[&id, &[0x97]])).await?;
    // No PUBREL in between.
    subscriber.take("next").await?;
    subscriber.quiet().await
}

async fn acknowledgements_of_nothing(site: Site) -> Result<()> {
    for version in STANDARDS {
        let mut client = site.client(version).await?;
        client.send(frame(0x40, &[&[0, 9]])).await?;
        client.send(frame(0x70, &[&[0, 9]])).await?;
        client.quiet().await?;
        client.send(frame(0x50, &[&[0, 9]])).await?;
        let not_found: &[u8] = if version.is_v5() { &[0x62, 3, 0, 9, 0x92] } else { &[0x62, 2, 0, 9] };
        client.expect(not_found).await?;
        client.quiet().await?;
    }
    Ok(())
}

/// What no receiver of that PUBLISH could have sent.
async fn acknowledgements_of_another_kind(site: Site) -> Result<()> {
    for version in STANDARDS {
        for (qos, answers) in [(QoS::AtLeastOnce, [0x50, 0x70]), (QoS::ExactlyOnce, [0x40, 0x70])] {
            for answer in answers {
                let topic = site.topic("t");
                let mut subscriber = site.subscriber(version, &topic, qos).await?;
                site.client(version).await?.publish(message_at(&topic, "x", qos)).await?;
                let got = subscriber.delivery().await?;
                let id = got.packet_id.map_or(0, PacketId::get).to_be_bytes();
                subscriber.send(frame(answer, &[&id])).await?;
                subscriber.disconnected(ReasonCode::ProtocolError).await?;
            }
        }
    }
    Ok(())
}

async fn nothing_is_sent_again_within_a_connection(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
            publisher.publish(message_at(&topic, "x", qos)).await?;
        }
        // PUBACK, PUBREC and PUBCOMP are owed by the client.
        let (_, _, third) =
            (subscriber.delivery().await?, subscriber.delivery().await?, subscriber.delivery().await?);
        let id = third.packet_id.map_or(0, PacketId::get).to_be_bytes();
        subscriber.send(frame(0x50, &[&id])).await?;
        subscriber.expect(frame(0x62, &[&id])).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn messages_stay_in_order(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        for qos in QOS {
            let mut consumers = Vec::new();
            for _ in 0..2 {
                consumers.push(site.subscriber(version, &format!("{topic}/{}", qos as u8), qos).await?);
            }
            let mut publisher = site.client(version).await?;
            let name = format!("{topic}/{}", qos as u8);
            let first = 0x30 | (qos as u8) << 1;
            let all: Vec<u8> = (1..=100_u16)
                .flat_map(|n| {
                    let id = n.to_be_bytes();
                    let id: &[u8] = if qos == QoS::AtMostOnce { &[] } else { &id };
                    frame(first, &[&text(&name), id, none(version), n.to_string().as_bytes()])
                })
                .collect();
            publisher.send(all).await?;
            for consumer in &mut consumers {
                for n in 1..=100 {
                    let got = consumer.delivery().await?;
                    ensure!(
                        got.payload == n.to_string().as_bytes(),
                        consumer.failed(&format!("{n} was expected"))
                    );
                }
            }
        }
    }
    Ok(())
}

async fn messages_between_versions(site: Site) -> Result<()> {
    for (from, to) in
        [(Version::V5, Version::V311), (Version::V311, Version::V5), (Version::V31, Version::V5)]
    {
        let topic = site.topic("t");
        let mut subscriber = site.subscriber(to, &topic, QoS::AtMostOnce).await?;
        let mut publisher = site.client(from).await?;
        let properties: &[u8] = if from.is_v5() { &[2, 0x01, 1] } else { &[] };
        publisher.send(frame(0x30, &[&text(&topic), properties, b"x"])).await?;
        subscriber.expect(crate::wire::publish(to, &topic, "x")).await?;
    }
    Ok(())
}

async fn a_message_to_oneself(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut client = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let bytes = crate::wire::publish(version, &topic, "x");
        client.send(&bytes).await?;
        client.expect(&bytes).await?;
    }
    Ok(())
}

/// What a client that went away had not acknowledged disturbs nobody, and a session that was to end with the connection
/// hands none of it on.
async fn a_connection_that_ends_midway(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let connect = site.connect(version);
        let mut subscriber = site.join(&connect).await?.0;
        subscriber.subscribe_at(&topic, QoS::ExactlyOnce).await?;
        let mut publisher = site.client(version).await?;
        let halfway =
            Publish { packet_id: Some(publisher.next_id()), ..message_at(&topic, "x", QoS::ExactlyOnce) };
        publisher.send_packet(&revoq_mqtt::Packet::Publish(halfway)).await?;
        publisher.packet().await?;
        subscriber.delivery().await?;
        subscriber.drop_connection().await;
        publisher.quiet().await?;
        let (mut again, ack) = site.join(&connect).await?;
        ensure!(!ack.session_present, again.failed("nothing was to last"));
        publisher.publish(message(&topic, "later")).await?;
        again.quiet().await?;
    }
    Ok(())
}
