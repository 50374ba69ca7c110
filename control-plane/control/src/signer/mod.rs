//! Issuing: the keys of authorities and what they sign.
//!
//! Keys of authorities exist in the clear only inside a [`Signer`], for the time of one signature. Everything
//! that leaves is parsed again and compared with what was asked for ([`lint`]).

mod cluster;
mod csr;
pub(crate) mod device;
mod key;
mod lint;
mod profile;
mod san;

use std::sync::Arc;

use rcgen::{Issuer, KeyPair};

use crate::error::Error;
use crate::seal::Seal;

pub(crate) use cluster::{ClusterAuthority, ClusterRole, NodeRequest, new_cluster_authority};
pub(crate) use csr::Csr;
pub(crate) use key::{GeneratedKey, PublicKey, random_id, random_serial};
pub(crate) use profile::{
    AuthorityProfile, BACKDATED_MS, LeafProfile, SUBJECT_CHARACTERS_MAX, Subject, Usage, not_before, seconds,
};
pub(crate) use san::{NAMES_MAX, San};

/// An authority's certificate and its key, sealed: what the cluster stores of it.
pub(crate) struct SealedAuthority {
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// PKCS#8, sealed.
    pub(crate) sealed_key: Vec<u8>,
}

/// Which authority signs.
#[derive(Clone, Copy)]
pub(crate) struct Issuing<'a> {
    /// DER.
    pub(crate) certificate: &'a [u8],
    /// As the same signer made it.
    pub(crate) sealed_key: &'a [u8],
}

/// Holds the keys of authorities and signs with them.
pub(crate) trait Signer: Send + Sync + 'static {
    /// Makes a key and an authority: self-signed, or below `parent`.
    fn new_authority(
        &self,
        profile: &AuthorityProfile,
        parent: Option<&Issuer<'_, &KeyPair>>,
    ) -> Result<SealedAuthority, Error>;

    /// Signs a leaf. The answer is DER that passed the [`lint`].
    fn sign(&self, issuing: Issuing<'_>, leaf: &LeafProfile) -> Result<Vec<u8>, Error>;
}

/// Keys in the replicated state, sealed with the cluster's key-encryption key.
#[derive(Clone)]
pub(crate) struct FileSigner {
    seal: Arc<dyn Seal>,
}

impl FileSigner {
    pub(crate) fn new(seal: Arc<dyn Seal>) -> FileSigner {
        FileSigner { seal }
    }
}

impl Signer for FileSigner {
    fn new_authority(
        &self,
        profile: &AuthorityProfile,
        parent: Option<&Issuer<'_, &KeyPair>>,
    ) -> Result<SealedAuthority, Error> {
        let key = GeneratedKey::new()?;
        let params = profile.params()?;
        let certificate = match parent {
            Some(parent) => params.signed_by(key.pair(), parent),
            None => params.self_signed(key.pair()),
        };
        let sealed_key = self.seal.seal(&key.private())?;
        Ok(SealedAuthority { certificate: certificate.map_err(signing)?.der().to_vec(), sealed_key })
    }

    fn sign(&self, issuing: Issuing<'_>, leaf: &LeafProfile) -> Result<Vec<u8>, Error> {
        let key = GeneratedKey::from_pkcs8(&self.seal.open(issuing.sealed_key)?)?;
        let issuer = key.issuer(issuing.certificate)?;
        let signed = leaf.params()?.signed_by(&leaf.public_key, &issuer).map_err(signing)?;
        lint::check(signed.der(), leaf, issuing.certificate)?;
        Ok(signed.der().to_vec())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
pub(crate) fn signing(error: rcgen::Error) -> Error {
    Error::Signing(error.to_string())
}

#[cfg(test)]
mod tests;
