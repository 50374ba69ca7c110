//! The crate's error: variants by who is at fault and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use revoq_credentials::{ReadError, Refusal};

/// Values in messages are cut here, so that a peer cannot fill the log.
const VALUE_CHARACTERS_MAX: usize = 64;

/// What can go wrong in a replica.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting of the process; the operator corrects it.
    #[error("{origin}: {key} = \"{value}\": {remedy}")]
    Config {
        /// The file, environment variable or flag.
        origin: String,
        /// The key inside it.
        key: String,
        /// What stands there.
        value: String,
        /// What it should be.
        remedy: String,
    },
    /// A file of the data folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the data folder, or a stored row, is not what it should be.
    #[error("{what} is damaged: {detail}")]
    Corrupt {
        /// Which.
        what: String,
        /// How.
        detail: String,
    },
    /// The data folder is a member's, and its state is gone.
    #[error(
        "there is no state in {}, and the folder is that of a member of the cluster: a replica that has forgotten its \
         votes must not vote again; {}",
        path.display(),
        revoq_consensus::replacement()
    )]
    StateGone {
        /// Where the state was.
        path: PathBuf,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The caller's input; nothing changed.
    #[error("{field} `{value}` is not valid: {remedy}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// Its value, shortened.
        value: String,
        /// What it should be.
        remedy: String,
    },
    /// Something named does not exist.
    #[error("there is no {what} `{value}`")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        value: String,
    },
    /// The state of something forbids it.
    #[error("{0}")]
    Precondition(String),
    /// A named limit.
    #[error("{name} is limited to {limit}; {remedy}")]
    Limit {
        /// Which limit.
        name: &'static str,
        /// Its value.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The state machine refused the command, and says why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The replicated log.
    #[error(transparent)]
    Consensus(#[from] revoq_consensus::Error),
    /// The stored state.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This replica cannot serve now; another can, or it can soon.
    #[error("{0}")]
    Unavailable(String),
    /// Joining a cluster did not succeed.
    #[error("joining the cluster: {0}")]
    Join(String),
    /// Sealed bytes that this cluster's key does not open.
    #[error("sealed bytes do not open with this cluster's key-encryption key")]
    Sealed,
    /// The system gives no randomness.
    #[error("the system's random number generator failed")]
    Randomness,
    /// Keys or certificates could not be made; never the caller's fault.
    #[error("signing: {0}")]
    Signing(String),
    /// A TLS configuration could not be built.
    #[error("TLS: {0}")]
    Tls(String),
    /// The gRPC or HTTP transport.
    #[error("transport: {0}")]
    Transport(String),
}

impl Error {
    /// What `revoq-control` exits with: 2, the configuration is wrong; 3, the disk is full or fails, and the same data can
    /// be started again when it works; 4, this replica must be replaced, and starting it again does not help; 1, else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config { .. } => 2,
            Error::Consensus(revoq_consensus::Error::Disk { .. }) => 3,
            Error::File { source, .. } if is_of_the_disk(source) => 3,
            Error::StateGone { .. } => 4,
            Error::Consensus(error) if error.needs_replacement() => 4,
            _ => 1,
        }
    }

    /// The caller's input, its value shortened for the message.
    pub fn invalid(field: &'static str, value: impl fmt::Display, remedy: impl Into<String>) -> Error {
        Error::Invalid { field, value: shortened(&value.to_string()), remedy: remedy.into() }
    }

    /// A file of the data folder.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }

    /// Something stored that does not decode.
    pub fn corrupt(what: impl Into<String>, detail: impl fmt::Display) -> Error {
        Error::Corrupt { what: what.into(), detail: detail.to_string() }
    }
}

fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let broken = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    broken || matches!(error.kind(), FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// At most 64 characters, without control characters.
pub(crate) fn shortened(value: &str) -> String {
    let mut short: String = value
        .chars()
        .take(VALUE_CHARACTERS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if value.chars().nth(VALUE_CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}
