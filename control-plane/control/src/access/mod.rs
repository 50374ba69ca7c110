//! The door: who calls, and whether they may. A layer around all services, so that none can be forgotten.

mod caller;
mod refusals;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use revoq_credentials::{AuditEntry, Millis, NodeKind, ReadError, Reader, Role, query};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::error::Error;
use crate::listener::PeerInfo;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::roles::{self, Requirement};
use crate::signer::ClusterRole;
use crate::tls::PeerCertificate;

pub(crate) use caller::{Caller, caller};
use refusals::Refusals;

/// A replica whose certificate was made less than this after the newest entry we have applied may have joined
/// without our knowing yet.
const JOINING_MS: u64 = 60_000;
/// The audited action of a join.
const JOIN: &str = "node.join";
/// So many audit entries are looked through for a join, a page at a time.
const JOIN_PAGE: u64 = 256;
const JOIN_PAGES_MAX: usize = 16;

/// Decides about each call.
pub(crate) struct Access {
    plane: Arc<Plane>,
    metrics: Arc<Metrics>,
    refusals: Refusals,
}

impl Access {
    pub(crate) fn new(plane: Arc<Plane>, metrics: Arc<Metrics>) -> Access {
        Access { plane, metrics, refusals: Refusals::default() }
    }

    /// Who calls `path`, if they may.
    pub(crate) fn decide(&self, path: &str, peer: Option<&PeerCertificate>) -> Result<Caller, Status> {
        // The server itself answers for methods that do not exist.
        let Some(requirement) = roles::requirement(path) else { return Ok(Caller::Anonymous) };
        let decision = self.identify(requirement, peer).and_then(|caller| permit(path, requirement, caller));
        match &decision {
            Ok(_) => self.metrics.call(path),
            Err(refused) => self.refused(path, peer, refused),
        }
        decision
    }

    fn identify(&self, requirement: Requirement, peer: Option<&PeerCertificate>) -> Result<Caller, Status> {
        let Some(peer) = peer else { return Ok(Caller::Anonymous) };
        let now = self.plane.clock.now();
        if peer.not_after < now {
            return Err(Status::unauthenticated(format!(
                "the client certificate of \"{}\" (fingerprint {}) expired at {}; {}",
                peer.name,
                peer.fingerprint,
                peer.not_after,
                remedy(peer.role)
            )));
        }
        let reader = self.plane.stale_read()?;
        let caller = match peer.role {
            Some(ClusterRole::Administrator(_)) => administrator(&reader, peer),
            Some(ClusterRole::Broker) => node(&reader, peer, NodeKind::Broker),
            Some(ClusterRole::Replica) => replica(&reader, peer),
            None => Ok(None),
        };
        if let Some(caller) = caller.map_err(Error::from)? {
            return Ok(caller);
        }
        let founded = query::cluster(&reader).map_err(Error::from)?.is_some();
        if !founded && requirement != Requirement::Replica {
            return Err(Status::unavailable(
                "this replica has not caught up with the cluster yet; try another",
            ));
        }
        Err(Status::unauthenticated(format!(
            "the client certificate of \"{}\" (fingerprint {}) is not, or no longer, known to the cluster; {}",
            peer.name,
            peer.fingerprint,
            remedy(peer.role)
        )))
    }

    fn refused(&self, path: &str, peer: Option<&PeerCertificate>, refused: &Status) {
        let code = match refused.code() {
            Code::PermissionDenied => "permission_denied",
            Code::Unauthenticated => "unauthenticated",
            _ => return,
        };
        self.metrics.refusal(code);
        // Anybody can call without a certificate: that fills no log.
        if let Some(peer) = peer {
            self.refusals.record(&self.plane, actor(peer), path, code, refused.message());
        }
    }

    /// Whether an administrator may still listen to a stream that it opened.
    pub(crate) fn recheck(&self, caller: &Caller) -> Result<(), Status> {
        let Caller::Administrator { name, .. } = caller else { return Ok(()) };
        let row = query::administrator(&self.plane.stale_read()?, name).map_err(Error::from)?;
        match row {
            Some(row) if row.not_after >= self.plane.clock.now() => Ok(()),
            _ => Err(Status::unauthenticated(format!(
                "the client certificate of \"{name}\" has expired or was removed; {}",
                remedy(Some(ClusterRole::Administrator(Role::Auditor)))
            ))),
        }
    }

    /// Audits what a handler refused for who the caller is.
    pub(crate) fn denied(&self, caller: &Caller, action: &str, refused: &Status) {
        self.metrics.refusal("permission_denied");
        self.refusals.record(&self.plane, caller.to_string(), action, "permission_denied", refused.message());
    }
}

fn actor(peer: &PeerCertificate) -> String {
    match peer.role {
        Some(ClusterRole::Replica) => format!("replica {}", peer.name),
        Some(ClusterRole::Broker) => format!("broker {}", peer.name),
        _ => peer.name.clone(),
    }
}

