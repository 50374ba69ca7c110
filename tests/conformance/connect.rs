//! CONNECT: what must be in it, and what the broker makes of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Auth, Authentication, ClientId, Connect, Packet, QoS, ReasonCode, Version, Will};
use revoq_tests::raw::Raw;

use crate::malformed::{fatal, not_let_in};
use crate::site::{STANDARDS, Site, VERSIONS, message};
use crate::wire::{connect, connect_as, frame, none, properties, publish, subscribe, text};

crate::cases!(
    the_first_packet_is_connect,
    a_second_connect,
    protocol_names,
    protocol_levels,
    the_reserved_flag,
    will_flags,
    will_fields_as_the_flags_say,
    credentials_as_the_flags_say,
    a_password_without_a_user_name,
    the_order_of_the_payload,
    client_identifiers,
    a_client_identifier_that_is_too_long,
    an_empty_client_identifier,
    an_assigned_client_identifier_is_the_clients,
    nothing_after_a_refusal,
    packets_before_connack,
    a_client_identifier_is_taken_over,
    an_authentication_method,
    authentication_without_a_method,
    silence_beyond_the_keepalive,
    no_keepalive,
);

async fn first(site: &Site, version: Version, bytes: &[u8]) -> Result<Raw> {
    let mut raw = site.bare(version).await?;
    raw.send(bytes).await?;
    Ok(raw)
}

async fn the_first_packet_is_connect(site: Site) -> Result<()> {
    for version in STANDARDS {
        for bytes in [
            publish(version, "a", "x"),
            subscribe(version, "a", 0),
            frame(0xC0, &[]),
            frame(0xE0, &[]),
            frame(0x40, &[&[0, 1]]),
            frame(0x20, &[&[0, 0], none(version)]),
        ] {
            first(&site, version, &bytes).await?.ended().await?;
        }
    }
    first(&site, Version::V5, &[0xF0, 0]).await?.ended().await
}

async fn a_second_connect(site: Site) -> Result<()> {
    for version in STANDARDS {
        let bytes = connect(version, 0x02, &[&text("another")]);
        fatal(&site, version, &bytes, ReasonCode::ProtocolError).await?;
    }
    Ok(())
}

async fn protocol_names(site: Site) -> Result<()> {
    for name in ["MQTX", "mqtt", "MQTT5", "MQIsd", ""] {
        for level in [4, 5] {
            let empty: &[u8] = if level == 5 { &[0] } else { &[] };
            let bytes = connect_as(name, level, 0x02, empty, &[&text("id")]);
            let raw = first(&site, Version::V311, &bytes).await?;
            raw.ended().await.with_context(|| format!("protocol name {name:?}"))?;
        }
    }
    Ok(())
}

async fn protocol_levels(site: Site) -> Result<()> {
    for level in [0, 2, 6, 0x84, 0xFF] {
        let bytes = connect_as("MQTT", level, 0x02, &[], &[&text("id")]);
        let mut raw = first(&site, Version::V311, &bytes).await?;
        raw.expect([0x20, 2, 0, 1]).await?;
        raw.ended().await?;
    }
    Ok(())
}

async fn the_reserved_flag(site: Site) -> Result<()> {
    for version in STANDARDS {
        let raw = first(&site, version, &connect(version, 0x03, &[&text("id")])).await?;
        not_let_in(raw, ReasonCode::MalformedPacket).await?;
    }
    Ok(())
}

async fn will_flags(site: Site) -> Result<()> {
    for version in STANDARDS {
        // Will QoS 1, 2 and 3, and Will Retain, without a will; Will QoS 3 with one.
        let fields = [none(version), &text("w"), &text("gone")].concat();
        let wrong: [(u8, &[u8]); 5] = [(0x0A, &[]), (0x12, &[]), (0x1A, &[]), (0x22, &[]), (0x1E, &fields)];
        for (flags, fields) in wrong {
            let raw = first(&site, version, &connect(version, flags, &[&text("id"), fields])).await?;
            let result = not_let_in(raw, ReasonCode::MalformedPacket).await;
            result.with_context(|| format!("flags {flags:#04x}"))?;
        }
    }
    Ok(())
}

