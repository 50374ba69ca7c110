//! Outputs and packets as lines of text.

use std::fmt::Write;

use revoq_mqtt::{
    Authentication, ConnAckProperties, ForwardedProperty, Packet, PublishProperties, QoS, ReasonCode,
    SubscriptionId, TopicFilter, Version,
};
use revoq_session::{Cause, CloseReason, ConnectRequest, Message, Output};

/// An output, without its token.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Authenticate(request) => {
            let mut line = format!("Authenticate {}", request.method);
            flag(&mut line, request.begins, "begins");
            write_to(&mut line, format_args!(" data={}", text(&request.data)));
            line
        }
        Output::Connect(request) => connect(request),
        Output::Publish { message: published, token } => {
            let owed = if token.is_some() { " owed" } else { "" };
            format!("Publish {}{owed}", message(published))
        }
        Output::Subscribe { packet_id, filters, .. } => {
            let mut line = format!("Subscribe id={packet_id}");
            for (filter, terms) in filters {
                let options = terms.options;
                write_to(&mut line, format_args!(" {filter}:{}", options.qos));
                flag(&mut line, options.no_local, "no_local");
                flag(&mut line, options.retain_as_published, "retain_as_published");
                pair(&mut line, "subscription_id", terms.id.map(SubscriptionId::get));
            }
            line
        }
        Output::Unsubscribe { packet_id, filters, .. } => {
            let filters: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
            format!("Unsubscribe id={packet_id} {}", filters.join(" "))
        }
        Output::Closed(reason) => closed(reason),
    }
}

fn connect(request: &ConnectRequest) -> String {
    let mut line = format!("Connect version={}", request.version);
    pair(&mut line, "id", request.client_id.as_ref());
    flag(&mut line, !request.clean_start, "resume");
    pair(&mut line, "keepalive", (request.keepalive_s > 0).then_some(request.keepalive_s));
    pair(&mut line, "expiry", (request.session_expiry_s > 0).then_some(request.session_expiry_s));
    pair(&mut line, "user", request.username.as_ref());
    pair(&mut line, "password", request.password.as_ref().map(|bytes| text(bytes)));
    if let Some(will) = &request.will {
        write_to(&mut line, format_args!(" will=({})", message(will)));
    }
    line
}

fn closed(reason: &CloseReason) -> String {
    let cause = match &reason.cause {
        Cause::Disconnected(code) => format!("disconnected {}", hex(*code)),
        Cause::ConnectionLost => "connection lost".to_owned(),
        Cause::Refused(code) => format!("refused {}", hex(*code)),
        Cause::Cut(code) => format!("cut {}", hex(*code)),
        Cause::Failed(error) => format!("failed {}: {error}", hex(error.reason_code())),
    };
    let mut line = format!("Closed {cause}");
    if let Some(will) = &reason.will {
        write_to(&mut line, format_args!(" will=({})", message(will)));
        pair(&mut line, "delay", (reason.will_delay_s > 0).then_some(reason.will_delay_s));
    }
    if let Some(session) = &reason.session {
        write_to(&mut line, format_args!(" kept={} queued={}", session.expiry_s(), session.queued().0));
    }
    line
}

fn message(message: &Message) -> String {
    let mut line = format!("{} qos={}", message.topic(), message.qos());
    flag(&mut line, message.retain(), "retain");
    write_to(&mut line, format_args!(" payload={}", text(message.payload())));
    properties(&mut line, message.properties());
    line
}

