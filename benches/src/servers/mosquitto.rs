//! mosquitto, with a configuration of its own.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;

use super::certificates::Authority;
use super::{Kind, Server, first_line, free};

/// Starts it; or says how it is installed.
pub(super) async fn start(authority: &Authority) -> Result<Result<Server, String>> {
    // It is no program for users, and may be beyond their search path.
    let places = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].map(PathBuf::from);
    for program in places {
        if let Some(version) = first_line(&program, &["-h"]).await? {
            let [tcp, tls] = free()?;
            let path = authority.folder.join("mosquitto.conf");
            std::fs::write(&path, configuration(authority, tcp.port(), tls.port()))?;
            let mut command = Command::new(program);
            // It warns of root.
            command.arg("-c").arg(path).stderr(Stdio::null());
            let credentials = authority.credentials.clone();
            return Server::start(Kind::Mosquitto, version, &mut command, (tcp, tls), credentials)
                .await
                .map(Ok);
        }
    }
    Ok(Err("not installed; on Debian: apt-get install mosquitto".to_owned()))
}

/// As quick as it goes: nothing is logged, nothing kept on disk, no message waits for company, and no window or queue is
/// smaller than a broker node's.
fn configuration(authority: &Authority, tcp: u16, tls: u16) -> String {
    let Authority { root, certificate, key, .. } = authority;
    format!(
        "persistence false\n\
         log_dest none\n\
         connection_messages false\n\
         set_tcp_nodelay true\n\
         max_inflight_messages 1024\n\
         max_queued_messages 1000000\n\
         allow_anonymous true\n\
         user root\n\
         listener {tcp} 127.0.0.1\n\
         listener {tls} 127.0.0.1\n\
         cafile {root}\n\
         certfile {certificate}\n\
         keyfile {key}\n\
         require_certificate true\n\
         tls_version tlsv1.3\n",
        root = root.display(),
        certificate = certificate.display(),
        key = key.display(),
    )
}
