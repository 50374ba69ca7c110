//! rumqttc over TCP, the transport for which it needs no second cryptographic library.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_tests::{Fleet, Plan};
use tokio::time::timeout;

use super::{HEARD_WITHIN, PACKET_SIZE_MAX};

const MESSAGES: usize = 25;

/// Payloads, bytes.
const SIZES: [usize; 3] = [1, 65_536, 16 * 1024 * 1024];

mod v311 {
    use rumqttc::LastWill;
    pub(super) use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

    pub(super) fn take_large(options: &mut MqttOptions) {
        let max = super::PACKET_SIZE_MAX.parse().expect("bytes");
        options.set_max_packet_size(max, max);
    }

    pub(super) fn will(topic: &str) -> LastWill {
        LastWill::new(topic, "gone", QoS::AtLeastOnce, false)
    }
}

mod v5 {
    pub(super) use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::LastWill;
    pub(super) use rumqttc::v5::mqttbytes::v5::Packet;
    pub(super) use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    pub(super) fn take_large(options: &mut MqttOptions) {
        options.set_max_packet_size(Some(super::PACKET_SIZE_MAX.parse().expect("bytes")));
    }

    pub(super) fn will(topic: &str) -> LastWill {
        LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None)
    }
}

/// The next packet of this kind that comes.
macro_rules! next {
    ($library:ident, $events:expr, $kind:ident) => {{
        use $library::{Event, Packet};
        let listen = async {
            loop {
                if let Event::Incoming(Packet::$kind(packet)) = $events.poll().await? {
                    break anyhow::Ok(packet);
                }
            }
        };
        timeout(HEARD_WITHIN, listen).await.context(concat!("no ", stringify!($kind)))??
    }};
}

/// A client, and one that has subscribed.
macro_rules! open {
    ($library:ident, $address:expr, $id:expr) => {{
        let mut options = $library::MqttOptions::new($id, $address.ip().to_string(), $address.port());
        $library::take_large(&mut options);
        $library::AsyncClient::new(options, 4 * MESSAGES)
    }};
    ($library:ident, $address:expr, $id:expr, $filter:expr) => {{
        let (client, mut events) = open!($library, $address, $id);
        client.subscribe($filter, $library::QoS::AtLeastOnce).await?;
        next!($library, events, SubAck);
        (client, events)
    }};
}

/// What is retained comes to who subscribes later, of any size.
macro_rules! keeps {
    ($library:ident, $address:expr) => {{
        let (client, mut events) = open!($library, $address, "says");
        for size in SIZES {
            let payload = vec![b'r'; size];
            client.publish("kept", $library::QoS::AtLeastOnce, true, payload.clone()).await?;
            next!($library, events, PubAck);
            let (_later, mut later) = open!($library, $address, "later", "kept");
            let kept = next!($library, later, Publish);
            ensure!(kept.retain && kept.payload == payload, "{size} bytes came as others");
        }
    }};
}

/// The two members of a group share what is published.
macro_rules! shares {
    ($library:ident, $address:expr) => {{
        use $library::{Event, Packet};
        let (_one, mut one) = open!($library, $address, "one", "$share/group/work");
        let (_other, mut other) = open!($library, $address, "other", "$share/group/work");
        let (client, mut events) = open!($library, $address, "says");
        for number in 0..MESSAGES {
            client.publish("work", $library::QoS::AtLeastOnce, false, number.to_string()).await?;
            next!($library, events, PubAck);
        }
        let mut heard = [Vec::new(), Vec::new()];
        let listen = async {
            while heard.iter().map(Vec::len).sum::<usize>() < MESSAGES {
                let (member, event) = tokio::select! {
                    event = one.poll() => (0, event?),
                    event = other.poll() => (1, event?),
                };
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    heard[member].push(String::from_utf8(publish.payload.to_vec())?.parse::<usize>()?);
                }
            }
            anyhow::Ok(())
        };
        timeout(HEARD_WITHIN, listen).await.context("not all was heard")??;
        ensure!(heard.iter().all(|heard| !heard.is_empty()), "{heard:?}");
        let mut all = heard.concat();
        all.sort_unstable();
        ensure!(all.into_iter().eq(0..MESSAGES), "{heard:?}");
    }};
}

/// The will of a client that is gone without a word.
macro_rules! wills {
    ($library:ident, $address:expr) => {{
        let (_heir, mut heir) = open!($library, $address, "heir", "will");
        let mut options = $library::MqttOptions::new("dies", $address.ip().to_string(), $address.port());
        options.set_last_will($library::will("will"));
        let (client, mut events) = $library::AsyncClient::new(options, 1);
        next!($library, events, ConnAck);
        drop((client, events));
        let will = next!($library, heir, Publish);
        ensure!(will.payload == "gone", "{will:?}");
    }};
}

/// A client hears what it says itself with each QoS, once and in order. The two versions have types of their own.
macro_rules! hears_itself {
    ($library:ident, $address:expr) => {{
        use $library::{AsyncClient, Event, MqttOptions, Packet, QoS};
        let address: SocketAddr = $address;
        let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let host = address.ip().to_string();
        let mut options = MqttOptions::new(stringify!($library), host, address.port());
        options.set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = AsyncClient::new(options, 4 * MESSAGES);
        client.subscribe("rumqttc/+", QoS::ExactlyOnce).await?;
        for number in 0..MESSAGES {
            for qos in all {
                client.publish("rumqttc/1", qos, false, number.to_string()).await?;
            }
        }
        let mut heard = vec![Vec::new(); all.len()];
        let listen = async {
            while heard.iter().map(Vec::len).sum::<usize>() < MESSAGES * all.len() {
                if let Event::Incoming(Packet::Publish(publish)) = events.poll().await? {
                    heard[publish.qos as usize].push(String::from_utf8(publish.payload.to_vec())?);
                }
            }
            anyhow::Ok(())
        };
        timeout(HEARD_WITHIN, listen).await.context("not all was heard")??;
        let said: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
        ensure!(heard.iter().all(|heard| *heard == said), "{heard:?}");
        client.disconnect().await?;
        let end = async { while events.poll().await.is_ok() {} };
        timeout(HEARD_WITHIN, end).await.context("it does not end")?;
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_hear_themselves() -> Result<()> {
    let fleet = Fleet::start(Plan::single("off", [ListenerKind::Tcp])).await?;
    hears_itself!(v311, fleet.broker_tcp(0));
    hears_itself!(v5, fleet.broker_tcp(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_keep_share_and_leave_a_will() -> Result<()> {
    let broker_environment = vec![("REVOQ_BROKER_PACKET_SIZE_MAX", PACKET_SIZE_MAX)];
    let fleet = Fleet::start(Plan { broker_environment, ..Plan::single("off", [ListenerKind::Tcp]) }).await?;
    let address = fleet.broker_tcp(0);
    keeps!(v311, address);
    keeps!(v5, address);
    shares!(v311, address);
    shares!(v5, address);
    wills!(v311, address);
    wills!(v5, address);
    Ok(())
}
