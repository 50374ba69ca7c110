//! Properties of a message: they reach every subscriber as they were.

use anyhow::{Result, ensure};
use revoq_mqtt::{QoS, Version};

use crate::site::{QOS, Site};
use crate::wire::{frame, none, properties, text, user};

crate::cases!(
    every_property_is_handed_on,
    user_properties_keep_their_order,
    a_payload_format_is_handed_on,
    a_request_and_its_response,
    user_properties_of_requests,
    older_subscribers_get_none,
);

const V5: Version = Version::V5;

fn one(id: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[id][..], &text(value)].concat()
}

/// PUBLISH as sent, and what comes of it, byte for byte.
async fn unaltered(site: &Site, list: &[&[u8]], payload: &[u8]) -> Result<()> {
    for qos in QOS {
        let topic = site.topic("t");
        let mut subscribers =
            [site.subscriber(V5, &topic, qos).await?, site.subscriber(V5, &topic, qos).await?];
        let mut publisher = site.client(V5).await?;
        let id: &[u8] = if qos == QoS::AtMostOnce { &[] } else { &[0, 1] };
        let bytes = frame(0x30 | (qos as u8) << 1, &[&text(&topic), id, &properties(list), payload]);
        publisher.send(&bytes).await?;
        for subscriber in &mut subscribers {
            // The first packet identifier that the broker gives in a connection is 1 as well.
            subscriber.expect(&bytes).await?;
        }
    }
    Ok(())
}

async fn every_property_is_handed_on(site: Site) -> Result<()> {
    let list = [
        vec![0x01, 1],
        one(0x08, "answers/here"),
        one(0x09, [0, 1, 0xFF, 0xFE]),
        user("name", "value"),
        one(0x03, "text/plain; charset=utf-8"),
    ];
    unaltered(&site, &list.each_ref().map(Vec::as_slice), "grüße".as_bytes()).await
}

async fn user_properties_keep_their_order(site: Site) -> Result<()> {
    let list = [user("b", "1"), user("a", "2"), user("b", "1"), user("", ""), user("a", "3"), user("B", "ü")];
    unaltered(&site, &list.each_ref().map(Vec::as_slice), b"x").await?;
    // Others between them change nothing in their order.
    let list = [user("z", "1"), vec![0x01, 0], user("y", "2"), one(0x03, "a"), user("z", "3")];
    unaltered(&site, &list.each_ref().map(Vec::as_slice), b"x").await
}

async fn a_payload_format_is_handed_on(site: Site) -> Result<()> {
    for format in [0, 1] {
        unaltered(&site, &[&[0x01, format]], b"text").await?;
    }
    Ok(())
}

async fn a_request_and_its_response(site: Site) -> Result<()> {
    let (requests, answers) = (site.topic("requests"), site.topic("answers"));
    let mut responder = site.subscriber(V5, &requests, QoS::AtMostOnce).await?;
    let mut requester = site.subscriber(V5, &answers, QoS::AtMostOnce).await?;
    let list = properties(&[&one(0x08, &answers), &one(0x09, "17")]);
    requester.send(frame(0x30, &[&text(&requests), &list, b"question"])).await?;
    let request = responder.take("question").await?;
    let answer_to = request.properties.forwarded.response_topic();
    ensure!(answer_to.is_some_and(|topic| topic.as_str() == answers), responder.failed("the response topic"));
    let bytes = frame(0x30, &[&text(&answers), &properties(&[&one(0x09, "17")]), b"answer"]);
    responder.send(&bytes).await?;
    requester.expect(&bytes).await
}

/// They may stand in every packet, also where they mean nothing to the broker.
async fn user_properties_of_requests(site: Site) -> Result<()> {
    let (id, topic) = (text(site.id().to_string()), site.topic("t"));
    let users = properties(&[&user("a", "1"), &user("a", "1")]);
    let mut client = site.bare(V5).await?;
    client.send(crate::wire::connect_as("MQTT", 5, 0x02, &users, &[&id])).await?;
    client.packet().await?;
    client.send(frame(0x82, &[&[0, 1], &users, &text(&topic), &[2]])).await?;
    client.expect([0x90, 4, 0, 1, 0, 2]).await?;
    client.send(frame(0x34, &[&text(&topic), &[0, 1], none(V5), b"x"])).await?;
    let (one, two) = (client.packet().await?, client.packet().await?);
    let acknowledged = |packet: &revoq_mqtt::Packet| matches!(packet, revoq_mqtt::Packet::PubRec(_));
    ensure!(acknowledged(&one) != acknowledged(&two), client.failed("PUBREC and PUBLISH were expected"));
    client.send(frame(0x62, &[&[0, 1], &[0], &users])).await?;
    client.expect([0x70, 2, 0, 1]).await?;
    client.send(frame(0x50, &[&[0, 1], &[0], &users])).await?;
    client.expect([0x62, 2, 0, 1]).await?;
    client.send(frame(0x70, &[&[0, 1], &[0], &users])).await?;
    client.send(frame(0xA2, &[&[0, 2], &users, &text(&topic)])).await?;
    client.expect([0xB0, 4, 0, 2, 0, 0]).await?;
    client.send(frame(0xE0, &[&[0], &users])).await?;
    client.ended().await
}

async fn older_subscribers_get_none(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut subscriber = site.subscriber(Version::V311, &topic, QoS::AtMostOnce).await?;
    let mut publisher = site.client(V5).await?;
    let list = properties(&[&[0x01, 1], &user("a", "1"), &[0x02, 0, 0, 1, 0]]);
    publisher.send(frame(0x30, &[&text(&topic), &list, b"x"])).await?;
    subscriber.expect(crate::wire::publish(Version::V311, &topic, "x")).await
}
