//! Live sessions of all brokers.

use revoq_credentials::query::{self, Selection};
use revoq_credentials::{Fingerprint, Operation, Reader, Selector};
use revoq_proto::v1;
use revoq_proto::v1::control_message::Action;
use revoq_proto::v1::session_filter::{Filter, Fingerprints};
use revoq_proto::v1::sessions_server::Sessions;
use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, pages};
use crate::access::{Caller, caller};
use crate::error::Error;

/// Sessions of an answer where the caller does not say, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 10_000;

#[async_trait]
impl Sessions for Api {
    async fn list(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        answer(self.list_sessions(request.into_inner()).await)
    }

    async fn disconnect(
        &self,
        request: Request<v1::DisconnectSessionsRequest>,
    ) -> Result<Response<v1::DisconnectSessionsResponse>, Status> {
        let caller = caller(&request);
        answer(self.disconnect_sessions(&caller, request.into_inner()).await)
    }
}

impl Api {
    async fn list_sessions(
        &self,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Error> {
        let filter = self.session_filter(request.selector, request.client_id).await?;
        let filter = filter.unwrap_or(Filter::All(true));
        let limit = if request.limit == 0 { LIMIT } else { request.limit.min(LIMIT_MAX) };
        let (replies, missing) = self.plane.sessions(wire(filter), Action::List, limit).await;
        let total = replies.iter().map(|reply| reply.count).sum();
        let mut sessions: Vec<_> = replies.into_iter().flat_map(|reply| reply.sessions).collect();
        sessions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        pages::cut(&mut sessions);
        Ok(v1::ListSessionsResponse { sessions, total, missing })
    }

    async fn disconnect_sessions(
        &self,
        caller: &Caller,
        request: v1::DisconnectSessionsRequest,
    ) -> Result<v1::DisconnectSessionsResponse, Error> {
        let subject = subject(&request);
        let filter = self.session_filter(request.selector, request.client_id).await?;
        let filter = filter.ok_or_else(|| {
            Error::invalid("selector", "", "name the sessions by a selector or a client_id")
        })?;
        self.audit_disconnection(caller, subject).await?;
        let (replies, missing) = self.plane.sessions(wire(filter), Action::Disconnect, 0).await;
        let sessions = replies.iter().filter_map(count).collect();
        Ok(v1::DisconnectSessionsResponse { sessions, missing })
    }

    /// Before the order goes out: what cannot be audited is not done. No state changes, so there is no command for
    /// it, and the entry is all that is replicated.
    async fn audit_disconnection(&self, caller: &Caller, subject: String) -> Result<(), Error> {
        let operation = Operation::RecordRefusal {
            action: "session.disconnect".to_owned(),
            subject,
            code: "ok".to_owned(),
            detail: String::new(),
        };
        self.change(caller, operation).await.map(|_| ())
    }

    /// What a broker can tell by itself, out of what the caller says; `None`: nothing was said.
    async fn session_filter(
        &self,
        selector: Option<v1::Selector>,
        client_id: String,
    ) -> Result<Option<Filter>, Error> {
        match (selector, client_id.as_str()) {
            (None, "") => Ok(None),
            (None, _) => Ok(Some(Filter::ClientId(client_id))),
            (Some(selector), "") => {
                let selector = Selector::try_from(selector)?;
                filter(&self.read().await?, &selector).map(Some)
            }
            (Some(_), _) => {
                Err(Error::invalid("client_id", client_id, "give a selector or a client_id, not both"))
            }
        }
    }
}

/// For the audit log.
fn subject(request: &v1::DisconnectSessionsRequest) -> String {
    let selector = request.selector.clone().map(Selector::try_from);
    match selector {
        Some(Ok(selector)) => format!("sessions of {selector}"),
        _ => format!("sessions of client {}", request.client_id),
    }
}

fn filter(reader: &dyn Reader, selector: &Selector) -> Result<Filter, Error> {
    Ok(match query::select(reader, selector)? {
        Selection::Tenant(tenant) => Filter::Tenant(tenant.name.to_string()),
        Selection::Authority(authority) => Filter::Authority(v1::AuthorityName {
            tenant: authority.tenant.to_string(),
            name: authority.name.to_string(),
        }),
        selection @ Selection::Credentials { .. } => fingerprints(&selection.fingerprints()),
    })
}

/// A filter for these credentials.
pub(super) fn fingerprints(list: &[Fingerprint]) -> Filter {
    let fingerprints = list.iter().map(|fingerprint| fingerprint.0.to_vec().into()).collect();
    Filter::Fingerprints(Fingerprints { fingerprints })
}

/// For the wire.
pub(super) fn wire(filter: Filter) -> v1::SessionFilter {
    v1::SessionFilter { filter: Some(filter) }
}

/// A broker's count; `None` where it has none.
pub(super) fn count(reply: &v1::PeerSessionsReply) -> Option<v1::SessionCount> {
    (reply.count > 0).then(|| v1::SessionCount {
        node: reply.node,
        node_name: reply.node_name.clone(),
        sessions: reply.count,
    })
}
