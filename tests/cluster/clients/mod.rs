//! Clients that we did not write, unmodified: mosquitto, paho (Python, C), rumqttc, mqtt.js, aioquic; certificates of every making.

mod field;
mod messages;
mod mqttjs;
mod paho_c;
mod payloads;
mod quic;
mod rumqttc;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_broker::ListenerKind;
use revoq_proto::v1::Transition;
use revoq_proto::v1::selector::Selector;
use revoq_tests::Lab;
use revoq_tests::process::{Talker, paho_broker_tests, python, run};
use tokio::process::Command;

const HEARD_WITHIN: Duration = Duration::from_secs(20);
/// Of brokers that take payloads of 16 MiB.
const PACKET_SIZE_MAX: &str = "20971520";

/// PEM files of a device: its chain and its key.
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Needs the device's certificate in files.
fn is_secure(kind: ListenerKind) -> bool {
    matches!(kind, ListenerKind::Tls | ListenerKind::SecureWebSocket)
}

/// Of a URL.
fn path(kind: ListenerKind) -> &'static str {
    match kind {
        ListenerKind::WebSocket | ListenerKind::SecureWebSocket => "/mqtt",
        ListenerKind::Tcp | ListenerKind::Tls | ListenerKind::Quic => "",
    }
}

fn root(lab: &Lab) -> Result<PathBuf> {
    let path = lab.folder().join("root.pem");
    std::fs::write(&path, &lab.bundle().authority)?;
    Ok(path)
}

fn mosquitto(program: &str, lab: &Lab, files: Option<&Files>, version: &str) -> Result<Command> {
    let mut command = Command::new(program);
    let port = lab.broker(0).port().to_string();
    command.args(["-V", version, "-h", "localhost", "-p", &port, "--cafile"]).arg(root(lab)?);
    if let Some(files) = files {
        command.arg("--cert").arg(&files.chain).arg("--key").arg(&files.key);
    }
    Ok(command)
}

/// A subscriber of mosquitto hears what a publisher of mosquitto says, with these certificates.
async fn mosquitto_talks(lab: &Lab, files: Option<&Files>, version: &str) -> Result<()> {
    let topic = format!("mosquitto/{version}");
    // Its debug lines, SUBACK among them, come on standard output, unbuffered.
    let mut subscriber = Command::new("stdbuf");
    let inner = mosquitto("mosquitto_sub", lab, files, version)?;
    subscriber.arg("-oL").arg(inner.as_std().get_program()).args(inner.as_std().get_args());
    subscriber.args(["-d", "-i", "sub", "-q", "1", "-t", &topic]);
    let mut subscriber = Talker::start(&mut subscriber)?;
    subscriber.hear("Subscribed", HEARD_WITHIN).await?;
    let mut publisher = mosquitto("mosquitto_pub", lab, files, version)?;
    publisher.args(["-i", "pub", "-q", "1", "-t", &topic, "-m", "hello"]);
    let done = revoq_tests::process::run_with(&mut publisher).await?;
    ensure!(done.code == 0, "{done:?}");
    subscriber.hear("hello", HEARD_WITHIN).await?;
    Ok(())
}

/// A paho client hears what it says itself.
async fn paho_talks(lab: &Lab, files: Option<&Files>, paho: &str, version: &str) -> Result<()> {
    let mut command = device(lab, files, paho, version)?;
    command.args(["--subscribe", "paho/#", "--publish", "paho/1", "hello", "--seconds", "15"]);
    let mut talker = Talker::start(&mut command)?;
    talker.hear("\"connected\", \"code\": 0", HEARD_WITHIN).await?;
    talker.hear("\"message\"", HEARD_WITHIN).await?;
    Ok(())
}

fn device(lab: &Lab, files: Option<&Files>, paho: &str, version: &str) -> Result<Command> {
    device_at(lab, lab.broker(0), files, paho, version)
}