async fn will_fields_as_the_flags_say(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, payload) = (text("w"), text("gone"));
        let properties = none(version);
        // No field; no payload; fields that no flag announces.
        for (flags, fields) in
            [(0x06, vec![]), (0x06, vec![properties, &topic]), (0x02, vec![properties, &topic, &payload])]
        {
            let bytes = connect(version, flags, &[&text("id"), &fields.concat()]);
            not_let_in(first(&site, version, &bytes).await?, ReasonCode::MalformedPacket).await?;
        }
    }
    Ok(())
}

async fn credentials_as_the_flags_say(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (name, password) = (text("name"), text("password"));
        let malformed: &[(u8, &[&[u8]])] =
            &[(0x82, &[]), (0xC2, &[&name]), (0x02, &[&name]), (0x82, &[&name, &password])];
        for (flags, fields) in malformed {
            let bytes = connect(version, *flags, &[&text("id"), &fields.concat()]);
            let result = not_let_in(first(&site, version, &bytes).await?, ReasonCode::MalformedPacket).await;
            result.with_context(|| format!("flags {flags:#04x}, {} fields", fields.len()))?;
        }
        let id = text(site.id().to_string());
        let accepted: &[(u8, &[&[u8]])] = &[(0x02, &[]), (0x82, &[&name]), (0xC2, &[&name, &password])];
        for (flags, fields) in accepted {
            let mut raw = first(&site, version, &connect(version, *flags, &[&id, &fields.concat()])).await?;
            accepted_with(&mut raw).await?;
        }
    }
    Ok(())
}

async fn accepted_with(raw: &mut Raw) -> Result<()> {
    match raw.packet().await? {
        Packet::ConnAck(ack) if ack.reason == ReasonCode::Success => raw.quiet().await,
        _ => Err(raw.failed("CONNACK with success was expected")),
    }
}

async fn a_password_without_a_user_name(site: Site) -> Result<()> {
    let old = connect(Version::V311, 0x42, &[&text("id"), &text("password")]);
    first(&site, Version::V311, &old).await?.ended().await?;
    let id = text(site.id().to_string());
    let new = connect(Version::V5, 0x42, &[&id, &text("password")]);
    accepted_with(&mut first(&site, Version::V5, &new).await?).await
}

/// Client identifier, will, user name, password: read in another order, the will would be another.
async fn the_order_of_the_payload(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, id) = (site.topic("will"), site.id().to_string());
        let mut watcher = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let payload: &[&[u8]] =
            &[&text(&id), none(version), &text(&topic), &text("gone"), &text("name"), &text("password")];
        let mut raw = first(&site, version, &connect(version, 0xC6, payload)).await?;
        accepted_with(&mut raw).await?;
        raw.drop_connection().await;
        watcher.take("gone").await?;
        watcher.quiet().await?;
    }
    Ok(())
}

async fn client_identifiers(site: Site) -> Result<()> {
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut ids: Vec<String> =
        alphabet.as_bytes().chunks(23).map(|id| String::from_utf8_lossy(id).into()).collect();
    ids.extend(["7".to_owned(), "x".repeat(24), "y".repeat(200), "gerät/+#$ 中".to_owned()]);
    for version in VERSIONS {
        for id in &ids {
            let connect = Connect::new(version, id.parse::<ClientId>()?);
            site.join(&connect).await?.0.quiet().await?;
        }
    }
    Ok(())
}

