//! Each packet but CONNECT as bytes and as a value, in the versions that have it.

use bytes::{Bytes, BytesMut};
use revoq_mqtt::Version::{V5, V31, V311};
use revoq_mqtt::{
    Ack, AckProperties, Auth, Authentication, ConnAck, ConnAckProperties, Disconnect, EncodeError, Forwarded,
    ForwardedProperty, Packet, PacketId, PayloadFormat, Publish, PublishProperties, QoS, ReasonCode,
    RetainHandling, SubAck, Subscribe, SubscribeOptions, Subscription, SubscriptionId, Text, TopicAlias,
    UnsubAck, Unsubscribe, UserProperties, decode, encode,
};

use crate::bytes::{both_ways, frame, prop, props, s, user};

fn text(text: &str) -> Text {
    text.parse().expect("legal")
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not zero")
}

fn explained() -> AckProperties {
    let user_properties = UserProperties::from_iter([(text("k"), text("v"))]);
    AckProperties { reason_string: Some(text("why")), user_properties }
}

fn explained_bytes() -> Vec<u8> {
    props(&[&prop(0x1F, s("why")), &user("k", "v")])
}

#[test]
fn connack() {
    for (reason, code) in [
        (ReasonCode::Success, 0),
        (ReasonCode::UnsupportedProtocolVersion, 1),
        (ReasonCode::ClientIdentifierNotValid, 2),
        (ReasonCode::ServerUnavailable, 3),
        (ReasonCode::BadUserNameOrPassword, 4),
        (ReasonCode::NotAuthorized, 5),
    ] {
        both_ways("return code", frame(0x20, &[&[0, code]]), V311, &Packet::ConnAck(ConnAck::new(reason)));
    }
    let mut present = ConnAck::new(ReasonCode::Success);
    present.session_present = true;
    both_ways("session present", frame(0x20, &[&[1, 0]]), V311, &Packet::ConnAck(present.clone()));
    let mut out = BytesMut::new();
    encode(&Packet::ConnAck(present), V31, &mut out).expect("legal");
    assert_eq!(out[..], [0x20, 2, 0, 0], "3.1 has no session present flag");
}

#[test]
fn connack_properties() {
    let properties = ConnAckProperties {
        session_expiry_s: Some(1),
        receive_max: 2.try_into().ok(),
        qos_max: QoS::AtLeastOnce,
        retain_available: false,
        packet_size_max: 3.try_into().ok(),
        assigned_client_id: Some("id".parse().expect("legal")),
        topic_alias_max: 4,
        reason_string: Some(text("why")),
        user_properties: UserProperties::from_iter([(text("k"), text("v"))]),
        wildcard_subscription_available: false,
        subscription_id_available: false,
        shared_subscription_available: false,
        server_keepalive_s: Some(5),
        response_information: Some(text("ri")),
        server_reference: Some(text("sr")),
        authentication: Some(Authentication { method: text("m"), data: None }),
    };
    let bytes = props(&[
        &prop(0x11, [0, 0, 0, 1]),
        &prop(0x21, [0, 2]),
        &prop(0x24, [1]),
        &prop(0x25, [0]),
        &prop(0x27, [0, 0, 0, 3]),
        &prop(0x12, s("id")),
        &prop(0x22, [0, 4]),
        &prop(0x1F, s("why")),
        &prop(0x28, [0]),
        &prop(0x29, [0]),
        &prop(0x2A, [0]),
        &prop(0x13, [0, 5]),
        &prop(0x1A, s("ri")),
        &prop(0x1C, s("sr")),
        &prop(0x15, s("m")),
        &user("k", "v"),
    ]);
    let packet =
        ConnAck { session_present: true, reason: ReasonCode::Success, properties: Box::new(properties) };
    both_ways("all", frame(0x20, &[&[1, 0], &bytes]), V5, &Packet::ConnAck(packet));
    let refusal = ConnAck::new(ReasonCode::Banned);
    both_ways("none", frame(0x20, &[&[0, 0x8A, 0]]), V5, &Packet::ConnAck(refusal));
}

fn publish() -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a/b".parse().expect("legal"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::from_static(b"hi"),
    }
}

#[test]
fn publish_flags() {
    both_ways("QoS 0", frame(0x30, &[&s("a/b"), b"hi"]), V311, &Packet::Publish(publish()));
    let twice =
        Publish { dup: true, qos: QoS::ExactlyOnce, retain: true, packet_id: Some(id(258)), ..publish() };
    both_ways("QoS 2", frame(0x3D, &[&s("a/b"), &[1, 2], b"hi"]), V31, &Packet::Publish(twice.clone()));
    both_ways("version 5", frame(0x3D, &[&s("a/b"), &[1, 2, 0], b"hi"]), V5, &Packet::Publish(twice));
    let empty = Publish { payload: Bytes::new(), ..publish() };
    both_ways("no payload", frame(0x30, &[&s("a/b")]), V311, &Packet::Publish(empty));
}

