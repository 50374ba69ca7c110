//! Keys: which are accepted, and making new ones.

use aws_lc_rs::rand;
use rcgen::{
    Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::{Zeroize, Zeroizing};

use super::signing;
use crate::error::Error;

/// RSA moduli, in bits.
const RSA_BITS_MIN: usize = 2_048;
const RSA_BITS_MAX: usize = 8_192;

const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_P384: &str = "1.3.132.0.34";
const OID_ED25519: &str = "1.3.101.112";
const KEYS_ACCEPTED: &str = "use RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519";

/// A public key that we put into certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    algorithm: &'static SignatureAlgorithm,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Takes keys of accepted kinds and strengths; `field` names the input in the refusal.
    pub(crate) fn accept(field: &'static str, spki: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, Error> {
        let algorithm = algorithm(field, spki)?;
        Ok(PublicKey { algorithm, bits: spki.subject_public_key.data.to_vec() })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

fn algorithm(
    field: &'static str,
    spki: &SubjectPublicKeyInfo<'_>,
) -> Result<&'static SignatureAlgorithm, Error> {
    let refuse = |found: String| Error::invalid(field, found, KEYS_ACCEPTED);
    if spki.algorithm.algorithm.to_id_string() == OID_ED25519 {
        return match spki.subject_public_key.data.len() {
            32 => Ok(&PKCS_ED25519),
            length => Err(refuse(format!("Ed25519 key of {length} bytes"))),
        };
    }
    match spki.parsed() {
        Ok(Parsed::RSA(key)) => match rsa_bits(key.modulus) {
            RSA_BITS_MIN..=RSA_BITS_MAX => Ok(&PKCS_RSA_SHA256),
            bits => Err(refuse(format!("RSA key of {bits} bits"))),
        },
        Ok(Parsed::EC(_)) => {
            let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some(OID_P256) => Ok(&PKCS_ECDSA_P256_SHA256),
                Some(OID_P384) => Ok(&PKCS_ECDSA_P384_SHA384),
                Some(other) => Err(refuse(format!("elliptic curve {other}"))),
                None => Err(refuse("elliptic curve without a name".to_owned())),
            }
        }
        _ => Err(refuse(format!("key algorithm {}", spki.algorithm.algorithm.to_id_string()))),
    }
}

/// The length of the modulus without leading zero bits.
fn rsa_bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    let significant = &modulus[zeros..];
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// A P-256 key pair, wiped when it is dropped.
pub(crate) struct GeneratedKey {
    pair: KeyPair,
}

impl GeneratedKey {
    pub(crate) fn new() -> Result<GeneratedKey, Error> {
        Ok(GeneratedKey { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(signing)? })
    }

    /// One that was made here before, PKCS#8.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<GeneratedKey, Error> {
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ECDSA_P256_SHA256);
        Ok(GeneratedKey { pair: pair.map_err(signing)? })
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey { algorithm: self.pair.algorithm(), bits: self.pair.der_bytes().to_vec() }
    }

    /// PKCS#8, DER.
    pub(crate) fn private(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.serialized_der().to_vec())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// As the key of an authority.
    pub(super) fn issuer(&self, certificate: &[u8]) -> Result<Issuer<'static, &KeyPair>, Error> {
        Issuer::from_ca_cert_der(&certificate.into(), &self.pair).map_err(signing)
    }
}

impl Drop for GeneratedKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

/// A serial number: 16 random bytes, positive and without a leading zero byte (RFC 5280 section 4.1.2.2).
pub(crate) fn random_serial() -> Result<[u8; 16], Error> {
    let mut serial = random_id()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// 16 random bytes.
pub(crate) fn random_id() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(bytes)
}
