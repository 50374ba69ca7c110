//! What a packet of each type and version costs to read and to write, with payloads of 100 bytes, and what one message costs
//! for each that subscribes to it: `cargo bench -p revoq-benches --bench codec`.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use revoq_mqtt::{
    Ack, AckProperties, Auth, Authentication, ConnAck, ConnAckProperties, Connect, ConnectProperties,
    Disconnect, EncodedPublish, Forwarded, ForwardedProperty, Packet, PacketId, Publish, PublishProperties,
    QoS, ReasonCode, Recipient, SubAck, Subscribe, SubscribeOptions, Subscription, SubscriptionId, UnsubAck,
    Unsubscribe, UserProperties, Version, Will, decode, encode,
};
use revoq_session::{Accept, Admission, Config, Delivery, Message, Session, SubscriptionTerms, Tick};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 100]);

fn publish(version: Version, qos: QoS) -> Publish {
    let mut properties = PublishProperties::default();
    if version.is_v5() {
        let trace = ForwardedProperty::User("trace".parse().expect("a text"), "17".parse().expect("a text"));
        properties.expiry_s = Some(60);
        properties.forwarded = Forwarded::new([trace]).expect("each once");
    }
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: "fleet/north/pump-17/telemetry".parse().expect("a topic"),
        packet_id: (qos > QoS::AtMostOnce).then_some(PacketId::FIRST),
        properties,
        payload: PAYLOAD,
    }
}

fn connect(version: Version) -> Connect {
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "fleet/north/pump-17/state".parse().expect("a topic"),
        payload: PAYLOAD,
        delay_s: 0,
        properties: PublishProperties::default(),
    };
    Connect {
        version,
        clean_start: true,
        keepalive_s: 60,
        client_id: "pump-17".to_owned().parse().expect("a client id"),
        will: Some(will),
        username: Some("pump".parse().expect("a text")),
        password: Some(Bytes::from_static(b"secret")),
        properties: ConnectProperties::default(),
    }
}

/// What clients send, and what they are sent, most properties left out as most clients do.
fn packets(version: Version) -> Vec<(&'static str, Packet)> {
    let packet_id = PacketId::FIRST;
    let properties = AckProperties::default;
    let filters =
        ["fleet/north/pump-17/command", "fleet/north/+/news"].map(|text| text.parse().expect("a filter"));
    let subscriptions = filters
        .iter()
        .map(|filter| Subscription { filter: Clone::clone(filter), options: SubscribeOptions::default() });
    let subscriptions = subscriptions.collect();
    let ack = || Ack::new(packet_id, ReasonCode::Success);
    let connack = Box::new(ConnAckProperties::default());
    let mut packets = vec![
        ("CONNECT", Packet::Connect(Box::new(connect(version)))),
        (
            "CONNACK",
            Packet::ConnAck(ConnAck {
                session_present: false,
                reason: ReasonCode::Success,
                properties: connack,
            }),
        ),
        ("PUBLISH QoS 0", Packet::Publish(publish(version, QoS::AtMostOnce))),
        ("PUBLISH QoS 1", Packet::Publish(publish(version, QoS::AtLeastOnce))),
        ("PUBACK", Packet::PubAck(ack())),
        ("PUBREC", Packet::PubRec(ack())),
        ("PUBREL", Packet::PubRel(ack())),
        ("PUBCOMP", Packet::PubComp(ack())),
        (
            "SUBSCRIBE",
            Packet::Subscribe(Subscribe {
                packet_id,
                subscription_id: None,
                user_properties: UserProperties::default(),
                subscriptions,
            }),
        ),
        (
            "SUBACK",
            Packet::SubAck(SubAck {
                packet_id,
                reasons: vec![ReasonCode::Success; 2],
                properties: properties(),
            }),
        ),
        (
            "UNSUBSCRIBE",
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                user_properties: UserProperties::default(),
                filters: filters.to_vec(),
            }),
        ),
        ("PINGREQ", Packet::PingReq),
        ("PINGRESP", Packet::PingResp),
        ("DISCONNECT", Packet::Disconnect(Disconnect::new(ReasonCode::Success))),
    ];
    let reasons = if version.is_v5() { vec![ReasonCode::Success; 2] } else { Vec::new() };
    packets.push(("UNSUBACK", Packet::UnsubAck(UnsubAck { packet_id, reasons, properties: properties() })));
    if version.is_v5() {
        let method = Authentication { method: "SCRAM".parse().expect("a text"), data: Some(PAYLOAD) };
        let (reason, authentication) = (ReasonCode::ContinueAuthentication, Some(method));
        packets.push(("AUTH", Packet::Auth(Auth { reason, authentication, properties: properties() })));
    }
    packets
}

