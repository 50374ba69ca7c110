//! Peers that stall: they linger nowhere and delay nobody.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revoq_mqtt::Version;
use revoq_proto::v1::Transition;
use revoq_proto::v1::selector::Selector;
use revoq_tests::{Client, Lab};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_reset_within_the_deadline() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let deadline = Duration::from_secs(1);
    lab.set("cut_deadline", "1s").await?;
    let (deaf, loud) = (lab.issue("deaf").await?, lab.issue("loud").await?);
    let mut client = lab.connect(0, &deaf, "deaf").await?;
    client.subscribe("flood").await?;
    let socket = client.into_stream();
    let mut publisher = lab.connect(0, &loud, "loud").await?;
    // Far more than both socket buffers hold, so that the broker's writes block.
    let payload = "x".repeat(60_000);
    for _ in 0..200 {
        publisher.publish_acknowledged("flood", &payload).await?;
    }
    let selector = Selector::Fingerprint(deaf.certificate.fingerprint.clone());
    let started = Instant::now();
    lab.change(0, Transition::Suspend, selector).await?;
    // Reading would help it: only watch the socket for the reset.
    let tcp = socket.get_ref().0;
    let reset = revoq_tests::until("the socket is reset", deadline + Duration::from_secs(5), || async {
        let ready = tcp.ready(Interest::READABLE | Interest::WRITABLE).await?;
        let error = tcp.take_error()?;
        Ok((error.is_some() || ready.is_write_closed()).then(|| started.elapsed()))
    })
    .await?;
    ensure!(reset <= deadline + Duration::from_millis(500), "reset after {reset:?}");
    lab.cluster.shutdown().await;
    Ok(())
}

/// The median time in which a good client connects.
async fn connect_time(lab: &Lab, device: &revoq_tests::Device) -> Result<Duration> {
    let mut times = Vec::new();
    for n in 0..15 {
        let tls = lab.tls(Some(&device.leaf))?;
        let started = Instant::now();
        let client = Client::connect(lab.broker(0), tls, Version::V311, &format!("good-{n}")).await?;
        client.ok().context("a good client is let in")?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_half_open_handshakes_do_not_delay_a_good_one() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let good = lab.issue("good").await?;
    let alone = connect_time(&lab, &good).await?;
    let mut half_open = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(lab.broker(0)).await?;
        // The first bytes of a ClientHello whose rest never comes.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await?;
        half_open.push(stream);
    }
    let beside = connect_time(&lab, &good).await?;
    ensure!(
        beside <= alone + Duration::from_millis(100),
        "{beside:?} beside 1,000 half-open ones, {alone:?} alone"
    );
    drop(half_open);
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_byte_that_is_not_tls_closes_at_once() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let mut stream = TcpStream::connect(lab.broker(0)).await?;
    let started = Instant::now();
    stream.write_all(&[0x10, 0x12, 0x00, 0x04, 0x4d, 0x51]).await?;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
    ensure!(closed.is_ok(), "still open after {:?}", started.elapsed());
    ensure!(answer.is_empty(), "plaintext was answered: {answer:?}");
    lab.cluster.shutdown().await;
    Ok(())
}
