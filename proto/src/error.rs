//! What can be wrong with what this crate reads: addresses, PEM, bundles, tokens.

/// An input of this crate that cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An endpoint that is not `host:port`.
    #[error("control-plane endpoint {value:?}: expected host:port, for example 10.0.0.7:9440")]
    Address {
        /// What was given.
        value: String,
    },
    /// No endpoint at all.
    #[error("no control-plane endpoint is given: name at least one host:port")]
    NoEndpoint,
    /// PEM text that holds something else than is needed.
    #[error("{what}: {reason}")]
    Pem {
        /// Which text: "certificate", "private key" ...
        what: String,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// The TLS library refused the certificate or the key.
    #[error("the certificate and key cannot be used for TLS: check that they belong together")]
    Tls(#[source] tonic::transport::Error),
    /// A bundle whose TOML does not parse or lacks a field.
    #[error("not an administrator bundle: {0}")]
    Bundle(String),
    /// A join token that is not one.
    #[error("join token: {0}; make a new one with `revoqctl cluster join`")]
    Token(&'static str),
}
