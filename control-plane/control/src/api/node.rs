//! What nodes ask: to join, to watch, to look a certificate up, and for a server certificate.

use std::pin::Pin;

use revoq_consensus::StateReader;
use revoq_credentials::{Fingerprint, NewNode, NodeKind, NodeName, Operation, State, query};
use revoq_proto::client::check_address;
use revoq_proto::convert::{parse, values};
use revoq_proto::token::JoinToken;
use revoq_proto::v1::node_server::Node;
use revoq_proto::{SERVER_NAME, v1};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Api, answer};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::signer::{Csr, NAMES_MAX, NodeRequest, San};

#[async_trait]
impl Node for Api {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        answer(self.join_node(&request.into_inner()).await)
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::ControlMessage, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<v1::BrokerMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Caller::Broker { node, .. } = caller(&request) else {
            return Err(Status::permission_denied("Node.Watch is for broker nodes"));
        };
        Ok(Response::new(Box::pin(self.plane.clone().watch(node, request.into_inner()))))
    }

    async fn look_up(
        &self,
        request: Request<v1::LookUpRequest>,
    ) -> Result<Response<v1::LookUpResponse>, Status> {
        answer(self.look_up_certificate(&request.into_inner()).await)
    }

    async fn look_up_password(
        &self,
        request: Request<v1::PasswordName>,
    ) -> Result<Response<v1::LookUpPasswordResponse>, Status> {
        answer(self.look_up_username(&request.into_inner()).await)
    }

    async fn issue_server_certificate(
        &self,
        request: Request<v1::IssueServerCertificateRequest>,
    ) -> Result<Response<v1::IssueServerCertificateResponse>, Status> {
        let caller = caller(&request);
        answer(self.issue_server(&caller, &request.into_inner()).await)
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let caller = caller(&request);
        answer(self.leave_cluster(&caller).await)
    }
}

impl Api {
    async fn join_node(&self, request: &v1::JoinRequest) -> Result<v1::JoinResponse, Error> {
        let token: JoinToken = request.token.parse().map_err(|error: revoq_proto::Error| {
            // The token itself stays out of messages and logs.
            Error::invalid("token", "…", error.to_string())
        })?;
        let kind = values::node_kind("kind", request.kind)?;
        let name: NodeName = parse("name", &request.name)?;
        let address = address(kind, &request.address)?;
        let public_key = Csr::parse(&request.csr)?.public_key;
        let reader = self.read().await?;
        let authority = self.cluster_authority(&reader)?;
        if authority.root() != token.authority_der {
            return Err(Error::invalid("token", "…", "it is another cluster's; use one of this cluster"));
        }
        let actor = Caller::Joining { kind, name: name.clone() };
        let operation = |fingerprint| Operation::JoinNode {
            token: token.hash(),
            node: NewNode { name: name.clone(), kind, address: address.clone(), fingerprint },
        };
        // Nothing is signed for a token that would be refused.
        self.rehearse(&reader, &actor, operation(Fingerprint([0; 32])))?.result?;
        drop(reader);
        let certificates = authority.issue(NodeRequest {
            role: kind.into(),
            name: name.as_str(),
            public_key,
            now: self.now(),
            ttl_ms: None,
        })?;
        let outcome = self.change(&actor, operation(Fingerprint::of(&certificates[0]))).await?;
        let node = outcome.node.ok_or_else(|| Error::corrupt("the outcome of a join", "it has no node"))?;
        // The token is used: whoever hears that nothing happened would try it again.
        let reader = self.read().await.map_err(|error| {
            Error::Consensus(revoq_consensus::Error::Unknown(format!("node {node} has joined, but: {error}")))
        })?;
        self.joined(
            &reader,
            kind,
            v1::JoinResponse {
                node: node.0,
                certificates: certificates.into_iter().map(Into::into).collect(),
                cluster_authority: authority.root().to_vec().into(),
                ..Default::default()
            },
        )
    }

