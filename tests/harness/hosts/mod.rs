//! Hosts for processes, and faults between them.
//!
//! With the rights for it (root, `ip`, `nft`) each host is a network namespace on a switch of the test's own, and faults
//! drop packets. Without them all processes share the loopback interface, each listener is reached through relays, one
//! for each connection, and faults act on the streams in these: see [`proxies`]. [`Hosts::start`] chooses and says which;
//! `REVOQ_TEST_NETWORK` set to `namespaces` or `proxies` decides it beforehand.

mod namespaces;
pub mod proxies;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::sync::Mutex;

use namespaces::Namespaces;
use proxies::Proxies;

/// One host of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Where the test itself runs, with its devices and administrators.
    Test,
    /// Of replica `n`, from 0.
    Replica(usize),
    /// Of broker `n`, from 0.
    Broker(usize),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Test => f.write_str("test"),
            Host::Replica(n) => write!(f, "replica-{}", n + 1),
            Host::Broker(n) => write!(f, "broker-{}", n + 1),
        }
    }
}

/// Of a hundred packets from the first host to the second so many are lost; all: the way is cut.
pub(crate) type Faults = BTreeMap<(Host, Host), u8>;

/// Every packet.
pub(crate) const ALL: u8 = 100;

/// A listener of a host.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Where the process listens.
    pub listen: SocketAddr,
    /// Where the others reach it.
    pub reached: SocketAddr,
}

enum Network {
    Namespaces(Namespaces),
    Proxies(Proxies),
}

/// The hosts of one lab. They are removed with it.
pub struct Hosts {
    members: Vec<Host>,
    network: Network,
    faults: Mutex<Faults>,
}

impl Hosts {
    /// Makes these hosts, beside [`Host::Test`], which is always there.
    pub async fn start(members: &[Host]) -> Result<Hosts> {
        let wanted = std::env::var("REVOQ_TEST_NETWORK").ok();
        let network = match wanted.as_deref() {
            Some("namespaces") => Network::Namespaces(Namespaces::start(members).await?),
            Some("proxies") => Network::Proxies(Proxies::default()),
            Some(other) => bail!("REVOQ_TEST_NETWORK is {other:?}: expected namespaces or proxies"),
            None => match Namespaces::start(members).await {
                Ok(namespaces) => Network::Namespaces(namespaces),
                Err(error) => {
                    eprintln!("no network namespaces: {error:#}");
                    Network::Proxies(Proxies::default())
                }
            },
        };
        let hosts = Hosts { members: members.to_owned(), network, faults: Mutex::default() };
        eprintln!("hosts: {}", hosts.kind());
        Ok(hosts)
    }

    /// `network namespaces` or `proxies`.
    pub fn kind(&self) -> &'static str {
        match &self.network {
            Network::Namespaces(_) => "network namespaces",
            Network::Proxies(_) => "proxies",
        }
    }

    /// A program to be started on that host.
    pub fn command(&self, host: Host, program: impl AsRef<OsStr>) -> Command {
        match &self.network {
            Network::Namespaces(namespaces) => namespaces.command(host, program.as_ref()),
            Network::Proxies(_) => Command::new(program),
        }
    }

    /// A listener for a process of that host, at that port if the host has an address of its own.
    pub async fn listener(&self, host: Host, port: u16) -> Result<Listener> {
        match &self.network {
            Network::Namespaces(namespaces) => {
                let address = SocketAddr::new(namespaces.address(host).into(), port);
                Ok(Listener { listen: address, reached: address })
            }
            Network::Proxies(proxies) => proxies.listener(host).await,
        }
    }

    /// That process runs on that host from now on. Call it before the process connects anywhere.
    pub(crate) fn started(&self, host: Host, pid: u32) {
        if let Network::Proxies(proxies) = &self.network {
            proxies.started(host, pid);
        }
    }

    /// Drops everything between the two, both ways.
    pub async fn cut(&self, a: Host, b: Host) -> Result<()> {
        self.change(|faults| faults.extend([((a, b), ALL), ((b, a), ALL)])).await
    }

    /// Drops what `from` sends to `to`; the other direction passes.
    pub async fn cut_oneway(&self, from: Host, to: Host) -> Result<()> {
        self.lose(from, to, ALL).await
    }

    /// Drops everything on these ways, each from the first to the second.
    pub async fn cut_ways(&self, ways: &[(Host, Host)]) -> Result<()> {
        self.change(|faults| faults.extend(ways.iter().map(|way| (*way, ALL)))).await
    }

    /// Loses that share of the packets from `from` to `to`, in percent; 0 ends it.
    pub async fn lose(&self, from: Host, to: Host, percent: u8) -> Result<()> {
        self.change(|faults| set(faults, (from, to), percent)).await
    }

    /// Loses that share of all packets between this host and the other hosts of processes, both ways.
    pub async fn loss(&self, host: Host, percent: u8) -> Result<()> {
        self.change(|faults| {
            for other in self.others(host) {
                set(faults, (host, other), percent);
                set(faults, (other, host), percent);
            }
        })
        .await
    }

    /// Cuts this host off from the other hosts of processes. The test still reaches it.
    pub async fn isolate(&self, host: Host) -> Result<()> {
        self.loss(host, ALL).await
    }

    /// Cuts every way between a host of one list and a host of the other.
    pub async fn split(&self, one: &[Host], other: &[Host]) -> Result<()> {
        self.change(|faults| {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(|b| (*a, *b))) {
                faults.extend([((a, b), ALL), ((b, a), ALL)]);
            }
        })
        .await
    }

    /// Ends every fault.
    pub async fn heal(&self) -> Result<()> {
        self.change(Faults::clear).await
    }

    fn others(&self, host: Host) -> impl Iterator<Item = Host> + '_ {
        self.members.iter().copied().filter(move |other| *other != host)
    }

    async fn change(&self, change: impl FnOnce(&mut Faults)) -> Result<()> {
        let mut faults = self.faults.lock().await;
        change(&mut faults);
        match &self.network {
            Network::Namespaces(namespaces) => {
                namespaces.apply(&faults).await.context("faults between hosts")
            }
            Network::Proxies(proxies) => {
                proxies.apply(&faults);
                Ok(())
            }
        }
    }
}

fn set(faults: &mut Faults, way: (Host, Host), percent: u8) {
    if percent == 0 {
        faults.remove(&way);
    } else {
        faults.insert(way, percent.min(ALL));
    }
}
