//! Clients of any MQTT 3.1.1 server, in a process of their own and as cheap as they can be made: they share the cores with
//! what is measured. One thread, one epoll, no runtime; packets are written and read in batches.

mod clients;
mod counts;
mod drive;
mod handshakes;
mod idle;
mod link;
mod order;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::fleet::Leaf;
use crate::process::{Orders, Process, answer};
use crate::statistics::Spread;

pub(crate) use counts::Counts;
pub(crate) use link::tls;

/// Where a server is reached, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Absent: TCP alone.
    pub(crate) tls: Option<Credentials>,
    /// The server's process, whose processor time is read.
    pub(crate) process: u32,
}

/// What a client shows, and whom it believes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// DER.
    pub(crate) root: Vec<u8>,
    pub(crate) leaf: Leaf,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// One publisher, many subscribers to its topic.
    FanOut,
    /// Many publishers, each with a topic of its own, and one subscriber with a wildcard.
    FanIn,
    /// As many publishers as subscribers, a topic for each pair.
    Pairs,
}

/// Messages through a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Messages {
    pub(crate) target: Target,
    /// Told apart in client identifiers and topics.
    pub(crate) name: String,
    pub(crate) shape: Shape,
    pub(crate) qos: u8,
    /// On the side that has many.
    pub(crate) clients: usize,
    /// Bytes.
    pub(crate) payload: usize,
    /// Messages of one publisher that are under way at most.
    pub(crate) window: usize,
    /// Deliveries in a second; absent: as many as the window allows.
    pub(crate) rate: Option<u32>,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivered {
    /// In the measured time.
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    /// In that time, microseconds.
    pub(crate) server_cpu_us: f64,
    /// What these clients used themselves.
    pub(crate) clients_cpu_us: f64,
    /// From the moment before the write to the moment after the read.
    pub(crate) latency: Spread,
    /// From the first message to the last.
    pub(crate) counts: Counts,
}

/// Connections that are opened, one after the other in each of some threads, and then closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) target: Target,
    pub(crate) name: String,
    pub(crate) resume: bool,
    pub(crate) count: usize,
    pub(crate) threads: usize,
}

/// What they cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shaken {
    pub(crate) count: usize,
    /// Of those, resumed.
    pub(crate) resumed: usize,
    pub(crate) seconds: f64,
    /// From TCP to CONNACK, all together.
    pub(crate) server_cpu_us: f64,
    /// From DISCONNECT on.
    pub(crate) ends_cpu_us: f64,
}

/// Connections that stay and say nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) target: Target,
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) threads: usize,
}

#[derive(Debug, Serialize, Deserialize)]
enum Job {
    Messages(Messages),
    Handshakes(Handshakes),
    Idle(Idle),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Delivered(Box<Delivered>),
    Shaken(Shaken),
    Open,
    Failed(String),
}

/// A process of clients. It ends when this is dropped.
pub(crate) struct Load(Process);

impl Load {
    /// Sends messages and counts them.
    pub(crate) async fn messages(job: Messages) -> Result<Delivered> {
        match Load::ask(Job::Messages(job)).await?.1 {
            Answer::Delivered(delivered) => Ok(*delivered),
            Answer::Failed(why) => bail!(why),
            other => bail!("another answer was expected: {other:?}"),
        }
    }

    /// Connects again and again.
    pub(crate) async fn handshakes(job: Handshakes) -> Result<Shaken> {
        match Load::ask(Job::Handshakes(job)).await?.1 {
            Answer::Shaken(shaken) => Ok(shaken),
            Answer::Failed(why) => bail!(why),
            other => bail!("another answer was expected: {other:?}"),
        }
    }

    /// Opens connections; they stay until this is dropped.
    pub(crate) async fn idle(job: Idle) -> Result<Load> {
        match Load::ask(Job::Idle(job)).await? {
            (load, Answer::Open) => Ok(load),
            (_, Answer::Failed(why)) => bail!(why),
            (_, other) => bail!("another answer was expected: {other:?}"),
        }
    }

    async fn ask(job: Job) -> Result<(Load, Answer)> {
        let mut process = Process::start("load")?;
        let answer = process.ask(&job).await?;
        Ok((Load(process), answer))
    }

    /// Ends it, and waits until its connections are gone.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.0.kill().await
    }
}

/// A process of clients: one job, then the end.
pub(crate) async fn worker() -> Result<()> {
    let mut orders = Orders::new();
    let job: Job = orders.next().await?.context("a job")?;
    // Held until the process ends.
    let (done, _open) = match tokio::task::spawn_blocking(move || carry_out(job)).await? {
        Ok((done, open)) => (done, open),
        Err(error) => (Answer::Failed(format!("{error:#}")), Vec::new()),
    };
    answer(&done).await?;
    while orders.next::<()>().await?.is_some() {}
    std::process::exit(0)
}

fn carry_out(job: Job) -> Result<(Answer, Vec<link::Link>)> {
    Ok(match job {
        Job::Messages(job) => (Answer::Delivered(Box::new(drive::run(&job)?)), Vec::new()),
        Job::Handshakes(job) => (Answer::Shaken(handshakes::run(&job)?), Vec::new()),
        Job::Idle(job) => (Answer::Open, idle::run(&job)?),
    })
}
