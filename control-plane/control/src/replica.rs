//! One replica: the composition root of the process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use revoq_consensus::{Status, Store};
use revoq_credentials::{NodeKind, Operation, Outcome, query};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::{Access, Caller};
use crate::api::Api;
use crate::clock::Clock;
use crate::config::Config;
use crate::data::{DataFolder, Member};
use crate::dial::MutualTls;
use crate::error::Error;
use crate::founding;
use crate::health::Health;
use crate::http::{self, Pages};
use crate::join;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::seal::{KeyEncryptionKey, Seal};
use crate::server::{self, Services};
use crate::tls;
use crate::watch::{Feed, RING_BYTES_MAX};

/// The group of the credentials among the groups of a process.
pub(crate) const GROUP: u32 = 0;
/// How long a start waits for the state of a cluster that was just joined.
const CATCH_UP: Duration = Duration::from_secs(30);
const CATCH_UP_PAUSE: Duration = Duration::from_millis(20);
/// How long a stop waits for the last call to let go of the state.
const RELEASE: Duration = Duration::from_secs(5);

/// A running replica. Stop it with [`Replica::shutdown`].
pub struct Replica {
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    data: DataFolder,
    drain: Duration,
    api: Api,
    plane: Arc<Plane>,
    health: Arc<Health>,
    store: Store,
    shutdown: CancellationToken,
    /// Ends calls that have not ended by themselves.
    cut: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

/// What the first steps of a start come to.
struct Begun {
    member: Member,
    /// The first command of a cluster that is being founded.
    initialize: Option<Operation>,
    /// Joined just now: there is no state yet.
    joined: bool,
}

impl Replica {
    /// Starts from the data folder. An empty one makes a new cluster, or joins one where the configuration says so;
    /// that has happened when this returns. A replica of an existing cluster may find its leader later.
    pub async fn start(config: Config) -> Result<Replica, Error> {
        config.check()?;
        let data = DataFolder::open(&config.data)?;
        let (listener, address) = bind(&config, &data).await?;
        let clock = Clock::system();
        let begun = begin(&config, &data, address, &clock).await?;
        let replica = Replica::run(&config, data, begun.member.clone(), clock, listener, address).await?;
        match begun.initialize {
            Some(initialize) => {
                if let Err(error) = replica.found(&begun.member, initialize).await {
                    replica.shutdown().await;
                    return Err(error);
                }
            }
            None if begun.joined => replica.catch_up().await,
            None => {}
        }
        info!(
            node = begun.member.node,
            cluster = begun.member.cluster,
            %address,
            advertised = begun.member.address,
            "replica started"
        );
        Ok(replica)
    }

    async fn run(
        config: &Config,
        data: DataFolder,
        member: Member,
        clock: Clock,
        listener: TcpListener,
        address: SocketAddr,
    ) -> Result<Replica, Error> {
        let identity = data.identity()?;
        let key_encryption_key = Arc::new(data.key_encryption_key()?);
        let metrics = Arc::new(Metrics::new());
        let tls = TlsAcceptor::from(Arc::new(tls::server(&identity)?));
        let store = Store::open(data.state())?;
        data.settle()?;
        let dial = Arc::new(MutualTls::new(identity));
        let seal: Arc<dyn Seal> = Arc::<KeyEncryptionKey>::clone(&key_encryption_key);
        let counts = metrics.counts.clone();
        let feed = Feed::new(config.limits.changes_in_memory, RING_BYTES_MAX);
        let plane = Plane::start(group(config, &member), &store, dial, seal, clock, counts, feed).await?;
        let access = Arc::new(Access::new(plane.clone(), metrics.clone()));
        let api = Api::new(plane.clone(), access.clone(), key_encryption_key, metrics.clone());
        let health = Health::new(plane.clone());
        let (shutdown, cut) = (CancellationToken::new(), CancellationToken::new());
        let listener = Listener {
            tcp: listener,
            tls,
            handshake_timeout: config.timings.handshake_timeout,
            connections_max: config.limits.connections,
            handshakes_max: config.limits.handshakes,
            cut: cut.clone(),
            metrics: metrics.clone(),
        };
        let services = Services { api: api.clone(), plane: plane.clone(), access, health: health.clone() };
        let mut servers = vec![server::serve(services, listener, shutdown.clone())?];
        let pages = Pages { plane: plane.clone(), health: health.clone(), metrics };
        let mut http_address = None;
        if let Some(listen) = config.http_listen {
            let (server, bound) = http::serve(pages, listen, shutdown.clone()).await?;
            servers.push(server);
            http_address = Some(bound);
        }
        let drain = config.timings.drain;
        Ok(Replica { address, http_address, data, drain, api, plane, health, store, shutdown, cut, servers })
    }

