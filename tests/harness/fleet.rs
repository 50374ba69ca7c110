//! A cluster of real processes, `revoq-control` and `revoq-broker`, each on a host of its own.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use revoq_broker::ListenerKind;
use revoq_proto::v1;
use tempfile::TempDir;

use crate::access::{AUTHORITY, Access, BrokerAddresses};
use crate::daemon::Daemon;
use crate::hosts::{Host, Hosts, Listener};
use crate::http;
use crate::process::binary;
use crate::wait::until;

/// A process serves within this, on the busiest machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const GRPC: u16 = 9440;
const MQTT: u16 = 8883;
const HTTP: u16 = 7480;
const TOKEN_TTL_MS: u64 = 24 * 60 * 60 * 1_000;

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// 1 or more.
    pub replicas: usize,
    /// 0 or more.
    pub brokers: usize,
    /// Settings of the cluster, in force before the first broker joins.
    pub settings: Vec<(&'static str, &'static str)>,
    /// Variables of every replica.
    pub replica_environment: Vec<(&'static str, &'static str)>,
    /// Variables of every broker.
    pub broker_environment: Vec<(&'static str, &'static str)>,
    /// What brokers serve beside MQTT over TLS.
    pub also: Vec<ListenerKind>,
}

impl Default for Plan {
    /// Three replicas and two brokers, with a lease and a grace of one second each.
    fn default() -> Plan {
        Plan {
            replicas: 3,
            brokers: 2,
            settings: vec![("lease", "1s"), ("stale_grace", "1s")],
            replica_environment: Vec::new(),
            broker_environment: Vec::new(),
            also: Vec::new(),
        }
    }
}

impl Plan {
    /// One replica and one broker, which serves these as well.
    pub fn single(client_certificate: &'static str, also: impl Into<Vec<ListenerKind>>) -> Plan {
        let settings = vec![("client_certificate", client_certificate)];
        Plan { replicas: 1, brokers: 1, settings, also: also.into(), ..Plan::default() }
    }
}

struct Replica {
    daemon: Daemon,
    grpc: Listener,
    http: Listener,
    data: PathBuf,
}

struct Broker {
    daemon: Daemon,
    tls: Listener,
    also: Vec<(ListenerKind, Listener)>,
    http: Listener,
}

/// A running cluster with one authority, `factory`, in the tenant `default`. It is used as its [`Access`]. Everything
/// can be done through a shared reference, so that faults can be injected beside a workload.
pub struct Fleet {
    access: Access,
    broker_token: String,
    // Processes end before their hosts and folders go: fields are dropped in order.
    replicas: Vec<Replica>,
    brokers: Vec<Broker>,
    hosts: Hosts,
    _folder: TempDir,
}

impl Deref for Fleet {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Fleet {
    /// Starts it; returns when every replica votes and every broker is ready.
    pub async fn start(plan: Plan) -> Result<Fleet> {
        ensure!(plan.replicas > 0, "a cluster has a replica");
        let folder = TempDir::with_prefix("revoq-")?;
        let members: Vec<Host> =
            (0..plan.replicas).map(Host::Replica).chain((0..plan.brokers).map(Host::Broker)).collect();
        let hosts = Hosts::start(&members).await?;
        let mut replicas = Vec::new();
        for n in 0..plan.replicas {
            replicas.push(Replica::new(n, &hosts, folder.path(), &plan).await?);
        }
        let mut brokers = Vec::new();
        for n in 0..plan.brokers {
            brokers.push(Broker::new(n, &hosts, folder.path(), &plan, &replicas).await?);
        }
        replicas[0].daemon.start(&hosts, &[]).await?;
        let access = found(&replicas, &brokers, folder.path()).await?;
        let broker_token = String::new();
        let mut fleet = Fleet { access, broker_token, replicas, brokers, hosts, _folder: folder };
        fleet.fill(&plan).await?;
        Ok(fleet)
    }

