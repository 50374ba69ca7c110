use std::time::Duration;

use revoq_credentials::{Change, Millis, StaleGrace, State, TenantName};
use revoq_lease::{Freshness, Permitted};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;

use super::bench::{Bench, Client};
use crate::clock::{self, Now};
use crate::config::Limits;
use crate::gate::Shut;
use crate::tls::tests::certificates::{Authority, Leaf, denied, setting};
use crate::tls::tests::client;

fn optional() -> Change {
    setting("client_certificate", "optional")
}

fn tenant(state: State) -> Change {
    Change::Tenant { name: TenantName::default(), state, created: Millis(0) }
}

fn with_authority() -> (Bench, Authority, Leaf) {
    let authority = Authority::new("devices");
    let known = authority.change("devices", State::Active, true);
    let leaf = authority.issue("urn:revoq:default:meter-1");
    (Bench::new(Limits::default(), [known, optional()]), authority, leaf)
}

#[tokio::test]
async fn a_suspended_certificate_is_cut_and_refused_and_let_in_again() {
    let (bench, authority, leaf) = with_authority();
    let other = authority.issue("urn:revoq:default:meter-2");
    for version in [&TLS12, &TLS13] {
        let (config, others) = (client(Some(&leaf), version), client(Some(&other), version));
        let mut session = bench.handshake(&config).await.expect("it is accepted");
        let mut bystander = bench.handshake(&others).await.expect("it is accepted");
        assert_eq!((session.connect("session").await, bystander.connect("bystander").await), (0, 0));
        assert_eq!(bench.apply(denied(&leaf)), 1);
        session.is_cut(0x98).await;
        bystander.ping().await;
        // TLS 1.2 fails in the handshake; in TLS 1.3 the client is done before the server looks at its certificate.
        if let Ok(mut again) = bench.handshake(&config).await {
            assert_eq!(again.receive().await, None);
        }
        assert_eq!(bench.apply(Change::Allowed(leaf.fingerprint())), 0);
        let mut again = bench.handshake(&config).await.expect("it is accepted");
        assert_eq!(again.connect("session").await, 0);
    }
}

#[tokio::test]
async fn a_resumed_handshake_brings_no_suspended_certificate_in() {
    let (bench, _, leaf) = with_authority();
    bench.node.tickets.set([(&[1; 16][..], &[1; 32][..])].into_iter());
    let config = client(Some(&leaf), &TLS13);
    let mut session = bench.handshake(&config).await.expect("it is accepted");
    assert_eq!(session.connect("session").await, 0);
    session.ping().await;
    bench.apply(denied(&leaf));
    session.is_cut(0x98).await;
    let mut again = bench.handshake(&config).await.expect("a ticket resumes");
    assert_eq!(again.connect("again").await, 0x87);
    assert_eq!(bench.node.metrics.handshakes.resumed.get(), 1);
}

#[tokio::test]
async fn requiring_certificates_cuts_those_without() {
    let (bench, _, leaf) = with_authority();
    let mut with = bench.handshake(&client(Some(&leaf), &TLS13)).await.expect("it is accepted");
    assert_eq!(with.connect("with").await, 0);
    let mut without = bench.tcp("without").await;
    assert_eq!(bench.apply(setting("client_certificate", "required")), 1);
    without.is_cut(0x87).await;
    with.ping().await;
    let mut again = Client { stream: TcpStream::connect(bench.tcp).await.expect("it listens") };
    assert_eq!(again.connect("again").await, 0x87);
}

#[tokio::test]
async fn a_client_that_never_reads_is_reset_within_the_deadline() {
    let bench = Bench::new(Limits::default(), [optional(), setting("cut_deadline", "300ms")]);
    let (mut deaf, mut loud) = (bench.tcp("deaf").await, bench.tcp("loud").await);
    deaf.subscribe("t").await;
    for _ in 0..40 {
        loud.publish("t", &[0; 500_000]).await;
        loud.receive().await.expect("PUBACK");
    }
    let start = std::time::Instant::now();
    bench.apply(tenant(State::Suspended));
    bench.until("a reset", |node| node.metrics.resets.get() > 0).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    bench.until("no session", |node| node.registry.len() == 0).await;
}

