use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SanType};
use revoq_credentials::Millis;
use revoq_proto::pem;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::csr::CSR_BYTES_MAX;
use super::*;
use crate::seal::KeyEncryptionKey;

const NOW: Millis = Millis(1_900_000_000_000);
const DAY_MS: u64 = 86_400_000;

fn signer() -> Result<FileSigner, Error> {
    Ok(FileSigner::new(Arc::new(KeyEncryptionKey::generate()?)))
}

fn authority(signer: &FileSigner) -> Result<SealedAuthority, Error> {
    let profile = AuthorityProfile {
        common_name: "factory".into(),
        not_before: not_before(NOW),
        not_after: NOW.plus(10 * DAY_MS),
        path_length: 0,
    };
    signer.new_authority(&profile, None)
}

fn leaf(public_key: PublicKey) -> Result<LeafProfile, Error> {
    let parse = |text| San::parse("names", text);
    Ok(LeafProfile {
        serial: random_serial()?,
        subject: Subject { organization: None, common_name: Some("pump-7".into()) },
        public_key,
        names: vec![
            San::Uri("urn:revoq:default:pump-7".into()),
            parse("DNS:pump.example")?,
            parse("IP:10.0.0.7")?,
            parse("IP:2001:db8::7")?,
            parse("URI:coap://pump/7")?,
            parse("email:pump@example.com")?,
        ],
        usage: Usage::Client,
        not_before: not_before(NOW),
        not_after: NOW.plus(DAY_MS),
    })
}

/// As a client's certificate, by webpki.
fn verify(der: &[u8], chain: &[Vec<u8>], root: &[u8], now: Millis) -> Result<(), webpki::Error> {
    let (der, root) = (CertificateDer::from(der), CertificateDer::from(root));
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let anchor = anchor_from_trusted_cert(&root)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
    EndEntityCert::try_from(&der)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &chain,
            time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
}

#[test]
fn what_is_signed_verifies_with_webpki() -> Result<(), Box<dyn std::error::Error>> {
    let signer = signer()?;
    let authority = authority(&signer)?;
    let issuing = Issuing { certificate: &authority.certificate, sealed_key: &authority.sealed_key };
    let key = GeneratedKey::new()?;
    let leaf = leaf(key.public())?;
    let der = signer.sign(issuing, &leaf)?;
    verify(&der, &[], &authority.certificate, NOW)?;
    verify(&der, &[], &authority.certificate, NOW.plus(DAY_MS))?;
    assert!(verify(&der, &[], &authority.certificate, NOW.plus(DAY_MS + 1_000)).is_err(), "expires");
    assert!(verify(&der, &[], &self::authority(&signer)?.certificate, NOW).is_err(), "another authority");
    let parsed = revoq_credentials::x509::parse(&der)?;
    assert_eq!(parsed.serial.as_bytes(), leaf.serial);
    assert_eq!(parsed.serial.as_bytes().len(), 16);
    assert_eq!(parsed.device_uri().map(|uri| uri.to_string()).as_deref(), Some("urn:revoq:default:pump-7"));
    assert_eq!(KeyPair::try_from(key.private().as_slice())?.der_bytes(), leaf.public_key.der_bytes());
    Ok(())
}

#[test]
fn another_key_encryption_key_signs_nothing() -> Result<(), Error> {
    let authority = authority(&signer()?)?;
    let issuing = Issuing { certificate: &authority.certificate, sealed_key: &authority.sealed_key };
    let signed = signer()?.sign(issuing, &leaf(GeneratedKey::new()?.public())?);
    assert!(matches!(signed, Err(Error::Sealed)));
    Ok(())
}

#[test]
fn the_lint_finds_every_difference() -> Result<(), Box<dyn std::error::Error>> {
    let signer = signer()?;
    let authority = authority(&signer)?;
    let issuing = Issuing { certificate: &authority.certificate, sealed_key: &authority.sealed_key };
    let good = leaf(GeneratedKey::new()?.public())?;
    let der = CertificateDer::from(signer.sign(issuing, &good)?);
    lint::check(&der, &good, &authority.certificate)?;
    let other = GeneratedKey::new()?.public();
    let cases: [(&str, LeafProfile); 8] = [
        ("serial number", LeafProfile { serial: random_serial()?, ..good.clone() }),
        ("public key", LeafProfile { public_key: other, ..good.clone() }),
        ("start of validity", LeafProfile { not_before: NOW, ..good.clone() }),
        ("end of validity", LeafProfile { not_after: NOW.plus(2 * DAY_MS), ..good.clone() }),
        ("subject common name", LeafProfile { subject: Subject::default(), ..good.clone() }),
        (
            "subject organization",
            LeafProfile {
                subject: Subject { organization: Some("x".into()), ..good.subject.clone() },
                ..good.clone()
            },
        ),
        ("extended key usage", LeafProfile { usage: Usage::Both, ..good.clone() }),
        ("subject alternative names", LeafProfile { names: good.names[1..].to_vec(), ..good.clone() }),
    ];
    for (what, asked) in cases {
        let error = lint::check(&der, &asked, &authority.certificate).expect_err(what).to_string();
        assert!(error.ends_with(what), "{error}");
    }
    // The same name, another key.
    let impostor = self::authority(&signer)?;
    assert!(lint::check(&der, &good, &impostor.certificate).is_err());
    let long = LeafProfile { not_after: NOW.plus(11 * DAY_MS), ..good };
    let error = signer.sign(issuing, &long).expect_err("outlives its authority").to_string();
    assert!(error.contains("within the authority's"), "{error}");
    Ok(())
}

