//! paho's C library, by its command line programs: the asynchronous and the synchronous API, over each transport that it speaks.

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_tests::process::{Talker, run_with};
use revoq_tests::{Device, Lab};
use tokio::process::Command;

use super::{HEARD_WITHIN, is_secure, path, root};

const KINDS: [(&str, ListenerKind); 4] = [
    ("tcp", ListenerKind::Tcp),
    ("ssl", ListenerKind::Tls),
    ("ws", ListenerKind::WebSocket),
    ("wss", ListenerKind::SecureWebSocket),
];
const APIS: [(&str, &str); 2] = [("paho_c_pub", "paho_c_sub"), ("paho_cs_pub", "paho_cs_sub")];
const VERSIONS: [&str; 2] = ["311", "5"];
/// They follow the answer to SUBSCRIBE without a pause.
const RETAINED: usize = 20;

fn client(
    program: &str,
    lab: &Lab,
    (scheme, kind): (&str, ListenerKind),
    version: &str,
    device: &Device,
) -> Result<Command> {
    let port = lab.address(0, kind)?.port();
    // Its lines come as they are printed.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program, "-V", version, "-i", program, "-c"]);
    command.arg(format!("{scheme}://localhost:{port}{}", path(kind)));
    if is_secure(kind) {
        let folder = lab.write_pem(device)?;
        command.arg("--cafile").arg(root(lab)?);
        command.arg("--cert").arg(folder.join("chain.pem")).arg("--key").arg(folder.join("key.pem"));
    }
    Ok(command)
}

async fn publish(command: &mut Command, topic: &str, text: &str) -> Result<()> {
    let done = run_with(command.args(["-t", topic, "-m", text])).await?;
    ensure!(done.code == 0, "{done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_c_hears_all_that_comes_at_once() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "optional").await?;
    let device = lab.issue("gateway").await?;
    for n in 0..RETAINED {
        let mut publisher = client("paho_c_pub", &lab, KINDS[0], "311", &device)?;
        publish(publisher.args(["-q", "1", "-r"]), &format!("kept/{n}"), "kept").await?;
    }
    for kind in KINDS {
        for (publisher, subscriber) in APIS {
            for version in VERSIONS {
                let context = || format!("{subscriber}, {kind:?}, MQTT {version}");
                let mut listens = client(subscriber, &lab, kind, version, &device)?;
                let mut listens = Talker::start(listens.args(["-q", "2", "-t", "kept/#"]))?;
                for _ in 0..RETAINED {
                    listens.hear("kept", HEARD_WITHIN).await.with_context(context)?;
                }
                let mut says = client(publisher, &lab, kind, version, &device)?;
                publish(says.args(["-q", "2"]), "kept/new", "new").await.with_context(context)?;
                listens.hear("new", HEARD_WITHIN).await.with_context(context)?;
            }
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}
