//! What can go wrong, the exit code of each, and what to do next.
use std::path::{Path, PathBuf};

use tonic::{Code, Status};

/// Exit codes, as `revoqctl help` lists them.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// Something else went wrong: a file, the server's internals.
    pub const FAILURE: u8 = 1;
    /// The command line or a value in it is not valid.
    pub const USAGE: u8 = 2;
    /// What was named does not exist.
    pub const NOT_FOUND: u8 = 3;
    /// Refused as things stand: an illegal transition, a name that is taken, a limit.
    pub const REFUSED: u8 = 4;
    /// This administrator may not, or is not known.
    pub const PERMISSION: u8 = 5;
    /// No replica answered, or there is no quorum. Nothing was changed.
    pub const UNAVAILABLE: u8 = 6;
    /// The change is made, but not confirmed on every broker node.
    pub const UNCONFIRMED: u8 = 7;
    /// It is unknown whether the change was made.
    pub const UNKNOWN: u8 = 8;
    /// The audit log does not verify.
    pub const AUDIT: u8 = 9;
}

/// For the help text.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failure
  2  usage: the command line or a value in it is not valid
  3  what was named does not exist
  4  refused: an illegal transition, a name that is taken, a limit
  5  permission: role, or a certificate that is expired or removed
  6  unavailable: no replica answered or there is no quorum; nothing was changed
  7  the change is made, but not confirmed on every broker node
  8  unknown: the change may have been made; look before you repeat it
  9  the audit log does not verify";

/// A command's failure. `Display` says what and where; [`Error::remedy`] what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value on the command line or in a file.
    #[error("{field}: {value:?} is not valid: {remedy}")]
    Value {
        /// The flag or field.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is expected.
        remedy: String,
    },
    /// Flags that do not go together, or that are missing.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// "read", "write" ...
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The contexts file or a bundle.
    #[error("{place}: {reason}")]
    Context {
        /// Which file or context.
        place: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// Certificates, keys, addresses.
    #[error(transparent)]
    Input(#[from] revoq_proto::Error),
    /// A replica's refusal, or no answer.
    #[error("{}", status_text(.0))]
    Status(Box<Status>),
    /// Looked for in a list and not there.
    #[error("{what} {value:?} does not exist")]
    NotFound {
        /// "authority", "session" ...
        what: &'static str,
        /// Its name.
        value: String,
        /// Where to look.
        remedy: &'static str,
    },
    /// Not every broker node has confirmed.
    #[error(
        "revision {revision} is committed, but {unconfirmed} of {nodes} broker nodes have not confirmed it"
    )]
    Unconfirmed {
        /// The change.
        revision: u64,
        /// How many have not.
        unconfirmed: usize,
        /// How many there are.
        nodes: usize,
    },
    /// The change is made, and no replica tells whether it is confirmed.
    #[error("revision {revision} is committed, but its fence cannot be followed: {}", status_text(.status))]
    Unwatched {
        /// The change.
        revision: u64,
        /// Why.
        status: Box<Status>,
    },
    /// The audit log was tampered with, or is incomplete.
    #[error("the audit log does not verify: {0}")]
    Audit(String),
    /// A message that does not say what the protocol says it does.
    #[error("the control plane's answer lacks {0}")]
    Answer(&'static str),
    /// The administrator did not say yes.
    #[error("not confirmed: nothing was changed")]
    Declined,
    /// Standard output is closed: the reader has seen enough.
    #[error("standard output: {0}")]
    Output(std::io::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error::Status(Box::new(status))
    }
}

impl Error {
    /// A value that is not valid; long values are shortened.
    pub fn value(field: &'static str, value: &str, remedy: impl Into<String>) -> Error {
        let shortened: String = value.chars().take(80).collect();
        Error::Value { field, value: shortened, remedy: remedy.into() }
    }