    async fn fill(&mut self, plan: &Plan) -> Result<()> {
        let serves = || async { Ok(self.status(0).await.ok().filter(|status| status.leader != 0)) };
        until("the first replica leads", STARTS_WITHIN, serves).await?;
        self.create_authority(AUTHORITY).await?;
        for (key, value) in &plan.settings {
            self.set(key, value).await?;
        }
        for n in 1..plan.replicas {
            self.start_replica(n).await?;
        }
        // While a replica joins, renewals may wait for longer than a short lease.
        self.wait_ready().await?;
        self.broker_token = self.token(0, v1::NodeKind::Broker, 0).await?;
        for n in 0..plan.brokers {
            self.start_broker(n).await?;
        }
        self.wait_ready().await
    }

    /// The hosts and the faults between them.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The process of replica `n`, from 0.
    pub fn replica_process(&self, n: usize) -> &Daemon {
        &self.replicas[n].daemon
    }

    /// The process of broker `n`, from 0.
    pub fn broker_process(&self, n: usize) -> &Daemon {
        &self.brokers[n].daemon
    }

    /// The data folder of replica `n`.
    pub fn data(&self, n: usize) -> &Path {
        &self.replicas[n].data
    }

    /// A token for `uses` nodes of that kind, made at replica `n`; 0: any number of brokers.
    async fn token(&self, n: usize, kind: v1::NodeKind, uses: u32) -> Result<String> {
        let request = v1::CreateJoinTokenRequest { kind: kind.into(), uses, ttl_ms: TOKEN_TTL_MS };
        let mut client = v1::cluster_client::ClusterClient::new(self.channel(n)?);
        Ok(client.create_join_token(request).await?.into_inner().token)
    }

    /// The sum of a metric of replica `n`.
    pub async fn replica_metric(&self, n: usize, name: &str) -> Result<f64> {
        http::metric(self.replicas[n].http.reached, name, "").await
    }

    /// Starts replica `n`, which is not running: from its data folder, or by joining the others where that is empty.
    pub async fn start_replica(&self, n: usize) -> Result<()> {
        let replica = &self.replicas[n];
        if replica.data.join("node.toml").exists() {
            return replica.daemon.start(&self.hosts, &[]).await;
        }
        let leader = self.leader().await?;
        let token = self.token(leader, v1::NodeKind::Replica, 1).await?;
        let endpoint = self.replicas[leader].grpc.reached.to_string();
        let join = [("REVOQ_CONTROL_JOIN_TOKEN", &*token), ("REVOQ_CONTROL_JOIN_ENDPOINTS", &*endpoint)];
        replica.daemon.start(&self.hosts, &join).await
    }

