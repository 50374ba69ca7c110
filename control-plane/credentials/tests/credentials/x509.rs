//! Certificates as bytes.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};
use revoq_credentials::x509::{DeviceUri, KeyKind, X509Error, parse};
use revoq_credentials::{Millis, NameError};

/// `openssl x509 -req -signkey`: version 1, no extensions, serial 256, a comma in the organisation.
const V1: &[u8] = include_bytes!("../fixtures/v1.der");

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["d1.example".to_owned()]).expect("a DNS name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Plant #1");
    params.distinguished_name.push(DnType::CommonName, " d1+x ");
    params.serial_number = Some(vec![0, 0x80, 1].into());
    change(&mut params);
    let key = KeyPair::generate().expect("generates");
    params.self_signed(&key).expect("signs").der().to_vec()
}

#[test]
fn version_3() {
    let uri = "urn:revoq:default:d1";
    let der = leaf(|params| {
        params.subject_alt_names.push(SanType::URI("https://example.com".try_into().expect("a URI")));
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
    });
    let parsed = parse(&der).expect("a certificate");
    assert_eq!((parsed.version, parsed.is_ca), (3, false));
    assert_eq!(parsed.serial.as_bytes(), [0x80, 1]);
    assert_eq!(parsed.subject_text, "CN=\\ d1\\+x\\ ,O=Plant #1");
    assert_eq!((&parsed.issuer, &parsed.issuer_text), (&parsed.subject, &parsed.subject_text));
    assert_eq!(parsed.common_name.as_deref(), Some(" d1+x "));
    assert_eq!((parsed.key.kind, parsed.key.bits), (KeyKind::Ec, 256));
    assert_eq!(parsed.uris, ["https://example.com", uri]);
    assert_eq!(parsed.device_uri().expect("ours").to_string(), uri);
    assert!(der.windows(parsed.spki.len()).any(|part| part == parsed.spki));
}

#[test]
fn leaves_that_say_ca_true() {
    let der = leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(parse(&der).expect("a certificate").is_ca);
}

#[test]
fn version_1() {
    let parsed = parse(V1).expect("a certificate");
    assert_eq!((parsed.version, parsed.is_ca), (1, false));
    assert_eq!(parsed.serial.as_bytes(), [1, 0]);
    assert_eq!(
        parsed.issuer_text, "CN=v1 leaf,O=Plant\\, Inc.,C=DE",
        "as openssl prints it with -nameopt rfc2253"
    );
    assert!(parsed.uris.is_empty());
    assert_eq!(parsed.not_after.0 - parsed.not_before.0, 36_500 * 86_400_000);
}

#[test]
fn times() {
    let der = leaf(|params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    });
    let parsed = parse(&der).expect("a certificate");
    assert_eq!(parsed.not_before, Millis(1_767_225_600_000));
    assert_eq!(parsed.not_after.to_string(), "9999-12-31T00:00:00.000Z");
    let old = leaf(|params| params.not_before = rcgen::date_time_ymd(1960, 1, 1));
    assert_eq!(parse(&old).expect("a certificate").not_before, Millis(0));
    let never = leaf(|params| params.not_after = rcgen::date_time_ymd(1970, 1, 1));
    assert!(matches!(parse(&never), Err(X509Error::Field { field: "validity", .. })));
}

#[test]
fn what_is_not_one_certificate() {
    let good = leaf(|_| {});
    assert_eq!(parse(&[]), Err(X509Error::Empty));
    assert_eq!(parse(b"\n-----BEGIN CERTIFICATE-----"), Err(X509Error::Pem));
    assert_eq!(parse(&vec![0x30; 20_000]), Err(X509Error::TooLong(20_000)));
    let two = [good.as_slice(), &good].concat();
    assert_eq!(parse(&two), Err(X509Error::TrailingBytes(good.len())));
    let one_more = [good.as_slice(), &[0]].concat();
    assert_eq!(
        parse(&one_more).expect_err("a byte too many").to_string(),
        "1 bytes follow the certificate; give exactly one certificate in DER"
    );
    for garbage in [&b"hello"[..], &[0x30, 0x80, 0, 0], &[0xff; 64], &V1[1..]] {
        assert!(matches!(parse(garbage), Err(X509Error::Malformed(_))), "{garbage:?}");
    }
}

#[test]
fn no_damage_is_a_panic() {
    for der in [V1.to_vec(), leaf(|_| {})] {
        for length in 0..der.len() {
            assert!(parse(&der[..length]).is_err(), "cut after {length}");
        }
        for index in 0..der.len() {
            for bit in [1, 0x20, 0x80] {
                let mut damaged = der.clone();
                damaged[index] ^= bit;
                let _ = parse(&damaged);
            }
        }
    }
}

#[test]
fn device_uris() {
    let uri: DeviceUri = "urn:revoq:t1:00:11:22@x".parse().expect("valid");
    assert_eq!((uri.tenant.as_str(), uri.device.as_str()), ("t1", "00:11:22@x"));
    assert_eq!(uri.to_string().parse(), Ok(uri));
    for bad in ["", "urn:revoq:t1", "urn:revoq:T1:d", "urn:revoq:t1:", "urn:other:t1:d", "URN:revoq:t1:d"] {
        let error: NameError = bad.parse::<DeviceUri>().expect_err("not ours");
        assert!(!error.rule.is_empty());
    }
}
