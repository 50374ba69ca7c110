//! `revoqctl cluster`: nodes and replicas.
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use revoq_proto::v1::cluster_client::ClusterClient;
use revoq_proto::{pem, v1};
use serde::Serialize;

use crate::app::App;
use crate::commands::arguments::ttl_ms;
use crate::error::Error;
use crate::fence;
use crate::parse;
use crate::screen::{details, rows};
use crate::view::{Change, List, Status, Timestamp};

/// The cluster: its status, its nodes, and how nodes join
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the cluster, as one replica sees it
    Status,
    /// List replicas and broker nodes
    Nodes,
    /// Make a token with which a node can join; printed once
    Join {
        /// What may join with it
        #[arg(long, value_enum)]
        kind: Kind,
        /// How often it can be used; 0: without limit, brokers only
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// For how long it can be used
        #[arg(long, value_parser = parse::duration, default_value = "1h", value_name = "DURATION")]
        ttl: Duration,
    },
    /// Remove a node: it loses its membership, its certificate, and, being a broker, its sessions
    Remove {
        /// Its number, as `cluster nodes` shows it
        node: u64,
    },
    /// Print the cluster authority's certificate, PEM
    Root,
    /// Wait until every broker node has confirmed a revision or is fenced
    Fence {
        /// The revision of a change
        revision: u64,
        /// Wait at most this long
        #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
        wait_timeout: Option<Duration>,
    },
}

/// Which nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A broker node.
    Broker,
    /// A process of the control plane.
    Replica,
}

impl From<Kind> for v1::NodeKind {
    fn from(kind: Kind) -> v1::NodeKind {
        match kind {
            Kind::Broker => v1::NodeKind::Broker,
            Kind::Replica => v1::NodeKind::Replica,
        }
    }
}

#[derive(Serialize)]
struct JoinToken {
    token: String,
    expires: Timestamp,
}

#[derive(Serialize)]
struct Root {
    pem: String,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::Unconfirmed`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::Status => {
            let status = status(app).await?;
            app.screen.either(&status, || format!("{}\n{}", details(&status), rows(&status.nodes)))
        }
        Command::Nodes => {
            let status = status(app).await?;
            app.screen.list(&List { revision: Some(status.revision), items: status.nodes })
        }
        Command::Join { kind, uses, ttl } => join(app, kind, uses, ttl).await,
        Command::Remove { node } => {
            let call =
                |channel, request| async move { ClusterClient::new(channel).remove_node(request).await };
            let answer = app.api()?.change(v1::RemoveNodeRequest { node }, call).await?;
            let text = format!("node {node} removed; revision {}\n", answer.revision);
            app.screen.either(&Change::from(answer), || text)
        }
        Command::Root => {
            let call = |channel, request| async move { ClusterClient::new(channel).root(request).await };
            let answer = app.api()?.read(v1::ClusterRootRequest {}, call).await?;
            let root = Root { pem: pem::encode(pem::CERTIFICATE, &answer.certificate) };
            app.screen.either(&root, || root.pem.clone())
        }
        Command::Fence { revision, wait_timeout } => {
            let fence = fence::wait(&app.api()?, revision, wait_timeout).await?;
            app.screen.either(&fence, || rows(&fence.nodes))?;
            fence::demand_effective(Some(&fence))
        }
    }
}

async fn status(app: &App<'_>) -> Result<Status, Error> {
    let call = |channel, request| async move { ClusterClient::new(channel).status(request).await };
    app.api()?.read(v1::ClusterStatusRequest {}, call).await.map(Status::from)
}

async fn join(app: &mut App<'_>, kind: Kind, uses: u32, ttl: Duration) -> Result<(), Error> {
    let request =
        v1::CreateJoinTokenRequest { kind: v1::NodeKind::from(kind).into(), uses, ttl_ms: ttl_ms(Some(ttl)) };
    let call = |channel, request| async move { ClusterClient::new(channel).create_join_token(request).await };
    let answer = app.api()?.change(request, call).await?;
    let token = JoinToken { token: answer.token, expires: answer.expires_ms.into() };
    app.screen.either(&token, || token.token.clone() + "\n")?;
    let often = if uses == 0 { "any number of times".to_owned() } else { format!("{uses} time(s)") };
    app.note(&format!(
        "This token is a secret and is not shown again. Valid {often} until {}.",
        token.expires
    ));
    Ok(())
}
