//! `$SYS`: what a client is told of its tenant.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::bench::{Bench, Client};
use crate::config::Limits;
use crate::sys;
use crate::tls::tests::certificates::setting;

/// Ten seconds, and more.
const MESSAGES_MAX: usize = 8 * 50 * 10;

/// A PUBLISH of MQTT 5.0 without its first byte and its length.
fn body(figure: &str, value: &str) -> Vec<u8> {
    let topic = format!("$SYS/broker/{figure}");
    let len = u8::try_from(topic.len()).expect("short");
    [&[0, len], topic.as_bytes(), &[0], value.as_bytes()].concat()
}

/// Waits for this figure to have this value.
async fn until<S>(client: &mut Client<S>, figure: &str, value: &str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (expected, topic) = (body(figure, value), body(figure, ""));
    let mut last = None;
    for _ in 0..MESSAGES_MAX {
        let (_, received) = client.receive().await.expect("figures go on");
        if received == expected {
            return;
        }
        if received.starts_with(&topic) {
            last = Some(received);
        }
    }
    panic!("{figure} is not {value}, but {:?}", last.map(|body| String::from_utf8_lossy(&body).into_owned()));
}

#[tokio::test]
async fn a_tenant_is_told_its_own_figures() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    let other = bench.node.router.space(&"other".parse().expect("a tenant"));
    for figure in [&other.figures.clients, &other.figures.received, &other.figures.sent] {
        figure.store(1_000, Ordering::Relaxed);
    }
    let task = tokio::spawn(sys::run(bench.node.clone(), Duration::from_millis(20)));
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    assert_eq!(two.subscribe("t").await, 1);
    assert_eq!(two.subscribe("$share/g/t").await, 1);
    for payload in [b"1", b"2", b"3"] {
        two.publish_lossy("t", payload).await;
    }
    two.publish_retained("kept", b"x").await;
    assert_eq!(one.subscribe_with("$SYS/broker/#", 0).await, 0);
    until(&mut one, "clients/connected", "2").await;
    until(&mut one, "publish/messages/received", "4").await;
    until(&mut one, "publish/messages/sent", "6").await;
    until(&mut one, "publish/messages/dropped", "0").await;
    until(&mut one, "subscriptions/count", "3").await;
    until(&mut one, "retained messages/count", "9").await;
    until(&mut one, "version", concat!("revoq version ", env!("CARGO_PKG_VERSION"))).await;
    drop(two);
    until(&mut one, "clients/connected", "1").await;
    until(&mut one, "subscriptions/count", "1").await;
    assert_eq!(bench.node.metrics.published.get(), 4, "figures are not counted as messages");
    task.abort();
}

#[tokio::test]
async fn who_subscribes_between_two_publications_is_told_the_last_figures() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    let mut one = bench.tcp("one").await;
    let task = tokio::spawn(sys::run(bench.node.clone(), Duration::from_secs(3600)));
    bench.until("the first figures", |node| node.router.retained().0 == 8).await;
    for (filter, figure, value) in
        [("$SYS/broker/clients/+", "clients/connected", "1"), ("$SYS/+/uptime", "uptime", "0 seconds")]
    {
        assert_eq!(one.subscribe_with(filter, 0).await, 0);
        assert_eq!(one.receive().await, Some((0x31, body(figure, value))), "with RETAIN");
    }
    task.abort();
}

#[tokio::test]
async fn what_a_client_publishes_there_is_refused() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    assert_eq!(one.subscribe("$SYS/#").await, 1);
    for topic in ["$SYS/", "$SYS/broker/uptime"] {
        two.publish(topic, b"x").await;
        assert_eq!(two.receive().await, Some((0x40, vec![0, 9, 0x87])), "PUBACK, not authorized");
    }
    two.publish_retained("$SYS/broker/uptime", b"x").await;
    two.ping().await;
    one.ping().await;
    assert_eq!(bench.node.router.retained(), (0, 0));
}
