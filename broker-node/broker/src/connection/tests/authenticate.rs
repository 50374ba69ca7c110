//! Enhanced authentication where the control plane cannot be asked; with it, see `tests/cluster/passwords.rs`.

use std::time::{Duration, Instant};

use super::bench::{Bench, packet};
use crate::config::Limits;
use crate::tls::tests::certificates::setting;

/// CONNECT with the method and this data.
fn connect(data: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u16::try_from(text.len()).expect("short");
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    let properties = [&[0x15][..], &text("SCRAM-SHA-256"), &[0x16], &text(data)].concat();
    let length = u8::try_from(properties.len()).expect("short");
    packet(0x10, &[&b"\0\x04MQTT\x05\x02\0\x3c"[..], &[length], &properties, &text("a")].concat())
}

/// Sends it; the reason code of CONNACK, after which the stream ends.
async fn refused(bench: &Bench, data: &str) -> u8 {
    let mut client = bench.socket().await;
    client.send(&connect(data)).await;
    let (first, body) = client.receive().await.expect("an answer");
    assert_eq!(first, 0x20, "CONNACK");
    assert_eq!(client.receive().await, None);
    body[1]
}

#[tokio::test]
async fn what_is_no_scram_is_refused_at_once() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    for data in ["", "n,,", "p=tls-exporter,,n=pump,r=x"] {
        assert_eq!(refused(&bench, data).await, 0x87, "{data:?}");
    }
    assert_eq!(bench.node.metrics.authentications.malformed.get(), 3);
}

#[tokio::test]
async fn without_the_control_plane_nobody_has_a_password() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    assert_eq!(refused(&bench, "n,,n=pump,r=x").await, 0x88);
    assert_eq!(bench.node.metrics.authentications.no_answer.get(), 1);
    // A name that none can have is not looked up: it is challenged like any other.
    let mut client = bench.socket().await;
    client.send(&connect("n,,n=no such,r=x")).await;
    assert_eq!(client.receive().await.expect("a challenge").0, 0xf0);
}

#[tokio::test]
async fn the_time_to_connect_ends_an_exchange() {
    let limits = Limits { connect_timeout: Duration::from_millis(200), ..Limits::default() };
    let bench = Bench::new(limits, [setting("client_certificate", "optional")]);
    let mut client = bench.socket().await;
    let start = Instant::now();
    client.send(&connect("n,,n=no such,r=x")).await;
    assert_eq!(client.receive().await.expect("a challenge").0, 0xf0);
    let (first, body) = client.receive().await.expect("an answer");
    assert_eq!((first, body[1]), (0x20, 0x87), "CONNACK");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(2), "{took:?}");
}
