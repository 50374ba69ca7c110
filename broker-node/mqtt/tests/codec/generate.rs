//! Random packets of each version: every field that the version has.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use revoq_mqtt::{
    Ack, AckProperties, Auth, Authentication, ClientId, ConnAck, ConnAckProperties, Connect,
    ConnectProperties, Disconnect, Forwarded, ForwardedProperty, Packet, PacketId, PacketType, PayloadFormat,
    Publish, PublishProperties, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeOptions,
    Subscription, SubscriptionId, Text, Topic, TopicAlias, TopicFilter, UnsubAck, Unsubscribe,
    UserProperties, Version, Will,
};

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![Version::V31, Version::V311, Version::V5])
}

pub(crate) fn topic() -> impl Strategy<Value = Topic> {
    let level = prop::sample::select(vec!["", "a", "b", "$", "ü"]);
    vec(level, 1..5).prop_filter_map("empty", |levels| levels.join("/").parse().ok())
}

pub(crate) fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop::sample::select(vec!["", "a", "b", "$", "ü", "+"]);
    let share = prop::sample::select(vec!["", "", "", "$share/g/"]);
    (share, vec(level, 0..5), any::<bool>()).prop_filter_map("empty", |(share, mut levels, multi)| {
        if multi {
            levels.push("#");
        }
        format!("{share}{}", levels.join("/")).parse().ok()
    })
}

pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet> {
    let acks = (any::<u8>(), packet_id(), any::<prop::sample::Index>(), ack_properties(version)).prop_map(
        move |(kind, packet_id, index, properties)| {
            let (kind, wrap): (_, fn(Ack) -> Packet) = match kind % 4 {
                0 => (PacketType::PubAck, Packet::PubAck),
                1 => (PacketType::PubRec, Packet::PubRec),
                2 => (PacketType::PubRel, Packet::PubRel),
                _ => (PacketType::PubComp, Packet::PubComp),
            };
            let reason = if version.is_v5() { pick(kind, index) } else { ReasonCode::Success };
            wrap(Ack { packet_id, reason, properties })
        },
    );
    prop_oneof![
        connect(version).prop_map(|connect| Packet::Connect(Box::new(connect))),
        connack(version).prop_map(Packet::ConnAck),
        publish(version).prop_map(Packet::Publish),
        acks,
        subscribe(version).prop_map(Packet::Subscribe),
        suback(version).prop_map(Packet::SubAck),
        unsubscribe(version).prop_map(Packet::Unsubscribe),
        unsuback(version).prop_map(Packet::UnsubAck),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        last(version),
    ]
    .boxed()
}

fn pick(kind: PacketType, index: prop::sample::Index) -> ReasonCode {
    let codes: Vec<ReasonCode> =
        ReasonCode::ALL.iter().copied().filter(|code| code.belongs_to(kind)).collect();
    *index.get(&codes)
}

fn text() -> impl Strategy<Value = Text> {
    "\\PC{0,12}".prop_map(|text| text.parse().expect("no control characters"))
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).expect("not zero"))
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    let id = prop_oneof![1..300_u32, 1..=268_435_455_u32];
    id.prop_map(|id| SubscriptionId::new(id).expect("in range"))
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn users() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

/// The strategy for version 5, the default for the others.
fn v5<T: Clone + Default + std::fmt::Debug + 'static>(
    version: Version,
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    if version.is_v5() { strategy.boxed() } else { Just(T::default()).boxed() }
}

fn ack_properties(version: Version) -> BoxedStrategy<AckProperties> {
    let some = (of(text()), users());
    v5(
        version,
        some.prop_map(|(reason_string, user_properties)| AckProperties { reason_string, user_properties }),
    )
}

fn authentication() -> impl Strategy<Value = Authentication> {
    (text(), of(data())).prop_map(|(method, data)| Authentication { method, data })
}

