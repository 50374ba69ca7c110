//! Hosts without namespaces: every listener of a process is reached through a relay on loopback, and faults act there.
//!
//! A relay finds out whose connection it has taken by the process that holds the socket at the other end. What a fault
//! does to packets a relay does to the stream: a way that is cut passes no byte, and no end of the stream either, until
//! it is healed, as TCP would send again what was lost; a share that is lost comes late by the time in which TCP
//! notices. Nobody can connect over a way that is cut, but here the client's kernel says that it has connected.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::{ALL, Faults, Host, Listener};

/// TCP sends a lost packet again after this long, at the least.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
const CHUNK: usize = 16 * 1024;

/// Where no port is drawn for a connection or a listener on port 0, as far as systems are set up as they mostly are:
/// what is free now is so when the process binds it.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
const ATTEMPTS: usize = 100;

/// A port that nobody listens on, and that the system gives to nobody meanwhile.
async fn free_port() -> Result<SocketAddr> {
    for _ in 0..ATTEMPTS {
        let port = rand::rng().random_range(PORTS);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port in {PORTS:?} after {ATTEMPTS} attempts")
}

/// The relays of one lab. They end when this is dropped.
#[derive(Default)]
pub(super) struct Proxies {
    shared: Arc<Shared>,
    relays: std::sync::Mutex<Vec<AbortHandle>>,
}

#[derive(Default)]
struct Shared {
    faults: watch::Sender<Faults>,
    /// Processes that run on a host, or did.
    processes: std::sync::Mutex<Vec<(u32, Host)>>,
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.relays.lock().expect("nobody panics while holding it").iter().for_each(AbortHandle::abort);
    }
}

impl Proxies {
    /// A free port for a process of that host, and the relay in front of it.
    pub(super) async fn listener(&self, host: Host) -> Result<Listener> {
        let listen = free_port().await?;
        let relay = TcpListener::bind("127.0.0.1:0").await?;
        let reached = relay.local_addr()?;
        let shared = Arc::clone(&self.shared);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, address)) = relay.accept().await {
                let shared = Arc::clone(&shared);
                let ends = (address, reached);
                connections.spawn(async move { shared.relay(client, ends, listen, host).await });
                // Those that have ended make room.
                while connections.try_join_next().is_some() {}
            }
        });
        self.relays.lock().expect("nobody panics while holding it").push(serving.abort_handle());
        Ok(Listener { listen, reached })
    }

    pub(super) fn started(&self, host: Host, pid: u32) {
        self.shared.processes.lock().expect("nobody panics while holding it").push((pid, host));
    }

    pub(super) fn apply(&self, faults: &Faults) {
        self.shared.faults.send_replace(faults.clone());
    }
}

impl Shared {
    /// Serves one connection to its end.
    async fn relay(&self, client: TcpStream, ends: (SocketAddr, SocketAddr), server: SocketAddr, host: Host) {
        let from = self.owner(ends).unwrap_or(Host::Test);
        for way in [(from, host), (host, from)] {
            self.open(way).await;
        }
        let Ok(server) = TcpStream::connect(server).await else {
            // As a port where nobody listens: with a reset.
            let _ = set_socket_linger(&client, Some(Duration::ZERO));
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(
            self.pump(from_client, to_server, (from, host)),
            self.pump(from_server, to_client, (host, from))
        );
    }

    /// One direction of a connection, until its end has passed.
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: (Host, Host)) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = from.read(&mut chunk).await.unwrap_or(0);
            self.pass(way).await;
            // One that has gone takes nothing; its own end goes the other way.
            if count == 0 || to.write_all(&chunk[..count]).await.is_err() {
                let _ = to.shutdown().await;
                return;
            }
        }
    }

    /// Waits until the way is not cut, and as much longer as a loss delays.
    async fn pass(&self, way: (Host, Host)) {
        self.open(way).await;
        while rand::rng().random_range(0..ALL) < self.lost(way) {
            sleep(SENT_AGAIN_AFTER).await;
            self.open(way).await;
        }
    }

    fn lost(&self, way: (Host, Host)) -> u8 {
        self.faults.borrow().get(&way).copied().unwrap_or(0)
    }

    async fn open(&self, way: (Host, Host)) {
        let mut faults = self.faults.subscribe();
        let open = faults.wait_for(|faults| faults.get(&way).is_none_or(|percent| *percent < ALL));
        // The sender is in `self`.
        let _ = open.await;
    }

    /// On which host the process runs that holds the socket from the first address to the second; the test's own ones are
    /// on none.
    fn owner(&self, ends: (SocketAddr, SocketAddr)) -> Option<Host> {
        let inode = inode(ends).ok()?;
        let link = format!("socket:[{inode}]");
        let processes = self.processes.lock().expect("nobody panics while holding it").clone();
        processes.into_iter().find(|(pid, _)| holds(*pid, &link)).map(|(_, host)| host)
    }
}

/// The number of the socket that is connected from the first address to the second. Several may share the first.
fn inode((local, remote): (SocketAddr, SocketAddr)) -> Result<String> {
    let (local_port, remote_port) = (format!(":{:04X}", local.port()), format!(":{:04X}", remote.port()));
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let mut rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // Columns: number, local address, remote address, ..., inode, which is 0 for a connection that nobody holds.
    let is_it = |row: &Vec<&str>| {
        row.len() > 9 && row[1].ends_with(&local_port) && row[2].ends_with(&remote_port) && row[9] != "0"
    };
    let row = rows.find(is_it).with_context(|| format!("{local} to {remote} is not in /proc/net/tcp"))?;
    Ok(row[9].to_owned())
}

fn holds(pid: u32, link: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|target| target == Path::new(link)))
}
