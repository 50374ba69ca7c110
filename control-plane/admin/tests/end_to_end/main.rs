//! `revoqctl` from the command line to the wire and back, against a stand-in for the control plane: same TLS, same
//! services, answers that the tests dictate. What a real control plane answers is tested with the cluster.
mod commands;
mod failures;
mod server;

use std::path::PathBuf;

use clap::Parser as _;
use revoq_admin::cli::Cli;
use revoq_proto::context::Bundle;
use server::{Pki, Script, Server};
use tempfile::TempDir;

/// An administrator with replicas that follow scripts.
struct Lab {
    folder: TempDir,
    servers: Vec<Server>,
}

/// What a run of `revoqctl` came to.
#[derive(Debug)]
struct Done {
    code: u8,
    out: String,
    notes: String,
}

impl Lab {
    async fn start(scripts: impl IntoIterator<Item = Script>) -> Lab {
        let (pki, folder) = (Pki::new(), tempfile::tempdir().expect("a temporary folder"));
        let mut servers = Vec::new();
        for script in scripts {
            servers.push(Server::start(&pki, script).await);
        }
        let identity = pki.identity("administrator");
        let bundle = Bundle {
            cluster: "north".to_owned(),
            endpoints: servers.iter().map(|server| server.address.clone()).collect(),
            authority: identity.authority_pem,
            certificate: identity.certificates_pem,
            key: identity.key_pem,
        };
        let lab = Lab { folder, servers };
        std::fs::write(lab.path("administrator.toml"), bundle.to_toml()).expect("written");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Words are separated by spaces; `{}` stands for the folder.
    async fn run(&self, line: &str) -> Done {
        let line = line.replace("{}", self.folder.path().to_str().expect("UTF-8"));
        let config = self.path("contexts.toml");
        let fixed = ["revoqctl", "--config", config.to_str().expect("UTF-8")];
        // Failures are to be had soon.
        let timeout: &[&str] = if line.contains("--timeout") { &[] } else { &["--timeout", "2s"] };
        let words = fixed.into_iter().chain(timeout.iter().copied()).chain(line.split_whitespace());
        let cli = match Cli::try_parse_from(words) {
            Ok(cli) => cli,
            // As `Cli::parse` in `main`.
            Err(error) => {
                let code = u8::try_from(error.exit_code()).expect("clap exits with 0 or 2");
                return Done { code, out: String::new(), notes: error.to_string() };
            }
        };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let code = revoq_admin::run(cli, &mut out, &mut notes).await;
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Done { code, out: text(out), notes: text(notes) }
    }

    /// With the administrator's bundle.
    async fn ctl(&self, line: &str) -> Done {
        self.run(&format!("--context {{}}/administrator.toml {line}")).await
    }

    /// With the administrator's bundle, and well.
    async fn ok(&self, line: &str) -> String {
        let done = self.ctl(line).await;
        assert_eq!(done.code, 0, "{line}: {done:?}");
        done.out
    }
}
