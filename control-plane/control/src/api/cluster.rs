//! The cluster itself: its nodes, and letting new ones join.

use std::time::Duration;

use aws_lc_rs::rand;
use revoq_consensus::Member;
use revoq_credentials::{Fingerprint, JoinToken, Millis, NodeId, NodeKind, Operation, query};
use revoq_proto::convert::values;
use revoq_proto::v1;
use revoq_proto::v1::cluster_server::Cluster;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, DAY_MS, answer, changed};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::lease::millis;

/// How long a join token lasts where nobody says, and at most.
const TOKEN_TTL_MS: u64 = 60 * 60 * 1_000;
const TOKEN_TTL_MAX_MS: u64 = 366 * DAY_MS;

#[async_trait]
impl Cluster for Api {
    async fn status(
        &self,
        _: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatusResponse>, Status> {
        answer(self.cluster_status().await)
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let caller = caller(&request);
        answer(self.issue_join_token(&caller, &request.into_inner()).await)
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        let caller = caller(&request);
        answer(self.remove_cluster_node(&caller, &request.into_inner()).await)
    }

    async fn root(
        &self,
        _: Request<v1::ClusterRootRequest>,
    ) -> Result<Response<v1::ClusterRootResponse>, Status> {
        answer(self.cluster_root())
    }
}

impl Api {
    /// From this replica's own state, so that it can be asked while there is no quorum.
    async fn cluster_status(&self) -> Result<v1::ClusterStatusResponse, Error> {
        let group = self.plane.group.status();
        let mut nodes = Vec::new();
        let (cluster, counts, settings, revision, replicas) = {
            let reader = self.plane.stale_read()?;
            let replicas: Vec<_> =
                query::nodes(&reader)?.into_iter().filter(|node| node.kind == NodeKind::Replica).collect();
            let name = query::cluster(&reader)?.map(|cluster| cluster.name).unwrap_or_default();
            (name, query::counts(&reader)?, query::settings(&reader)?, reader.applied(), replicas)
        };
        for node in &replicas {
            let member = group.members.iter().find(|member| member.node == node.id.0);
            let mut status = v1::NodeStatus::from(node);
            status.status = standing(&group, node.id.0, member).to_owned();
            status.revision = match member {
                _ if node.id.0 == group.node => group.applied,
                member => member.and_then(|member| member.matched).unwrap_or_default(),
            };
            nodes.push(status);
        }
        nodes.extend(self.plane.broker_status().await);
        Ok(v1::ClusterStatusResponse {
            cluster,
            leader: group.leader.unwrap_or_default(),
            revision,
            nodes,
            lease_ms: millis(settings.lease),
            tenants: counts.tenants,
            devices: counts.devices,
            certificates: counts.certificates,
            denied: counts.denied,
            node: group.node,
            digest: group.digest.to_vec().into(),
        })
    }

    async fn issue_join_token(
        &self,
        caller: &Caller,
        request: &v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Error> {
        let kind = values::node_kind("kind", request.kind)?;
        let uses = Some(request.uses).filter(|uses| *uses > 0);
        let ttl_ms = super::ttl(request.ttl_ms, TOKEN_TTL_MS, TOKEN_TTL_MAX_MS)?;
        let (token, expires) = self.new_join_token(caller, kind, uses, Duration::from_millis(ttl_ms)).await?;
        Ok(v1::CreateJoinTokenResponse { token, expires_ms: expires.0 })
    }

    /// Makes a token; `uses` without a number: without limit.
    pub(crate) async fn new_join_token(
        &self,
        caller: &Caller,
        kind: NodeKind,
        uses: Option<u32>,
        ttl: Duration,
    ) -> Result<(String, Millis), Error> {
        if kind == NodeKind::Replica && uses.is_none() {
            return Err(Error::invalid(
                "uses",
                0,
                "a token for replicas needs a number of uses, for example 1",
            ));
        }
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| Error::Randomness)?;
        let root = self.cluster_authority(&self.read().await?)?.root().to_vec();
        let token = revoq_proto::token::JoinToken { authority_der: root, secret };
        let expires = self.now().plus(millis(ttl));
        let row = JoinToken { hash: Fingerprint::of(&secret).0, kind, uses_left: uses, expires };
        self.change(caller, Operation::CreateJoinToken { token: row }).await?;
        Ok((token.to_string(), expires))
    }

    async fn remove_cluster_node(
        &self,
        caller: &Caller,
        request: &v1::RemoveNodeRequest,
    ) -> Result<v1::ChangeResponse, Error> {
        let node = NodeId(request.node);
        let reader = self.read().await?;
        let replicas = query::nodes(&reader)?.iter().filter(|node| node.kind == NodeKind::Replica).count();
        let row = query::node(&reader, node)?;
        drop(reader);
        if row.is_some_and(|row| row.kind == NodeKind::Replica) && replicas == 1 {
            return Err(Error::Precondition(format!(
                "node {node} is the last replica and holds everything; let another join first"
            )));
        }
        Ok(changed(&self.change(caller, Operation::RemoveNode { node }).await?))
    }

    /// From this replica's own state: the root does not change.
    fn cluster_root(&self) -> Result<v1::ClusterRootResponse, Error> {
        let authority = self.cluster_authority(&self.plane.stale_read()?)?;
        Ok(v1::ClusterRootResponse { certificate: authority.root().to_vec().into() })
    }
}

/// How a replica stands; only the leader knows whom it reaches.
fn standing(group: &revoq_consensus::Status, node: u64, member: Option<&Member>) -> &'static str {
    let leads = group.leader == Some(group.node);
    match member {
        _ if group.leader == Some(node) => "leader",
        Some(member) if leads && member.matched.is_none() => "unreachable",
        Some(member) if member.voter => "follower",
        _ => "learner",
    }
}
