//! What the other servers and their clients show: P-256 all of it, as the control plane issues.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, SanType,
};

use crate::fleet::Leaf;
use crate::load::Credentials;

/// An authority with a server's certificate and a client's, in files and in memory.
pub(crate) struct Authority {
    /// Where the files are; servers put theirs beside them.
    pub(crate) folder: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) credentials: Credentials,
}

impl Authority {
    pub(crate) fn new(folder: &Path) -> Result<Authority> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = named("bench authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = parameters.self_signed(&key)?;
        let issuer = Issuer::new(parameters, key);
        let mut server = named("localhost");
        server.subject_alt_names = vec![SanType::DnsName("localhost".try_into()?)];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let server = server.signed_by(&server_key, &issuer)?;
        let mut client = named("device");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let client = client.signed_by(&client_key, &issuer)?;
        let file = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        let leaf = Leaf { chain: vec![client.der().to_vec()], key: client_key.serialize_der() };
        Ok(Authority {
            folder: folder.to_owned(),
            root: file("root.pem", root.pem())?,
            certificate: file("server.pem", server.pem())?,
            key: file("server.key", server_key.serialize_pem())?,
            credentials: Credentials { root: root.der().to_vec(), leaf },
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
