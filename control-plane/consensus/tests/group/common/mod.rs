//! Replicas in one process: each with its own runtime, store and loopback port, so that one can die alone.
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use revoq_consensus::{
    Applied, Config, Dial, Error, Group, Machine, Proposed, ReadError, Reader, Store, Write, service, tune,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps the last value of each key. Commands are `key=value`; the response is the value before.
#[derive(Default)]
pub(crate) struct Register {
    pub(crate) published: Mutex<Vec<(u64, Vec<u8>)>>,
    pub(crate) restored: Mutex<Vec<u64>>,
    pub(crate) applied: AtomicUsize,
    /// From now on it writes what the others do not.
    pub(crate) wrong: AtomicBool,
}

impl Machine for Register {
    type Event = Vec<u8>;

    fn apply(&self, reader: &dyn Reader, _: u64, command: &[u8]) -> Result<Applied<Vec<u8>>, ReadError> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        let at = command.iter().position(|byte| *byte == b'=').unwrap_or(command.len());
        let (key, mut value) = (command[..at].to_vec(), command[at..].to_vec());
        if self.wrong.load(Ordering::Relaxed) {
            value.push(b'?');
        }
        let response = reader.get(&key)?.unwrap_or_default();
        let all = reader.scan(b"", b"\xff", 3)?;
        let count = Write::Put(b"~seen".to_vec(), vec![u8::try_from(all.len()).unwrap_or(0)]);
        Ok(Applied {
            writes: vec![Write::Put(key, value), count],
            change: Some(command.to_vec()),
            response,
            event: Some(command.to_vec()),
        })
    }

    fn publish(&self, applied: u64, events: Vec<(u64, Vec<u8>)>) {
        assert!(events.iter().all(|(index, _)| *index <= applied), "events come with what is applied");
        lock(&self.published).extend(events);
    }

    fn restored(&self, applied: u64) {
        lock(&self.restored).push(applied);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(crate) struct Plaintext;

impl Dial for Plaintext {
    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Error::Address { address: address.to_owned(), reason: e.to_string() })?;
        Ok(tune(endpoint).connect_lazy())
    }
}

/// Settings that make tests quick.
pub(crate) fn config(node: u64) -> Config {
    Config {
        heartbeat: Duration::from_millis(60),
        election_min: Duration::from_millis(400),
        election_max: Duration::from_millis(800),
        compare: Duration::from_millis(100),
        ..Config::new(node, 7)
    }
}

/// What stands for a process: when it is dropped its tasks are, wherever they are.
struct Process(Option<Runtime>);

impl Process {
    fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn<F>(&self, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.as_ref().expect("it runs until it is dropped").spawn(work)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A runtime must not be waited for where it could be the one that waits.
        let runtime = self.0.take();
        let ending = std::thread::spawn(move || runtime.map(|runtime| runtime.shutdown_timeout(PATIENCE)));
        assert!(ending.join().is_ok(), "the tasks end");
    }
}

/// A replica that runs.
pub(crate) struct Replica {
    /// First, so that everything else is idle when it is dropped.
    process: Process,
    pub(crate) node: u64,
    pub(crate) address: String,
    pub(crate) group: Group<Register>,
    pub(crate) machine: Arc<Register>,
    pub(crate) config: Config,
    folder: PathBuf,
    store: Store,
}

impl Replica {
    /// Starts with what `folder` holds, at `address` or at a port of its own.
    pub(crate) async fn start(config: Config, folder: &Path, address: Option<&str>) -> Result<Self> {
        let process = Process::start()?;
        let listener = listen(address).await?;
        let address = listener.local_addr()?.to_string();
        let listener = listener.into_std()?;
        let store = Store::open(folder)?;
        let machine = Arc::new(Register::default());
        let starting = {
            let (config, store, machine) = (config.clone(), store.clone(), Arc::clone(&machine));
            process.spawn(async move {
                let group = Group::start(config, &store, machine, Arc::new(Plaintext)).await?;
                let incoming = TcpIncoming::from(TcpListener::from_std(listener)?).with_nodelay(Some(true));
                tokio::spawn(
                    Server::builder()
                        .add_service(service([group.clone().into()]))
                        .serve_with_incoming(incoming),
                );
                anyhow::Ok(group)
            })
        };
        let group = starting.await??;
        Ok(Self {
            node: config.node,
            address,
            group,
            machine,
            config,
            folder: folder.to_owned(),
            store,
            process,
        })
    }