#[tokio::test]
async fn nothing_passes_a_shut_gate() {
    let bench = Bench::new(Limits::default(), [optional()]);
    let (mut subscriber, mut publisher) = (bench.tcp("subscriber").await, bench.tcp("publisher").await);
    subscriber.subscribe("t").await;
    // The task sleeps on: it is not woken before the packet comes.
    bench.node.registry.each(|entry| {
        if entry.client_id.as_bytes() == b"publisher" {
            assert!(entry.gate.shut(Shut::Denied));
        }
    });
    publisher.publish("t", b"too late").await;
    publisher.is_cut(0x98).await;
    subscriber.ping().await;
}

#[tokio::test]
async fn a_lapsed_view_serves_nobody() {
    let bench = Bench::new(Limits::default(), [optional()]);
    let (mut one, now) = (bench.tcp("one").await, clock::now());
    assert!(bench.node.serves_new(now));
    let later = Now { boot: now.boot + 600_001, wall: now.wall + 600_001 };
    assert!(!bench.node.serves_new(later) && !bench.node.is_lapsed(later), "stale");
    bench.apply(setting("stale_new", "serve"));
    assert!(bench.node.serves_new(later));
    bench.node.freshness.set_grace(StaleGrace::Bounded(Duration::ZERO));
    assert!(!bench.node.serves_new(later) && bench.node.is_lapsed(later), "lapsed");
    assert_eq!(Freshness::default().permitted(now), Permitted::Never);
    bench.node.shut_all(Shut::Lapsed);
    one.is_cut(0x9c).await;
}

#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    let authority = Authority::new("devices");
    let known = authority.change("devices", State::Active, true);
    let bench = Bench::new(Limits::default(), [known, optional()]);
    let leaf = authority.issue_for("urn:revoq:default:meter-1", Duration::from_secs(2));
    let mut session = bench.handshake(&client(Some(&leaf), &TLS13)).await.expect("it is accepted");
    assert_eq!(session.connect("session").await, 0);
    session.is_cut(0x87).await;
    assert_eq!(bench.node.metrics.cuts(Shut::Expired).get(), 1);
}

#[tokio::test]
async fn the_will_of_a_cut_session_is_published_unless_told_otherwise() {
    for (will_on_cut, expected) in [("true", true), ("false", false)] {
        let bench = Bench::new(Limits::default(), [optional(), setting("will_on_cut", will_on_cut)]);
        let mut witness = bench.tcp("witness").await;
        witness.subscribe("will").await;
        let mut dying = Client { stream: TcpStream::connect(bench.tcp).await.expect("it listens") };
        // CONNECT with a will: topic `will`, payload `x`.
        dying.send(b"\x10\x1c\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x05dying\x00\x00\x04will\x00\x01x").await;
        assert_eq!(dying.receive().await.map(|(first, _)| first), Some(0x20));
        bench.node.registry.each(|entry| {
            if entry.client_id.as_bytes() == b"dying" {
                entry.cut(Shut::Denied);
            }
        });
        dying.is_cut(0x98).await;
        bench.until("its end", |node| node.registry.len() == 1).await;
        witness.send(&[0xc0, 0]).await;
        let (first, _) = witness.receive().await.expect("a will or an answer");
        assert_eq!(first & 0xf0 == 0x30, expected, "will_on_cut = {will_on_cut}");
    }
}

#[tokio::test]
async fn the_closing_word_comes_after_what_the_client_has_not_read() {
    let bench = Bench::new(Limits::default(), [setting("client_certificate", "optional")]);
    let (mut one, mut two) = (bench.tcp("one").await, bench.tcp("two").await);
    one.subscribe("t").await;
    // More than the sockets hold, so that the broker has some of it left to write.
    let payload = vec![0; 60_000];
    while bench.node.metrics.dropped.get() == 0 {
        two.publish_lossy("t", &payload).await;
        two.ping().await;
    }
    // PINGRESP is the server's.
    one.send(&[0xd0, 0]).await;
    bench.until("an end", |node| node.registry.len() == 1).await;
    let mut last = None;
    while let Some(packet) = one.receive().await {
        last = Some(packet);
    }
    let (first, body) = last.expect("messages, and a last word");
    assert_eq!((first, body.first()), (0xe0, Some(&0x82)), "not cut short");
}
