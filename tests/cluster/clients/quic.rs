//! paho-mqtt over the QUIC of aioquic: neither end of the protocol is ours.

use anyhow::Result;
use revoq_broker::ListenerKind;
use revoq_tests::process::{Talker, python};
use revoq_tests::{Fleet, Plan};
use tokio::process::Command;

use super::{HEARD_WITHIN, script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_over_aioquic_talks_resumes_and_is_cut() -> Result<()> {
    let fleet = Fleet::start(Plan::single("required", [ListenerKind::Quic])).await?;
    let device = fleet.issue("quic").await?;
    let folder = fleet.write_pem(&device)?;
    let mut command = Command::new(python("2.1.0")?);
    let address = fleet.broker_at(0, ListenerKind::Quic);
    command.arg(script("quic.py")).args([address.ip().to_string(), address.port().to_string()]);
    command.args(["root.pem", "chain.pem", "key.pem"].map(|file| folder.join(file)));
    let mut talker = Talker::start(&mut command)?;
    for expected in [
        r#""handshake", "resumed": false"#,
        r#""connected", "code": 0"#,
        r#""text": "hello""#,
        r#""over""#,
        r#""handshake", "resumed": true"#,
        r#""connected", "code": 0"#,
        r#""text": "hello""#,
    ] {
        talker.hear(expected, HEARD_WITHIN).await?;
    }
    fleet.revoqctl_ok(&["certificate", "suspend", &device.certificate.id, "--wait"]).await?;
    for expected in [
        r#""disconnected", "code": 152"#,
        r#""closed""#,
        // The ticket holds, the certificate does not.
        r#""handshake", "resumed": true"#,
        r#""connected", "code": 135"#,
        r#""closed""#,
    ] {
        talker.hear(expected, HEARD_WITHIN).await?;
    }
    Ok(())
}