    /// Runs `work` where the replica runs.
    pub(crate) async fn run<T, F>(&self, work: impl FnOnce(Group<Register>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.process.spawn(work(self.group.clone())).await.expect("the work does not panic")
    }

    pub(crate) async fn propose(&self, command: &str) -> Result<Proposed, Error> {
        let command = command.as_bytes().to_vec();
        self.run(|group| async move { group.propose(command).await }).await
    }

    /// Proposes without waiting.
    pub(crate) fn propose_later(&self, command: String) -> tokio::task::JoinHandle<Result<Proposed, Error>> {
        let group = self.group.clone();
        self.process.spawn(async move { group.propose(command.into_bytes()).await })
    }

    pub(crate) fn value(&self, key: &str) -> Result<Option<String>> {
        let row = self.group.reader()?.get(key.as_bytes())?;
        Ok(row.map(|row| String::from_utf8_lossy(&row).into_owned()))
    }

    pub(crate) fn leads(&self) -> bool {
        self.group.leadership().borrow().is_leader
    }

    /// As if the process had died: nothing is handed over, nothing is finished.
    pub(crate) async fn kill(self) -> Dead {
        let Self { address, group, config, folder, store, process, .. } = self;
        drop(process);
        drop(group);
        store.close().await;
        Dead { config, folder, address }
    }

    /// An orderly end.
    pub(crate) async fn stop(self) -> Dead {
        self.run(|group| async move { group.shutdown().await }).await;
        self.kill().await
    }
}

/// A replica that does not run.
pub(crate) struct Dead {
    pub(crate) config: Config,
    pub(crate) folder: PathBuf,
    pub(crate) address: String,
}

impl Dead {
    pub(crate) async fn start(self) -> Result<Replica> {
        Replica::start(self.config, &self.folder, Some(&self.address)).await
    }
}

async fn listen(address: Option<&str>) -> Result<TcpListener> {
    let Some(address) = address else { return Ok(TcpListener::bind("127.0.0.1:0").await?) };
    // The port is free as soon as the dead replica's tasks are gone.
    eventually("the port is free again", async || Ok(TcpListener::bind(address).await.is_ok())).await?;
    Ok(TcpListener::bind(address).await?)
}

/// Waits until `holds` does.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !holds().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done.with_context(|| what.to_owned()),
        Err(_) => bail!("not within {PATIENCE:?}: {what}"),
    }
}

/// A group of `size` replicas in folders of `root`.
pub(crate) async fn cluster(root: &Path, size: u64) -> Result<Vec<Replica>> {
    cluster_with(root, size, config).await
}

pub(crate) async fn cluster_with(
    root: &Path,
    size: u64,
    config: impl Fn(u64) -> Config,
) -> Result<Vec<Replica>> {
    let mut replicas: Vec<Replica> = Vec::new();
    for node in 1..=size {
        let replica = Replica::start(config(node), &root.join(node.to_string()), None).await?;
        let address = replica.address.clone();
        if node == 1 {
            replica.run(|group| async move { group.bootstrap(&address).await }).await?;
        } else {
            replicas[0].run(|group| async move { group.add_replica(node, &address).await }).await?;
        }
        replicas.push(replica);
    }
    Ok(replicas)
}

/// The position of the one that leads, once all of them agree.
pub(crate) async fn leader(replicas: &[Replica]) -> Result<usize> {
    let mut found = 0;
    eventually("one leads and all know it", async || {
        let Some(position) = replicas.iter().position(Replica::leads) else { return Ok(false) };
        found = position;
        let node = Some(replicas[position].node);
        Ok(replicas.iter().all(|r| r.group.leadership().borrow().leader == node))
    })
    .await?;
    Ok(found)
}

/// Proposes until a leader takes it; fails if it may have happened without an answer.
pub(crate) async fn propose(replica: &Replica, command: &str) -> Result<Proposed> {
    let mut answer = None;
    eventually("the command is taken", async || match replica.propose(command).await {
        Ok(proposed) => {
            answer = Some(proposed);
            Ok(true)
        }
        Err(Error::NoLeader) => Ok(false),
        Err(error) => Err(error.into()),
    })
    .await?;
    answer.context("taken")
}

/// Waits until all have applied the same, and checks that it is the same.
pub(crate) async fn agree(replicas: &[Replica]) -> Result<()> {
    eventually("all have applied everything", async || {
        let last = replicas.iter().map(|r| r.group.status().last_log).max();
        Ok(replicas.iter().all(|r| Some(r.group.status().applied) == last))
    })
    .await?;
    let digests: Vec<_> =
        replicas.iter().map(|r| (r.group.status().applied, r.group.status().digest)).collect();
    anyhow::ensure!(digests.windows(2).all(|pair| pair[0] == pair[1]), "digests differ: {digests:?}");
    Ok(())
}
