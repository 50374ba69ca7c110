//! What clients in the field do that no example shows: keep-alives of a second, no client id, a user name without a
//! password, a burst of SUBSCRIBE packets, a PUBLISH from before the connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use revoq_mqtt::ReasonCode;
use revoq_tests::process::{Talker, python};
use revoq_tests::{Lab, until};
use tokio::process::Command;

use super::{Files, HEARD_WITHIN, root, script};

const KEEPALIVE: Duration = Duration::from_secs(1);
/// What a busy machine may take to notice.
const SLACK: Duration = Duration::from_secs(3);

fn field(lab: &Lab, files: Option<&Files>, paho: &str, version: &str) -> Result<Command> {
    let mut command = Command::new(python(paho)?);
    command.arg(script("field.py")).arg(lab.broker(0).port().to_string()).arg(root(lab)?);
    command.args(["--version", version]);
    if let Some(files) = files {
        command.arg("--cert").arg(&files.chain).arg("--key").arg(&files.key);
    }
    Ok(command)
}

/// Three SUBSCRIBE packets and two PUBLISH packets are answered, and what it says comes back to it.
async fn talks(mut command: Command) -> Result<Talker> {
    command.args(["--seconds", "60"]);
    let mut talker = Talker::start(&mut command)?;
    talker.hear("\"connected\", \"code\": 0", HEARD_WITHIN).await?;
    let done = |heard: &[String], event: &str, count: usize| {
        heard.iter().filter(|line| line.contains(event)).count() >= count
    };
    for (event, count) in [("\"subscribed\"", 3), ("\"published\"", 2), ("\"message\"", 1)] {
        while !done(talker.heard(), event, count) {
            talker.hear("event", HEARD_WITHIN).await.with_context(|| format!("{count} times {event}"))?;
        }
    }
    let asked = |line: &String| line.contains("\"subscribed\"") && !line.contains("[1]");
    ensure!(!talker.heard().iter().any(asked), "{:?}", talker.heard());
    Ok(talker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telemetry_clients_of_every_kind_are_served() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let device = lab.issue("meter").await?;
    let folder = lab.write_pem(&device)?;
    let files = Files { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    lab.set("client_certificate", "optional").await?;
    for (paho, version) in
        [("1.6.1", "31"), ("1.6.1", "311"), ("1.6.1", "5"), ("2.1.0", "31"), ("2.1.0", "311"), ("2.1.0", "5")]
    {
        for files in [Some(&files), None] {
            // MQTT 3.1 has no client without a name.
            let id = if version == "31" { "field" } else { "" };
            let mut command = field(&lab, files, paho, version)?;
            command.args(["--id", id, "--username", "A1_TEST_TOKEN", "--keepalive", "1"]);
            talks(command).await.with_context(|| format!("paho {paho}, MQTT {version}"))?;
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// It lives while it pings, for longer than the cut-off; once it is silent it is cut off after one and a half times the
/// keep-alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keep_alive_of_a_second_is_kept_and_enforced() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    let label = format!("reason=\"{}\"", ReasonCode::KeepAliveTimeout.name());
    let cut = async || lab.metric(0, "revoq_broker_session_faults_total", &label).await;
    for (count, (paho, version)) in [("1.6.1", "311"), ("2.1.0", "5")].into_iter().enumerate() {
        let mut command = field(&lab, None, paho, version)?;
        command.args(["--id", "pinger", "--keepalive", "1", "--silent-after", "4", "--seconds", "30"]);
        let mut talker = Talker::start(&mut command)?;
        talker.hear("\"silent\"", HEARD_WITHIN).await?;
        let begun = Instant::now();
        ensure!(cut().await? == count as f64, "paho {paho} was cut off while it pinged");
        let now = || async { Ok((cut().await? == count as f64 + 1.0).then_some(())) };
        until("it is cut off", HEARD_WITHIN, now).await?;
        ensure!(begun.elapsed() < KEEPALIVE.mul_f64(1.5) + SLACK, "cut off after {:?}", begun.elapsed());
    }
    lab.cluster.shutdown().await;
    Ok(())
}
