//! Peers that mean no good, against a running broker process: it goes on serving others, its memory stays bounded, and
//! each gets the reason code or the close that the standard asks for, counted.

mod carriers;
mod limits;
mod readers;
mod slow;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use revoq_broker::ListenerKind;
use revoq_mqtt::{
    Connect, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Subscribe, SubscribeOptions,
    Subscription, TopicFilter, Version,
};
use revoq_tests::{Fleet, Plan};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::link::{Link, Route};

/// The broker answers, and ends what it ends, within this on the busiest machine.
const WITHIN: Duration = Duration::from_secs(20);
/// One exchange of a client that behaves takes no longer, whatever the others do.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(5);
/// Between two of them: a test that is done in a tenth of a second sees dozens.
const PAUSE: Duration = Duration::from_millis(2);

/// What the broker serves beside MQTT over TLS.
const BESIDE_TLS: [ListenerKind; 4] =
    [ListenerKind::Tcp, ListenerKind::WebSocket, ListenerKind::SecureWebSocket, ListenerKind::Quic];

fn long() -> bool {
    std::env::var_os("REVOQ_LONG").is_some()
}

/// A broker with these variables, and a replica. Clients need no certificate.
async fn fleet(broker_environment: Vec<(&'static str, &'static str)>) -> Result<Fleet> {
    Fleet::start(Plan { broker_environment, ..Plan::single("optional", BESIDE_TLS) }).await
}

fn tcp(fleet: &Fleet) -> Route {
    Route::Tcp(fleet.broker_tcp(0))
}

fn over(fleet: &Fleet, kind: ListenerKind) -> Result<Route> {
    Ok(Route::Over(kind, fleet.broker_at(0, kind), fleet.tls(None)?))
}

fn tls(fleet: &Fleet) -> Result<Route> {
    Ok(Route::Tls(fleet.broker(0), fleet.tls(None)?))
}

/// What limits refused, by the name of the limit.
async fn refused(fleet: &Fleet, limit: &str) -> Result<f64> {
    fleet.metric(0, "revoq_broker_limit_refusals_total", &format!("limit=\"{limit}\"")).await
}

/// Sessions that a fault ended with this reason code.
async fn faults(fleet: &Fleet, reason: ReasonCode) -> Result<f64> {
    fleet.metric(0, "revoq_broker_session_faults_total", &format!("reason=\"{}\"", reason.name())).await
}

/// A client on which the broker did not decide yet.
async fn open(route: &Route, connect: Connect) -> Result<(Link, Packet)> {
    let attempt = async {
        let mut link = Link::open(route, connect.version).await?;
        link.send(&[Packet::Connect(Box::new(connect))]).await?;
        let answer = link.read().await?.context("the stream ended before CONNACK")?;
        anyhow::Ok((link, answer))
    };
    timeout(WITHIN, attempt).await.context("no CONNACK")?
}

/// A client that is let in.
async fn connected(route: &Route, version: Version, client_id: &str) -> Result<Link> {
    match open(route, Connect::new(version, client_id.parse()?)).await? {
        (link, Packet::ConnAck(ack)) if ack.reason == ReasonCode::Success => Ok(link),
        (_, other) => bail!("{client_id}: {other:?}"),
    }
}

async fn next(link: &mut Link) -> Result<Packet> {
    let packet = timeout(WITHIN, link.read()).await.context("no packet came")??;
    packet.context("the stream ended")
}

/// Subscribes; the codes.
async fn subscribe(link: &mut Link, filters: &[&str], qos: QoS) -> Result<Vec<ReasonCode>> {
    let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
    let subscription = |filter: &&str| -> Result<Subscription> {
        Ok(Subscription { filter: filter.parse::<TopicFilter>()?, options })
    };
    let subscriptions = filters.iter().map(subscription).collect::<Result<Vec<_>>>()?;
    let (packet_id, user_properties) = (PacketId::FIRST, Default::default());
    let subscribe = Subscribe { packet_id, subscription_id: None, user_properties, subscriptions };
    link.send(&[Packet::Subscribe(subscribe)]).await?;
    match next(link).await? {
        Packet::SubAck(ack) => Ok(ack.reasons),
        other => bail!("SUBACK expected, not {other:?}"),
    }
}

fn publish(topic: &str, qos: QoS, packet_id: u16, payload: Bytes) -> Result<Publish> {
    let packet_id = (qos > QoS::AtMostOnce).then_some(PacketId::new(packet_id)).flatten();
    let (topic, properties) = (topic.parse()?, PublishProperties::default());
    Ok(Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload })
}

/// MQTT 5.0 is told why; then the stream ends. Older versions are not told.
async fn ended(link: &mut Link, reason: Option<ReasonCode>) -> Result<()> {
    let mut told = None;
    let end = timeout(WITHIN, async {
        while let Ok(Some(packet)) = link.read().await {
            if let Packet::Disconnect(disconnect) = packet {
                told = Some(disconnect.reason);
            }
        }
    });
    end.await.with_context(|| format!("not ended; {reason:?} expected"))?;
    ensure!(told == reason, "told {told:?}, not {reason:?}");
    Ok(())
}

/// A client that behaves, from its start to its [`Bystander::finish`].
struct Bystander {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Result<usize>>,
}

impl Bystander {
    async fn start(fleet: &Fleet) -> Result<Bystander> {
        let mut link = connected(&tls(fleet)?, Version::V5, "bystander").await?;
        subscribe(&mut link, &["bystander"], QoS::AtLeastOnce).await?;
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut exchanges = 0;
            while !over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                timeout(WITHIN, exchange(&mut link)).await.context("a client that behaves hangs")??;
                let took = begun.elapsed();
                ensure!(took < EXCHANGE_WITHIN, "an exchange of a client that behaves took {took:?}");
                exchanges += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(exchanges)
        });
        Ok(Bystander { is_over, task })
    }

    /// It had so many exchanges at least, and nothing disturbed it.
    async fn finish(self, at_least: usize) -> Result<()> {
        self.is_over.store(true, Ordering::SeqCst);
        let exchanges = self.task.await??;
        ensure!(exchanges >= at_least, "a client that behaves had {exchanges} exchanges");
        Ok(())
    }
}

/// Publishes to itself, and acknowledges what comes.
async fn exchange(link: &mut Link) -> Result<()> {
    let packet = publish("bystander", QoS::AtLeastOnce, 1, Bytes::from_static(b"well"))?;
    link.send(&[Packet::Publish(packet)]).await?;
    let (mut acknowledged, mut came) = (false, false);
    while !(acknowledged && came) {
        match next(link).await? {
            Packet::PubAck(_) => acknowledged = true,
            Packet::Publish(publish) => {
                let id = publish.packet_id.context("QoS 1")?;
                link.send(&[Packet::PubAck(revoq_mqtt::Ack::new(id, ReasonCode::Success))]).await?;
                came = true;
            }
            other => bail!("{other:?}"),
        }
    }
    Ok(())
}

/// It runs, it did not panic, and everything that was opened is closed.
async fn is_well(fleet: &Fleet, connections: f64) -> Result<()> {
    ensure!(fleet.broker_process(0).is_running().await?, "the broker has ended");
    ensure!(!fleet.broker_process(0).log().contains("panicked"), "the broker panicked");
    revoq_tests::until("only those that behave are connected", WITHIN, || async {
        Ok((fleet.metric(0, "revoq_broker_connections", "").await? <= connections).then_some(()))
    })
    .await?;
    ensure!(fleet.readiness(0).await?.0, "the broker is not ready");
    Ok(())
}
