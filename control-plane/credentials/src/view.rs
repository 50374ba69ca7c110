//! The view: a broker's read model of the credentials at a revision.
//!
//! A broker makes one [`from_snapshot`](View::from_snapshot), then feeds it each [`Event`] with
//! [`apply`](View::apply), which names the principals whose verdict may have changed. Clones share their maps, so
//! that a broker can publish a clone after each event and read it without a lock. There is no clock: `now` is an
//! argument.
//!
//! The view holds what is denied, not what exists. A certificate that an authority of ours issued is good unless it
//! is in the denied set; a registered leaf and a password were looked up by the broker before it asked here.

use std::fmt;

use imbl::OrdMap;

use crate::event::{AuthorityView, Change, Denial, Event};
use crate::ids::{Fingerprint, Millis, NodeId, Revision};
use crate::names::{AuthorityName, DeviceName, TenantName};
use crate::records::SealedTicketKeys;
use crate::settings::{ClientCertificate, Settings};
use crate::state::State;

/// Who a connection is, once authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Where it belongs.
    pub tenant: TenantName,
    /// Absent for an anonymous client.
    pub device: Option<DeviceName>,
    /// How it proved that in the handshake of the transport.
    pub credential: Credential,
    /// The password that it proved to know, besides a certificate or instead of one.
    pub password: Option<Fingerprint>,
}

impl Principal {
    /// Of the certificate that it showed.
    pub fn certificate(&self) -> Option<Fingerprint> {
        match &self.credential {
            Credential::Certificate { fingerprint, .. } => Some(*fingerprint),
            Credential::Anonymous => None,
        }
    }

    /// Of the credentials that it proved to have: its session falls with each of them.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + use<> {
        self.certificate().into_iter().chain(self.password)
    }
}

/// How a connection proved who it is in the handshake of the transport.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Not at all.
    Anonymous,
    /// By a client certificate.
    Certificate {
        /// Which.
        fingerprint: Fingerprint,
        /// Whose chain vouched for it; `None` for a registered leaf.
        authority: Option<AuthorityName>,
        /// Valid until, inclusive.
        not_after: Millis,
    },
}

/// Whether a principal may have a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not.
    Deny(Cause),
}

/// Why a principal may not have a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The certificate, or its device, is suspended, revoked or deleted.
    Certificate(State),
    /// The password, or its device, is suspended, revoked or deleted; suspended is also one that another replaced.
    Password(State),
    /// Its authority is suspended or revoked.
    Authority(State),
    /// Its tenant is suspended, revoked or deleted.
    Tenant(State),
    /// Its authority is not one of ours any more.
    AuthorityUnknown,
    /// The certificate or its authority has expired.
    Expired,
    /// It has no certificate, and `client_certificate` is required.
    CertificateRequired,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Certificate(state) => write!(f, "certificate {state}"),
            Cause::Password(state) => write!(f, "password {state}"),
            Cause::Authority(state) => write!(f, "authority {state}"),
            Cause::Tenant(state) => write!(f, "tenant {state}"),
            Cause::AuthorityUnknown => f.write_str("authority unknown"),
            Cause::Expired => f.write_str("certificate expired"),
            Cause::CertificateRequired => f.write_str("certificate required"),
        }
    }
}

/// Whose verdict may have changed: these sessions are to be judged again, and cached look-ups of them are void.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Affected {
    /// Everybody's.
    All,
    /// That of a credential; after a password was set, look-ups of its username.
    Credential(Fingerprint),
    /// Those of a tenant.
    Tenant(TenantName),
    /// Those of what an authority issued.
    Authority {
        /// Where it lives.
        tenant: TenantName,
        /// Its name.
        name: AuthorityName,
    },
    /// Whoever depends on a setting.
    Settings,
    /// Another node was removed.
    Node(NodeId),
}

/// The read model. Two views of the same state are equal, however they came to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    revision: Revision,
    tenants: OrdMap<TenantName, State>,
    authorities: OrdMap<(TenantName, AuthorityName), AuthorityView>,
    authority_names: OrdMap<Fingerprint, (TenantName, AuthorityName)>,
    denied: OrdMap<Fingerprint, Denial>,
    settings: Settings,
    ticket_keys: Option<SealedTicketKeys>,
}

impl View {
    /// Of an empty cluster: denies everything that has a tenant.
    pub fn new() -> View {
        View::default()
    }

    /// From all changes of a snapshot.
    pub fn from_snapshot(revision: Revision, changes: impl Iterator<Item = Change>) -> View {
        let mut view = View { revision, ..View::default() };
        for change in changes {
            view.change(&change);
        }
        view
    }

    /// The revision at which it stands.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Nothing of concern happened up to this revision.
    pub fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Applies an event, and says which principals to sweep. An event that is older than the view is passed over;
    /// one of the view's own revision is applied, as an event may come in parts.
    pub fn apply(&mut self, event: &Event) -> Vec<Affected> {
        if event.revision < self.revision {
            return Vec::new();
        }
        self.revision = event.revision;
        event.changes.iter().filter_map(|change| self.change(change)).collect()
    }

