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
use crate::lookup::{Found, KnownPassword, NoAnswer};
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

/// Decides about a client, and the password that it proved to know. When this returns `Ok`, it is registered, allowed by a view that is newer than its
/// registration, and holds its client id.
pub(crate) async fn admit(
    node: &Node,
    arrival: &Arrival,
    request: &ConnectRequest,
    proven: Option<KnownPassword>,
) -> Result<Admitted, Refused> {
    check_age(node, clock::now())?;
    let mut principal = principal(node, &arrival.evidence).await?;
    if let Some(password) = proven {
        principal = with_password(principal, password, request.client_id.as_ref())?;
    }
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
    note_use(node, &registered.entry().principal, now);
    let accept = Accept { client_id: assigned, session, ..Accept::default() };
    Ok(Admitted { registered, subscriptions, accept })
}

/// Reports the use of what a client authenticated by.
pub(crate) fn note_use(node: &Node, principal: &Principal, now: Now) {
    for fingerprint in principal.fingerprints() {
        if !node.usage.note(fingerprint, now.boot) {
            node.metrics.limits.usage.inc();
        }
    }
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
        Before::Resumed(mut away) => {
            node.metrics.sessions_resumed.inc();
            let session = away.subscriptions.resume(entry);
            return Ok((away.subscriptions, session));
        }
        Before::Ended(away) => away.end(node),
        Before::Nothing => {}
    }
    Ok((Subscriptions::new(node.router.space(&entry.principal.tenant), &entry.client_id), None))
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

/// A password says who it is where no certificate does; where one does, both are to say the same.
fn with_password(
    shown: Principal,
    password: KnownPassword,
    client_id: Option<&ClientId>,
) -> Result<Principal, Refused> {
    let KnownPassword { tenant, device, fingerprint, client_id: bound, .. } = password;
    if shown.device.is_some_and(|shown_device| (&shown.tenant, &shown_device) != (&tenant, &device)) {
        let text = "the password is of another device than the certificate";
        return Err(Refused::new(ReasonCode::NotAuthorized, text));
    }
    if bound.is_some() && bound.as_deref() != client_id.map(ClientId::as_str) {
        let text = "the password is for another client id";
        return Err(Refused::new(ReasonCode::ClientIdentifierNotValid, text));
    }
    let password = Some(fingerprint);
    Ok(Principal { tenant, device: Some(device), credential: shown.credential, password })
}

/// Who a client is by the handshake of its transport.
pub(crate) async fn principal(node: &Node, evidence: &Evidence) -> Result<Principal, Refused> {
    let (fingerprint, not_after) = match evidence {
        Evidence::Anonymous => {
            let tenant = TenantName::default();
            let credential = Credential::Anonymous;
            return Ok(Principal { tenant, device: None, credential, password: None });
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

#[cfg(test)]
mod tests {
    use revoq_credentials::{Fingerprint, Millis, Verifier};

    use super::*;

    fn password(client_id: Option<&str>) -> KnownPassword {
        KnownPassword {
            tenant: "acme".parse().expect("a name"),
            device: "pump".parse().expect("a name"),
            fingerprint: Fingerprint([7; 32]),
            verifier: Verifier::new(vec![1; 16], 4_096, [2; 32], [3; 32]).expect("in range"),
            client_id: client_id.map(str::to_owned),
        }
    }

    fn shown(tenant: &str, device: Option<&str>) -> Principal {
        let credential = match device {
            None => Credential::Anonymous,
            Some(_) => Credential::Certificate {
                fingerprint: Fingerprint([8; 32]),
                authority: None,
                not_after: Millis(9),
            },
        };
        let device = device.map(|device| device.parse().expect("a name"));
        Principal { tenant: tenant.parse().expect("a name"), device, credential, password: None }
    }

    #[test]
    fn a_password_says_who_it_is_and_contradicts_no_certificate() {
        let alone = with_password(shown("default", None), password(None), None).expect("alone");
        assert_eq!((alone.tenant.as_str(), alone.credential), ("acme", Credential::Anonymous));
        assert_eq!(alone.password, Some(Fingerprint([7; 32])));
        let beside = with_password(shown("acme", Some("pump")), password(None), None).expect("beside");
        let fingerprints: Vec<_> = beside.fingerprints().collect();
        assert_eq!(fingerprints, [Fingerprint([8; 32]), Fingerprint([7; 32])]);
        for (tenant, device) in [("acme", "valve"), ("default", "pump")] {
            let refused = with_password(shown(tenant, Some(device)), password(None), None);
            assert_eq!(refused.expect_err("another device").reason, ReasonCode::NotAuthorized);
        }
    }

    #[test]
    fn a_password_may_be_bound_to_a_client_id() {
        let of = |client_id: Option<&str>| {
            let client_id = client_id.map(|id| id.parse::<ClientId>().expect("a client id"));
            with_password(shown("default", None), password(Some("mine")), client_id.as_ref())
        };
        of(Some("mine")).expect("its own");
        for other in [Some("yours"), None] {
            let refused = of(other).expect_err("another");
            assert_eq!(refused.reason, ReasonCode::ClientIdentifierNotValid);
        }
    }
}
