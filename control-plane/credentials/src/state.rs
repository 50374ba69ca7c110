//! The states of credentials, and the transitions between them.
//!
//! ```text
//!     inactive ──first authentication──▶ active ──suspend──▶ suspended ──reactivate──▶ (the state before)
//!         └──────────── suspend ─────────────────▶ ┘
//!     inactive, active, suspended ── revoke(reason) ──▶ revoked        any ── delete ──▶ deleted
//! ```
//!
//! Certificates begin inactive. Devices, authorities and tenants have no first use and begin active.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::codec::numbered;

/// A state. Ordered from good to bad, so that the worse of two is their maximum once both are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Registered, never used. Authenticates; the first success makes it active.
    Inactive,
    /// In use.
    Active,
    /// Refused until it is reactivated.
    Suspended,
    /// Refused for ever.
    Revoked,
    /// Removed.
    Deleted,
}

impl State {
    /// All, from good to bad.
    pub const ALL: [State; 5] =
        [State::Inactive, State::Active, State::Suspended, State::Revoked, State::Deleted];

    /// The number in rows and on the wire.
    pub fn code(self) -> u8 {
        match self {
            State::Inactive => 1,
            State::Active => 2,
            State::Suspended => 3,
            State::Revoked => 4,
            State::Deleted => 5,
        }
    }

    /// The state of a number.
    pub fn from_code(code: u8) -> Option<State> {
        State::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether it keeps its owner out.
    pub fn is_denied(self) -> bool {
        self >= State::Suspended
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Inactive => "inactive",
            State::Active => "active",
            State::Suspended => "suspended",
            State::Revoked => "revoked",
            State::Deleted => "deleted",
        })
    }
}

numbered!(State, "state");

/// Why a certificate was revoked (RFC 5280 section 5.3.1; the numbers are those of `CRLReason`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "RFC 5280 defines them")]
pub enum RevocationReason {
    #[default]
    Unspecified = 0,
    KeyCompromise = 1,
    CaCompromise = 2,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5,
    CertificateHold = 6,
    PrivilegeWithdrawn = 9,
    AaCompromise = 10,
}

impl RevocationReason {
    /// All.
    pub const ALL: [RevocationReason; 9] = [
        RevocationReason::Unspecified,
        RevocationReason::KeyCompromise,
        RevocationReason::CaCompromise,
        RevocationReason::AffiliationChanged,
        RevocationReason::Superseded,
        RevocationReason::CessationOfOperation,
        RevocationReason::CertificateHold,
        RevocationReason::PrivilegeWithdrawn,
        RevocationReason::AaCompromise,
    ];

    /// The number of `CRLReason`.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The reason of a number.
    pub fn from_code(code: u8) -> Option<RevocationReason> {
        RevocationReason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for RevocationReason {
    /// As RFC 5280 spells it: `keyCompromise`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RevocationReason::Unspecified => "unspecified",
            RevocationReason::KeyCompromise => "keyCompromise",
            RevocationReason::CaCompromise => "cACompromise",
            RevocationReason::AffiliationChanged => "affiliationChanged",
            RevocationReason::Superseded => "superseded",
            RevocationReason::CessationOfOperation => "cessationOfOperation",
            RevocationReason::CertificateHold => "certificateHold",
            RevocationReason::PrivilegeWithdrawn => "privilegeWithdrawn",
            RevocationReason::AaCompromise => "aACompromise",
        })
    }
}

numbered!(RevocationReason, "revocation reason");

/// A change of state that an administrator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Transition {
    /// Refuse until reactivated.
    #[n(0)]
    Suspend,
    /// Undo a suspension.
    #[n(1)]
    Reactivate,
    /// Refuse for ever.
    #[n(2)]
    Revoke(#[n(0)] RevocationReason),
    /// Remove.
    #[n(3)]
    Delete,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Transition::Suspend => "suspend",
            Transition::Reactivate => "reactivate",
            Transition::Revoke(_) => "revoke",
            Transition::Delete => "delete",
        })
    }
}