fn device_at(
    lab: &Lab,
    address: SocketAddr,
    files: Option<&Files>,
    paho: &str,
    version: &str,
) -> Result<Command> {
    let mut command = Command::new(python(paho)?);
    command.arg(script("device.py")).arg(address.port().to_string()).arg(root(lab)?);
    command.args(["--version", version]);
    if let Some(files) = files {
        command.arg("--cert").arg(&files.chain).arg("--key").arg(&files.key);
    }
    Ok(command)
}

async fn openssl(arguments: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    let done = revoq_tests::process::run_with(command.args(arguments).current_dir(folder)).await?;
    ensure!(done.code == 0, "openssl {arguments:?}: {done:?}");
    Ok(())
}

async fn talks_everywhere(lab: &Lab, files: Option<&Files>) -> Result<()> {
    for version in ["mqttv311", "mqttv5"] {
        mosquitto_talks(lab, files, version).await.with_context(|| version.to_owned())?;
    }
    for (paho, version) in [("1.6.1", "3"), ("1.6.1", "5"), ("2.1.0", "3"), ("2.1.0", "5")] {
        paho_talks(lab, files, paho, version)
            .await
            .with_context(|| format!("paho {paho}, MQTT {version}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_way_tls() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    talks_everywhere(&lab, None).await?;
    lab.set("client_certificate", "optional").await?;
    mosquitto_talks(&lab, None, "mqttv5").await?;
    lab.cluster.shutdown().await;
    Ok(())
}

/// With and without TLS, a message of a few bytes and one that fills many frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_over_websockets() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "optional").await?;
    let device = lab.issue("browser").await?;
    let folder = lab.write_pem(&device)?;
    let files = Files { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    let (plain, secure) = (ListenerKind::WebSocket, ListenerKind::SecureWebSocket);
    let long = "long ".repeat(20_000);
    for (kind, files) in [(plain, None), (secure, None), (secure, Some(&files))] {
        for (paho, version) in [("1.6.1", "3"), ("1.6.1", "5"), ("2.1.0", "3"), ("2.1.0", "5")] {
            for text in ["hello", &long] {
                let mut command = device_at(&lab, lab.address(0, kind)?, files, paho, version)?;
                command.args(["--websockets", "/mqtt", "--subscribe", "paho/#", "--publish", "paho/1", text]);
                if kind == plain {
                    command.arg("--plain");
                }
                let mut talker = Talker::start(&mut command)?;
                let heard = format!("\"text\": \"{text}\"");
                talker
                    .hear(&heard, HEARD_WITHIN)
                    .await
                    .with_context(|| format!("paho {paho}, MQTT {version}, {kind:?}"))?;
            }
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// What the makers of paho expect of a broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_tests_of_paho_itself() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "optional").await?;
    let mut suite = Command::new(python("2.1.0")?);
    suite.arg(script("suite.py")).arg(lab.address(0, ListenerKind::Tcp)?.port().to_string());
    let done = revoq_tests::process::run_with(suite.arg(paho_broker_tests("2.1.0")?)).await?;
    ensure!(done.code == 0, "{}", done.err);
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_made_by_revoqctl() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.revoqctl_ok(&["certificate", "issue", "thermometer", "--out", "thermometer"]).await?;
    let folder = lab.folder().join("thermometer");
    let files = Files { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    talks_everywhere(&lab, Some(&files)).await?;
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_from_a_csr_of_openssl() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let folder = lab.folder().to_path_buf();
    for (name, key) in [("ec", "ec"), ("rsa", "rsa:2048")] {
        let (key_file, csr) = (format!("{name}.key"), format!("{name}.csr"));
        let mut arguments = vec!["req", "-new", "-newkey", key, "-nodes", "-subj", "/CN=gauge"];
        if key == "ec" {
            arguments.extend(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        }
        arguments.extend(["-keyout", &key_file, "-out", &csr]);
        openssl(&arguments, &folder).await?;
        lab.revoqctl_ok(&["certificate", "sign", "gauge", "--csr", &csr, "--out", name]).await?;
        let files = Files { chain: folder.join(name).join("chain.pem"), key: folder.join(&key_file) };
        mosquitto_talks(&lab, Some(&files), "mqttv5").await?;
        paho_talks(&lab, Some(&files), "2.1.0", "3").await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// Leaves that WebPKI refuses: self-signed with CA:TRUE, and X.509 v1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_of_plain_openssl_registered_as_they_are() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let folder = lab.folder().to_path_buf();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let own: Vec<&str> =
        ["req", "-x509", "-days", "30", "-subj", "/CN=own", "-keyout", "own.key", "-out", "own.pem"]
            .into_iter()
            .chain(new_key)
            .collect();
    openssl(&own, &folder).await?;
    let csr: Vec<&str> = ["req", "-new", "-subj", "/CN=old", "-keyout", "old.key", "-out", "old.csr"]
        .into_iter()
        .chain(new_key)
        .collect();
    openssl(&csr, &folder).await?;
    let old = ["x509", "-req", "-in", "old.csr", "-signkey", "old.key", "-days", "30", "-out", "old.pem"];
    openssl(&old, &folder).await?;
    let version = run(
        "openssl",
        ["x509", "-noout", "-text", "-in"]
            .map(String::from)
            .into_iter()
            .chain([folder.join("old.pem").display().to_string()]),
    )
    .await?;
    ensure!(version.out.contains("Version: 1"), "not X.509 v1: {version:?}");

    for name in ["own", "old"] {
        let files =
            Files { chain: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        let mut unknown = mosquitto("mosquitto_pub", &lab, Some(&files), "mqttv5")?;
        unknown.args(["-t", "x", "-m", "x"]);
        let done = revoq_tests::process::run_with(&mut unknown).await?;
        ensure!(done.code != 0, "{name} was let in before it was registered");
        let certificate = lab.register(name, &std::fs::read(&files.chain)?).await?;
        talks_everywhere(&lab, Some(&files)).await.with_context(|| name.to_owned())?;
        lab.change(0, Transition::Suspend, Selector::CertificateId(certificate.id)).await?;
        let mut denied = mosquitto("mosquitto_pub", &lab, Some(&files), "mqttv5")?;
        denied.args(["-t", "x", "-m", "x"]);
        let done = revoq_tests::process::run_with(&mut denied).await?;
        ensure!(done.code != 0, "{name} was let in while it is suspended");
    }
    lab.cluster.shutdown().await;
    Ok(())
}

/// Plaintext CONNECT on the TLS port, then TLS, then the cut, then refusals while it retries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorial_sequence() -> Result<()> {
    for paho in ["1.6.1", "2.1.0"] {
        let lab = Lab::start(1, 1).await?;
        let device = lab.issue("tutorial").await?;
        let folder = lab.write_pem(&device)?;
        let mut command = Command::new(python(paho)?);
        command.arg(script("tutorial.py")).arg(lab.broker(0).port().to_string());
        command.args(["root.pem", "chain.pem", "key.pem", "60"]).current_dir(&folder);
        let mut talker = Talker::start(&mut command)?;
        talker.hear("plaintext closed", HEARD_WITHIN).await.with_context(|| format!("paho {paho}"))?;
        talker.hear("\"connected\", \"code\": 0", HEARD_WITHIN).await?;
        let sessions = lab.sessions().await?;
        ensure!(sessions.total == 1 && sessions.sessions[0].device == "tutorial", "{sessions:?}");
        lab.change(0, Transition::Suspend, Selector::CertificateId(device.certificate.id.clone())).await?;
        talker.hear("lost", HEARD_WITHIN).await?;
        // It retries within seconds, for ever: watched from the broker's side, none of it gets in.
        let refusals = revoq_tests::until("it tries again and is refused", HEARD_WITHIN, || async {
            let refused = lab.metric(0, "revoq_broker_handshakes_total", "failed").await?;
            Ok((refused >= 3.0).then_some(refused))
        })
        .await?;
        ensure!(lab.sessions().await?.total == 0, "let in after {refusals} refusals");
        lab.cluster.shutdown().await;
    }
    Ok(())
}
