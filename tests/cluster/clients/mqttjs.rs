//! mqtt.js, the client of browsers and of Node.js, over each transport that it speaks.

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_tests::process::{Talker, node, run_with};
use revoq_tests::{Device, Fleet, Plan, until};
use tokio::process::Command;

use super::{HEARD_WITHIN, PACKET_SIZE_MAX, is_secure, path, script};

const KINDS: [(&str, ListenerKind); 4] = [
    ("mqtt", ListenerKind::Tcp),
    ("mqtts", ListenerKind::Tls),
    ("ws", ListenerKind::WebSocket),
    ("wss", ListenerKind::SecureWebSocket),
];
/// As the library numbers the versions of MQTT.
const VERSIONS: [&str; 2] = ["4", "5"];
const SIZES: [&str; 3] = ["1", "65536", "16777216"];
/// The script of a client that talks.
const THEMES: &[&str] = &["qos", "retained", "will", "shared", "resumed", "payloads"];
const THEMES_OF_V5: &[&str] = &["properties", "aliases", "reasons"];

async fn fleet() -> Result<Fleet> {
    let also = [ListenerKind::Tcp, ListenerKind::WebSocket, ListenerKind::SecureWebSocket];
    let broker_environment = vec![
        ("REVOQ_BROKER_PACKET_SIZE_MAX", PACKET_SIZE_MAX),
        ("REVOQ_BROKER_RESPONSE_INFORMATION", "answers/"),
    ];
    Fleet::start(Plan { broker_environment, ..Plan::single("optional", also) }).await
}

fn client(
    name: &str,
    fleet: &Fleet,
    (scheme, kind): (&str, ListenerKind),
    version: &str,
    device: &Device,
) -> Result<Command> {
    let mut command = node()?;
    command.arg(script(name)).arg(format!("{scheme}://{}{}", fleet.broker_at(0, kind), path(kind)));
    command.args(["--version", version, "--id", &format!("{scheme}-{version}")]);
    if is_secure(kind) {
        let folder = fleet.write_pem(device)?;
        for (option, file) in [("--ca", "root.pem"), ("--cert", "chain.pem"), ("--key", "key.pem")] {
            command.arg(option).arg(folder.join(file));
        }
    }
    Ok(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqttjs_talks_over_each_transport() -> Result<()> {
    let fleet = fleet().await?;
    let device = fleet.issue("browser").await?;
    for kind in KINDS {
        for version in VERSIONS {
            let mut command = client("talks.js", &fleet, kind, version, &device)?;
            let done = run_with(command.args(SIZES)).await?;
            let also = if version == "5" { THEMES_OF_V5 } else { &[] };
            let expected = [THEMES, also].concat();
            let said: Vec<_> = done.out.lines().collect();
            ensure!(done.code == 0 && said == expected, "{kind:?}, MQTT {version}: {done:?}");
        }
    }
    Ok(())
}

/// A suspended certificate: MQTT 5.0 is told why, 3.1.1 is closed; the library tries again by itself and is refused until
/// the certificate is reactivated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqttjs_is_cut_and_refused_until_it_may_return() -> Result<()> {
    let fleet = fleet().await?;
    for kind in KINDS.into_iter().filter(|(_, kind)| is_secure(*kind)) {
        for version in VERSIONS {
            let device = fleet.issue("victim").await?;
            let context = || format!("{kind:?}, MQTT {version}");
            let command = client("cut.js", &fleet, kind, version, &device)?;
            is_cut(&fleet, command, version, &device).await.with_context(context)?;
        }
    }
    Ok(())
}

async fn is_cut(fleet: &Fleet, mut command: Command, version: &str, device: &Device) -> Result<()> {
    let mut talker = Talker::start(&mut command)?;
    talker.hear("\"subscribed\"}", HEARD_WITHIN).await?;
    let refused = async || fleet.metric(0, "revoq_broker_handshakes_total", "failed").await;
    let before = refused().await?;
    fleet.revoqctl_ok(&["certificate", "suspend", &device.certificate.id, "--wait"]).await?;
    if version == "5" {
        talker.hear("{\"event\":\"disconnect\",\"code\":152}", HEARD_WITHIN).await?;
    }
    talker.hear("\"closed\"", HEARD_WITHIN).await?;
    let told = talker.heard().iter().filter(|line| line.contains("\"disconnect\"")).count();
    ensure!(told == usize::from(version == "5"), "{:?}", talker.heard());
    let again = || async { Ok((refused().await? >= before + 3.0).then_some(())) };
    until("it tries again and is refused", HEARD_WITHIN, again).await?;
    ensure!(fleet.sessions().await?.total == 0, "let in while it is suspended");
    fleet.revoqctl_ok(&["certificate", "reactivate", &device.certificate.id, "--wait"]).await?;
    talker.hear("\"connected\"", HEARD_WITHIN).await?;
    talker.hear("\"subscribed\"}", HEARD_WITHIN).await?;
    let returned = talker.heard().iter().filter(|line| line.contains("\"connected\"")).count();
    ensure!(returned == 2, "let in in between: {:?}", talker.heard());
    Ok(())
}