fn remedy(role: Option<ClusterRole>) -> &'static str {
    match role {
        Some(ClusterRole::Administrator(_)) => {
            "ask another administrator for a new one (`revoqctl administrator issue`)"
        }
        Some(_) => "let the node join again with a new token (`revoqctl cluster join`)",
        None => "use a certificate of an administrator or a node",
    }
}

fn administrator(reader: &dyn Reader, peer: &PeerCertificate) -> Result<Option<Caller>, ReadError> {
    let row = query::administrator_by_fingerprint(reader, &peer.fingerprint)?;
    Ok(row.map(|row| Caller::Administrator { name: row.name, role: row.role }))
}

fn node(reader: &dyn Reader, peer: &PeerCertificate, kind: NodeKind) -> Result<Option<Caller>, ReadError> {
    let row = query::node_by_fingerprint(reader, &peer.fingerprint)?.filter(|row| row.kind == kind);
    Ok(row.map(|row| match kind {
        NodeKind::Broker => Caller::Broker { node: row.id, name: row.name },
        NodeKind::Replica => Caller::Replica { name: row.name.to_string() },
    }))
}

/// Replicas bring each other up to date, so one that we do not know may know more than we do: it is refused only
/// when our own state is newer than its certificate.
fn replica(reader: &dyn Reader, peer: &PeerCertificate) -> Result<Option<Caller>, ReadError> {
    if let Some(caller) = node(reader, peer, NodeKind::Replica)? {
        return Ok(Some(caller));
    }
    let issued = peer.not_before.plus(crate::signer::BACKDATED_MS);
    let may_be_new = newest_entry(reader)? <= issued.plus(JOINING_MS) && !has_joined(reader, peer, issued)?;
    Ok(may_be_new.then(|| Caller::Replica { name: peer.name.clone() }))
}

/// When the newest entry that we have applied was made.
fn newest_entry(reader: &dyn Reader) -> Result<Millis, ReadError> {
    let Some(head) = query::audit_head(reader)? else { return Ok(Millis(0)) };
    Ok(query::audit(reader, head.number - 1, 1)?.first().map_or(Millis(0), |entry| entry.time))
}

/// Whether we have applied that the replica joined: being unknown, it has been removed since. The entries since it was
/// issued its certificate tell, give or take the difference of clocks.
fn has_joined(reader: &dyn Reader, peer: &PeerCertificate, issued: Millis) -> Result<bool, ReadError> {
    let Some(head) = query::audit_head(reader)? else { return Ok(false) };
    let fingerprint = peer.fingerprint.to_string();
    let mut end = head.number;
    for _ in 0..JOIN_PAGES_MAX {
        let after = end.saturating_sub(JOIN_PAGE);
        let entries = query::audit(reader, after, usize::try_from(end - after).unwrap_or(usize::MAX))?;
        let joined = |entry: &AuditEntry| {
            entry.action == JOIN && entry.outcome == "ok" && entry.detail.contains(&fingerprint)
        };
        if entries.iter().any(joined) {
            return Ok(true);
        }
        let older = entries.first().is_none_or(|entry| entry.time.plus(JOINING_MS) < issued);
        if older || after == 0 {
            return Ok(false);
        }
        end = after;
    }
    // Too much has happened since: it is let in once we know of it.
    Ok(true)
}

fn permit(path: &str, requirement: Requirement, caller: Caller) -> Result<Caller, Status> {
    let permitted = match (requirement, &caller) {
        (Requirement::Anyone, _)
        | (Requirement::Replica, Caller::Replica { .. })
        | (Requirement::Broker, Caller::Broker { .. }) => true,
        (Requirement::AtLeast(needed), Caller::Administrator { role, .. }) => roles::suffices(*role, needed),
        _ => false,
    };
    if permitted {
        return Ok(caller);
    }
    let method = path.trim_start_matches('/').trim_start_matches("revoq.v1.").replace('/', ".");
    let needed = match requirement {
        Requirement::Anyone => "nobody in particular".to_owned(),
        Requirement::Replica => "a replica".to_owned(),
        Requirement::Broker => "a broker node".to_owned(),
        Requirement::AtLeast(role) => format!("the role {role}"),
    };
    Err(match caller {
        Caller::Anonymous => Status::unauthenticated(format!(
            "{method} needs {needed} and the call came without a client certificate; \
             give one, for example with `revoqctl context`"
        )),
        caller => Status::permission_denied(format!(
            "{method} needs {needed} and {} is {}; ask somebody who may",
            caller,
            caller.kind()
        )),
    })
}

/// Puts the door around a service.
#[derive(Clone)]
pub(crate) struct AccessLayer {
    pub(crate) access: Arc<Access>,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { access: Arc::clone(&self.access), inner }
    }
}

/// A service behind the door.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    access: Arc<Access>,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().and_then(|info| info.certificate.clone());
        match self.access.decide(request.uri().path(), peer.as_deref()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Box::pin(self.inner.call(request))
            }
            Err(refused) => Box::pin(async move { Ok(refused.into_http()) }),
        }
    }
}
