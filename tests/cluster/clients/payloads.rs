//! Payloads from a byte to 16 MiB, with a broker that is told to take them.

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_tests::process::{python, run_with};
use revoq_tests::{Fleet, Plan};
use tokio::process::Command;

use super::{PACKET_SIZE_MAX, script};

const SIZES: [usize; 4] = [1, 1_000, 1024 * 1024, 16 * 1024 * 1024];

fn root(fleet: &Fleet) -> Result<std::path::PathBuf> {
    let path = fleet.folder().join("root.pem");
    std::fs::write(&path, &fleet.bundle().authority)?;
    Ok(path)
}

/// Published with RETAIN, so that who subscribes later gets it.
async fn mosquitto_carries(fleet: &Fleet, version: &str, size: usize, qos: &str) -> Result<()> {
    let file = fleet.folder().join("payload");
    let payload: String = ('a'..='z').cycle().take(size).collect();
    std::fs::write(&file, &payload)?;
    let address = fleet.broker(0);
    let command = |program: &str| -> Result<Command> {
        let mut command = Command::new(program);
        command.args(["-V", version, "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
        // The certificate is for a name, and hosts of tests have addresses only.
        command.arg("--cafile").arg(root(fleet)?).args(["--insecure", "-t", "large", "-q", qos]);
        Ok(command)
    };
    let done = run_with(command("mosquitto_pub")?.args(["-r", "-f"]).arg(&file)).await?;
    ensure!(done.code == 0, "{done:?}");
    let done = run_with(command("mosquitto_sub")?.args(["-C", "1", "-N", "-W", "30"])).await?;
    ensure!(done.code == 0, "{}: {}", done.code, done.err);
    ensure!(done.out == payload, "{} bytes came, or others than were sent", done.out.len());
    Ok(())
}

async fn paho_carries(fleet: &Fleet, kind: ListenerKind, paho: &str, version: &str) -> Result<()> {
    let address = fleet.broker_at(0, kind);
    let mut command = Command::new(python(paho)?);
    command.arg(script("payloads.py")).args([address.ip().to_string(), address.port().to_string()]);
    command.arg(root(fleet)?).args(["--version", version]).args(SIZES.map(|size| size.to_string()));
    if kind == ListenerKind::SecureWebSocket {
        command.args(["--websockets", "/mqtt"]);
    }
    let done = run_with(&mut command).await?;
    ensure!(done.code == 0, "{done:?}");
    ensure!(done.out.lines().filter(|line| *line == "same").count() == SIZES.len() * 3, "{done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_from_a_byte_to_16_mebibytes() -> Result<()> {
    let broker_environment = vec![("REVOQ_BROKER_PACKET_SIZE_MAX", PACKET_SIZE_MAX)];
    let plan = Plan { broker_environment, ..Plan::single("off", [ListenerKind::SecureWebSocket]) };
    let fleet = Fleet::start(plan).await?;
    for (version, qos) in [("mqttv311", "1"), ("mqttv5", "2")] {
        for size in SIZES {
            let context = || format!("mosquitto, {version}, {size} bytes");
            mosquitto_carries(&fleet, version, size, qos).await.with_context(context)?;
        }
    }
    for (paho, version) in [("1.6.1", "3"), ("2.1.0", "5")] {
        for kind in [ListenerKind::Tls, ListenerKind::SecureWebSocket] {
            let context = || format!("paho {paho}, MQTT {version}, {kind:?}");
            paho_carries(&fleet, kind, paho, version).await.with_context(context)?;
        }
    }
    Ok(())
}