#[test]
fn a_cluster_authority_signs_nodes_below_its_root() -> Result<(), Box<dyn std::error::Error>> {
    let signer = signer()?;
    let founded = new_cluster_authority(&signer, "north", NOW)?;
    let authority = ClusterAuthority::open(signer, &founded.cluster)?;
    let key = GeneratedKey::new()?;
    let request = |role| NodeRequest { role, name: "one", public_key: key.public(), now: NOW, ttl_ms: None };
    for role in [ClusterRole::Replica, ClusterRole::Broker] {
        let chain = authority.issue(request(role))?;
        verify(&chain[0], &chain[1..], authority.root(), NOW)?;
        let peer = crate::tls::PeerCertificate::read(&chain[0]).expect("a certificate");
        assert_eq!((peer.role, peer.name.as_str()), (Some(role), "one"));
        assert_eq!(peer.fingerprint, revoq_credentials::Fingerprint::of(&chain[0]));
    }
    let server = authority.issue_server("one", key.public(), vec![San::Dns("localhost".into())], NOW)?;
    assert!(verify(&server[0], &server[1..], authority.root(), NOW).is_err(), "no client");
    let ten_years = authority.issue(request(ClusterRole::Broker))?;
    assert!(verify(&ten_years[0], &ten_years[1..], authority.root(), NOW.plus(9 * 365 * DAY_MS)).is_ok());
    Ok(())
}

fn request(key: &KeyPair) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "asked");
    params.subject_alt_names.push(SanType::DnsName("asked.example".try_into()?));
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn refusal(csr: &[u8]) -> String {
    let error = Csr::parse(csr).expect_err("refused");
    assert!(matches!(error, Error::Invalid { field: "csr", .. }), "{error}");
    error.to_string()
}

#[test]
fn requests_of_good_keys_are_taken_as_der_and_pem() -> Result<(), Box<dyn std::error::Error>> {
    let keys = [
        KeyPair::generate()?,
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?,
        KeyPair::generate_for(&PKCS_ED25519)?,
        KeyPair::generate_for(&PKCS_RSA_SHA256)?,
    ];
    for key in &keys {
        let der = request(key)?;
        let csr = Csr::parse(&der)?;
        assert_eq!(csr.common_name.as_deref(), Some("asked"));
        assert_eq!(csr.names, [San::Dns("asked.example".into())]);
        assert_eq!(csr.public_key.der_bytes(), key.der_bytes());
        for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
            let text = pem::encode(label, &der);
            assert_eq!(Csr::parse(text.as_bytes())?.public_key, csr.public_key);
        }
        let signer = signer()?;
        let authority = authority(&signer)?;
        let issuing = Issuing { certificate: &authority.certificate, sealed_key: &authority.sealed_key };
        let der = signer.sign(issuing, &leaf(csr.public_key)?)?;
        verify(&der, &[], &authority.certificate, NOW)?;
    }
    Ok(())
}

#[test]
fn bad_requests_are_refused() -> Result<(), Box<dyn std::error::Error>> {
    let good = request(&KeyPair::generate()?)?;
    let mut forged = good.clone();
    *forged.last_mut().expect("not empty") ^= 1;
    assert!(refusal(&forged).contains("signature"), "the signature is wrong");
    let trailing = [good.as_slice(), &[0]].concat();
    assert!(refusal(&trailing).contains("1 bytes after the request"));
    assert!(refusal(&good[..good.len() - 1]).contains("not a PKCS#10 request"));
    assert!(refusal(b"").contains("is needed"));
    assert!(refusal(b"nonsense").contains("not a PKCS#10 request"));
    assert!(refusal(&vec![0; CSR_BYTES_MAX + 1]).contains("at most 16384 bytes"));
    assert!(refusal(pem::encode("CERTIFICATE", &good).as_bytes()).contains("CERTIFICATE REQUEST"));
    let p521 = request(&KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512)?)?;
    assert!(refusal(&p521).contains("elliptic curve 1.3.132.0.35"));
    let mut reserved = CertificateParams::default();
    reserved.subject_alt_names.push(SanType::URI("urn:revoq:default:other".try_into()?));
    let reserved = reserved.serialize_request(&KeyPair::generate()?)?;
    assert!(refusal(reserved.der()).contains("set by the control plane alone"));
    Ok(())
}

/// `openssl req -new -newkey rsa:1024`: no library here makes such a key any more.
#[test]
fn rsa_1024_is_refused_by_name() {
    let weak = include_str!("rsa1024.csr.pem");
    let message = refusal(weak.as_bytes());
    assert!(message.contains("RSA key of 1024 bits") && message.contains("2048"), "{message}");
    let sha1 = include_str!("sha1.csr.pem");
    assert!(refusal(sha1.as_bytes()).contains("SHA-1"));
}

#[test]
fn serial_numbers_are_positive_and_full() -> Result<(), Error> {
    for _ in 0..1_000 {
        let serial = random_serial()?;
        assert!((0x40..0x80).contains(&serial[0]), "{serial:?}");
    }
    Ok(())
}
