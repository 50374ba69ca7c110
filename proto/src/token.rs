//! The join token: what a new node is given to find out whom to trust, and to be trusted once.
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::Error;

const PREFIX: &str = "revoq1";

/// `revoq1.<base64url of the cluster authority's certificate>.<base64url of the secret>`.
///
/// The certificate lets the new node check the control plane before it shows the secret. The cluster keeps
/// only [`JoinToken::hash`].
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster authority's certificate, DER.
    pub authority_der: Vec<u8>,
    /// 32 random bytes.
    pub secret: [u8; 32],
}

impl JoinToken {
    /// SHA-256 of the secret: what the control plane stores and compares.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authority, secret) =
            (URL_SAFE_NO_PAD.encode(&self.authority_der), URL_SAFE_NO_PAD.encode(self.secret));
        write!(f, "{PREFIX}.{authority}.{secret}")
    }
}

impl fmt::Debug for JoinToken {
    // A secret: logs must not carry it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<JoinToken, Error> {
        let mut parts = text.trim().split('.');
        let (Some(PREFIX), Some(authority), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Token("expected revoq1.<certificate>.<secret>"));
        };
        let authority_der = URL_SAFE_NO_PAD
            .decode(authority)
            .ok()
            .filter(|der| !der.is_empty())
            .ok_or(Error::Token("its certificate is not base64url, or empty: it may be cut short"))?;
        let secret = URL_SAFE_NO_PAD
            .decode(secret)
            .ok()
            .and_then(|s| <[u8; 32]>::try_from(s).ok())
            .ok_or(Error::Token("its secret is not 32 bytes of base64url: it may be cut short"))?;
        Ok(JoinToken { authority_der, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let token = JoinToken { authority_der: vec![0x30, 0x82, 0xff], secret: [0xa5; 32] };
        let text = token.to_string();
        assert!(text.starts_with("revoq1.MIL_."));
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().expect("own output"), token);
        assert_eq!(format!("{token:?}"), "JoinToken(..)");
    }

    #[test]
    fn damage_is_refused() {
        let token = JoinToken { authority_der: vec![1, 2, 3], secret: [9; 32] };
        let text = token.to_string();
        for damaged in [
            String::new(),
            text[..text.len() - 1].to_owned(),
            text.replace("revoq1", "revoq2"),
            format!("{text}.x"),
            text.replace("AQID", ""),
            text.replace("AQID", "A*ID"),
        ] {
            let error = damaged.parse::<JoinToken>().expect_err(&damaged).to_string();
            assert!(error.contains("revoqctl cluster join"), "{error}");
        }
    }
}
