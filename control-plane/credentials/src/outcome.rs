//! What a command comes to: an outcome, or a refusal that says what to do about it.

use minicbor::{Decode, Encode};

use crate::ids::{CertificateId, Millis, NodeId, Revision};
use crate::names::{NameError, shorten};
use crate::state::State;
use crate::store::ReadError;

/// A command that was carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    /// Wait for its fence to know the change effective everywhere.
    #[n(0)]
    pub revision: Revision,
    /// Rows that changed. Of a transition, certificates: those whose own state changed; for a device, those whose
    /// effective state changed; for a tenant or an authority, those below it.
    #[n(1)]
    pub changed: u64,
    /// Matched, and in the wanted state already or beyond it.
    #[n(2)]
    pub unchanged: u64,
    /// The node that was added.
    #[n(3)]
    pub node: Option<NodeId>,
    /// The certificate that was added.
    #[n(4)]
    pub certificate: Option<CertificateId>,
    /// When it was carried out; a certificate that was added was issued then.
    #[n(5)]
    pub time: Millis,
}

/// A command that was refused. It changed nothing and left an audit entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Refusal {
    /// Something that was named is not there.
    #[error("there is no {what} `{value}`")]
    #[n(0)]
    NotFound {
        /// Its kind.
        #[n(0)]
        what: String,
        /// Its name.
        #[n(1)]
        value: String,
    },
    /// Something to be created is there already.
    #[error("{what} `{value}` exists already; {remedy}")]
    #[n(1)]
    Exists {
        /// Its kind.
        #[n(0)]
        what: String,
        /// Its name.
        #[n(1)]
        value: String,
        /// What to do.
        #[n(2)]
        remedy: String,
    },
    /// A transition that the state does not allow.
    #[error("{subject} is {from} and cannot become {to}")]
    #[n(2)]
    Illegal {
        /// What was to change.
        #[n(0)]
        subject: String,
        /// Its state.
        #[n(1)]
        from: State,
        /// The state that was asked for.
        #[n(2)]
        to: State,
    },
    /// A named limit is reached.
    #[error("the limit {name} of {limit} is reached; {remedy}")]
    #[n(3)]
    Limit {
        /// The limit's name; see [`limits`](crate::limits).
        #[n(0)]
        name: String,
        /// Its value.
        #[n(1)]
        limit: u64,
        /// What to do.
        #[n(2)]
        remedy: String,
    },
    /// A value that cannot be.
    #[error("{field} `{value}` is not valid: {remedy}")]
    #[n(4)]
    Invalid {
        /// Which.
        #[n(0)]
        field: String,
        /// The value, cut after 64 characters.
        #[n(1)]
        value: String,
        /// What a valid one is.
        #[n(2)]
        remedy: String,
    },
    /// A join token that is unknown, expired, used up, or of another kind.
    #[error("the join token {problem}; make a new one with `revoqctl cluster join`")]
    #[n(5)]
    TokenInvalid {
        /// What is wrong with it.
        #[n(0)]
        problem: String,
    },
    /// The values are good, but the state of something else forbids it.
    #[error("{subject} {problem}; {remedy}")]
    #[n(6)]
    Precondition {
        /// What stands in the way.
        #[n(0)]
        subject: String,
        /// How.
        #[n(1)]
        problem: String,
        /// What to do.
        #[n(2)]
        remedy: String,
    },
}

impl Refusal {
    /// The outcome in the audit log.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotFound { .. } => "not_found",
            Refusal::Exists { .. } => "exists",
            Refusal::Illegal { .. } => "illegal_transition",
            Refusal::Limit { .. } => "limit",
            Refusal::Invalid { .. } => "invalid",
            Refusal::TokenInvalid { .. } => "token_invalid",
            Refusal::Precondition { .. } => "failed_precondition",
        }
    }

    pub(crate) fn not_found(what: &str, value: &(impl ToString + ?Sized)) -> Refusal {
        Refusal::NotFound { what: what.to_owned(), value: value.to_string() }
    }

    pub(crate) fn exists(what: &str, value: &(impl ToString + ?Sized), remedy: impl Into<String>) -> Refusal {
        Refusal::Exists { what: what.to_owned(), value: value.to_string(), remedy: remedy.into() }
    }

    pub(crate) fn invalid(
        field: &str,
        value: &(impl ToString + ?Sized),
        remedy: impl Into<String>,
    ) -> Refusal {
        Refusal::Invalid {
            field: field.to_owned(),
            value: shorten(&value.to_string()),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn limit(name: &str, limit: u64, remedy: impl Into<String>) -> Refusal {
        Refusal::Limit { name: name.to_owned(), limit, remedy: remedy.into() }
    }

    pub(crate) fn token(problem: impl Into<String>) -> Refusal {
        Refusal::TokenInvalid { problem: problem.into() }
    }

    pub(crate) fn precondition(
        subject: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Refusal {
        Refusal::Precondition { subject: subject.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Refusal {
        Refusal::invalid(error.field, &error.value, error.rule)
    }
}

/// Why a query gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is at fault.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The one who asked is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
}
