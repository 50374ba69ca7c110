//! Questions and orders about live sessions, to all brokers through all replicas.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join, join_all};
use prost::Message as _;
use revoq_credentials::{NodeKind, query};
use revoq_proto::v1;
use revoq_proto::v1::PeerSessionsReply;
use revoq_proto::v1::control_message::{Action, SessionsQuery};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::Status;
use tracing::debug;

use crate::counts::{Counts, Limit};
use crate::plane::Plane;
use crate::watch::Watcher;

/// How long a broker may take to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a replica may take to answer for its brokers.
const REPLICA_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Sessions of one message between replicas, in encoded bytes, unless a single one has more.
const PART_BYTES_MAX: usize = 256 * 1024;

impl Plane {
    /// Asks every broker about its sessions, or orders it to disconnect them. The answers, one a node, and the
    /// names of the nodes that may have sessions and gave none.
    pub(crate) async fn sessions(
        &self,
        filter: v1::SessionFilter,
        action: Action,
        limit: u32,
    ) -> (Vec<PeerSessionsReply>, Vec<String>) {
        let members = self.group.status();
        let others = members.members.into_iter().filter(|member| member.node != members.node);
        let asked = others.map(|member| self.remote_sessions(member.address, &filter, action, limit));
        let gather = join(self.local_sessions(filter.clone(), action, limit), join_all(asked));
        let ((own, theirs), status) = join(gather, self.broker_status()).await;
        let mut replies = BTreeMap::new();
        for reply in own.into_iter().chain(theirs.into_iter().flatten()) {
            replies.entry(reply.node).or_insert(reply);
        }
        let silent = |broker: &&v1::NodeStatus| {
            !replies.contains_key(&broker.node) && !matches!(broker.status.as_str(), "fenced" | "gone")
        };
        let missing: BTreeSet<String> =
            status.iter().filter(silent).map(|broker| broker.name.clone()).collect();
        (replies.into_values().collect(), missing.into_iter().collect())
    }

    /// The answers of the brokers that this replica serves.
    pub(crate) async fn local_sessions(
        &self,
        filter: v1::SessionFilter,
        action: Action,
        limit: u32,
    ) -> Vec<PeerSessionsReply> {
        let names = self.broker_names();
        let query = SessionsQuery { query: 0, filter: Some(filter), action: action.into(), limit };
        let watchers = self.watchers.all();
        let answers = watchers.iter().map(|watcher| ask(watcher, &query, &names, self.counts()));
        join_all(answers).await.into_iter().flatten().collect()
    }

    async fn remote_sessions(
        &self,
        address: String,
        filter: &v1::SessionFilter,
        action: Action,
        limit: u32,
    ) -> Vec<PeerSessionsReply> {
        let action = u32::try_from(i32::from(action)).unwrap_or_default();
        let request = v1::PeerSessionsRequest { filter: Some(filter.clone()), action, limit };
        let gathered = timeout(REPLICA_TIMEOUT, self.ask_replica(&address, request)).await;
        let failed =
            |status: &Status| debug!(address, reason = status.message(), "a replica gives no sessions");
        let late = |_| Status::deadline_exceeded("no answer in time");
        gathered.map_err(late).flatten().inspect_err(failed).unwrap_or_default()
    }

    async fn ask_replica(
        &self,
        address: &str,
        request: v1::PeerSessionsRequest,
    ) -> Result<Vec<PeerSessionsReply>, Status> {
        let mut parts = self.peers.client(address)?.sessions(request).await?.into_inner();
        let mut replies: BTreeMap<u64, PeerSessionsReply> = BTreeMap::new();
        while let Some(part) = parts.next().await.transpose()? {
            match replies.get_mut(&part.node) {
                Some(reply) => reply.sessions.extend(part.sessions),
                None => _ = replies.insert(part.node, part),
            }
        }
        Ok(replies.into_values().collect())
    }

    fn broker_names(&self) -> BTreeMap<u64, String> {
        let rows = self.stale_read().map(|reader| query::nodes(&reader));
        let nodes = match rows {
            Ok(Ok(nodes)) => nodes,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let brokers = nodes.into_iter().filter(|node| node.kind == NodeKind::Broker);
        brokers.map(|node| (node.id.0, node.name.to_string())).collect()
    }
}

async fn ask(
    watcher: &Watcher,
    query: &SessionsQuery,
    names: &BTreeMap<u64, String>,
    counts: &Counts,
) -> Option<PeerSessionsReply> {
    let asked = watcher.ask(query.clone());
    counts.limit(Limit::Queries, usize::from(asked.is_none()));
    let answer = timeout(BROKER_TIMEOUT, asked?).await.ok()?.ok()?;
    let node = watcher.node.0;
    let name = names.get(&node).cloned().unwrap_or_else(|| node.to_string());
    let mut sessions = answer.sessions;
    for session in &mut sessions {
        // A broker speaks for itself alone.
        session.node = node;
        session.node_name.clone_from(&name);
    }
    Some(PeerSessionsReply { node, node_name: name, count: answer.count, sessions })
}

/// A reply in parts that fit in messages; each carries the count.
pub(crate) fn in_parts(reply: PeerSessionsReply) -> Vec<PeerSessionsReply> {
    let empty = PeerSessionsReply {
        node: reply.node,
        node_name: reply.node_name,
        count: reply.count,
        sessions: Vec::new(),
    };
    let mut parts = vec![empty.clone()];
    let mut bytes = 0;
    for session in reply.sessions {
        bytes += session.encoded_len();
        if bytes > PART_BYTES_MAX && parts.last().is_some_and(|last| !last.sessions.is_empty()) {
            parts.push(empty.clone());
            bytes = session.encoded_len();
        }
        if let Some(last) = parts.last_mut() {
            last.sessions.push(session);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_and_lose_nothing() {
        let session = |number: u64| v1::Session {
            connection: number,
            client_id: "c".repeat(60_000),
            ..v1::Session::default()
        };
        let reply = PeerSessionsReply {
            node: 1,
            node_name: "n".to_owned(),
            count: 20,
            sessions: (0..20).map(session).collect(),
        };
        let parts = in_parts(reply);
        assert!(parts.iter().all(|part| part.encoded_len() < 2 * PART_BYTES_MAX && part.count == 20));
        let seen: Vec<u64> =
            parts.iter().flat_map(|part| &part.sessions).map(|session| session.connection).collect();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(in_parts(PeerSessionsReply::default()).len(), 1, "a broker without sessions answers too");
    }
}
