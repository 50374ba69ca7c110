//! The process of a replica.

use std::time::Duration;

use anyhow::{Context, Result};
use revoq_control::{Config, Join, NodeKind};

use super::fill::fill;
use super::{Answer, Job, Order};
use crate::process::{Orders, answer};

/// A run is over well within this time.
const TOKEN_TTL: Duration = Duration::from_secs(6 * 3_600);

/// A replica process: one job, orders, then the end.
pub(crate) async fn worker() -> Result<()> {
    let mut orders = Orders::new();
    let job: Job = orders.next().await?.context("a job")?;
    let replica = match Box::pin(revoq_control::Replica::start(config(job))).await {
        Ok(replica) => replica,
        Err(error) => return answer(&Answer::Failed(error.to_string())).await,
    };
    answer(&Answer::Started { address: replica.address().to_string() }).await?;
    while let Some(order) = orders.next().await? {
        if matches!(order, Order::Stop) {
            break;
        }
        let done = Box::pin(carry_out(&replica, order)).await;
        answer(&done.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")))).await?;
    }
    Box::pin(replica.shutdown()).await;
    Ok(())
}

fn config(job: Job) -> Config {
    let mut config = Config::new(job.name, job.data);
    config.listen = "127.0.0.1:0".parse().expect("an address");
    config.join = job.join.map(|(token, endpoint)| Join { token, endpoints: vec![endpoint] });
    config.limits.changes_kept = job.changes_kept;
    config.limits.changes_in_memory = job.changes_in_memory;
    config
}

async fn carry_out(replica: &revoq_control::Replica, order: Order) -> Result<Answer> {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).expect("less than 500 years of uptime");
    Ok(match order {
        Order::ReplicaToken => {
            Answer::Token(replica.create_join_token(NodeKind::Replica, Some(1), TOKEN_TTL).await?)
        }
        Order::BrokerToken => {
            Answer::Token(replica.create_join_token(NodeKind::Broker, None, TOKEN_TTL).await?)
        }
        Order::Leads => Answer::Leads(replica.is_leader()),
        Order::AppliedAt(revisions) => {
            let moment = |revision| replica.applied_at(revision).map(nanoseconds);
            Answer::AppliedAt(revisions.into_iter().map(moment).collect())
        }
        Order::Fill(wanted) => Answer::Filled(fill(replica, wanted).await?),
        Order::Stop => unreachable!("it ends the process"),
    })
}
