//! Sessions as an operator sees and ends them, and what a broker tells about itself.

use anyhow::{Result, ensure};
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::sessions_client::SessionsClient;
use revoq_proto::v1::{self, DisconnectSessionsRequest};
use revoq_tests::process::run;
use revoq_tests::{End, Lab};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_listed_and_disconnected_on_every_node_without_denying_anything() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let (one, other) = (lab.issue("one").await?, lab.issue("other").await?);
    let mut ended = Vec::new();
    for broker in 0..2 {
        ended.push(lab.connect(broker, &one, &format!("one-{broker}")).await?);
    }
    let mut bystander = lab.connect(1, &other, "other").await?;
    let listed = lab.sessions().await?;
    ensure!(listed.total == 3 && listed.missing.is_empty(), "{listed:?}");
    let nodes: std::collections::BTreeSet<_> =
        listed.sessions.iter().map(|session| &session.node_name).collect();
    ensure!(nodes.len() == 2, "{listed:?}");

    let selector = Selector::Fingerprint(one.certificate.fingerprint.clone());
    let request = DisconnectSessionsRequest {
        selector: Some(v1::Selector { selector: Some(selector) }),
        client_id: String::new(),
    };
    // Through a replica that most likely serves neither broker and does not lead.
    let answer = SessionsClient::new(lab.channel(2)?).disconnect(request).await?.into_inner();
    ensure!(answer.sessions.iter().map(|node| node.sessions).sum::<u64>() == 2, "{answer:?}");
    for client in ended {
        let end = client.ended().await?;
        ensure!(matches!(end, End::Disconnect(_)), "{end:?}");
    }
    bystander.ping().await?;
    lab.connect(0, &one, "back").await?.ping().await?;
    lab.cluster.shutdown().await;
    Ok(())
}

async fn http(address: std::net::SocketAddr, path: &str) -> Result<(String, String)> {
    let url = format!("http://{address}{path}");
    let done = run("curl", ["-s", "--max-time", "10", "-w", "\n%{http_code}", &url]).await?;
    let (body, code) = done.out.rsplit_once('\n').unwrap_or_default();
    Ok((code.to_owned(), body.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_ready_only_while_its_view_is_fresh() -> Result<()> {
    let mut lab = Lab::start(1, 1).await?;
    lab.set("lease", "1s").await?;
    lab.set("stale_grace", "1s").await?;
    let device = lab.issue("device").await?;
    let client = lab.connect(0, &device, "device").await?;
    let address = lab.cluster.layout().brokers[0].http;
    ensure!(http(address, "/healthz").await?.0 == "200");
    ensure!(http(address, "/readyz").await?.0 == "200");
    let (code, metrics) = http(address, "/metrics").await?;
    ensure!(code == "200" && metrics.contains("revoq_broker_sessions 1"), "{metrics}");

    lab.cluster.stop_replica(0).await;
    revoq_tests::until(
        "it turns unready when its lease ends",
        std::time::Duration::from_secs(20),
        || async { Ok((http(address, "/readyz").await?.0 == "503").then_some(())) },
    )
    .await?;
    ensure!(http(address, "/healthz").await?.0 == "200", "it lives");
    let end = client.ended().await?;
    ensure!(matches!(end, End::Disconnect(_)), "after the grace nobody is served: {end:?}");
    ensure!(lab.try_connect(0, &device, "again").await?.is_err(), "a stale view lets nobody in");

    lab.cluster.start_replica(0).await?;
    lab.cluster.wait_ready().await?;
    lab.connect(0, &device, "again").await?.ping().await?;
    lab.cluster.shutdown().await;
    Ok(())
}
