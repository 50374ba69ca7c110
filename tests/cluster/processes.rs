//! The programs as an operator starts them: a replica, a broker with a server certificate from files, the command line.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_tests::process::{Done, Talker, binary, run, run_with};
use revoq_tests::until;
use tokio::process::Command;

const WITHIN: Duration = Duration::from_secs(30);

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

async fn revoqctl(folder: &Path, arguments: &[&str]) -> Result<Done> {
    let mut command = Command::new(binary("revoqctl")?);
    command.args(arguments).current_dir(folder).env("REVOQ_CONTEXT", folder.join("data/administrator.toml"));
    run_with(command.env("REVOQ_CONFIG", folder.join("contexts.toml"))).await
}

/// A server certificate for localhost, self-signed, into `server.pem` and `server.key`.
async fn make_server_certificate(folder: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "new.key", "-out", "new.pem"]);
    let done = run_with(command.current_dir(folder)).await?;
    ensure!(done.code == 0, "{done:?}");
    std::fs::rename(folder.join("new.key"), folder.join("server.key"))?;
    std::fs::rename(folder.join("new.pem"), folder.join("server.pem"))?;
    Ok(())
}

async fn publishes(folder: &Path, port: u16) -> Result<Done> {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port.to_string(), "--cafile", "server.pem", "-V", "5"]);
    command.args(["--cert", "meter/chain.pem", "--key", "meter/key.pem", "-t", "x", "-m", "x", "-q", "1"]);
    run_with(command.current_dir(folder)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_certificate_from_files_is_reloaded_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let (grpc, tls) = (format!("127.0.0.1:{}", free_port()?), free_port()?);
    let mut control = Command::new(binary("revoq-control")?);
    control.args(["--name", "control-1", "--data", "data", "--listen", &grpc]).current_dir(folder);
    let _control = Talker::start(&mut control)?;
    until("the replica answers", WITHIN, || async {
        Ok((revoqctl(folder, &["cluster", "status"]).await?.code == 0).then_some(()))
    })
    .await?;
    for arguments in
        [&["authority", "create", "factory"][..], &["certificate", "issue", "meter", "--out", "meter"]]
    {
        let done = revoqctl(folder, arguments).await?;
        ensure!(done.code == 0, "{done:?}");
    }
    let token = revoqctl(folder, &["cluster", "join", "--kind", "broker"]).await?;
    let token =
        token.out.split_whitespace().find(|word| word.starts_with("revoq1.")).context("a token")?.to_owned();

    make_server_certificate(folder).await?;
    let mut broker = Command::new(binary("revoq-broker")?);
    broker.args([
        "--name",
        "broker-1",
        "--control-plane",
        &grpc,
        "--tls-listen",
        &format!("127.0.0.1:{tls}"),
    ]);
    broker.args(["--http-listen", "off", "--tls-certificate", "server.pem", "--tls-key", "server.key"]);
    let _broker = Talker::start(broker.env("REVOQ_BROKER_JOIN_TOKEN", token).current_dir(folder))?;
    until("a device publishes", WITHIN, || async {
        Ok((publishes(folder, tls).await?.code == 0).then_some(()))
    })
    .await?;

    make_server_certificate(folder).await?;
    let refused = publishes(folder, tls).await?;
    until("the new certificate is served", WITHIN, || async {
        Ok((publishes(folder, tls).await?.code == 0).then_some(()))
    })
    .await
    .with_context(|| format!("before: {refused:?}"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_configuration_name_file_key_and_value() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("broken.toml");
    std::fs::write(&file, "tls_listen = \"nowhere\"\n")?;
    for (program, key) in [("revoq-broker", "tls_listen"), ("revoq-control", "tls_listen")] {
        let done = run(binary(program)?, ["--config", &file.display().to_string()]).await?;
        ensure!(done.code == 2, "{program}: {done:?}");
        ensure!(done.err.contains("broken.toml") && done.err.contains(key), "{program}: {done:?}");
    }
    let data = folder.path().join("data").display().to_string();
    let arguments =
        ["--name", "x", "--data", &data, "--listen", "127.0.0.1:0", "--join-endpoints", "127.0.0.1:1"];
    let done = run(binary("revoq-control")?, arguments).await?;
    ensure!(done.code == 2 && done.err.contains("join.token"), "{done:?}");
    Ok(())
}
