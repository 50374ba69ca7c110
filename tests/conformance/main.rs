//! Conformance by statement number: each normative statement of MQTT 3.1.1 and 5.0 stands in `statements.txt` with the case that
//! proves it, or with the reason why there is none (`tests/tidy` holds that).
//!
//! A case speaks bytes to a broker process. Each test below starts a replica and a broker and runs its cases side by side
//! against them; `REVOQ_CASES=text` runs only the cases whose names contain the text.

mod acknowledge;
mod authenticate;
mod connack;
mod connect;
mod deliver;
mod disconnect;
mod durable;
mod flow;
mod malformed;
mod malformed_v5;
mod properties;
mod retain;
mod shared;
mod site;
mod subscribe;
mod topics;
mod unsubscribe;
mod will;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use revoq_broker::ListenerKind;
use site::{Cluster, Site, label};

/// Cases that run at a time: most of them wait, and some measure time.
const SIDE_BY_SIDE: usize = 12;
/// A case that takes longer hangs.
const CASE_WITHIN: Duration = Duration::from_secs(60);

type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One case: what a broker must do, shown over any transport.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    run: fn(Site) -> Running,
}

/// The cases of a module: its `async fn(Site) -> Result<()>`. `statements.txt` names each as `module::function`.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        pub(crate) const CASES: &[$crate::Case] = &[$($crate::Case {
            name: concat!(module_path!(), "::", stringify!($case)),
            run: |site| Box::pin($case(site)),
        }),+];
    };
}
pub(crate) use cases;

/// What ends with the connection.
const TRANSIENT: &[&[Case]] = &[
    acknowledge::CASES,
    authenticate::CASES,
    connack::CASES,
    connect::CASES,
    deliver::CASES,
    disconnect::CASES,
    flow::CASES,
    malformed::CASES,
    malformed_v5::CASES,
    properties::CASES,
    retain::CASES,
    shared::CASES,
    subscribe::CASES,
    topics::CASES,
    unsubscribe::CASES,
    will::CASES,
];

/// What could depend on how bytes are carried: long and short packets, several at once, both directions, the end.
const REPRESENTATIVE: &[&[Case]] = &[
    acknowledge::CASES,
    deliver::CASES,
    disconnect::CASES,
    flow::CASES,
    malformed::CASES,
    retain::CASES,
    will::CASES,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp() -> Result<()> {
    run(ListenerKind::Tcp, TRANSIENT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls() -> Result<()> {
    run(ListenerKind::Tls, TRANSIENT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_websocket() -> Result<()> {
    run(ListenerKind::WebSocket, REPRESENTATIVE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_secure_websocket() -> Result<()> {
    run(ListenerKind::SecureWebSocket, REPRESENTATIVE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_quic() -> Result<()> {
    run(ListenerKind::Quic, REPRESENTATIVE).await
}

/// Sessions that outlive their connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durable_sessions() -> Result<()> {
    run(ListenerKind::Tcp, &[durable::messages::CASES, durable::sessions::CASES, durable::wills::CASES]).await
}

/// What became of a case.
struct Ran {
    name: &'static str,
    took: Duration,
    result: Result<()>,
}

async fn run(transport: ListenerKind, modules: &[&[Case]]) -> Result<()> {
    let wanted = std::env::var("REVOQ_CASES").unwrap_or_default();
    let cluster = Cluster::start().await?;
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for case in modules.iter().copied().flatten().copied() {
        let name = case.name.split_once("::").map_or(case.name, |(_, name)| name);
        if !name.contains(&wanted) {
            continue;
        }
        let (places, site) = (places.clone(), Site::new(cluster.clone(), transport, name));
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            let start = Instant::now();
            let result = tokio::spawn(tokio::time::timeout(CASE_WITHIN, (case.run)(site))).await;
            let result = match result {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(anyhow::anyhow!("not done within {CASE_WITHIN:?}")),
                Err(panic) => Err(panic.into()),
            };
            Ran { name, took: start.elapsed(), result }
        });
    }
    report(transport, running.join_all().await)
}

fn report(transport: ListenerKind, mut ran: Vec<Ran>) -> Result<()> {
    ran.sort_by_key(|ran| ran.name);
    if ran.is_empty() {
        bail!("no case has such a name");
    }
    for ran in &ran {
        let word = if ran.result.is_ok() { "ok" } else { "FAILED" };
        println!("{word:<7} {:>6} ms  {}", ran.took.as_millis(), ran.name);
    }
    let failed: Vec<String> = ran
        .iter()
        .filter_map(|ran| ran.result.as_ref().err().map(|error| format!("{}: {error:#}", ran.name)))
        .collect();
    let transport = label(transport);
    println!("{} of {} cases failed over {transport}", failed.len(), ran.len());
    if failed.is_empty() { Ok(()) } else { bail!("over {transport}:\n\n{}", failed.join("\n\n")) }
}