/// A packet that was written to the client.
pub(crate) fn packet(packet: &Packet, version: Version) -> String {
    let v5 = version.is_v5();
    match packet {
        Packet::ConnAck(connack) if v5 => {
            let mut line = format!("ConnAck {}", hex(connack.reason));
            flag(&mut line, connack.session_present, "present");
            connack_properties(&mut line, &connack.properties);
            authentication(&mut line, connack.properties.authentication.as_ref());
            line
        }
        Packet::ConnAck(connack) => {
            let mut line = format!("ConnAck {}", connack.reason.to_v3() as u8);
            flag(&mut line, connack.session_present, "present");
            line
        }
        Packet::Publish(publish) => {
            let mut line = format!("Publish {} qos={}", publish.topic, publish.qos);
            pair(&mut line, "id", publish.packet_id);
            flag(&mut line, publish.dup, "dup");
            flag(&mut line, publish.retain, "retain");
            write_to(&mut line, format_args!(" payload={}", text(&publish.payload)));
            properties(&mut line, &publish.properties);
            line
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!("{:?} id={} {}", packet.packet_type(), ack.packet_id, hex(ack.reason))
        }
        Packet::SubAck(suback) => format!("SubAck id={} {}", suback.packet_id, codes(&suback.reasons)),
        Packet::UnsubAck(unsuback) => {
            format!("UnsubAck id={} {}", unsuback.packet_id, codes(&unsuback.reasons)).trim_end().to_owned()
        }
        Packet::Disconnect(disconnect) => {
            let mut line = format!("Disconnect {}", hex(disconnect.reason));
            pair(&mut line, "elsewhere", disconnect.server_reference.as_ref());
            if let Some(reason) = &disconnect.properties.reason_string {
                write_to(&mut line, format_args!(" \"{reason}\""));
            }
            line
        }
        Packet::Auth(auth) => {
            let mut line = format!("Auth {}", hex(auth.reason));
            authentication(&mut line, auth.authentication.as_ref());
            line
        }
        other => format!("{:?}", other.packet_type()),
    }
}

fn authentication(line: &mut String, authentication: Option<&Authentication>) {
    pair(line, "method", authentication.map(|of| &of.method));
    pair(line, "data", authentication.and_then(|of| of.data.as_ref()).map(|data| text(data)));
}

fn connack_properties(line: &mut String, properties: &ConnAckProperties) {
    pair(line, "expiry", properties.session_expiry_s);
    pair(line, "receive_max", properties.receive_max);
    pair(line, "qos_max", (properties.qos_max < QoS::ExactlyOnce).then_some(properties.qos_max));
    flag(line, !properties.retain_available, "no_retain");
    pair(line, "packet_size_max", properties.packet_size_max);
    pair(line, "assigned", properties.assigned_client_id.as_ref());
    pair(line, "alias_max", (properties.topic_alias_max > 0).then_some(properties.topic_alias_max));
    flag(line, !properties.wildcard_subscription_available, "no_wildcard");
    flag(line, !properties.subscription_id_available, "no_subscription_id");
    flag(line, !properties.shared_subscription_available, "no_shared");
    pair(line, "keepalive", properties.server_keepalive_s);
    pair(line, "response_information", properties.response_information.as_ref());
    pair(line, "elsewhere", properties.server_reference.as_ref());
    if let Some(reason) = &properties.reason_string {
        write_to(line, format_args!(" \"{reason}\""));
    }
}

fn properties(line: &mut String, properties: &PublishProperties) {
    pair(line, "expiry", properties.expiry_s);
    for id in &properties.subscription_ids {
        pair(line, "subscription_id", Some(id.get()));
    }
    for property in properties.forwarded.iter() {
        match property {
            ForwardedProperty::User(name, value) => {
                write_to(line, format_args!(" user={name}:{value}"));
            }
            other => write_to(line, format_args!(" {other:?}")),
        }
    }
}

fn codes(codes: &[ReasonCode]) -> String {
    codes.iter().map(|&code| hex(code)).collect::<Vec<_>>().join(" ")
}

fn hex(code: ReasonCode) -> String {
    format!("{:02x}", code.code())
}

/// Long payloads by their length.
fn text(payload: &[u8]) -> String {
    if payload.len() > 32 {
        return format!("<{} bytes>", payload.len());
    }
    String::from_utf8_lossy(payload).into_owned()
}

fn flag(line: &mut String, set: bool, name: &str) {
    if set {
        write_to(line, format_args!(" {name}"));
    }
}

fn pair(line: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        write_to(line, format_args!(" {name}={value}"));
    }
}

fn write_to(line: &mut String, arguments: std::fmt::Arguments<'_>) {
    line.write_fmt(arguments).expect("a string takes everything");
}
