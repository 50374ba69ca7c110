//! rumqttd, with a configuration of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use super::certificates::Authority;
use super::{Kind, Server, first_line, free};

/// Where `cargo install --root target/rivals` puts it.
const INSTALLED: &str = "rivals/bin/rumqttd";

/// Starts it; or says how it is installed.
pub(super) async fn start(authority: &Authority) -> Result<Result<Server, String>> {
    let this = std::env::current_exe()?;
    let beside = this.ancestors().map(|folder| folder.join(INSTALLED)).find(|program| program.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from("rumqttd"));
    let Some(version) = first_line(&program, &["--version"]).await? else {
        let command = "cargo install rumqttd --features verify-client-cert --root target/rivals";
        return Ok(Err(format!("not installed: {command}")));
    };
    let [tcp, tls, console] = free()?;
    let path = authority.folder.join("rumqttd.toml");
    std::fs::write(
        &path,
        configuration(authority, &[tcp.to_string(), tls.to_string(), console.to_string()]),
    )?;
    let mut command = Command::new(program);
    command.arg("-q").arg("-c").arg(path).stderr(Stdio::null());
    let credentials = authority.credentials.clone();
    Server::start(Kind::Rumqttd, version, &mut command, (tcp, tls), credentials).await.map(Ok)
}

fn configuration(authority: &Authority, [tcp, tls, console]: &[String; 3]) -> String {
    let path = |path: &Path| path.display().to_string();
    let Authority { root, certificate, key, .. } = authority;
    let connections = "connection_timeout_ms = 60000\n\
         max_payload_size = 65536\n\
         max_inflight_count = 1024\n\
         dynamic_filters = true\n";
    format!(
        "id = 0\n\
         [router]\n\
         id = 0\n\
         max_connections = 20000\n\
         max_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\n\
         max_segment_count = 10\n\
         [v4.1]\n\
         name = \"tcp\"\n\
         listen = \"{tcp}\"\n\
         next_connection_delay_ms = 0\n\
         [v4.1.connections]\n\
         {connections}\
         [v4.2]\n\
         name = \"tls\"\n\
         listen = \"{tls}\"\n\
         next_connection_delay_ms = 0\n\
         [v4.2.tls]\n\
         capath = \"{root}\"\n\
         certpath = \"{certificate}\"\n\
         keypath = \"{key}\"\n\
         [v4.2.connections]\n\
         {connections}\
         [console]\n\
         listen = \"{console}\"\n",
        root = path(root),
        certificate = path(certificate),
        key = path(key),
    )
}
