//! The bundle with which an administrator (or a tool) reaches a cluster, as TOML. Reading and writing files is
//! the callers' business; a bundle holds a private key, so its file's mode is [`FILE_MODE`].
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::client::Identity;
use crate::{Error, pem};

/// Readable by its owner alone.
pub const FILE_MODE: u32 = 0o600;

/// Cluster, endpoints, and the identity to use there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The cluster's name.
    pub cluster: String,
    /// `host:port` of replicas, any order; at least one.
    pub endpoints: Vec<String>,
    /// The cluster authority's certificate, PEM.
    pub authority: String,
    /// The administrator's certificate, PEM, leaf first.
    pub certificate: String,
    /// Its private key, PKCS#8 PEM.
    pub key: String,
}

impl Bundle {
    /// Reads TOML and checks that every part is there and is what it should be. Unknown keys are ignored, so
    /// that an older program reads a newer bundle.
    ///
    /// # Errors
    /// [`Error::Bundle`] naming the key, or [`Error::Pem`].
    pub fn parse(text: &str) -> Result<Bundle, Error> {
        let bundle: Bundle = toml::from_str(text).map_err(|e| Error::Bundle(e.message().to_owned()))?;
        bundle.check()?;
        Ok(bundle)
    }

    /// As [`Bundle::parse`] does: endpoints present, PEM with certificates and a key inside.
    ///
    /// # Errors
    /// [`Error::NoEndpoint`], [`Error::Address`] or [`Error::Pem`].
    pub fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        for endpoint in &self.endpoints {
            crate::client::check_address(endpoint)?;
        }
        pem::decode_all("authority", pem::CERTIFICATE, &self.authority)?;
        pem::decode_all("certificate", pem::CERTIFICATE, &self.certificate)?;
        let keys = pem::decode("key", &self.key)?;
        if keys.iter().any(|block| block.label.ends_with(pem::PRIVATE_KEY)) {
            return Ok(());
        }
        Err(Error::Pem { what: "key".to_owned(), reason: "expected a PEM block PRIVATE KEY".to_owned() })
    }

    /// The TOML text, to be written with [`FILE_MODE`].
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("strings and a list of strings are TOML")
    }

    /// The identity for [`crate::client::ControlChannel`].
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            certificates_pem: self.certificate.clone(),
            key_pem: self.key.clone(),
            authority_pem: self.authority.clone(),
        }
    }
}

impl fmt::Debug for Bundle {
    // The key stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("cluster", &self.cluster)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle {
            cluster: "north".to_owned(),
            endpoints: vec!["10.0.0.1:9440".to_owned(), "[::1]:9440".to_owned()],
            authority: pem::encode(pem::CERTIFICATE, &[0x30, 1]),
            certificate: pem::encode(pem::CERTIFICATE, &[0x30, 2]),
            key: pem::encode(pem::PRIVATE_KEY, &[0x30, 3]),
        }
    }

    #[test]
    fn round_trip() {
        let text = bundle().to_toml();
        assert_eq!(Bundle::parse(&text).expect("own output"), bundle());
        let newer = format!("later = true\n{text}");
        assert_eq!(Bundle::parse(&newer).expect("unknown keys are ignored"), bundle());
        assert!(!format!("{:?}", bundle()).contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let broken = |change: fn(&mut Bundle), expected: &str| {
            let mut bundle = bundle();
            change(&mut bundle);
            let error = Bundle::parse(&bundle.to_toml()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        broken(|b| b.endpoints.clear(), "no control-plane endpoint");
        broken(|b| b.endpoints[0] = "10.0.0.1".to_owned(), "\"10.0.0.1\": expected host:port");
        broken(|b| b.authority.clear(), "authority: expected a PEM block CERTIFICATE");
        broken(|b| b.certificate = b.key.clone(), "certificate: expected a PEM block CERTIFICATE");
        broken(|b| b.key = b.certificate.clone(), "key: expected a PEM block PRIVATE KEY");
        let error = Bundle::parse("cluster = 'x'").expect_err("fields missing").to_string();
        assert!(error.contains("endpoints"), "{error}");
    }
}