#[test]
fn publish_properties() {
    let list = [
        ForwardedProperty::PayloadFormat(PayloadFormat::Utf8),
        ForwardedProperty::User(text("k"), text("1")),
        ForwardedProperty::ContentType(text("t")),
        ForwardedProperty::ResponseTopic("r".parse().expect("legal")),
        ForwardedProperty::CorrelationData(Bytes::from_static(&[0, 1])),
        ForwardedProperty::User(text("k"), text("2")),
    ];
    let properties = PublishProperties {
        expiry_s: Some(0),
        topic_alias: TopicAlias::new(3),
        subscription_ids: vec![
            SubscriptionId::new(1).expect("legal"),
            SubscriptionId::new(300).expect("legal"),
        ],
        forwarded: Forwarded::new(list.clone()).expect("legal"),
    };
    assert!(properties.forwarded.iter().eq(list), "in the sender's order");
    let bytes = props(&[
        &prop(0x02, [0; 4]),
        &prop(0x23, [0, 3]),
        &prop(0x0B, [1]),
        &prop(0x0B, [0xAC, 0x02]),
        &prop(0x01, [1]),
        &user("k", "1"),
        &prop(0x03, s("t")),
        &prop(0x08, s("r")),
        &prop(0x09, s([0, 1])),
        &user("k", "2"),
    ]);
    let packet = Publish { properties, ..publish() };
    both_ways("all", frame(0x30, &[&s("a/b"), &bytes, b"hi"]), V5, &Packet::Publish(packet));
}

#[test]
fn forwarded_properties_keep_their_order_around_others() {
    let scattered =
        props(&[&user("a", "1"), &prop(0x02, [0; 4]), &user("b", "2"), &prop(0x23, [0, 1]), &user("a", "3")]);
    let packet = decode(frame(0x30, &[&s("t"), &scattered]), V5).expect("legal");
    let Packet::Publish(publish) = packet else { panic!("a PUBLISH") };
    assert_eq!(
        publish.properties.forwarded.bytes()[..],
        [user("a", "1"), user("b", "2"), user("a", "3")].concat()
    );
}

#[test]
fn what_decoding_yields_are_slices_of_the_frame() {
    let frame = frame(0x30, &[&s("a/b"), &props(&[&user("k", "v")]), b"payload"]);
    let within = |part: &[u8]| frame.as_ptr_range().contains(&part.as_ptr());
    let Packet::Publish(publish) = decode(frame.clone(), V5).expect("legal") else { panic!("a PUBLISH") };
    assert!(within(publish.topic.as_bytes()) && within(&publish.payload));
    assert!(within(publish.properties.forwarded.bytes()));
}

#[test]
fn acknowledgements() {
    type Wrap = fn(Ack) -> Packet;
    let kinds: [(u8, Wrap); 4] =
        [(0x40, Packet::PubAck), (0x50, Packet::PubRec), (0x62, Packet::PubRel), (0x70, Packet::PubComp)];
    for (first, wrap) in kinds {
        let bare = wrap(Ack::new(id(7), ReasonCode::Success));
        for version in [V31, V311, V5] {
            both_ways("bare", frame(first, &[&[0, 7]]), version, &bare);
        }
        let reason =
            if first < 0x60 { ReasonCode::QuotaExceeded } else { ReasonCode::PacketIdentifierNotFound };
        both_ways("reason", frame(first, &[&[0, 7, reason.code()]]), V5, &wrap(Ack::new(id(7), reason)));
        let full = wrap(Ack { packet_id: id(7), reason, properties: explained() });
        both_ways("full", frame(first, &[&[0, 7, reason.code()], &explained_bytes()]), V5, &full);
    }
}

#[test]
fn subscribe_and_unsubscribe() {
    let filter = |filter: &str| filter.parse().expect("legal");
    let options = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let mut subscribe = Subscribe {
        packet_id: id(1),
        subscription_id: SubscriptionId::new(128),
        user_properties: UserProperties::from_iter([(text("k"), text("v"))]),
        subscriptions: vec![
            Subscription { filter: filter("a/+"), options },
            Subscription { filter: filter("#"), options: SubscribeOptions::default() },
        ],
    };
    let properties = props(&[&prop(0x0B, [0x80, 1]), &user("k", "v")]);
    let bytes = frame(0x82, &[&[0, 1], &properties, &s("a/+"), &[0x2E], &s("#"), &[0]]);
    both_ways("version 5", bytes, V5, &Packet::Subscribe(subscribe.clone()));
    subscribe.subscription_id = None;
    subscribe.user_properties = UserProperties::default();
    subscribe.subscriptions[0].options = SubscribeOptions { qos: QoS::ExactlyOnce, ..Default::default() };
    let bytes = frame(0x82, &[&[0, 1], &s("a/+"), &[2], &s("#"), &[0]]);
    both_ways("3.1.1", bytes, V311, &Packet::Subscribe(subscribe));

    let user_properties = UserProperties::default();
    let unsubscribe =
        Unsubscribe { packet_id: id(2), user_properties, filters: vec![filter("a/+"), filter("#")] };
    let packet = Packet::Unsubscribe(unsubscribe);
    both_ways("3.1", frame(0xA2, &[&[0, 2], &s("a/+"), &s("#")]), V31, &packet);
    both_ways("version 5", frame(0xA2, &[&[0, 2, 0], &s("a/+"), &s("#")]), V5, &packet);
}