async fn a_client_identifier_that_is_too_long(site: Site) -> Result<()> {
    let id = text("x".repeat(1025));
    for version in [Version::V31, Version::V311] {
        let mut raw = first(&site, version, &connect(version, 0x02, &[&id])).await?;
        raw.expect([0x20, 2, 0, 2]).await?;
        raw.ended().await?;
    }
    let raw = first(&site, Version::V5, &connect(Version::V5, 0x02, &[&id])).await?;
    not_let_in(raw, ReasonCode::ClientIdentifierNotValid).await
}

async fn an_empty_client_identifier(site: Site) -> Result<()> {
    let empty = text("");
    // 3.1 asks for one; 3.1.1 only with Clean Session 0.
    for (version, flags) in [(Version::V31, 0x02), (Version::V31, 0x00), (Version::V311, 0x00)] {
        let mut raw = first(&site, version, &connect(version, flags, &[&empty])).await?;
        raw.expect([0x20, 2, 0, 2]).await?;
        raw.ended().await?;
    }
    let mut one = first(&site, Version::V311, &connect(Version::V311, 0x02, &[&empty])).await?;
    one.expect([0x20, 2, 0, 0]).await?;
    // Another without a name is another client: the first is not taken over.
    let mut two = first(&site, Version::V311, &connect(Version::V311, 0x02, &[&empty])).await?;
    two.expect([0x20, 2, 0, 0]).await?;
    one.quiet().await?;
    two.quiet().await?;
    let mut assigned = Vec::new();
    for flags in [0x00, 0x02] {
        let mut raw = first(&site, Version::V5, &connect(Version::V5, flags, &[&empty])).await?;
        let Packet::ConnAck(ack) = raw.packet().await? else { return Err(raw.failed("CONNACK expected")) };
        let id = ack.properties.assigned_client_id.context("no assigned client identifier")?;
        ensure!(!id.is_empty() && !assigned.contains(&id), "{id:?} beside {assigned:?}");
        assigned.push(id);
    }
    Ok(())
}

async fn an_assigned_client_identifier_is_the_clients(site: Site) -> Result<()> {
    let (nameless, ack) = site.join(&Connect::new(Version::V5, ClientId::default())).await?;
    let id = ack.properties.assigned_client_id.context("no assigned client identifier")?;
    let (mut named, ack) = site.join(&Connect::new(Version::V5, id)).await?;
    ensure!(ack.properties.assigned_client_id.is_none(), "assigned to a client that has one: {ack:?}");
    nameless.disconnected(ReasonCode::SessionTakenOver).await?;
    named.quiet().await
}

async fn nothing_after_a_refusal(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut watcher = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
    let method = properties(&[&[&[0x15][..], &text("x")].concat()]);
    let refused = [
        (Version::V311, connect(Version::V311, 0x00, &[&text("")])),
        (Version::V5, connect_as("MQTT", 5, 0x02, &method, &[&text("id")])),
    ];
    for (version, connect) in refused {
        let bytes = [connect, publish(version, &topic, "x")].concat();
        first(&site, version, &bytes).await?.refused().await?;
    }
    // What is behind a CONNECT that is malformed is not looked at either.
    for version in STANDARDS {
        let bytes = [connect(version, 0x03, &[&text("id")]), publish(version, &topic, "x")].concat();
        not_let_in(first(&site, version, &bytes).await?, ReasonCode::MalformedPacket).await?;
    }
    watcher.quiet().await
}

/// A client need not wait for CONNACK, which still comes first. The answers behind it come in any order.
async fn packets_before_connack(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (topic, id) = (site.topic("t"), site.id().to_string());
        let early = publish(version, &topic, "early");
        let bytes = [
            connect(version, 0x02, &[&text(&id)]),
            subscribe(version, &topic, 0),
            early.clone(),
            vec![0xC0, 0],
        ];
        let mut raw = first(&site, version, &bytes.concat()).await?;
        let ack = raw.packet().await?;
        ensure!(matches!(ack, Packet::ConnAck(_)), raw.failed("CONNACK comes first"));
        let suback = frame(0x90, &[&[0, 1], none(version), &[0]]);
        raw.expect_all(&[suback, early, vec![0xD0, 0]]).await?;
    }
    Ok(())
}

