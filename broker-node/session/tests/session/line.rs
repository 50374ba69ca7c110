//! One line of a scenario: a word, then `name=value` pairs and bare words.

use std::str::FromStr;

use bytes::Bytes;
use revoq_mqtt::{
    Ack, Auth, Authentication, Connect, Disconnect, Forwarded, ForwardedProperty, Packet, PacketId,
    PayloadFormat, Publish, PublishProperties, QoS, ReasonCode, Subscribe, SubscribeOptions, Subscription,
    SubscriptionId, Topic, TopicAlias, Unsubscribe, UserProperties, Version, Will,
};
use revoq_session::{StreamId, SubscriptionTerms};

pub(crate) struct Line<'a> {
    pub(crate) command: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn parse(text: &'a str) -> Line<'a> {
        let mut words = text.split_whitespace();
        Line { command: words.next().unwrap_or(""), words: words.collect() }
    }

    /// The words that are not `name=value`.
    pub(crate) fn bare(&self) -> impl Iterator<Item = &'a str> {
        self.words.iter().copied().filter(|word| !word.contains('='))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} cannot be read")))
    }

    pub(crate) fn packet_id(&self) -> PacketId {
        PacketId::new(self.value("id").expect("id= is given")).expect("not zero")
    }

    pub(crate) fn qos(&self) -> QoS {
        QoS::try_from(self.value::<u8>("qos").unwrap_or(0)).expect("0, 1 or 2")
    }

    pub(crate) fn reason(&self) -> ReasonCode {
        self.text("reason").map_or(ReasonCode::Success, code)
    }

    /// Authentication Data.
    pub(crate) fn data(&self) -> Option<Bytes> {
        self.text("data").map(bytes)
    }

    /// The packet that a client sends.
    pub(crate) fn packet(&self) -> Option<Packet> {
        Some(match self.command {
            "connect" => Packet::Connect(Box::new(self.connect())),
            "publish" => Packet::Publish(self.publish()),
            "puback" => Packet::PubAck(Ack::new(self.packet_id(), self.reason())),
            "pubrec" => Packet::PubRec(Ack::new(self.packet_id(), self.reason())),
            "pubrel" => Packet::PubRel(Ack::new(self.packet_id(), self.reason())),
            "pubcomp" => Packet::PubComp(Ack::new(self.packet_id(), self.reason())),
            "subscribe" => Packet::Subscribe(self.subscribe()),
            "unsubscribe" => Packet::Unsubscribe(Unsubscribe {
                packet_id: self.packet_id(),
                user_properties: UserProperties::default(),
                filters: self.bare().map(|filter| filter.parse().expect("a filter")).collect(),
            }),
            "pingreq" => Packet::PingReq,
            "pingresp" => Packet::PingResp,
            "auth" => Packet::Auth(Auth {
                reason: self.text("reason").map_or(ReasonCode::ReAuthenticate, code),
                authentication: (!self.has("bare")).then(|| self.authentication("method")),
                properties: Default::default(),
            }),
            "disconnect" => {
                let mut packet = Disconnect::new(self.reason());
                packet.session_expiry_s = self.value("expiry");
                Packet::Disconnect(packet)
            }
            _ => return None,
        })
    }

    fn connect(&self) -> Connect {
        let version = match self.text("v") {
            Some("3.1") => Version::V31,
            Some("3.1.1") => Version::V311,
            _ => Version::V5,
        };
        let mut connect = Connect::new(version, self.value("id").unwrap_or_default());
        connect.clean_start = !self.has("resume");
        connect.keepalive_s = self.value("keepalive").unwrap_or(0);
        connect.username = self.value("user");
        connect.password = self.text("password").map(bytes);
        connect.will = self.will();
        let properties = &mut connect.properties;
        properties.session_expiry_s = self.value("expiry");
        properties.receive_max = self.value("receive_max");
        properties.packet_size_max = self.value("packet_size_max");
        properties.topic_alias_max = self.value("topic_alias_max").unwrap_or(0);
        properties.request_response_information = self.has("asks_response_information");
        properties.request_problem_information = !self.has("no_problem_information");
        properties.authentication = self.text("auth").map(|_| self.authentication("auth"));
        connect
    }

    fn authentication(&self, name: &str) -> Authentication {
        let method = self.text(name).unwrap_or("SCRAM").parse().expect("text");
        Authentication { method, data: self.data() }
    }

    fn will(&self) -> Option<Will> {
        Some(Will {
            topic: self.value("will")?,
            qos: QoS::try_from(self.value::<u8>("will_qos").unwrap_or(0)).expect("0, 1 or 2"),
            retain: self.has("will_retain"),
            payload: bytes("gone"),
            delay_s: self.value("will_delay").unwrap_or(0),
            properties: PublishProperties { expiry_s: self.value("will_expiry"), ..Default::default() },
        })
    }

    /// A PUBLISH; without `topic=` its name is empty.
    pub(crate) fn publish(&self) -> Publish {
        let qos = self.qos();
        let utf8 = self.has("utf8").then_some(ForwardedProperty::PayloadFormat(PayloadFormat::Utf8));
        let users = self.words.iter().filter_map(|word| word.strip_prefix("user=")?.split_once(':'));
        let forwarded = users.map(|(name, value)| {
            ForwardedProperty::User(name.parse().expect("text"), value.parse().expect("text"))
        });
        Publish {
            dup: self.has("dup"),
            qos,
            retain: self.has("retain"),
            topic: self.value("topic").unwrap_or_else(Topic::unnamed),
            packet_id: (qos != QoS::AtMostOnce && self.text("id").is_some()).then(|| self.packet_id()),
            properties: PublishProperties {
                expiry_s: self.value("expiry"),
                topic_alias: self.value("alias").and_then(TopicAlias::new),
                subscription_ids: self.subscription_id().into_iter().collect(),
                forwarded: Forwarded::new(utf8.into_iter().chain(forwarded)).expect("few properties"),
            },
            payload: self.payload(),
        }
    }

    fn payload(&self) -> Bytes {
        match self.value("size") {
            Some(size) => Bytes::from(vec![b'x'; size]),
            None if self.has("garbage") => Bytes::from_static(b"\xff"),
            None => bytes(self.text("payload").unwrap_or("")),
        }
    }

    fn subscription_id(&self) -> Option<SubscriptionId> {
        self.value("subscription_id").and_then(SubscriptionId::new)
    }

    fn subscribe(&self) -> Subscribe {
        let subscription = |filter: &str| Subscription {
            filter: filter.parse().expect("a filter"),
            options: self.options(self.qos()),
        };
        Subscribe {
            packet_id: self.packet_id(),
            subscription_id: self.subscription_id(),
            user_properties: UserProperties::default(),
            subscriptions: self.bare().filter(|word| !is_option(word)).map(subscription).collect(),
        }
    }

    fn options(&self, qos: QoS) -> SubscribeOptions {
        SubscribeOptions {
            qos,
            no_local: self.has("no_local"),
            retain_as_published: self.has("retain_as_published"),
            ..SubscribeOptions::default()
        }
    }

    /// The subscription by which a message reaches the client.
    pub(crate) fn terms(&self, stream: StreamId) -> SubscriptionTerms {
        let granted = QoS::try_from(self.value::<u8>("granted").unwrap_or(1)).expect("0, 1 or 2");
        SubscriptionTerms { options: self.options(granted), id: self.subscription_id(), stream }
    }

    /// The codes that a driver answers, as hexadecimal bytes.
    pub(crate) fn codes(&self) -> Vec<ReasonCode> {
        self.bare().map(code).collect()
    }
}

fn is_option(word: &str) -> bool {
    ["no_local", "retain_as_published"].contains(&word)
}

pub(crate) fn code(text: &str) -> ReasonCode {
    let byte = u8::from_str_radix(text, 16).expect("a hexadecimal byte");
    ReasonCode::try_from(byte).expect("a reason code")
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
