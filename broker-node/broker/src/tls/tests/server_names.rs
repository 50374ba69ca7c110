//! Which certificate is shown, and which protocols are spoken.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::CertificateParams;
use rustls::AlertDescription;
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::certificates::{key, setting, view};
use super::*;

/// Of a server with these names.
fn made(names: &[&str]) -> (rcgen::Certificate, rcgen::KeyPair) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = key();
    (CertificateParams::new(names).expect("names").self_signed(&key).expect("it is signed"), key)
}

fn certified(names: &[&str]) -> CertifiedKey {
    let (certificate, key) = made(names);
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider()).expect("they fit")
}

/// What a client that asks for this name is shown.
fn shown(side: &Side, name: Option<&str>) -> CertificateDer<'static> {
    let mut config = ClientConfig::clone(&client(None, &TLS13));
    config.enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or("unused").to_owned()).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let (_, client) = shake(side, client).expect("it is accepted");
    client.peer_certificates().expect("a certificate").first().expect("a leaf").clone()
}

#[test]
fn each_name_has_its_certificate_and_other_names_the_first() {
    let side = Side::new(view([setting("client_certificate", "off")]));
    let first = certified(&["one.example", "Mixed.Example"]);
    let second = certified(&["*.devices.example", "one.example"]);
    let third = certified(&["a.devices.example"]);
    let leaves = [&first, &second, &third].map(|each| each.cert[0].clone());
    side.certificate.set(first, vec![second, third]);
    for (name, expected) in [
        (Some("one.example"), 0),
        (Some("mixed.example"), 0),
        (Some("b.devices.example"), 1),
        (Some("B.Devices.Example"), 1),
        (Some("a.devices.example"), 2),
        (Some("b.a.devices.example"), 0),
        (Some("devices.example"), 0),
        (Some("other.example"), 0),
        (None, 0),
    ] {
        assert_eq!(shown(&side, name), leaves[expected], "{name:?}");
    }
    let renewed = certified(&["a.devices.example"]);
    let leaf = renewed.cert[0].clone();
    side.certificate.set(renewed, Vec::new());
    assert_eq!(shown(&side, Some("b.devices.example")), leaf);
}

#[test]
fn a_known_protocol_or_none_is_spoken_and_unknown_ones_are_refused() {
    let side = Side::new(view([setting("client_certificate", "off")]));
    for (offered, chosen) in [
        (&["mqtt"][..], Some("mqtt")),
        (&["x-amzn-mqtt-ca"], Some("x-amzn-mqtt-ca")),
        (&["h2", "x-amzn-mqtt-ca", "mqtt"], Some("mqtt")),
        (&[], None),
    ] {
        let connection = connect(&side, &offering(offered)).expect("it is accepted");
        assert_eq!(connection.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
    }
    for offered in [&["h2"][..], &["http/1.1", "MQTT"]] {
        let failed = connect(&side, &offering(offered)).expect_err("nothing is known");
        assert_eq!(failed.client, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

fn offering(protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client(None, &TLS13));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Writes a pair of files of that number; the leaf.
fn write(folder: &Path, number: usize, name: &str) -> CertificateDer<'static> {
    let (certificate, key) = made(&[name]);
    let [leaf, secret] = files(folder, number);
    std::fs::write(leaf, certificate.pem()).expect("it is written");
    std::fs::write(secret, key.serialize_pem()).expect("it is written");
    certificate.der().clone()
}

fn files(folder: &Path, number: usize) -> [PathBuf; 2] {
    ["certificate", "key"].map(|kind| folder.join(format!("{kind}-{number}.pem")))
}

#[tokio::test]
async fn each_pair_of_files_is_read_again_when_it_changes() {
    let side = Side::new(view([setting("client_certificate", "off")]));
    let folder = tempfile::tempdir().expect("a folder");
    let first = write(folder.path(), 0, "one.example");
    write(folder.path(), 1, "two.example");
    let pairs = [0, 1].map(|number| files(folder.path(), number).into());
    let source = Source::Files(pairs.to_vec());
    source.check(&side.certificate).expect("they fit");
    assert_eq!(shown(&side, Some("one.example")), first);
    let kept = side.certificate.clone();
    let keeper = tokio::spawn(source.keep(kept));
    // It looks at the old files first.
    tokio::task::yield_now().await;
    let renewed = write(folder.path(), 1, "two.example");
    let start = Instant::now();
    while shown(&side, Some("two.example")) != renewed {
        assert!(start.elapsed() < Duration::from_secs(20), "it is not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    keeper.abort();
    // A key that is another's: nothing is replaced, the pair that would fit neither.
    std::fs::copy(&files(folder.path(), 0)[1], &files(folder.path(), 1)[1]).expect("it is copied");
    write(folder.path(), 0, "one.example");
    let source = Source::Files([0, 1].map(|number| files(folder.path(), number).into()).to_vec());
    let error = source.check(&side.certificate).expect_err("they do not fit").to_string();
    assert!(error.contains("certificate-1.pem"), "{error}");
    assert_eq!(shown(&side, Some("one.example")), first);
}
