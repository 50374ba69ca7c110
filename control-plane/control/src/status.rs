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

/// What everybody is told by a replica that has stopped by itself.
pub(crate) const STOPPED: &str = "this replica has stopped; another one serves";

/// What a caller is answered.
#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
pub(crate) fn status(error: Error) -> Status {
    let code = code(&error);
    if code == Code::Internal {
        error!(%error, "an internal error");
        return Status::internal("internal error; the replica's log says more");
    }
    Status::new(code, message(&error))
}

/// The code of each error.
fn code(error: &Error) -> Code {
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
        | Error::StateGone { .. }
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
        | Consensus::Disk { .. }
        | Consensus::Diverged { .. }
        | Consensus::Lost { .. }
        | Consensus::Damaged { .. }
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
        // Its log says why.
        Error::Consensus(
            Consensus::Disk { .. }
            | Consensus::Diverged { .. }
            | Consensus::Lost { .. }
            | Consensus::Damaged { .. },
        ) => STOPPED.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_api() {
        let refusal = |refusal: Refusal| Error::Refused(refusal);
        let exists = Refusal::Exists { what: "device".into(), value: "x".into(), remedy: "y".into() };
        let limit = Refusal::Limit { name: "tenants_max".into(), limit: 1, remedy: "y".into() };
        let table = [
            (Error::invalid("csr", "x", "y"), Code::InvalidArgument, "csr `x` is not valid: y"),
            (Error::NotFound { what: "device", value: "x".into() }, Code::NotFound, "no device `x`"),
            (Error::Precondition("x is revoked".into()), Code::FailedPrecondition, "x is revoked"),
            (refusal(exists), Code::AlreadyExists, "device `x` exists already"),
            (refusal(limit), Code::ResourceExhausted, "tenants_max"),
            (
                refusal(Refusal::TokenInvalid { problem: "is used up".into() }),
                Code::PermissionDenied,
                "used up",
            ),
            (Consensus::NoLeader.into(), Code::Unavailable, "nothing changed, try again"),
            (Consensus::Unknown("late".into()).into(), Code::Unknown, "may have happened: read before"),
            (Consensus::Compacted { oldest: 7 }.into(), Code::OutOfRange, "7"),
            (
                Consensus::Disk { path: "/path".into(), reason: "full".into() }.into(),
                Code::Unavailable,
                "another one serves",
            ),
            (Error::Sealed, Code::Internal, "internal error"),
            (Error::Signing("secret".into()), Code::Internal, "internal error"),
            (Consensus::Storage("/path".into()).into(), Code::Internal, "internal error"),
        ];
        for (error, code, text) in table {
            let shown = error.to_string();
            let status = status(error);
            assert_eq!(status.code(), code, "{shown}");
            assert!(status.message().contains(text), "{shown}: {}", status.message());
            assert!(code != Code::Internal || !status.message().contains(&shown), "{shown} stays inside");
        }
    }
}
