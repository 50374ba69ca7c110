//! Changes of state, the fence, and events live.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_util::StreamExt;
use revoq_credentials::limits::COMMENT_BYTES_MAX;
use revoq_credentials::{Change, Event, Operation, Selector, Transition};
use revoq_proto::convert::{event_for_administrator, transition};
use revoq_proto::v1::control_message::Action;
use revoq_proto::v1::credentials_server::Credentials;
use revoq_proto::v1::session_filter::Filter;
use revoq_proto::{WATCH_REVISION, v1};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, async_trait};
use tracing::warn;

use super::sessions::{count, fingerprints, wire};
use super::{Api, answer};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::roles;
use crate::tickets::fresh_ticket_keys;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The states of a broker that serves nobody, whose sessions therefore need no count.
const SERVING_NOBODY: [&str; 2] = ["fenced", "gone"];

#[async_trait]
impl Credentials for Api {
    async fn transition(
        &self,
        request: Request<v1::TransitionRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let selector = Selector::try_from(request.selector.unwrap_or_default()).map_err(Error::from)?;
        self.permit_transition(&caller, &selector)?;
        let transition = transition(request.transition, request.reason).map_err(Error::from)?;
        if request.comment.len() > COMMENT_BYTES_MAX {
            let remedy = format!("at most {COMMENT_BYTES_MAX} bytes");
            return Err(Error::invalid("comment", request.comment, remedy).into());
        }
        let operation =
            Operation::Transition { selector: selector.clone(), transition, comment: request.comment };
        if request.dry_run {
            return answer(self.dry_run(&caller, operation).await);
        }
        answer(self.carry_out(&caller, &selector, transition, operation).await)
    }

    type FenceStream = Answers<v1::FenceUpdate>;

    async fn fence(&self, request: Request<v1::FenceRequest>) -> Result<Response<Self::FenceStream>, Status> {
        let updates = self.plane.fence(request.into_inner().revision).await?;
        Ok(Response::new(Box::pin(updates)))
    }

    type WatchStream = Answers<v1::Event>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = caller(&request);
        let after = match request.into_inner().revision {
            0 => self.plane.stale_read()?.applied(),
            revision => revision,
        };
        let access = self.access.clone();
        let events = self.plane.events(after).map(move |event| {
            // The stream may outlive its caller's certificate.
            access.recheck(&caller)?;
            event.map(|event| event_for_administrator(&event))
        });
        let mut answer: Response<Self::WatchStream> = Response::new(Box::pin(events));
        answer.metadata_mut().insert(WATCH_REVISION, after.into());
        Ok(answer)
    }
}

impl Api {
    fn permit_transition(&self, caller: &Caller, selector: &Selector) -> Result<(), Status> {
        let needed = roles::transition(selector);
        let permitted =
            matches!(caller, Caller::Administrator { role, .. } if roles::suffices(*role, needed));
        if permitted {
            return Ok(());
        }
        let refused = Status::permission_denied(format!(
            "a transition of {selector} needs the role {needed} and {caller} is {}; ask somebody who may",
            caller.kind()
        ));
        self.access.denied(caller, "Credentials/Transition", &refused);
        Err(refused)
    }

    async fn carry_out(
        &self,
        caller: &Caller,
        selector: &Selector,
        transition: Transition,
        operation: Operation,
    ) -> Result<v1::TransitionResponse, Error> {
        let outcome = self.change(caller, operation).await?;
        if matches!(selector, Selector::Authority { .. }) && transition != Transition::Reactivate {
            self.void_tickets(caller).await;
        }
        Ok(v1::TransitionResponse {
            revision: outcome.revision.0,
            credentials: outcome.changed,
            unchanged: outcome.unchanged,
            sessions: Vec::new(),
        })
    }

    /// Tickets given out under an authority that is denied now shall not even be opened. Should this fail, the
    /// verdict after each resumed handshake still refuses them.
    async fn void_tickets(&self, caller: &Caller) {
        let rotated = async {
            let keys = fresh_ticket_keys(self.key_encryption_key.as_ref(), None)?;
            self.change(caller, Operation::RotateTicketKeys { keys }).await
        };
        if let Err(error) = rotated.await {
            warn!(%error, "the ticket keys were not dropped after an authority was denied");
        }
    }

    async fn dry_run(&self, caller: &Caller, operation: Operation) -> Result<v1::TransitionResponse, Error> {
        let reader = self.read().await?;
        let rehearsed = self.rehearse(&reader, caller, operation)?;
        drop(reader);
        let outcome = rehearsed.result?;
        let sessions = self.sessions_cut(rehearsed.event.as_ref()).await?;
        Ok(v1::TransitionResponse {
            revision: 0,
            credentials: outcome.changed,
            unchanged: outcome.unchanged,
            sessions,
        })
    }

    /// The live sessions that the brokers would cut on this event, by node.
    async fn sessions_cut(&self, event: Option<&Event>) -> Result<Vec<v1::SessionCount>, Error> {
        let mut nodes: BTreeMap<u64, v1::SessionCount> = BTreeMap::new();
        for filter in event.map(denied).unwrap_or_default() {
            let (replies, missing) = self.plane.sessions(wire(filter), Action::Count, 0).await;
            self.complete(&missing).await?;
            for more in replies.iter().filter_map(count) {
                nodes.entry(more.node).and_modify(|known| known.sessions += more.sessions).or_insert(more);
            }
        }
        Ok(nodes.into_values().collect())
    }

    /// A count without a broker that may serve would be wrong.
    async fn complete(&self, missing: &[String]) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let brokers = self.plane.broker_status().await;
        let idle = |name: &String| {
            let mut named = brokers.iter().filter(|broker| broker.name == *name);
            named.all(|broker| SERVING_NOBODY.contains(&broker.status.as_str()))
        };
        let silent: Vec<&str> = missing.iter().filter(|name| !idle(name)).map(String::as_str).collect();
        if silent.is_empty() {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "no count of live sessions from {}; nothing changed, try again in a few seconds",
            silent.join(", ")
        )))
    }
}

/// Whose sessions an event ends.
fn denied(event: &Event) -> Vec<Filter> {
    let mut credentials = Vec::new();
    let mut filters = Vec::new();
    for change in &event.changes {
        match change {
            Change::Denied(denial) => credentials.push(denial.fingerprint),
            Change::Tenant { name, state, .. } if state.is_denied() => {
                filters.push(Filter::Tenant(name.to_string()));
            }
            Change::Authority(authority) if authority.state.is_denied() => {
                let (tenant, name) = (authority.tenant.to_string(), authority.name.to_string());
                filters.push(Filter::Authority(v1::AuthorityName { tenant, name }));
            }
            _ => {}
        }
    }
    if !credentials.is_empty() {
        filters.push(fingerprints(&credentials));
    }
    filters
}