/// A transition that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{from} cannot become {to}")]
pub struct IllegalTransition {
    /// The state that it has.
    pub from: State,
    /// The state that was asked for; of a reactivation, active.
    pub to: State,
}

/// A state and what belongs to it. Only legal combinations exist: `before_suspension` is there exactly when the
/// state is suspended, and is inactive or active; a `reason` is there when it is revoked, and stays when
/// something revoked is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Status {
    /// The state.
    pub state: State,
    /// What a reactivation goes back to.
    pub before_suspension: Option<State>,
    /// Why it was revoked.
    pub reason: Option<RevocationReason>,
}

impl Status {
    /// A certificate that was never used.
    pub const INACTIVE: Status = Status { state: State::Inactive, before_suspension: None, reason: None };

    /// In use; where devices, authorities and tenants begin.
    pub const ACTIVE: Status = Status { state: State::Active, before_suspension: None, reason: None };

    /// From its parts; `None` where they do not go together.
    pub fn from_parts(
        state: State,
        before_suspension: Option<State>,
        reason: Option<RevocationReason>,
    ) -> Option<Status> {
        let legal = match state {
            State::Inactive | State::Active => before_suspension.is_none() && reason.is_none(),
            State::Suspended => {
                matches!(before_suspension, Some(State::Inactive | State::Active)) && reason.is_none()
            }
            State::Revoked => before_suspension.is_none() && reason.is_some(),
            State::Deleted => before_suspension.is_none(),
        };
        legal.then_some(Status { state, before_suspension, reason })
    }

    /// The status after a transition.
    pub fn apply(self, transition: Transition) -> Result<Status, IllegalTransition> {
        let illegal = |to| Err(IllegalTransition { from: self.state, to });
        match (transition, self.state) {
            (Transition::Suspend, State::Inactive | State::Active) => {
                Ok(Status { state: State::Suspended, before_suspension: Some(self.state), reason: None })
            }
            (Transition::Suspend, _) => illegal(State::Suspended),
            (Transition::Reactivate, State::Suspended) => Ok(Status {
                state: self.before_suspension.unwrap_or(State::Active),
                before_suspension: None,
                reason: None,
            }),
            (Transition::Reactivate, _) => illegal(State::Active),
            (Transition::Revoke(_), State::Revoked | State::Deleted) => illegal(State::Revoked),
            (Transition::Revoke(reason), _) => {
                Ok(Status { state: State::Revoked, before_suspension: None, reason: Some(reason) })
            }
            (Transition::Delete, State::Deleted) => illegal(State::Deleted),
            (Transition::Delete, _) => {
                Ok(Status { state: State::Deleted, before_suspension: None, reason: self.reason })
            }
        }
    }

    /// The status after a successful authentication, where that changes it. A report of use may arrive after
    /// the suspension; it then changes what a reactivation goes back to.
    #[must_use]
    pub fn used(self) -> Option<Status> {
        match (self.state, self.before_suspension) {
            (State::Inactive, _) => Some(Status::ACTIVE),
            (State::Suspended, Some(State::Inactive)) => {
                Some(Status { before_suspension: Some(State::Active), ..self })
            }
            _ => None,
        }
    }
}

#[derive(Encode, Decode)]
struct Parts {
    #[n(0)]
    state: State,
    #[n(1)]
    before_suspension: Option<State>,
    #[n(2)]
    reason: Option<RevocationReason>,
}

impl<C> Encode<C> for Status {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), encode::Error<W::Error>> {
        Parts { state: self.state, before_suspension: self.before_suspension, reason: self.reason }
            .encode(e, c)
    }
}

impl<'b, C> Decode<'b, C> for Status {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        let parts = Parts::decode(d, c)?;
        Status::from_parts(parts.state, parts.before_suspension, parts.reason)
            .ok_or_else(|| decode::Error::message("a status of parts that do not go together"))
    }
}
