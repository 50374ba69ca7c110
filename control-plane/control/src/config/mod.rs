//! The configuration of a replica: defaults, then a TOML file, then environment variables, then flags.

mod layers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use revoq_credentials::NodeName;
use revoq_proto::client::check_address;

use crate::error::Error;

pub use layers::{Args, ENVIRONMENT_PREFIX};

/// Where replicas listen for gRPC.
const PORT: u16 = 9440;

/// The configuration of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name in the cluster; unique there, and lasting.
    pub name: String,
    /// Its data folder: identity, keys, state.
    pub data: PathBuf,
    /// Where it listens for gRPC. With port 0 one is drawn at the first start and kept in the data folder.
    pub listen: SocketAddr,
    /// `host:port` at which brokers and other replicas reach it; absent: where it listens.
    pub advertise: Option<String>,
    /// Where it answers `/healthz`, `/readyz`, `/metrics` and root certificates over plain HTTP; absent: nowhere.
    pub http_listen: Option<SocketAddr>,
    /// The name of a new cluster; absent: `revoq`. Only the first start of the first replica reads it.
    pub cluster: Option<String>,
    /// How to join an existing cluster; only the first start reads it. Absent: a new cluster.
    pub join: Option<Join>,
    /// Times.
    pub timings: Timings,
    /// Limits.
    pub limits: Limits,
}

/// How to join an existing cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Join {
    /// From `revoqctl cluster join`.
    pub token: String,
    /// `host:port` of replicas, any order.
    pub endpoints: Vec<String>,
}

impl std::fmt::Debug for Join {
    // The token is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// Times of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// A follower that hears nothing of the leader for `election_max`, and then for a time between these two, stands for
    /// election.
    pub election_min: Duration,
    /// See `election_min`.
    pub election_max: Duration,
    /// Between two comparisons of the replicas' states.
    pub compare: Duration,
    /// A TLS handshake that takes longer is dropped.
    pub handshake_timeout: Duration,
    /// How long open calls may take to finish at shutdown.
    pub drain: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            compare: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(5),
            drain: Duration::from_millis(500),
        }
    }
}

/// Limits of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// gRPC connections open at a time; more wait unaccepted.
    pub connections: usize,
    /// TLS handshakes in flight; more are dropped.
    pub handshakes: usize,
    /// Log entries between two snapshots.
    pub snapshot_logs: u64,
    /// Change rows kept for watchers that resume.
    pub changes_kept: u64,
    /// Of those, the newest that are kept in memory too, encoded once for all watchers; never more than 32 MiB.
    pub changes_in_memory: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 8_192,
            handshakes: 512,
            snapshot_logs: 20_000,
            changes_kept: 100_000,
            changes_in_memory: 16_384,
        }
    }
}

impl Config {
    /// Defaults for a replica called `name` with its data under `data`.
    pub fn new(name: impl Into<String>, data: impl Into<PathBuf>) -> Config {
        Config {
            name: name.into(),
            data: data.into(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            advertise: None,
            http_listen: None,
            cluster: None,
            join: None,
            timings: Timings::default(),
            limits: Limits::default(),
        }
    }

    /// Reads file, environment and flags.
    pub fn load(args: &Args) -> Result<Config, Error> {
        layers::load(args, |name| std::env::var(name).ok())
    }

    /// Checks what single values cannot tell.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, value: String, remedy: &str| {
            let (origin, key) = ("configuration".to_owned(), key.to_owned());
            Err(Error::Config { origin, key, value, remedy: remedy.to_owned() })
        };
        if self.name.parse::<NodeName>().is_err() {
            let remedy = "give the replica a name of 1 to 64 letters, digits and . _ : @ -";
            return wrong("name", self.name.clone(), remedy);
        }
        if self.advertise.is_none() && self.listen.ip().is_unspecified() {
            let remedy = "set advertise to the host:port at which others reach this replica, \
                          or listen on one address";
            return wrong("listen", self.listen.to_string(), remedy);
        }
        let times = &self.timings;
        if times.election_min < times.heartbeat * 2 || times.election_max <= times.election_min {
            let value = format!("{:?}", times.election_min);
            let remedy = "at least twice timings.heartbeat, and below timings.election_max";
            return wrong("timings.election_min", value, remedy);
        }
        Ok(())
    }

    /// One value by its key; the error is the remedy.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "name" => value.parse::<NodeName>().map(|_| self.name = value.to_owned()).map_err(text),
            "data" if value.is_empty() => Err("expected a folder".to_owned()),
            "data" => {
                self.data = PathBuf::from(value);
                Ok(())
            }
            "listen" => socket(value).map(|address| self.listen = address),
            "http_listen" => socket(value).map(|address| self.http_listen = Some(address)),
            "advertise" => host_port(value).map(|()| self.advertise = Some(value.to_owned())),
            "cluster" => cluster(value).map(|()| self.cluster = Some(value.to_owned())),
            "join.token" => token(value).map(|()| self.join_mut().token = value.trim().to_owned()),
            "join.endpoints" => endpoints(value).map(|list| self.join_mut().endpoints = list),
            "timings.heartbeat" => duration(value).map(|time| self.timings.heartbeat = time),
            "timings.election_min" => duration(value).map(|time| self.timings.election_min = time),
            "timings.election_max" => duration(value).map(|time| self.timings.election_max = time),
            "timings.compare" => duration(value).map(|time| self.timings.compare = time),
            "timings.handshake_timeout" => duration(value).map(|time| self.timings.handshake_timeout = time),
            "timings.drain" => duration(value).map(|time| self.timings.drain = time),
            "limits.connections" => count(value).map(|n| self.limits.connections = n),
            "limits.handshakes" => count(value).map(|n| self.limits.handshakes = n),
            "limits.snapshot_logs" => count(value).map(|n| self.limits.snapshot_logs = n as u64),
            "limits.changes_kept" => count(value).map(|n| self.limits.changes_kept = n as u64),
            "limits.changes_in_memory" => count(value).map(|n| self.limits.changes_in_memory = n),
            _ => Err(format!("no such key; the keys are {}", layers::KEYS.join(", "))),
        }
    }

    fn join_mut(&mut self) -> &mut Join {
        self.join.get_or_insert_with(|| Join { token: String::new(), endpoints: Vec::new() })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

fn socket(value: &str) -> Result<SocketAddr, String> {
    value.parse().map_err(|_| "expected an IP address and a port, for example 10.0.0.7:9440".to_owned())
}

fn host_port(value: &str) -> Result<(), String> {
    check_address(value).map_err(|_| "expected host:port, for example replica-1.example:9440".to_owned())
}

fn cluster(value: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=32).contains(&value.len()) && value.chars().all(plain) {
        return Ok(());
    }
    Err("expected 1 to 32 letters, digits and . _ -".to_owned())
}

fn token(value: &str) -> Result<(), String> {
    value.parse::<revoq_proto::token::JoinToken>().map(|_| ()).map_err(text)
}

fn endpoints(value: &str) -> Result<Vec<String>, String> {
    let list: Vec<String> = value.split(',').map(|endpoint| endpoint.trim().to_owned()).collect();
    list.iter().try_for_each(|endpoint| host_port(endpoint))?;
    Ok(list)
}

fn duration(value: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(value)
        .map_err(|_| "expected a time with its unit, for example 250ms, 5s or 2m".to_owned())?;
    let range = Duration::from_millis(1)..=Duration::from_secs(3_600);
    if range.contains(&time) { Ok(time) } else { Err("expected a time from 1ms to 1h".to_owned()) }
}

fn count(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

#[cfg(test)]
mod tests;
