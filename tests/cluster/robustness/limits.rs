//! Long names, deep topics, floods and bombs: each meets its limit, with the standard's reason code, and is counted.

use std::future::Future;

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use revoq_mqtt::{
    Connect, Forwarded, ForwardedProperty, Packet, PublishProperties, QoS, ReasonCode, Text, UserProperties,
    Version,
};
use revoq_tests::Fleet;
use tokio::time::timeout;

use super::{
    Bystander, WITHIN, connected, ended, faults, fleet, is_well, next, open, publish, refused, subscribe,
};
use super::{tcp, tls};
use crate::link::Link;

const RETAINED_MAX: usize = 50;
const V5: Version = Version::V5;
const V311: Version = Version::V311;

/// A counter grows by that much.
async fn counts<F: Future<Output = Result<f64>>>(
    what: &str,
    counter: impl Fn() -> F,
    by: f64,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let before = counter().await?;
    work.await.with_context(|| what.to_owned())?;
    let counted = || async { Ok((counter().await? == before + by).then_some(())) };
    revoq_tests::until(&format!("{what}: counted {by} times"), WITHIN, counted).await
}

/// A fault of a client of MQTT 5.0, which is told, and of one of 3.1.1, which is closed upon.
async fn fault(fleet: &Fleet, what: &str, reason: ReasonCode, packet: &Packet) -> Result<()> {
    let work = async {
        let mut link = connected(&tls(fleet)?, V5, "fault-5").await?;
        link.send(std::slice::from_ref(packet)).await?;
        ended(&mut link, Some(reason)).await?;
        let mut link = connected(&tcp(fleet), V311, "fault-3").await?;
        link.send(std::slice::from_ref(packet)).await?;
        ended(&mut link, None).await
    };
    counts(what, || faults(fleet, reason), 2.0, work).await
}

async fn long_client_ids(fleet: &Fleet) -> Result<()> {
    let work = async {
        for (version, size) in [(V5, 65_535), (V5, 1025), (V311, 65_535), (V311, 1025)] {
            let (mut link, answer) =
                open(&tcp(fleet), Connect::new(version, "i".repeat(size).parse()?)).await?;
            let told =
                matches!(&answer, Packet::ConnAck(ack) if ack.reason == ReasonCode::ClientIdentifierNotValid);
            ensure!(told, "{version:?}, {size} bytes: {answer:?}");
            ended(&mut link, None).await?;
        }
        Ok(())
    };
    let counter = || fleet.metric(0, "revoq_broker_refused_total", "");
    counts("client ids of 64 kB", counter, 4.0, work).await?;
    connected(&tcp(fleet), V311, &"i".repeat(1024)).await.map(drop)
}

async fn deep_topics(fleet: &Fleet) -> Result<()> {
    for levels in [129, 5_000, 65_535] {
        let deep = publish(&"/".repeat(levels - 1), QoS::AtMostOnce, 0, Bytes::new())?;
        fault(fleet, "a deep topic", ReasonCode::TopicNameInvalid, &Packet::Publish(deep)).await?;
    }
    let work = async {
        for (route, version, code) in [
            (tls(fleet)?, V5, ReasonCode::TopicFilterInvalid),
            (tcp(fleet), V311, ReasonCode::UnspecifiedError),
        ] {
            let mut link = connected(&route, version, "deep").await?;
            let deep = ["+/".repeat(128) + "+", "+/".repeat(30_000) + "#"];
            let codes = subscribe(&mut link, &[&deep[0], "not/deep", &deep[1]], QoS::AtLeastOnce).await?;
            ensure!(codes == [code, ReasonCode::GrantedQos1, code], "{version:?}: {codes:?}");
        }
        Ok(())
    };
    counts("deep filters", || refused(fleet, "filters"), 4.0, work).await
}