fn forwarded() -> impl Strategy<Value = Forwarded> {
    let singles = (of(any::<bool>()), of(text()), of(topic()), of(data()));
    let users = vec((text(), text()), 0..4);
    (singles, users, any::<bool>()).prop_map(
        |((utf8, content, response, correlation), users, users_first)| {
            let format = |utf8| if utf8 { PayloadFormat::Utf8 } else { PayloadFormat::Bytes };
            let mut list: Vec<ForwardedProperty> = Vec::new();
            list.extend(utf8.map(|utf8| ForwardedProperty::PayloadFormat(format(utf8))));
            list.extend(content.map(ForwardedProperty::ContentType));
            list.extend(response.map(ForwardedProperty::ResponseTopic));
            list.extend(correlation.map(ForwardedProperty::CorrelationData));
            let users = users.into_iter().map(|(name, value)| ForwardedProperty::User(name, value));
            let at = if users_first { 0 } else { list.len() };
            list.splice(at..at, users);
            Forwarded::new(list).expect("each once")
        },
    )
}

pub(crate) fn publish(version: Version) -> impl Strategy<Value = Publish> {
    let alias = (1..=u16::MAX).prop_map(|alias| TopicAlias::new(alias).expect("not zero"));
    let some = (of(any::<u32>()), of(alias), vec(subscription_id(), 0..3), forwarded());
    let some = some.prop_map(|(expiry_s, topic_alias, subscription_ids, forwarded)| PublishProperties {
        expiry_s,
        topic_alias,
        subscription_ids,
        forwarded,
    });
    let flags = (any::<bool>(), qos(), any::<bool>(), packet_id());
    (flags, topic(), any::<bool>(), v5(version, some), data()).prop_map(
        |((dup, qos, retain, id), topic, unnamed, properties, payload)| Publish {
            dup: dup && qos > QoS::AtMostOnce,
            qos,
            retain,
            topic: if unnamed && properties.topic_alias.is_some() { Topic::unnamed() } else { topic },
            packet_id: (qos > QoS::AtMostOnce).then_some(id),
            properties,
            payload,
        },
    )
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    let extras = v5(version, (any::<u32>(), of(any::<u32>()), forwarded()));
    (qos(), any::<bool>(), topic(), data(), extras).prop_map(
        |(qos, retain, topic, payload, (delay_s, expiry_s, forwarded))| {
            let properties = PublishProperties { expiry_s, forwarded, ..Default::default() };
            Will { qos, retain, topic, payload, delay_s, properties }
        },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let limits = (of(any::<u32>()), of(1..=u16::MAX), of(1..=u32::MAX), any::<u16>());
    let rest = (any::<bool>(), any::<bool>(), users(), of(authentication()));
    let some =
        (limits, rest).prop_map(|((expiry, receive, size, alias), (response, problem, users, auth))| {
            ConnectProperties {
                session_expiry_s: expiry,
                receive_max: receive.and_then(|max| max.try_into().ok()),
                packet_size_max: size.and_then(|max| max.try_into().ok()),
                topic_alias_max: alias,
                request_response_information: response,
                request_problem_information: problem,
                user_properties: users,
                authentication: auth,
            }
        });
    let fields = (text(), of(will(version)), of(text()), of(data()));
    (any::<bool>(), any::<u16>(), fields, v5(version, some)).prop_map(
        move |(clean_start, keepalive_s, (id, will, username, password), properties)| Connect {
            version,
            clean_start,
            keepalive_s,
            client_id: ClientId::try_from(id.bytes().clone()).expect("a text"),
            will,
            password: password.filter(|_| version.is_v5() || username.is_some()),
            username,
            properties,
        },
    )
}

fn connack(version: Version) -> impl Strategy<Value = ConnAck> {
    let limits =
        (of(any::<u32>()), of(1..=u16::MAX), qos(), of(1..=u32::MAX), any::<u16>(), of(any::<u16>()));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let texts = (of(text()), of(text()), of(text()), of(text()), users(), of(authentication()));
    let some = (limits, flags, texts).prop_map(|(limits, flags, texts)| ConnAckProperties {
        session_expiry_s: limits.0,
        receive_max: limits.1.and_then(|max| max.try_into().ok()),
        qos_max: limits.2,
        packet_size_max: limits.3.and_then(|max| max.try_into().ok()),
        topic_alias_max: limits.4,
        server_keepalive_s: limits.5,
        retain_available: flags.0,
        wildcard_subscription_available: flags.1,
        subscription_id_available: flags.2,
        shared_subscription_available: flags.3,
        assigned_client_id: texts.0.map(|id| ClientId::try_from(id.bytes().clone()).expect("a text")),
        reason_string: texts.1,
        response_information: texts.2,
        server_reference: texts.3,
        user_properties: texts.4,
        authentication: texts.5,
    });
    (any::<bool>(), any::<prop::sample::Index>(), v5(version, some)).prop_map(
        move |(present, index, properties)| {
            let reason = pick(PacketType::ConnAck, index);
            let reason = if version.is_v5() { reason } else { reason.to_v3().into() };
            let session_present = present && reason == ReasonCode::Success && version != Version::V31;
            ConnAck { session_present, reason, properties: Box::new(properties) }
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    let extras = (any::<bool>(), any::<bool>(), prop::sample::select(handling.to_vec()));
    let one = (filter(), qos(), v5(version, extras)).prop_map(
        |(filter, qos, (local, published, retain_handling))| {
            let no_local = local && filter.share().is_none();
            let options = SubscribeOptions { qos, no_local, retain_as_published: published, retain_handling };
            Subscription { filter, options }
        },
    );
    let properties = v5(version, (of(subscription_id()), users()));
    (packet_id(), properties, vec(one, 1..5)).prop_map(
        |(packet_id, (subscription_id, user_properties), subscriptions)| Subscribe {
            packet_id,
            subscription_id,
            user_properties,
            subscriptions,
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe> {
    (packet_id(), v5(version, users()), vec(filter(), 1..5))
        .prop_map(|(packet_id, user_properties, filters)| Unsubscribe { packet_id, user_properties, filters })
}

fn suback(version: Version) -> impl Strategy<Value = SubAck> {
    let reasons = vec(any::<prop::sample::Index>(), 1..5);
    (packet_id(), reasons, ack_properties(version)).prop_map(move |(packet_id, indices, properties)| {
        let coarse =
            |reason: ReasonCode| if reason.is_error() { ReasonCode::UnspecifiedError } else { reason };
        let reasons = indices.into_iter().map(|index| pick(PacketType::SubAck, index));
        let reasons = reasons.map(|reason| if version.is_v5() { reason } else { coarse(reason) }).collect();
        SubAck { packet_id, reasons, properties }
    })
}

fn unsuback(version: Version) -> impl Strategy<Value = UnsubAck> {
    let reasons = vec(any::<prop::sample::Index>(), 1..5);
    (packet_id(), reasons, ack_properties(version)).prop_map(move |(packet_id, indices, properties)| {
        let reasons = indices.into_iter().map(|index| pick(PacketType::UnsubAck, index));
        let reasons = if version.is_v5() { reasons.collect() } else { Vec::new() };
        UnsubAck { packet_id, reasons, properties }
    })
}

fn last(version: Version) -> BoxedStrategy<Packet> {
    if !version.is_v5() {
        return Just(Packet::Disconnect(Disconnect::new(ReasonCode::Success))).boxed();
    }
    let common = (any::<prop::sample::Index>(), ack_properties(version));
    let disconnect = (common.clone(), of(any::<u32>()), of(text())).prop_map(
        |((index, properties), session_expiry_s, server_reference)| {
            let reason = pick(PacketType::Disconnect, index);
            Packet::Disconnect(Disconnect { reason, session_expiry_s, server_reference, properties })
        },
    );
    let auth = (common, authentication()).prop_map(|((index, properties), authentication)| {
        let reason = pick(PacketType::Auth, index);
        Packet::Auth(Auth { reason, authentication: Some(authentication), properties })
    });
    prop_oneof![disconnect, auth].boxed()
}
