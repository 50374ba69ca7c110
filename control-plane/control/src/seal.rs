//! Sealing of secrets at rest: only sealed bytes enter the log, the state machine and snapshots.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

/// Seals and opens secrets.
pub trait Seal: Send + Sync + 'static {
    /// The sealed form of `plain`: authenticated, and different at each call.
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Error>;

    /// What was sealed. Fails for bytes that another key sealed, or that changed since.
    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error>;
}

/// Length of a key-encryption key in bytes.
pub const KEY_ENCRYPTION_KEY_LEN: usize = 32;

/// The first byte of everything sealed by [`KeyEncryptionKey`].
const FORMAT_AES_256_GCM: u8 = 1;

/// The cluster's key-encryption key: AES-256-GCM with a random nonce.
///
/// Nonces are drawn at random, which is safe up to 2^32 seals; keys are sealed when an authority is made or
/// ticket keys rotate, some thousands in the life of a cluster.
pub struct KeyEncryptionKey {
    bytes: Zeroizing<[u8; KEY_ENCRYPTION_KEY_LEN]>,
    key: LessSafeKey,
}

impl KeyEncryptionKey {
    /// A new random key.
    pub fn generate() -> Result<KeyEncryptionKey, Error> {
        let mut bytes = Zeroizing::new([0; KEY_ENCRYPTION_KEY_LEN]);
        rand::fill(bytes.as_mut()).map_err(|_| Error::Randomness)?;
        KeyEncryptionKey::from_bytes(bytes.as_ref())
    }

    /// A key that was stored or handed over at joining.
    pub fn from_bytes(bytes: &[u8]) -> Result<KeyEncryptionKey, Error> {
        let fixed = <[u8; KEY_ENCRYPTION_KEY_LEN]>::try_from(bytes).map_err(|_| Error::Sealed)?;
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| Error::Sealed)?;
        Ok(KeyEncryptionKey { bytes: Zeroizing::new(fixed), key: LessSafeKey::new(key) })
    }

    /// A hash that the cluster's replicas alone can compute, the same on each, for one purpose.
    pub(crate) fn keyed_hash(&self, purpose: &[u8], message: &[u8]) -> [u8; 32] {
        let hash = |key: &[u8], message: &[u8]| {
            let mut tag = [0; 32];
            tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
            tag
        };
        hash(Zeroizing::new(hash(self.bytes.as_ref(), purpose)).as_ref(), message)
    }

    /// The key itself, for the data folder and for a replica that joins.
    pub fn bytes(&self) -> &[u8; KEY_ENCRYPTION_KEY_LEN] {
        &self.bytes
    }
}

impl Seal for KeyEncryptionKey {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Error::Randomness)?;
        let mut body = plain.to_vec();
        let aad = Aad::from([FORMAT_AES_256_GCM]);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| Error::Sealed)?;
        Ok([&[FORMAT_AES_256_GCM], nonce.as_slice(), &body].concat())
    }

    fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Some((&FORMAT_AES_256_GCM, rest)) = sealed.split_first() else { return Err(Error::Sealed) };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Error::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
        let mut body = body.to_vec();
        let aad = Aad::from([FORMAT_AES_256_GCM]);
        let opened = self.key.open_in_place(nonce, aad, &mut body).map(|plain| plain.len());
        let Ok(length) = opened else {
            body.zeroize();
            return Err(Error::Sealed);
        };
        body.truncate(length);
        Ok(Zeroizing::new(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() -> Result<(), Error> {
        let key = KeyEncryptionKey::generate()?;
        let sealed = key.seal(b"secret")?;
        assert_eq!(key.open(&sealed)?.as_slice(), b"secret");
        assert_ne!(sealed, key.seal(b"secret")?, "nonces differ");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed).is_err(), "byte {at} is authenticated");
            assert!(key.open(&sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(KeyEncryptionKey::generate()?.open(&sealed).is_err(), "another key");
        let again = KeyEncryptionKey::from_bytes(key.bytes())?;
        assert_eq!(again.open(&sealed)?.as_slice(), b"secret");
        Ok(())
    }
}