    /// Removes replica `n`, which is not running, from the cluster, and empties its data folder: its next start joins
    /// anew.
    pub async fn wipe_replica(&self, n: usize) -> Result<()> {
        ensure!(!self.replicas[n].daemon.is_running().await?, "replica {n} is running");
        let leader = self.leader().await?;
        let name = Host::Replica(n).to_string();
        let status = self.status(leader).await?;
        let row = status.nodes.iter().find(|node| node.name == name).context("it is a member")?;
        let request = v1::RemoveNodeRequest { node: row.node };
        v1::cluster_client::ClusterClient::new(self.channel(leader)?).remove_node(request).await?;
        // The folder itself may be a mount.
        for entry in std::fs::read_dir(&self.replicas[n].data)? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    /// Starts broker `n`, which is not running. It joins as a new node.
    pub async fn start_broker(&self, n: usize) -> Result<()> {
        let token = [("REVOQ_BROKER_JOIN_TOKEN", &*self.broker_token)];
        self.brokers[n].daemon.start(&self.hosts, &token).await
    }

    /// The replicas that run, whether or not they answer.
    pub async fn running_replicas(&self) -> Result<Vec<usize>> {
        let mut running = Vec::new();
        for (n, replica) in self.replicas.iter().enumerate() {
            if replica.daemon.is_running().await? {
                running.push(n);
            }
        }
        Ok(running)
    }

    /// The number, from 0, of the replica that leads; waits until a majority of all replicas says so.
    pub async fn leader(&self) -> Result<usize> {
        until("a majority knows a leader", STARTS_WITHIN, || async { self.known_leader().await }).await
    }

    async fn known_leader(&self) -> Result<Option<usize>> {
        let running = self.running_replicas().await?;
        let answers = join_all(running.iter().map(|n| self.status(*n))).await;
        let mut followers: BTreeMap<String, usize> = BTreeMap::new();
        let mut members = 1;
        for status in answers.into_iter().flatten() {
            let replicas = status.nodes.iter().filter(|node| node.kind() == v1::NodeKind::Replica);
            members = members.max(replicas.count());
            if let Some(leader) = status.nodes.iter().find(|node| node.node == status.leader) {
                *followers.entry(leader.name.clone()).or_default() += 1;
            }
        }
        let chosen = followers.into_iter().find(|(_, count)| *count > members / 2);
        Ok(chosen
            .and_then(|(name, _)| (0..self.replicas.len()).find(|n| Host::Replica(*n).to_string() == name)))
    }

    /// Waits until every running replica votes or leads and every running broker is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        let running = self.running_replicas().await?;
        until("every replica votes", STARTS_WITHIN, || async {
            let Some(leader) = self.known_leader().await? else { return Ok(None) };
            let Ok(status) = self.status(leader).await else { return Ok(None) };
            let votes = |n: &usize| {
                let name = Host::Replica(*n).to_string();
                let mut named = status.nodes.iter().filter(|node| node.name == name);
                named.any(|node| ["leader", "follower"].contains(&&*node.status))
            };
            Ok(running.iter().all(votes).then_some(()))
        })
        .await?;
        for n in running {
            let ready = || async { Ok(self.replica_ready(n).await.then_some(())) };
            until(&format!("{} is ready", Host::Replica(n)), STARTS_WITHIN, ready).await?;
        }
        for n in 0..self.brokers.len() {
            if self.brokers[n].daemon.is_running().await? {
                self.broker_ready(n, STARTS_WITHIN).await?;
            }
        }
        Ok(())
    }

    /// Whether replica `n` says that it is ready.
    pub async fn replica_ready(&self, n: usize) -> bool {
        answers(self.replicas[n].http, "/readyz").await
    }

    /// Waits until broker `n` is ready.
    pub async fn broker_ready(&self, n: usize, limit: Duration) -> Result<()> {
        let ready = || async { Ok(answers(self.brokers[n].http, "/readyz").await.then_some(())) };
        until(&format!("{} is ready", Host::Broker(n)), limit, ready).await
    }

