//! Events: what a command changed, as brokers need to know it.
//!
//! Every command that an administrator, a node or the control plane itself carries out has an event, also where no
//! broker is concerned (`changes` is then empty): `revoqctl watch` shows them. Reports of use, refusals and
//! transitions that changed nothing have none.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::ids::{Fingerprint, Millis, NodeId, Revision};
use crate::names::{AuthorityName, TenantName};
use crate::records::{Authority, SealedTicketKeys};
use crate::state::{RevocationReason, State};

/// What one command changed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// The command's position in the log.
    #[n(0)]
    pub revision: Revision,
    /// When it was proposed.
    #[n(1)]
    pub time: Millis,
    /// Who asked.
    #[n(2)]
    pub actor: String,
    /// What was asked; [`Operation::action`](crate::Operation::action).
    #[n(3)]
    pub action: String,
    /// In the order in which they are to be applied.
    #[n(4)]
    pub changes: Vec<Change>,
}

impl Event {
    /// For the change row.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// From the change row.
    pub fn decode(bytes: &[u8]) -> Result<Event, minicbor::decode::Error> {
        codec::decode(bytes)
    }
}

/// One change of what brokers hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Change {
    /// A credential is denied, by its own state or its device's.
    #[n(0)]
    Denied(#[n(0)] Denial),
    /// A credential is not in the denied set any more: reactivated, registered anew, or long expired and
    /// forgotten.
    #[n(1)]
    Allowed(#[n(0)] Fingerprint),
    /// A tenant was created or changed its state; deleted: gone.
    #[n(2)]
    Tenant {
        /// Its name.
        #[n(0)]
        name: TenantName,
        /// Its new state.
        #[n(1)]
        state: State,
        /// When it was created.
        #[n(2)]
        created: Millis,
    },
    /// An authority was created or changed its state; deleted: gone.
    #[n(3)]
    Authority(#[n(0)] AuthorityView),
    /// The effective value of a setting.
    #[n(4)]
    Setting {
        /// Which.
        #[n(0)]
        key: String,
        /// The value in force.
        #[n(1)]
        value: String,
    },
    /// A certificate was added, or a password set, which is named by its
    /// [`look_up_key`](crate::Password::look_up_key): look-ups of it that a broker has cached are void.
    #[n(5)]
    Registered(#[n(0)] Fingerprint),
    /// A node was removed: its sessions and links are to be cut.
    #[n(6)]
    NodeRemoved(#[n(0)] NodeId),
    /// New keys for TLS session tickets.
    #[n(7)]
    TicketKeys(#[n(0)] SealedTicketKeys),
}

/// A member of the denied set. The state is the credential's effective one: the worse of its own and its device's.
/// The password that another one of the same username replaced is in it as suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Denial {
    /// Whose.
    #[n(0)]
    pub fingerprint: Fingerprint,
    /// Suspended, revoked or deleted.
    #[n(1)]
    pub state: State,
    /// Where it was revoked.
    #[n(2)]
    pub reason: Option<RevocationReason>,
    /// When the certificate expires, and needs no denial any more; of a password that is deleted or replaced, since
    /// when it is. Other passwords do not expire.
    #[n(3)]
    pub not_after: Millis,
}

/// An authority as brokers hold it: without the key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuthorityView {
    /// Where it lives.
    #[n(0)]
    pub tenant: TenantName,
    /// Its name.
    #[n(1)]
    pub name: AuthorityName,
    /// Its state.
    #[n(2)]
    pub state: State,
    /// Its certificate.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub der: Vec<u8>,
    /// SHA-256 of the DER.
    #[n(4)]
    pub fingerprint: Fingerprint,
    /// Valid from.
    #[n(5)]
    pub not_before: Millis,
    /// Valid until, inclusive.
    #[n(6)]
    pub not_after: Millis,
    /// When it was created.
    #[n(7)]
    pub created: Millis,
    /// False for a trusted external authority, whose key we do not have.
    #[n(8)]
    pub signs: bool,
}

impl From<&Authority> for AuthorityView {
    fn from(authority: &Authority) -> AuthorityView {
        AuthorityView {
            tenant: authority.tenant.clone(),
            name: authority.name.clone(),
            state: authority.status.state,
            der: authority.der.clone(),
            fingerprint: authority.fingerprint,
            not_before: authority.not_before,
            not_after: authority.not_after,
            created: authority.created,
            signs: authority.sealed_key.is_some(),
        }
    }
}
