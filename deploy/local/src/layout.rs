//! Which address each part listens on, kept in `local.toml`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// How ports are chosen at the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Well-known ones: brokers at 8883, 8884 …; replicas' gRPC at 7400, 7401 … and HTTP at 7440 …; brokers' HTTP at
    /// 7480 …; plain TCP, where wanted, at 1883 ….
    WellKnown,
    /// Free ones below those that the system gives to outgoing connections, which could take a port between the stop
    /// and the next start of who listens there.
    Free,
}

/// Addresses of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaAddresses {
    /// gRPC: administrators, brokers, other replicas.
    pub grpc: SocketAddr,
    /// Health, metrics, root certificates.
    pub http: SocketAddr,
}

/// Addresses of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerAddresses {
    /// MQTT over TLS.
    pub tls: SocketAddr,
    /// MQTT over TCP, where wanted.
    pub tcp: Option<SocketAddr>,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// All addresses of a local cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// In the order of their start.
    pub replicas: Vec<ReplicaAddresses>,
    /// In the order of their start.
    pub brokers: Vec<BrokerAddresses>,
}

const FILE: &str = "local.toml";

impl Layout {
    /// The layout kept in `data`, or a new one, which is kept there from now on. A kept layout must have as many replicas
    /// as are asked for, since they are members of a Raft group; brokers come and go.
    pub fn load_or_draw(
        data: &Path,
        ports: Ports,
        replicas: usize,
        brokers: usize,
        tcp: bool,
    ) -> Result<Layout> {
        let file = data.join(FILE);
        let kept = match std::fs::read_to_string(&file) {
            Ok(text) => Some(
                toml::from_str::<Layout>(&text)
                    .with_context(|| format!("{}: not a layout; remove the folder", file.display()))?,
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        let mut layout = kept.unwrap_or(Layout { replicas: Vec::new(), brokers: Vec::new() });
        let kept = layout.replicas.len();
        ensure!(
            kept == 0 || kept == replicas,
            "{}: the cluster there has {kept} replicas, not {replicas}: say --replicas {kept}, or choose another --data",
            file.display(),
        );
        let mut draw = Draw::new(ports);
        while layout.replicas.len() < replicas {
            let n = layout.replicas.len();
            layout
                .replicas
                .push(ReplicaAddresses { grpc: draw.address(7400, n)?, http: draw.address(7440, n)? });
        }
        layout.brokers.truncate(brokers);
        while layout.brokers.len() < brokers {
            let n = layout.brokers.len();
            layout.brokers.push(BrokerAddresses {
                tls: draw.address(8883, n)?,
                tcp: None,
                http: draw.address(7480, n)?,
            });
        }
        for (n, broker) in layout.brokers.iter_mut().enumerate() {
            broker.tcp = match (tcp, broker.tcp) {
                (false, _) => None,
                (true, Some(kept)) => Some(kept),
                (true, None) => Some(draw.address(1883, n)?),
            };
        }
        std::fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        std::fs::write(&file, toml::to_string(&layout)?)
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(layout)
    }
}

/// Where free ports are drawn from: blocks in the range that Linux leaves to listeners by default.
const FREE: std::ops::Range<u16> = 12_000..32_000;
/// Ports that one layout draws next to each other, so that two that draw at a time rarely meet.
const BLOCK: u16 = 40;

/// Draws addresses.
struct Draw {
    ports: Ports,
    next: u16,
}

impl Draw {
    fn new(ports: Ports) -> Draw {
        // Any start will do, as long as processes that start together differ.
        let random = RandomState::new().hash_one(std::process::id());
        let blocks = (FREE.end - FREE.start) / BLOCK;
        let block = u16::try_from(random % u64::from(blocks)).expect("there are fewer blocks than ports");
        Draw { ports, next: FREE.start + block * BLOCK }
    }

    fn address(&mut self, base: u16, n: usize) -> Result<SocketAddr> {
        match self.ports {
            Ports::WellKnown => Ok((Ipv4Addr::LOCALHOST, base + u16::try_from(n)?).into()),
            Ports::Free => self.free(),
        }
    }

    /// The next port that nobody listens on.
    fn free(&mut self) -> Result<SocketAddr> {
        for _ in FREE {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next = if self.next + 1 == FREE.end { FREE.start } else { self.next + 1 };
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        bail!("no port of {}..{} is free on loopback", FREE.start, FREE.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_layout_is_found_again_and_grows_brokers_only() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let first = Layout::load_or_draw(folder.path(), Ports::Free, 3, 2, false)?;
        let again = Layout::load_or_draw(folder.path(), Ports::Free, 3, 2, false)?;
        assert_eq!(first, again);
        let grown = Layout::load_or_draw(folder.path(), Ports::Free, 3, 3, true)?;
        assert_eq!(grown.replicas, first.replicas);
        assert_eq!(grown.brokers[0].tls, first.brokers[0].tls);
        assert!(grown.brokers.iter().all(|broker| broker.tcp.is_some()));
        let refused = Layout::load_or_draw(folder.path(), Ports::Free, 5, 2, false);
        let message = refused.expect_err("another number of replicas").to_string();
        assert!(message.contains("--replicas 3"), "{message}");
        Ok(())
    }

    #[test]
    fn drawn_addresses_are_distinct() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let layout = Layout::load_or_draw(folder.path(), Ports::Free, 3, 3, true)?;
        let mut all: Vec<SocketAddr> = layout.replicas.iter().flat_map(|r| [r.grpc, r.http]).collect();
        all.extend(layout.brokers.iter().flat_map(|b| [Some(b.tls), b.tcp, Some(b.http)]).flatten());
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        Ok(())
    }
}