    /// Waits until every running replica stands at the same revision, and gives that and the digest, which must be the
    /// same too. Changes must have ended.
    pub async fn agreed(&self, limit: Duration) -> Result<(u64, Vec<u8>)> {
        let running = self.running_replicas().await?;
        let last = until("all replicas stand at one revision", limit, || async {
            let answers = join_all(running.iter().map(|n| self.status(*n))).await;
            let Ok(all) = answers.into_iter().collect::<Result<Vec<_>, _>>() else { return Ok(None) };
            let together = all.iter().all(|status| status.revision == all[0].revision);
            Ok(together.then_some(all))
        })
        .await?;
        let digests: Vec<_> = last.iter().map(|status| status.digest.to_vec()).collect();
        ensure!(digests.iter().all(|digest| *digest == digests[0]), "digests differ: {digests:x?}");
        Ok((last[0].revision, digests[0].clone()))
    }
}

async fn answers(listener: Listener, path: &str) -> bool {
    matches!(http::get(listener.reached, path).await, Ok((200, _)))
}

impl Replica {
    async fn new(n: usize, hosts: &Hosts, folder: &Path, plan: &Plan) -> Result<Replica> {
        let host = Host::Replica(n);
        let (grpc, http) = (hosts.listener(host, GRPC).await?, hosts.listener(host, HTTP).await?);
        let data = folder.join(host.to_string());
        let mut daemon = Daemon::new(host, binary("revoq-control")?, folder.join(format!("{host}.log")));
        daemon.flag("--name", host.to_string());
        daemon.flag("--data", &data);
        daemon.flag("--listen", grpc.listen.to_string());
        daemon.flag("--advertise", grpc.reached.to_string());
        daemon.flag("--http-listen", http.listen.to_string());
        plan.replica_environment.iter().for_each(|(name, value)| daemon.variable(name, value));
        Ok(Replica { daemon, grpc, http, data })
    }
}

impl Broker {
    async fn new(
        n: usize,
        hosts: &Hosts,
        folder: &Path,
        plan: &Plan,
        replicas: &[Replica],
    ) -> Result<Broker> {
        let host = Host::Broker(n);
        let (tls, http) = (hosts.listener(host, MQTT).await?, hosts.listener(host, HTTP).await?);
        let control: Vec<_> = replicas.iter().map(|replica| replica.grpc.reached.to_string()).collect();
        let mut daemon = Daemon::new(host, binary("revoq-broker")?, folder.join(format!("{host}.log")));
        daemon.flag("--name", host.to_string());
        daemon.flag("--control-plane", control.join(","));
        daemon.flag("--tls-listen", tls.listen.to_string());
        daemon.flag("--http-listen", http.listen.to_string());
        daemon.flag("--tls-names", "localhost");
        // Whatever the machine has: with several threads, and with one, which schedules otherwise.
        daemon.flag("--worker-threads", if n.is_multiple_of(2) { "2" } else { "1" });
        let mut also = Vec::new();
        for kind in plan.also.iter().copied() {
            let (flag, port) = flag(kind);
            let mut listener = hosts.listener(host, port).await?;
            if kind == ListenerKind::Quic {
                // Relays are for TCP.
                listener.reached = listener.listen;
            }
            daemon.flag(flag, listener.listen.to_string());
            also.push((kind, listener));
        }
        plan.broker_environment.iter().for_each(|(name, value)| daemon.variable(name, value));
        Ok(Broker { daemon, tls, also, http })
    }
}

/// Where a kind of listener listens, and at which port if its host has an address of its own.
fn flag(kind: ListenerKind) -> (&'static str, u16) {
    match kind {
        ListenerKind::Tcp => ("--tcp-listen", 1883),
        ListenerKind::Tls => ("--tls-listen", MQTT),
        ListenerKind::WebSocket => ("--ws-listen", 8083),
        ListenerKind::SecureWebSocket => ("--wss-listen", 8084),
        ListenerKind::Quic => ("--quic-listen", 14567),
    }
}

/// Waits for the first administrator's bundle, and writes one that names every replica.
async fn found(replicas: &[Replica], brokers: &[Broker], folder: &Path) -> Result<Access> {
    let first = replicas[0].data.join("administrator.toml");
    until("the first replica founds the cluster", STARTS_WITHIN, || async {
        // The folder is complete, and with it the bundle, when this is there.
        Ok(replicas[0].data.join("node.toml").is_file().then_some(()))
    })
    .await?;
    let mut bundle = revoq_proto::context::Bundle::parse(&std::fs::read_to_string(first)?)?;
    bundle.endpoints = replicas.iter().map(|replica| replica.grpc.reached.to_string()).collect();
    let path = folder.join("administrator.toml");
    std::fs::write(&path, bundle.to_toml())?;
    let addresses = |broker: &Broker| BrokerAddresses {
        tls: broker.tls.reached,
        also: broker.also.iter().map(|(kind, listener)| (*kind, listener.reached)).collect(),
        http: broker.http.reached,
    };
    let grpc = replicas.iter().map(|replica| replica.grpc.reached).collect();
    Access::new(path, grpc, brokers.iter().map(addresses).collect(), folder)
}
