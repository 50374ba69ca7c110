//! One broker.

use std::time::Instant;

use anyhow::Result;
use revoq_proto::v1;
use revoq_proto::v1::credentials_client::CredentialsClient;
use serde::Serialize;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use super::Arguments;
use crate::http::{metric, until_ready};
use crate::node::{Job, Node};
use crate::replica::{Cluster, fingerprint};
use crate::statistics::Spread;

/// What came of one broker.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// From the start of the process until it has joined.
    pub(crate) member_ms: f64,
    /// From the start of the process until `/readyz` says yes.
    pub(crate) ready_ms: f64,
    /// Certificates that it knows to be denied.
    pub(crate) denied: f64,
    pub(crate) memory_mib: f64,
    /// From the leader's commit of one more suspension to its receipt of this broker's ack.
    pub(crate) commit_to_ack: Spread,
}

/// Starts broker `n`, and stops it.
pub(crate) async fn run(cluster: &mut Cluster, arguments: &Arguments, n: usize) -> Result<Run> {
    let channel = cluster.leader_channel().await?;
    let token = cluster.leading().await?.broker_token().await?;
    let http = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let job = Job { name: format!("broker-{n}"), replicas: cluster.addresses.clone(), token, http };
    let begun = Instant::now();
    let mut node = Node::start(&job).await?;
    let (member, ready) = tokio::try_join!(
        async {
            node.member().await?;
            Ok::<_, anyhow::Error>(begun.elapsed())
        },
        async {
            until_ready(http).await?;
            Ok(begun.elapsed())
        }
    )?;
    let denied = metric(http, "revoq_broker_denied_certificates").await?;
    let memory = node.usage()?.memory;
    let commit_to_ack = suspend(&channel, arguments, n).await?;
    node.stop().await?;
    Ok(Run {
        member_ms: member.as_secs_f64() * 1e3,
        ready_ms: ready.as_secs_f64() * 1e3,
        denied,
        memory_mib: memory as f64 / 1_048_576.0,
        commit_to_ack,
    })
}

/// Suspends and reactivates certificates that nobody else suspends, one after the other.
async fn suspend(channel: &Channel, arguments: &Arguments, n: usize) -> Result<Spread> {
    let mut client = CredentialsClient::new(channel.clone());
    let mut times = Vec::new();
    let step = arguments.certificates / arguments.denied.max(1);
    for suspension in 0..arguments.suspensions {
        // Where each `step`th is denied already, its neighbour is not.
        let which = (suspension * step + 1 + n) % arguments.certificates;
        for transition in [v1::Transition::Suspend, v1::Transition::Reactivate] {
            let selector = v1::selector::Selector::Fingerprint(fingerprint(which).0.to_vec().into());
            let request = v1::TransitionRequest {
                transition: transition.into(),
                selector: Some(v1::Selector { selector: Some(selector) }),
                ..Default::default()
            };
            let revision = client.transition(request).await?.into_inner().revision;
            let mut updates = client.fence(v1::FenceRequest { revision }).await?.into_inner();
            while let Some(update) = updates.message().await? {
                let this = update.nodes.iter().find(|node| node.name == format!("broker-{n}"));
                if update.complete {
                    times.extend(this.map(|node| node.confirmed_micros * 1_000));
                }
            }
        }
    }
    Ok(Spread::of(times))
}
