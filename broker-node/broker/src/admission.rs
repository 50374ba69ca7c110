//! From CONNECT to the verdict: who it is, then register, then decide, then claim the client id.

use std::net::SocketAddr;
use std::sync::Arc;

use revoq_credentials::{Cause, Credential, Principal, State, TenantName, Verdict};
use revoq_mqtt::{ClientId, ReasonCode};
use revoq_session::{Accept, Admission, ConnectRequest, SessionState};
use rustls::CertificateError;

use crate::clock::{self, Now};
use crate::connection::Subscriptions;
use crate::gate::Shut;
use crate::lookup::{Found, NoAnswer};
use crate::node::Node;
use crate::registry::{Entry, NewEntry, Registered, Transport};
use crate::sessions::Before;
use crate::tls::Identity;

/// What the transport proved about a client.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// It showed no certificate.
    Anonymous,
    /// It holds the key of a certificate.
    Identity(Identity),
    /// A resumed handshake brought a certificate back that would not be accepted any more.
    Invalid(CertificateError),
}

/// How a client came.
pub(crate) struct Arrival {
    pub(crate) evidence: Evidence,
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
}

/// Why a client is not let in, for CONNACK.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    reason: ReasonCode,
    text: String,
}

impl Refused {
    fn new(reason: ReasonCode, text: impl Into<String>) -> Refused {
        Refused { reason, text: text.into() }
    }

    fn denied(cause: Cause) -> Refused {
        Refused::new(ReasonCode::NotAuthorized, cause.to_string())
    }
}

impl From<Refused> for Admission {
    fn from(refused: Refused) -> Admission {
        Admission::Refuse { reason: refused.reason, text: Some(refused.text) }
    }
}

/// A client that is let in.
pub(crate) struct Admitted {
    pub(crate) registered: Registered,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) accept: Accept,
}

/// Decides about a client. When this returns `Ok`, it is registered, allowed by a view that is newer than its
/// registration, and holds its client id.
pub(crate) async fn admit(
    node: &Node,
    arrival: &Arrival,
    request: &ConnectRequest,
) -> Result<Admitted, Refused> {
    check_age(node, clock::now())?;
    let principal = principal(node, &arrival.evidence).await?;
    let assigned = request.client_id.is_none().then(new_client_id).transpose()?;
    // Of its own: the slice would keep the whole CONNECT in memory.
    let client_id = request.client_id.as_ref().map(ClientId::detached).or_else(|| assigned.clone());
    let client_id =
        client_id.ok_or_else(|| Refused::new(ReasonCode::ClientIdentifierNotValid, "no client id"))?;
    let now = clock::now();
    let registered = node.registry.register(NewEntry {
        principal,
        client_id,
        version: request.version,
        address: arrival.address,
        transport: arrival.transport,
        connected: now.millis(),
        outlives: request.session_expiry_s > 0,
    });
    // Only now: an event that this view does not have yet will find the connection in the registry.
    decide(node, &registered)?;
    let (subscriptions, session) = claim(node, registered.entry(), request.clean_start).await?;
    if let Some(fingerprint) = registered.entry().fingerprint()
        && !node.usage.note(fingerprint, now.boot)
    {
        node.metrics.limits.usage.inc();
    }
    let accept = Accept { client_id: assigned, session, ..Accept::default() };
    Ok(Admitted { registered, subscriptions, accept })
}

/// Makes the connection the one of its client id. The session goes on, or a new one begins.
async fn claim(
    node: &Node,
    entry: &Arc<Entry>,
    clean_start: bool,
) -> Result<(Subscriptions, Option<Box<SessionState>>), Refused> {
    let claimed = node.sessions.claim(entry, clean_start).await;
    let claimed = claimed
        .map_err(|_| Refused::new(ReasonCode::ServerBusy, "the connection before has not ended yet"))?;
    if claimed.took_over {
        node.metrics.cuts(Shut::TakenOver).inc();
    }
    match claimed.before {
        Before::Resumed(away) => {
            node.metrics.sessions_resumed.inc();
            let session = away.subscriptions.resume(entry);
            return Ok((away.subscriptions, session));
        }
        Before::Ended(away) => away.end(node),
        Before::Nothing => {}
    }
    Ok((Subscriptions::new(node.router.space(&entry.principal.tenant)), None))
}

fn check_age(node: &Node, now: Now) -> Result<(), Refused> {
    if node.serves_new(now) {
        return Ok(());
    }
    Err(Refused::new(ReasonCode::ServerUnavailable, node.unready().unwrap_or("not ready")))
}

fn decide(node: &Node, registered: &Registered) -> Result<(), Refused> {
    // Read anew: the process may have been stopped since the registration, beyond its lease.
    let now = clock::now();
    check_age(node, now)?;
    let entry = registered.entry();
    if let Verdict::Deny(cause) = node.view.load().verdict(&entry.principal, now.millis()) {
        return Err(Refused::denied(cause));
    }
    // The order matters: a sweep that shuts the gate after this counts the session as cut.
    entry.admit();
    match entry.gate.shut_by() {
        None => Ok(()),
        Some(why) => Err(Refused::new(ReasonCode::NotAuthorized, why.name())),
    }
}

async fn principal(node: &Node, evidence: &Evidence) -> Result<Principal, Refused> {
    let (fingerprint, not_after) = match evidence {
        Evidence::Anonymous => {
            let tenant = TenantName::default();
            return Ok(Principal { tenant, device: None, credential: Credential::Anonymous });
        }
        Evidence::Invalid(CertificateError::Expired) => return Err(Refused::denied(Cause::Expired)),
        Evidence::Invalid(_) => return Err(Refused::new(ReasonCode::NotAuthorized, "certificate not valid")),
        Evidence::Identity(Identity::Vouched(principal)) => return Ok(principal.clone()),
        Evidence::Identity(Identity::Unknown { fingerprint, not_after }) => (*fingerprint, *not_after),
    };
    // What is known to be denied costs no look-up: refused clients come back at once and for ever.
    if let Some(denial) = node.view.load().denied(&fingerprint) {
        return Err(Refused::denied(Cause::Certificate(denial.state)));
    }
    let now = clock::now();
    if not_after < now.millis() {
        return Err(Refused::denied(Cause::Expired));
    }
    match node.lookups.find(fingerprint, now.boot, &node.metrics).await {
        Ok(Found::Registered(principal)) => Ok(principal),
        Ok(Found::Denied(state)) => Err(denied(state)),
        Ok(Found::Unknown) => Err(Refused::new(ReasonCode::NotAuthorized, "certificate not registered")),
        Err(NoAnswer::Busy) => Err(Refused::new(ReasonCode::ServerBusy, "too many look-ups under way")),
        Err(NoAnswer::Unavailable) => {
            Err(Refused::new(ReasonCode::ServerUnavailable, "the control plane cannot be asked"))
        }
    }
}

fn denied(state: State) -> Refused {
    Refused::denied(Cause::Certificate(state))
}

/// For a client that leaves its id to the server, MQTT 5.0 section 3.1.3.1.
fn new_client_id() -> Result<ClientId, Refused> {
    let id = format!("revoq-{:032x}", rand::random::<u128>());
    ClientId::try_from(bytes::Bytes::from(id))
        .map_err(|_| Refused::new(ReasonCode::UnspecifiedError, "no client id could be made"))
}