async fn a_client_identifier_is_taken_over(site: Site) -> Result<()> {
    for (old, new) in [(Version::V5, Version::V5), (Version::V311, Version::V5), (Version::V5, Version::V311)]
    {
        let topic = site.topic("will");
        let mut watcher = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
        let mut bystander = site.client(Version::V5).await?;
        let mut connect = site.connect(old);
        connect.will = Some(will(&topic));
        let (first, _) = site.join(&connect).await?;
        let (mut second, ack) = site.join(&Connect::new(new, connect.client_id.clone())).await?;
        ensure!(!ack.session_present, "a clean start: {ack:?}");
        first.disconnected(ReasonCode::SessionTakenOver).await?;
        watcher.take("gone").await?;
        second.quiet().await?;
        bystander.quiet().await?;
    }
    Ok(())
}

fn will(topic: &str) -> Will {
    let message = message(topic, "gone");
    let properties = Default::default();
    Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: message.topic,
        payload: message.payload,
        delay_s: 0,
        properties,
    }
}

async fn an_authentication_method(site: Site) -> Result<()> {
    for data in [None, Some(bytes::Bytes::from_static(b"data"))] {
        let mut connect = site.connect(Version::V5);
        connect.properties.authentication = Some(Authentication { method: "SCRAM-SHA-1".parse()?, data });
        let mut raw = site.bare(Version::V5).await?;
        raw.send_packet(&Packet::Connect(Box::new(connect))).await?;
        not_let_in(raw, ReasonCode::BadAuthenticationMethod).await?;
    }
    Ok(())
}

async fn authentication_without_a_method(site: Site) -> Result<()> {
    let (mut raw, ack) = site.join(&site.connect(Version::V5)).await?;
    ensure!(ack.properties.authentication.is_none(), "a method that nobody asked for: {ack:?}");
    raw.quiet().await?;
    for reason in [ReasonCode::Success, ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate] {
        let mut raw = site.client(Version::V5).await?;
        let authentication = Some(Authentication { method: "x".parse()?, data: None });
        raw.send_packet(&Packet::Auth(Auth { reason, authentication, properties: Default::default() }))
            .await?;
        raw.disconnected(ReasonCode::ProtocolError).await?;
    }
    fatal(&site, Version::V5, &[0xF0, 0], ReasonCode::ProtocolError).await
}

async fn silence_beyond_the_keepalive(site: Site) -> Result<()> {
    tokio::try_join!(silence(&site, Version::V311), silence(&site, Version::V5)).map(|_| ())
}

async fn silence(site: &Site, version: Version) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
    let connect = Connect { keepalive_s: 2, will: Some(will(&topic)), ..site.connect(version) };
    let (mut client, ack) = site.join(&connect).await?;
    // No Server Keep Alive: the client's own stands.
    ensure!(ack.properties.server_keepalive_s.is_none(), "{ack:?}");
    // Whatever packet it is.
    for bytes in [vec![0xC0, 0], publish(version, "nobody", "x"), vec![0xC0, 0]] {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        client.send(bytes).await?;
    }
    client.expect([0xD0, 0]).await?;
    client.expect([0xD0, 0]).await?;
    let heard = Instant::now();
    client.disconnected(ReasonCode::KeepAliveTimeout).await?;
    let after = heard.elapsed();
    // As if the network had failed.
    watcher.take("gone").await?;
    let right = Duration::from_millis(2_800)..Duration::from_secs(8);
    ensure!(right.contains(&after), "closed after {after:?}");
    Ok(())
}

async fn no_keepalive(site: Site) -> Result<()> {
    for version in STANDARDS {
        let (mut client, _) = site.join(&Connect { keepalive_s: 0, ..site.connect(version) }).await?;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        client.quiet().await?;
    }
    Ok(())
}
