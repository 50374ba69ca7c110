//! What can keep a broker node from starting.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the node does not start, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration that cannot be used.
    #[error("{origin}: {key} = {value:?}: {problem}")]
    Config {
        /// The file, flag or environment variable that holds it.
        origin: String,
        /// The key, as it stands there.
        key: String,
        /// The value, shortened; secrets are not shown.
        value: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The configuration file as a whole.
    #[error("configuration file {}: {problem}", path.display())]
    ConfigFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The configuration lacks something.
    #[error("configuration: {0}")]
    Incomplete(String),
    /// The command line; the text is complete, with usage.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// A file that is named in the configuration.
    #[error("{what} {}", path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key that cannot be used.
    #[error("{what}: {problem}")]
    Certificate {
        /// Which one.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something of the control plane's client: an address, a token, a certificate.
    #[error(transparent)]
    Proto(#[from] revoq_proto::Error),
    /// The control plane refused to let this node join.
    #[error("the control plane refused the join token: {0}; make a new one with `revoqctl cluster join`")]
    Join(String),
    /// A listener.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
    /// The TLS library refused its configuration.
    #[error("TLS configuration")]
    Tls(#[from] rustls::Error),
    /// A thread or a runtime could not be made.
    #[error("cannot start the thread {0}")]
    Thread(&'static str, #[source] std::io::Error),
}
