//! Brokers that are nothing but their watch, many in a process: real nodes of the cluster, each with its own
//! certificate and its own connection, that acknowledge what they are told at once and keep their lease.

mod broker;
mod join;
mod tally;
mod work;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::usage::Usage;

pub(crate) use work::worker;

/// What a process of brokers is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Told apart in the names of nodes.
    pub(crate) name: String,
    pub(crate) brokers: usize,
    /// `host:port` of each replica.
    pub(crate) replicas: Vec<String>,
    /// For any number of brokers.
    pub(crate) token: String,
}

/// What a process of brokers is told.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Every broker opens its stream.
    Watch,
    /// Every broker drops its connection and goes to its next replica, as it does when one is lost.
    Drop,
    /// What was counted since the last time.
    Tally,
    /// How each broker stands.
    Standings,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Joined,
    Done,
    Tally(Tally),
    Standings(Vec<Standing>),
    Failed(String),
}

/// What the brokers of a process counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// By the revision of each event.
    pub(crate) acknowledged: BTreeMap<u64, Acknowledged>,
    /// Streams that were opened.
    pub(crate) streams: u64,
    /// Of those, on which a broker that had something went on by revision.
    pub(crate) resumed: u64,
    /// Snapshots.
    pub(crate) snapshots: u64,
    /// Events that came twice to one broker, or out of order.
    pub(crate) repeated: u64,
    /// Times that a broker's lease ran out.
    pub(crate) lapsed: u64,
    /// Why streams ended, and how often.
    pub(crate) lost: BTreeMap<String, u64>,
}

impl Tally {
    /// Both together.
    pub(crate) fn add(&mut self, other: Tally) {
        for (revision, more) in other.acknowledged {
            let sum = self.acknowledged.entry(revision).or_default();
            sum.brokers += more.brokers;
            sum.last_ns = sum.last_ns.max(more.last_ns);
        }
        self.streams += other.streams;
        self.resumed += other.resumed;
        self.snapshots += other.snapshots;
        self.repeated += other.repeated;
        self.lapsed += other.lapsed;
        for (reason, more) in other.lost {
            *self.lost.entry(reason).or_default() += more;
        }
    }
}

/// The acks of one event.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// Brokers that gave theirs.
    pub(crate) brokers: u64,
    /// When the last of them did, on [`crate::clock::now_ns`].
    pub(crate) last_ns: u64,
}

/// How one broker stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The replica of its stream, as an index of [`Job::replicas`].
    pub(crate) replica: usize,
    /// When its present stream was asked for, on [`crate::clock::now_ns`]; 0: there is none.
    pub(crate) asked_ns: u64,
    /// When its first grant came on it; 0: not yet.
    pub(crate) granted_ns: u64,
    /// It got a snapshot on it.
    pub(crate) snapshot: bool,
}

/// A process of brokers. It ends when this is dropped.
pub(crate) struct Watchers {
    process: Process,
    /// How many.
    pub(crate) brokers: usize,
}

impl Watchers {
    /// Starts a process, whose brokers join: [`Watchers::joined`] waits for that.
    pub(crate) async fn start(job: &Job) -> Result<Watchers> {
        let mut process = Process::start("watchers")?;
        process.say(job).await?;
        Ok(Watchers { process, brokers: job.brokers })
    }

    /// Waits until every broker has joined.
    pub(crate) async fn joined(&mut self) -> Result<()> {
        match self.process.hear().await? {
            Some(Answer::Joined) => Ok(()),
            other => bail!("the brokers do not join: {other:?}"),
        }
    }

    pub(crate) async fn watch(&mut self) -> Result<()> {
        self.tell(&Order::Watch).await
    }

    pub(crate) async fn drop_connections(&mut self) -> Result<()> {
        self.tell(&Order::Drop).await
    }

    async fn tell(&mut self, order: &Order) -> Result<()> {
        match self.process.ask(order).await? {
            Answer::Done => Ok(()),
            other => bail!("the brokers do not obey: {other:?}"),
        }
    }

    pub(crate) async fn tally(&mut self) -> Result<Tally> {
        match self.process.ask(&Order::Tally).await? {
            Answer::Tally(tally) => Ok(tally),
            other => bail!("a tally was expected: {other:?}"),
        }
    }

    pub(crate) async fn standings(&mut self) -> Result<Vec<Standing>> {
        match self.process.ask(&Order::Standings).await? {
            Answer::Standings(standings) => Ok(standings),
            other => bail!("standings were expected: {other:?}"),
        }
    }

    /// Its brokers do nothing and read nothing until [`Watchers::go_on`].
    pub(crate) fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    pub(crate) fn go_on(&self) -> Result<()> {
        self.process.go_on()
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id())
    }
}
