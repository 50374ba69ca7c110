//! The servers that are measured side by side: a broker node, and others where they are installed. Each is a process of its
//! own on loopback, with a listener for TCP and one for mutual TLS, and what it keeps is in memory.

mod certificates;
mod mosquitto;
mod revoq;
mod rumqttd;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::load::{Credentials, Target};
use crate::machine::Machine;
use crate::usage::Usage;
pub(crate) use certificates::Authority;
use revoq::ControlPlane;

const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Serialize)]
struct Line<'a, P, R> {
    bench: &'static str,
    machine: &'a Machine,
    parameters: &'a P,
    servers: Vec<(Kind, &'a str)>,
    runs: &'a [R],
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// `revoq-broker`, beside this program.
    Revoq,
    /// From the system.
    Mosquitto,
    /// From target/rivals/bin, or the search path.
    Rumqttd,
}

/// With or without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    /// TLS 1.3 with certificates on both sides.
    Tls,
}

/// A server that runs. It ends when this is dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// As the server tells it.
    pub(crate) version: String,
    process: Child,
    id: u32,
    tcp: SocketAddr,
    tls: SocketAddr,
    credentials: Credentials,
}

impl Server {
    /// Where clients find it.
    pub(crate) fn target(&self, transport: Transport) -> Target {
        let (address, tls) = match transport {
            Transport::Tcp => (self.tcp, None),
            Transport::Tls => (self.tls, Some(self.credentials.clone())),
        };
        Target { address, tls, process: self.id }
    }

    /// Resident and private, KiB.
    pub(crate) fn memory_kib(&self) -> Result<f64> {
        Ok(Usage::of(self.id)?.memory as f64 / 1_024.0)
    }

    /// Starts the program and waits until it listens on both addresses.
    async fn start(
        kind: Kind,
        version: String,
        command: &mut Command,
        (tcp, tls): (SocketAddr, SocketAddr),
        credentials: Credentials,
    ) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let id = process.id().context("it has just been started")?;
        let end = Instant::now() + LISTENS_WITHIN;
        for address in [tcp, tls] {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                if let Some(status) = process.try_wait()? {
                    bail!("{command:?} ended: {status}");
                }
                ensure!(Instant::now() < end, "{command:?} does not listen within {LISTENS_WITHIN:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(Server { kind, version, process, id, tcp, tls, credentials })
    }
}

/// All servers of a run.
pub(crate) struct Servers {
    pub(crate) running: Vec<Server>,
    /// Those that are not installed, and how they would be.
    pub(crate) missing: Vec<(Kind, String)>,
    control_plane: Option<ControlPlane>,
    _folder: TempDir,
}

impl Servers {
    /// Starts those that are installed, a broker node with so many threads. One that is and does not start is an error.
    pub(crate) async fn start(kinds: &[Kind], worker_threads: Option<usize>) -> Result<Servers> {
        let folder = TempDir::new()?;
        let authority = Authority::new(folder.path())?;
        let mut servers =
            Servers { running: Vec::new(), missing: Vec::new(), control_plane: None, _folder: folder };
        for kind in kinds {
            let started = match kind {
                Kind::Revoq => {
                    let (server, control_plane) = Box::pin(revoq::start(worker_threads)).await?;
                    servers.control_plane = Some(control_plane);
                    Ok(server)
                }
                Kind::Mosquitto => mosquitto::start(&authority).await?,
                Kind::Rumqttd => rumqttd::start(&authority).await?,
            };
            match started {
                Ok(server) => servers.running.push(server),
                Err(missing) => servers.missing.push((*kind, missing)),
            }
        }
        Ok(servers)
    }

    /// Stops them all, and waits until they are gone.
    pub(crate) async fn stop(self) -> Result<()> {
        for mut server in self.running {
            server.process.kill().await?;
        }
        match self.control_plane {
            Some(control_plane) => control_plane.stop().await,
            None => Ok(()),
        }
    }

    /// The line of JSON at the end of a benchmark.
    pub(crate) fn print_line(
        &self,
        bench: &'static str,
        machine: &Machine,
        parameters: &impl Serialize,
        runs: &[impl Serialize],
    ) -> Result<()> {
        let servers = self.running.iter().map(|server| (server.kind, server.version.as_str())).collect();
        println!("{}", serde_json::to_string(&Line { bench, machine, parameters, servers, runs })?);
        Ok(())
    }

    /// Says what runs and what does not.
    pub(crate) fn print(&self) {
        for server in &self.running {
            println!("{:<10} {}", server.kind, server.version);
        }
        for (kind, why) in &self.missing {
            println!("{kind:<10} left out: {why}");
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Kind::Revoq => "revoq",
            Kind::Mosquitto => "mosquitto",
            Kind::Rumqttd => "rumqttd",
        })
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        })
    }
}

/// Addresses of loopback that were free a moment ago.
fn free<const N: usize>() -> Result<[SocketAddr; N]> {
    // All at once, so that they differ.
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    Ok(addresses.try_into().expect("as many as were bound"))
}

/// The first line of what a program says to these arguments; `None` where there is no such program.
async fn first_line(program: &Path, arguments: &[&str]) -> Result<Option<String>> {
    let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("running {}", program.display())),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Some(text.lines().next().unwrap_or_default().trim().to_owned()))
}