#[test]
fn suback_and_unsuback() {
    let reasons = vec![ReasonCode::GrantedQos1, ReasonCode::NotAuthorized];
    let packet = Packet::SubAck(SubAck { packet_id: id(1), reasons, properties: explained() });
    both_ways("version 5", frame(0x90, &[&[0, 1], &explained_bytes(), &[1, 0x87]]), V5, &packet);
    let mut out = BytesMut::new();
    encode(&packet, V311, &mut out).expect("legal");
    assert_eq!(out[..], [0x90, 4, 0, 1, 1, 0x80], "3.1.1 has one failure");

    let reasons = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let unsuback = UnsubAck { packet_id: id(1), reasons, properties: AckProperties::default() };
    both_ways("version 5", frame(0xB0, &[&[0, 1, 0, 0, 0x11]]), V5, &Packet::UnsubAck(unsuback.clone()));
    let unsuback = UnsubAck { reasons: Vec::new(), ..unsuback };
    both_ways("3.1.1", frame(0xB0, &[&[0, 1]]), V311, &Packet::UnsubAck(unsuback));
}

#[test]
fn ping_disconnect_auth() {
    for version in [V31, V311, V5] {
        both_ways("PINGREQ", frame(0xC0, &[]), version, &Packet::PingReq);
        both_ways("PINGRESP", frame(0xD0, &[]), version, &Packet::PingResp);
        let normal = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        both_ways("DISCONNECT", frame(0xE0, &[]), version, &normal);
    }
    let cut = Disconnect::new(ReasonCode::AdministrativeAction);
    both_ways("reason", frame(0xE0, &[&[0x98]]), V5, &Packet::Disconnect(cut.clone()));
    let full = Disconnect {
        session_expiry_s: Some(1),
        server_reference: Some(text("other")),
        properties: explained(),
        ..cut
    };
    let properties =
        props(&[&prop(0x11, [0, 0, 0, 1]), &prop(0x1C, s("other")), &prop(0x1F, s("why")), &user("k", "v")]);
    both_ways("full", frame(0xE0, &[&[0x98], &properties]), V5, &Packet::Disconnect(full));

    let authentication = Some(Authentication { method: text("m"), data: Some(Bytes::from_static(b"d")) });
    let auth = Auth { reason: ReasonCode::ContinueAuthentication, authentication, properties: explained() };
    let properties =
        props(&[&prop(0x15, s("m")), &prop(0x16, s("d")), &prop(0x1F, s("why")), &user("k", "v")]);
    both_ways("AUTH", frame(0xF0, &[&[0x18], &properties]), V5, &Packet::Auth(auth.clone()));
    let mut out = BytesMut::from(&b"kept"[..]);
    assert_eq!(encode(&Packet::Auth(auth), V311, &mut out), Err(EncodeError::Version("AUTH")));
    assert_eq!(&out[..], b"kept");
}

#[test]
fn contradictions_are_not_encoded() {
    let refused = |packet: Packet, version| {
        let mut out = BytesMut::from(&b"kept"[..]);
        let error = encode(&packet, version, &mut out).expect_err("a contradiction");
        assert_eq!(&out[..], b"kept", "{error}");
    };
    refused(Packet::Publish(Publish { dup: true, ..publish() }), V5);
    refused(Packet::Publish(Publish { packet_id: Some(id(1)), ..publish() }), V5);
    refused(Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish() }), V311);
    refused(Packet::Publish(Publish { topic: revoq_mqtt::Topic::unnamed(), ..publish() }), V311);
    refused(Packet::PubAck(Ack::new(id(1), ReasonCode::SessionTakenOver)), V5);
    let reasons = Vec::new();
    refused(Packet::SubAck(SubAck { packet_id: id(1), reasons, properties: AckProperties::default() }), V5);
    let mut connack = ConnAck::new(ReasonCode::Banned);
    connack.session_present = true;
    refused(Packet::ConnAck(connack), V5);
    let mut connect = revoq_mqtt::Connect::new(V311, "c".parse().expect("legal"));
    connect.password = Some(Bytes::from_static(b"p"));
    refused(Packet::Connect(Box::new(connect.clone())), V5);
    connect.version = V5;
    connect.password = Some(Bytes::from(vec![0; 65_536]));
    refused(Packet::Connect(Box::new(connect)), V5);
}

#[test]
fn reason_codes_keep_their_numbers_and_names() {
    let named: Vec<u8> = (0..=255).filter(|&code| ReasonCode::try_from(code).is_ok()).collect();
    let listed: Vec<u8> = ReasonCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(named, listed);
    assert_eq!(listed.len(), 43);
    assert_eq!(ReasonCode::AdministrativeAction.to_string(), "Administrative action");
}