    fn joined(
        &self,
        reader: &StateReader,
        kind: NodeKind,
        mut response: v1::JoinResponse,
    ) -> Result<v1::JoinResponse, Error> {
        response.cluster = query::cluster(reader)?.map(|cluster| cluster.name).unwrap_or_default();
        if kind == NodeKind::Replica {
            response.key_encryption_key = self.key_encryption_key.bytes().to_vec().into();
            let nodes = query::nodes(reader)?;
            let replicas = nodes.iter().filter(|node| node.kind == NodeKind::Replica);
            response.replicas = replicas.map(v1::Replica::from).collect();
        }
        Ok(response)
    }

    /// Linearizable, so that what was registered a moment ago is found through any replica. Without a quorum this
    /// replica's own state serves: the revision tells which.
    pub(super) async fn read_if_stale(&self) -> Result<StateReader, Error> {
        match self.read().await {
            Err(Error::Consensus(_)) => self.plane.stale_read(),
            read => read,
        }
    }

    async fn look_up_certificate(&self, request: &v1::LookUpRequest) -> Result<v1::LookUpResponse, Error> {
        let fingerprint = values::fingerprint("fingerprint", &request.fingerprint)?;
        let reader = self.read_if_stale().await?;
        let certificate = query::certificate_by_fingerprint(&reader, &fingerprint)?;
        let effective = match &certificate {
            Some(certificate) => query::standing(&reader, certificate)?.worst(),
            None => State::Deleted,
        };
        Ok(v1::LookUpResponse {
            certificate: certificate.as_ref().map(v1::Certificate::from),
            effective: v1::State::from(effective).into(),
            revision: reader.applied(),
        })
    }

    async fn leave_cluster(&self, caller: &Caller) -> Result<v1::LeaveResponse, Error> {
        let Caller::Broker { node, .. } = caller else {
            return Err(Error::Precondition("only broker nodes leave by themselves".to_owned()));
        };
        let outcome = self.change(caller, Operation::RemoveNode { node: *node }).await?;
        Ok(v1::LeaveResponse { revision: outcome.revision.0 })
    }

    async fn issue_server(
        &self,
        caller: &Caller,
        request: &v1::IssueServerCertificateRequest,
    ) -> Result<v1::IssueServerCertificateResponse, Error> {
        let Caller::Broker { name, .. } = caller else {
            return Err(Error::Precondition("server certificates are for broker nodes".to_owned()));
        };
        let public_key = Csr::parse(&request.csr)?.public_key;
        let names = server_names(&request.names)?;
        let authority = self.cluster_authority(&self.read().await?)?;
        let chain = authority.issue_server(name.as_str(), public_key, names, self.now())?;
        Ok(v1::IssueServerCertificateResponse { certificates: chain.into_iter().map(Into::into).collect() })
    }
}

fn address(kind: NodeKind, address: &str) -> Result<Option<String>, Error> {
    if kind == NodeKind::Broker {
        return Ok(None);
    }
    check_address(address).map_err(|_| {
        Error::invalid("address", address, "the host:port at which other replicas reach this one")
    })?;
    Ok(Some(address.to_owned()))
}

/// A broker must not pass for a replica: clients know those by one name.
fn server_names(names: &[String]) -> Result<Vec<San>, Error> {
    const FIELD: &str = "names";
    if names.is_empty() || names.len() > NAMES_MAX {
        let remedy = format!("give 1 to {NAMES_MAX} DNS names or IP addresses");
        return Err(Error::invalid(FIELD, format!("{} names", names.len()), remedy));
    }
    let (_, domain) = SERVER_NAME.split_once('.').unwrap_or_default();
    let mut hosts = Vec::new();
    for name in names {
        let lower = name.to_ascii_lowercase();
        if lower == SERVER_NAME || lower == format!("*.{domain}") {
            return Err(Error::invalid(FIELD, name, "this name is for replicas alone"));
        }
        let host = San::host(FIELD, name)?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_checked() {
        let names =
            |list: &[&str]| server_names(&list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let good = names(&["localhost", "127.0.0.1", "*.example", "localhost"]).expect("good names");
        assert_eq!(good.len(), 3, "each once");
        for bad in [
            &[][..],
            &["control-plane.revoq"],
            &["Control-Plane.Revoq"],
            &["*.revoq"],
            &["no spaces"],
            &["x"; NAMES_MAX + 1],
        ] {
            names(bad).expect_err("refused");
        }
    }
}