    /// Makes the cluster: from here on it exists.
    async fn found(&self, member: &Member, initialize: Operation) -> Result<(), Error> {
        self.plane.group.bootstrap(&member.address).await?;
        let mut leadership = self.plane.group.leadership();
        let elected = leadership.wait_for(|now| now.is_leader);
        if !matches!(timeout(CATCH_UP, elected).await, Ok(Ok(_))) {
            return Err(Error::Unavailable("the new cluster's only replica does not lead".to_owned()));
        }
        self.plane.propose(&Caller::Local.to_string(), initialize).await??;
        self.data.complete(member)?;
        info!(
            cluster = member.cluster,
            administrator = %self.data.administrator().display(),
            root_key = %self.data.root_key().display(),
            "cluster founded: keep the administrator's file, and move the root key to a safe place off this machine"
        );
        Ok(())
    }

    /// The others bring this replica up to date; what does not come in time comes later.
    async fn catch_up(&self) {
        let arrived = async {
            loop {
                let founded =
                    self.plane.stale_read().is_ok_and(|state| matches!(query::cluster(&state), Ok(Some(_))));
                if founded && self.health.unready().is_none() {
                    return;
                }
                sleep(CATCH_UP_PAUSE).await;
            }
        };
        if timeout(CATCH_UP, arrived).await.is_err() {
            warn!(
                "joined, but the cluster has not sent its state yet: can the other replicas reach this one?"
            );
        }
    }

    /// Where it listens for gRPC.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// The first administrator's bundle; the file is there on the replica that founded the cluster.
    pub fn administrator_bundle_path(&self) -> PathBuf {
        self.data.administrator()
    }

    /// Whether it serves: it has the cluster's state, and a leader is known.
    pub fn is_ready(&self) -> bool {
        self.health.unready().is_none()
    }

    /// Whether it leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.plane.group.leadership().borrow().is_leader
    }

    /// When this replica began to apply a recent revision that brokers must know, on `CLOCK_BOOTTIME`.
    pub fn applied_at(&self, revision: u64) -> Option<Duration> {
        self.plane.feed.applied_at(revision)
    }

    /// Waits until it has stopped by itself, and returns why: its disk is full or fails, or its state is not the others'.
    /// Nothing of it works any more: call [`Replica::shutdown`], and end with [`Error::exit_code`].
    pub async fn stopped(&self) -> Error {
        Error::Consensus(self.plane.group.stopped().await)
    }

    /// How it stands in the replicated group.
    pub fn status(&self) -> Status {
        self.plane.group.status()
    }

    /// Commits a command that changes nothing, and waits for it: what any change costs at least.
    pub async fn commit_empty(&self) -> Result<(), Error> {
        let operation = Operation::RecordUsage { used: Vec::new(), time: self.plane.clock.now() };
        self.commit(operation).await.map(drop)
    }

    /// Commits a command in the name of the replica itself, as founding does; nobody's role is asked. For programs
    /// that hold a replica, such as one that fills a state.
    ///
    /// # Errors
    /// The state's refusal, or that it is not, or not known to be, committed.
    pub async fn commit(&self, operation: Operation) -> Result<Outcome, Error> {
        Ok(self.plane.propose(&Caller::Local.to_string(), operation).await??)
    }

    /// A token with which nodes can join; `uses` without a number: without limit (brokers only).
    pub async fn create_join_token(
        &self,
        kind: NodeKind,
        uses: Option<u32>,
        ttl: Duration,
    ) -> Result<String, Error> {
        Ok(self.api.new_join_token(&Caller::Local, kind, uses, ttl).await?.0)
    }