/// A thousand are granted, no more.
async fn many_subscriptions(fleet: &Fleet) -> Result<()> {
    let work = async {
        let mut link = connected(&tls(fleet)?, V5, "many").await?;
        let mut codes = Vec::new();
        for first in (0..1_200).step_by(100) {
            let filters: Vec<String> = (first..first + 100).map(|number| format!("many/{number}")).collect();
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            codes.extend(subscribe(&mut link, &filters, QoS::AtMostOnce).await?);
        }
        let expected = [vec![ReasonCode::Success; 1_000], vec![ReasonCode::QuotaExceeded; 200]].concat();
        ensure!(codes == expected, "{} granted", codes.iter().filter(|code| !code.is_error()).count());
        // One that it has already is none more.
        let again = subscribe(&mut link, &["many/1"], QoS::AtLeastOnce).await?;
        ensure!(again == [ReasonCode::GrantedQos1], "{again:?}");
        Ok(())
    };
    counts("many subscriptions", || refused(fleet, "filters"), 200.0, work).await
}

fn pairs(count: usize) -> Result<Vec<ForwardedProperty>> {
    let pair = |number: usize| -> Result<ForwardedProperty> {
        Ok(ForwardedProperty::User(format!("n{number}").parse()?, "v".parse()?))
    };
    (0..count).map(pair).collect()
}

/// Thousands of user properties are legal, and come as they were sent; more bytes than a CONNECT may have are closed
/// upon.
async fn property_bombs(fleet: &Fleet) -> Result<()> {
    let with = |count: usize| -> Result<Connect> {
        let mut connect = Connect::new(V5, "bomb".parse()?);
        let pair =
            |number: usize| -> Result<(Text, Text)> { Ok((format!("n{number}").parse()?, "v".parse()?)) };
        connect.properties.user_properties =
            (0..count).map(pair).collect::<Result<Vec<_>>>()?.into_iter().collect::<UserProperties>();
        Ok(connect)
    };
    let (mut link, answer) = open(&tls(fleet)?, with(5_000)?).await?;
    ensure!(matches!(&answer, Packet::ConnAck(ack) if ack.reason == ReasonCode::Success), "{answer:?}");
    let codes = subscribe(&mut link, &["bomb"], QoS::AtMostOnce).await?;
    ensure!(codes == [ReasonCode::Success], "{codes:?}");
    let mut bomb = publish("bomb", QoS::AtMostOnce, 0, Bytes::new())?;
    bomb.properties =
        PublishProperties { forwarded: Forwarded::new(pairs(50_000)?)?, ..PublishProperties::default() };
    link.send(&[Packet::Publish(bomb.clone())]).await?;
    match next(&mut link).await? {
        Packet::Publish(came) if came.properties.forwarded == bomb.properties.forwarded => {}
        _ => bail!("a message with 50,000 properties came as another"),
    }
    let work = async {
        let mut link = Link::open(&tcp(fleet), V5).await?;
        // The broker may end it before it has read all.
        let _ = link.send(&[Packet::Connect(Box::new(with(20_000)?))]).await;
        ended(&mut link, None).await
    };
    counts("a large CONNECT", || faults(fleet, ReasonCode::PacketTooLarge), 1.0, work).await
}

/// PUBLISH to `t`, and SUBSCRIBE to it, with these properties.
fn with_properties(properties: &[u8]) -> [Vec<u8>; 2] {
    let length = u8::try_from(properties.len()).expect("short");
    let publish = [&[0x30, 4 + length, 0, 1, b't', length][..], properties].concat();
    let subscribe = [&[0x82, 7 + length, 0, 1, length][..], properties, &[0, 1, b't', 0]].concat();
    [publish, subscribe]
}