    /// A file error, for `map_err`.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::File { action, path, source }
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Value { .. } | Error::Usage(_) | Error::Input(_) => exit::USAGE,
            Error::Context { .. } | Error::File { .. } | Error::Answer(_) => exit::FAILURE,
            Error::Status(status) => status_exit_code(status.code()),
            Error::NotFound { .. } => exit::NOT_FOUND,
            Error::Unconfirmed { .. } | Error::Unwatched { .. } => exit::UNCONFIRMED,
            Error::Audit(_) => exit::AUDIT,
            Error::Declined => exit::REFUSED,
            Error::Output(_) => exit::FAILURE,
        }
    }

    /// The next step, where there is one that the message does not name.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Error::Context { remedy, .. } => remedy.as_str(),
            Error::NotFound { remedy, .. } => remedy,
            Error::Status(status) => return status_remedy(status.code()).map(str::to_owned),
            Error::Unconfirmed { revision, .. } | Error::Unwatched { revision, .. } => {
                return Some(format!(
                    "`revoqctl cluster fence {revision}` waits on; `revoqctl cluster nodes` shows who is cut off"
                ));
            }
            Error::Audit(_) => "keep this copy, and compare it with an earlier export or another replica",
            Error::Usage(_) => "`revoqctl help` and `revoqctl <command> --help` show what there is",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn status_exit_code(code: Code) -> u8 {
    match code {
        Code::Ok => exit::OK,
        Code::InvalidArgument | Code::OutOfRange => exit::USAGE,
        Code::NotFound => exit::NOT_FOUND,
        Code::AlreadyExists | Code::FailedPrecondition | Code::ResourceExhausted | Code::Aborted => {
            exit::REFUSED
        }
        Code::PermissionDenied | Code::Unauthenticated => exit::PERMISSION,
        Code::Unavailable => exit::UNAVAILABLE,
        Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => exit::UNKNOWN,
        Code::Internal | Code::DataLoss | Code::Unimplemented => exit::FAILURE,
    }
}

fn status_remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NotFound => "the list command of that kind shows what there is; mind --tenant",
        Code::PermissionDenied => "ask an administrator, or use another context: `revoqctl context list`",
        Code::Unauthenticated => {
            "have a certificate issued by an administrator: `revoqctl administrator issue NAME --role ROLE`"
        }
        Code::Unavailable => {
            "nothing was changed; check that a majority of replicas runs and that the context's endpoints \
             are right: `revoqctl context show`"
        }
        Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
            "the change may have been made: look with a show or list command before you repeat it"
        }
        Code::Unimplemented => "the replica is older than this revoqctl",
        _ => return None,
    })
}

fn status_text(status: &Status) -> String {
    let name = match status.code() {
        // These say so themselves: "field `value` is not valid: ...".
        Code::InvalidArgument => return status.message().to_owned(),
        Code::NotFound => "not found",
        Code::AlreadyExists => "exists already",
        Code::FailedPrecondition => "refused",
        Code::ResourceExhausted => "limit reached",
        Code::PermissionDenied => "permission denied",
        Code::Unauthenticated => "not authenticated",
        Code::Unavailable => "control plane unavailable",
        Code::DeadlineExceeded => "no answer in time",
        Code::Unknown | Code::Cancelled => "connection lost",
        other => return format!("the control plane failed ({other:?}): {}", status.message()),
    };
    format!("{name}: {}", status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        let table = [
            (Code::InvalidArgument, 2),
            (Code::NotFound, 3),
            (Code::AlreadyExists, 4),
            (Code::FailedPrecondition, 4),
            (Code::ResourceExhausted, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::Unavailable, 6),
            (Code::Unknown, 8),
            (Code::DeadlineExceeded, 8),
            (Code::Internal, 1),
        ];
        for (code, expected) in table {
            assert_eq!(Error::from(Status::new(code, "x")).exit_code(), expected, "{code:?}");
        }
        assert_eq!(Error::Unconfirmed { revision: 1, unconfirmed: 1, nodes: 2 }.exit_code(), 7);
        let status = Box::new(Status::unavailable("x"));
        assert_eq!(Error::Unwatched { revision: 1, status }.exit_code(), 7, "the change is made");
        assert_eq!(Error::Audit(String::new()).exit_code(), 9);
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let error =
            Error::from(Status::failed_precondition("certificate 00ff: revoked to active is not legal"));
        assert_eq!(error.to_string(), "refused: certificate 00ff: revoked to active is not legal");
        let error = Error::from(Status::unavailable("no replica answered: a:1: Connection refused"));
        assert!(error.to_string().starts_with("control plane unavailable: no replica"));
        assert!(error.remedy().expect("a remedy").contains("context show"));
    }
}