    /// Stops: unready first, then no new connections; another replica takes the lead over. Its files are released
    /// when this returns.
    pub async fn shutdown(self) {
        let Replica { health, shutdown, cut, plane, servers, api, store, drain, .. } = self;
        health.drain();
        // The heir must reach this replica to take over from it, so the listener stays until then.
        plane.shutdown().await;
        shutdown.cancel();
        let mut servers = JoinSet::from_iter(servers.into_iter().map(|server| async {
            // A server that ended badly has said so itself.
            let _ = server.await;
        }));
        if timeout(drain, async { while servers.join_next().await.is_some() {} }).await.is_err() {
            cut.cancel();
        }
        drop((api, health, plane));
        let released = async {
            while servers.join_next().await.is_some() {}
            store.close().await;
        };
        if timeout(RELEASE, released).await.is_err() {
            warn!("calls that do not end still hold the replica's files");
        }
        info!("replica stopped");
    }
}

/// Listens. A drawn port is drawn once: the others know this replica by it.
async fn bind(config: &Config, data: &DataFolder) -> Result<(TcpListener, SocketAddr), Error> {
    let mut listen = config.listen;
    if let Some(member) = data.member()?
        && listen.port() == 0
    {
        listen.set_port(member.listen.port());
    }
    let failed = |source| Error::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// What is in the data folder, or a new cluster, or one that is joined.
async fn begin(
    config: &Config,
    data: &DataFolder,
    listen: SocketAddr,
    clock: &Clock,
) -> Result<Begun, Error> {
    let address = config.advertise.clone().unwrap_or_else(|| listen.to_string());
    if let Some(member) = data.member()? {
        check(config, &member, &address)?;
        return Ok(Begun { member, initialize: None, joined: false });
    }
    let (name, advertised) = (config.name.clone(), address.clone());
    let member = |node, cluster| Member { cluster, node, name, listen, address: advertised };
    match &config.join {
        Some(join) if join.token.is_empty() => {
            let remedy =
                "is needed at the first start, with join.endpoints: make one with `revoqctl cluster join`";
            let (origin, key) = ("configuration".to_owned(), "join.token".to_owned());
            Err(Error::Config { origin, key, value: String::new(), remedy: remedy.to_owned() })
        }
        Some(join) => {
            let member = join::join(config, join, data, &address, member).await?;
            Ok(Begun { member, initialize: None, joined: true })
        }
        None if data.is_joining() => {
            let remedy = "is needed: this data folder has begun to join a cluster; start with an empty one to found another";
            let (origin, key) = ("configuration".to_owned(), "join.token".to_owned());
            Err(Error::Config { origin, key, value: String::new(), remedy: remedy.to_owned() })
        }
        None => {
            let founding = founding::found(config, data, member, clock.now())?;
            Ok(Begun { member: founding.member, initialize: Some(founding.initialize), joined: false })
        }
    }
}

/// The others know this replica by what is in its data folder.
fn check(config: &Config, member: &Member, address: &str) -> Result<(), Error> {
    let wrong = |key: &str, value: &str, stored: &str| {
        let remedy = format!(
            "the cluster knows this replica as {stored}; set that again, or remove the replica and let it join anew"
        );
        Err(Error::Config { origin: "configuration".into(), key: key.into(), value: value.into(), remedy })
    };
    if config.name != member.name {
        return wrong("name", &config.name, &member.name);
    }
    if address != member.address {
        return wrong("advertise", address, &member.address);
    }
    Ok(())
}

fn group(config: &Config, member: &Member) -> revoq_consensus::Config {
    revoq_consensus::Config {
        heartbeat: config.timings.heartbeat,
        election_min: config.timings.election_min,
        election_max: config.timings.election_max,
        compare: config.timings.compare,
        snapshot_logs: config.limits.snapshot_logs,
        changes_kept: config.limits.changes_kept,
        ..revoq_consensus::Config::new(member.node, GROUP)
    }
}