fn codec(c: &mut Criterion) {
    for version in VERSIONS {
        for (name, packet) in packets(version) {
            let mut frame = BytesMut::new();
            encode(&packet, version, &mut frame).expect("it fits");
            let frame = frame.freeze();
            let id = BenchmarkId::new(name, version);
            c.benchmark_group("decode")
                .bench_function(id.clone(), |b| b.iter(|| decode(black_box(frame.clone()), version)));
            let mut out = BytesMut::with_capacity(1 << 16);
            c.benchmark_group("encode").bench_function(id, |b| {
                b.iter(|| {
                    if out.len() > 1 << 15 {
                        out.clear();
                    }
                    encode(black_box(&packet), version, &mut out)
                });
            });
        }
    }
}

/// Encoded once, and then written for each subscriber of that kind.
fn encoded(c: &mut Criterion) {
    for version in [Version::V311, Version::V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let publish = publish(version, qos);
            let packet_id = publish.packet_id;
            let name = format!("{version}, QoS {}", qos as u8);
            let once =
                || EncodedPublish::new(black_box(&publish), version, qos, false, false).expect("it fits");
            c.bench_function(&format!("fan-out/encode once/{name}"), |b| b.iter(once));
            let encoded = once();
            let mut out = BytesMut::with_capacity(1 << 16);
            c.bench_function(&format!("fan-out/write one more/{name}"), |b| {
                b.iter(|| {
                    if out.len() > 1 << 15 {
                        out.clear();
                    }
                    encoded.write(packet_id, black_box(&mut out));
                });
            });
            if !version.is_v5() {
                continue;
            }
            let subscription_ids = [SubscriptionId::new(7).expect("in range")];
            let recipient = Recipient { subscription_ids: &subscription_ids, ..Recipient::default() };
            c.bench_function(&format!("fan-out/write one more with an identifier/{name}"), |b| {
                b.iter(|| {
                    if out.len() > 1 << 15 {
                        out.clear();
                    }
                    encoded.write_for(packet_id, &recipient, black_box(&mut out))
                });
            });
        }
    }
}

/// A session whose client is let in, and takes whatever it is sent.
fn session(version: Version) -> Session {
    let mut session = Session::new(Arc::new(Config::default()), Tick(0));
    let mut input = BytesMut::new();
    encode(&Packet::Connect(Box::new(connect(version))), version, &mut input).expect("it fits");
    session.handle_bytes(Tick(0), &mut input);
    while session.poll_output().is_some() {}
    session.handle_admission(Tick(0), Admission::Accept(Accept::default()));
    session.write_buffer().clear();
    session
}

/// From the router to the bytes for one subscriber: its share of a message that is encoded already.
fn deliveries(c: &mut Criterion) {
    for version in [Version::V311, Version::V5] {
        let message = Arc::new(Message::new(publish(version, QoS::AtMostOnce), Tick(0)));
        let terms = SubscriptionTerms::default();
        let mut session = session(version);
        c.bench_function(&format!("fan-out/deliver to one more session/{version}"), |b| {
            b.iter(|| {
                let delivery = Delivery::new(black_box(&message), &terms, false).expect("not its own");
                session.handle_delivery(Tick(1), &delivery);
                let buffer = session.write_buffer();
                if buffer.len() > 1 << 15 {
                    buffer.clear();
                }
            });
        });
    }
}

criterion_group!(benches, codec, encoded, deliveries);
criterion_main!(benches);