/// What may stand once only ends the session, in whatever packet it stands twice.
async fn repeated_properties(fleet: &Fleet) -> Result<()> {
    let expiry = [2, 0, 0, 0, 9, 2, 0, 0, 0, 9];
    let identifier = [0x0B, 1, 0x0B, 2];
    let [publish, _] = with_properties(&expiry);
    let [_, subscribe] = with_properties(&identifier);
    let work = async {
        for bytes in [publish, subscribe] {
            let mut link = connected(&tls(fleet)?, V5, "twice").await?;
            link.send_bytes(&bytes).await?;
            ended(&mut link, Some(ReasonCode::ProtocolError)).await?;
        }
        let mut link = Link::open(&tcp(fleet), V5).await?;
        let twice = [0x11, 0, 0, 0, 9, 0x11, 0, 0, 0, 9];
        let connect =
            [&[0x10, 24, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 10][..], &twice, &[0, 1, b'a']].concat();
        link.send_bytes(&connect).await?;
        let answer = next(&mut link).await?;
        let told = matches!(&answer, Packet::ConnAck(ack) if ack.reason == ReasonCode::ProtocolError);
        ensure!(told, "{answer:?}");
        ended(&mut link, None).await
    };
    counts("repeated properties", || faults(fleet, ReasonCode::ProtocolError), 3.0, work).await
}

/// The header alone is enough to refuse: nothing of such a packet is waited for, or kept.
async fn large_packets(fleet: &Fleet) -> Result<()> {
    let work = async {
        for (version, told) in [(V5, Some(ReasonCode::PacketTooLarge)), (V311, None)] {
            let mut link = connected(&tcp(fleet), version, "large").await?;
            let mut header = BytesMut::from(&[0x30][..]);
            // 268,435,455: the most that can be said.
            header.put_slice(&[0xff, 0xff, 0xff, 0x7f, 0]);
            link.send_bytes(&header).await?;
            timeout(WITHIN, ended(&mut link, told)).await??;
        }
        Ok(())
    };
    counts("large packets", || faults(fleet, ReasonCode::PacketTooLarge), 2.0, work).await
}

/// To the limit they are retained; beyond it they are delivered and not retained.
async fn retained_floods(fleet: &Fleet) -> Result<()> {
    let more = 30;
    let work = async {
        let mut link = connected(&tls(fleet)?, V5, "retains").await?;
        for number in 0..RETAINED_MAX + more {
            let mut packet =
                publish(&format!("kept/{number}"), QoS::AtLeastOnce, 1, Bytes::from_static(b"kept"))?;
            packet.retain = true;
            link.send(&[Packet::Publish(packet)]).await?;
            let answer = next(&mut link).await?;
            ensure!(matches!(&answer, Packet::PubAck(ack) if !ack.reason.is_error()), "{answer:?}");
        }
        Ok(())
    };
    counts("retained messages", || refused(fleet, "retained"), more as f64, work).await?;
    let kept = fleet.metric(0, "revoq_broker_retained_messages", "").await?;
    ensure!(kept == RETAINED_MAX as f64, "{kept} are retained");
    let mut link = connected(&tcp(fleet), V311, "reads").await?;
    subscribe(&mut link, &["kept/+"], QoS::AtMostOnce).await?;
    for _ in 0..RETAINED_MAX {
        let packet = next(&mut link).await?;
        ensure!(matches!(&packet, Packet::Publish(publish) if publish.retain), "{packet:?}");
    }
    link.send(&[Packet::PingReq]).await?;
    let last = next(&mut link).await?;
    ensure!(last == Packet::PingResp, "{last:?} after all that are retained");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_answers_as_the_standard_asks_and_counts() -> Result<()> {
    let fleet = fleet(vec![("REVOQ_BROKER_RETAINED_MESSAGES_MAX", "50")]).await?;
    let bystander = Bystander::start(&fleet).await?;
    long_client_ids(&fleet).await?;
    deep_topics(&fleet).await?;
    many_subscriptions(&fleet).await?;
    property_bombs(&fleet).await?;
    repeated_properties(&fleet).await?;
    large_packets(&fleet).await?;
    retained_floods(&fleet).await?;
    bystander.finish(10).await?;
    is_well(&fleet, 0.0).await
}