    /// Whom to sweep when the view was replaced by a snapshot: everybody.
    pub fn affected_by_snapshot(&self) -> Vec<Affected> {
        vec![Affected::All]
    }

    fn change(&mut self, change: &Change) -> Option<Affected> {
        match change {
            Change::Denied(denial) => {
                self.denied.insert(denial.fingerprint, *denial);
                Some(Affected::Credential(denial.fingerprint))
            }
            Change::Allowed(fingerprint) => {
                self.denied.remove(fingerprint);
                Some(Affected::Credential(*fingerprint))
            }
            Change::Registered(fingerprint) => Some(Affected::Credential(*fingerprint)),
            Change::Tenant { name, state: State::Deleted, .. } => {
                self.tenants.remove(name);
                Some(Affected::Tenant(name.clone()))
            }
            Change::Tenant { name, state, .. } => {
                self.tenants.insert(name.clone(), *state);
                Some(Affected::Tenant(name.clone()))
            }
            Change::Authority(authority) => Some(self.change_authority(authority)),
            Change::Setting { key, value } => {
                // A key or value of a newer control plane is none of this build's concern.
                let before = self.settings.clone();
                let _ = self.settings.set(key, Some(value));
                (self.settings != before).then_some(Affected::Settings)
            }
            Change::NodeRemoved(node) => Some(Affected::Node(*node)),
            Change::TicketKeys(keys) => {
                self.ticket_keys = Some(keys.clone());
                None
            }
        }
    }

    fn change_authority(&mut self, authority: &AuthorityView) -> Affected {
        let name = (authority.tenant.clone(), authority.name.clone());
        if let Some(before) = self.authorities.remove(&name) {
            self.authority_names.remove(&before.fingerprint);
        }
        if authority.state != State::Deleted {
            self.authority_names.insert(authority.fingerprint, name.clone());
            self.authorities.insert(name.clone(), authority.clone());
        }
        Affected::Authority { tenant: name.0, name: name.1 }
    }

    /// Whether a principal may have a session now. The first of these that denies it is the cause: tenant,
    /// password, authority, certificate, expiry, the setting `client_certificate`.
    pub fn verdict(&self, principal: &Principal, now: Millis) -> Verdict {
        match self.judge(principal, now) {
            Ok(()) => Verdict::Allow,
            Err(cause) => Verdict::Deny(cause),
        }
    }

    fn judge(&self, principal: &Principal, now: Millis) -> Result<(), Cause> {
        let tenant = self.tenants.get(&principal.tenant).copied().unwrap_or(State::Deleted);
        refuse(tenant, Cause::Tenant)?;
        if let Some(denial) = principal.password.and_then(|password| self.denied.get(&password)) {
            return Err(Cause::Password(denial.state));
        }
        let Credential::Certificate { fingerprint, authority, not_after } = &principal.credential else {
            return match self.settings.client_certificate {
                ClientCertificate::Required => Err(Cause::CertificateRequired),
                ClientCertificate::Off | ClientCertificate::Optional => Ok(()),
            };
        };
        let mut not_after = *not_after;
        if let Some(name) = authority {
            let key = (principal.tenant.clone(), name.clone());
            let authority = self.authorities.get(&key).ok_or(Cause::AuthorityUnknown)?;
            refuse(authority.state, Cause::Authority)?;
            not_after = not_after.min(authority.not_after);
        }
        if let Some(denial) = self.denied.get(fingerprint) {
            return Err(Cause::Certificate(denial.state));
        }
        if now > not_after { Err(Cause::Expired) } else { Ok(()) }
    }

    /// By tenant and name.
    pub fn authorities(&self) -> impl Iterator<Item = &AuthorityView> {
        self.authorities.values()
    }

    /// The authority whose certificate has this fingerprint.
    pub fn authority_by_fingerprint(&self, fingerprint: &Fingerprint) -> Option<&AuthorityView> {
        self.authorities.get(self.authority_names.get(fingerprint)?)
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The keys of TLS session tickets, as they came.
    pub fn ticket_keys(&self) -> Option<&SealedTicketKeys> {
        self.ticket_keys.as_ref()
    }

    /// The state of a tenant; `None` where there is none.
    pub fn tenant(&self, name: &TenantName) -> Option<State> {
        self.tenants.get(name).copied()
    }

    /// Why a credential is denied by itself or its device.
    pub fn denied(&self, fingerprint: &Fingerprint) -> Option<&Denial> {
        self.denied.get(fingerprint)
    }

    /// The size of the denied set.
    pub fn denied_len(&self) -> usize {
        self.denied.len()
    }
}

fn refuse(state: State, cause: impl Fn(State) -> Cause) -> Result<(), Cause> {
    if state.is_denied() { Err(cause(state)) } else { Ok(()) }
}
