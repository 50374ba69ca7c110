//! The mapping of errors to gRPC status codes; the one table of the control plane.
//!
//! Messages carry the field, the value and the remedy. What is broken inside a replica reaches its log and not the
//! caller.

use revoq_consensus::Error as Consensus;
use revoq_credentials::{NameError, Refusal};
use revoq_proto::convert::ConvertError;
use tonic::{Code, Status};
use tracing::error;

use crate::error::Error;

/// What a caller is answered.
pub(crate) fn status(error: Error) -> Status {
    let code = code(&error);
    if code == Code::Internal {
        error!(%error, "an internal error");
        return Status::internal("internal error; the replica's log says more");
    }
    Status::new(code, message(&error))
}

/// The code of each error.
pub(crate) fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } => Code::InvalidArgument,
        Error::NotFound { .. } => Code::NotFound,
        Error::Precondition(_) => Code::FailedPrecondition,
        Error::Limit { .. } => Code::ResourceExhausted,
        Error::Unavailable(_) => Code::Unavailable,
        Error::Refused(refusal) => refused(refusal),
        Error::Consensus(consensus) => replicated(consensus),
        Error::Read(_)
        | Error::Config { .. }
        | Error::File { .. }
        | Error::Corrupt { .. }
        | Error::Listen { .. }
        | Error::Join(_)
        | Error::Sealed
        | Error::Randomness
        | Error::Signing(_)
        | Error::Tls(_)
        | Error::Transport(_) => Code::Internal,
    }
}

fn refused(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NotFound { .. } => Code::NotFound,
        Refusal::Exists { .. } => Code::AlreadyExists,
        Refusal::Illegal { .. } | Refusal::Precondition { .. } => Code::FailedPrecondition,
        Refusal::Limit { .. } => Code::ResourceExhausted,
        Refusal::Invalid { .. } => Code::InvalidArgument,
        Refusal::TokenInvalid { .. } => Code::PermissionDenied,
    }
}

fn replicated(error: &Consensus) -> Code {
    match error {
        Consensus::NoLeader
        | Consensus::NotLeader { .. }
        | Consensus::Stopped(_)
        | Consensus::Late { .. } => Code::Unavailable,
        Consensus::Unknown(_) => Code::Unknown,
        Consensus::Refused { .. } => Code::ResourceExhausted,
        Consensus::Compacted { .. } => Code::OutOfRange,
        Consensus::Membership(_) => Code::FailedPrecondition,
        Consensus::Storage(_) | Consensus::Address { .. } | Consensus::Config(_) | Consensus::Peer(_) => {
            Code::Internal
        }
    }
}

fn message(error: &Error) -> String {
    match error {
        Error::Consensus(inner @ (Consensus::NoLeader | Consensus::NotLeader { .. })) => {
            format!("{inner}; nothing changed, try again in a second")
        }
        Error::Consensus(inner @ Consensus::Unknown(_)) => {
            format!("{inner}; the change may have happened: read before you try again")
        }
        other => other.to_string(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        status(error)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Error {
        Error::invalid(error.field, error.value, error.rule)
    }
}

impl From<ConvertError> for Error {
    fn from(error: ConvertError) -> Error {
        Error::invalid(error.field, error.value, error.remedy)
    }
}

impl From<revoq_credentials::Error> for Error {
    fn from(error: revoq_credentials::Error) -> Error {
        match error {
            revoq_credentials::Error::Read(error) => Error::Read(error),
            revoq_credentials::Error::Refused(refusal) => Error::Refused(refusal),
        }
    }
}
