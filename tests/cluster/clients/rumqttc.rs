//! rumqttc over TCP, the transport for which it needs no second cryptographic library.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_tests::{Fleet, Plan};
use tokio::time::timeout;

use super::HEARD_WITHIN;

const MESSAGES: usize = 25;

mod v311 {
    pub(super) use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
}

mod v5 {
    pub(super) use rumqttc::v5::mqttbytes::QoS;
    pub(super) use rumqttc::v5::mqttbytes::v5::Packet;
    pub(super) use rumqttc::v5::{AsyncClient, Event, MqttOptions};
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
