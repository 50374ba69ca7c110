//! Enhanced authentication by SCRAM-SHA-256: of a client that connects, and of one that is let in and authenticates
//! again. The password is looked up meanwhile, and everything else goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use revoq_credentials::{TenantName, Username};
use revoq_mqtt::ReasonCode;
use revoq_session::{AuthenticationAnswer, AuthenticationRequest};

use super::Connection;
use crate::admission::{Arrival, note_use, principal};
use crate::clock::{self, Now};
use crate::lookup::{FoundPassword, KnownPassword, NoAnswer};
use crate::node::Node;
use crate::scram::{self, ClientFirst};

/// Bytes of our part of the nonce.
const NONCE_BYTES: usize = 18;

/// How far an exchange is.
pub(super) enum Exchange {
    LookingUp(BoxFuture<'static, Result<Challenged, ReasonCode>>),
    Challenged(Challenged),
    Proven(KnownPassword),
}

/// The challenge is made.
pub(super) struct Challenged {
    scram: scram::Exchange,
    challenge: Bytes,
    password: Arc<FoundPassword>,
}

/// Where a username belongs that names no tenant.
enum Home {
    /// To the tenant of the client, once it is let in, ...
    Tenant(TenantName),
    /// ... and before to that of its certificate.
    Arrival(Arc<Arrival>),
}

impl Exchange {
    pub(super) fn proven(self) -> Option<KnownPassword> {
        match self {
            Exchange::Proven(password) => Some(password),
            Exchange::LookingUp(_) | Exchange::Challenged(_) => None,
        }
    }
}

impl Connection {
    pub(super) fn authenticate(&mut self, now: Now, request: &AuthenticationRequest) {
        let answer =
            if request.begins { self.begin(&request.data) } else { Some(self.go_on(now, &request.data)) };
        if let Some(answer) = answer {
            self.session.handle_authentication(clock::tick(now), answer);
        }
    }

    /// `None`: the answer comes when the password is looked up.
    fn begin(&mut self, data: &Bytes) -> Option<AuthenticationAnswer> {
        self.exchange = None;
        let home = match (&self.attached, &self.arrival) {
            (Some(attached), _) => Home::Tenant(attached.registered.entry().principal.tenant.clone()),
            (None, Some(arrival)) => Home::Arrival(arrival.clone()),
            (None, None) => Home::Tenant(TenantName::default()),
        };
        if ClientFirst::parse(data).is_none() {
            self.node.metrics.authentications.malformed.inc();
            return Some(AuthenticationAnswer::Failure(ReasonCode::NotAuthorized));
        }
        let looking_up = look_up(self.node.clone(), home, data.clone()).boxed();
        self.exchange = Some(Box::new(Exchange::LookingUp(looking_up)));
        None
    }

    fn go_on(&mut self, now: Now, data: &Bytes) -> AuthenticationAnswer {
        let refused = AuthenticationAnswer::Failure(ReasonCode::NotAuthorized);
        let Some(Exchange::Challenged(challenged)) = self.exchange.take().map(|exchange| *exchange) else {
            return refused;
        };
        let Some((proof, known)) = challenged.verify(data) else {
            self.node.metrics.authentications.wrong.inc();
            return refused;
        };
        if let Some(attached) = &self.attached {
            // Who it is does not change: the registry has it by that.
            let principal = &attached.registered.entry().principal;
            if principal.password != Some(known.fingerprint) {
                self.node.metrics.authentications.wrong.inc();
                return refused;
            }
            note_use(&self.node, principal, now);
        } else {
            self.exchange = Some(Box::new(Exchange::Proven(known)));
        }
        self.node.metrics.authentications.proven.inc();
        AuthenticationAnswer::Success(Some(proof))
    }

    /// True if a look-up came to its end.
    pub(super) fn poll_exchange(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let Some(Exchange::LookingUp(looking_up)) = self.exchange.as_deref_mut() else { return false };
        let Poll::Ready(found) = Pin::new(looking_up).poll(cx) else { return false };
        let answer = match found {
            Ok(challenged) => {
                let challenge = challenged.challenge.clone();
                self.exchange = Some(Box::new(Exchange::Challenged(challenged)));
                AuthenticationAnswer::Continue(challenge)
            }
            Err(reason) => {
                self.exchange = None;
                self.node.metrics.authentications.no_answer.inc();
                AuthenticationAnswer::Failure(reason)
            }
        };
        self.session.handle_authentication(clock::tick(now), answer);
        true
    }
}

impl Challenged {
    /// The server's last message, and whose password it is. Names without a password cost the same.
    fn verify(self, last: &[u8]) -> Option<(Bytes, KnownPassword)> {
        let nobodys = [0; 32];
        let verifier = self.password.known.as_ref().map(|known| &known.verifier);
        let (stored_key, server_key) =
            verifier.map_or((&nobodys, &nobodys), |verifier| (verifier.stored_key(), verifier.server_key()));
        let proof = self.scram.verify(last, stored_key, server_key)?;
        Some((proof, self.password.known.clone()?))
    }
}

/// Makes the challenge for a client's first message, which was found to be sound.
async fn look_up(node: Arc<Node>, home: Home, data: Bytes) -> Result<Challenged, ReasonCode> {
    let first = ClientFirst::parse(&data).ok_or(ReasonCode::NotAuthorized)?;
    let password = match name(&node, home, &first.username).await {
        Some((tenant, username)) => {
            let found =
                node.lookups.find_password(&tenant, &username, clock::now().boot, &node.metrics).await;
            found.map_err(|no_answer| match no_answer {
                NoAnswer::Busy => ReasonCode::ServerBusy,
                NoAnswer::Unavailable => ReasonCode::ServerUnavailable,
            })?
        }
        None => Arc::new(FoundPassword::impossible(&first.username)),
    };
    let mut nonce = [0; NONCE_BYTES];
    rand::fill(&mut nonce).map_err(|_| ReasonCode::UnspecifiedError)?;
    let nonce = STANDARD.encode(nonce);
    let (scram, challenge) = scram::Exchange::challenge(&first, &nonce, &password.salt, password.iterations);
    Ok(Challenged { scram, challenge, password })
}

/// `tenant/username`, or a username of the tenant at home; `None` for what cannot be one.
async fn name(node: &Node, home: Home, text: &str) -> Option<(TenantName, Username)> {
    if let Some((tenant, username)) = text.split_once('/') {
        return Some((tenant.parse().ok()?, username.parse().ok()?));
    }
    let username = text.parse().ok()?;
    let tenant = match home {
        Home::Tenant(tenant) => tenant,
        // Whoever shows what is not accepted is refused in the end.
        Home::Arrival(arrival) => {
            let shown = principal(node, &arrival.evidence).await;
            shown.map_or_else(|_| TenantName::default(), |principal| principal.tenant)
        }
    };
    Some((tenant, username))
}
