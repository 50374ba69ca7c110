//! The process of brokers.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::broker::Broker;
use super::join::{Member, join_all};
use super::tally::{Counts, Stand};
use super::{Answer, Job, Order};
use crate::process::{Orders, answer};

/// A process of brokers: they join, then it obeys until nothing more is said.
pub(crate) async fn worker() -> Result<()> {
    let mut orders = Orders::new();
    let job: Job = orders.next().await?.context("a job")?;
    let members = match join_all(&job).await {
        Ok(members) => members,
        Err(error) => return answer(&Answer::Failed(format!("{error:#}"))).await,
    };
    answer(&Answer::Joined).await?;
    let mut crew = Crew::new(members.len());
    let mut members = Some(members);
    while let Some(order) = orders.next().await? {
        let done = match order {
            Order::Watch => {
                crew.watch(&job, members.take().context("they watch already")?);
                Answer::Done
            }
            Order::Drop => {
                crew.drops.send_modify(|drops| *drops += 1);
                Answer::Done
            }
            Order::Tally => Answer::Tally(crew.counts.take()),
            Order::Standings => Answer::Standings(crew.stands.iter().map(|stand| stand.read()).collect()),
        };
        if let Some(Err(error)) =
            crew.brokers.try_join_next().map(|ended| ended.map_err(Into::into).flatten())
        {
            answer(&Answer::Failed(format!("a broker ended: {error:#}"))).await?;
        } else {
            answer(&done).await?;
        }
    }
    Ok(())
}

struct Crew {
    counts: Arc<Counts>,
    stands: Vec<Arc<Stand>>,
    drops: watch::Sender<u64>,
    brokers: JoinSet<Result<()>>,
}

impl Crew {
    fn new(brokers: usize) -> Crew {
        let stands = (0..brokers).map(|_| Arc::default()).collect();
        Crew { counts: Arc::default(), stands, drops: watch::Sender::new(0), brokers: JoinSet::new() }
    }

    fn watch(&mut self, job: &Job, members: Vec<Member>) {
        let replicas: Arc<[String]> = job.replicas.clone().into();
        for (member, stand) in members.into_iter().zip(&self.stands) {
            let broker = Broker::new(member, replicas.clone(), self.counts.clone(), stand.clone());
            self.brokers.spawn(broker.run(self.drops.subscribe()));
        }
    }
}
