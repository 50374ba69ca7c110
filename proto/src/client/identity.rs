//! Whom a client is, and whom it trusts.
use std::fmt;
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity as TlsIdentity};

use crate::{Error, SERVER_NAME, pem};

/// A certificate of the cluster authority with its key, all PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Leaf first.
    pub certificates_pem: String,
    /// PKCS#8.
    pub key_pem: String,
    /// The cluster authority, against which the other side is checked.
    pub authority_pem: String,
}

impl fmt::Debug for Identity {
    // The key stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// How a channel is secured: always with the cluster authority's certificate, mostly with one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// As a node or an administrator.
    Mutual(Identity),
    /// Without a client certificate: joining, and reading root certificates.
    Anonymous {
        /// The cluster authority, PEM.
        authority_pem: String,
    },
}

impl Tls {
    /// Anonymous, trusting the authority of a join token.
    #[must_use]
    pub fn anonymous(authority_der: &[u8]) -> Tls {
        Tls::Anonymous { authority_pem: pem::encode(pem::CERTIFICATE, authority_der) }
    }

    pub(super) fn config(&self, handshake_timeout: Duration) -> Result<ClientTlsConfig, Error> {
        let (authority, client) = match self {
            Tls::Mutual(identity) => (&identity.authority_pem, Some(identity)),
            Tls::Anonymous { authority_pem } => (authority_pem, None),
        };
        // tonic skips what it cannot parse, and would then fail every handshake without saying why.
        pem::decode_all("cluster authority", pem::CERTIFICATE, authority)?;
        let mut config = ClientTlsConfig::new()
            .domain_name(SERVER_NAME)
            .timeout(handshake_timeout)
            .ca_certificate(Certificate::from_pem(authority));
        if let Some(identity) = client {
            pem::decode_all("client certificate", pem::CERTIFICATE, &identity.certificates_pem)?;
            config = config.identity(TlsIdentity::from_pem(&identity.certificates_pem, &identity.key_pem));
        }
        Ok(config)
    }
}

impl From<Identity> for Tls {
    fn from(identity: Identity) -> Tls {
        Tls::Mutual(identity)
    }
}
